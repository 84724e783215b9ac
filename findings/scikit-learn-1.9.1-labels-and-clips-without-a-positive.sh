#!/usr/bin/env bash
# The two usual metrics of audio tagging in scikit-learn 1.9.1 answer opposite things where there is
# nothing to find: in macro average precision a label that no test clip has counts as 0, and in
# label-ranking average precision a clip that has no label counts as 1.
#
# The first comes with a warning that recall was set to one, the second without any. A rare tag that
# a small test set lacks lowers the mAP of every model by a share that has nothing to do with it;
# clips without a tag (4,755 of MagnaTagATune's 25,863 have none of its 50 usual ones) raise the
# ranking score of a model that ranks every tag wrongly. So scores of two test sets, or before and
# after a tag is left out, cannot be compared. Averaging over the labels that occur, and the
# label-weighted lwlrap of DCASE 2019, which weighs each label of each clip, have neither effect.
#
# Seen on 2026-11-30, Python 3.11, Linux x86_64, two labels that are ranked perfectly, and a third
# that no clip has; then one clip whose only label is ranked last, beside clips without a label:
#   macro average precision of 2 labels: 1.000, with the third: 0.667
#   label-ranking average precision of 1 clip: 0.333, with 1 empty clip: 0.667, with 9: 0.933
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/seen"
import numpy as np
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
scores = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.2], [0.7, 0.6, 0.4], [0.4, 0.5, 0.3]])
two = average_precision_score(labels[:, :2], scores[:, :2], average="macro")
three = average_precision_score(labels, scores, average="macro")
print(f"macro average precision of 2 labels: {two:.3f}, with the third: {three:.3f}")


def ranking(n_empty: int) -> float:
    truth = np.array([[1, 0, 0], *[[0, 0, 0]] * n_empty])
    ranked = np.tile([0.1, 0.5, 0.9], (1 + n_empty, 1))
    return label_ranking_average_precision_score(truth, ranked)


print(
    f"label-ranking average precision of 1 clip: {ranking(0):.3f}, "
    f"with 1 empty clip: {ranking(1):.3f}, with 9: {ranking(9):.3f}"
)
PYTHON
diff "$folder/seen" - <<'EXPECTED'
macro average precision of 2 labels: 1.000, with the third: 0.667
label-ranking average precision of 1 clip: 0.333, with 1 empty clip: 0.667, with 9: 0.933
EXPECTED
