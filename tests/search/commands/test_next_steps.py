"""The commands that a sweep ends with."""

import json
from pathlib import Path

import pytest

from chorale.search.commands.next_steps import next_steps
from chorale.search.config.schema import BudgetConfig, SweepConfig


def _sweep(runs: Path, **changes: object) -> SweepConfig:
    return SweepConfig({"name": "gtzan"}, name="s", runs=str(runs), **changes)  # type: ignore[arg-type]


def test_a_study_with_recordings_can_predict_and_serve(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path / "my runs")
    song = tmp_path / "a song.wav"
    song.touch()
    sweep.paths.root.mkdir(parents=True)
    missing = str(tmp_path / "moved.wav")
    sweep.paths.audio_json.write_text(json.dumps({"a": missing, "b": str(song)}))
    runs = f"--runs '{tmp_path}/my runs'"
    assert [command for command, _ in next_steps(sweep)] == [
        f"chorale report s --open {runs}",
        f"chorale predict '{song}' --study s {runs}",
        f"chorale export s {runs} && chorale serve '{tmp_path}/my runs/s/bundle'",
        f"chorale resume s --budget.trials 128 {runs}",
    ]


@pytest.mark.parametrize(
    ("budget", "options"),
    [
        (BudgetConfig(), "--budget.trials 128"),
        (BudgetConfig(trials=10), "--budget.trials 20"),
        (BudgetConfig(minutes=7.5), "--budget.minutes 15"),
        (BudgetConfig(trials=3, gpu_hours=2), "--budget.gpu_hours 4 --budget.trials 6"),
    ],
)
def test_a_study_without_recordings_is_searched_on_with_twice_the_budget(
    budget: BudgetConfig, options: str
) -> None:
    sweep = SweepConfig({"name": "table"}, name="s", budget=budget, store="postgresql://h/d")
    assert [command for command, _ in next_steps(sweep)] == [
        "chorale report s --open --store postgresql://h/d",
        f"chorale resume s {options} --store postgresql://h/d",
    ]
