"""What `champion-gate doctor` says of the addresses of notices. Nothing is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.notices import Notice, NoticeKind

ADDRESS = Check(
    "notices.address",
    "the address of each notice is one that its kind has today",
    "A message to an address that is gone reaches nobody, and Teams does not even say so.",
)
CHECKS = (ADDRESS,)

_SLACK = re.compile(r"hooks\.slack(-gov)?\.com")
_TEAMS = re.compile(r".+\.api\.powerplatform\.(com|us|cn)|.+\.api\.(gov|high)\.powerplatform\.microsoft\.us")
_GONE = re.compile(r".+\.webhook\.office\.com|.+\.logic\.azure\.com")


def checkup(notice: Notice, url: str) -> Checkup:
    """The check of one notice; `url` is its secret."""
    return Checkup(ADDRESS, lambda: _address(notice, url))


def _address(notice: Notice, url: str) -> Iterator[Finding]:
    host = urlsplit(url).hostname or ""
    trial = f"champion-gate notices test {notice.name}"
    if notice.kind is NoticeKind.TEAMS and _GONE.fullmatch(host):
        yield ADDRESS.fail(
            f"{notice.name} has an address of an Office 365 connector, or of a workflow of before December 2025: both are gone.",
            "Make a workflow in Teams (“Send webhook alerts to a channel”), and set the address that it shows.",
        )
    elif notice.kind is NoticeKind.SLACK and not _SLACK.fullmatch(host):
        yield ADDRESS.warning(
            f"The address of {notice.name} is not of hooks.slack.com, where Slack's incoming webhooks are.",
            f"Is it something between that passes messages on? Then try it: {trial}",
        )
    elif notice.kind is NoticeKind.TEAMS and not _TEAMS.fullmatch(host):
        yield ADDRESS.warning(
            f"The address of {notice.name} is not of a workflow's host (….api.powerplatform.com).",
            f"Is it something between that passes messages on? Then try it: {trial}",
        )
    elif notice.kind is NoticeKind.TEAMS:
        yield ADDRESS.not_known(
            f"{notice.name} has an address of a workflow; whether that posts what it accepts, Teams does not say.",
            f"Send a message, and ask somebody who sees the channel: {trial}",
        )
    else:
        yield ADDRESS.ok(f"{notice.name} has one; to try it: {trial}")
