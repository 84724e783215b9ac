"""Runs a sweep from Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.search.api.study import Study

if TYPE_CHECKING:
    from chorale.search.config.resolve import ResolvedSweep


def sweep(
    source: str | Path | Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    *,
    resume: bool | None = None,
    quiet: bool = False,
) -> Study:
    """Runs a sweep to its end, as `chorale sweep` does, and gives its study.

    Other threads and processes can follow it by `Study.status`.

    Args:
        source: a sweep file, a folder of recordings, the name of a dataset or of a shipped sweep;
            or the content of a sweep file.
        settings: keys that replace those of `source`, with dots as on the command line:
            {"budget.minutes": 10, "architectures": ["cnn", "mlp"]}.
        resume: resume the study of that name; False: start it, and fail if there is one; None:
            resume it if there is one.
        quiet: whether to print no progress.

    Raises:
        UserError: what the caller can fix.
        ClusterError: the workers cannot be started, or were lost for good.
    """
    from rich.console import Console

    from chorale.search.sweep.run import run_sweep

    resolved = _resolved(source, settings or {})
    run_sweep(resolved, resume=resume, console=Console(quiet=quiet))
    found = resolved.sweep
    return Study(found.name, runs=found.runs, store=found.store)


def _resolved(
    source: str | Path | Mapping[str, Any], settings: Mapping[str, Any]
) -> "ResolvedSweep":
    from chorale.datasets.config import read_config
    from chorale.search.config import yaml_file
    from chorale.search.config.resolve import resolve, resolve_file
    from chorale.search.config.schema import SweepConfig

    if not isinstance(source, Mapping):
        return resolve_file(str(source), dict(settings))
    values = yaml_file.merge_overrides(dict(source), dict(settings))
    where = "the sweep's settings"
    return resolve(read_config(SweepConfig, values, where=where), where=where)
