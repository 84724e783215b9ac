"""The final evaluation: fits ensembles out of fold, then scores them on the locked test set once.

All ensembles are fitted, and the one whose score the report states is chosen, before the test set
is scored. `search.commands.ensemble` repeats this from the prediction bank alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.search.baselines.fitted_baselines import Baseline
from chorale.search.combining.fitted_file import write_ensemble
from chorale.search.config.schema import AUTO_KIND, SweepConfig
from chorale.search.evaluation.candidates import admit_members, baseline_member, best_finalists
from chorale.search.evaluation.chosen_predictions import (
    ChosenPredictions,
    chosen_predictions,
    write_chosen_predictions,
)
from chorale.search.evaluation.label_thresholds import label_scores, score_parts
from chorale.search.evaluation.limited_members import (
    cost_of_members,
    limit_cautions,
    members_within,
)
from chorale.search.evaluation.member_names import BEST_BASELINE
from chorale.search.evaluation.members import (
    FittedEnsemble,
    Member,
    fit_ensemble,
    predictions_by_fold,
    score_rows,
)
from chorale.search.evaluation.near_duplicates import near_duplicate_warnings
from chorale.search.evaluation.warnings import data_warnings
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.near_pairs import read_near_pairs
from chorale.search.native_threads import single_thread
from chorale.search.statistics.arrays import decisions
from chorale.search.statistics.calibration import fit_temperature
from chorale.search.statistics.conformal import covers, fit_conformal, has_loss
from chorale.search.statistics.expected_accuracy import ExpectedAccuracy, expected_accuracy
from chorale.search.statistics.expected_map import ExpectedMap, expected_map
from chorale.search.statistics.fold_averaging import FoldAveraging, estimate_fold_averaging
from chorale.search.statistics.intervals import proportion_interval
from chorale.search.statistics.scores import (
    optimism,
    paired_difference,
    pairwise_comparisons,
    per_class_scores,
)
from chorale.search.statistics.selection import (
    REFERENCE_KIND,
    KindChoice,
    NestedPredictions,
    choose_kind,
)
from chorale.search.statistics.selection_bias import configuration_selection_bias
from chorale.search.statistics.thresholds import fit_thresholds
from chorale.search.training.model_cost import ModelLimit

BEST_SINGLE = "best_single"


@dataclass(frozen=True)
class FinalEvaluation:
    """The result of a sweep, JSON-ready: the scores of each ensemble and baseline.

    `members` are the finalists that were combined, best first, `chosen` is the chosen ensemble.
    `ensembles` maps a kind to `kind`, `members` (trials by number, baselines by name), `params`,
    the scores `validation`, `out_of_fold` and `test`, and its `optimism`; `baselines` maps a name
    to `params`, `out_of_fold`, `test`. `gains` is the chosen ensemble's test accuracy minus that of
    each rival (`difference` and `ci95`, paired by track, with groups). `test_looks` counts all
    evaluations of this test set. `details` are further keys of the report: see `detailed_scores`.
    """

    ensembles: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]
    gains: dict[str, dict[str, Any]]
    test_looks: int
    members: Sequence[Member]
    chosen: FittedEnsemble
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of the chosen ensemble."""
        return self.chosen.kind

    def as_report(self) -> dict[str, Any]:
        """The keys of `report.json` that follow from the prediction bank."""
        single, ensemble = self.ensembles[BEST_SINGLE], self.ensembles[self.kind]
        return {
            "best_single": single,
            "ensemble": ensemble,
            "ensembles": self.ensembles,
            "baselines": self.baselines,
            "gains": self.gains,
            "optimism": {
                "best_single": single["optimism"]["validation"],
                "ensemble": ensemble["optimism"]["validation"],
            },
            "test_looks": self.test_looks,
            **self.details,
        }


def evaluate_from_bank(
    sweep: SweepConfig,
    truth: GroundTruth,
    ledger: Ledger,
    members: Sequence[Member],
    baselines: Sequence[Baseline],
) -> FinalEvaluation:
    """Fits every ensemble of the sweep, scores the test set once, and counts that in the ledger.

    Combined are those of the best `ensemble.members` finalists by out-of-fold accuracy, and of the
    baselines, that `search.evaluation.candidates` admits; `best_single` is a trial, or the best
    baseline where time did not allow any. Writes `ensembles/<kind>.json`,
    `ensembles/<kind>.safetensors` and the chosen ensemble's predictions. With one thread: see
    `search.native_threads`.
    """
    with single_thread():
        return _evaluate(sweep, truth, ledger, members, baselines)


def _evaluate(
    sweep: SweepConfig,
    truth: GroundTruth,
    ledger: Ledger,
    members: Sequence[Member],
    baselines: Sequence[Baseline],
) -> FinalEvaluation:
    split, seed = truth.split, sweep.search.seed
    rows = ledger.rows(sweep.name, "search")
    limit = ModelLimit.of(sweep, split.n_folds)
    ranked = best_finalists(members, truth, n=len(members))
    ranked = ranked if limit is None else members_within(ranked, rows, limit)
    trials = [_named(member, rows) for member in ranked[: sweep.ensemble.members]]
    # the cost of baselines is not measured; any model rather than none
    offered = (sweep.ensemble.baselines == AUTO_KIND and limit is None) or not trials
    alone = [baseline_member(one, truth) for one in baselines]
    members_of = {BEST_SINGLE: trials or alone, BEST_BASELINE: alone}
    together = admit_members(trials, baselines if offered else [], truth)
    fixed = () if sweep.ensemble.kind == AUTO_KIND else (sweep.ensemble.kind,)
    also = (BEST_BASELINE,) if offered else ()
    wanted = dict.fromkeys([BEST_SINGLE, REFERENCE_KIND, *fixed, *sweep.ensemble.kinds, *also])
    if BEST_BASELINE in fixed and not alone:
        raise UserError(f"ensemble.kind is {BEST_BASELINE}, but there is no baseline; write auto")
    kinds = [kind for kind in wanted if kind != BEST_BASELINE or alone]
    fitted = {
        kind: fit_ensemble(kind, members_of.get(kind, together), truth, seed=seed) for kind in kinds
    }
    choice = _choose(sweep.ensemble.kind, fitted, truth, seed=seed)
    chosen, combined = fitted[choice.kind], members_of.get(choice.kind, together)
    expected, averaged = _expected(chosen, choice, members, combined, truth, seed=seed)
    temperature, predictions = chosen_predictions(chosen, truth, ratio=averaged.temperature_ratio)

    looks = ledger.count_test_look(sweep.name, split.hash)
    ensembles = {}
    for kind, one in fitted.items():
        ensembles[kind] = _scored(one, truth, seed=seed)
        write_json(sweep.paths.ensemble(kind), ensembles[kind])
        path = sweep.paths.ensemble_model(kind)
        write_ensemble(path, one.model, kind=kind, members=one.members)
    scored = {
        baseline.name: {
            "params": baseline.params,
            **score_parts(
                {
                    "out_of_fold": (baseline.oof_proba, split.development_ids),
                    "test": (baseline.test_proba, split.test_ids),
                },
                baseline.oof_proba,
                truth,
                seed=seed,
            ),
        }
        for baseline in baselines
    }
    on_test = {kind: one.test for kind, one in fitted.items()}
    rivals = {BEST_SINGLE: on_test[BEST_SINGLE]} | {b.name: b.test_proba for b in baselines}
    labels, groups = truth.labels(split.test_ids), truth.groups(split.test_ids)
    gains = {}
    for name, theirs in rivals.items():
        ours = on_test[choice.kind]
        difference, ci95 = paired_difference(ours, theirs, labels, groups)
        gains[name] = {"difference": difference, "ci95": list(ci95)}
    details = detailed_scores(temperature, predictions, truth, coverage=sweep.ensemble.coverage)
    details["expected"] = expected.as_dict()
    write_chosen_predictions(sweep.paths, predictions, truth)
    near = read_near_pairs(sweep.paths.near_duplicates_json)
    details["cautions"] = data_warnings(trials, truth) + near_duplicate_warnings(near, truth)
    if limit is not None:
        details["cautions"] += limit_cautions(members, ranked)
        details["model_cost"] = cost_of_members(chosen.weights, members, rows)
    details["selection"] = choice.as_dict()
    details["seeds"] = {str(member.name): list(member.seeds) for member in members}
    details["comparisons"] = pairwise_comparisons(on_test | rivals, labels, groups)
    return FinalEvaluation(ensembles, scored, gains, looks, trials, chosen, details)


def detailed_scores(
    temperature: float,
    predictions: ChosenPredictions,
    truth: GroundTruth,
    *,
    coverage: float,
) -> dict[str, Any]:
    """Report keys of the chosen ensemble's predictions: calibration, conformal, per_class.

    `calibration` has the `temperature` on test rows, and the log loss and calibration error
    `out_of_fold` and on `test`, each `before` and `after` it; `conformal` has the coverage and size
    of the calibrated ensemble's sets, and the coverage that is `guaranteed`.
    """
    split = truth.split
    labels, groups = truth.labels(split.development_ids), truth.groups(split.development_ids)
    after, test = predictions.calibrated_out_of_fold, predictions.calibrated_test

    def calibration_scores(proba: np.ndarray, track_ids: Sequence[str]) -> dict[str, float]:
        found = score_rows(proba, track_ids, truth)
        return {name: found[name] for name in ("log_loss", "ece")}

    ids, test_ids = split.development_ids, split.test_ids
    true, of_group = truth.labels(test_ids), truth.groups(test_ids)
    fitted = fit_conformal(after, labels, groups, coverage=coverage)
    sets = fitted.sets(test)
    counts = has_loss(true)
    hits = covers(sets, true)[counts]
    sizes = sets.sum(axis=1)
    return {
        "calibration": {
            "temperature": temperature,
            "out_of_fold": {
                "before": calibration_scores(predictions.out_of_fold, ids),
                "after": calibration_scores(after, ids),
            },
            "test": {
                "before": calibration_scores(predictions.test, test_ids),
                "after": calibration_scores(test, test_ids),
            },
        },
        "conformal": {
            "wanted": coverage,
            "guaranteed": fitted.guaranteed,
            "coverage": float(hits.mean()),
            "ci95": list(proportion_interval(hits.astype(np.float64), of_group[counts])),
            "mean_size": float(sizes.mean()),
            "single": float(np.mean(sizes == 1)),
            "least_proba": fitted.least_proba,
            "by_group": fitted.by_group,
        },
        **_class_details(predictions, truth),
    }


def _class_details(predictions: ChosenPredictions, truth: GroundTruth) -> dict[str, Any]:
    """The scores of each class; where multi-label also the `task` and the `thresholds`."""
    labels = truth.labels(truth.split.test_ids)
    if not truth.multi_label:
        return {"per_class": per_class_scores(predictions.test, labels, truth.class_names)}
    thresholds = fit_thresholds(
        predictions.calibrated_out_of_fold, truth.labels(truth.split.development_ids)
    )
    each = label_scores(predictions.calibrated_test, labels, truth.class_names, thresholds)
    return {
        "task": "multi_label",
        "thresholds": dict(zip(truth.class_names, thresholds.tolist(), strict=True)),
        "per_class": each,
    }


def _expected(
    chosen: FittedEnsemble,
    choice: KindChoice,
    finalists: Sequence[Member],
    members: Sequence[Member],
    truth: GroundTruth,
    *,
    seed: int,
) -> tuple[ExpectedAccuracy | ExpectedMap, FoldAveraging]:
    """The expected test accuracy or mAP, and the effect of averaging over folds."""
    by_fold = predictions_by_fold(chosen, members, truth)
    labels = truth.labels(truth.split.development_ids)
    bias = _configuration_bias(finalists, truth) * _part_of_trials(chosen)
    if not truth.multi_label:
        return expected_accuracy(
            chosen.out_of_fold,
            labels,
            by_fold,
            chosen.test,
            configuration_bias=bias,
            kind_bias=choice.bias,
        )
    expected = expected_map(
        chosen.out_of_fold,
        labels,
        truth.groups(truth.split.development_ids),
        by_fold,
        configuration_bias=bias,
        kind_bias=choice.bias,
        seed=seed,
    )
    temperature = fit_temperature(chosen.out_of_fold, labels)
    return expected, estimate_fold_averaging(
        decisions(by_fold), temperature, decisions(chosen.test)
    )


def _configuration_bias(finalists: Sequence[Member], truth: GroundTruth) -> float:
    """The selection bias of finalists' out-of-fold accuracy or mAP, as the search chose them.

    By their first seeds: a mean over seeds is better than a trial, which is of one.
    """
    ids = truth.split.development_ids
    fold = np.array([truth.split.fold_of[track] for track in ids])
    return configuration_selection_bias(
        [member.seed_out_of_fold(0) for member in finalists],
        [member.validation for member in finalists],
        truth.labels(ids),
        at=np.flatnonzero(fold == SEARCH_FOLD),
    )


def _part_of_trials(one: FittedEnsemble) -> float:
    """The share of weight on trials; baselines were not chosen by the search."""
    of_trials = sum(weight for name, weight in one.weights.items() if not isinstance(name, str))
    return of_trials / sum(one.weights.values())


def _choose(
    wanted: str, fitted: Mapping[str, FittedEnsemble], truth: GroundTruth, *, seed: int
) -> KindChoice:
    """Chooses the kind of ensemble; figures are computed also where the user names it."""
    ids = truth.split.development_ids
    if fitted[REFERENCE_KIND].nested is None:
        kind = REFERENCE_KIND if wanted == AUTO_KIND else wanted
        return KindChoice(kind, f"{kind}: with one group no rows can be held out to choose by", {})
    nested = {kind: NestedPredictions(one.out_of_fold, one.fitted) for kind, one in fitted.items()}
    choice = choose_kind(nested, truth.labels(ids), truth.groups(ids), seed=seed)
    if wanted == AUTO_KIND:
        return choice
    reason = f"{wanted}: set beforehand by ensemble.kind"
    return replace(choice, kind=wanted, reason=reason, bias=0.0)


def _scored(one: FittedEnsemble, truth: GroundTruth, *, seed: int) -> dict[str, Any]:
    split = truth.split
    weights = {str(name): weight for name, weight in one.weights.items()}
    parts = score_parts(
        {
            "validation": (one.validation, split.valid_ids(SEARCH_FOLD)),
            "out_of_fold": (one.out_of_fold, split.development_ids),
            "test": (one.test, split.test_ids),
        },
        one.out_of_fold,
        truth,
        seed=seed,
    )
    return {
        "kind": one.kind,
        "members": list(one.weights),
        "params": {"weights": weights, **one.model.facts},
        **parts,
        "optimism": optimism(parts),
    }


def _named(member: Member, rows: Mapping[str, Any]) -> Member:
    """The member with its architecture, where the ledger has it."""
    row = rows.get(str(member.name))
    return replace(member, architecture=row.facts.get("architecture", "")) if row else member
