"""Pairs of malloc and free in C, within one foreign call on each thread.

Arguments: the library, pairs on each thread, threads. Says how long a pair took.
"""

import ctypes
import sys
import threading

library = ctypes.CDLL(sys.argv[1])
library.pairs.restype = ctypes.c_double
library.pairs.argtypes = [ctypes.c_long, ctypes.c_size_t]


def main(count: int, thread_count: int) -> None:
    """Run the loop on each thread and say what a pair cost in processor time."""
    results = [0.0] * thread_count

    def run(index: int) -> None:
        results[index] = library.pairs(count, 64)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(thread_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"@ns_per_pair {sum(results) / thread_count:.2f}")


main(int(sys.argv[2]), int(sys.argv[3]))
