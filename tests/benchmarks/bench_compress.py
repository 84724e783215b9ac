"""Latency of a bundle's prediction of a 30-s clip on one thread, by PyTorch and as ONNX graphs.

    python tests/benchmarks/bench_compress.py BUNDLE [--rounds 30]

Features are included, decoding is not. Beside the time that passed stands the processor's time,
which other work on the machine does not lengthen as much. In one run, on one thread.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.export.onnx_file import OnnxGraph, export_onnx, whole_of
from chorale.search.champion.export.quantise import quantise
from chorale.search.training.latency import CLIP_S, clip, measure


def main() -> None:
    """Prints the table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("bundle", type=Path)
    words.add_argument("--rounds", type=int, default=30)
    given = words.parse_args()
    torch.set_num_threads(1)
    predictor = Predictor(Bundle.open(given.bundle))
    whole = whole_of(predictor)
    wave = clip(whole.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.onnx"
        export_onnx(whole, path)
        quantise(path, small := Path(folder) / "small.onnx")
        graph, eight = OnnxGraph.open(path), OnnxGraph.open(small)
        sizes_mb = {
            "PyTorch": sum(f.stat().st_size for f in given.bundle.rglob("*") if f.is_file()) / 1e6,
            "ONNX": path.stat().st_size / 1e6,
            "ONNX, 8 bits": small.stat().st_size / 1e6,
        }
        asks: dict[str, Callable[[], object]] = {
            "PyTorch": lambda: predictor.of_waveform(wave, whole.sample_rate),
            "ONNX": lambda: graph.run(wave),
            "ONNX, 8 bits": lambda: eight.run(wave),
        }
        print(f"{len(predictor.parts.networks)} networks, {CLIP_S:.0f} s at {whole.sample_rate} Hz")
        print("| variant | p50 ms | p99 ms | p50 ms of processor | MB |")
        print("|---|---|---|---|---|")
        for name, ask in asks.items():
            found = measure(ask, given.rounds)
            print(
                f"| {name} | {found.p50_ms:.1f} | {found.p99_ms:.1f} | {found.processor_ms:.1f} "
                f"| {sizes_mb[name]:.2f} |"
            )
        said = predictor.of_waveform(wave, whole.sample_rate).proba
        print(f"furthest apart: {np.abs(said - graph.run(wave)[0]).max():.1e}")


if __name__ == "__main__":
    main()
