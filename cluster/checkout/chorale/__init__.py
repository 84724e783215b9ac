"""The package `chorale` of a checkout that is not installed: its parts are the folders at the top.

`python -m search` puts the folder above on the import path (see `cluster.environment`). An
installation maps the same names by itself, and does not hold this file.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[3])]
