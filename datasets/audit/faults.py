"""Audit warnings (clipping, wrong length, ...), and the table of all faults of a dataset.

`datasets.audit.audit` uses the warnings; the sweep and `chorale data check` print the table.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from chorale.datasets.audio_formats import FORMATS_OF_EXTENSION
from chorale.datasets.audit.findings import Finding
from chorale.datasets.audit.leaks import Leak
from chorale.datasets.base import IGNORED, NO_TRACK, NOT_READ

FAULT_COLUMNS = ("track_id", "path", "outcome", "problem", "detail")
"""Columns of `fault_table`; `outcome` is what happens to the track: excluded, used, ..."""

QUARANTINED, WARNED, JOINED, LEAKS, ACCEPTED = (
    "quarantined",
    "used",
    "kept on one side",
    "stops the sweep",
    "accepted",
)

CLIPPED_SHARE = 1e-3
"""A track is clipped if at least this share of its samples is in flat tops at its peak."""

_FULL_SCALE = 0.5  # a lower peak may be flat without clipping
_FLAT = 0.9999  # of the peak
_RUN = 3  # consecutive samples: one or two at the peak are no flat top


def clipped_share(waveform: npt.NDArray[np.float32]) -> float:
    """Share (0 to 1) of the samples `(n_samples,)` in flat tops: three or more at the peak."""
    peak = max(float(waveform.max()), -float(waveform.min()))
    if peak < _FULL_SCALE:
        return 0.0
    at_peak = np.abs(waveform) >= _FLAT * peak
    if np.count_nonzero(at_peak) < CLIPPED_SHARE * len(waveform):
        return 0.0
    edges = np.diff(np.r_[False, at_peak, False].astype(np.int8))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return float(lengths[lengths >= _RUN].sum() / len(waveform))


def file_warnings(path: str, finding: Finding) -> list[tuple[str, str]]:
    """The warnings of a usable file: (problem, detail) pairs."""
    found = []
    if finding.clipped_share >= CLIPPED_SHARE:
        found.append(("clipped", f"{finding.clipped_share:.1%} of its samples are at the peak"))
    suffix = Path(path).suffix.lower()
    allowed = FORMATS_OF_EXTENSION.get(suffix.removeprefix("."))
    if allowed and finding.format and finding.format not in allowed:
        found.append(("wrong extension", f"its content is {finding.format}, not {suffix}"))
    if finding.header_s is not None:
        stated = f"{finding.header_s:.2f} s" if finding.header_s else "no length"
        detail = f"{stated} by its header, {finding.duration_s:.2f} s decoded"
        found.append(("length differs from header", detail))
    if finding.n_undecoded_bytes:
        detail = f"{finding.n_undecoded_bytes / 1000:.1f} kB at its end seem to be another stream"
        found.append(("not decoded", f"{detail}; encode the file again, or split it"))
    if finding.cancelled_share:
        detail = f"the mean of its channels cancels {finding.cancelled_share:.0%} of their energy"
        found.append(("opposite phase", f"{detail}, so one channel is used"))
    if finding.n_messages:
        detail = f"{finding.n_messages}, the first: {finding.first_message}"
        found.append(("decoder messages", detail))
    return found


def warning_table(tracks: pd.DataFrame, findings: Sequence[Finding]) -> pd.DataFrame:
    """The warnings of usable `tracks`, one finding each: track_id, path, problem, detail."""
    rows = [
        (track_id, path, *warning)
        for track_id, path, finding in zip(
            tracks["track_id"], tracks["path"], findings, strict=True
        )
        if not finding.problem
        for warning in file_warnings(str(path), finding)
    ]
    return pd.DataFrame(rows, columns=["track_id", "path", "problem", "detail"])


def fault_table(
    tracks: pd.DataFrame,
    *,
    problems: pd.DataFrame,
    warnings: pd.DataFrame,
    duplicates: pd.DataFrame,
    leaks: Iterable[Leak] = (),
    accepted: Iterable[str] = (),
    unread: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """All faults of a dataset, one row each (see `FAULT_COLUMNS`), the worst first.

    Args:
        tracks: all tracks of the dataset, for their paths.
        problems: of the tracks that were excluded.
        warnings: of the tracks that are used nevertheless.
        duplicates: pairs of tracks with the same recording.
        leaks: of the split.
        accepted: kinds of leaks that the user accepts.
        unread: files that are no track (see `NOT_READ_COLUMNS`); ignored ones are no fault.
    """
    paths = dict(zip(tracks["track_id"], tracks["path"].astype(object), strict=True))
    allowed = set(accepted)
    rows: list[tuple[object, ...]] = []
    leaking: set[str] = set()
    for leak in leaks:
        outcome = ACCEPTED if leak.kind in allowed else LEAKS
        rows += [(id_, paths.get(id_), outcome, leak.kind, leak.detail) for id_ in leak.track_ids]
        leaking.update(leak.track_ids if leak.kind in ("duplicates", "labels") else ())
    for outcome, faults in ((QUARANTINED, problems), (WARNED, warnings)):
        columns = (faults[name] for name in ("track_id", "path", "problem", "detail"))
        rows += [(id_, path, outcome, *rest) for id_, path, *rest in zip(*columns, strict=True)]
    if unread is not None:
        columns = (unread[name] for name in ("path", "outcome", "problem", "detail"))
        rows += [
            (None, path, outcome, *rest)
            for path, outcome, *rest in zip(*columns, strict=True)
            if outcome != IGNORED
        ]
    for pair in duplicates.itertuples():
        if not {pair.track_id, pair.other_id} <= leaking:  # otherwise listed as a leak
            overlap_s = float(str(pair.overlap_s))  # NaN where there is no audio
            overlap = "" if np.isnan(overlap_s) else f", {overlap_s:.1f} s of it"
            detail = f"{pair.kind} as '{pair.track_id}'{overlap}"
            rows.append((pair.other_id, paths.get(pair.other_id), JOINED, "duplicate", detail))
    made = pd.DataFrame(rows, columns=list(FAULT_COLUMNS))
    order = [LEAKS, ACCEPTED, QUARANTINED, NO_TRACK, NOT_READ, WARNED, JOINED]
    return made.sort_values(
        "outcome", key=lambda column: column.map(order.index), kind="stable", ignore_index=True
    )
