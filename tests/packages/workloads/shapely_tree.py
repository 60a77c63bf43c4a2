"""Shapely before 2.0: an STRtree whose __del__ is called twice, as a profiler once did."""

import collections
import collections.abc
import sys

# What was removed from there after these releases.
for name in collections.abc.__all__:
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))

from shapely.geometry import Point  # noqa: E402
from shapely.strtree import STRtree  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

points = [Point(number, number) for number in range(5)]
for _ in range(ROUNDS):
    tree = STRtree(points)
    found = len(tree.query(Point(1, 1).buffer(1)))
    tree.__del__()
    del tree
print(found)
