"""Running programs under callgrind, and reading what it wrote: the cost of each function."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAME = re.compile(r"(?P<key>c?(?:fn|fl|fi|fe|ob))=\((?P<number>\d+)\)(?: (?P<name>.*))?")
_SECONDS_MAX = 300


class CallgrindError(Exception):
    """callgrind is not there, or the program under it failed."""


def is_installed() -> bool:
    """Tell whether callgrind can be run here."""
    return shutil.which("valgrind") is not None


def count(command: Sequence[str], environment: Mapping[str, str]) -> Counter[str]:
    """Run a program and return how many instructions each of its functions executed.

    Only what it executes between its own two requests to begin and to stop counts.
    """
    if not is_installed():
        raise CallgrindError("valgrind is not installed (on Debian: apt-get install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "callgrind.out"
        tool = ["valgrind", "--tool=callgrind", "--collect-atstart=no"]
        tool.append(f"--callgrind-out-file={written}")
        finished = subprocess.run(
            [*tool, *command],
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=_SECONDS_MAX,
            check=False,
        )
        if finished.returncode != 0 or not written.exists():
            message = f"{' '.join(command)} ended with {finished.returncode} under callgrind"
            raise CallgrindError(f"{message}:\n{finished.stderr}")
        with written.open(encoding="utf-8", errors="replace") as lines:
            return read(lines)


def read(lines: Iterator[str]) -> Counter[str]:
    """Read a profile: the cost of each function, without that of the functions it calls.

    Code that was inlined counts for the function it was inlined into.
    """
    costs: Counter[str] = Counter()
    names: dict[str, str] = {}
    function = ""
    for line in lines:
        line = line.rstrip("\n")
        if line.startswith("calls="):
            # The cost of the call follows, which belongs to the function called.
            next(lines, None)
            continue
        named = _NAME.fullmatch(line)
        if named is not None and named["key"] in ("fn", "cfn"):
            if named["name"] is not None:
                names[named["number"]] = named["name"]
            if named["key"] == "fn":
                function = names[named["number"]]
        elif function and line and (line[0].isdigit() or line[0] in "+-*"):
            costs[function] += int(line.split()[1])
    return costs
