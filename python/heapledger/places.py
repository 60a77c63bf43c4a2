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
    return _clauses(_record_at(address))


def released_before(address: int, byte_count: int) -> str:
    """Return the sentence that a block was released, and where.

    Where is not known any more when the address belongs to another block by now.
    """
    named = f"{block_named(address, byte_count)} was released before"
    record = _record_at(address)
    is_another = record is None or record.address != address or record.state == "live"
    return named if is_another else f"{named}; {_clauses(record)}"


def _record_at(address: int) -> BlockInfo | None:
    try:
        described = interface.describe(address)
    except HeapledgerError:
        return None
    return None if described is None else BlockInfo.from_dict(described)


def _clauses(record: BlockInfo | None) -> str:
    stacks = {} if record is None else record.stacks
    events = [event for event in ("allocated", "released") if stacks.get(event)]
    clauses = [f"{event} at {_first_line(stacks[event])}" for event in events]
    return ", ".join(clauses) or "of unknown origin"


def _first_line(frames: tuple[Frame, ...]) -> str:
    """Return the innermost Python line, else the innermost native one."""
    python = [frame for frame in frames if frame.language == "python"]
    return str((python or list(frames))[0])
