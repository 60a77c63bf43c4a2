"""Call the loops of `pairs.cpp` in one foreign call, or its small functions in a Python loop.

Arguments: the shared object, the loop, the number of rounds, the size of a block in bytes.
"""

import ctypes
import sys


def main(path: str, loop: str, count: int, byte_count: int) -> None:
    """Run one loop."""
    library = ctypes.CDLL(path)
    library.make.restype = ctypes.c_void_p
    library.make.argtypes = [ctypes.c_size_t]
    library.drop.restype = None
    library.drop.argtypes = [ctypes.c_void_p]
    if loop == "call_nothing":
        nothing = library.nothing
        nothing.restype = None
        for _ in range(count):
            nothing()
    elif loop == "call_pairs":
        make, drop = library.make, library.drop
        for _ in range(count):
            drop(make(byte_count))
    else:
        function = getattr(library, loop)
        function.restype = None
        function.argtypes = [ctypes.c_long, ctypes.c_size_t]
        function(count, byte_count)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
