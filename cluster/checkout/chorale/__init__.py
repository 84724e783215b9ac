"""Package `chorale` of a checkout that is not installed: its path is the repository's root folder.

`python -m search` puts the parent folder on the import path (see `cluster.environment`). An
installation maps the same names itself, and does not contain this file.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[3])]
