"""`python -m search` is `chorale`: what `ray job submit` runs from a checkout."""

import sys

from search.cli import main

if __name__ == "__main__":
    sys.exit(main())
