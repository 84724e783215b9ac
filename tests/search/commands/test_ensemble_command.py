"""`chorale ensemble`: refits and evaluates ensembles on the stored predictions alone."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from chorale.search.baselines import baseline_plan, classifiers
from chorale.search.cli import main
from chorale.search.combining import fusion_net
from chorale.search.combining.fitted_file import read_ensemble
from chorale.search.config.schema import SweepConfig
from chorale.search.evaluation import final_evaluation
from chorale.search.evaluation.members import fit_ensemble, predictions_by_fold, read_member
from chorale.search.ledger import predictions
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths

ALL_KINDS = "weighted_vote,greedy,stacking,fusion,hard_vote"


@pytest.fixture(scope="module", autouse=True)
def _few_steps() -> Iterator[None]:
    """Fusion networks are trained for less than the usual number of steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion_net, "N_TRAINING_STEPS", 10)
        yield


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, load_benchmark: Callable[[str], ModuleType]
) -> SweepConfig:
    """A finished study of five members, 112 tracks and four classes, without audio or networks."""
    bench = load_benchmark("bench_ensembles")
    runs = tmp_path_factory.mktemp("runs")
    study: SweepConfig = bench.make_study(
        runs, n_members=5, n_tracks=112, n_classes=4, width=8, ensemble={"kinds": ("soft_vote",)}
    )
    return study


@pytest.fixture
def banked(made: SweepConfig, tmp_path: Path) -> StudyPaths:
    """A copy that a test may change."""
    shutil.copytree(made.runs, tmp_path / "runs")
    return StudyPaths(tmp_path / "runs" / made.name)


def run(paths: StudyPaths, *args: str) -> int:
    return main(["ensemble", paths.root.name, "--runs", str(paths.root.parent), *args])


def report(paths: StudyPaths) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(paths.report_json.read_text())
    return found


def members_of(paths: StudyPaths) -> tuple[list[Any], GroundTruth]:
    truth = read_ground_truth(paths)
    assert truth is not None
    jobs = {n: [Job(n, fold, 0) for fold in range(5)] for n in range(5)}
    return [read_member(paths, truth.split, n, mine) for n, mine in jobs.items()], truth


def test_ensembles_are_refitted_from_the_prediction_bank_and_the_look_is_counted(
    banked: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = "soft_vote,weighted_vote,greedy,stacking,fusion,hard_vote"
    assert run(banked, "--kinds", kinds, "--members", "2") == 0
    found = report(banked)
    assert set(found["ensembles"]) == {"best_single", *kinds.split(",")}
    assert found["test_looks"] == 1
    assert found["seed"] == 0, "keys that do not depend on the bank stay"
    assert found["ensemble"] == found["ensembles"][found["selection"]["kind"]]
    for kind, one in found["ensembles"].items():
        assert {"members", "params", "validation", "out_of_fold", "test"} <= one.keys()
        assert one["optimism"]["out_of_fold"] == pytest.approx(
            one["out_of_fold"]["accuracy"] - one["test"]["accuracy"]
        )
        assert json.loads(banked.ensemble(kind).read_text()) == one
        assert read_ensemble(banked.ensemble_model(kind))[0] == kind
    assert found["conformal"]["wanted"] == 0.9
    assert found["conformal"]["guaranteed"] == pytest.approx(0.8)
    expected = found["expected"]
    biases = expected["configuration_bias"], expected["kind_bias"]
    assert expected["accuracy"] == pytest.approx(
        expected["out_of_fold"] + expected["gain"] - sum(biases)
    )
    assert min(expected["gain"], *biases) >= 0
    low, high = found["conformal"]["ci95"]
    assert low <= found["conformal"]["coverage"] <= high
    assert 1 <= found["conformal"]["mean_size"] <= 4
    assert found["calibration"]["temperature"] > 0
    assert sum(one["n"] for one in found["per_class"].values()) == found["ensemble"]["test"]["n"]
    assert len(found["comparisons"]) == 21
    assert found["selection"]["reason"] in capsys.readouterr().out.replace("\n", " ")
    assert run(banked) == 0
    assert report(banked)["test_looks"] == 2


def test_ensembles_are_fitted_with_one_thread(
    banked: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several wait for one another on a busy machine, which took four times as long."""
    seen: set[int] = set()
    fit = vars(final_evaluation)["fit_ensemble"]

    def watched(*args: Any, **settings: Any) -> Any:
        seen.update(pool["num_threads"] for pool in threadpool_info())
        return fit(*args, **settings)

    monkeypatch.setattr(final_evaluation, "fit_ensemble", watched)
    with threadpool_limits(2):
        assert run(banked, "--kinds", "soft_vote") == 0
    assert seen == {1}


def test_the_best_finalists_out_of_fold_become_members(banked: StudyPaths) -> None:
    assert run(banked, "--members", "2", "--kind", "soft_vote", "--coverage", "0.8") == 0
    members, truth = members_of(banked)
    labels = truth.labels(truth.split.development_ids)
    accuracy = {m.name: np.mean(m.out_of_fold.argmax(axis=1) == labels) for m in members}
    best = sorted(accuracy, key=lambda n: -accuracy[n])[:2]
    found = report(banked)
    assert set(found["ensemble"]["members"]) <= set(best)
    assert found["selection"]["reason"] == "soft_vote: set beforehand by ensemble.kind"
    assert found["conformal"]["wanted"] == 0.8


def test_the_test_set_does_not_affect_what_is_fitted_and_chosen(banked: StudyPaths) -> None:
    kinds = ["--kinds", "soft_vote,greedy,stacking,fusion", "--members", "2"]
    assert run(banked, *kinds) == 0
    before = report(banked)
    content = json.loads(banked.ground_truth_json.read_text())
    split = json.loads(banked.split_json.read_text())
    for track in split["test_ids"]:
        content["tracks"][track][0] = (content["tracks"][track][0] + 1) % 4
    banked.ground_truth_json.write_text(json.dumps(content))
    assert run(banked, *kinds) == 0
    after = report(banked)
    assert after["selection"] == before["selection"]
    assert after["conformal"]["least_proba"] == before["conformal"]["least_proba"]
    for kind, one in before["ensembles"].items():
        for part in ("members", "params", "validation", "out_of_fold"):
            assert after["ensembles"][kind][part] == one[part]
        assert after["ensembles"][kind]["test"] != one["test"]


@pytest.mark.parametrize("kind", ["soft_vote", "stacking", "fusion"])
def test_predictions_by_fold_use_the_networks_of_that_fold(banked: StudyPaths, kind: str) -> None:
    members, truth = members_of(banked)
    one = fit_ensemble(kind, members, truth, seed=0)
    found = predictions_by_fold(one, members, truth)
    if kind == "soft_vote":
        np.testing.assert_allclose(found.mean(axis=0), one.test, atol=1e-6)

    def reversed_fold_2(each: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return (*each[:2], each[2][::-1], *each[3:])

    changed = [
        replace(
            m,
            test_by_network=reversed_fold_2(m.test_by_network),
            test_embeddings=reversed_fold_2(m.test_embeddings),
        )
        for m in members
    ]
    other = predictions_by_fold(one, changed, truth)
    assert [np.array_equal(a, b) for a, b in zip(found, other, strict=True)] == [
        fold != 2 for fold in range(truth.split.n_folds)
    ]
    np.testing.assert_allclose(other[2], found[2][::-1], atol=1e-6)


def test_a_baseline_without_fold_models_has_the_same_predictions_for_every_fold(
    banked: StudyPaths,
) -> None:
    members, truth = members_of(banked)
    alone = [
        replace(
            members[0],
            name="svm",
            test_by_network=(),
            test_embeddings=(),
            embeddings_out_of_fold=(),
        )
    ]
    one = fit_ensemble("soft_vote", alone, truth, seed=0)
    for proba in predictions_by_fold(one, alone, truth):
        np.testing.assert_array_equal(proba, one.test)


@pytest.mark.parametrize("kind", ["soft_vote", "stacking", "fusion"])
def test_out_of_fold_rows_are_predicted_by_models_that_did_not_see_them(
    banked: StudyPaths, kind: str
) -> None:
    members, truth = members_of(banked)
    one = fit_ensemble(kind, members, truth, seed=0)
    assert one.nested is not None
    ids = list(truth.split.development_ids)
    valid = [ids.index(track) for track in truth.split.valid_ids(0)]
    # in this bank the finalists' predictions for fold 0 equal those of the search trial
    if kind != "fusion":  # fusion has embeddings of the finalists only
        np.testing.assert_allclose(one.validation, one.out_of_fold[valid], atol=1e-6)
    groups = truth.groups(ids)
    for at in range(5):
        out = one.nested.folds == at
        assert out.any()
        assert not set(groups[out]) & set(groups[~out])


def test_one_finalist_is_sufficient(banked: StudyPaths) -> None:
    assert run(banked, "--members", "1", "--kinds", "weighted_vote,greedy,stacking,fusion") == 0
    assert report(banked)["best_single"]["test"] == report(banked)["ensembles"]["greedy"]["test"]


@pytest.mark.parametrize(
    ("args", "expected", "code"),
    [
        (["--kinds", "soft_vot"], "did you mean 'soft_vote'", 1),
        (["--members", "0"], "--members should be a whole number of 1 or more, but got '0'", 2),
        (["--coverage", "1.5"], "--coverage should be a number above 0 and below 1, but got", 2),
        (["--folds", "3"], "unknown option '--folds'", 2),
    ],
)
def test_wrong_options_are_reported_in_one_line(
    banked: StudyPaths,
    args: list[str],
    expected: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(banked, *args) == code
    assert expected in capsys.readouterr().err
    assert "test_looks" not in report(banked)


def test_a_leaked_row_is_refused(banked: StudyPaths, capsys: pytest.CaptureFixture[str]) -> None:
    split = json.loads(banked.split_json.read_text())
    moved = next(iter(split["fold_of"]))
    split["fold_of"][moved] = (split["fold_of"][moved] + 1) % 5
    original = banked.split_json.read_text()
    banked.split_json.write_text(json.dumps(split))
    assert run(banked) == 1
    assert "changed by hand" in capsys.readouterr().err
    split = json.loads(original)
    split["test_ids"].append(moved)
    banked.split_json.write_text(json.dumps(split))
    assert run(banked) == 1
    assert "a track is both in the test set and in a fold" in capsys.readouterr().err
    banked.split_json.write_text(original)
    truth = json.loads(banked.ground_truth_json.read_text())
    truth["tracks"][moved][1] = truth["tracks"][json.loads(original)["test_ids"][0]][1]
    banked.ground_truth_json.write_text(json.dumps(truth))
    assert run(banked) == 1
    assert "1 groups are on two sides of the split" in capsys.readouterr().err
    assert "test_looks" not in report(banked)


def damage(banked: StudyPaths, number: int, how: str) -> None:
    """Deletes, damages or replaces a finalist's predictions for a fold."""
    path = banked.finalist(number, fold=2, seed=0).predictions
    if how == "missing":
        path.unlink()
    elif how == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        truth = read_ground_truth(banked)
        assert truth is not None
        ids = truth.split.valid_ids(2)
        ids = ids if how == "of another split" else ids[::-1]
        proba = np.full((len(ids), 4), 0.25, np.float32)
        split = "other" if how == "of another split" else truth.split.hash
        predictions.write_predictions(
            path, {"valid": predictions.PredictionPart(ids, proba)}, split=split
        )


def test_members_with_invalid_predictions_are_left_out_and_named(
    banked: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = {
        "missing": "is missing",
        "torn": "is damaged",
        "of another split": "belongs to another split",
        "of other tracks": "is of other tracks",
    }
    for number, how in enumerate(problems):
        damage(banked, number, how)
    assert run(banked, "--kinds", "weighted_vote") == 0
    lines = [one for one in capsys.readouterr().out.splitlines() if "is left out" in one]
    for line, number, problem in zip(lines, range(4), problems.values(), strict=True):
        assert f"trial {number} is left out" in line
        assert problem in line
    assert report(banked)["ensembles"]["weighted_vote"]["members"] == [4]


def test_an_empty_bank_is_reported_in_one_line(
    banked: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(banked.root / "finalists")
    assert run(banked) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "no predictions of the 5 finalists can be read" in error
    assert "another --name" in error
    assert "test_looks" not in report(banked)


def test_only_one_complete_finalist_gives_a_caution(
    banked: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(f"sqlite:///{banked.root.parent / 'chorale.db'}")
    for number in (0, 1, 3, 4):
        ledger.record(banked.root.name, "finalists", Row(f"{number}/2/0", "FAIL", "diverged"))
    ledger.close()
    assert run(banked, "--kinds", "greedy,hard_vote") == 0
    out = capsys.readouterr().out
    assert "trial 0 is left out: 4 of its 5 retrainings finished" in out
    assert "there is only one finalist, trial 2" in out
    found = report(banked)
    assert found["cautions"] == [line for line in out.splitlines() if "one finalist" in line]
    assert all(one["members"] == [2] for one in found["ensembles"].values())


def relabel(banked: StudyPaths, change: Callable[[int, int], int]) -> None:
    """Gives each track another label, by its fold (-1: the test) and its label."""
    split = json.loads(banked.split_json.read_text())
    content = json.loads(banked.ground_truth_json.read_text())
    for track, row in content["tracks"].items():
        row[0] = change(split["fold_of"].get(track, -1), row[0])
    banked.ground_truth_json.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kinds", "change", "expected"),
    [
        (
            "stacking",
            lambda fold, y: 0 if y == 3 and fold == 1 else y,
            "'genre3' has no track in fold 1",
        ),
        (
            ALL_KINDS,
            lambda fold, y: 0 if y == 3 and fold > 0 else y,
            "'genre3' is in fold 0 only",
        ),
        (
            ALL_KINDS,
            lambda fold, y: 0 if y == 3 and fold >= 0 else y,
            "'genre3' has test tracks only",
        ),
        (
            "stacking",
            lambda fold, y: 0 if y == 3 and fold < 0 else y,
            "'genre3' has no test track",
        ),
    ],
)
def test_a_class_that_is_missing_in_a_part_is_named_in_a_caution(
    banked: StudyPaths,
    capsys: pytest.CaptureFixture[str],
    kinds: str,
    change: Callable[[int, int], int],
    expected: str,
) -> None:
    relabel(banked, change)
    assert run(banked, "--kinds", kinds, "--members", "2") == 0
    assert expected in capsys.readouterr().out.replace("\n", " ")
    assert len(report(banked)["cautions"]) == 1


def add_baselines(banked: StudyPaths, **skill: float) -> None:
    """Adds baselines that are right for that share of the tracks, and random for the others."""
    (_, truth) = members_of(banked)
    found = report(banked)
    rng = np.random.default_rng(0)
    for name, share in skill.items():
        parts = {}
        for part, ids in (
            ("out_of_fold", truth.split.development_ids),
            ("test", truth.split.test_ids),
        ):
            labels = truth.labels(ids)
            guess = np.where(rng.random(len(ids)) < share, labels, rng.integers(0, 4, len(ids)))
            proba = np.full((len(ids), 4), 0.1, np.float32)
            proba[np.arange(len(ids)), guess] = 0.7
            parts[part] = predictions.PredictionPart(ids, proba)
        predictions.write_predictions(banked.baseline(name), parts, split=truth.split.hash)
        found["baselines"][name] = {"params": {}}
    banked.report_json.write_text(json.dumps(found))


def test_baselines_as_good_as_the_finalists_out_of_fold_become_members(
    banked: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    add_baselines(banked, svm=1.0, knn=0.0)
    assert run(banked, "--kinds", "weighted_vote,greedy,stacking", "--baselines", "none") == 0
    without = report(banked)
    assert all(isinstance(m, int) for one in without["ensembles"].values() for m in one["members"])
    assert run(banked, "--kinds", ALL_KINDS, "--baselines", "auto") == 0
    found = report(banked)
    assert found["best_single"] == without["best_single"], "the best trial is a trial"
    for kind in ("soft_vote", "weighted_vote", "greedy", "stacking", "fusion"):
        one = found["ensembles"][kind]
        assert "svm" in one["members"]
        assert "knn" not in one["members"]
        assert {str(member) for member in one["members"]} == one["params"]["weights"].keys()
    weighted = read_ensemble(banked.ensemble_model("weighted_vote"))[1]
    assert weighted[-1] == "svm"
    # trials far behind a perfect baseline are left out, but never the best one
    assert [m for m in weighted if isinstance(m, int)] == found["best_single"]["members"]
    # a baseline has no search trial: its out-of-fold predictions for fold 0 are its validation
    assert found["ensembles"]["greedy"]["validation"]["accuracy"] > 0.9
    assert " + svm" in capsys.readouterr().out


def test_a_baseline_that_does_not_fit_the_split_is_left_out(
    banked: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    add_baselines(banked, svm=1.0)
    assert run(banked, "--baselines", "auto") == 0
    before = report(banked)
    assert "svm" in before["ensemble"]["members"]
    banked.baseline("svm").write_bytes(b"no")
    assert run(banked, "--baselines", "auto") == 0
    assert "svm is left out" in capsys.readouterr().out
    assert "svm" not in report(banked)["ensemble"]["members"]
    assert report(banked)["baselines"] == before["baselines"], "its scores stay"


def test_the_error_for_an_unknown_or_unfinished_study_names_the_next_command(
    banked: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ensemble", "none", "--runs", str(banked.root.parent)]) == 1
    assert "unknown study 'none'; choose from: banked" in capsys.readouterr().err
    banked.report_json.unlink()
    assert run(banked) == 1
    assert "chorale resume banked" in capsys.readouterr().err


def test_refitting_from_the_bank_reproduces_the_sweeps_report(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (classifiers, baseline_plan):
        grids = {
            name: {parameter: values[:1] for parameter, values in classifiers.GRIDS[name].items()}
            for name in ("logistic_regression", "svm")
        }
        monkeypatch.setattr(module, "GRIDS", grids)
    small = ["--budget.trials", "2", "--budget.max_epochs", "1", "--search.pruner", "none"]
    # baselines that an older version stored cannot be members
    small += ["--ensemble.baselines", "none", "--ensemble.kinds", "[stacking, fusion]"]
    assert main(["sweep", *tiny, *small, "--cluster.address", "none"]) == 0
    paths = StudyPaths(tmp_path / "runs" / "tiny")
    before = report(paths)
    assert run(paths) == 0
    after = report(paths)
    assert after.pop("test_looks") == before.pop("test_looks") + 1
    assert after == before

    # a study of an older version kept neither: the ground truth comes from the dataset
    paths.ground_truth_json.unlink()
    shutil.rmtree(paths.baseline("svm").parent)
    assert run(paths) == 0
    again = report(paths)
    assert again["baselines"] == before["baselines"]
    for kept in ("ensembles", "selection", "conformal", "calibration"):
        assert again[kept] == before[kept]
    assert paths.ground_truth_json.is_file()
