"""LightGBM before 3.0: names of features that are longer than the buffers made for them."""

import sys

import lightgbm
import numpy

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

numbers = numpy.random.RandomState(0).rand(200, 2)
names = ["n" * 260, "b" * 20]
data = lightgbm.Dataset(numbers, numbers[:, 0], feature_name=names)
booster = lightgbm.train({"verbose": -1, "num_threads": 1}, data, 2)
for _ in range(ROUNDS):
    known = booster.feature_name()
print(len(known))
