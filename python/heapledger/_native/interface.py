"""The library's functions with Python types: one function here for one there, no decisions.

Thread-safe: each function is. Sizes are bytes, addresses are integers.
"""

from __future__ import annotations

import json
from ctypes import byref, c_uint32, c_uint64
from typing import TYPE_CHECKING, Any

from heapledger._native.calls import check, library, number, text
from heapledger._native.prototypes import ProgressCallback
from heapledger._native.status import Status
from heapledger._native.structures import BlockStructure, StatisticsStructure, SuppliedFrame
from heapledger.errors import NotRecordedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JSON_FORMAT = 0
TEXT_FORMAT = 1
ALL_FRAMES_FORMAT = 2
"""Text with the frames of the interpreter, of libffi and of heapledger."""

malloc = library.hl_malloc
"""`malloc(size) -> int | None`: address of a new recorded block."""

calloc = library.hl_calloc
"""`calloc(count, size) -> int | None`: the same, filled with zeros."""

aligned_alloc = library.hl_aligned_alloc
"""`aligned_alloc(alignment, size) -> int | None`: the same, at a multiple of `alignment`."""

free = library.hl_free
"""`free(address) -> None`: release a block of the three above; errors become findings."""

set_supplied_stack = library.hl_set_supplied_stack
"""`set_supplied_stack(stack)`: the origin of this thread's next events, zero for none."""


def library_path() -> Path | None:
    """Return the library's file; None when it was in the process already and cannot be found."""
    return library.path


def adopt(address: int, byte_count: int, family: int) -> None:
    """Record foreign memory; `byte_count` zero: the size is not known."""
    check(library.hl_adopt_as(address, byte_count, family))


def release(address: int, family: int) -> bool:
    """Announce a release by a function of `family`; False: a finding, do not carry it out."""
    return _found_nothing(library.hl_release(address, family))


def note_double_release(block: BlockStructure) -> None:
    """Record a double free of a block that the ledger may have forgotten."""
    check(library.hl_note_double_release(byref(block)))


def begin_view(address: int) -> int:
    """Note a view of the block that `address` lies in; return its number, 0 when there is none."""
    view = c_uint64()
    status = library.hl_view_begin(address, byref(view))
    return 0 if status else view.value


def end_view(number: int) -> None:
    """Note that a view is gone."""
    library.hl_view_end(number)


def declare_family(allocate_name: str, release_name: str) -> int:
    """Return the number of a new family."""
    family = c_uint32()
    names = (allocate_name.encode(), release_name.encode())
    check(library.hl_family_declare(*names, byref(family)))
    return family.value


def block_at(address: int) -> BlockStructure | None:
    """Return the record of the block at or around `address`; None: there is none."""
    if address == 0:
        return None
    block = BlockStructure()
    status = library.hl_describe(address, byref(block))
    if status == Status.NOT_FOUND:
        return None
    check(status)
    return block


def describe(address: int) -> dict[str, Any] | None:
    """Return the record of the block at or around `address` with its stacks; None: no record."""
    if address == 0:
        return None
    try:
        described: dict[str, Any] = json.loads(text(library.hl_describe_json, address))
    except NotRecordedError:
        return None
    return described


def statistics() -> StatisticsStructure:
    """Return the ledger's totals."""
    totals = StatisticsStructure()
    check(library.hl_stats(byref(totals)))
    return totals


class Totals:
    """The ledger's totals for who reads them again and again: always in the same structure."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._structure = StatisticsStructure()
        self._reference = byref(self._structure)

    def read(self) -> StatisticsStructure:
        """Read them now; the next reading overwrites them."""
        check(library.hl_stats(self._reference))
        return self._structure


def mark() -> int:
    """Return the number of a new point in time."""
    return number(library.hl_mark)


def leak_count_since(mark: int) -> int:
    """Return how many blocks allocated since `mark` are live."""
    return number(library.hl_leak_count_since, mark)


def leak_count_between(since: int, until: int) -> int:
    """Return how many blocks allocated between two marks are live; until zero: until now."""
    return number(library.hl_leak_count_between, since, until)


def lost_count_between(since: int, until: int) -> int:
    """Return how many of those blocks nothing keeps; far cheaper than the findings about them."""
    return number(library.hl_lost_count_between, since, until)


def leaks_since(mark: int) -> list[dict[str, Any]]:
    """Return what is live and was allocated since `mark`, as findings; zero: since the start."""
    leaks: list[dict[str, Any]] = json.loads(text(library.hl_leaks_json, mark))
    return leaks


def leaks_between(since: int, until: int, lost_max: int, kept_max: int) -> dict[str, Any]:
    """Return the findings about those blocks, so many of each sort, and sums of what is left out.

    The keys are "findings" and "left_out", which has "lost" and "kept", each with the numbers
    "findings", "blocks" and "bytes".
    """
    marks_and_limits = since, until, lost_max, kept_max
    answer: dict[str, Any] = json.loads(text(library.hl_leaks_between_json, *marks_and_limits))
    return answer


def findings_since(mark: int) -> list[dict[str, Any]]:
    """Return the errors recorded since `mark`, leaks not included; zero: since the start."""
    findings: list[dict[str, Any]] = json.loads(text(library.hl_findings_json, mark))
    return findings


def report_json() -> str:
    """Return the report of this process as JSON."""
    return text(library.hl_report_json)


def report_text() -> str:
    """Return the report of this process for people."""
    return text(library.hl_report_text)


def render(report: str, report_format: int, suppressions: str | None = None) -> str:
    """Return a saved report (JSON text) as text or JSON, suppressions of that file applied."""
    source = report.encode("utf-8", "replace")
    path = None if suppressions is None else suppressions.encode("utf-8", "surrogateescape")
    return text(library.hl_report_render, source, len(source), path, report_format)


def symbolized(report: str, root: str | None, progress: Callable[[int, int], None]) -> str:
    """Return a saved report (JSON text) with its native frames named from files.

    `root` is a folder that stands for the machine's root; `progress` hears how many places of how
    many have been looked up.
    """
    source = report.encode("utf-8", "replace")
    folder = None if root is None else root.encode("utf-8", "surrogateescape")
    tell = ProgressCallback(lambda done, total, _context: progress(done, total))
    # A second call would read all symbols again.
    expected = 4 * len(source) + (1 << 20)
    inputs = (source, len(source), folder, tell, None)
    return text(library.hl_report_symbolize, *inputs, expected_bytes=expected)


def start(options: str) -> None:
    """Begin a session with options in text form (`key=value`, separated by colons)."""
    check(library.hl_start(options.encode("utf-8", "surrogateescape")))


def stop() -> None:
    """End the session."""
    check(library.hl_stop())


def check_blocks() -> bool:
    """Look for damage in every block; False: there is some, recorded as findings."""
    return _found_nothing(library.hl_check())


def doctor() -> dict[str, Any]:
    """Return what is intercepted now and why not; `docs/abi.md` describes the keys."""
    answer: dict[str, Any] = json.loads(text(library.hl_doctor_json))
    return answer


def connect_python() -> dict[str, Any]:
    """Let the library find the interpreter; return status, version and reason. Idempotent."""
    answer: dict[str, Any] = json.loads(text(library.hl_python_connect))
    return answer


def read_python_frames() -> list[dict[str, Any]]:
    """Return this thread's Python frames as the native reader sees them, innermost first."""
    frames: list[dict[str, Any]] = json.loads(text(library.hl_python_read_frames))
    return frames


def turn_off_python_reader() -> None:
    """Let the library stop reading frames by itself, for good."""
    check(library.hl_python_turn_off())


def hide_directory(prefix: str) -> None:
    """Leave frames out of stacks whose file name starts with `prefix`."""
    check(library.hl_python_hide_directory(prefix.encode("utf-8", "surrogateescape")))


def supply_stack(frames: list[tuple[str, str, int]]) -> int:
    """Store a stack of (file, function, line), innermost first, and return its number."""
    array = (SuppliedFrame * len(frames))()
    for slot, (file, function, line) in zip(array, frames, strict=True):
        slot.file = file.encode("utf-8", "surrogateescape")
        slot.function = function.encode("utf-8", "surrogateescape")
        slot.line = line
    stack = c_uint32()
    check(library.hl_supply_stack(array, len(frames), byref(stack)))
    return stack.value


def _found_nothing(status: int) -> bool:
    if status == Status.FINDING:
        return False
    check(status)
    return True
