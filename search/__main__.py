"""`python -m chorale.search` runs the `chorale` command; in a checkout `python -m search` does."""

import os
import sys
from pathlib import Path


def _find_chorale() -> None:
    """Makes `chorale` importable from this checkout, for this process and its children."""
    root = Path(__file__).resolve().parents[1]
    # Python put the checkout itself on the path, where `datasets` would shadow the PyPI package.
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != root]
    sys.path.insert(0, str(root / "cluster" / "checkout"))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [sys.path[0], os.environ.get("PYTHONPATH", "")])
    )


if __name__ == "__main__":
    if __package__ == "search":
        _find_chorale()
    from chorale.search.cli import main

    sys.exit(main())
