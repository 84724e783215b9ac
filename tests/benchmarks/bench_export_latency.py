"""Latency of a bundle's prediction for a 30-s clip on one thread: PyTorch, ONNX, ONNX with int8.

    python tests/benchmarks/bench_export_latency.py BUNDLE [--rounds 30]

Feature extraction is included, decoding is not. CPU time is printed beside wall time, as other
load on the machine affects it less. All variants run in one process.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.export.onnx_file import OnnxGraph, end_to_end_network, export_onnx
from chorale.search.champion.export.quantise import quantise
from chorale.search.training.latency import CLIP_S, make_clip, measure_latency


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictor = Predictor(Bundle.open(args.bundle))
    network = end_to_end_network(predictor)
    wave = make_clip(network.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.onnx"
        export_onnx(network, path)
        quantise(path, int8_path := Path(folder) / "int8.onnx")
        graph, int8_graph = OnnxGraph.open(path), OnnxGraph.open(int8_path)
        sizes_mb = {
            "PyTorch": sum(f.stat().st_size for f in args.bundle.rglob("*") if f.is_file()) / 1e6,
            "ONNX": path.stat().st_size / 1e6,
            "ONNX, 8 bits": int8_path.stat().st_size / 1e6,
        }
        calls: dict[str, Callable[[], object]] = {
            "PyTorch": lambda: predictor.predict_waveform(wave, network.sample_rate),
            "ONNX": lambda: graph.run(wave),
            "ONNX, 8 bits": lambda: int8_graph.run(wave),
        }
        print(
            f"{len(predictor.parts.networks)} networks, {CLIP_S:.0f} s at {network.sample_rate} Hz"
        )
        print("| variant | p50 ms | p99 ms | p50 CPU ms | MB |")
        print("|---|---|---|---|---|")
        for name, call in calls.items():
            found = measure_latency(call, args.rounds)
            print(
                f"| {name} | {found.p50_ms:.1f} | {found.p99_ms:.1f} | {found.processor_ms:.1f} "
                f"| {sizes_mb[name]:.2f} |"
            )
        proba = predictor.predict_waveform(wave, network.sample_rate).proba
        print(f"largest difference: {np.abs(proba - graph.run(wave)[0]).max():.1e}")


if __name__ == "__main__":
    main()
