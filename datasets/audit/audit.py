"""Data quality audit: decodes every track once and excludes faulty ones, with the reason.

Between the track table and the feature cache. Findings are cached by the files' content hash, so a
second sweep on the same data decodes nothing.
"""

import math
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from chorale.datasets import audio
from chorale.datasets.audit.faults import clipped_share, warning_table
from chorale.datasets.audit.findings import FileStamp, Finding, FindingsCache
from chorale.datasets.chunks import ChunkMap as ChunkMap
from chorale.datasets.chunks import in_chunks
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import class_names_of

R = TypeVar("R")

MIN_PEAK = 1e-4  # -80 dBFS, where full scale is 1.0
MAX_LISTED_BAD = 10  # bad files listed in an error

NO_DECODER = "no decoder"
"""The problem of files for which a package is missing."""

_PASSING_PROBLEMS = ("missing", "unreadable", "not audio", NO_DECODER)  # not of the content


@dataclass(frozen=True)
class AuditResult:
    """The usable tracks of a dataset, and the faulty ones that were excluded.

    `tracks` are the usable ones, with `duration_s` measured and a further column `content`, the
    SHA-256 of the file. `problems` has the columns track_id, path, problem, detail, and so has
    `warnings`, about tracks that are used nevertheless.
    """

    tracks: pd.DataFrame
    problems: pd.DataFrame
    warnings: pd.DataFrame


def require_usable_tracks(
    found: AuditResult, tracks: pd.DataFrame, *, max_bad_share: float
) -> None:
    """Raises if too few usable tracks are left of `tracks`.

    Raises:
        UserError: too many are bad, or fewer than two labels are left.
    """
    _refuse_bad_share(found.problems, len(tracks), max_bad_share)
    _refuse_one_label(tracks, found.tracks, found.problems)


def audit_recordings(
    tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap = map
) -> AuditResult:
    """Excludes tracks that are missing, undecodable, empty, silent, constant or too short.

    Args:
        tracks: a track table whose tracks have audio.
        min_duration_s: shorter tracks are bad.
        cache_root: where findings are cached between sweeps.
        run: maps work over chunks of files.

    Raises:
        UserError: there are no tracks.
    """
    if tracks.empty:
        raise UserError("audit: the dataset has no tracks; check --dataset.root")
    with FindingsCache.opened(cache_root / "audit.json") as known:
        examined = _examine_files([str(path) for path in tracks["path"]], known, run)
    findings = [_check_duration(finding, min_duration_s) for _, finding in examined]
    measured = tracks.assign(
        duration_s=[finding.duration_s for finding in findings],
        content=[content for content, _ in examined],
    )
    bad = np.array([finding.problem != "" for finding in findings])
    problems = tracks.loc[bad, ["track_id", "path"]].assign(
        problem=[finding.problem for finding in findings if finding.problem],
        detail=[finding.detail for finding in findings if finding.problem],
    )
    good = measured[~bad].reset_index(drop=True)
    return AuditResult(good, problems.reset_index(drop=True), warning_table(tracks, findings))


def missing_decoders(problems: pd.DataFrame) -> list[str]:
    """One line for each kind of file that has no decoder: how many there are, and what to type."""
    without = problems[problems["problem"] == NO_DECODER]
    return [
        f"{len(rows)} without a decoder, such as {rows['path'].iloc[0]}: {detail}"
        for detail, rows in without.groupby("detail")
    ]


def examine_file(path: str) -> Finding:
    """Decodes one file and reports the problem of its waveform, if there is one."""
    try:
        recording = audio.decode_audio(path)
    except audio.AudioError as error:
        return Finding(0.0, error.problem, error.detail)
    waveform = recording.waveform
    duration_s = len(waveform) / recording.sample_rate
    low, high = float(waveform.min()), float(waveform.max())
    if (peak := max(high, -low)) < MIN_PEAK:
        level = f"{20 * math.log10(peak):.0f} dBFS" if peak > 0 else "0"
        return Finding(duration_s, "silent", f"its peak is {level}; at least -80 dBFS is needed")
    mean = float(waveform.mean(dtype=np.float64))
    if max(high - mean, mean - low) < MIN_PEAK:
        return Finding(duration_s, "DC only", f"every sample is about {mean:.4f}")
    return Finding(
        duration_s,
        clipped_share=clipped_share(waveform),
        format=recording.format,
        header_s=recording.header_s,
        cancelled_share=recording.cancelled_share,
        n_undecoded_bytes=recording.n_undecoded_bytes,
        n_messages=len(recording.messages),
        first_message=recording.messages[0] if recording.messages else "",
    )


def _examine_files(
    paths: Sequence[str], known: FindingsCache, run: ChunkMap
) -> list[tuple[str, Finding]]:
    """For each path its content hash ("" where it has none) and its finding."""
    stamps = {path: stamp for path in dict.fromkeys(paths) if (stamp := _stamp(path))}
    changed = [path for path, stamp in stamps.items() if not known.content(path, stamp)]
    for path, content in _each(_hash_chunk, changed, run):
        known.set_content(path, stamps[path], content)
    contents = {path: known.content(path, stamp) for path, stamp in stamps.items()}

    unknown = {c: path for path, c in contents.items() if c and known.finding(c) is None}
    for path, finding in _each(_examine_chunk, list(unknown.values()), run):
        if finding.problem not in _PASSING_PROBLEMS:
            known.set_finding(contents[path], finding)
    # a path without content fails before decoding, so examining it here is cheap
    found = {p: known.finding(contents.get(p, "")) or examine_file(p) for p in dict.fromkeys(paths)}
    return [(contents.get(path, ""), found[path]) for path in paths]


def _stamp(path: str) -> FileStamp | None:
    """None where there is no file, or its name shows that it is no audio."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or Path(path).name.startswith("._"):
        return None
    return status.st_size, status.st_mtime_ns


def _each(
    work: Callable[[Sequence[str]], list[R]], paths: Sequence[str], run: ChunkMap
) -> Iterator[tuple[str, R]]:
    chunks = in_chunks(paths)
    done = run(work, chunks) if chunks else ()  # do not start a pool without work
    for chunk, results in zip(chunks, done, strict=True):
        yield from zip(chunk, results, strict=True)


def _hash_chunk(paths: Sequence[str]) -> list[str]:
    hashes = []
    for path in paths:
        try:
            hashes.append(audio.content_hash(path))
        except audio.AudioError:
            hashes.append("")
    return hashes


def _examine_chunk(paths: Sequence[str]) -> list[Finding]:
    return [examine_file(path) for path in paths]


def _check_duration(finding: Finding, min_duration_s: float) -> Finding:
    if finding.problem or finding.duration_s >= min_duration_s:
        return finding
    detail = f"{finding.duration_s:.3f} s; at least {min_duration_s:g} s is needed"
    return Finding(finding.duration_s, "too short", detail)


def _refuse_bad_share(problems: pd.DataFrame, n_tracks: int, max_bad_share: float) -> None:
    share = len(problems) / n_tracks
    if share <= max_bad_share:
        return
    enough = math.ceil(share * 100) / 100
    advice = (
        "fix or remove them"
        if len(problems) == n_tracks
        else f"fix or remove them, or continue without them: --audit.max_bad_share {enough:g}"
    )
    raise UserError(
        f"audit: {len(problems)} of {n_tracks} tracks are bad ({share:.1%}), "
        f"but at most {max_bad_share:.1%} may be:\n{_listed(problems)}\n{advice}"
    )


def _listed(problems: pd.DataFrame) -> str:
    others = problems[problems["problem"] != NO_DECODER]
    rows = others.head(MAX_LISTED_BAD)
    columns = (rows["path"], rows["problem"], rows["detail"])
    lines = [f"  {line}" for line in missing_decoders(problems)]
    lines += [
        f"  {path}: {problem} ({detail})" for path, problem, detail in zip(*columns, strict=True)
    ]
    if len(others) > MAX_LISTED_BAD:
        lines.append(f"  ... and {len(others) - MAX_LISTED_BAD} more")
    return "\n".join(lines)


def _refuse_one_label(tracks: pd.DataFrame, good: pd.DataFrame, problems: pd.DataFrame) -> None:
    left = class_names_of(good["label"])
    if len(left) >= 2:
        return
    before = ", ".join(class_names_of(tracks["label"]))
    which = f"only the label '{left[0]}'" if left else "no track"
    bad = f"; these tracks are bad:\n{_listed(problems)}\n" if len(problems) else "; "
    raise UserError(
        f"audit: {which} is left of {len(tracks)} tracks with the labels: {before}{bad}"
        f"a classifier needs good tracks of at least two labels: fix them or add others"
    )
