"""A nightly file: a sweep's own keys, and when it runs, what a champion must be, what is kept.

`load` splits the two. A file may name another sweep and say only what differs from it.
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

from chorale.cluster.versions import install_extra
from chorale.datasets.config import check, config, listed
from chorale.datasets.errors import UserError
from chorale.search.champion.registry.gate import Gate
from chorale.search.config import yaml_file
from chorale.search.config.resolve import Resolved, resolve
from chorale.search.config.schema import SweepConfig
from chorale.search.config.yaml_file import merge
from chorale.search.nightly.calendar import Schedule
from chorale.search.paths import NightlyPaths, Runs, is_bucket

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
MOST_TRIALS = 1_000
"""Of a night whose file does not say how many: the clock ends it."""

VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


@config
class Changes:
    """How much of the data may be other than it was on the last night that was run."""

    sync: str | None = None
    """a shell command that brings the data up to date; it is run first, and must succeed"""
    max_relabelled: Annotated[float, Field(ge=0, le=1)] = 0.02
    """the night is refused where more than this share of the tracks has another label"""
    max_gone: Annotated[float, Field(ge=0, le=1)] = 0.1
    """the night is refused where more than this share of the tracks is gone"""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.995
    """how sure it must be that the champion's settings, trained again, do worse than they did: then
    the data is no longer what it was, and the night is refused"""


@config
class Retention:
    """What is removed after a night. Predictions, scores and reports are always kept."""

    top: Annotated[int, Field(ge=0)] = 3
    """weights of so many of each night's best trials are kept, besides those of the members of its
    ensemble and of champions"""
    max_gb: Annotated[float, Field(gt=0)] | None = None
    """of all nights and champions together; the oldest nights' weights go first, and then old
    champions' bundles; null: no limit"""


@config
class Notify:
    """Who is told of a night. $NAME stands for an environment variable."""

    urls: tuple[str, ...] = ()
    """of services that apprise knows (the extra `notify`): mailto://, slack://, ..."""
    webhook: str | None = None
    """is sent the verdict as JSON, by POST"""
    link: str | None = None
    """where the folder of all studies can be read in a browser: http://host/runs"""


@config
class Ballot:
    """What stands in a nightly file besides the sweep's keys."""

    schedule: Schedule = Schedule()
    gate: Gate = Gate()
    changes: Changes = Changes()
    retention: Retention = Retention()
    notify: Notify = Notify()
    champion: Annotated[str, Field(pattern=NAME)] | None = None
    """the name that the champion is kept under; default: the file's name"""
    earlier: Annotated[int, Field(ge=0)] = 3
    """of so many earlier nights the best trials are tried again, and the finalists may join the
    ensemble"""
    max_looks: Annotated[int, Field(ge=1)] | None = None
    """so often the test set may be looked at before a fresh one is due; default: until one false
    champion in that many looks is more likely than none"""


OWN = tuple(field.name for field in dataclasses.fields(Ballot))


@dataclass(frozen=True)
class Nightly:
    """A nightly file, read: `name` is the schedule's, `file` what was typed."""

    name: str
    file: str
    ballot: Ballot
    resolved: Resolved
    says_trials: bool

    @property
    def sweep(self) -> SweepConfig:
        """The sweep that each night does."""
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
        """The name that the champion is kept under."""
        return self.ballot.champion or self.name

    def study(self, night: date) -> str:
        """The name of a night's study."""
        return f"{self.name}-{night.isoformat()}"

    def sweep_of(self, night: date, **changes: Any) -> Resolved:
        """What a night sweeps; `changes` replace the sweep's own values."""
        sweep = replace(self.sweep, name=self.study(night), **changes)
        return replace(self.resolved, sweep=sweep)


def load(file: str, dotted: Mapping[str, Any]) -> Nightly:
    """Reads a nightly file, or a shipped one by its name, with the command line's overrides.

    Raises:
        UserError: there is no such file, it cannot be run every night, or it has problems, all of
            which are listed.
    """
    path = yaml_file.find(file)
    values = yaml_file.read_yaml(path)
    if (base := values.pop("sweep", None)) is not None:
        values = _over(yaml_file.read_yaml(yaml_file.find(str(base))), values)
    values = merge(values, dict(dotted))
    name = str(values.pop("name", re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem)))
    budget = values.get("budget")
    says_trials = isinstance(budget, dict) and "trials" in budget
    if not says_trials and isinstance(budget, dict | None):
        values["budget"] = {**(budget or {}), "trials": MOST_TRIALS}
    ballot, problems = check(Ballot, {k: v for k, v in values.items() if k in OWN})
    sweep, more = check(
        SweepConfig, {k: v for k, v in values.items() if k not in OWN} | {"name": name}
    )
    problems += [_with_own(problem) for problem in more]
    if ballot is not None:
        problems += _deaf(ballot.notify)
    if sweep is not None:
        problems += _unfit(sweep)
    if problems or ballot is None or sweep is None:
        raise listed(problems, where=file)
    resolved = resolve(sweep, where=file)
    if resolved.dataset.INFO.features:
        raise UserError(
            f"{file}: dataset '{resolved.dataset.INFO.name}' brings ready-made features, and a "
            f"champion must be able to hear recordings; name a dataset of recordings"
        )
    return Nightly(name, file, ballot, resolved, says_trials)


def _over(base: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """The named sweep with what the file says itself; another dataset replaces it whole."""
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


def _with_own(problem: str) -> str:
    """An unknown key may also be one of the nightly file's own, misspelt."""
    return f"{problem}, {', '.join(OWN)}" if "unknown key" in problem.split(";")[0] else problem


def _deaf(notify: Notify) -> list[str]:
    """Why nobody could be told; values of variables are secrets, and never shown."""
    found = []
    for key, text in (("webhook", notify.webhook or ""), *(("urls", url) for url in notify.urls)):
        for match in VARIABLE.findall(text):
            if (variable := match.strip("{}")) not in os.environ:
                found.append(
                    f"notify.{key}: the environment variable {variable} is not set; "
                    f"export {variable}=..."
                )
    if notify.webhook and not notify.webhook.startswith(("https://", "http://", "$")):
        found.append("notify.webhook: should begin with https:// or http://")
    if notify.urls and find_spec("apprise") is None:
        found.append(f"notify.urls: apprise is not installed; type: {install_extra('notify')}")
    return found


def _unfit(sweep: SweepConfig) -> list[str]:
    """What a sweep may say, but not one that is run every night."""
    found = []
    if sweep.split.by != "group":
        found.append(
            f"split.by: nights compare on the same locked groups, so it must be group, but got "
            f"'{sweep.split.by}'"
        )
    if is_bucket(sweep.runs):
        found.append(
            f"runs: nights and champions are kept in a folder, but got {sweep.runs!r}; name one "
            f"that outlives the machine"
        )
    if sweep.search.warm_start != "none":
        found.append(
            "search.warm_start: a night chooses by itself what to learn from; leave it out, and "
            "say with `earlier` from how many nights"
        )
    return found
