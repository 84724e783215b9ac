#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2, LAME): an MP3 that it writes and reads itself comes back at
# its place at 128 kbit/s, but 1,105 samples late and 1,332 longer at 48 kbit/s and below (44.1 kHz).
# The delay and the padding of an MP3 are written into an info frame, which the reader uses to cut
# them off; at low bit rates that frame has no room for them, so they stay. At lower sample rates it
# happens at other bit rates: from 49 kbit/s down at 22.05 kHz, from 33 kbit/s down at 16 kHz.
# Labels with times, windows of a fixed start and comparisons by sample are off by 25 to 70 ms then.
#
# And the same call lowers the level: by nothing at 320 kbit/s, by 5 % (0.4 dB) from 160 kbit/s down,
# so that a difference "original minus decoded" is mostly that gain, and not the codec's error.
#
# Seen on 2026-12-01, Python 3.11, Linux x86_64, 3 s of noise and of a tone:
#   44100 Hz 326 kbit/s: late by 0, longer by 0, level 1.000
#   44100 Hz 130 kbit/s: late by 0, longer by 0, level 0.950
#   44100 Hz 48 kbit/s: late by 1105, longer by 1332, level 0.950
#   22050 Hz 58 kbit/s: late by 0, longer by 0, level 0.950
#   22050 Hz 49 kbit/s: late by 1105, longer by 1242, level 0.950
#   16000 Hz 42 kbit/s: late by 0, longer by 0, level 0.950
#   16000 Hz 33 kbit/s: late by 1105, longer by 1536, level 0.950
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import io

import numpy as np
import soundfile


def through_mp3(wave, rate, level):
    file = io.BytesIO()
    soundfile.write(
        file, wave, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT",
        compression_level=level,
    )
    n_bytes = file.tell()
    file.seek(0)
    return soundfile.read(file)[0], n_bytes


for rate, levels in ((44_100, (0, 0.67, 0.95)), (22_050, (0.7, 0.75)), (16_000, (0.8, 0.85))):
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * rate)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)
    for level in levels:
        made, n_bytes = through_mp3(noise, rate, level)
        size = 2**18
        product = np.fft.rfft(made, size) * np.conj(np.fft.rfft(noise, size))
        late = int(np.argmax(np.fft.irfft(product)))
        middle = slice(rate, 2 * rate)
        gain = np.std(through_mp3(tone, rate, level)[0][middle]) / np.std(tone[middle])
        print(
            f"{rate} Hz {n_bytes * 8 / 3000:.0f} kbit/s: late by {late}, longer by "
            f"{len(made) - len(noise)}, level {gain:.3f}"
        )
PYTHON
sed -n 's/^#   \([0-9]* Hz\)/\1/p' "$0" | diff - "$folder/seen"
