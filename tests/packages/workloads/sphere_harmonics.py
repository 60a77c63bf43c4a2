"""sphericart: a calculator that is destroyed by hand and again when it is collected."""

import sys

import sphericart

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

for _ in range(ROUNDS):
    calculator = sphericart.SphericalHarmonics(1)
    calculator.__del__()
    del calculator
print("done")
