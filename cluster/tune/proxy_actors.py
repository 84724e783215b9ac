"""Tune's actor manager for proxy actors: starts them, and replies to their children's reports.

`cluster.tune.controller` uses it instead of Tune's own actor manager if there is a report socket.
"""

import functools
import time
from collections.abc import Mapping
from typing import Any

import ray

from chorale.cluster.local_workers.dispatcher import Dispatcher
from chorale.cluster.local_workers.proxy_actor import ProxyActor
from chorale.cluster.local_workers.report_socket import ReportSocket
from chorale.cluster.messages import TRIAL
from chorale.cluster.tune._tune import RayActorManager

RAY_EVENT_WINDOW_S = 0.05
"""For this long after an event of Ray or the end of a series, another event is expected."""

RAY_POLL_S = 0.002
"""Timeout of a poll of Ray's events, and so the delay of reports, while an event is expected."""

REPORT_WAIT_S = 0.05
"""Interval of polls of Ray's events while none is expected."""


@functools.cache
def _actor_class() -> Any:
    """Ray's class of a `ProxyActor`; each call of `ray.remote` would upload it again."""
    return ray.remote(ProxyActor)


class ProxyActors(RayActorManager):  # type: ignore[misc]
    """Makes a `ProxyActor` instead of a trainable, with the arguments `proxy_kwargs`.

    Tune's own arguments cannot be unpickled without importing Tune. Between Ray's events it replies
    to the children's reports.
    """

    dispatcher: Dispatcher
    reports: ReportSocket
    proxy_kwargs: Mapping[str, Any]
    _expecting_until_s = 0.0

    @classmethod
    def over(
        cls,
        dispatcher: Dispatcher,
        reports: ReportSocket,
        proxy_kwargs: Mapping[str, Any],
        *,
        resource_manager: Any,
    ) -> "ProxyActors":
        """A manager over the resources that Tune manages."""
        made = cls(resource_manager=resource_manager)
        made.dispatcher, made.reports, made.proxy_kwargs = dispatcher, reports, proxy_kwargs
        return made

    def next(self, timeout: float | None = None) -> bool:
        """Handles one event of Ray if there is one in time; replies to reports meanwhile."""
        now_s = time.monotonic()
        until_s = now_s + (timeout or 0.0)
        while True:
            expecting = now_s < self._expecting_until_s or self.num_pending_actors > 0
            if super().next(timeout=RAY_POLL_S if expecting else 0):
                self._expecting_until_s = time.monotonic() + RAY_EVENT_WINDOW_S
                return True
            pause_s = 0.0 if expecting else max(0.0, min(REPORT_WAIT_S, until_s - now_s))
            if self.reports.listen(self.dispatcher.reply, pause_s):
                self._expecting_until_s = time.monotonic() + RAY_EVENT_WINDOW_S
            now_s = time.monotonic()
            if now_s >= until_s or self.dispatcher.error is not None:
                return False

    def add_actor(self, cls: Any, kwargs: dict[str, Any], *args: Any, **more: Any) -> Any:
        del cls
        own_kwargs = {"trial": kwargs["config"][TRIAL], **self.proxy_kwargs}
        return super().add_actor(_actor_class(), own_kwargs, *args, **more)
