"""The process of shadow answers: predicts with another bundle what the server has answered.

It runs at the lowest priority, so that answers do not wait for it (`search.champion.serve.shadow`).
"""

import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from chorale.search.champion.serve.decoding import silence_libraries

LOWEST_PRIORITY = 19


def answer_again(connection: Connection, bundle: Path, health_dir: Path | None) -> None:
    """Receives (sample rate, the server's labels) and then samples, until the other end is closed.

    Sends None first, when it is ready. Answers whether its own labels are the same, or with the
    text of an error.
    """
    silence_libraries()
    os.nice(LOWEST_PRIORITY)
    if hasattr(os, "SCHED_IDLE"):  # Linux: only while nothing else wants the core
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    import torch

    from chorale.search.bundle.bundle import Bundle
    from chorale.search.bundle.prediction_json import predicted_labels, prediction_json
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.health.monitor import HealthMonitor

    torch.set_num_threads(1)
    predictor = Predictor(Bundle.open(bundle))
    monitor = HealthMonitor(predictor.bundle, health_dir)
    connection.send(None)
    while True:
        try:
            sample_rate, labels = connection.recv()
            samples = np.frombuffer(connection.recv_bytes(), np.float32).copy()
        except (EOFError, OSError, KeyboardInterrupt):
            monitor.close()
            return
        try:
            prediction = predictor.predict_waveform(samples, sample_rate)
        except Exception as error:  # of this recording; the next one may be answered
            connection.send(f"{type(error).__name__}: {error}")
            continue
        monitor.observe(prediction)
        own = predicted_labels(prediction_json(prediction, predictor.labels, top=1))
        connection.send(set(own) == set(labels))
