"""The founding case done correctly: memory shared with a C++ library, both ways round."""

from __future__ import annotations

import heapledger
from _library import load

COUNT = 42
BYTE_COUNT = COUNT * 8


def main() -> None:
    """Use the library's memory, then let the library use ours; nothing is left to report."""
    libcpp = load()

    # Memory of the library. The block owns it from here on: it is freed exactly once, by the
    # library's own function, and not while an array made from it is alive.
    pointer = libcpp.get_shared_memory(COUNT)
    with heapledger.adopt(pointer, BYTE_COUNT, free=libcpp.free_shared_memory) as block:
        array = block.array("float64")
        array[:] = 1.5
        print(f"{len(array)} numbers of the library's, sum {array.sum()}")
        del array

    # Memory of ours, handed to the library to fill.
    with heapledger.allocate(BYTE_COUNT, zero=True) as block:
        libcpp.fill_shared_memory(block.address, COUNT, 2.5)
        array = block.array("float64")
        print(f"{len(array)} numbers of ours, sum {array.sum()}")
        del array

    print(heapledger.report())


if __name__ == "__main__":
    main()
