#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2) cannot read a FLAC whose header leaves the number of samples
# out, which is what an encoder that writes into a pipe leaves. RFC 9639 allows it: 0 means unknown.
#
# libsndfile reports 2**63 - 1 frames. soundfile allocates them ("array is too big"), and reading by
# blocks fails shortly before the end of the file, because soundfile seeks after each block to where
# it is anyway, which libsndfile cannot do in a file without a length. The samples are all there: a
# subclass that says that it is not seekable reads every one.
#
# Seen on 2026-11-29, Python 3.11, Linux x86_64, 5 s of noise at 44.1 kHz (220500 samples):
#   frames: 9223372036854775807
#   read: ValueError
#   blocks: LibsndfileError after 217088 samples
#   blocks, not seekable: 220500 samples
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import io

import numpy as np
import soundfile

noise = 0.1 * np.random.default_rng(0).standard_normal(5 * 44_100)
made = io.BytesIO()
soundfile.write(made, noise, 44_100, format="FLAC")
data = bytearray(made.getvalue())
data[21] &= 0xF0  # the 36 bits of STREAMINFO that hold the number of samples
data[22:26] = bytes(4)


class Sequential(soundfile.SoundFile):
    def seekable(self):
        return False


def count(sound):
    n = 0
    try:
        while len(block := sound.read(4096)):
            n += len(block)
    except soundfile.LibsndfileError:
        return f"LibsndfileError after {n} samples"
    return f"{n} samples"


print("frames:", soundfile.SoundFile(io.BytesIO(data)).frames)
try:
    soundfile.read(io.BytesIO(data))
except ValueError as error:
    print("read:", type(error).__name__)
print("blocks:", count(soundfile.SoundFile(io.BytesIO(data))))
print("blocks, not seekable:", count(Sequential(io.BytesIO(data))))
PYTHON
diff "$folder/seen" - <<'EXPECTED'
frames: 9223372036854775807
read: ValueError
blocks: LibsndfileError after 217088 samples
blocks, not seekable: 220500 samples
EXPECTED
