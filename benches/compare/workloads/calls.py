"""Pairs of ctypes calls that allocate and release. Arguments: the library, how many pairs."""

import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
library.make.restype = ctypes.c_void_p
library.make.argtypes = [ctypes.c_size_t]
library.drop.restype = None
library.drop.argtypes = [ctypes.c_void_p]


def main(count: int) -> None:
    """Allocate and release through the library."""
    make, drop = library.make, library.drop
    for _ in range(count):
        drop(make(64))


main(int(sys.argv[2]))
