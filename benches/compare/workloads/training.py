"""Train a small model with LightGBM on one thread. Argument: the number of trees."""

import sys

import lightgbm
import numpy as np

random = np.random.default_rng(1)
features = random.normal(size=(4_000, 20))
target = features[:, 0] * features[:, 1] + random.normal(size=4_000)
options = {"objective": "regression", "num_threads": 1, "verbosity": -1, "num_leaves": 31}
data = lightgbm.Dataset(features, target)
model = lightgbm.train(options, data, num_boost_round=int(sys.argv[1]))
model.predict(features)
