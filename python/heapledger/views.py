"""Views that the ledger knows of: it tells when the memory under one is released."""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING, Any

from heapledger import origins
from heapledger._native import interface

if TYPE_CHECKING:
    from collections.abc import Callable

_lent: weakref.WeakSet[Lent] = weakref.WeakSet()


class Lent:
    """One view of the block around an address, until `end()` or its last reference."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, address: int) -> None:
        """Note the view; without a block there, or without room, nothing is noted."""
        self.number: int = origins.call(interface.begin_view, address)
        if self.number:
            _lent.add(self)

    def end(self, _end: Callable[[int], None] = interface.end_view) -> None:
        """Note that the view is gone; harmless to repeat."""
        number, self.number = self.number, 0
        if number:
            _end(number)

    def __del__(self, _getattr: Callable[..., Any] = getattr) -> None:
        """End the view with the object that it belongs to."""
        if _getattr(self, "number", 0):
            self.end()


@atexit.register
def _end_all() -> None:
    """End every view: what the interpreter destroys from here on it need not tell in order."""
    for lent in list(_lent):
        lent.end()
