"""The status numbers of the C interface, and the exception each of them becomes."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from heapledger import errors

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(IntEnum):
    """What a function of the library answers. Numbers are never reused."""

    OK = 0
    NULL_POINTER = 1
    INVALID_ARGUMENT = 2
    OUT_OF_MEMORY = 3
    NOT_FOUND = 4
    BUFFER_TOO_SMALL = 5
    STRUCT_SIZE = 6
    FINDING = 7
    IO = 8
    UNSUPPORTED = 9
    LIMIT = 10
    PANIC = 11
    STATE = 12


ERROR_BY_STATUS: Mapping[Status, type[errors.HeapledgerError]] = {
    Status.NULL_POINTER: errors.UsageError,
    Status.INVALID_ARGUMENT: errors.UsageError,
    Status.OUT_OF_MEMORY: errors.OutOfMemoryError,
    Status.NOT_FOUND: errors.NotRecordedError,
    Status.BUFFER_TOO_SMALL: errors.InternalError,
    Status.STRUCT_SIZE: errors.InternalError,
    Status.IO: errors.FileError,
    Status.UNSUPPORTED: errors.UnsupportedError,
    Status.LIMIT: errors.LimitError,
    Status.PANIC: errors.InternalError,
    Status.STATE: errors.StateError,
}
"""`OK` is no error, and `FINDING` is an error of the program under test: neither raises."""


def error_of(status: int, sentence: str) -> errors.HeapledgerError:
    """Return the exception that says `status`; a number of a newer library is an internal one."""
    try:
        known = Status(status)
    except ValueError:
        return errors.InternalError(f"status {status}: {sentence}")
    return ERROR_BY_STATUS.get(known, errors.InternalError)(sentence)
