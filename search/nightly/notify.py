"""Notifications after a night: verdict, three numbers and a link, by apprise or a plain webhook.

A failed delivery is reported, and never fails a night.
"""

import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from chorale.search.nightly.config import Nightly
from chorale.search.nightly.records import Night
from chorale.search.statistics.main_score import main_score_of, metric_name

TIMEOUT_S = 10.0


def notification(nightly: Nightly, night: Night) -> dict[str, Any]:
    """The notification, JSON-ready: `title` and `body` for people, single values for programs."""
    candidate, champion = night.figures.get("candidate"), night.figures.get("champion")
    difference = night.figures.get("difference")
    metric = "accuracy" if candidate is None else metric_name(candidate)
    value, rival = (None if one is None else main_score_of(one) for one in (candidate, champion))
    of = "" if metric == "accuracy" else f" {metric}"
    numbers = [] if value is None else [f"candidate{of} {value:.1%}"]
    numbers += [] if rival is None else [f"champion{of} {rival:.1%}"]
    numbers += [] if difference is None else [f"difference {100 * difference:+.1f} points"]
    link = link_of(nightly, night)
    return {
        "schedule": nightly.name,
        "date": night.date.isoformat(),
        "verdict": night.word,
        "reason": night.reason,
        f"candidate_{metric}": value,
        f"champion_{metric}": rival,
        "difference": difference,
        "link": link,
        "exit_code": night.code,
        "title": f"{nightly.name}, {night.date}: {night.word}",
        "body": "\n".join(filter(None, [night.reason, ", ".join(numbers), link])),
    }


def link_of(nightly: Nightly, night: Night) -> str:
    """The night's page: a URL where `notify.link` is set, else the file's path."""
    page = nightly.paths.night(night.date).report_html
    base = nightly.settings.notify.link
    if base is None:
        return str(page.absolute())
    return f"{base.rstrip('/')}/{page.relative_to(nightly.runs.root).as_posix()}"


def notify(nightly: Nightly, night: Night) -> list[str]:
    """Sends all notifications; returns a line with the outcome of each."""
    settings, content = nightly.settings.notify, notification(nightly, night)
    lines = []
    if settings.webhook is not None:
        url = os.path.expandvars(settings.webhook)
        lines.append(f"webhook at {_host(url)}: {_post(url, content)}")
    if settings.urls:
        urls = [os.path.expandvars(url) for url in settings.urls]
        lines.append(f"apprise: {_apprise(urls, content)}")
    return lines


def _post(url: str, content: dict[str, Any]) -> str:
    # `text` is what Slack, Mattermost and the like show of a message
    body = json.dumps({**content, "text": f"{content['title']}\n{content['body']}"}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "chorale"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return "sent"
    except urllib.error.HTTPError as error:
        return f"not sent: it answered {error.code}"
    except (OSError, ValueError) as error:  # the URL holds a secret and is not shown
        return f"not sent: {type(getattr(error, 'reason', error)).__name__}"


def _apprise(urls: list[str], content: dict[str, Any]) -> str:
    import apprise

    kinds = {0: apprise.NotifyType.SUCCESS, 10: apprise.NotifyType.INFO}
    kind = kinds.get(content["exit_code"], apprise.NotifyType.WARNING)
    service = apprise.Apprise()
    bad = sum(not service.add(url) for url in urls)
    done = service.notify(title=content["title"], body=content["body"], notify_type=kind)
    if bad:
        return f"{bad} of {len(urls)} URLs are not supported"
    return f"sent to {len(urls)}" if done else "delivery to at least one service failed"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "an unreadable address"
    except ValueError:
        return "an unreadable address"
