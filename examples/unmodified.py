"""Leak ten blocks and release one twice, as a program does that knows nothing of heapledger.

Run it with `heapledger run examples/unmodified.py`.
"""

import ctypes

from _library import load

lib = load()


def average(count: int) -> float:
    """Return the average of memory that nobody gives back."""
    pointer = lib.get_shared_memory(count)
    values = (ctypes.c_double * count).from_address(pointer)
    return sum(values) / count


def consume(pointer: int) -> None:
    """Give the memory back when it has been used."""
    lib.free_shared_memory(pointer)


for _ in range(10):
    average(42)
block = lib.get_shared_memory(5)
consume(block)
lib.free_shared_memory(block)
print("still running")
