"""Whether second-layer classifiers help the ensembles, and whether their rows are flattered.

    python tests/benchmarks/bench_layers.py [--data table-400,noise-500] [--seeds 0,1]
        [--fsdd FOLDER] [--nested ROWS]

A second-layer classifier is fitted on the columns of a table side by side with the out-of-fold
probabilities of the first layer (Erickson et al. 2020, "AutoGluon-Tabular", arXiv:2003.06505).
Three sets of members are compared, of which Chorale's rule chooses an ensemble each: the first
layer; the first layer and as many more classifiers of the same kinds on the columns alone; the
first layer and the second. Every member predicts test rows by the mean of its fold models.

The inputs of a second-layer model for its training rows come from models that were trained on the
rows that it is scored on. How much that flatters it is its out-of-fold score minus the score of the
same fold models on test rows, which no model has seen, above that of the first layer. `--nested`
adds a fourth set: second-layer models whose training inputs come from inner folds, which flatter
nothing and cost as many times more as there are folds.

Measured on 9 tables of 160 to 2,000 development rows, two of them with labels that mean nothing,
one seed each (table-240: two): the second layer changes the test accuracy by +0.5 +- 1.0 points and
the log loss by +0.005 +- 0.010, and beside as many more classifiers of the first by +0.6 +- 1.2 and
+0.002 +- 0.008. So Chorale has none. Where labels mean nothing, out-of-fold rows of the second
layer were flattered by 0.14 and 0.27 nats more than those of the first.

Each line of the output is the JSON of one data set and seed; a table of all follows.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_anytime  # type: ignore[import-not-found]
import made_up_data  # type: ignore[import-not-found]
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chorale.datasets.splitting.group_split import draw_folds
from chorale.search.combining.base import MemberPredictions, log_proba
from chorale.search.combining.cross_fit import cross_fit
from chorale.search.ensembles import load_ensemble
from chorale.search.evaluation.candidates import MAX_BEHIND
from chorale.search.statistics.calibration import calibrate, validated_temperature
from chorale.search.statistics.selection import NestedPredictions, choose_kind

N_FOLDS = 5
KINDS = ("soft_vote", "weighted_vote", "greedy", "stacking", "best_single")
DATA = ("table-240", "table-400", "digits", "table-500", "table-800", "noise-500", "table-1500",
        "table-4000", "table-8000", "table-20000")  # fmt: skip

Floats = NDArray[np.float64]
Make = Callable[[int], Any]


@dataclass(frozen=True)
class Table:
    """Columns x (n, n_columns), labels y (n,) and groups g (n,), counted from 0."""

    x: Floats
    y: NDArray[np.int64]
    g: NDArray[np.int64]

    def rows(self, at: NDArray[Any]) -> "Table":
        """Some rows, their groups counted from 0 again."""
        return Table(self.x[at], self.y[at], np.unique(self.g[at], return_inverse=True)[1])


@dataclass(frozen=True)
class Layer:
    """A classifier in every fold: `oof` (n, n_classes) and `test` (n_folds, n_test, n_classes)."""

    name: str
    oof: Floats
    test: Floats


def first_layer() -> dict[str, Make]:
    """Name -> a classifier for a seed."""
    return {
        "lr": lambda seed: LogisticRegression(C=0.1, max_iter=200),
        "knn": lambda seed: KNeighborsClassifier(15, weights="distance"),
        "forest": lambda seed: RandomForestClassifier(60, min_samples_leaf=2, random_state=seed),
        "boosting": lambda seed: _boosting(seed),
        "mlp": lambda seed: _mlp(64, seed),
        "mlp-small": lambda seed: _mlp(16, seed),
        "kernel": lambda seed: make_pipeline(
            Nystroem(gamma=None, n_components=200, random_state=seed),
            LogisticRegression(C=10, max_iter=200),
        ),
    }


def more_of_the_first() -> dict[str, Make]:
    """As many further classifiers as the second layer has, of its kinds."""
    return {
        "lr-2": lambda seed: LogisticRegression(C=0.01, max_iter=200),
        "boosting-2": lambda seed: _boosting(seed + 1),
    }


def second_layer() -> dict[str, Make]:
    """The classifiers that also read the first layer's probabilities."""
    return {
        "lr/2": lambda seed: LogisticRegression(C=0.01, max_iter=200),
        "boosting/2": lambda seed: _boosting(seed),
    }


def _boosting(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=20,
        max_bins=32,
        max_leaf_nodes=15,
        learning_rate=0.2,
        max_features=0.5,
        random_state=seed,
    )


def _mlp(width: int, seed: int) -> MLPClassifier:
    return MLPClassifier((width,), alpha=1e-2, max_iter=30, random_state=seed)


def table_of(name: str, seed: int, args: argparse.Namespace) -> Table:
    """A data set with more rows than are developed on; `noise-N`: labels that mean nothing."""
    if name == "digits":
        found = pd.read_csv(bench_anytime.digits_table(args))
        groups = found["speaker"]
    else:
        kind, _, size = name.partition("-")
        shape = made_up_data.SHAPES[f"table-{size}"]
        rng = np.random.default_rng([list(made_up_data.SHAPES).index(f"table-{size}"), seed])
        found = made_up_data._table(shape, rng)
        groups = found["group"]
        if kind == "noise":
            of_group = found.groupby("group")["label"].first()
            drawn = dict(zip(of_group.index, rng.permutation(of_group), strict=True))
            found["label"] = groups.map(drawn)
    x = found.filter(like="value").to_numpy(np.float64)
    y = np.unique(found["label"], return_inverse=True)[1]
    return Table(x, y.astype(np.int64), np.unique(groups, return_inverse=True)[1].astype(np.int64))


def fit_folds(
    name: str, make: Make, train: Sequence[Floats], test: Sequence[Floats], y: NDArray[np.int64],
    folds: NDArray[np.int64], seed: int,
) -> Layer:  # fmt: skip
    """Fits a classifier on all folds but one, for each.

    `train` and `test` are the columns (n, n_columns) and (n_test, n_columns) that the model of each
    fold reads.
    """
    n_classes = int(y.max()) + 1
    oof = np.full((len(y), n_classes), 1e-6)
    tests = np.full((len(train), len(test[0]), n_classes), 1e-6)
    for fold, (x, x_test) in enumerate(zip(train, test, strict=True)):
        out = folds == fold
        model = make_pipeline(StandardScaler(), make(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x[~out], y[~out])
        classes = model.classes_
        oof[np.ix_(out, classes)] = model.predict_proba(x[out])
        tests[fold][:, classes] = model.predict_proba(x_test)
    return Layer(name, oof / oof.sum(1, keepdims=True), tests / tests.sum(2, keepdims=True))


def fit_second(
    inputs: Sequence[Layer], data: Table, x_test: Floats, folds: NDArray[np.int64], seed: int,
    *, nested: Sequence[Sequence[Layer]] | None = None,
) -> list[Layer]:  # fmt: skip
    """The second layer on the first one, `inputs`.

    With `nested`, of each fold the first layer's predictions for that fold's training rows by inner
    folds, training inputs come from these.
    """
    held_out = np.concatenate([log_proba(one.oof) for one in inputs], axis=1)
    train, test = [], []
    for fold in range(int(folds.max()) + 1):
        mine = held_out.copy()
        if nested is not None:
            mine[folds != fold] = np.concatenate(
                [log_proba(one.oof) for one in nested[fold]], axis=1
            )
        train.append(np.hstack([data.x, mine]))
        of_test = [log_proba(one.test[fold]) for one in inputs]
        test.append(np.hstack([x_test, *of_test]))
    return [
        fit_folds(name, make, train, test, data.y, folds, seed)
        for name, make in second_layer().items()
    ]


def combine(layers: Sequence[Layer], data: Table, y_test: NDArray[np.int64]) -> dict[str, Any]:
    """The ensemble that Chorale's rule chooses, and its accuracy and log loss on test rows."""
    scores = [float(np.mean(one.oof.argmax(1) == data.y)) for one in layers]
    admitted = [
        one for one, score in zip(layers, scores, strict=True) if score >= max(scores) - MAX_BEHIND
    ]
    best = layers[int(np.argmax(scores))]
    held_out, on_test, weights = {}, {}, {}
    for kind in KINDS:
        members = [best] if kind == "best_single" else admitted
        module = load_ensemble(kind)
        development = MemberPredictions(np.stack([one.oof for one in members]))
        nested = cross_fit(module, development, data.y, data.g, seed=0)
        if nested is None:
            raise RuntimeError("all rows are of one group")
        model = module.fit(development, data.y, data.g, 0)
        test = MemberPredictions(np.stack([one.test.mean(axis=0) for one in members]))
        held_out[kind] = nested, module.predict(model, development)
        on_test[kind] = module.predict(model, test)
        weights[kind] = dict(zip([one.name for one in members], model.weights, strict=True))
    choice = choose_kind(
        {kind: NestedPredictions(one.proba, fitted) for kind, (one, fitted) in held_out.items()},
        data.y, data.g, seed=0,
    )  # fmt: skip
    nested = held_out[choice.kind][0]
    temperature, _ = validated_temperature(nested.proba, data.y, nested.folds)
    proba = calibrate(on_test[choice.kind], temperature)
    used = weights[choice.kind]
    return {
        "kind": choice.kind,
        "accuracy": float(np.mean(proba.argmax(1) == y_test)),
        "log_loss": _log_loss(proba, y_test),
        "out_of_fold": float(np.mean(nested.proba.argmax(1) == data.y)),
        "second": float(sum(weight for name, weight in used.items() if name.endswith("/2"))),
    }


def flattery(layers: Sequence[Layer], data: Table, y_test: NDArray[np.int64]) -> dict[str, Any]:
    """Out-of-fold minus test score of the same fold models, mean over the layers."""
    accuracy, loss = [], []
    for one in layers:
        accuracy.append(
            np.mean(one.oof.argmax(1) == data.y) - np.mean(one.test.argmax(2) == y_test)
        )
        of_test = np.mean([_log_loss(proba, y_test) for proba in one.test])
        loss.append(of_test - _log_loss(one.oof, data.y))
    return {"accuracy": float(np.mean(accuracy)), "log_loss": float(np.mean(loss))}


def _log_loss(proba: Floats, y: NDArray[np.int64]) -> float:
    return float(-np.mean(np.log(np.maximum(proba[np.arange(len(y)), y], 1e-4))))


def compare(name: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One data set and seed: the three or four sets of members."""
    every = table_of(name, seed, args)
    is_test = draw_folds(every.y, every.g, n_folds=3, seed=seed) == 0
    data, test = every.rows(~is_test), every.rows(is_test)
    n_folds = min(N_FOLDS, len(np.unique(data.g)))
    folds = draw_folds(data.y, data.g, n_folds=n_folds, seed=seed)
    plain = [data.x] * n_folds, [test.x] * n_folds

    def timed(make: Callable[[], list[Layer]]) -> tuple[list[Layer], float]:
        began = time.perf_counter()
        return make(), time.perf_counter() - began

    def on_columns(makers: Mapping[str, Make]) -> list[Layer]:
        return [fit_folds(n, make, *plain, data.y, folds, seed) for n, make in makers.items()]

    first, first_s = timed(lambda: on_columns(first_layer()))
    more, more_s = timed(lambda: on_columns(more_of_the_first()))
    second, second_s = timed(lambda: fit_second(first, data, test.x, folds, seed))
    found: dict[str, Any] = {
        "data": name, "seed": seed, "n": len(data.y), "n_test": len(test.y),
        "seconds": {"first": first_s, "more": more_s, "second": second_s},
        "flattery": {layer: flattery(of, data, test.y)
                     for layer, of in (("first", first), ("second", second))},
        "first": combine(first, data, test.y),
        "more": combine([*first, *more], data, test.y),
        "layers": combine([*first, *second], data, test.y),
    }  # fmt: skip
    if args.nested and len(data.y) <= args.nested:
        honest, found["seconds"]["nested"] = timed(
            lambda: fit_second(
                first, data, test.x, folds, seed, nested=_inner(data, test.x, folds, seed)
            )
        )
        found["flattery"]["nested"] = flattery(honest, data, test.y)
        found["nested"] = combine([*first, *honest], data, test.y)
    return found


def _inner(data: Table, x_test: Floats, folds: NDArray[np.int64], seed: int) -> list[list[Layer]]:
    """Of each fold, the first layer's predictions for its training rows, by inner folds."""
    found = []
    for fold in range(int(folds.max()) + 1):
        rows = data.rows(folds != fold)
        inner = draw_folds(rows.y, rows.g, n_folds=N_FOLDS, seed=seed + 1)
        plain = [rows.x] * N_FOLDS, [x_test[:1]] * N_FOLDS
        found.append(
            [
                fit_folds(name, make, *plain, rows.y, inner, seed)
                for name, make in first_layer().items()
            ]
        )
    return found


def print_table(results: Sequence[Mapping[str, Any]]) -> None:
    """Differences to the first layer in points of accuracy and in log loss, by data set and all."""
    names = list(dict.fromkeys(one["data"] for one in results))
    for arm, rival in (("layers", "first"), ("layers", "more"), ("more", "first"),
                       ("nested", "first")):  # fmt: skip
        means: dict[str, list[float]] = {"accuracy": [], "log_loss": []}
        print(f"{arm} minus {rival}")
        for name in names:
            mine = [one for one in results if one["data"] == name and arm in one]
            if not mine:
                continue
            each = {k: [one[arm][k] - one[rival][k] for one in mine] for k in means}
            for k, values in each.items():
                means[k].append(float(np.mean(values)))
            print(f"  {name:<12} {100 * means['accuracy'][-1]:+6.2f} points "
                  f"{means['log_loss'][-1]:+.4f} nats, {len(mine)} seeds")  # fmt: skip
        if len(means["accuracy"]) > 1:
            points, nats = (_interval(means[k]) for k in means)
            print(f"  mean         {100 * points[0]:+.2f} +- {100 * points[1]:.2f} points, "
                  f"{nats[0]:+.4f} +- {nats[1]:.4f} nats")  # fmt: skip
    print("out-of-fold minus test, points of accuracy and nats: first, second, nested")
    for name in names:
        mine = [one["flattery"] for one in results if one["data"] == name]
        cells = [
            f"{100 * np.mean([f[layer]['accuracy'] for f in mine if layer in f]):+.2f} "
            f"{np.mean([f[layer]['log_loss'] for f in mine if layer in f]):+.3f}"
            for layer in ("first", "second", "nested")
            if any(layer in f for f in mine)
        ]
        print(f"  {name:<12} {'   '.join(cells)}")


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean over data sets and the half width of its 95 % interval (t distribution)."""
    from scipy.stats import t

    n = len(values)
    return float(np.mean(values)), float(
        t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
    )


def main() -> None:
    """Runs all, the smallest first, so that an interrupted run has those."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--nested", type=int, default=0, help="also nested, up to so many rows")
    parser.add_argument("--fsdd", default="data/fsdd")
    parser.add_argument("--work", default="runs/bench_layers")
    parser.add_argument("--read", help="only print the table of an earlier output")
    args = parser.parse_args()
    if args.read:
        lines = Path(args.read).read_text().splitlines()
        print_table([json.loads(line) for line in lines if line.startswith("{")])
        return
    Path(args.work).mkdir(parents=True, exist_ok=True)
    results = []
    for seed in map(int, args.seeds.split(",")):
        for name in args.data.split(","):
            results.append(compare(name, seed, args))
            print(json.dumps(results[-1]), flush=True)
    print_table(results)


if __name__ == "__main__":
    main()
