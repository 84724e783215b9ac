"""Real nights of tracks with several labels, with tiny networks: promoted, compared, repeated."""

import shutil
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from chorale.search.baselines import baseline_plan, classifiers
from chorale.search.champion.registry.registry import Registry
from chorale.search.cli import main
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import study_fingerprint
from chorale.search.ledger.ledger import Ledger
from chorale.search.nightly.config import Nightly, load_nightly
from chorale.search.nightly.data_stage import prepare_night_data
from chorale.search.nightly.notify import notification
from chorale.search.nightly.records import Night, Records

FIRST, SECOND = date(2026, 11, 20), date(2026, 11, 21)


@dataclass(frozen=True)
class _Nights:
    """Two nights of a schedule, and their exit codes."""

    nightly: Nightly
    codes: tuple[int, ...]

    def night(self, day: date) -> Night:
        found = Records(self.nightly.paths).read(day)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def nights(chords: Path, tmp_path_factory: pytest.TempPathFactory) -> _Nights:
    """Nights over `chords`."""
    root = tmp_path_factory.mktemp("label-nights")
    music = Path(shutil.copytree(chords.parent, root / "music"))
    (root / "tones.yaml").write_text(
        f"""
dataset:
  name: folder
  root: {music}
  manifest: {music / chords.name}
  columns: {{path: file, label: labels, group: artist}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
architectures: [cnn]
audit: {{fingerprint: false}}
space:
  cnn: {{n_layers: 2, width: {{choice: [16]}}, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, n_masks: 0, mixup_alpha: 0.0, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 5, max_epochs: 2}}
finalists: {{configs: 1, folds: 2}}
ensemble: {{kinds: [soft_vote], baselines: none}}
gate: {{beat_baseline: false}}
retention: {{top: 1}}
cluster: {{address: none}}
runs: {root / "runs"}
"""
    )
    file = str(root / "tones.yaml")
    grids = {"logistic_regression": {"statistics": ("mean_std",), "C": (0.1,)}}
    with pytest.MonkeyPatch.context() as patch:
        for module in (classifiers, baseline_plan):
            patch.setattr(module, "GRIDS", grids)
        codes = [main(["nightly", file, "--night", day.isoformat()]) for day in (FIRST, SECOND)]
    return _Nights(load_nightly(file, {}), tuple(codes))


def test_the_first_night_promotes_a_champion_by_its_map(nights: _Nights) -> None:
    night = nights.night(FIRST)
    assert (night.verdict, nights.codes[0]) == ("PROMOTED", 0)
    assert "there was no champion; the candidate's test mAP is" in night.reason
    assert Registry(nights.nightly.runs.champion(nights.nightly.champion)).current() is not None
    assert night.state == "done"  # retention ranks its trials by mAP


def test_the_next_night_compares_maps_and_checks_drift(nights: _Nights) -> None:
    night = nights.night(SECOND)
    assert night.verdict in ("KEPT", "INCONCLUSIVE", "PROMOTED")
    assert nights.codes[1] == night.code
    assert night.figures["champion"]["mAP"] == nights.night(FIRST).figures["candidate"]["mAP"]
    assert night.figures["sentinel"]["then"] is not None
    assert 0 < night.figures["sentinel"]["now"] <= 1
    assert night.figures["taught_by"] == ["tones-2026-11-20"]
    content = notification(nights.nightly, night)
    assert content["candidate_mAP"] == night.figures["candidate"]["mAP"]
    assert "candidate_accuracy" not in content
    assert "candidate mAP" in content["body"]


def test_each_night_has_one_study_of_the_objective_of_several_labels(nights: _Nights) -> None:
    ledger = Ledger(nights.nightly.sweep.ledger_url)
    try:
        assert sorted(ledger.studies()) == ["tones-2026-11-20", "tones-2026-11-21"]
        assert {ledger.study(name).about["objective"] for name in ledger.studies()} == {"mAP"}
    finally:
        ledger.close()


def test_an_interrupted_night_finds_its_study_again(nights: _Nights) -> None:
    tonight = prepare_night_data(nights.nightly, SECOND, Progress(Console(quiet=True)), accept=True)
    sweep = replace(tonight.resolved.sweep, budget=nights.nightly.sweep.budget)
    resolved = replace(tonight.resolved, sweep=sweep)
    ledger = Ledger(nights.nightly.sweep.ledger_url)
    try:
        kept = ledger.fingerprint("tones-2026-11-21")
    finally:
        ledger.close()
    assert kept == study_fingerprint(resolved, tonight.prepared)


def test_the_pages_speak_of_map(nights: _Nights) -> None:
    paths = nights.nightly.paths
    pages = [Records(paths).night(day).report_html for day in (FIRST, SECOND)]
    for page in (*pages, paths.trend_html):
        text = page.read_text(encoding="utf-8")
        assert "mAP" in text
        assert "ccuracy" not in text.replace("accuracy-by-split", "")
