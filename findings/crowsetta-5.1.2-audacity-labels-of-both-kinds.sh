#!/usr/bin/env bash
# crowsetta 5.1.2 reads Audacity's extended labels (`aud-bbox`) by the parity of the line: every
# second line is taken for frequencies, whatever it says.
#
# Audacity writes a second line, of a backslash and two frequencies, only for a label that was drawn
# in the spectrogram; one file may have labels of both kinds. A last label without frequencies is
# left out without a word, also with crowsetta's own check of its table. Of two such labels that are
# numbers (species codes, clusters) the second one becomes the frequencies of the first. Only labels
# in words raise. The reader of plain labels (`aud-seq`) refuses any file with frequencies, so there
# is no reader for files of both kinds.
#
# Seen on 2026-11-30, Python 3.11, Linux x86_64; times, label, frequencies of each label:
#   frequencies for all, 2 labels: (0.5, 1.25, 'piano', 200.0, 4000.0) (2.0, 3.0, 'bass', 30.0, 300.0)
#   last without, 2 labels: (0.5, 1.25, 'piano', 200.0, 4000.0)
#   two numbers without, 3 labels: (0.5, 1.25, '7', 200.0, 4000.0) (2.0, 3.0, '5', 5.0, 6.0)
#   two words without, 3 labels: ValueError
#   last without, plain reader: SchemaError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet crowsetta==5.1.2 pandas==3.1.1 pandera==0.35.0
"$folder/venv/bin/python" - "$folder/labels.txt" <<'PYTHON' | tee "$folder/seen"
import sys
from pathlib import Path

from crowsetta.formats.bbox import AudBBox
from crowsetta.formats.seq import AudSeq

PLACE = Path(sys.argv[1])
FILES = {
    "frequencies for all, 2 labels": [
        "0.5\t1.25\tpiano", "\\\t200.0\t4000.0", "2.0\t3.0\tbass", "\\\t30.0\t300.0",
    ],
    "last without, 2 labels": ["0.5\t1.25\tpiano", "\\\t200.0\t4000.0", "2.0\t3.0\tbass"],
    "two numbers without, 3 labels": [
        "0.5\t1.25\t7", "\\\t200.0\t4000.0", "2.0\t3.0\t5", "4.0\t5.0\t6",
    ],
    "two words without, 3 labels": [
        "0.5\t1.25\tpiano", "\\\t200.0\t4000.0", "2.0\t3.0\tbass", "4.0\t5.0\tdrums",
    ],
}


def read(lines):
    PLACE.write_text("".join(f"{line}\n" for line in lines))
    try:
        found = AudBBox.from_file(PLACE).df
    except Exception as error:
        return type(error).__name__
    rows = found.itertuples(index=False)
    return " ".join(str(tuple(row)) for row in rows)


for name, lines in FILES.items():
    print(f"{name}: {read(lines)}")
PLACE.write_text("".join(f"{line}\n" for line in FILES["last without, 2 labels"]))
try:
    plain = str(AudSeq.from_file(PLACE))
except Exception as error:
    plain = type(error).__name__
print(f"last without, plain reader: {plain}")
PYTHON
diff "$folder/seen" - <<'EXPECTED'
frequencies for all, 2 labels: (0.5, 1.25, 'piano', 200.0, 4000.0) (2.0, 3.0, 'bass', 30.0, 300.0)
last without, 2 labels: (0.5, 1.25, 'piano', 200.0, 4000.0)
two numbers without, 3 labels: (0.5, 1.25, '7', 200.0, 4000.0) (2.0, 3.0, '5', 5.0, 6.0)
two words without, 3 labels: ValueError
last without, plain reader: SchemaError
EXPECTED
