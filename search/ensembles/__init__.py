"""The ensembles, one per file: `fit(predictions, labels, groups, seed) -> model` and `predict`."""

import sys
from typing import Any

from chorale.datasets import plugins
from chorale.search.combining.base import Ensemble
from chorale.search.combining.multi_label import MultiLabelEnsemble


def load_ensemble(kind: str, *, multi_label: bool = False) -> Ensemble:
    """The ensemble of a file here; where `multi_label`, for members that predict several labels.

    Raises:
        UserError: there is no such kind.
    """
    module: Any = plugins.load_plugin(sys.modules[__name__], kind, kind="ensemble")
    return MultiLabelEnsemble(module) if multi_label else module
