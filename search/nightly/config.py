"""The nightly file: a sweep's keys, plus schedule, gate, data checks, retention, notification.

`load_nightly` splits the two. A file may name another sweep and set only what differs from it.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import Field

from chorale.cluster.versions import install_extra_command
from chorale.datasets.config import NameList, config, problems_error, validate_config
from chorale.datasets.errors import UserError
from chorale.search.champion.registry.gate import Gate
from chorale.search.config import yaml_file
from chorale.search.config.resolve import ResolvedSweep, resolve
from chorale.search.config.schema import SweepConfig
from chorale.search.config.yaml_file import merge_overrides
from chorale.search.nightly.calendar import NightlySchedule
from chorale.search.paths import NightlyPaths, Runs, is_bucket

CHAMPION_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
ENVIRONMENT_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


@config
class ChangesConfig:
    """How much of the data may differ from the last night that was run."""

    sync: str | None = None
    """a shell command that updates the data; it is run first, and must succeed"""
    max_relabelled: Annotated[float, Field(ge=0, le=1)] = 0.02
    """the night is refused if more than this share of the tracks has another label"""
    max_gone: Annotated[float, Field(ge=0, le=1)] = 0.1
    """the night is refused if more than this share of the tracks no longer exists"""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.995
    """confidence level of the drift check: the night is refused if the champion's configuration,
    trained again, does worse than it did at this level, because then the data has drifted"""


@config
class RetentionConfig:
    """What is removed after a night. Predictions, scores and reports are always kept."""

    top: Annotated[int, Field(ge=0)] = 3
    """how many of each night's best trials keep their weights, besides the members of its ensemble
    and champions"""
    max_gb: Annotated[float, Field(gt=0)] | None = None
    """size limit of all nights and champions together; the oldest nights' weights are removed
    first, then old champions' bundles; null: no limit"""


@config
class NotifyConfig:
    """Who is notified after a night. $NAME stands for an environment variable."""

    urls: NameList = ()
    """URLs of services that apprise supports (the extra `notify`): mailto://, slack://, ..."""
    webhook: str | None = None
    """URL that gets the verdict as JSON, by POST"""
    link: str | None = None
    """URL under which a browser can open the folder of all studies: http://host/runs"""


@config
class NightlySettings:
    """The keys of a nightly file besides the sweep's."""

    schedule: NightlySchedule = NightlySchedule()
    gate: Gate = Gate()
    changes: ChangesConfig = ChangesConfig()
    retention: RetentionConfig = RetentionConfig()
    notify: NotifyConfig = NotifyConfig()
    champion: Annotated[str, Field(pattern=CHAMPION_NAME_PATTERN)] | None = None
    """the name of the champion in the registry; default: the file's name"""
    earlier: Annotated[int, Field(ge=0)] = 3
    """how many earlier nights contribute: their best trials are tried again, and their finalists
    may join the ensemble"""
    max_looks: Annotated[int, Field(ge=1)] | None = None
    """how often the test set may be used before a fresh one is due; default: until one false
    promotion in that many looks is more likely than none"""


NIGHTLY_KEYS = tuple(field.name for field in dataclasses.fields(NightlySettings))


@dataclass(frozen=True)
class Nightly:
    """A parsed nightly file: `name` is the schedule's, `file` the argument as it was typed."""

    name: str
    file: str
    settings: NightlySettings
    resolved: ResolvedSweep

    @property
    def sweep(self) -> SweepConfig:
        """The sweep that each night runs."""
        return self.resolved.sweep

    @property
    def runs(self) -> Runs:
        """The folder of all studies."""
        return self.sweep.runs_folder

    @property
    def paths(self) -> NightlyPaths:
        """The files of this schedule."""
        return self.runs.nightly(self.name)

    @property
    def champion(self) -> str:
        """The name of the champion in the registry."""
        return self.settings.champion or self.name

    def study(self, night: date) -> str:
        """The name of a night's study."""
        return f"{self.name}-{night.isoformat()}"

    def sweep_of(self, night: date, **changes: Any) -> ResolvedSweep:
        """The resolved sweep of a night; `changes` replace the sweep's own values."""
        sweep = replace(self.sweep, name=self.study(night), **changes)
        return replace(self.resolved, sweep=sweep)


def load_nightly(file: str, dotted: Mapping[str, Any]) -> Nightly:
    """Reads a nightly file, or a shipped one by its name, with the command line's overrides.

    Raises:
        UserError: there is no such file, it cannot be run every night, or it has problems, all of
            which are listed.
    """
    path = yaml_file.find_sweep_file(file)
    values = yaml_file.read_yaml(path)
    if (base := values.pop("sweep", None)) is not None:
        values = _override_sections(
            yaml_file.read_yaml(yaml_file.find_sweep_file(str(base))), values
        )
    values = merge_overrides(values, dict(dotted))
    name = str(values.pop("name", re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem)))
    settings, problems = validate_config(
        NightlySettings, {k: v for k, v in values.items() if k in NIGHTLY_KEYS}
    )
    sweep, more = validate_config(
        SweepConfig, {k: v for k, v in values.items() if k not in NIGHTLY_KEYS} | {"name": name}
    )
    problems += [_with_nightly_keys(problem) for problem in more]
    if settings is not None:
        problems += _notify_problems(settings.notify)
    if sweep is not None:
        problems += _sweep_problems(sweep)
    if problems or settings is None or sweep is None:
        raise problems_error(problems, where=file)
    resolved = resolve(sweep, where=file)
    if resolved.dataset.INFO.features:
        raise UserError(
            f"{file}: dataset '{resolved.dataset.INFO.name}' brings ready-made features, but a "
            f"champion must predict from recordings; name a dataset of recordings"
        )
    return Nightly(name, file, settings, resolved)


def _override_sections(base: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """The named sweep with the file's own keys, section by section; a new dataset replaces all."""
    joined = dict(base)
    for key, value in mine.items():
        before = joined.get(key)
        if (
            not isinstance(before, dict)
            or not isinstance(value, dict)
            or (key == "dataset" and value.get("name", before.get("name")) != before.get("name"))
        ):
            joined[key] = value
        else:
            joined[key] = {**before, **value}
    return joined


def _with_nightly_keys(problem: str) -> str:
    """Adds the nightly file's own keys to an unknown key's suggestions."""
    if "unknown key" not in problem.split(";")[0]:
        return problem
    return f"{problem}, {', '.join(NIGHTLY_KEYS)}"


def _notify_problems(notify: NotifyConfig) -> list[str]:
    """Why notifications could not be sent; values of variables are secrets, and never shown."""
    found = []
    for key, text in (("webhook", notify.webhook or ""), *(("urls", url) for url in notify.urls)):
        for match in ENVIRONMENT_VARIABLE.findall(text):
            if (variable := match.strip("{}")) not in os.environ:
                found.append(
                    f"notify.{key}: the environment variable {variable} is not set; "
                    f"export {variable}=..."
                )
    if notify.webhook and not notify.webhook.startswith(("https://", "http://", "$")):
        found.append("notify.webhook: should begin with https:// or http://")
    if notify.urls and find_spec("apprise") is None:
        command = install_extra_command("notify")
        found.append(f"notify.urls: apprise is not installed; type: {command}")
    return found


def _sweep_problems(sweep: SweepConfig) -> list[str]:
    """Values that are valid for a sweep, but not for a nightly one."""
    found = []
    if sweep.split.by != "group":
        found.append(
            f"split.by: nights are compared on the same locked groups, so it must be group, but "
            f"got '{sweep.split.by}'"
        )
    if sweep.split.time:
        found.append(
            "split.time: nights are compared on one locked test set, and that of split.time moves "
            "with the data; leave it out, and name the latest groups in split.test_groups"
        )
    if is_bucket(sweep.runs):
        found.append(
            f"runs: nights and champions are kept in a folder, but got {sweep.runs!r}; name one "
            f"that outlives the machine"
        )
    if sweep.search.warm_start != "none":
        found.append(
            "search.warm_start: a night warm-starts from earlier nights; leave it out, and set "
            "their number with `earlier`"
        )
    return found
