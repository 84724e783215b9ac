"""Members of ensembles with different numbers of seeds, from the bank to the report."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from chorale.search.bundle.disagreement import disagreement, ood_threshold_of_means
from chorale.search.cli import main
from chorale.search.combining import fusion_net
from chorale.search.config.schema import SweepConfig
from chorale.search.evaluation import final_evaluation
from chorale.search.evaluation.members import (
    Member,
    fit_ensemble,
    n_networks,
    out_of_fold_by_seed,
    out_of_fold_predictions,
    predictions_by_fold,
    predictions_by_networks,
    read_member,
)
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import FINALISTS, Job
from chorale.search.paths import StudyPaths
from chorale.search.report.data.hardest import HardTrack, hardest_tracks
from tests.search.further_seeds import add_seed

N_FOLDS = 5


@pytest.fixture(autouse=True)
def _few_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion_net, "N_TRAINING_STEPS", 10)
        yield


@pytest.fixture
def study(load_benchmark: Callable[[str], ModuleType], tmp_path: Path) -> SweepConfig:
    """Three finalists of one seed; finalist 0 has three, finalist 2 one and a part of another."""
    sweep: SweepConfig = load_benchmark("bench_ensembles").make_study(
        tmp_path, n_members=3, n_tracks=112, n_classes=4, width=8, ensemble={"kinds": ("fusion",)}
    )
    add_seed(sweep.paths, {0: N_FOLDS, 2: 4})
    add_seed(sweep.paths, {0: N_FOLDS}, seed=2)
    return sweep


def members_of(sweep: SweepConfig, seeds: dict[int, int]) -> tuple[list[Member], GroundTruth]:
    truth = read_ground_truth(sweep.paths)
    assert truth is not None
    jobs = {
        number: [Job(number, fold, seed) for seed in range(n) for fold in range(N_FOLDS)]
        for number, n in seeds.items()
    }
    return [read_member(sweep.paths, truth.split, n, mine) for n, mine in jobs.items()], truth


def test_a_member_is_the_mean_over_its_own_seeds(study: SweepConfig) -> None:
    (several, one), _ = members_of(study, {0: 3, 1: 1})
    (first,), _ = members_of(study, {0: 1})
    assert (several.seeds, one.seeds) == ((0, 1, 2), (0,))
    expected = first.out_of_fold / 3 + 2 / 3 * (first.out_of_fold / 2 + 0.125)
    np.testing.assert_allclose(several.out_of_fold, expected, atol=1e-6)
    np.testing.assert_array_equal(several.seed_out_of_fold(0), first.out_of_fold)
    np.testing.assert_array_equal(several.seed_out_of_fold(4), several.out_of_fold_by_seed[1])
    assert len(several.test_by_network) == 3 * N_FOLDS


@pytest.mark.parametrize("kind", ["soft_vote", "stacking", "fusion"])
def test_test_rows_are_predicted_by_every_network_once(study: SweepConfig, kind: str) -> None:
    members, truth = members_of(study, {0: 3, 1: 1})
    assert n_networks(members, truth.split) == 3 * N_FOLDS
    every = range(3 * N_FOLDS)
    found = predictions_by_networks(members, truth.split, every)
    expected = np.stack([member.test for member in members])
    np.testing.assert_allclose(found.proba, expected, atol=1e-6)
    one = fit_ensemble(kind, members, truth, seed=0)
    by_fold = predictions_by_fold(one, members, truth)
    assert by_fold.shape == (N_FOLDS, *one.test.shape)
    if kind == "soft_vote":
        np.testing.assert_allclose(by_fold.mean(axis=0), one.test, atol=1e-6)


def test_by_fold_a_member_with_fewer_seeds_counts_each_network_once(study: SweepConfig) -> None:
    """Of three seeds of another member, its own two would count twice and once by repetition."""
    add_seed(study.paths, {1: N_FOLDS})
    members, truth = members_of(study, {0: 3, 1: 2})
    of_fold = predictions_by_networks(members, truth.split, range(1, 3 * N_FOLDS, N_FOLDS))
    own = members[1].test_by_network
    np.testing.assert_allclose(of_fold.proba[1], (own[1] + own[1 + N_FOLDS]) / 2, atol=1e-6)


def test_views_of_seeds_that_a_member_lacks_hold_no_embeddings_of_it(study: SweepConfig) -> None:
    members, truth = members_of(study, {0: 3, 1: 1})
    views = out_of_fold_predictions(members, truth.split).views
    assert [[e is not None for e in view.embeddings] for view in views] == [
        [True, True],
        [True, False],
        [True, False],
    ]
    of_test = predictions_by_networks(members, truth.split, range(3 * N_FOLDS)).views
    assert [view.embeddings[1] is not None for view in of_test] == [True] * N_FOLDS + [False] * 10
    spaces = {int(space) for view in views for space in np.unique(view.space)}
    assert spaces == {int(view.space[0]) for view in of_test} == set(range(3 * N_FOLDS))


def test_the_disagreement_of_single_networks_is_compared_with_that_of_single_networks(
    study: SweepConfig,
) -> None:
    """Means over seeds agree more: by them, too many recordings would be out of distribution."""
    rng = np.random.default_rng(0)
    members, truth = members_of(study, {0: 3, 1: 1})
    n, n_test = len(truth.split.development_ids), len(truth.split.test_ids)

    def noisy(n_rows: int) -> np.ndarray:
        return rng.dirichlet(np.ones(4), n_rows).astype(np.float32)

    members = [
        replace(
            member,
            out_of_fold_by_seed=(by_seed := tuple(noisy(n) for _ in member.seeds)),
            out_of_fold=np.mean(by_seed, axis=0),
            test_by_network=tuple(noisy(n_test) for _ in member.test_by_network),
        )
        for member in members
    ]
    split, networks = truth.split, range(n_networks(members, truth.split))
    each = np.stack(
        [disagreement(predictions_by_networks(members, split, [at]).proba) for at in networks]
    )
    parts = [disagreement(one.proba) for one in out_of_fold_by_seed(members, split)]
    averaged = disagreement(out_of_fold_predictions(members, split).proba)
    assert len(parts) == 3
    assert np.mean(parts) == pytest.approx(each.mean(), rel=0.2)
    assert averaged.mean() < 0.8 * np.mean(parts)
    assert ood_threshold_of_means(np.concatenate(parts), each) > ood_threshold_of_means(
        averaged, each
    )


def test_the_selection_bias_is_that_of_one_seed(study: SweepConfig) -> None:
    """A mean over seeds is better than a trial, which hides how lucky the trial was."""
    several, truth = members_of(study, {0: 3, 1: 1, 2: 1})
    single, _ = members_of(study, {0: 1, 1: 1, 2: 1})
    rng = np.random.default_rng(0)
    lucky = [
        replace(one, validation=rng.permutation(one.validation) / 2 + one.validation / 2)
        for one in single
    ]
    more = [replace(a, validation=b.validation) for a, b in zip(several, lucky, strict=True)]
    bias = final_evaluation._configuration_bias
    assert bias(more, truth) == bias(lucky, truth)


def test_the_hardest_tracks_are_those_of_complete_seeds(study: SweepConfig) -> None:
    members, truth = members_of(study, {0: 3, 1: 1, 2: 1})
    labels = truth.labels(truth.split.development_ids)
    of_true = {
        track: np.mean([m.out_of_fold[i, labels[i]] for m in members])
        for i, track in enumerate(truth.split.development_ids)
    }
    with Ledger(study.ledger_url) as ledger:
        found = hardest_tracks(study.paths, truth, ledger.rows(study.name, FINALISTS))
    assert found
    for one in found:
        assert isinstance(one, HardTrack)
        assert one.n_models == 3
        assert one.proba_true == pytest.approx(of_true[one.track], abs=1e-6)


def run(study: SweepConfig, *args: str) -> dict[str, Any]:
    paths = study.paths
    assert main(["ensemble", study.name, "--runs", str(paths.root.parent), *args]) == 0
    found: dict[str, Any] = json.loads(paths.report_json.read_text())
    return found


def test_the_ensemble_command_uses_complete_seeds_and_the_report_names_them(
    study: SweepConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(study)
    assert found["seeds"] == {"0": [0, 1, 2], "1": [0], "2": [0]}
    out = " ".join(capsys.readouterr().out.split())
    assert "is left out" not in out
    assert "Finalists: 3 seeds of trial 0, 1 of trials 1, 2." in out
    page = study.paths.report_html.read_text()
    assert "3 seeds of trial 0, 1 of trials 1, 2" in page


def _set_seeds(paths: StudyPaths, n: int, *, before: str = "null") -> None:
    text = paths.sweep_yaml.read_text()
    assert f"seeds: {before}" in text
    paths.sweep_yaml.write_text(text.replace(f"seeds: {before}", f"seeds: {n}"))


def test_a_number_of_seeds_in_the_sweep_file_means_exactly_that(
    study: SweepConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    _set_seeds(study.paths, 2)
    assert run(study)["seeds"] == {"0": [0, 1]}
    out = capsys.readouterr().out
    assert "trial 1 is left out: 5 of its 10 retrainings finished" in out
    assert "trial 2 is left out: 9 of its 10 retrainings finished" in out
    _set_seeds(study.paths, 1, before="2")
    assert run(study)["seeds"] == {"0": [0], "1": [0], "2": [0]}
