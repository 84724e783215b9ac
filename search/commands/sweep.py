"""`chorale sweep [SWEEP.yaml] [--key.sub value ...] [--resume]`."""

import sys
from collections.abc import Sequence

DEFAULT = "demo"


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        from search.commands.sweep_help import sweep_help

        print(sweep_help())
        return 0
    from rich.console import Console

    from search import interrupts, report, yaml_file
    from search.resolve import resolve_file
    from search.sweep import run_sweep

    rest = [word for word in words if word != "--resume"]
    file = rest.pop(0) if rest and not rest[0].startswith("--") else DEFAULT
    resolved = resolve_file(file, yaml_file.overrides(rest))
    # A log file has no width of its own; 80 columns would cut the table at the end.
    width = None if sys.stdout.isatty() else 120
    console = Console(width=width, highlight=False)
    try:
        found = run_sweep(resolved, resume="--resume" in words, console=console)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if not (isinstance(error, KeyboardInterrupt) or interrupts.received()):
            raise
        again = " ".join(["chorale sweep", *(w for w in words if w != "--resume"), "--resume"])
        console.print(f"\nInterrupted; every finished trial is kept. Go on with:  {again}")
        raise
    report.show(found, console, folder=str(resolved.sweep.paths.root))
    return 0
