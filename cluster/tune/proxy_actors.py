"""The driver's side of the proxy actors: makes Tune use them, and receives what they report.

`cluster.tune.controller` puts it in the place of Tune's own manager of actors, where there is an
ear.
"""

import functools
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.air.execution._internal import RayActorManager

from chorale.cluster.local_workers.bridge import Bridge
from chorale.cluster.local_workers.proxy_actor import Relay
from chorale.cluster.local_workers.report_socket import Ear
from chorale.cluster.messages import TRIAL

EXPECTING_S = 0.05
"""So long after one event of Ray's, or the end of a series of trials, the next is waited for."""

SOON_S = 0.002
"""How long reports may wait while an event of Ray's is expected."""

PAUSE_S = 0.05
"""How often Ray is asked while none is."""


@functools.cache
def _relay() -> Any:
    """Ray's class of a `Relay`; each call of `ray.remote` would send it to the cluster anew."""
    return ray.remote(Relay)


class Relays(RayActorManager):  # type: ignore[misc]
    """Makes a `Relay` where Tune wants a trainable, and tells it what a `Relay` has to know.

    What Tune would tell it cannot be read without importing Tune. Between Tune's events it listens
    to the children.
    """

    bridge: Bridge
    ear: Ear
    told: Mapping[str, Any]
    _expecting_until_s = 0.0

    def next(self, timeout: float | None = None) -> bool:
        """Handles one event of Ray's if there is one in time; answers reports meanwhile."""
        now_s = time.monotonic()
        until_s = now_s + (timeout or 0.0)
        while True:
            expecting = now_s < self._expecting_until_s or self.num_pending_actors > 0
            if super().next(timeout=SOON_S if expecting else 0):
                self._expecting_until_s = time.monotonic() + EXPECTING_S
                return True
            pause_s = 0.0 if expecting else max(0.0, min(PAUSE_S, until_s - now_s))
            if self.ear.listen(self.bridge.answer, pause_s):
                self._expecting_until_s = time.monotonic() + EXPECTING_S
            now_s = time.monotonic()
            if now_s >= until_s or self.bridge.error is not None:
                return False

    def add_actor(self, cls: Any, kwargs: dict[str, Any], *args: Any, **more: Any) -> Any:
        del cls
        told = {"trial": kwargs["config"][TRIAL], **self.told}
        return super().add_actor(_relay(), told, *args, **more)
