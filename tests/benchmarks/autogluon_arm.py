"""The arm of AutoGluon in `bench_anytime`, run by the Python of an environment that has it.

    PYTHON autogluon_arm.py ROWS.npz SECONDS FOLDER

Reads `x`, `y`, `x_test` and `y_test`, fits within the time, and prints a JSON line with its test
predictions, time and members. Imports nothing of Chorale.
"""

import json
import os
import sys
import time

import numpy as np
import pandas as pd


def main() -> None:
    rows, seconds, folder = np.load(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]

    names = [f"x{i}" for i in range(rows["x"].shape[1])]
    train = pd.DataFrame(rows["x"], columns=names).assign(label=rows["y"])
    test = pd.DataFrame(rows["x_test"], columns=names)
    began = time.perf_counter()
    predictor = TabularPredictor(
        "label", path=folder, verbosity=0, eval_metric="accuracy", problem_type="multiclass"
    )
    n_cores = len(os.sched_getaffinity(0))  # by itself it counts those of the machine
    predictor.fit(train, presets="best_quality", time_limit=seconds, num_cpus=n_cores)
    took_s = time.perf_counter() - began
    proba = predictor.predict_proba(test)
    found = {
        "took_s": took_s,
        "proba": proba[sorted(proba.columns)].to_numpy().tolist(),
        "n_models": len(predictor.model_names()),
        "best": predictor.model_best,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
