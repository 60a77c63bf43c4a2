"""Where calls come from: read natively, checked against the interpreter, or told by Python."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import heapledger
from heapledger import origins

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

SUPPLIED = {"HEAPLEDGER_OPTIONS": "python_frames=supplied"}

THREE_LINES = """
import json, threading
import heapledger

def make():
    return heapledger.allocate(48)

class Wrapper:
    def close(self, block):
        block.free()

def main():
    block = make()
    Wrapper().close(block)
    block.free()

thread = threading.Thread(target=main)
thread.start()
thread.join()
(finding,) = heapledger.findings()
lines = {event: [(f.line, f.function) for f in frames if f.file == __file__]
         for event, frames in finding.stacks.items()}
print(json.dumps(lines))
print(heapledger.origins.frame_reader().status)
"""


def test_the_reader_is_used() -> None:
    reader = origins.frame_reader()
    assert reader.native, reader
    assert reader.version.startswith(f"{sys.version_info.major}.{sys.version_info.minor}")


# The package hides its own frames once it is connected, those of the self-check too: what compares
# them runs before, in a process of its own.
SELF_CHECK = """
import sys
from heapledger import errors, selfcheck
from heapledger._native import interface
assert interface.connect_python()["status"] == "connected"

def reading(damage):
    def read():
        frames = interface.read_python_frames()
        damage(frames)
        return frames
    return read

def down(levels, damage):
    return down(levels - 1, damage) if levels else selfcheck.disagreement(reading(damage))

def wrong_line(frames): frames[-1]["line"] += 1
def wrong_name(frames): frames[-1]["function"] = "somewhere_else"
def wrong_file(frames): frames[-1]["file"] = "elsewhere.py"
def one_too_few(frames): del frames[-1]
def nothing(frames): frames.clear()
def failing(frames): raise errors.InternalError("no such function")
def none(frames): pass

class Iterating:
    def __iter__(self): yield from (down(1, none) for _ in range(1))

print(down(int(sys.argv[1]), globals()[sys.argv[2]]))
print(*Iterating())
"""


@pytest.mark.parametrize("depth", [0, 10, 50, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 200])
def test_the_self_check_agrees_at_every_depth(
    run_python: Callable[..., Program], depth: int
) -> None:
    ran = run_python(SELF_CHECK, str(depth), "none")
    assert (ran.out, ran.err) == ("None\nNone\n", "")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("wrong_line", "frame"),
        ("wrong_name", "somewhere_else"),
        ("wrong_file", "elsewhere.py"),
        ("one_too_few", "frames were read and there are"),
        ("nothing", "0 frames were read"),
        ("failing", "the frames cannot be read: no such function"),
    ],
)
def test_a_reader_that_is_wrong_is_found_out(
    run_python: Callable[..., Program], damage: str, said: str
) -> None:
    ran = run_python(SELF_CHECK, "3", damage)
    assert ran.err == ""
    assert said in ran.out.splitlines()[0]


def test_own_frames_are_hidden() -> None:
    block = heapledger.allocate(8)
    info = heapledger.describe(block)
    assert info is not None
    frames = info.stacks["allocated"]
    assert [
        frame for frame in frames if "/heapledger/" in frame.file and "tests" not in frame.file
    ] == []
    assert frames[0].function == "test_own_frames_are_hidden"


@pytest.mark.parametrize("environment", [{}, SUPPLIED], ids=["native", "supplied"])
def test_both_ways_tell_the_same_lines(
    run_python: Callable[..., Program], environment: dict[str, str]
) -> None:
    ran = run_python(THREE_LINES, **environment)
    assert ran.err == ""
    lines, status = ran.out.splitlines()
    assert status == ("supplied" if environment else "connected")
    assert lines == (
        '{"allocated": [[6, "make"], [13, "main"]], '
        '"released": [[10, "Wrapper.close"], [14, "main"]], '
        '"here": [[15, "main"]]}'
    )


def test_told_stacks_belong_to_their_call(run_python: Callable[..., Program]) -> None:
    ran = run_python(
        "import heapledger\n"
        "from heapledger._native import interface\n"
        "def inner(finding):\n"
        "    global nested\n"
        "    nested = heapledger.allocate(8)\n"
        "heapledger.on_finding(inner)\n"
        "def outer():\n"
        "    heapledger.free(0x10)\n"
        "outer()\n"
        "print(heapledger.describe(nested).stacks['allocated'][0].function)\n"
        "untold = interface.malloc(8)\n"
        "print([f.function for f in heapledger.describe(untold).stacks.get('allocated', ())\n"
        "       if f.language == 'python'])\n",
        **SUPPLIED,
    )
    assert ran.err == ""
    assert ran.out.splitlines() == ["inner", "[]"]


def test_deep_stacks_are_told_cut(run_python: Callable[..., Program]) -> None:
    ran = run_python(
        "import heapledger\n"
        "def down(n):\n"
        "    return down(n - 1) if n else heapledger.allocate(8)\n"
        "block = down(300)\n"
        "print(len(heapledger.describe(block).stacks['allocated']) >= 60)\n",
        **SUPPLIED,
    )
    assert (ran.out, ran.err) == ("True\n", "")


def test_code_made_in_a_loop_does_not_grow_the_memory_of_stacks(
    run_python: Callable[..., Program],
) -> None:
    ran = run_python(
        "import heapledger\n"
        "from heapledger import origins\n"
        "for index in range(origins.STACK_CACHE_MAX + 500):\n"
        "    exec(compile('heapledger.allocate(8).free()', f'made-{index}', 'exec'))\n"
        "print(len(origins._connection.stacks) <= origins.STACK_CACHE_MAX)\n",
        **SUPPLIED,
    )
    assert (ran.out, ran.err) == ("True\n", "")
