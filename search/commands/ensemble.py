"""`chorale ensemble STUDY [--members N] [--kinds A,B]`: ensembles anew, without training."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chorale.search.commands.study_words import StudyWords, console, study_words

if TYPE_CHECKING:
    from chorale.search.baselines.baselines import Baseline
    from chorale.search.config.schema import SweepConfig
    from chorale.search.evaluation.members import Member
    from chorale.search.ledger.ground_truth import Truth
    from chorale.search.ledger.ledger import Ledger

HELP = """\
usage: chorale ensemble STUDY [--members N] [--kinds A,B,...] [--kind KIND] [--baselines auto|none]
                        [--coverage SHARE] [--runs FOLDER] [--store URL]

Makes the ensembles of a finished study again, from what its finalists said and without training
anything, and writes them and the report anew. It looks at the locked test set once more, and the
report counts that look.

  --members N       combine at most N finalists, the best out of fold
  --kinds A,B,...   which ensembles: soft_vote, weighted_vote, greedy, stacking, fusion, hard_vote
  --kind KIND       which one the headline is about; auto chooses on held-out groups
  --baselines auto  baselines that keep up with the finalists are combined with them; or: none
  --coverage SHARE  how often a set of classes shall hold the true one: 0.9
  --runs FOLDER     the folder of all studies (runs)
  --store URL       the ledger, where it is not in that folder
"""
KEYS = ("members", "kinds", "kind", "baselines", "coverage")


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = study_words(words, options=KEYS)
    name = given.named("ensemble")
    from chorale.search.console.progress import Progress
    from chorale.search.ledger.ledger import Ledger
    from chorale.search.sweep.bucket import carried

    sweep = sweep_of(given, name)
    report = report_of(sweep)
    with carried(sweep.runs, name, tell=print), Progress(console()).never_silent("ensemble"):
        ledger = Ledger(sweep.ledger_url)
        try:
            ledger.refuse_held(name)
            found = rebuild(sweep, ledger, report)
        finally:
            ledger.close()
    from chorale.search.report.report import show

    show(found, console(), folder=str(sweep.paths.root))
    console().print(found["selection"]["reason"])
    return 0


def rebuild(sweep: "SweepConfig", ledger: "Ledger", report: Mapping[str, Any]) -> dict[str, Any]:
    """Fits, looks, and writes `report.json` and its page; gives what stands in the former.

    Args:
        sweep: the study's config, with what was asked for on the command line.
        ledger: knows its finalists, and counts the look.
        report: what `report.json` said until now.

    Raises:
        UserError: no finalist came to its end, the bank holds none of them, or a group is on two
            sides of the split.
    """
    from chorale.datasets.atomic import write_json
    from chorale.search.evaluation.final_evaluation import judge_bank
    from chorale.search.evaluation.warnings import refuse_leaks
    from chorale.search.report.report import READABLE, readable, renew
    from chorale.search.report.tensorboard_finalists import write_board

    truth = truth_of_study(sweep)
    refuse_leaks(truth, by=sweep.split.by)
    left_out: list[str] = []
    members = _members(sweep, truth, ledger, left_out)
    baselines = _baselines(sweep, truth, report["baselines"], left_out)
    judged = judge_bank(sweep, truth, ledger, members, baselines)
    write_board(sweep.paths, truth, judged.members, judged.headline)
    for line in [*left_out, *judged.more["cautions"]]:
        console().print(line, soft_wrap=True, markup=False)
    kept = {key: value for key, value in report.items() if key not in READABLE}
    found = {**kept, **judged.as_report()}
    # of a study whose baselines were not kept, their scores stand as they were
    found["baselines"] = {**report["baselines"], **judged.baselines}
    write_json(sweep.paths.report_json, found)
    told = renew(ledger, ledger.study(sweep.name), sweep.about, sweep.paths)
    return {**found, **readable(told)}


def sweep_of(given: StudyWords, name: str) -> "SweepConfig":
    from chorale.datasets.config import listed
    from chorale.datasets.errors import UserError
    from chorale.search.config import schema, yaml_file
    from chorale.search.config.resolve import ensemble_problems

    file = given.runs.study(name).sweep_yaml
    if not file.is_file():
        raise UserError(
            f"there is no study '{name}' in '{given.runs.root}' ('{file}' is missing); chorale "
            f"list shows them all, --runs FOLDER looks elsewhere"
        )
    asked = {key: given.options[key] for key in KEYS if key in given.options}
    if "kinds" in asked:
        kinds = ", ".join(kind for kind in asked["kinds"].split(",") if kind.strip())
        asked["kinds"] = f"[{kinds}]"
    values = yaml_file.overrides([f"--ensemble.{key}={value}" for key, value in asked.items()])
    values |= {"name": name, "runs": given.runs_given}
    if "store" in given.options:
        values["store"] = given.options["store"]
    sweep = schema.load(str(file), values)
    if problems := ensemble_problems(sweep.ensemble):
        raise listed(problems, where=f"chorale ensemble {name}")
    return sweep


def report_of(sweep: "SweepConfig") -> dict[str, Any]:
    from chorale.datasets.errors import UserError

    try:
        found: dict[str, Any] = json.loads(sweep.paths.report_json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"study '{sweep.name}' has no report yet that could be made anew ({error}); end it "
            f"first: chorale resume {sweep.name}"
        ) from None
    return found


def truth_of_study(sweep: "SweepConfig") -> "Truth":
    """What the study keeps; of a study that keeps none, from its dataset."""
    from chorale.search.data.prepare import truth_of
    from chorale.search.ledger.ground_truth import read_truth, write_truth

    if (kept := read_truth(sweep.paths)) is not None:
        return kept
    from dataclasses import replace

    from chorale.datasets.errors import UserError
    from chorale.search.config.resolve import resolve
    from chorale.search.console.progress import Progress
    from chorale.search.data.prepare import prepare
    from chorale.search.sweep.workers import workers

    resolved = resolve(sweep, where=str(sweep.paths.sweep_yaml))
    nowhere = replace(sweep.cluster, address="none")
    with workers(nowhere, runs=sweep.runs_folder.root) as crew, crew.mapping() as run:
        truth = truth_of(prepare(resolved, Progress(console()), run))
    kept_hash = json.loads(sweep.paths.split_json.read_text(encoding="utf-8"))["hash"]
    if truth.split.hash != kept_hash:
        raise UserError(
            f"the dataset is not what study '{sweep.name}' was run on: it is split in another way; "
            f"bring the old one back, or start another study with --name {sweep.name}-2"
        )
    write_truth(sweep.paths, truth)
    return truth


def _members(
    sweep: "SweepConfig", truth: "Truth", ledger: "Ledger", left_out: list[str]
) -> "list[Member]":
    """Every finalist that was trained on every fold; `left_out` gains a line for each other."""
    from chorale.datasets.errors import UserError
    from chorale.search.evaluation.candidates import read_members
    from chorale.search.ledger.stages import FINALISTS, Job

    jobs: dict[int, list[Job]] = {}
    for key, row in ledger.rows(sweep.name, FINALISTS).items():
        number, fold, seed = map(int, key.split("/"))
        mine = jobs.setdefault(number, [])
        if row.state == "COMPLETE" and seed < sweep.finalists.seeds:
            mine.append(Job(number, fold, seed))
    n = truth.split.n_folds * sweep.finalists.seeds
    whole = {number: mine for number, mine in sorted(jobs.items()) if len(mine) == n}
    left_out += [
        f"trial {number} is left out: {len(mine)} of its {n} retrainings came to their end"
        for number, mine in sorted(jobs.items())
        if number not in whole
    ]
    if not whole:
        raise UserError(
            f"no finalist of study '{sweep.name}' came to its end; go on with it: chorale resume "
            f"{sweep.name}"
        )
    members, not_there = read_members(sweep.paths, truth.split, whole)
    left_out += not_there
    return members


def _baselines(
    sweep: "SweepConfig", truth: "Truth", known: Mapping[str, Any], left_out: list[str]
) -> "list[Baseline]":
    """Those whose predictions the study keeps; `left_out` gains a line for each that is unfit."""
    from chorale.datasets.errors import UserError
    from chorale.search.baselines.baselines import Baseline
    from chorale.search.ledger.baseline_predictions import read_banked

    found = []
    for name, one in known.items():
        path = sweep.paths.baseline(name)
        if not path.is_file():  # as of a study of an older version
            continue
        try:
            said = read_banked(path, truth.split)
        except UserError as error:
            left_out.append(f"{name} is left out: {error}")
            continue
        found.append(
            Baseline(
                name, one["params"], said.out_of_fold, said.test, test_by_fold=said.test_by_fold
            )
        )
    return found
