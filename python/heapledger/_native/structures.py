"""The structures of the C interface, field by field, with their sizes in bytes.

A structure begins with `struct_size`, which the constructor sets. `tests/python/test_layouts.py`
compares sizes and offsets with what a C compiler makes of the header.
"""

from __future__ import annotations

from ctypes import Structure, c_char_p, c_uint32, c_uint64, sizeof
from typing import Any, ClassVar

from heapledger.errors import InternalError

FINDING_KIND_COUNT = 10
STATE_LIVE = 1
STATE_QUARANTINED = 2

FAMILY_HEAPLEDGER = 3
"""`hl_malloc` and its kin, released by `hl_free`."""

FAMILY_ADOPTED = 4
"""Memory adopted without saying which function releases it."""

FAMILY_FIRST_DECLARED = 16
"""The first number of the families that programs declare."""


class _Sized(Structure):
    """A structure whose first field is the byte count the caller was made with."""

    _fields_: ClassVar[Any] = [("struct_size", c_uint64)]
    struct_size: int

    def __init__(self) -> None:
        super().__init__(struct_size=sizeof(type(self)))


class BlockStructure(_Sized):
    """`hl_block_info`: one record of the ledger. `state`: 1 live, 2 quarantined, 3 freed."""

    _fields_: ClassVar[Any] = [
        ("address", c_uint64),
        ("size", c_uint64),
        ("offset", c_uint64),
        ("state", c_uint32),
        ("family", c_uint32),
        ("allocated_by", c_uint32),
        ("released_by", c_uint32),
        ("allocated_stack", c_uint32),
        ("released_stack", c_uint32),
        ("epoch", c_uint32),
        ("flags", c_uint32),
    ]
    address: int
    size: int
    offset: int
    state: int
    family: int

    @property
    def is_live(self) -> bool:
        """Whether the block is in the program's hands."""
        return self.state == STATE_LIVE

    @property
    def is_announced(self) -> bool:
        """Whether its release is announced to the ledger, which cannot see it by itself."""
        return self.family == FAMILY_ADOPTED or self.family >= FAMILY_FIRST_DECLARED


class StatisticsStructure(_Sized):
    """`hl_statistics`: the ledger's totals; `findings` is indexed by the number of the kind."""

    _fields_: ClassVar[Any] = [
        ("live_blocks", c_uint64),
        ("live_bytes", c_uint64),
        ("peak_blocks", c_uint64),
        ("peak_bytes", c_uint64),
        ("total_blocks", c_uint64),
        ("total_bytes", c_uint64),
        ("quarantined_blocks", c_uint64),
        ("quarantined_bytes", c_uint64),
        ("findings", c_uint64 * FINDING_KIND_COUNT),
        ("ledger_bytes", c_uint64),
        ("dropped_records", c_uint64),
        ("evicted_blocks", c_uint64),
        ("evicted_bytes", c_uint64),
        ("closed_blocks", c_uint64),
        ("closed_bytes", c_uint64),
    ]


class SuppliedFrame(Structure):
    """`hl_supplied_frame`: one Python frame, told by Python."""

    _fields_: ClassVar[Any] = [
        ("file", c_char_p),
        ("function", c_char_p),
        ("line", c_uint32),
        ("reserved", c_uint32),
    ]


SIZE_BY_STRUCTURE: dict[type[Structure], int] = {
    BlockStructure: 64,
    StatisticsStructure: 200,
    SuppliedFrame: 24,
}

for _structure, _size in SIZE_BY_STRUCTURE.items():
    if sizeof(_structure) != _size:
        message = f"{_structure.__name__} has {sizeof(_structure)} bytes here and {_size} in C"
        raise InternalError(message)
