"""Optuna's migrations and the report's templates are read once, not for every study of a test.

Both this folder's driver, a script, and the tests of `search` import it.
"""

from functools import cache

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from chorale.search.report.page import page


def read_once(patch: pytest.MonkeyPatch) -> None:
    """Keeps what the first study of this process, or of the one that forked it, has read."""
    read, scripts = ScriptDirectory.from_config, dict[str, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = str(config.get_main_option("script_location"))
        if place not in scripts:
            scripts[place] = read(config)
        return scripts[place]

    patch.setattr(ScriptDirectory, "from_config", from_config)
    patch.setattr(page, "_environment", cache(page._environment))
