from pathlib import Path
from typing import Any

from tensorboard import context
from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups, metadata

from chorale.search.console.events import TrialStarted
from chorale.search.ledger.ledger import Row
from chorale.search.report.tensorboard import HParamsWriter


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
    writer.started(TrialStarted(3, "trial 3", "cnn", params))
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


def test_a_failed_trial_has_a_session_too(tmp_path: Path) -> None:
    writer = HParamsWriter(lambda number: tmp_path / str(number))
    writer.started(TrialStarted(0, "trial 0", "cnn", {"train.lr": 1.0}))
    writer.ended(0, Row("0", "FAIL", "diverged"))
    events = _written(tmp_path / "0")
    content = events.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(content).status == 2  # STATUS_FAILURE


def test_trials_of_several_studies_in_one_log_folder_keep_their_rows_and_columns(
    tmp_path: Path,
) -> None:
    """Read through TensorBoard's own HParams plug-in."""
    for study, numbers, name in (("a", 3, "lr"), ("b", 2, "width"), ("c", 2, "lr")):
        writer = HParamsWriter(lambda n, study=study: tmp_path / study / "trials" / f"{n:04d}")  # type: ignore[misc]
        for number in range(numbers):
            value = number + 10.0 * ord(study)
            writer.started(TrialStarted(number, f"trial {number}", "cnn", {name: value}))
            writer.ended(number, Row(str(number), "COMPLETE", "", {"metrics": {"accuracy": value}}))
    found = _groups(tmp_path)
    assert len(found) == 7
    for group in found:
        study, _, number = group.name.split("/")
        value = int(number) + 10.0 * ord(study)
        assert group.hparams["width" if study == "b" else "lr"].number_value == value
        assert [m.value for m in group.metric_values if m.name.tag == "final/accuracy"] == [value]
        assert len(group.sessions) == 1
    assert {"lr", "width", "state"} <= {name for group in found for name in group.hparams}


def _groups(folder: Path) -> list[Any]:
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked, request = (
        context.RequestContext(),
        api_pb2.ListSessionGroupsRequest(
            slice_size=100,
            allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE],
            include_metrics=True,
        ),
    )
    columns = [
        info.name
        for info in backend.experiment_from_metadata(
            asked, "", True, backend.hparams_metadata(asked, ""), None
        ).hparam_infos
    ]
    assert {"lr", "width"} <= set(columns)
    handler = list_session_groups.Handler(
        request_context=asked, backend_context=backend, experiment_id="", request=request
    )
    return list(handler.run().session_groups)
