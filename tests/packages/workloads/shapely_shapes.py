"""Shapely 1.x: GEOS through ctypes."""

import sys

from shapely import affinity, ops, prepared, strtree, wkb, wkt
from shapely.geometry import LineString, MultiPoint, Point, Polygon, mapping, shape

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def work() -> object:
    square = Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(1, 1), (2, 1), (2, 2)]])
    circle = Point(3, 3).buffer(2)
    both = square.intersection(circle)
    union = ops.unary_union([square, circle, Point(9, 9).buffer(1)])
    line = LineString([(0, 0), (1, 2), (5, 5)])
    again = wkb.loads(wkb.dumps(union))
    text = wkt.loads(square.wkt)
    tree = strtree.STRtree([Point(x, x).buffer(0.4) for x in range(20)])
    hits = len(tree.query(square))
    quick = prepared.prep(square)
    inside = [quick.contains(Point(x, 1.5)) for x in range(5)]
    moved = affinity.rotate(square, 30)
    hull = MultiPoint([(0, 0), (1, 5), (3, 2)]).convex_hull
    back = shape(mapping(square))
    simple = line.simplify(0.5)
    return (
        round(both.area, 6),
        round(again.area, 6),
        text.equals(square),
        hits,
        inside,
        round(moved.centroid.x, 6),
        hull.geom_type,
        back.is_valid,
        len(simple.coords),
        line.project(Point(1, 1)) > 0,
        len(list(ops.polygonize([line, LineString([(5, 5), (0, 0)])]))),
    )


for _ in range(ROUNDS):
    result = work()
print(result)
