"""The forecast of a sweep: what its budget allows, and what the sweep file keeps."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chorale.search.cli import main
from chorale.search.config.resolve import ResolvedSweep, kept_choices, resolve_file, with_choices
from chorale.search.config.space import ARCHITECTURE
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import FINALISTS
from chorale.search.report.report import headline_sentence
from chorale.search.study.finalists import FinalistTrials
from chorale.search.study.initial_points import make_initial_points
from chorale.search.study.schedule import Schedule
from chorale.search.sweep.forecast import (
    Forecast,
    is_worth_a_forecast,
    make_forecast,
)
from chorale.search.sweep.speed_probe import Speed, default_candidate
from chorale.search.sweep.time_shares import affordable_kinds

PREPARED: Any = SimpleNamespace(split=SimpleNamespace(n_folds=5, development_ids=range(400)))
SECONDS = {"cnn": 1.0, "crnn": 3.0, "recurrent": 0.5, "mobilenet": 9.0}
"""Of an epoch."""


def _resolved(tmp_path: Path, **values: Any) -> ResolvedSweep:
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps({"dataset": {"name": "synthetic"}, **values}))
    return resolve_file(str(file), {})


def _forecast(resolved: ResolvedSweep, minutes: float = math.inf, **seconds: float) -> Forecast:
    speeds = {name: Speed(one, 1_000) for name, one in (seconds or SECONDS).items()}
    schedule = Schedule(60 * minutes, wall_s=lambda: 0.0)
    return make_forecast(resolved, PREPARED, speeds, schedule, n_at_once=2)


def test_without_a_limit_on_time_nothing_is_left_out(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path)
    found = _forecast(resolved)
    assert (found.max_epochs, found.architectures) == (60, resolved.space.architectures)
    mean_s = 60 * sum(SECONDS.values()) / len(SECONDS)
    assert found.total_s == pytest.approx(15 + (64 * 0.6 + 30) * mean_s / 2)
    assert set(found.unmeasured) == set(resolved.space.architectures) - SECONDS.keys()


@pytest.mark.parametrize(
    ("minutes", "seeds", "expected"), [(10, None, 1), (90, None, 2), (600, None, 5), (600, 2, 2)]
)
def test_time_that_is_left_goes_into_further_seeds(
    tmp_path: Path, minutes: float, seeds: int | None, expected: int
) -> None:
    """12 finalists of an epoch of 1 s, 60 epochs and 5 folds take half an hour on 2 workers."""
    values = {"minutes": minutes, "max_epochs": 60, "trials": 10}
    resolved = _resolved(tmp_path, budget=values, finalists={"seeds": seeds})
    found = _forecast(resolved, minutes, cnn=1.0)
    assert found.n_seeds == expected
    assert (f"on every fold with {expected} seeds;" in found.lines()[0]) == (expected > 1)
    assert found.disk_bytes == 4 * 1_000 * 6 * 5 * expected


def test_in_little_time_slow_architectures_and_late_epochs_are_left_out(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path)
    found = _forecast(resolved, 10)  # 1,200 core-seconds for 14.8 trainings: 81 s each
    assert (found.max_epochs, found.architectures) == (60, ("cnn", "recurrent"))
    assert found.too_slow == {"crnn": 180, "mobilenet": 540}
    assert found.trial_limit_s == pytest.approx(81.1, abs=0.1)
    assert found.total_s <= 600
    assert any("mobilenet (9 min 00 s a trial)" in line for line in found.lines())
    # in a minute, 120 core-seconds for 7 trainings: 17 s each, so half of the epochs
    found = _forecast(resolved, 1)
    assert (found.max_epochs, found.architectures) == (30, ("recurrent",))
    applied = with_choices(resolved, found.choices)
    assert applied.sweep.budget.max_epochs == 30
    assert applied.space.architectures == found.architectures
    assert set(applied.space.spaces) == {*found.architectures, "train"}


def test_what_the_sweep_file_sets_is_kept(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path, architectures=["mobilenet", "cnn"], budget={"max_epochs": 50})
    found = _forecast(resolved, 1)
    assert (found.max_epochs, found.architectures) == (50, ("mobilenet", "cnn"))
    assert found.trains_networks


def test_where_no_training_fits_there_are_baselines_only(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path)
    for found in (_forecast(resolved, 0.5, cnn=60.0), _forecast(resolved, 0.01)):
        assert not found.trains_networks
        (line,) = found.lines()
        assert "--budget.minutes" in line
    assert _forecast(resolved, 1, cnn=0.5).trains_networks


def test_a_resumed_study_keeps_its_epochs_and_architectures(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path)
    fingerprint = {"number of epochs": 21, "space": {"cnn": {}, "crnn": {}, "train": {}}}
    kept = with_choices(resolved, kept_choices(resolved, fingerprint))
    assert kept.sweep.budget.max_epochs == 21
    assert kept.space.architectures == ("cnn", "crnn")
    named = _resolved(tmp_path, architectures=["cnn", "mobilenet"], budget={"max_epochs": 9})
    kept = with_choices(
        named, kept_choices(named, fingerprint)
    )  # the ledger refuses what is not the study's
    assert (kept.sweep.budget.max_epochs, len(kept.space.architectures)) == (9, 2)


def test_half_of_the_networks_of_frames_have_a_chance_before_all_epochs(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path)
    seconds = {"cnn": 1.0, "recurrent": 0.4, "crnn": 1.5, "mobilenet": 4.0}
    # 148 s are left after the baselines; an epoch is 0.42 s of search and 3.3 s of cnn's folds
    found = _forecast(resolved, 3, **seconds)
    assert (found.max_epochs, set(found.architectures)) == (41, {"cnn", "recurrent"})
    # in a minute, 17 s: a third of the epochs of two of them take longer
    found = _forecast(resolved, 1, **seconds)
    assert (found.max_epochs, found.architectures) == (42, ("recurrent",))


def test_a_table_has_no_networks_of_frames(tmp_path: Path) -> None:
    """It ended in a traceback where time was limited."""
    table = tmp_path / "table.csv"
    rows = ["a,b,label"] + [f"{i},{i % 7},{'xy'[i % 2]}" for i in range(40)]
    table.write_text("\n".join(rows))
    resolved = _resolved(tmp_path, dataset={"name": "table", "root": str(table)})
    found = _forecast(resolved, 3, mlp=0.1, softmax_regression=0.05)
    assert (found.max_epochs, found.trains_networks) == (60, True)
    assert set(found.architectures) == {"mlp", "softmax_regression"}


def test_where_half_of_them_is_too_slow_fewer_networks_of_frames_share_the_epochs(
    tmp_path: Path,
) -> None:
    seconds = {"cnn": 1.0, "recurrent": 0.4, "crnn": 6.0, "mobilenet": 9.0, "cnn6": 20.0}
    # half, with crnn, would get 6 epochs of 148 s; two get 41, where one alone would get 60
    found = _forecast(_resolved(tmp_path), 3, **seconds)
    assert (found.max_epochs, set(found.architectures)) == (41, {"cnn", "recurrent"})


def test_networks_of_frames_set_the_epochs_and_quick_ones_take_more_crops(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path)
    found = _forecast(resolved, 3, cnn=1.0, recurrent=0.45, mlp=0.02)
    assert (found.max_epochs, found.crops) == (60, {})  # 27 s within 51 s, for the least
    found = _forecast(resolved, 1, cnn=1.0, recurrent=0.48, mlp=0.02)
    assert (found.max_epochs, set(found.architectures)) == (29, {"mlp", "recurrent"})
    assert found.crops == {"mlp": 2}  # as many as in 60 epochs
    assert found.costs["mlp"] == pytest.approx(29 * 2 * 0.02)
    chosen = with_choices(resolved, found.choices)
    crops = [
        chosen.train_config(default_candidate(chosen.space, name)).crops_per_track
        for name in ("mlp", "recurrent")
    ]
    assert crops == [2, 1]
    seconds = {"cnn": 1.0, "recurrent": 0.45, "mlp": 0.1, "softmax_regression": 0.02}
    found = _forecast(resolved, 0.2, **seconds)  # 24 core-seconds: 3.4 s for the least
    assert (found.max_epochs, set(found.architectures)) == (30, {"mlp", "softmax_regression"})
    found = _forecast(resolved, 0.2, **{**seconds, "mlp": 0.4})
    assert (found.max_epochs, found.architectures) == (60, ("softmax_regression",))


def test_a_resumed_study_keeps_its_crops_and_its_features(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path)
    assert set(resolved.feature_values) == {"mel", "mfcc_statistics"}
    fingerprint: dict[str, Any] = {
        "number of epochs": 15,
        "space": {"cnn": {}},
        "features": {"mel": {}},
    }
    kept = with_choices(
        resolved, kept_choices(resolved, fingerprint)
    )  # of a version whose default was mel
    assert (set(kept.feature_values), kept.space.architectures) == ({"mel"}, ("cnn",))
    kept = with_choices(
        resolved, kept_choices(resolved, {**fingerprint, "crops per track": {"cnn": 2}})
    )
    assert kept.train_config(default_candidate(kept.space, "cnn")).crops_per_track == 2


def test_named_architectures_decide_the_default_features(tmp_path: Path) -> None:
    def features(*names: str) -> tuple[str, ...]:
        return tuple(_resolved(tmp_path, architectures=list(names)).feature_values)

    assert features("cnn") == ("mel",)
    assert features("mlp") == ("mfcc_statistics",)
    assert features("mlp", "cnn") == ("mel", "mfcc_statistics")


def test_defaults_of_quick_architectures_come_first(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path, architectures=["mobilenet", "cnn", "recurrent"])
    costs = {"mobilenet": 9.0, "recurrent": 0.5}
    points = make_initial_points(
        resolved.space, resolved.sweep.search, n_trials=64, costs=costs
    ).points
    assert [point[ARCHITECTURE] for point in points[:3]] == ["recurrent", "mobilenet", "cnn"]


@pytest.mark.parametrize(
    ("wall_s", "slowdown", "kind", "fits"),
    [(0, 1, "auto", True), (0, 5, "auto", False), (50, 1, "auto", False), (50, 1, "fusion", True)],
)
def test_fusion_is_left_out_where_it_takes_longer_than_the_time_left(
    tmp_path: Path, wall_s: float, slowdown: float, kind: str, fits: bool
) -> None:
    resolved = _resolved(tmp_path, ensemble={"kind": kind})
    prepared = SimpleNamespace(split=PREPARED.split, class_names=range(100))
    schedule = Schedule(60.0, wall_s=lambda: wall_s, slowdown=lambda: slowdown)
    context: Any = SimpleNamespace(
        sweep=resolved.sweep, prepared=prepared, schedule=schedule, wall_s=lambda: wall_s
    )
    kinds, left_out = affordable_kinds(context)  # 400 tracks x 100 classes: 13 s
    assert ("fusion" in kinds) == fits
    assert ("chorale ensemble sweep fits it" in left_out) != fits


def test_time_is_kept_for_fusion_where_it_is_a_small_share() -> None:
    of: dict[str, Any] = {"n_rows": 2_000, "n_classes": 10, "wall_s": lambda: 0.0}
    assert [round(Schedule.of(minutes, **of).evaluation_s, 1) for minutes in (1, 3)] == [5.6, 15.6]


def test_small_sweeps_are_not_measured(tmp_path: Path) -> None:
    assert is_worth_a_forecast(_resolved(tmp_path).sweep.budget, 400)
    small = {"trials": 4, "max_epochs": 4}
    assert not is_worth_a_forecast(_resolved(tmp_path, budget=small).sweep.budget, 400)
    limited = _resolved(tmp_path, budget={**small, "minutes": 5}).sweep.budget
    assert is_worth_a_forecast(limited, 400)


def test_a_plan_names_time_and_architectures_and_starts_nothing(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *tiny, "--cluster.address", "none", "--plan"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "trials up to 4, epochs 4, finalists 2" in printed
    assert "a trial takes" in printed
    assert "recurrent" in printed
    runs = tmp_path / "runs"
    assert not (runs / "chorale.db").exists()
    assert not list(runs.glob(".probe*"))


def test_a_plan_never_submits_a_job(tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", *tiny, "--plan", "--cluster.address", "http://127.0.0.1:1"]
    assert main(words) == 2
    assert "--plan measures where it runs" in " ".join(capsys.readouterr().err.split())


def test_a_sweep_without_time_ends_with_a_baseline_and_can_be_resumed(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", *tiny, "--cluster.address", "none", "--budget.max_epochs", "1"]
    assert main([*words, "--budget.minutes", "0.01"]) == 0
    found = json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text())
    assert found["trials"]["complete"] == 0
    ((name, baseline),) = found["baselines"].items()  # the cheapest, with one setting
    assert found["ensemble"]["members"] == found["best_single"]["members"] == [name]
    assert found["ensemble"]["test"]["accuracy"] == baseline["test"]["accuracy"]
    assert "single trial" not in headline_sentence(found)
    assert (
        main(["export", "tiny", "--runs", str(tmp_path / "runs"), "--to", str(tmp_path / "b")]) == 0
    )
    assert main(["ensemble", "tiny", "--runs", str(tmp_path / "runs")]) == 0
    assert main(["compress", "tiny", "--runs", str(tmp_path / "runs"), "--target-ms", "5"]) == 1
    assert "no network to compress" in capsys.readouterr().err
    assert main(["resume", "tiny", "--runs", str(tmp_path / "runs"), "--budget.minutes", "5"]) == 0
    found = json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text())
    assert found["trials"]["complete"] > 0
    assert set(found["baselines"]) == {"logistic_regression", "svm"}


def test_an_interrupted_sweep_can_be_ended_with_what_it_has(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended: list[int] = []
    tell = FinalistTrials.tell

    def interrupted(self: FinalistTrials, trial_id: int, outcome: Any) -> None:
        tell(self, trial_id, outcome)
        ended.append(trial_id)
        if len(ended) == 3:  # the first finalist has both of its folds, the second one of two
            raise KeyboardInterrupt

    runs = tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr(FinalistTrials, "tell", interrupted)
        words = ["sweep", *tiny, "--cluster.address", "none", "--budget.max_epochs", "1"]
        assert main(words) == 130
    assert f"chorale resume tiny --runs {runs} --finish" in capsys.readouterr().out
    assert main(["resume", "tiny", "--runs", str(runs), "--finish"]) == 0
    assert len(ended) == 3
    found = json.loads((runs / "tiny" / "report.json").read_text())
    assert [type(one) for one in found["best_single"]["members"]] == [int]
    assert not (runs / "tiny" / "finalists" / "epochs.json").exists()
    assert main(["resume", "tiny", "--runs", str(runs)]) == 0  # trains what was left out
    reader = LedgerReader(f"sqlite:///{runs / 'chorale.db'}")
    states = [row.state for row in reader.rows("tiny", FINALISTS).values()]
    reader.close()
    assert states == ["COMPLETE"] * 4
    found = json.loads((runs / "tiny" / "report.json").read_text())
    assert found["test_looks"] == 2
