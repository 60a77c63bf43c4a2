"""Takes memory from the library in a loop, works on it, and forgets to give it back."""

from __future__ import annotations

import ctypes

import heapledger
from _library import load

COUNT = 42
BYTE_COUNT = COUNT * 8


def average(libcpp: ctypes.CDLL, value: float) -> float:
    """Return the average of one buffer, which nobody will ever release."""
    pointer = libcpp.get_shared_memory(COUNT)
    heapledger.adopt(pointer, BYTE_COUNT)  # recorded; without `free=` nobody owns it
    libcpp.fill_shared_memory(pointer, COUNT, value)
    array = heapledger.array(pointer, "float64")  # the length comes from the ledger
    return float(array.mean())


def main() -> None:
    """Forget ten blocks."""
    libcpp = load()
    print([average(libcpp, value) for value in range(10)])
    print(heapledger.report())


if __name__ == "__main__":
    main()
