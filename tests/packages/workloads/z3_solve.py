"""z3-solver: Z3 through ctypes."""

import sys

import z3

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


def work() -> object:
    x, y = z3.Ints("x y")
    solver = z3.Solver()
    solver.add(x + y == 10, x > y, y > 2)
    answer = solver.check()
    model = solver.model()
    values = sorted(str(model[v]) for v in (x, y))
    text = str(z3.simplify(x + x + 1))
    proved = z3.Solver().check(z3.Not(x * x >= 0))
    strings = z3.simplify(z3.Concat(z3.StringVal("a"), z3.StringVal("b"))).as_string()
    try:
        z3.parse_smt2_string("(assert")
    except z3.Z3Exception:
        refused = True
    return str(answer), len(values), text, str(proved), strings, refused


for _ in range(ROUNDS):
    result = work()
print(result)
