"""The Python API: run sweeps, read studies as pandas, predict with models.

    from chorale.search import api

    study = api.sweep("music/", {"budget.minutes": 10})
    study.scores(), study.leaderboard(), study.predictions()
    model = study.model()
    model.predict(waveform, sample_rate)

Errors that the caller can fix are `UserError`; everything else is a fault of Chorale.
"""

from chorale.datasets.errors import UserError
from chorale.datasets.plugin_folders import add_plugins
from chorale.search.api.model import ExportedModel
from chorale.search.api.study import Study, studies
from chorale.search.api.sweep import sweep

__all__ = ["ExportedModel", "Study", "UserError", "add_plugins", "studies", "sweep"]
