#!/usr/bin/env bash
# The mel spectrogram model in pyopen-wakeword 1.1.0 (that of openWakeWord) gives a quiet passage other
# values where anything loud is in the same input, although each frame reads 25 ms only.
#
# Its graph takes decibels relative to the whole input: what is more than 80 dB below the loudest frame
# of that input is clipped. So the spectrogram of a recording depends on how it was cut: passed as a
# whole, its quiet parts are raised to the floor that its loudest moment sets; passed in the chunks of
# 1,760 samples that the package uses, they are not. A program that saves calls by passing whole
# recordings gets other embeddings without a word.
#
# Seen on 2026-11-30, Python 3.11, Linux x86_64; lowest decibels of the quiet second:
#   the quiet second alone: -46.4
#   the same second before a loud one, in one input: 13.2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ai-edge-litert==2.3.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps pyopen-wakeword==1.1.0
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$folder/seen"
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

RATE = 16_000
package = Path(find_spec("pyopen_wakeword").submodule_search_locations[0])
model = Interpreter(str(package / "models" / "melspectrogram.tflite"))
place = model.get_input_details()[0]["index"]


def decibels(samples):
    """(n_frames, 32), of samples in the range of int16, as the package passes them."""
    model.resize_tensor_input(place, (1, len(samples)))
    model.allocate_tensors()
    model.set_tensor(place, samples[None].astype(np.float32))
    model.invoke()
    return model.get_tensor(model.get_output_details()[0]["index"])[0, 0]


rng = np.random.default_rng(0)
quiet, loud = 0.01 * rng.standard_normal(RATE), 8_000 * rng.standard_normal(RATE)
n_frames = 90  # of the quiet second, none of which reads a loud sample
alone = decibels(quiet)[:n_frames].min()
together = decibels(np.concatenate([quiet, loud]))[:n_frames].min()
print(f"the quiet second alone: {alone:.1f}")
print(f"the same second before a loud one, in one input: {together:.1f}")
PYTHON
python3 - "$folder/seen" <<'PYTHON'
import sys

alone, together = (float(line.rpartition(" ")[2]) for line in open(sys.argv[1]))
if together - alone < 20:
    sys.exit(f"changed: {alone} and {together}")
print("as described")
PYTHON
