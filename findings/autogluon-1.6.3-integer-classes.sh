#!/usr/bin/env bash
# AutoGluon 1.6.3 takes integer class numbers for a regression target where classes are more than
# 5 % of the rows. So the same corpus is a classification as a whole and a regression by the fold.
#
# The inference compares the number of distinct values with the number of rows. Corpora of
# environmental sounds number their classes: ESC-50 has 50 classes and 2,000 clips (2.5 %), but each
# of its five folds has 400 clips (12.5 %). TabularPredictor.fit with eval_metric="accuracy" then
# ends with a list of regression metrics, from which one has to guess the reason.
#
# Seen on 2026-11-29, Python 3.11, Linux x86_64, labels 0 to 49 in equal shares:
#   2000 rows, int64: multiclass
#   400 rows, int64: regression
#   400 rows, text: multiclass
# So: name problem_type="multiclass", or give class names as text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet autogluon.core==1.6.3
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import pandas as pd
from autogluon.core.utils import infer_problem_type

for n, kind in ((2000, "int64"), (400, "int64"), (400, "text")):
    classes = pd.Series(range(n)) % 50
    labels = classes.astype(str) if kind == "text" else classes
    print(f"{n} rows, {kind}: {infer_problem_type(labels, silent=True)}")
PYTHON
diff "$folder/seen" - <<'EXPECTED'
2000 rows, int64: multiclass
400 rows, int64: regression
400 rows, text: multiclass
EXPECTED
