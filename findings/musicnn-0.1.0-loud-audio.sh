#!/usr/bin/env bash
# musicnn 0.1.0 makes infinite input for its own network from audio at an ordinary level.
#
# It computes a mel power spectrogram with librosa, casts it to float16 and only then takes
# log10(10000 x + 1). In float16 the product overflows where x exceeds 6.5, and librosa's mel power of
# a tone near full scale is several hundred. numpy only warns ("overflow encountered in multiply"). A
# tone at a tenth of full scale is finite, one at a fifth is not. Copies of the network that compute
# the spectrogram in float32 therefore disagree with the package on loud recordings, and only there.
#
# `musicnn.extractor.batch_data` needs no TensorFlow, which the module imports at its head: a mock
# stands for it here.
#
# Seen on 2026-11-30, Python 3.11, Linux x86_64; share of infinite values of a tone of 3 s:
#   amplitude 0.1: 0.00 % infinite, largest 4.69
#   amplitude 0.2: 2.07 % infinite, largest inf
#   amplitude 0.9: 4.17 % infinite, largest inf
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 librosa==0.11.0 soundfile==0.14.0
"$folder/venv/bin/pip" install --quiet --no-deps musicnn==0.1.0  # its own pins are of 2019
"$folder/venv/bin/python" -W ignore - "$folder/tone.wav" <<'PYTHON' | tee "$folder/seen"
import sys
from unittest import mock

sys.modules["tensorflow"] = mock.MagicMock()

import numpy as np
import soundfile
from musicnn import configuration, extractor

time_s = np.arange(3 * configuration.SR) / configuration.SR
for amplitude in (0.1, 0.2, 0.9):
    tone = amplitude * np.sin(2 * np.pi * 440 * time_s)
    soundfile.write(sys.argv[1], tone, configuration.SR, subtype="FLOAT")
    _, mel = extractor.batch_data(sys.argv[1], n_frames=187, overlap=187)
    share = np.isinf(mel).mean()
    print(f"amplitude {amplitude}: {share:.2%} infinite, largest {mel.max():.2f}".replace("%", " %"))
PYTHON
python3 - "$folder/seen" <<'PYTHON'
import sys

lines = open(sys.argv[1]).read().splitlines()
shares = [float(line.split(": ")[1].split()[0]) for line in lines]
if not (shares[0] == 0 and shares[1] > 0 and shares[2] > shares[1]):
    sys.exit("changed: " + "; ".join(lines))
print("as described")
PYTHON
