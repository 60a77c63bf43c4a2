"""Shapely before 2.0: GEOS through ctypes. A buffer's parameters are an object of their own."""

import sys

from shapely.geometry import Point

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

for number in range(ROUNDS):
    area = Point(number, number).buffer(0.5).area
print(round(area, 3))
