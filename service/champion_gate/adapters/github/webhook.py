"""GitHub's webhooks: their signature, and the workflow run or pull request that they tell about."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from champion_gate.domain.json_body import (
    Ignored,
    UnusableBodyError,
    id_of,
    json_object,
    object_at,
    shown,
    text_of,
)
from champion_gate.domain.ports.approval import EveryRequestAt

_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
_RUN_PAGE = re.compile(r"/actions/runs/([1-9][0-9]{0,18})(?:/|$)", re.ASCII)
_RUN_PATHS = {
    "deployment_review": ("workflow_run", "id"),
    "deployment_status": ("workflow_run", "id"),
    "workflow_job": ("workflow_job", "run_id"),
    "workflow_run": ("workflow_run", "id"),
}
EVENTS = tuple(_RUN_PATHS)
"""The events that tell about an approval in a workflow run, which our App asks GitHub for."""
REVIEW_EVENTS = ("pull_request", "pull_request_review")
"""Those that tell about an approval by review."""


class GitHubHook:
    """A `ProviderHook` (docs.github.com, "Validating webhook deliveries", "Webhook events and payloads").

    Args:
        secrets: what GitHub and we share; two while one is being replaced.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not all(secrets):
            raise ValueError("a secret must not be empty")
        self._secrets = [secret.encode() for secret in secrets]

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        """Check `X-Hub-Signature-256: sha256=<hex>`; the older sha1 header proves nothing."""
        given = _SIGNATURE.fullmatch(header("X-Hub-Signature-256"))
        signature = given.group(1) if given else ""
        # Every secret is compared: the time does not tell which matched.
        matches = [
            hmac.compare_digest(signature, hmac.new(secret, body, hashlib.sha256).hexdigest())
            for secret in self._secrets
        ]
        return any(matches)

    def delivery_id(self, header: Callable[[str], str]) -> str:
        """`X-GitHub-Delivery`: the same when it is delivered again."""
        return header("X-GitHub-Delivery")

    def request_id(self, header: Callable[[str], str], body: bytes) -> str | EveryRequestAt | Ignored:
        """The workflow run's id as decimal text; the repository where a review does not tell its run.

        Of a pull request its own number behind that of its repository, which is the id of no run.
        """
        kind = header("X-GitHub-Event")
        if kind in REVIEW_EVENTS:
            return _reviewed_pull(body)
        if kind not in _RUN_PATHS:
            return Ignored(f"{shown(kind)} tells nothing about an approval")
        outer, inner = _RUN_PATHS[kind]
        try:
            sent = json_object(_out_of_form(body))
            # GitHub sends null where it cannot tell the run; a page of the run may be named all the same.
            named = None if kind == "workflow_job" or sent.get(outer) is not None else _run_on_a_page(sent)
            if named is not None:
                return named
            if kind == "deployment_review" and sent.get(outer) is None:
                full_name = text_of(object_at(sent, "repository").get("full_name"), "repository.full_name")
                return EveryRequestAt("repository", full_name)
            return id_of(object_at(sent, outer).get(inner), f"{outer}.{inner}")
        except UnusableBodyError as error:
            return Ignored(str(error))


def _reviewed_pull(body: bytes) -> str | Ignored:
    try:
        sent = json_object(_out_of_form(body))
        repository = id_of(object_at(sent, "repository").get("id"), "repository.id")
        number = id_of(object_at(sent, "pull_request").get("number"), "pull_request.number")
    except UnusableBodyError as error:
        return Ignored(str(error))
    return f"{repository}-{number}"


def _out_of_form(body: bytes) -> bytes:
    """The JSON, also where the webhook's content type is application/x-www-form-urlencoded: its one field is `payload`."""
    field = b"payload="
    return unquote_to_bytes(body.removeprefix(field).replace(b"+", b" ")) if body.startswith(field) else body


def _run_on_a_page(sent: Mapping[str, Any]) -> str | None:
    """The run whose page a review's jobs or a deployment's status name: `…/actions/runs/RUN/job/JOB`."""
    jobs = sent.get("workflow_job_runs")
    places = [
        sent.get("workflow_job_run"),
        sent.get("deployment_status"),
        *(jobs if isinstance(jobs, list) else []),
    ]
    for place in places:
        for key in ("html_url", "log_url", "target_url"):
            address = place.get(key) if isinstance(place, dict) else None
            found = _RUN_PAGE.search(address) if isinstance(address, str) else None
            if found is not None:
                return found.group(1)
    return None
