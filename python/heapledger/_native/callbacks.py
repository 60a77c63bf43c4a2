"""Python functions that the library calls.

The library may call from any thread, holding none of its locks. One native function per kind is
made and kept for ever (a thread may be inside it at any time); what it passes on to can change. An
exit handler takes them back, because the library outlives the interpreter.
"""

from __future__ import annotations

import atexit
import ctypes
from typing import TYPE_CHECKING

from heapledger._native.calls import check, library
from heapledger._native.prototypes import FindingCallback, LogCallback

if TYPE_CHECKING:
    from collections.abc import Callable

    FindingReceiver = Callable[[str], None]
    LogReceiver = Callable[[int, str], None]

_finding_receiver: FindingReceiver | None = None
_log_receiver: LogReceiver | None = None


def set_finding_receiver(receiver: FindingReceiver | None) -> None:
    """Have `receiver(json_text)` called for every finding, on the thread that erred; None: stop."""
    global _finding_receiver
    _finding_receiver = receiver
    check(library.hl_set_callback(_ON_FINDING if receiver else FindingCallback(), None))
    atexit.unregister(_take_back)
    atexit.register(_take_back)


def set_log_receiver(receiver: LogReceiver | None) -> None:
    """Have `receiver(level, message)` called for every log line, 1 error to 5 trace; None: stop."""
    global _log_receiver
    _log_receiver = receiver
    check(library.hl_set_log_callback(_ON_LOG if receiver else LogCallback(), None))
    atexit.unregister(_take_back)
    atexit.register(_take_back)


def _pass_on_finding(address: int, length: int, _context: int | None) -> None:
    receiver = _finding_receiver
    if receiver is not None:
        receiver(_text_at(address, length))


def _pass_on_log(level: int, address: int, length: int, _context: int | None) -> None:
    receiver = _log_receiver
    if receiver is not None:
        receiver(level, _text_at(address, length))


def _text_at(address: int, length: int) -> str:
    return ctypes.string_at(address, length).decode("utf-8", "replace")


def _take_back() -> None:
    library.hl_set_callback(FindingCallback(), None)
    library.hl_set_log_callback(LogCallback(), None)


_ON_FINDING = FindingCallback(_pass_on_finding)
_ON_LOG = LogCallback(_pass_on_log)
