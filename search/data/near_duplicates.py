"""Near duplicates among the tracks of a sweep or of `chorale data check`, by its encoders.

`datasets.audit.near_duplicates` finds them in the embeddings that the feature cache has.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from chorale.datasets.audit.near_duplicates import (
    MAX_TRACKS,
    MIN_TRACKS,
    near_duplicates_by_encoder,
    similarity_text,
    track_vectors,
)
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.config.encoder_choices import is_encoder
from chorale.search.console.progress import Progress
from chorale.search.ledger.near_pairs import NearPair, listed

PROBLEM = "near duplicate"


def report_near_duplicates(
    tracks: pd.DataFrame, known: pd.DataFrame, stores: Mapping[str, Path], progress: Progress
) -> list[NearPair]:
    """Finds near duplicates by the encoders among `stores`, and prints a line about them.

    See `find_near_pairs`. Nothing is printed where there is no encoder.
    """
    if not any(map(is_encoder, stores)):
        return []
    pairs = find_near_pairs(tracks, known, stores)
    for line in near_duplicate_lines(pairs, len(tracks)):
        progress.stage("caution" if pairs else "audit", line)
    return pairs


def find_near_pairs(
    tracks: pd.DataFrame, known: pd.DataFrame, stores: Mapping[str, Path]
) -> list[NearPair]:
    """The pairs of tracks that the encoders can hardly tell apart, the most similar first.

    Pairs of one group, and those that the audio fingerprint has found, are left out.

    Args:
        tracks: audited tracks with their groups.
        known: pairs of tracks with the same recording, track_id and other_id.
        stores: feature set -> the folder of its store; only encoders are read.
    """
    if not MIN_TRACKS <= len(tracks) <= MAX_TRACKS:
        return []
    ids = tracks["track_id"].tolist()
    vectors = {}
    for name, folder in sorted(stores.items()):
        if is_encoder(name):
            store = FeatureStore.open(folder)
            vectors[name] = track_vectors(store.frames, store.offsets)[store.rows(ids)]
    found = near_duplicates_by_encoder(vectors, tracks["group"].to_numpy(dtype=str))
    same = {frozenset(pair) for pair in zip(known["track_id"], known["other_id"], strict=True)}
    return [
        NearPair(ids[a], ids[b], similarity_text(similarities))
        for (a, b), similarities in found.items()
        if frozenset((ids[a], ids[b])) not in same
    ]


def near_pair_warnings(pairs: Sequence[NearPair], tracks: pd.DataFrame) -> pd.DataFrame:
    """The pairs as warnings of the audit, one row each: track_id, path, problem, detail."""
    path_of = dict(zip(tracks["track_id"], tracks["path"], strict=True))
    rows = [
        (pair.other_id, path_of[pair.other_id], PROBLEM, f"of '{pair.track_id}': {pair.similarity}")
        for pair in pairs
    ]
    return pd.DataFrame(rows, columns=["track_id", "path", "problem", "detail"])


def near_duplicate_lines(pairs: Sequence[NearPair], n_tracks: int) -> list[str]:
    """The pairs in a line for people; empty where there are none."""
    if not MIN_TRACKS <= n_tracks <= MAX_TRACKS:
        return [f"near duplicates are only looked for among {MIN_TRACKS} to {MAX_TRACKS:,} tracks"]
    if not pairs:
        return []
    n = len(pairs)
    return [
        f"{n} {'pair' if n == 1 else 'pairs'} of tracks of different groups may be the same "
        f"recording: {listed(pairs)}; listen to them, and give the same recording one group"
    ]
