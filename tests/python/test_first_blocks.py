"""The first block of each stack guarded (`guard=first`): a correct program notices nothing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from intercepted import compile_plain, run_script

if TYPE_CHECKING:
    from pathlib import Path

LIBC = """
import ctypes
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = libc.free.argtypes = libc.realloc.argtypes = [ctypes.c_void_p]
"""


def told(report: dict[str, Any]) -> list[tuple[str, str | None, int, tuple[int | None, ...]]]:
    """Return of each finding kind, access, offset, and the Python line of each side."""

    def line(finding: dict[str, Any], side: str) -> int | None:
        frames = finding["stacks"].get(side, [])
        return next((frame["line"] for frame in frames if frame["language"] == "python"), None)

    sides = ("allocated", "released", "here")
    return [
        (
            finding["kind"],
            "a read" if "a read" in finding["message"] else "a write",
            finding["block"]["offset"],
            tuple(line(finding, side) for side in sides),
        )
        for finding in report["findings"]
    ]


@pytest.mark.parametrize("scope", ["foreign", "process"])
def test_accesses_are_told_with_the_lines_of_every_side_and_go_on(
    scope: str, tmp_path: Path
) -> None:
    source = """
read = libc.malloc(40)
libc.free(read)
assert (ctypes.c_long * 5).from_address(read)[1] == 0
past = libc.malloc(32)
assert (ctypes.c_char * 200).from_address(past)[150] == b"\\0"
libc.free(past)
written = libc.malloc(20)
ctypes.memset(written, 65, 300)
libc.free(written)
print("alive")
"""
    run = run_script(LIBC + source, tmp_path, scope=f"{scope}:guard=first")
    assert (run.status, run.out, run.err) == (0, "alive\n", "")
    base = len(LIBC.splitlines()) + 1
    assert told(run.report) == [
        ("use-after-free", "a read", 8, (base + 1, base + 2, base + 3)),
        ("heap-overflow", "a read", 150, (base + 4, None, base + 5)),
        ("heap-overflow", "a write", 20, (base + 7, None, base + 8)),
    ]


@pytest.mark.parametrize("scope", ["foreign", "process"])
def test_releases_that_lead_past_us_are_carried_out(scope: str, tmp_path: Path) -> None:
    library = compile_plain("kept_functions.c", tmp_path)
    source = f"""
import ctypes, threading
library = ctypes.CDLL({str(library)!r})
for name in "make", "grow":
    getattr(library, name).restype = ctypes.c_void_p
library.grow.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
library.drop.argtypes = [ctypes.c_void_p]
def drop(block): library.drop(block)
def grow(block, size, new):
    block = library.grow(block, new)
    assert ctypes.string_at(block, min(size, new)) == b"m" * min(size, new)
    library.drop(block)
def use():
    drop(library.make(1))
    drop(library.make(24))
    drop(library.make(1000))
    drop(library.make(4096))
    drop(library.make(30000))
    grow(library.make(8), 8, 24)
    grow(library.make(100), 100, 5000)
    grow(library.make(4096), 4096, 300000)
    grow(library.make(9000), 9000, 10)
def use_again():
    drop(library.make(7))
    grow(library.make(77), 77, 200)
    drop(library.make(7777))
use()
thread = threading.Thread(target=use_again)
thread.start()
thread.join()
print("alive")
"""
    run = run_script(source, tmp_path, scope=f"{scope}:guard=first")
    assert (run.status, run.out, run.err) == (0, "alive\n", "")
    assert run.report["findings"] == []


def test_a_death_of_the_program_stays_one(tmp_path: Path) -> None:
    source = """
block = libc.malloc(40)
import faulthandler, os
faulthandler.enable(open(os.devnull, "w"))
ctypes.string_at(8)
"""
    run = run_script(LIBC + source, tmp_path, scope="foreign:guard=first")
    assert run.status == -signal.SIGSEGV
    assert run.report["process"]["killed_by"] == "SIGSEGV"


def test_a_forked_child_has_the_blocks(tmp_path: Path) -> None:
    source = """
import os
block, other = libc.malloc(40), libc.malloc(50)
libc.free(other)
ctypes.memset(block, 65, 40)
child = os.fork()
if not child:
    assert ctypes.string_at(block, 40) == b"A" * 40
    libc.free(block)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
libc.free(block)
print("alive")
"""
    run = run_script(LIBC + source, tmp_path, scope="foreign:guard=first")
    assert (run.status, run.out, run.err) == (0, "alive\n", "")
    assert run.report["findings"] == []
