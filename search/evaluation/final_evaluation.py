"""The last stage: ensembles on out-of-fold rows, then one look at the test set.

All ensembles are fitted, and the one that the headline is about is chosen, before the test set is
opened. `search.commands.ensemble` does the same again from the bank alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chorale.datasets.atomic import write_json
from chorale.datasets.config import plain
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.search.baselines.baseline_file import FittedBaseline, write_baseline
from chorale.search.baselines.baselines import Baseline, Baselines
from chorale.search.combining.fitted_file import write_model
from chorale.search.config.resolve import Resolved
from chorale.search.config.schema import AUTO, SweepConfig
from chorale.search.data.prepare import Prepared, truth_of
from chorale.search.evaluation.candidates import admitted, as_member, best
from chorale.search.evaluation.headline import Headline, headline, write_headline
from chorale.search.evaluation.member_names import BEST_BASELINE
from chorale.search.evaluation.members import Fitted, Member, fit, said_by_fold, score_rows
from chorale.search.evaluation.warnings import cautions
from chorale.search.ledger.baseline_predictions import BankedBaseline, write_banked
from chorale.search.ledger.ground_truth import Truth, write_truth
from chorale.search.ledger.ledger import Ledger
from chorale.search.statistics.conformal import covers, fit_conformal
from chorale.search.statistics.expected_accuracy import expected_accuracy
from chorale.search.statistics.scores import (
    compare,
    optimism,
    paired_difference,
    per_class,
    share_interval,
)
from chorale.search.statistics.selection import SIMPLE, Choice, Nested, choose
from chorale.search.statistics.selection_bias import of_configurations

SINGLE = "best_single"


@dataclass(frozen=True)
class Judged:
    """What the end of a sweep found, JSON-ready: each ensemble's and baseline's scores.

    `members` are the finalists that were combined, best first, `headline` the ensemble that the
    headline is about. `ensembles` maps a kind to `kind`, `members`
    (trials by number, baselines by name), `params`, the scores `validation`, `out_of_fold` and
    `test`, and its `optimism`; `baselines` a name to `params`, `out_of_fold`, `test`. `gains` says
    by how much the headline ensemble's test accuracy is above that of each rival (`difference` and
    `ci95`, paired over the same tracks and groups). `test_looks` is how often this test set has
    been looked at by now. `more` holds what stands in the report besides: see `more_of`.
    """

    ensembles: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]
    gains: dict[str, dict[str, Any]]
    test_looks: int
    members: Sequence[Member]
    headline: Fitted
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The ensemble that the headline is about."""
        return self.headline.kind

    def as_report(self) -> dict[str, Any]:
        """The keys of `report.json` that the bank decides."""
        single, ensemble = self.ensembles[SINGLE], self.ensembles[self.kind]
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
            **self.more,
        }


def judge(
    resolved: Resolved,
    prepared: Prepared,
    ledger: Ledger,
    members: Sequence[Member],
    baselines: Baselines,
) -> Judged:
    """Keeps what is true and what the baselines say with the study, then `judge_bank`."""
    sweep, split = resolved.sweep, prepared.split
    truth = truth_of(prepared)
    write_truth(sweep.paths, truth)
    features_config = _plain(resolved.features.get(baselines.features))
    for baseline in baselines.made:
        fitted = FittedBaseline(
            baseline.name,
            baselines.features,
            features_config,
            baselines.description,
            baseline.params["statistics"],
            baseline.temperature,
            len(truth.class_names),
            baseline.arrays,
        )
        write_baseline(sweep.paths.fitted_baseline(baseline.name), fitted)
        said = BankedBaseline(baseline.oof_proba, baseline.test_proba, baseline.test_by_fold)
        write_banked(sweep.paths.baseline(baseline.name), said, split)
    judged = judge_bank(sweep, truth, ledger, members, baselines.made)
    judged.more["baselines_made"] = baselines.as_dict()
    return judged


def judge_bank(
    sweep: SweepConfig,
    truth: Truth,
    ledger: Ledger,
    members: Sequence[Member],
    baselines: Sequence[Baseline],
) -> Judged:
    """Fits every ensemble of the sweep, looks at the test set once, and counts the look.

    Of the members only the best `ensemble.members` out of fold are combined, and with them the
    baselines that `search.evaluation.candidates` admits; the best single trial is a trial in any
    case. Writes `ensembles/<kind>.json`, `ensembles/<kind>.safetensors`, what the headline's
    ensemble says, and what TensorBoard shows.
    """
    split, seed = truth.split, sweep.search.seed
    rows = ledger.rows(sweep.name, "search")
    trials = [_named(member, rows) for member in best(members, truth, n=sweep.ensemble.members)]
    offered = sweep.ensemble.baselines == AUTO
    allies = admitted(trials, baselines, truth) if offered else []
    alone = [as_member(one, truth) for one in baselines]
    members_of = {SINGLE: trials, BEST_BASELINE: alone}
    together = [*trials, *allies]
    fixed = () if sweep.ensemble.kind == AUTO else (sweep.ensemble.kind,)
    also = (BEST_BASELINE,) if offered else ()
    wanted = dict.fromkeys([SINGLE, SIMPLE, *fixed, *sweep.ensemble.kinds, *also])
    if BEST_BASELINE in fixed and not alone:
        raise UserError(f"ensemble.kind is {BEST_BASELINE}, but there is no baseline; write auto")
    kinds = [kind for kind in wanted if kind != BEST_BASELINE or alone]
    fitted = {kind: fit(kind, members_of.get(kind, together), truth, seed=seed) for kind in kinds}
    choice = _choose(sweep.ensemble.kind, fitted, truth, seed=seed)
    headlined = fitted[choice.kind]
    expected, averaged = expected_accuracy(
        headlined.out_of_fold,
        truth.labels(split.development_ids),
        said_by_fold(headlined, members_of.get(choice.kind, together), split),
        headlined.test,
        configuration_bias=_configuration_bias(members, truth) * _part_of_trials(headlined),
        kind_bias=choice.bias,
    )
    at, said = headline(headlined, truth, ratio=averaged.temperature_ratio)

    looks = ledger.look(sweep.name, split.hash)
    ensembles = {}
    for kind, one in fitted.items():
        ensembles[kind] = _scored(one, truth)
        write_json(sweep.paths.ensemble(kind), ensembles[kind])
        path = sweep.paths.ensemble_model(kind)
        write_model(path, one.model, kind=kind, members=one.members)
    scored = {
        baseline.name: {
            "params": baseline.params,
            "out_of_fold": score_rows(baseline.oof_proba, split.development_ids, truth),
            "test": score_rows(baseline.test_proba, split.test_ids, truth),
        }
        for baseline in baselines
    }
    on_test = {kind: one.test for kind, one in fitted.items()}
    rivals = {SINGLE: on_test[SINGLE]} | {b.name: b.test_proba for b in baselines}
    labels, groups = truth.labels(split.test_ids), truth.groups(split.test_ids)
    gains = {}
    for name, theirs in rivals.items():
        ours = on_test[choice.kind]
        difference, ci95 = paired_difference(ours, theirs, labels, groups)
        gains[name] = {"difference": difference, "ci95": list(ci95)}
    more = more_of(at, said, truth, coverage=sweep.ensemble.coverage)
    more["expected"] = expected.as_dict()
    write_headline(sweep.paths, said, truth)
    more["cautions"] = cautions(trials, truth)
    more["selection"] = choice.as_dict()
    more["comparisons"] = compare(on_test | rivals, labels, groups)
    return Judged(ensembles, scored, gains, looks, trials, fitted[choice.kind], more)


def more_of(
    at: float,
    said: Headline,
    truth: Truth,
    *,
    coverage: float,
) -> dict[str, Any]:
    """Keys of the report about what the headline ensemble said: calibration, conformal, per_class.

    `calibration` is the `temperature` on test rows, out-of-fold rows being less timid, and the log
    loss and calibration error `out_of_fold` and on `test`, each `before` and `after` it;
    `conformal` how the sets of the calibrated ensemble do, and what of their coverage is
    `guaranteed`.
    """
    split = truth.split
    labels, groups = truth.labels(split.development_ids), truth.groups(split.development_ids)
    after, test = said.calibrated_out_of_fold, said.calibrated_test

    def sureness(proba: np.ndarray, track_ids: Sequence[str]) -> dict[str, float]:
        found = score_rows(proba, track_ids, truth)
        return {name: found[name] for name in ("log_loss", "ece")}

    ids, test_ids = split.development_ids, split.test_ids
    true, of_group = truth.labels(test_ids), truth.groups(test_ids)
    fitted = fit_conformal(after, labels, groups, coverage=coverage)
    sets = fitted.sets(test)
    hits = covers(sets, true)
    sizes = sets.sum(axis=1)
    return {
        "calibration": {
            "temperature": at,
            "out_of_fold": {
                "before": sureness(said.out_of_fold, ids),
                "after": sureness(after, ids),
            },
            "test": {"before": sureness(said.test, test_ids), "after": sureness(test, test_ids)},
        },
        "conformal": {
            "wanted": coverage,
            "guaranteed": fitted.guaranteed,
            "coverage": float(hits.mean()),
            "ci95": list(share_interval(hits, of_group)),
            "mean_size": float(sizes.mean()),
            "single": float(np.mean(sizes == 1)),
            "least_proba": fitted.least_proba,
            "by_group": fitted.by_group,
        },
        "per_class": per_class(said.test, true, truth.class_names),
    }


def _configuration_bias(finalists: Sequence[Member], truth: Truth) -> float:
    """By how much the out-of-fold accuracy of finalists is too high, as the search chose them."""
    ids = truth.split.development_ids
    fold = np.array([truth.split.fold_of[track] for track in ids])
    return of_configurations(
        [member.out_of_fold for member in finalists],
        [member.validation for member in finalists],
        truth.labels(ids),
        at=np.flatnonzero(fold == SEARCH_FOLD),
    )


def _part_of_trials(one: Fitted) -> float:
    """The part of an ensemble's weights that trials have: no search chose the baselines."""
    of_trials = sum(weight for name, weight in one.weights.items() if not isinstance(name, str))
    return of_trials / sum(one.weights.values())


def _choose(wanted: str, fitted: Mapping[str, Fitted], truth: Truth, *, seed: int) -> Choice:
    """The headline's kind; figures are told also where the user named it."""
    ids = truth.split.development_ids
    if fitted[SIMPLE].nested is None:
        kind = SIMPLE if wanted == AUTO else wanted
        return Choice(kind, f"{kind}: with one group nothing can be held out to choose by", {})
    nested = {kind: Nested(one.out_of_fold, one.fitted) for kind, one in fitted.items()}
    choice = choose(nested, truth.labels(ids), truth.groups(ids), seed=seed)
    if wanted == AUTO:
        return choice
    reason = f"{wanted}: named beforehand by ensemble.kind"
    return replace(choice, kind=wanted, reason=reason, bias=0.0)


def _scored(one: Fitted, truth: Truth) -> dict[str, Any]:
    split = truth.split
    weights = {str(name): weight for name, weight in one.weights.items()}
    parts = {
        "validation": score_rows(one.validation, split.valid_ids(0), truth),
        "out_of_fold": score_rows(one.out_of_fold, split.development_ids, truth),
        "test": score_rows(one.test, split.test_ids, truth),
    }
    return {
        "kind": one.kind,
        "members": list(one.weights),
        "params": {"weights": weights, **one.model.facts},
        **parts,
        "optimism": optimism(parts),
    }


def _plain(config: Any) -> dict[str, Any]:
    """Of features that came ready-made there is no config."""
    return {} if config is None else dict(plain(config))


def _named(member: Member, rows: Mapping[str, Any]) -> Member:
    """With its architecture, where the ledger knows it."""
    row = rows.get(str(member.name))
    return replace(member, architecture=row.facts.get("architecture", "")) if row else member
