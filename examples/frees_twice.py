"""Frees the same memory in two places, each of which believes that it is the only one."""

from __future__ import annotations

import heapledger
from _library import load

COUNT = 42


def consume(block: heapledger.Block) -> None:
    """Use a buffer and, helpfully, release it."""
    array = block.array("float64")
    array[:] = 1.0
    del array
    block.free()


def main() -> None:
    """Release one block twice; the second release is reported and not executed."""
    libcpp = load()
    pointer = libcpp.get_shared_memory(COUNT)
    block = heapledger.adopt(pointer, COUNT * 8, free=libcpp.free_shared_memory)
    consume(block)
    block.free()
    print("Still running after the second free.")
    print(heapledger.report())


if __name__ == "__main__":
    main()
