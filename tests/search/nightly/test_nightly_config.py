"""The nightly file: a sweep with further keys; all its problems are listed at once."""

from pathlib import Path

import pytest

from chorale.datasets.errors import UserError
from chorale.search.config.yaml_file import SHIPPED_SWEEPS
from chorale.search.nightly.config import load_nightly

NIGHTLIES = sorted(SHIPPED_SWEEPS.glob("nightly_*.yaml"))


@pytest.mark.parametrize("path", NIGHTLIES, ids=lambda path: path.stem)
def test_every_shipped_nightly_file_resolves(path: Path) -> None:
    nightly = load_nightly(str(path), {})
    assert nightly.name == path.stem
    assert nightly.resolved.space.architectures
    assert nightly.settings.schedule.at == "01:00"


def test_a_file_that_names_a_sweep_overrides_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sweep: demo\nbudget: {max_epochs: 3}\ngate: {min_gain: 0.01}\n")
    nightly = load_nightly(str(file), {"budget.trials": 7})
    assert nightly.name == nightly.champion == "mine"
    assert (nightly.sweep.budget.trials, nightly.sweep.budget.max_epochs) == (7, 3)
    assert nightly.sweep.dataset == {"name": "synthetic"}
    assert nightly.settings.gate.min_gain == 0.01


def test_another_dataset_replaces_the_named_sweeps_dataset_section(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"sweep: gtzan\ndataset: {{name: folder, root: {tmp_path}}}\n")
    assert load_nightly(str(file), {}).sweep.dataset == {"name": "folder", "root": str(tmp_path)}


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ({"gate.confidence": 1.5}, "confidence"),
        ({"schedule.zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"budgte.trials": 3}, "did you mean 'budget'.*schedule, gate"),
        ({"split.by": "track"}, "split.by: nights are compared on the same locked groups"),
        ({"split.time": True}, "split.time: nights are compared on one locked test set"),
        ({"search.warm_start": "auto"}, "search.warm_start: a night warm-starts from earlier"),
        ({"notify.webhook": "ftp://x"}, "notify.webhook: should begin with https://"),
        ({"notify.webhook": "$NO_SUCH_HOOK"}, "variable NO_SUCH_HOOK is not set"),
    ],
)
def test_invalid_values_are_refused_with_the_reason(
    dotted: dict[str, object], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        load_nightly("nightly_demo", dotted)


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(UserError, match="3 problems"):
        load_nightly("nightly_demo", {"gate.confidence": 2, "split.by": "track", "champion": "a/b"})


def test_ready_made_features_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sweep: gtzan_features\n")
    with pytest.raises(UserError, match="brings ready-made features"):
        load_nightly(str(file), {})
