#!/usr/bin/env bash
# torchaudio 2.11.1: the decibels of a recording depend on which others are in its batch.
#
# `AmplitudeToDB(top_db=80)` clips what is 80 dB below the loudest value. Of spectrograms
# (batch, freq, time), which `MelSpectrogram` makes from waveforms (batch, time), it takes the loudest
# of the whole batch: three axes are read as (channel, freq, time). Of (batch, 1, freq, time) it takes
# that of each recording. So a quiet recording has other features, and a network other answers for
# it, in training batches than alone. The transform's documentation only says that the output depends
# on the largest value of the input; which axes share it, only `functional.amplitude_to_DB` documents.
# Published encoders are fed in this way (dasheng 0.0.9: `front_end`, with top_db=120).
#
# Seen on 2026-11-30, Python 3.11, Linux x86_64, torch 2.15.0, torchaudio 2.11.1; the lowest value of a
# quiet recording (noise at 1e-4 of full scale):
#   alone, (1, freq, time): -83.2 dB
#   beside a loud one, (2, freq, time): -49.9 dB
#   beside a loud one, (2, 1, freq, time): -83.2 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.15.0 torchaudio==2.11.1
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

generator = torch.Generator().manual_seed(0)
quiet = 1e-4 * torch.randn(16_000, generator=generator)
loud = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)
mel, decibels = MelSpectrogram(16_000, n_mels=40), AmplitudeToDB(top_db=80)
alone = decibels(mel(quiet[None]))[0].min().item()
beside = decibels(mel(torch.stack([quiet, loud])))[0].min().item()
with_axis = decibels(mel(torch.stack([quiet, loud])[:, None]))[0].min().item()
print(f"alone, (1, freq, time): {alone:.1f} dB")
print(f"beside a loud one, (2, freq, time): {beside:.1f} dB")
print(f"beside a loud one, (2, 1, freq, time): {with_axis:.1f} dB")
assert abs(with_axis - alone) < 0.1 and beside - alone > 10, "changed"
PYTHON
echo "as described"
