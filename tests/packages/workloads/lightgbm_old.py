"""LightGBM of 2017, with the names that NumPy had then."""

import sys
import warnings

import numpy

warnings.filterwarnings("ignore")
numpy.int, numpy.float, numpy.bool = int, float, bool

from lightgbm import LGBMRegressor  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
RANDOM = numpy.random.RandomState(0)
ROWS, TARGET = RANDOM.randint(0, 100, (500, 10)), RANDOM.randint(0, 5, 500)

for _ in range(ROUNDS):
    LGBMRegressor(n_estimators=3, nthread=1).fit(ROWS, TARGET)
print("fitted")
