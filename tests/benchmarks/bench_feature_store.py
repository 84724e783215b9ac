"""Time and memory to open a feature store, by its number of tracks. Prints a table.

    python tests/benchmarks/bench_feature_store.py [--tracks 1000 10000 100000] [--frames 20]

The frames are random. Each store is opened in a new process, so that only the operating system's
cache is warm; "open" is the median of seven processes, "100 rows" is to look up 100 tracks by their
ids and read their frames. Goal: 100,000 tracks open in less than 10 ms, and memory does not grow
with their number.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from chorale.datasets.base import track_table
from chorale.datasets.store.precomputed_features import build_table_store, row_hashes

N_BINS = 16
PROBE = """
import json, sys, time
import numpy as np
from chorale.datasets.store.feature_store import FeatureStore

def rss_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

before = rss_mb()
started = time.perf_counter()
store = FeatureStore.open(sys.argv[1])
opened = time.perf_counter()
opened_mb = rss_mb() - before
ids = json.loads(sys.argv[2])
rows = store.rows(ids)
total = sum(float(store.frames[store.offsets[r]:store.offsets[r + 1]].sum()) for r in rows)
read = time.perf_counter()
print(json.dumps([1000 * (opened - started), 1000 * (read - opened), opened_mb]))
"""


def make_store(root: Path, n_tracks: int, n_frames: int) -> Path:
    """Writes a store of random frames; returns its folder."""
    ids = [f"track-{i:07d}" for i in range(n_tracks)]
    tracks = track_table({"track_id": name, "label": "a", "group": name} for name in ids)
    values = np.random.default_rng(0).standard_normal((n_tracks * n_frames, N_BINS))
    frame = pd.DataFrame(values, index=pd.Index(np.repeat(ids, n_frames), name="track_id"))
    tracks = tracks.assign(content=row_hashes(tracks, frame))
    return build_table_store(tracks, "table", frame, root=root).folder


def main() -> int:
    parser = argparse.ArgumentParser(description="Time and memory to open a feature store")
    parser.add_argument("--tracks", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--frames", type=int, default=20, help="per track")
    args = parser.parse_args()
    print(f"{'tracks':>8} {'frames MB':>10} {'open ms':>8} {'100 rows ms':>12} {'open MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for n_tracks in args.tracks:
            store = make_store(Path(folder), n_tracks, args.frames)
            chosen = np.random.default_rng(1).integers(n_tracks, size=100)
            ids = json.dumps([f"track-{i:07d}" for i in chosen])
            command = [sys.executable, "-c", PROBE, str(store), ids]
            answers = [
                json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                for _ in range(7)
            ]
            open_ms, rows_ms, open_mb = (
                statistics.median(part) for part in zip(*answers, strict=True)
            )
            size_mb = (store / "frames.npy").stat().st_size / 2**20
            print(
                f"{n_tracks:>8} {size_mb:>10.0f} {open_ms:>8.2f} {rows_ms:>12.1f} {open_mb:>8.1f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
