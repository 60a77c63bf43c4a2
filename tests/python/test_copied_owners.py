"""A wrapper that was copied ends its object twice; the library dies before it releases anything."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from intercepted import compile_plain, frames

if TYPE_CHECKING:
    from pathlib import Path

    from intercepted import Finding

PROGRAM = """
import copy, ctypes
library = ctypes.CDLL({library!r})
library.open_it.restype = ctypes.c_void_p
library.close_it.argtypes = [ctypes.c_void_p]

class Owner:
    def __init__(self):
        self.handle = library.open_it()  # allocated

    def __del__(self):
        library.close_it(self.handle)

first = Owner()
second = copy.copy(first)
del first  # released
del second  # here
print("alive")
"""


def run(tmp_path: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], list[Finding]]:
    script, report = tmp_path / "program.py", tmp_path / "report.json"
    library = str(compile_plain("copied.c", tmp_path))
    script.write_text(PROGRAM.format(library=library), encoding="utf-8")
    command = [sys.executable, "-m", "heapledger", "run", *options, "--json", str(report)]
    finished = subprocess.run(
        [*command, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    return finished, json.loads(report.read_text())["findings"]


def line_of(mark: str) -> int:
    return next(at for at, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith(mark))


def test_what_the_process_died_of_is_named(tmp_path: Path) -> None:
    finished, findings = run(tmp_path)
    assert finished.returncode == -signal.SIGSEGV
    [finding] = findings
    assert finding["kind"] == "use-after-free"
    for side in ("allocated", "released", "here"):
        assert line_of(f"# {side}") in [line for _, line in frames(finding, side)]
    assert any("destroyed by two copies of one Owner" in hint for hint in finding["hints"])


def test_with_guard_the_program_goes_on(tmp_path: Path) -> None:
    finished, findings = run(tmp_path, "--check", "guard")
    assert (finished.returncode, finished.stdout) == (0, "alive\n"), finished.stderr
    assert {finding["kind"] for finding in findings} >= {"use-after-free", "double-free"}
