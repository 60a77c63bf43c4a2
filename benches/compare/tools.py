"""The tools compared: how each is put in front of a program, and what it lacks when it cannot."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compare.environment import library, package_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from compare.environment import Environment


@dataclass(frozen=True)
class Start:
    """How a program is started: its words, and what its environment has in addition."""

    command: list[str]
    variables: dict[str, str]


@dataclass(frozen=True)
class Tool:
    """One column of the table."""

    name: str
    start: Callable[[Start, Path], Start]
    """Puts the tool in front of a program; it may write to the folder."""
    missing: Callable[[Environment], str | None]
    """Says what to install, when the tool is not there."""
    for_programs: bool = True
    """Whether it runs programs that are not Python."""
    leaves_out: tuple[str, ...] = ()
    """Workloads that say nothing under it."""

    def suits(self, workload: str, *, is_python: bool) -> bool:
        """Tell whether a workload is to be run under the tool."""
        return workload not in self.leaves_out and (is_python or self.for_programs)


def _plain(start: Start, _captures: Path) -> Start:
    return start


def _heapledger(scope: str) -> Callable[[Start, Path], Start]:
    def in_front(start: Start, captures: Path) -> Start:
        report = f"{captures}/report.json"
        program, *arguments = start.command
        if not arguments or not arguments[0].endswith(".py"):
            options = f"scope={scope}:json={report}"
            added = {"LD_PRELOAD": str(library()), "HEAPLEDGER_OPTIONS": options}
            return Start(start.command, start.variables | added)
        run = ["-m", "heapledger", "run", "--quiet", "--scope", scope, "--json", report]
        added = {"PYTHONPATH": str(package_folder()), "HEAPLEDGER_LIBRARY": str(library())}
        return Start([program, *run, *arguments], start.variables | added)

    return in_front


def _memray(*options: str) -> Callable[[Start, Path], Start]:
    def in_front(start: Start, captures: Path) -> Start:
        python, *script = start.command
        run = ["-m", "memray", "run", "--quiet", *options, "-o", f"{captures}/memray.bin"]
        return Start([python, *run, *script], start.variables)

    return in_front


def _heaptrack(start: Start, captures: Path) -> Start:
    command = ["heaptrack", "-o", f"{captures}/heaptrack", *start.command]
    return Start(command, start.variables)


def _asan(start: Start, _captures: Path) -> Start:
    added = {"LD_PRELOAD": str(_asan_library()), "ASAN_OPTIONS": "detect_leaks=0"}
    return Start(start.command, start.variables | added)


def _memcheck(start: Start, captures: Path) -> Start:
    command = ["valgrind", "-q", f"--log-file={captures}/memcheck.txt", *start.command]
    return Start(command, start.variables | {"PYTHONMALLOC": "malloc"})


def _asan_library() -> Path | None:
    """Find the run time of AddressSanitizer that belongs to the compiler."""
    for name in ("libasan.so.8", "libasan.so.6", "libasan.so.5"):
        found = subprocess.run(
            ["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=False
        ).stdout.strip()
        for path in (Path(found), Path("/usr/lib/x86_64-linux-gnu") / name):
            if path.is_absolute() and path.exists():
                return path
    return None


def _never(_environment: Environment) -> str | None:
    return None


def _needs(program: str, package: str) -> Callable[[Environment], str | None]:
    def missing(_environment: Environment) -> str | None:
        return None if shutil.which(program) else f"apt-get install {package}"

    return missing


def _needs_module(name: str) -> Callable[[Environment], str | None]:
    def missing(environment: Environment) -> str | None:
        return None if environment.has_module(name) else f"pip install {name} failed"

    return missing


def _needs_asan(_environment: Environment) -> str | None:
    return None if _asan_library() else "apt-get install libasan8"


_PROGRAMS = ("larson", "cfrac", "xmalloc")
"""Without Python nothing is a foreign call."""

PLAIN = Tool("plain", _plain, _never)
TOOLS = (
    PLAIN,
    Tool("heapledger", _heapledger("foreign"), _never, leaves_out=_PROGRAMS),
    Tool("heapledger-process", _heapledger("process"), _never),
    Tool("memray", _memray(), _needs_module("memray"), for_programs=False),
    Tool("memray-native", _memray("--native"), _needs_module("memray"), for_programs=False),
    Tool("heaptrack", _heaptrack, _needs("heaptrack", "heaptrack")),
    Tool("asan", _asan, _needs_asan),
    Tool("memcheck", _memcheck, _needs("valgrind", "valgrind")),
)
