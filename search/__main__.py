"""`python -m chorale.search` is `chorale`; so is `python -m search` in a checkout."""

import os
import sys
from pathlib import Path


def _find_chorale() -> None:
    """Lets this process, and those that it starts, import `chorale` from the checkout around it."""
    root = Path(__file__).resolve().parents[1]
    # Python put the checkout itself there, where `datasets` would hide other people's package.
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
