"""The prototype of every exported function, in one table.

`tests/python/test_prototypes.py` compares it with `include/heapledger.h`, which is generated.
"""

from __future__ import annotations

from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_char_p,
    c_int32,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, NamedTuple

from heapledger._native.structures import BlockStructure, StatisticsStructure, SuppliedFrame

ABI_VERSION = 1
"""The version of the C interface that this table describes."""

FindingCallback = CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)
ProgressCallback = CFUNCTYPE(None, c_uint64, c_uint64, c_void_p)
LogCallback = CFUNCTYPE(None, c_uint32, c_void_p, c_size_t, c_void_p)
# The texts that callbacks get are declared as c_void_p: they are not NUL-terminated, and ctypes
# would turn a c_char_p into bytes up to the first NUL.

STATUS = c_int32
SIZE_OUT = POINTER(c_size_t)
TEXT_OUT = (c_char_p, c_size_t, SIZE_OUT)


class Prototype(NamedTuple):
    """What a function takes and gives back, and whether it is called with the GIL held."""

    result: Any
    arguments: tuple[Any, ...]
    holds_gil: bool = False


def _status(*arguments: Any, holds_gil: bool = False) -> Prototype:  # noqa: ANN401 - ctypes types
    return Prototype(STATUS, arguments, holds_gil)


_AT = (c_char_p, c_uint32, c_char_p)

PROTOTYPES: dict[str, Prototype] = {
    # About the library itself
    "hl_abi_version": Prototype(c_uint32, ()),
    "hl_status_string": Prototype(c_char_p, (STATUS,)),
    "hl_last_error": _status(*TEXT_OUT),
    # Allocation
    "hl_malloc": Prototype(c_void_p, (c_size_t,)),
    "hl_calloc": Prototype(c_void_p, (c_size_t, c_size_t)),
    "hl_realloc": Prototype(c_void_p, (c_void_p, c_size_t)),
    "hl_aligned_alloc": Prototype(c_void_p, (c_size_t, c_size_t)),
    "hl_free": Prototype(None, (c_void_p,)),
    "hl_malloc_at": Prototype(c_void_p, (c_size_t, *_AT)),
    "hl_calloc_at": Prototype(c_void_p, (c_size_t, c_size_t, *_AT)),
    "hl_realloc_at": Prototype(c_void_p, (c_void_p, c_size_t, *_AT)),
    "hl_aligned_alloc_at": Prototype(c_void_p, (c_size_t, c_size_t, *_AT)),
    "hl_free_at": Prototype(None, (c_void_p, *_AT)),
    # Foreign memory
    "hl_adopt": _status(c_void_p, c_size_t),
    "hl_adopt_as": _status(c_void_p, c_size_t, c_uint32),
    "hl_disown": _status(c_void_p),
    "hl_release": _status(c_void_p, c_uint32),
    "hl_note_double_release": _status(POINTER(BlockStructure)),
    "hl_view_begin": _status(c_void_p, POINTER(c_uint64)),
    "hl_view_end": _status(c_uint64),
    "hl_family_declare": _status(c_char_p, c_char_p, POINTER(c_uint32)),
    # Questions
    "hl_describe": _status(c_void_p, POINTER(BlockStructure)),
    "hl_describe_json": _status(c_void_p, *TEXT_OUT),
    "hl_stats": _status(POINTER(StatisticsStructure)),
    "hl_mark": _status(POINTER(c_uint64)),
    "hl_leak_count_since": _status(c_uint64, POINTER(c_uint64)),
    "hl_lost_count_since": _status(c_uint64, POINTER(c_uint64)),
    "hl_leak_count_between": _status(c_uint64, c_uint64, POINTER(c_uint64)),
    "hl_lost_count_between": _status(c_uint64, c_uint64, POINTER(c_uint64)),
    "hl_finding_count": _status(POINTER(c_uint64)),
    "hl_leaks_json": _status(c_uint64, *TEXT_OUT),
    "hl_leaks_between_json": _status(c_uint64, c_uint64, c_uint64, c_uint64, *TEXT_OUT),
    "hl_findings_json": _status(c_uint64, *TEXT_OUT),
    # Reports
    "hl_report_json": _status(*TEXT_OUT),
    "hl_report_text": _status(*TEXT_OUT),
    "hl_report_write": _status(c_char_p, c_uint32),
    "hl_report_render": _status(c_char_p, c_size_t, c_char_p, c_uint32, *TEXT_OUT),
    "hl_report_symbolize": _status(
        c_char_p, c_size_t, c_char_p, ProgressCallback, c_void_p, *TEXT_OUT
    ),
    "hl_suppressions_load": _status(c_char_p),
    # Sessions
    "hl_start": _status(c_char_p),
    "hl_stop": _status(),
    "hl_check": _status(),
    "hl_doctor_json": _status(*TEXT_OUT),
    "hl_set_callback": _status(FindingCallback, c_void_p),
    "hl_set_log_callback": _status(LogCallback, c_void_p),
    # The interpreter. Connecting writes into a type of the interpreter: the GIL is held for it.
    "hl_python_connect": _status(*TEXT_OUT, holds_gil=True),
    "hl_python_read_frames": _status(*TEXT_OUT),
    "hl_python_turn_off": _status(),
    "hl_python_hide_directory": _status(c_char_p),
    "hl_supply_stack": _status(POINTER(SuppliedFrame), c_size_t, POINTER(c_uint32)),
    "hl_set_supplied_stack": _status(c_uint32),
}
