"""A wrapper that was copied ends its object twice.

Where the library reads the object first, it dies before it releases anything; where it does not,
all parts of the object are released twice.
"""

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


def run(
    tmp_path: Path, *options: str, source: str = "copied.c"
) -> tuple[subprocess.CompletedProcess[str], list[Finding]]:
    script, report = tmp_path / "program.py", tmp_path / "report.json"
    # The object's own release is then a jump: no frame of the library is left.
    library = str(compile_plain(source, tmp_path, "-foptimize-sibling-calls"))
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


def test_parts_of_an_object_that_is_released_twice_are_told_with_it(tmp_path: Path) -> None:
    finished, findings = run(tmp_path, source="parts.c")
    assert (finished.returncode, finished.stdout) == (0, "alive\n"), finished.stderr
    assert [finding["kind"] for finding in findings] == 3 * ["double-free"]
    (whole,) = (finding for finding in findings if "part_of" not in finding)
    assert whole["block"]["size"] == 24
    parts = [finding for finding in findings if finding is not whole]
    assert [part["part_of"] for part in parts] == 2 * [whole["fingerprint"]]
    assert finished.stderr.startswith("heapledger: 3 double frees")
    assert finished.stderr.count("\n   released:\n") == 1, finished.stderr
    for part in parts:
        assert part["message"] in finished.stderr
