"""The programs of examples/: each survives and its report names the lines which did it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiling import ROOT, compile_program

EXAMPLES = ROOT / "examples"

# The kind in the report, and the lines (found by what stands on them) that it must name.
ERRING = {
    "forgets": ("leak", ["heapledger.adopt(", "print([average("]),
    "frees_twice": ("double", ["= heapledger.adopt(", "consume(block)", "    block.free()"]),
    "frees_interior": ("invalid", ["heapledger.allocate(", "heapledger.free("]),
    "frees_while_viewed": ("cannot be released", ["block = heapledger.adopt("]),
}


@pytest.mark.parametrize("name", ERRING)
def test_an_erring_program_is_reported_with_its_lines(name: str) -> None:
    output = run_example(f"{name}.py")
    word, marks = ERRING[name]
    assert word in output
    for mark in marks:
        for place in places(EXAMPLES / f"{name}.py", mark):
            assert place in output


def test_an_unmodified_program_is_reported_and_goes_on() -> None:
    program = EXAMPLES / "unmodified.py"
    command = [sys.executable, "-m", "heapledger", "run", str(program)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (finished.returncode, finished.stdout) == (0, "still running\n"), finished.stderr
    first = "heapledger: 1 leak (10 blocks, 3,360 bytes), 1 double free"
    assert finished.stderr.splitlines()[0] == first
    for mark in ("pointer = lib.get", "block = lib.get", "lib.free_shared_memory("):
        for place in places(program, mark):
            assert place in finished.stderr


def test_the_correct_program_has_nothing_to_report() -> None:
    output = run_example("correct.py")
    assert "sum 63.0" in output
    assert "sum 105.0" in output
    assert "no findings" in output.lower()


def test_the_c_program_gets_the_same_reports(tmp_path: Path) -> None:
    program = compile_program(EXAMPLES / "c_program.c", tmp_path)
    finished = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60)
    assert "Still running." in finished.stdout
    for mark in ("hl_calloc(", "hl_free(numbers);", "hl_free(text + 8)", "hl_malloc(42"):
        for place in places(EXAMPLES / "c_program.c", mark):
            assert place in finished.stdout


def run_example(name: str) -> str:
    """Run one example as a user would and return what it wrote to both streams."""
    command = [sys.executable, str(EXAMPLES / name)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output
    return output


def places(source: Path, mark: str) -> list[str]:
    """Return `file:line` of every line of `source` on which `mark` stands."""
    lines = source.read_text().splitlines()
    found = [f"{source.name}:{at}" for at, line in enumerate(lines, start=1) if mark in line]
    assert found, f"{mark!r} stands nowhere in {source.name}"
    return found
