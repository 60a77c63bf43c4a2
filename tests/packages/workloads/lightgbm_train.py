"""LightGBM: trains a small model."""

import sys

import lightgbm
import numpy as np

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3

generator = np.random.default_rng(7)
features = generator.normal(size=(300, 5))
target = (features[:, 0] + features[:, 1] > 0).astype(int)


def work() -> object:
    data = lightgbm.Dataset(features, label=target, free_raw_data=False)
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 7}, data, 5
    )
    predicted = booster.predict(features[:20])
    text = booster.model_to_string()
    again = lightgbm.Booster(model_str=text)
    same = bool(np.allclose(again.predict(features[:20]), predicted))
    return [int(p > 0.5) for p in predicted[:5]], same, len(booster.feature_importance())


for _ in range(ROUNDS):
    result = work()
print(result)
