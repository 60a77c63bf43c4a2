"""Sentences that name a block, for the messages of exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heapledger._native import interface
from heapledger.errors import HeapledgerError
from heapledger.records import BlockInfo

if TYPE_CHECKING:
    from heapledger.records import Frame


def block_named(address: int, byte_count: int) -> str:
    """Return "the 336-byte block at 0x7f10"."""
    return f"the {byte_count}-byte block at {address:#x}"


def origin_named(address: int) -> str:
    """Return where the block at `address` was allocated, and released if it was, as a clause."""
    try:
        described = interface.describe(address)
    except HeapledgerError:
        described = None
    if described is None:
        return "of unknown origin"
    stacks = BlockInfo.from_dict(described).stacks
    clauses = [
        f"{event} at {_first_line(stacks[event])}"
        for event in ("allocated", "released")
        if stacks.get(event)
    ]
    return ", ".join(clauses) or "of unknown origin"


def _first_line(frames: tuple[Frame, ...]) -> str:
    """Return the innermost Python line, else the innermost native one."""
    python = [frame for frame in frames if frame.language == "python"]
    return str((python or list(frames))[0])
