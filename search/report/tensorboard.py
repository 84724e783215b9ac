"""TensorBoard HParams events: each trial's hyperparameters with its final metrics and state.

The worker writes the scalars of a trial while it runs (Lightning's logger). The hyperparameters
are written here, by the driver, as only the driver knows how every trial ended, failed ones too.
`search.report.tensorboard_finalists` writes the events of finalists.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chorale.datasets.disk import skip_if_unwritable
from chorale.search.console.events import TrialStarted
from chorale.search.ledger.reader import Row

SESSION_STATUS = {
    "COMPLETE": "STATUS_SUCCESS",
    "PRUNED": "STATUS_SUCCESS",
    "FAIL": "STATUS_FAILURE",
}


class HParamsWriter:
    """A study listener that writes one event file per trial into the trial's folder.

    `left_out` lists what was not written because the disk was full.
    """

    def __init__(self, folder_of: Callable[[int], Path]) -> None:
        """`folder_of` maps a trial's number to its folder."""
        self._folder_of = folder_of
        self.left_out: list[str] = []
        self._started: dict[int, tuple[TrialStarted, float]] = {}

    def started(self, trial: TrialStarted) -> None:
        """Keeps the hyperparameters until the trial ends."""
        self._started[trial.trial_id] = (trial, time.time())

    def reported(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> None:
        """Does nothing: the worker writes the scalars."""

    def ended(self, trial_id: int, row: Row) -> None:
        """Writes the hyperparameters, the final metrics and the state."""
        trial, began = self._started.pop(trial_id)
        params = {**trial.params, "state": row.state}
        metrics = {f"final/{k}": float(v) for k, v in row.facts.get("metrics", {}).items()}
        folder, status = self._folder_of(trial_id), SESSION_STATUS[row.state]
        with skip_if_unwritable(f"trial {trial_id} in TensorBoard's HParams tab", self.left_out):
            write_hparams(folder, params, metrics, status=status, began=began)


def write_hparams(
    folder: Path,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    *,
    status: str,
    began: float,
) -> None:
    """Writes one session of the HParams plug-in.

    Without an experiment summary, TensorBoard collects the columns from all sessions, which fits a
    conditional search space, where no trial has every parameter, and several studies in one log
    folder. Without a group name, a session is its own group, named by its path in the log folder:
    trials of different studies with the same number stay separate.

    Args:
        folder: where the event file goes.
        params: numbers, strings and booleans; anything else is written as text.
        metrics: the final values, by tag.
        status: a name of `tensorboard.plugins.hparams.api_pb2.Status`.
        began: seconds since the epoch.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    from chorale.lightning_models.training.events import EventFile

    start = plugin_data_pb2.SessionStartInfo(start_time_secs=began)
    for name, value in params.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.Status.Value(status), end_time_secs=time.time()
    )
    pairs = [
        (
            metadata.SESSION_START_INFO_TAG,
            plugin_data_pb2.HParamsPluginData(session_start_info=start),
        ),
        (metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)),
    ]
    events = []
    for tag, content in pairs:
        summary = Summary()
        summary.value.add(tag=tag, metadata=metadata.create_summary_metadata(content))
        events.append(Event(summary=summary, wall_time=time.time()))
    for tag, number in metrics.items():
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=number)])
        events.append(Event(summary=summary, wall_time=time.time(), step=0))
    file = EventFile(folder, suffix=".hparams")
    try:
        file.write(events)
    finally:
        file.close()
