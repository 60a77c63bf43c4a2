"""How a function of the library is called: statuses become exceptions, texts arrive whole."""

from __future__ import annotations

from ctypes import byref, c_char, c_size_t, c_uint64
from typing import Any

from heapledger._native.library import load
from heapledger._native.status import Status, error_of
from heapledger.errors import InternalError

TEXT_BYTES_FIRST = 1 << 16
"""How large a text is expected to be; one that is longer costs a second call."""

TEXT_ATTEMPT_MAX = 16
"""A text may grow between two attempts, by what other threads do; not for ever."""

EXPLAINED = frozenset(
    {Status.INVALID_ARGUMENT, Status.IO, Status.UNSUPPORTED, Status.LIMIT, Status.STATE}
)
"""The statuses that the library explains by a sentence; the others say it all."""

library = load()


def check(status: int) -> None:
    """Raise the exception that `status` stands for, with the library's own sentence."""
    # Zero is `Status.OK`, and comparing with a member of an enumeration is the dearest part.
    if not status:
        return
    sentence = last_error() if status in EXPLAINED else ""
    raise error_of(status, sentence or library.hl_status_string(status).decode())


def number(function: Any, *inputs: Any) -> int:  # noqa: ANN401 - a ctypes function
    """Call a function whose one output is a `uint64_t`."""
    output = c_uint64()
    check(function(*inputs, byref(output)))
    return output.value


_capacities: dict[str, int] = {}
"""Bytes with room for a text twice as long as the last one of a function, by its name."""


def text(
    function: Any,  # noqa: ANN401 - a ctypes function
    *inputs: Any,  # noqa: ANN401
    expected_bytes: int = TEXT_BYTES_FIRST,
) -> str:
    """Call a function whose output is text, as often as it takes for a buffer that is large enough.

    Sizes are powers of two because ctypes keeps the type of every array length for ever. The next
    text of a function begins with the size of the last, for the work is done anew by each call.
    """
    capacity = 1 << (expected_bytes - 1).bit_length()
    capacity = max(capacity, _capacities.get(function.__name__, 0))
    for _ in range(TEXT_ATTEMPT_MAX):
        buffer = (c_char * capacity)()
        length = c_size_t()
        status = function(*inputs, buffer, capacity, byref(length))
        if status != Status.BUFFER_TOO_SMALL:
            check(status)
            _capacities[function.__name__] = 2 << length.value.bit_length()
            return memoryview(buffer)[: length.value].tobytes().decode("utf-8", "replace")
        capacity = 1 << max(length.value, capacity).bit_length()
    raise InternalError(f"a text of {length.value} bytes kept growing while it was read")


def last_error() -> str:
    """Return what went wrong in this thread's last failing call, as a sentence, or ""."""
    capacity = 4096
    buffer = (c_char * capacity)()
    length = c_size_t()
    library.hl_last_error(buffer, capacity, byref(length))
    return buffer.value.decode("utf-8", "replace")
