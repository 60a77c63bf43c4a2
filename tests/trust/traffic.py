"""What the programs of this folder have in common: calls of native code that allocate.

A program prints what it did; the same must be printed with and without heapledger.
"""

import ctypes
import os

# Empty: the functions that the whole program uses, which are not the C library's own when another
# allocator is preloaded.
libc = ctypes.CDLL(os.environ.get("TRUST_ALLOCATOR", "libc.so.6") or None)
for name in ("malloc", "calloc", "realloc", "strdup"):
    getattr(libc, name).restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.strdup.argtypes = [ctypes.c_char_p]
libc.free.argtypes = [ctypes.c_void_p]


def native() -> ctypes.CDLL:
    """Open the library made of native.c."""
    library = ctypes.CDLL(os.environ["TRUST_NATIVE"])
    library.open_session.restype = ctypes.c_void_p
    library.close_session.argtypes = [ctypes.c_void_p]
    return library


def traffic(rounds: int = 40) -> int:
    """Allocate, grow and release; return how many blocks held what was written to them."""
    intact = 0
    for size in range(1, rounds + 1):
        block = libc.malloc(size)
        ctypes.memset(block, size & 0xFF, size)
        block = libc.realloc(block, 4 * size)
        intact += ctypes.string_at(block, size) == bytes([size & 0xFF]) * size
        text = libc.strdup(b"x" * size)
        intact += ctypes.string_at(text) == b"x" * size
        zeroes = libc.calloc(size, 3)
        intact += ctypes.string_at(zeroes, 3 * size) == bytes(3 * size)
        for pointer in (text, block, zeroes):
            libc.free(pointer)
    return intact


def leak(count: int, size: int = 48) -> None:
    """Lose blocks."""
    for _ in range(count):
        libc.malloc(size)
