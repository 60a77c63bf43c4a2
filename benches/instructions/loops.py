"""Call the loops of `pairs.cpp` in one foreign call, or its small functions in a Python loop.

Arguments: the shared object, the loop, the number of rounds, the size of a block in bytes.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UP_COUNT = 20_000
_WARM_UP_SECONDS = 0.2
"""Longer than interception waits before it looks at fresh libraries a second time."""


def main(path: str, name: str, count: int, byte_count: int) -> None:
    """Run one loop twice, the second time counted."""
    library = ctypes.CDLL(path)
    loop = _loop(library, name, byte_count)
    end = time.monotonic() + _WARM_UP_SECONDS
    loop(_WARM_UP_COUNT)
    while time.monotonic() < end:
        loop(1)
    library.toggle()
    loop(count)
    library.toggle()


def _loop(library: ctypes.CDLL, name: str, byte_count: int) -> Callable[[int], None]:
    if name in ("call_nothing", "call_pairs"):
        return _calls(library, name, byte_count)
    function = getattr(library, name)
    function.restype = None
    function.argtypes = [ctypes.c_long, ctypes.c_size_t]
    return lambda count: function(count, byte_count)


def _calls(library: ctypes.CDLL, name: str, byte_count: int) -> Callable[[int], None]:
    nothing, make, drop = library.nothing, library.make, library.drop
    nothing.restype, make.restype, drop.restype = None, ctypes.c_void_p, None
    make.argtypes, drop.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]

    def call_nothing(count: int) -> None:
        for _ in range(count):
            nothing()

    def call_pairs(count: int) -> None:
        for _ in range(count):
            drop(make(byte_count))

    return call_nothing if name == "call_nothing" else call_pairs


# Under valgrind the first thread's stack is not where the kernel says.
_arguments = (sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
_thread = threading.Thread(target=main, args=_arguments)
_thread.start()
_thread.join()
