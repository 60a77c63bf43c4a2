"""Damage that is found afterwards: what was written, where, and between which two moments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

HEAD = """
import ctypes, json, heapledger
heapledger.start(scope="explicit")
from heapledger._native.library import file_path
library = ctypes.CDLL(str(file_path()))
library.hl_malloc.restype = library.hl_realloc.restype = ctypes.c_void_p
library.hl_malloc.argtypes = [ctypes.c_size_t]
library.hl_free.argtypes = [ctypes.c_void_p]
library.hl_realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def make(): return library.hl_malloc(100)
def release(block): library.hl_free(block)
def write(block, offset, text): ctypes.memmove(block + offset, text, len(text))
def look(): heapledger.check()
block = make()
"""
TAIL = """
print(json.dumps([finding.to_dict() for finding in heapledger.findings()]))
"""


@pytest.fixture
def found(run_python: Callable[..., Program]) -> Callable[[str], dict[str, Any]]:
    """Run source that damages `block` and return the damage of its one finding, and its kind."""

    def run(source: str) -> dict[str, Any]:
        finished = run_python(HEAD + source + TAIL)
        assert (finished.status, finished.err) == (0, "")
        (finding,) = json.loads(finished.out)
        damage: dict[str, Any] = finding["damage"]
        assert damage["offset"] == finding["block"]["offset"]
        moments = {name: damage.pop(name) for name in ("after", "before")}
        for name, moment in moments.items():
            damage[name] = (moment["event"], moment["place"].rsplit(" ", 1)[-1])
        return {"kind": finding["kind"], **damage}

    return run


def test_a_write_after_free_lies_between_the_release_and_the_check(
    found: Callable[[str], dict[str, Any]],
) -> None:
    assert found("release(block)\nwrite(block, 12, b'abc')\nlook()\n") == {
        "kind": "use-after-free",
        "offset": 12,
        "length": 3,
        "found": "",  # what lies in a block is the program's
        "after": ("release", "release"),
        "before": ("check", "look"),
    }


def test_a_check_that_saw_the_block_intact_is_the_earlier_end(
    found: Callable[[str], dict[str, Any]],
) -> None:
    source = """
def look_early(): heapledger.check()
release(block)
heapledger.check()
look_early()
write(block, 0, b'a' * 100)
for _ in range(40_000):
    release(make())
"""
    assert found(source) == {
        "kind": "use-after-free",
        "offset": 0,
        "length": 100,
        "found": "",
        "after": ("check", "look_early"),
        "before": ("eviction", "release"),
    }


def test_a_check_before_the_release_says_nothing_of_the_time_after_it(
    found: Callable[[str], dict[str, Any]],
) -> None:
    damage = found("look()\nrelease(block)\nwrite(block, 1, b'a')\nlook()\n")
    assert (damage["after"], damage["before"]) == (("release", "release"), ("check", "look"))


def test_an_overflow_lies_between_the_allocation_and_the_release(
    found: Callable[[str], dict[str, Any]],
) -> None:
    assert found("write(block, 102, b'ab')\nrelease(block)\n") == {
        "kind": "heap-overflow",
        "offset": 102,
        "length": 2,
        "found": b"ab".hex(),
        "after": ("allocation", "make"),
        "before": ("release", "release"),
    }


def test_an_overflow_after_a_check_is_noticed_at_the_resize(
    found: Callable[[str], dict[str, Any]],
) -> None:
    damage = found("look()\nwrite(block, 100, b'a')\nblock = library.hl_realloc(block, 200)\n")
    assert damage["after"] == ("check", "look")
    assert damage["before"] == ("resize", "<module>")


@pytest.mark.parametrize("kind", ["double", "float", "long", "byte"])
def test_arithmetic_on_what_we_filled_changes_it(
    kind: str, run_python: Callable[..., Program]
) -> None:
    """As large numbers the patterns would absorb it: `x += 1.0` would leave every bit as it was."""
    source = f"""
values = ctypes.POINTER(ctypes.c_{kind}).from_buffer(ctypes.c_void_p(block))
values[{100 if kind == "byte" else 104} // ctypes.sizeof(ctypes.c_{kind})] += 1
release(block)
other = make()
values = ctypes.POINTER(ctypes.c_{kind}).from_buffer(ctypes.c_void_p(other))
release(other)
values[1] += 1
look()
"""
    finished = run_python(HEAD + source + TAIL)
    assert (finished.status, finished.err) == (0, "")
    kinds = {finding["kind"] for finding in json.loads(finished.out)}
    assert kinds == {"heap-overflow", "use-after-free"}


# As many blocks as do not fit between the interpreter's, so that some lie side by side.
ROW = """
row = sorted(make() for _ in range(2_000))
first, second = next(pair for pair in zip(row, row[1:]) if pair[1] - pair[0] < 300)
distance = second - first
"""


def test_an_underflow_names_the_bytes_before_the_block(
    found: Callable[[str], dict[str, Any]],
) -> None:
    # In front lies a block in use: of a free one glibc would look at the damaged word, and abort.
    damage = found(f"{ROW}write(second, -2, b'ab')\nlook()\n")
    assert (damage["kind"], damage["offset"], damage["found"]) == (
        "heap-underflow",
        -2,
        b"ab".hex(),
    )


@pytest.mark.parametrize(
    ("before", "text"), [(20, "b'\\5\\0\\0\\0'"), (16, "b'\\5' + bytes(7)"), (9, "b'a'")]
)
def test_a_write_that_skips_the_word_in_front_may_be_meant_for_the_next_block(
    before: int, text: str, run_python: Callable[..., Program]
) -> None:
    """`int[-5]` and `long[-2]`: in front of them lies the redzone of another block."""
    write = f"write(second, -{before}, {text})\nlook()\nprint(distance - {before})\n"
    finished = run_python(HEAD + ROW + write + TAIL)
    assert (finished.status, finished.err) == (0, "")
    offset, text = finished.out.splitlines()
    (finding,) = json.loads(text)
    assert finding["kind"] == "heap-overflow"
    assert finding["block"]["offset"] == int(offset)
    count = f"{before} bytes"
    place = next(
        f"{number} in make"
        for number, line in enumerate(HEAD.splitlines(), 1)
        if line.startswith("def make")
    )
    (hint,) = finding["hints"]
    assert hint.startswith(f"or {count} before the next block (100 bytes, allocated at ")
    assert hint.endswith(f":{place}): a negative index writes there")


def test_a_write_just_past_the_end_is_not_meant_for_the_next_block(
    run_python: Callable[..., Program],
) -> None:
    finished = run_python(HEAD + ROW + "write(first, 130, b'abcd')\nlook()\n" + TAIL)
    assert (finished.status, finished.err) == (0, "")
    (finding,) = json.loads(finished.out)
    assert (finding["kind"], finding["block"]["offset"]) == ("heap-overflow", 130)
    assert finding["hints"] == []


@pytest.mark.parametrize(
    ("number", "index", "value", "offset"),
    [
        ("byte", -1, 5, -1),
        ("int", -1, 5, -4),
        ("int", -2, 5, -8),
        ("long", -1, 5, -8),
        ("long", -1, 0, -8),
        # The upper half of the word is zero anyhow.
        ("int", -1, 0, None),
        # The last bytes of the block in front, which nobody has on record.
        ("int", -3, 5, None),
        ("long", -2, 5, None),
        ("int", -5, 5, None),
    ],
)
def test_what_a_negative_index_does_behind_a_block_that_is_not_on_record(
    number: str, index: int, value: int, offset: int | None, run_python: Callable[..., Program]
) -> None:
    """The word in front is looked at; what lies before it is the content of the block in front."""
    source = f"""
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
pairs = [(libc.malloc(200), make()) for _ in range(2_000)]
block = next(
    second for first, second in pairs if first + libc.malloc_usable_size(first) + 8 == second
)
ctypes.POINTER(ctypes.c_{number}).from_buffer(ctypes.c_void_p(block))[{index}] = {value}
look()
release(block)
"""
    finished = run_python(HEAD + source + TAIL)
    assert (finished.status, finished.err) == (0, "")
    found = [(one["kind"], one["block"]["offset"]) for one in json.loads(finished.out)]
    assert found == ([] if offset is None else [("heap-underflow", offset)])


def test_a_block_that_others_push_out_is_one_finding_wherever_that_happens(
    run_python: Callable[..., Program],
) -> None:
    source = """
def push_out():
    for _ in range(40_000):
        release(make())
blocks = [make() for _ in range(100)]
for one in blocks:
    release(one)
    write(one, 5, b'a')
for _ in range(16_500 // 4):
    release(make())
    release(make())
    release(make())
    release(make())
push_out()
"""
    finished = run_python(HEAD + source + TAIL)
    (finding,) = json.loads(finished.out)
    assert (finding["kind"], finding["count"]) == ("use-after-free", 100)


def test_the_text_says_what_was_written_and_when(run_python: Callable[..., Program]) -> None:
    source = "release(block)\nwrite(block, 12, b'abc')\nlook()\nprint(heapledger.report())\n"
    said = run_python(HEAD + source).out
    assert "12 bytes inside a 100-byte block" in said
    assert "written there: 3 bytes, between the release at" in said
    assert "and the check at" in said


def test_a_look_at_thousands_of_blocks_finds_the_damaged_ones_alone(
    run_python: Callable[..., Program],
) -> None:
    source = """
sizes = [1, 24, 100, 700, 1_500, 5_000, 40_000] * 500 + [2_000_000] * 7
blocks = [(library.hl_malloc(size), size) for size in sizes]
assert not heapledger.check()
damaged = blocks[3::97]
for number, (block, size) in enumerate(damaged):
    if number % 3 == 0:
        write(block, size, b'a')
    elif number % 3 == 1:
        write(block, -2, b'a')
    else:
        release(block)
        write(block, size - 1, b'a')
release(blocks[-1][0])
counts = {finding.kind: finding.count for finding in heapledger.check()}
assert not heapledger.check(), heapledger.findings()
print(len(damaged), json.dumps(counts))
"""
    finished = run_python(HEAD + source)
    assert (finished.status, finished.err) == (0, "")
    count, counts = finished.out.split(" ", 1)
    third, rest = divmod(int(count), 3)
    assert json.loads(counts) == {
        "heap-overflow": third + (rest > 0),
        "heap-underflow": third + (rest > 1),
        "use-after-free": third,
    }
