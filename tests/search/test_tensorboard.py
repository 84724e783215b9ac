from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from chorale.search.listener import Started
from chorale.search.store import Row
from chorale.search.tensorboard import HParamsWriter


def _written(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def _session(events: EventAccumulator, tag: str) -> object:
    summary = events.SummaryMetadata(tag)
    return metadata.parse_session_start_info_plugin_data(summary.plugin_data.content)


def test_parameters_and_final_metrics_reach_the_hparams_tab(tmp_path: Path) -> None:
    writer = HParamsWriter(lambda number: tmp_path / f"{number:04d}")
    params = {"architecture": "cnn", "train.lr": 1e-3, "cnn.n_layers": 3, "flag": True}
    writer.started(Started(3, "trial 3", "cnn", params))
    writer.reported(3, 1, {"accuracy": 0.2})
    writer.ended(3, Row("3", "COMPLETE", "", {"metrics": {"accuracy": 0.75, "log_loss": 0.5}}))
    events = _written(tmp_path / "0003")
    assert events.Scalars("final/accuracy")[0].value == 0.75
    start: object = _session(events, metadata.SESSION_START_INFO_TAG)
    hparams = start.hparams  # type: ignore[attr-defined]
    assert hparams["architecture"].string_value == "cnn"
    assert hparams["train.lr"].number_value == 1e-3
    assert hparams["flag"].bool_value is True
    assert hparams["state"].string_value == "COMPLETE"


def test_a_failed_trial_is_there_too(tmp_path: Path) -> None:
    writer = HParamsWriter(lambda number: tmp_path / str(number))
    writer.started(Started(0, "trial 0", "cnn", {"train.lr": 1.0}))
    writer.ended(0, Row("0", "FAIL", "diverged"))
    events = _written(tmp_path / "0")
    content = events.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(content).status == 2  # STATUS_FAILURE
