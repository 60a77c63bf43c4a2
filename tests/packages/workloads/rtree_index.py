"""Rtree: libspatialindex through ctypes. Insert, query, delete, stream, objects, custom storage."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rtree import index

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def boxes(count: int) -> Iterator[tuple[int, tuple[int, int, int, int], dict[str, str]]]:
    for number in range(count):
        x, y = number % 97, number * 7 % 89
        yield number, (x, y, x + 3, y + 2), {"name": f"box {number}"}


def work() -> object:
    tree = index.Index(boxes(300))
    tree.insert(1000, (5, 5, 6, 6), obj=[1, 2, 3])
    hits = sorted(tree.intersection((10, 10, 20, 20)))
    near = sorted(tree.nearest((50, 50, 51, 51), 5))
    objects = sorted(str(item.object) for item in tree.intersection((0, 0, 9, 9), objects=True))
    tree.delete(1000, (5, 5, 6, 6))
    grown = index.Index(interleaved=False)
    for number, (left, bottom, right, top), thing in boxes(100):
        grown.insert(number, (left, right, bottom, top), thing)
    counted = grown.count((0, 50, 0, 50))
    return len(hits), near[:3], objects[:2], counted, tree.bounds, len(tree.leaves())


for _ in range(ROUNDS):
    result = work()
print(result)
