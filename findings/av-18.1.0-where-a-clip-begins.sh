#!/usr/bin/env bash
# The same AAC clip, written and read by PyAV 18.1.0 (FFmpeg 8), begins 1,024 samples late or not, by
# its container and by whether the frame that was encoded had a time stamp.
#
# AAC encoders put 1,024 samples before the first. MP4 and Matroska can state that delay, and then it
# is cut by the decoder; raw ADTS cannot. But PyAV takes frames without `pts`, too: Matroska still
# states the delay then, while the MP4 silently loses its edit list, and its clip begins 23 ms late.
# The padding at the end stays in all of them: a clip of 220,500 samples is read with 221,184 or
# 222,208. A corpus of mixed containers has shifts that a model can learn.
#
# Seen on 2026-11-29, Python 3.11, Linux x86_64, a click 10,000 samples after the start of 5 s at
# 44.1 kHz (220500 samples):
#   mp4, with pts: 221184 samples, the click at 10000
#   mp4, without pts: 222208 samples, the click at 11024
#   matroska, with pts: 221184 samples, the click at 10000
#   matroska, without pts: 221184 samples, the click at 10000
#   adts, with pts: 222208 samples, the click at 11024
#   adts, without pts: 222208 samples, the click at 11024
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import io
from fractions import Fraction

import av
import numpy as np

RATE = 44_100
wave = np.zeros((1, 5 * RATE), np.float32)
wave[0, 10_000] = 0.9


def encoded(container, pts):
    made = io.BytesIO()
    with av.open(made, "w", format=container) as out:
        stream = out.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), pts
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return io.BytesIO(made.getvalue())


for container in ("mp4", "matroska", "adts"):
    for name, pts in (("with", 0), ("without", None)):
        with av.open(encoded(container, pts)) as source:
            parts = [frame.to_ndarray()[0] for frame in source.decode(audio=0)]
        clip = np.concatenate(parts)
        at = int(np.abs(clip).argmax())
        print(f"{container}, {name} pts: {len(clip)} samples, the click at {at}")
PYTHON
diff "$folder/seen" - <<'EXPECTED'
mp4, with pts: 221184 samples, the click at 10000
mp4, without pts: 222208 samples, the click at 11024
matroska, with pts: 221184 samples, the click at 10000
matroska, without pts: 221184 samples, the click at 10000
adts, with pts: 222208 samples, the click at 11024
adts, without pts: 222208 samples, the click at 11024
EXPECTED
