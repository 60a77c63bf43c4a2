"""Walks through a buffer with the pointer it was given, and frees what it has at the end."""

from __future__ import annotations

import heapledger
from _library import load

COUNT = 42


def main() -> None:
    """Release a pointer into the middle of a block; it is reported and not executed."""
    libcpp = load()
    block = heapledger.allocate(COUNT * 8)
    pointer = block.address
    for value in (1.0, 2.0):
        libcpp.fill_shared_memory(pointer, COUNT // 2, value)
        pointer += COUNT // 4 * 8
    heapledger.free(pointer)
    print("Still running after freeing an interior pointer.")
    block.free()  # the block itself was left as it was
    print(heapledger.report())


if __name__ == "__main__":
    main()
