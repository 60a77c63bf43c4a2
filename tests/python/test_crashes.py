"""Where a program crashed is told, and what of: released memory, a callback that is gone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from intercepted import compile_plain, frames, run_script

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
import ctypes, gc, sys
library = ctypes.CDLL({library!r})
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)

class Picture(ctypes.Structure):
    _fields_ = [("size", ctypes.c_long), ("row", ctypes.POINTER(ctypes.c_long))]

library.picture_open.restype = ctypes.POINTER(Picture)
library.picture_close.argtypes = [ctypes.c_void_p]
library.keep_callback.argtypes = [ctypes.c_void_p]
"""

FOLLOWING = """
picture = library.picture_open()  # allocated
row = picture.contents
library.picture_close(picture)  # released
print(row.row[0])  # here
"""

CALLING_BACK = """
def register():
    library.keep_callback(ctypes.cast(CALLBACK(lambda number: number), ctypes.c_void_p))
register()
gc.collect()
library.call_back(4)  # here
"""

# The name of its file is what is read of a code object that was not seen before.
BROKEN = """
def crash():
    ctypes.string_at(8)
words = (ctypes.c_size_t * (sys.getsizeof(crash.__code__) // 8)).from_address(id(crash.__code__))
words[list(words).index(id(crash.__code__.co_filename))] = 8
library.picture_open()
crash()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile a library that is crashed with."""
    return compile_plain("crashing.c", tmp_path_factory.mktemp("native"))


def crash(library: Path, folder: Path, body: str, *options: str) -> tuple[str, dict[str, Any]]:
    """Run a program that dies of SIGSEGV; return the report as text and as data."""
    script, report = folder / "program.py", folder / "report.json"
    script.write_text(HEAD.format(library=str(library)) + body, encoding="utf-8")
    command = [sys.executable, "-m", "heapledger", "run", *options, "--json", str(report)]
    finished = subprocess.run(
        [*command, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == -signal.SIGSEGV, finished.stderr
    return finished.stderr, json.loads(report.read_text())


def line_of(body: str, mark: str) -> int:
    lines = (HEAD + body).splitlines()
    return next(at for at, line in enumerate(lines, 1) if line.endswith(mark))


def test_the_place_of_a_crash_is_told(library: Path, tmp_path: Path) -> None:
    body = "library.picture_open()\nlibrary.read_at(ctypes.c_void_p(16))  # here\n"
    text, report = crash(library, tmp_path, body)
    place = report["process"]["crash"]
    assert place["address"] == 16
    assert place["foreign_function"]["name"] == "read_at"
    lines = [frame["line"] for frame in place["stack"] if frame["language"] == "python"]
    assert lines == [line_of(body, "# here")]
    native = [frame["function"] for frame in place["stack"] if frame["language"] == "native"]
    assert native[0] == "read_at"
    assert "at address 0x10, a null pointer, in " in text
    assert "more is seen with --scope process, --check guard" in text
    assert "1 leak: what was still in use when the process died counts, in short:" in text


def test_released_memory_that_was_followed_is_named(library: Path, tmp_path: Path) -> None:
    text, report = crash(library, tmp_path, FOLLOWING)
    [finding] = [found for found in report["findings"] if found["kind"] != "leak"]
    assert finding["kind"] == "use-after-free"
    assert finding["foreign_function"]["name"] == "picture_open"
    for side in ("allocated", "released", "here"):
        lines = [line for _, line in frames(finding, side)]
        assert line_of(FOLLOWING, f"# {side}") in lines
    assert "died of following 0xbdbdbdbdbdbdbdbd" in finding["message"]
    assert "nothing that was found explains" not in text


def test_a_callback_that_is_gone_is_guessed(library: Path, tmp_path: Path) -> None:
    text, report = crash(library, tmp_path, CALLING_BACK)
    assert report["process"]["crash"]["foreign_function"]["name"] == "call_back"
    if not is_part_of_interpreter("_ctypes"):
        assert "call_back called a callback whose Python object (CFUNCTYPE) is gone" in text


def test_a_stack_that_overflows_leaves_a_report(library: Path, tmp_path: Path) -> None:
    body = "library.picture_open()\nlibrary.recurse(1)  # here\n"
    _, report = crash(library, tmp_path, body)
    assert report["process"]["crash"]["foreign_function"]["name"] == "recurse"
    assert [finding["kind"] for finding in report["findings"]] == ["leak"]


@pytest.mark.parametrize("options", [(), ("--check", "guard")], ids=["default", "guard"])
def test_what_cannot_be_read_of_the_interpreter_costs_no_report(
    library: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    _, report = crash(library, tmp_path, BROKEN, *options)
    assert report["process"]["killed_by"] == "SIGSEGV"
    assert "crash" not in report["process"]
    assert [finding["kind"] for finding in report["findings"]] == ["leak"]


def is_part_of_interpreter(module: str) -> bool:
    return not getattr(sys.modules.get(module) or __import__(module), "__file__", None)


def test_a_death_is_told_without_a_write_below_a_small_stack_for_signals(
    library: Path, tmp_path: Path
) -> None:
    text = HEAD.format(library=str(library)) + "library.use_small_stack()\nctypes.string_at(8)\n"
    run = run_script(text, tmp_path)
    assert run.status == -signal.SIGSEGV
    assert run.report["process"]["crash"]["address"] == 8
    assert {finding["kind"] for finding in run.report["findings"]} <= {"leak"}
