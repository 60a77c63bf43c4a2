"""Run programs without and with heapledger and compare how they end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from compiling import LIBRARY, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PROGRAMS = ROOT / "tests" / "trust"
SCOPES = ("foreign", "process")
SECONDS_MAX = 120
MORE_OPTIONS = os.environ.get("HEAPLEDGER_TRIAL_OPTIONS", "")
"""Options for every trial, such as `native_stacks=full:guard=1/3`."""
VARYING = re.compile(r"0x[0-9a-f]{6,}|\b\d{2,}\.\d+\b|(?<=pid )\d+")
"""What differs from run to run by itself: addresses, durations, process numbers."""


@dataclass(frozen=True)
class Ending:
    """How a program ended and what it printed."""

    status: int
    out: str
    err: str


@dataclass
class Trial:
    """Runs one program three times: plain, and under LD_PRELOAD in the scopes."""

    folder: Path
    native: Path
    plugin: Path
    library: Path = LIBRARY
    seconds_max: float = SECONDS_MAX
    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def script(self, source: str) -> Path:
        """Write a program that may import `traffic`."""
        path = self.folder / "program.py"
        path.write_text(source, encoding="utf-8")
        return path

    def environment(self, scope: str | None, **more: str) -> dict[str, str]:
        """Return the variables for a run; without a scope, heapledger is not there."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PROGRAMS), os.environ.get("PYTHONPATH", "")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TRUST_NATIVE": str(self.native),
            "TRUST_PLUGIN": str(self.plugin),
            **more,
        }
        if scope is not None:
            other = f":{environment['LD_PRELOAD']}" if environment.get("LD_PRELOAD") else ""
            environment["LD_PRELOAD"] = f"{self.library}{other}"
            options = f"scope={scope}:json={self.folder}/{scope}-%p.json:{MORE_OPTIONS}"
            environment.setdefault("HEAPLEDGER_OPTIONS", options)
        return environment

    def run(
        self,
        command: Sequence[str],
        scope: str | None,
        *,
        before: Callable[[], None] | None = None,
        keep_open: tuple[int, ...] = (),
        **more: str,
    ) -> Ending:
        """Run a command once; `before` runs in the child before the program begins."""
        finished = subprocess.run(
            command,
            env=self.environment(scope, **more),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=self.seconds_max,
            check=False,
            preexec_fn=before,
            pass_fds=keep_open,
        )
        if scope is not None:
            paths = sorted(self.folder.glob(f"{scope}-*.json"))
            self.reports[scope] = [json.loads(path.read_text("utf-8")) for path in paths]
        out, err = (VARYING.sub("#", text) for text in (finished.stdout, finished.stderr))
        return Ending(finished.returncode, out, err)

    def compare(
        self,
        command: Sequence[str],
        *,
        before: Callable[[], None] | None = None,
        **more: str,
    ) -> Ending:
        """Assert that the command ends the same in every scope, and return how."""
        plain = self.run(command, None, before=before, **more)
        for scope in SCOPES:
            watched = self.run(command, scope, before=before, **more)
            assert watched == plain, f"scope {scope} changes the program"
        return plain

    def python(
        self,
        source: str,
        *options: str,
        before: Callable[[], None] | None = None,
        **more: str,
    ) -> Ending:
        """Assert that a Python program ends the same in every scope, and return how."""
        return self.compare(self.command(source, *options), before=before, **more)

    def command(self, source: str, *options: str) -> list[str]:
        """Return what runs a Python program."""
        return [sys.executable, *options, str(self.script(source))]

    def findings(self, scope: str) -> list[str]:
        """Return the kinds that the reports of a scope name."""
        return [found["kind"] for report in self.reports[scope] for found in report["findings"]]


@pytest.fixture(scope="session")
def trust_libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Compile the native code of the programs."""
    folder = tmp_path_factory.mktemp("trust")
    made = []
    for name in ("native", "plugin"):
        path = folder / f"{name}.so"
        command = ["cc", "-std=gnu11", "-g", "-O2", "-fno-builtin", "-pthread", "-shared", "-fPIC"]
        source = PROGRAMS / f"{name}.c"
        subprocess.run([*command, "-w", "-o", str(path), str(source)], check=True)
        made.append(path)
    return made[0], made[1]


@pytest.fixture
def trial(tmp_path: Path, trust_libraries: tuple[Path, Path]) -> Trial:
    """Return what runs a program with and without heapledger."""
    return Trial(tmp_path, *trust_libraries)
