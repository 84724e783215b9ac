"""`chorale ensemble STUDY`: refits ensembles on stored predictions."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from chorale.search.api.study import Study
from chorale.search.commands.command import command
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.parameters import Choice, Number, WholeNumber
from chorale.search.commands.study_options import StudyOptions, study_options

if TYPE_CHECKING:
    from chorale.search.baselines.fitted_baselines import Baseline
    from chorale.search.config.schema import SweepConfig
    from chorale.search.evaluation.members import Member
    from chorale.search.ledger.ground_truth import GroundTruth
    from chorale.search.ledger.ledger import Ledger

AS_IN_SWEEP = "as in its sweep file"


@command(
    examples=[
        "chorale ensemble my_study --members 4",
        "chorale ensemble my_study --kinds soft_vote,greedy --kind greedy",
    ]
)
@click.option(
    "--members",
    type=WholeNumber(1),
    metavar="N",
    show_default=AS_IN_SWEEP,
    help="Combine at most N finalists, the best out of fold.",
)
@click.option(
    "--kinds",
    metavar="A,B,...",
    show_default=AS_IN_SWEEP,
    help="Which ensembles: soft_vote, weighted_vote, greedy, stacking, fusion, hard_vote.",
)
@click.option(
    "--kind",
    metavar="KIND",
    show_default=AS_IN_SWEEP,
    help="Which one is reported as the result; auto chooses on held-out groups.",
)
@click.option(
    "--baselines",
    type=Choice(["auto", "none"]),
    show_default=AS_IN_SWEEP,
    help="auto: baselines about as good as the finalists may become members.",
)
@click.option(
    "--coverage",
    type=Number(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    show_default=AS_IN_SWEEP,
    help="How often the conformal set of classes contains the true class.",
)
@study_options()
def run(given: StudyOptions, **asked: str | float | None) -> int:
    """Fits the ensembles of a finished study again, without training any network.

    It uses the stored predictions of the finalists, and rewrites the ensembles and the report. It
    evaluates on the locked test set once more, and the report counts that look.
    """
    from chorale.search.console.progress import Progress
    from chorale.search.ledger.ledger import Ledger
    from chorale.search.sweep.bucket import synchronised

    sweep = sweep_of(given, {key: one for key, one in asked.items() if one is not None})
    report = report_of(sweep)
    with (
        synchronised(sweep.runs, given.name, warn=print),
        Progress(progress_console()).keep_alive("ensemble"),
        Ledger(sweep.ledger_url) as ledger,
    ):
        ledger.refuse_leased(given.name)
        found = rebuild_ensembles(sweep, ledger, report)
    from chorale.search.report.summary import print_summary

    print_summary(found, console(), folder=str(sweep.paths.root))
    console().print(found["selection"]["reason"])
    return 0


def rebuild_ensembles(
    sweep: "SweepConfig", ledger: "Ledger", report: Mapping[str, Any]
) -> dict[str, Any]:
    """Fits and evaluates the ensembles, writes `report.json` and its page; returns the former.

    Args:
        sweep: the study's config, with the options of the command line.
        ledger: holds the study's finalists, and counts the look at the test set.
        report: the content of `report.json` until now.

    Raises:
        UserError: no finalist has finished and there is no baseline, the prediction bank holds none
            of the finalists, or a group is on two sides of the split.
    """
    from chorale.datasets.atomic import write_json
    from chorale.datasets.errors import UserError
    from chorale.search.evaluation.final_evaluation import evaluate_from_bank
    from chorale.search.evaluation.warnings import refuse_leaks
    from chorale.search.report.report import DERIVED_KEYS, derived_values, update_report
    from chorale.search.report.tensorboard_finalists import write_finalist_events

    truth = ground_truth_of_study(sweep)
    refuse_leaks(truth, by=sweep.split.by)
    left_out: list[str] = []
    baselines = _baselines(sweep, truth, report["baselines"], left_out)
    members = _members(sweep, truth, ledger, left_out)
    if not members and not baselines:
        raise UserError(
            f"no finalist of study '{sweep.name}' has finished; resume it: chorale resume "
            f"{sweep.name}"
        )
    evaluated = evaluate_from_bank(sweep, truth, ledger, members, baselines)
    write_finalist_events(
        sweep.paths, truth, evaluated.members, evaluated.chosen, seed=sweep.search.seed
    )
    for line in [*left_out, *evaluated.details["cautions"]]:
        console().print(line, soft_wrap=True, markup=False)
    kept = {key: value for key, value in report.items() if key not in DERIVED_KEYS}
    found = {**kept, **evaluated.as_report()}
    # baselines whose predictions were not kept keep their scores
    found["baselines"] = {**report["baselines"], **evaluated.baselines}
    write_json(sweep.paths.report_json, found)
    data = update_report(ledger, ledger.study(sweep.name), sweep.about, sweep.paths)
    return {**found, **derived_values(data)}


def sweep_of(given: StudyOptions, asked: Mapping[str, Any] | None = None) -> "SweepConfig":
    """The config of a study, with `asked` in place of its keys of `ensemble`.

    `export.packed_bundle` calls it, too: for `export`, `predict --study`, `champion promote`.

    Raises:
        UserError: there is no such study, or a key has a wrong value.
    """
    from chorale.datasets.config import problems_error
    from chorale.datasets.errors import UserError, unknown_name_error
    from chorale.search.config import schema, yaml_file
    from chorale.search.config.resolve import ensemble_problems

    file = given.runs.study(given.name).sweep_yaml
    if not file.is_file():
        known = [paths.root.name for paths in given.runs.studies()]
        unknown = unknown_name_error("study", given.name, known)
        raise UserError(f"{unknown} (in '{given.runs.root}'; --runs FOLDER looks elsewhere)")
    values = yaml_file.parse_overrides(
        [f"--ensemble.{key}={value}" for key, value in (asked or {}).items()]
    )
    values |= {"name": given.name, "runs": given.runs_given}
    if given.store is not None:
        values["store"] = given.store
    sweep = schema.load_sweep_config(str(file), values)
    if problems := ensemble_problems(sweep.ensemble):
        raise problems_error(problems, where=f"chorale ensemble {given.name}")
    return sweep


def report_of(sweep: "SweepConfig") -> dict[str, Any]:
    """The content of a study's `report.json`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    return Study(sweep.name, sweep.runs, sweep.store).report


def ground_truth_of_study(sweep: "SweepConfig") -> "GroundTruth":
    """The ground truth that the study keeps; for a study that keeps none, from its dataset.

    Raises:
        UserError: the dataset's split is no longer that of the study.
    """
    from chorale.search.data.prepare import ground_truth_of
    from chorale.search.ledger.ground_truth import read_ground_truth, write_ground_truth

    if (kept := read_ground_truth(sweep.paths)) is not None:
        return kept
    from dataclasses import replace

    from chorale.datasets.errors import UserError
    from chorale.search.config.resolve import resolve
    from chorale.search.console.progress import Progress
    from chorale.search.data.prepare import prepare
    from chorale.search.sweep.worker_pool import worker_pool

    resolved = resolve(sweep, where=str(sweep.paths.sweep_yaml))
    local = replace(sweep.cluster, address="none")
    with worker_pool(local, runs=sweep.runs_folder.root) as pool, pool.mapping() as run:
        truth = ground_truth_of(prepare(resolved, Progress(progress_console()), run))
    kept_hash = json.loads(sweep.paths.split_json.read_text(encoding="utf-8"))["hash"]
    if truth.split.hash != kept_hash:
        raise UserError(
            f"the dataset is not the one that study '{sweep.name}' was run on: its split differs; "
            f"restore the old one, or start another study with --name {sweep.name}-2"
        )
    write_ground_truth(sweep.paths, truth)
    return truth


def _members(
    sweep: "SweepConfig", truth: "GroundTruth", ledger: "Ledger", left_out: list[str]
) -> "list[Member]":
    """All finalists that were trained on every fold; adds a line to `left_out` for each other.

    With every seed of which all folds are there, or with those that the sweep file sets.
    """
    from chorale.search.evaluation.candidates import read_members
    from chorale.search.ledger.stages import FINALISTS, Job, complete_seeds

    rows, n_folds = ledger.rows(sweep.name, FINALISTS), truth.split.n_folds
    done = complete_seeds(rows, n_folds)
    complete, needed = {}, range(sweep.finalists.n_seeds)
    for number in sorted({int(key.split("/")[0]) for key in rows}):
        if seeds := sweep.finalists.used_seeds(done.get(number, ())):
            complete[number] = [Job(number, f, seed) for seed in seeds for f in range(n_folds)]
            continue
        keys = [Job(number, f, seed).key for seed in needed for f in range(n_folds)]
        n = sum(key in rows and rows[key].state == "COMPLETE" for key in keys)
        left_out.append(f"trial {number} is left out: {n} of its {len(keys)} retrainings finished")
    members, unreadable = read_members(sweep.paths, truth.split, complete)
    left_out += unreadable
    return members


def _baselines(
    sweep: "SweepConfig", truth: "GroundTruth", known: Mapping[str, Any], left_out: list[str]
) -> "list[Baseline]":
    """All baselines with stored predictions; adds a line to `left_out` for each unreadable one."""
    from chorale.datasets.errors import UserError
    from chorale.search.baselines.fitted_baselines import Baseline
    from chorale.search.ledger.baseline_predictions import read_baseline_predictions

    found = []
    for name, one in known.items():
        path = sweep.paths.baseline(name)
        if not path.is_file():  # a study of an older version
            continue
        try:
            stored = read_baseline_predictions(path, truth.split)
        except UserError as error:
            left_out.append(f"{name} is left out: {error}")
            continue
        found.append(
            Baseline(
                name,
                one["params"],
                stored.out_of_fold,
                stored.test,
                test_by_fold=stored.test_by_fold,
            )
        )
    return found
