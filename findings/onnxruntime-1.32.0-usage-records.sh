#!/usr/bin/env bash
# Importing onnxruntime 1.32.0 on Linux opens a database of usage records in the home folder.
#
# `import onnxruntime`, without any session, creates ~/.cache/Microsoft/DeveloperTools/.onnxruntime/
# with a SQLite database, keeps it open, and starts threads. `disable_telemetry_events()`, the
# documented switch, can only be called after the import, when the files are open already; they stay
# open. ORT_DISABLE_TELEMETRY=1 before the import prevents all of it. A worker that may not write to
# its home folder, or shares it with others, meets this at import.
#
# What it sends, if anything, was not looked at: this machine has no network.
#
# Seen on 2026-11-30, Python 3.11, Linux x86_64; files below HOME after the import, and threads:
#   import: 4 files, more than one thread: True
#   import, then disable_telemetry_events(): 4 files, more than one thread: True
#   ORT_DISABLE_TELEMETRY=1, import: 0 files, more than one thread: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 numpy==2.4.6

look() {  # NAME CODE [VARIABLE]
  mkdir "$folder/home"
  env -i PATH="$PATH" HOME="$folder/home" OPENBLAS_NUM_THREADS=1 ${3:+"$3"} \
    "$folder/venv/bin/python" - "$1" <<PYTHON
import sys
from pathlib import Path

$2

files = [path for path in Path.home().rglob("*") if path.is_file()]
n_threads = len(list(Path("/proc/self/task").iterdir()))
print(f"{sys.argv[1]}: {len(files)} files, more than one thread: {n_threads > 1}")
PYTHON
  rm -rf "$folder/home"
}

{
  look "import" "import onnxruntime"
  look "import, then disable_telemetry_events()" \
    "import onnxruntime; onnxruntime.disable_telemetry_events()"
  look "ORT_DISABLE_TELEMETRY=1, import" "import onnxruntime" ORT_DISABLE_TELEMETRY=1
} | tee "$folder/seen"
python3 - "$folder/seen" <<'PYTHON'
import sys

lines = open(sys.argv[1]).read().splitlines()
counts = [int(line.split(": ")[1].split()[0]) for line in lines]
if not (counts[0] > 0 and counts[1] > 0 and counts[2] == 0):
    sys.exit("changed: " + "; ".join(lines))
print("as described")
PYTHON
