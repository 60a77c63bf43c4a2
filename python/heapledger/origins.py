"""Where a call to heapledger comes from: read by the library, or told by Python.

Owns the connection between the library and this interpreter. It is made at the first call that
needs it, never by the import: then the library is told to find the interpreter, its frame reader is
compared with `sys._getframe`, and heapledger's own frames are hidden from stacks.

Where the library cannot read frames (another implementation, a version it does not know, a failed
comparison, or `python_frames=supplied` in `HEAPLEDGER_OPTIONS`), Python tells it the stack before
each explicit call. That costs some microseconds per call; what is reported is the same.

Thread-safe. A stack that was told belongs to the thread that told it.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from heapledger import selfcheck
from heapledger._native import interface
from heapledger.errors import HeapledgerError
from heapledger.options import environment_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

P = ParamSpec("P")
R = TypeVar("R")

OWN_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
"""Frames of files below it are left out of stacks."""

STACK_CACHE_MAX = 4096
"""Stacks whose number is remembered; when there are more the memory starts anew."""

UNKNOWN_STACK = 0


class FrameReader(NamedTuple):
    """How Python frames reach the ledger.

    `status` is the library's word ("connected", "not-python", "unsupported", "turned-off"), or
    "supplied" when the option asks for that; `native` tells whether the library reads by itself.
    """

    status: str
    native: bool
    version: str = ""
    reason: str = ""


class _Connection:
    """The state of this process: not connected, connecting, connected."""

    def __init__(self) -> None:
        # Re-entrant: a garbage collection during the connection may release blocks.
        self.lock = threading.RLock()
        self.connecting = False
        self.reader: FrameReader | None = None
        self.supplying = False
        self.stacks: dict[tuple[selfcheck.Line, ...], int] = {}
        self.told = threading.local()

    def begin_in_child(self) -> None:
        """Let a forked child connect although another thread of its parent was just at it."""
        self.lock = threading.RLock()
        self.connecting = False


_connection = _Connection()
os.register_at_fork(after_in_child=_connection.begin_in_child)


def frame_reader() -> FrameReader:
    """Return how frames reach the ledger, after connecting if that has not happened."""
    connect()
    return _connection.reader or FrameReader("turned-off", native=False)


def connect() -> None:
    """Connect the library with this interpreter. Idempotent; the first call counts."""
    if _connection.reader is not None:
        return
    with _connection.lock:
        if _connection.reader is not None or _connection.connecting:
            return
        _connection.connecting = True
        reader = _connected_reader()
        interface.hide_directory(OWN_DIRECTORY)
        _connection.supplying = not reader.native
        _connection.reader = reader
        _connection.connecting = False


def call(function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Call `function` so that the ledger knows the Python stack the call comes from."""
    if _connection.reader is None:
        connect()
    if not _connection.supplying:
        return function(*arguments, **named)
    stack = _stack_of(sys._getframe(1))
    previous = getattr(_connection.told, "stack", UNKNOWN_STACK)
    _tell(stack)
    try:
        return function(*arguments, **named)
    finally:
        _tell(previous)


def _connected_reader() -> FrameReader:
    if environment_options().get("python_frames") == "supplied":
        interface.turn_off_python_reader()
        return FrameReader("supplied", native=False, reason="HEAPLEDGER_OPTIONS asks for it")
    answer = interface.connect_python()
    status = str(answer.get("status", ""))
    version = str(answer.get("version") or "")
    if status != "connected":
        return FrameReader(status, False, version, str(answer.get("reason") or ""))
    difference = selfcheck.disagreement(interface.read_python_frames)
    if difference is None:
        return FrameReader(status, True, version)
    interface.turn_off_python_reader()
    return FrameReader("turned-off", False, version, f"the self-check failed: {difference}")


def _tell(stack: int) -> None:
    interface.set_supplied_stack(stack)
    _connection.told.stack = stack


def _stack_of(frame: FrameType | None) -> int:
    lines = tuple(
        line for line in selfcheck.lines_of(frame) if not line[0].startswith(OWN_DIRECTORY)
    )
    known = _connection.stacks.get(lines)
    if known is not None:
        return known
    try:
        stack = interface.supply_stack([*lines])
    except HeapledgerError:
        # The program is served without an origin.
        return UNKNOWN_STACK
    if len(_connection.stacks) >= STACK_CACHE_MAX:
        _connection.stacks.clear()
    _connection.stacks[lines] = stack
    return stack
