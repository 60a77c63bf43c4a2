"""Frees memory while an array still shows it."""

from __future__ import annotations

import sys
import traceback

import heapledger
from _library import load

COUNT = 42


def main() -> None:
    """Try to release a viewed block, which is refused."""
    libcpp = load()
    pointer = libcpp.get_shared_memory(COUNT)
    block = heapledger.adopt(pointer, COUNT * 8, free=libcpp.free_shared_memory)
    array = block.array("float64")
    try:
        block.free()
    except BufferError:
        traceback.print_exc(file=sys.stdout)
    array[:] = 3.0
    print(f"The array is still valid: {array.sum()}")
    print(heapledger.report())
    del array
    block.free()


if __name__ == "__main__":
    main()
