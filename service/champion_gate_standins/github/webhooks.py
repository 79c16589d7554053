"""Sends GitHub's webhooks: signed, in the background, and now and then lost."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests

from champion_gate_standins.common.deliveries import Outbox
from champion_gate_standins.github import answers, run_answers
from champion_gate_standins.github.accounts import User
from champion_gate_standins.github.repositories import Repository
from champion_gate_standins.github.state import Approval, Job, Run, State

TIMEOUT_SECONDS = 10
"""GitHub gives a receiver ten seconds (docs.github.com, "Best practices for using webhooks")."""


@dataclass(eq=False)
class Delivery:
    """One webhook, sent or not. `result` is the receiver's HTTP status, or why there is none."""

    id: int
    at: datetime
    guid: str
    name: str
    action: str
    body: bytes
    result: str = "queued"
    sent: int = field(default=0)


def signature(secret: str, body: bytes) -> str:
    """The value of `X-Hub-Signature-256` (docs.github.com, "Validating webhook deliveries")."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Webhooks:
    """The webhook of the App.

    Attributes:
        url: where to; None sends nothing.
        secret: shared with the receiver; empty sends unsigned.
        insecure_ssl: whether the receiver's certificate is not looked at.
        lost: record deliveries without sending them.
        names_run: whether `deployment_review` names its run, which GitHub does not promise.
        deliveries: everything that was due, oldest first.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.url: str | None = None
        self.secret = ""
        self.insecure_ssl = False
        self.lost = False
        self.names_run = True
        self.deliveries: list[Delivery] = []
        self._outbox = Outbox(self._send, "github-webhooks")
        self._session = requests.Session()
        self._session.trust_env = False

    def announce(
        self, name: str, action: str, run: Run, *, jobs: Sequence[Job] = (), approval: Approval | None = None
    ) -> None:
        """Queue one delivery; called with the state locked."""
        if self.url is None:
            return
        self._send_later(name, action, self._payload(name, action, run, jobs, approval))

    def tell(
        self, name: str, action: str, repository: Repository, sender: User, told: Mapping[str, object]
    ) -> None:
        """Queue one delivery about something else than a run; called with the state locked."""
        if self.url is not None:
            self._send_later(name, action, {**self._common(action, repository, sender), **told})

    def _send_later(self, name: str, action: str, payload: Mapping[str, object]) -> None:
        body = json.dumps(payload).encode()
        delivery = Delivery(self._state.new_id(), self._state.clock(), str(uuid.uuid4()), name, action, body)
        self.deliveries.append(delivery)
        if self.lost:
            delivery.result = "lost"
        else:
            self._outbox.put(delivery)

    def redeliver(self, delivery: Delivery) -> None:
        """Send one again, under the same GUID and with the same body."""
        self._outbox.put(delivery)

    def drain(self, seconds: float = 10.0) -> None:
        """Wait until everything queued has been sent; TimeoutError if that takes longer."""
        self._outbox.drain(seconds)

    def close(self) -> None:
        """Stop sending."""
        self._outbox.close()

    def _send(self, delivery: Delivery) -> None:
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",
            "User-Agent": "GitHub-Hookshot/stand-in",
            "X-GitHub-Event": delivery.name,
            "X-GitHub-Delivery": delivery.guid,
            "X-GitHub-Hook-ID": "1",
            "X-GitHub-Hook-Installation-Target-Type": "integration",
        }
        if self.secret:
            headers["X-Hub-Signature-256"] = signature(self.secret, delivery.body)
        try:
            answer = self._session.post(
                self.url or "",
                data=delivery.body,
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
            delivery.result = str(answer.status_code)
        except requests.RequestException as error:
            delivery.result = type(error).__name__
        delivery.sent += 1

    def _payload(
        self, name: str, action: str, run: Run, jobs: Sequence[Job], approval: Approval | None
    ) -> dict[str, Any]:
        """As docs.github.com, "Webhook events and payloads", has it: a job's names its run by number only."""
        base = self._state.base_url
        told_of_run = {
            "workflow_run": run_answers.run(base, run),
            "workflow": run_answers.workflow(base, run.repository, run.workflow),
        }
        common = self._common(action, run.repository, run.triggering_actor)
        if name == "workflow_job":
            job = jobs[0]
            gated = {"deployment": run_answers.deployment(base, run, job)} if job.environment else {}
            return common | gated | {"workflow_job": run_answers.job(base, run, job)}
        if name == "deployment_status":
            return (
                common
                | told_of_run
                | {
                    "deployment": run_answers.deployment(base, run, jobs[0]),
                    "deployment_status": run_answers.deployment_status(base, run, jobs[0]),
                }
            )
        if name == "deployment_review":
            return (
                common | (told_of_run if self.names_run else {}) | self._review(action, run, jobs, approval)
            )
        return common | told_of_run

    def _common(self, action: str, repository: Repository, sender: User) -> dict[str, Any]:
        base = self._state.base_url
        return {
            "action": action,
            "repository": answers.full_repository(base, repository),
            "organization": answers.user(base, repository.owner),
            "sender": answers.user(base, sender),
            **({"installation": {"id": self._state.apps[0].installation_id}} if self._state.apps else {}),
        }

    def _review(
        self, action: str, run: Run, jobs: Sequence[Job], approval: Approval | None
    ) -> dict[str, Any]:
        base = self._state.base_url
        people = [
            {"type": "User", "reviewer": answers.user(base, person)}
            for job in jobs
            if job.environment
            for person in job.environment.people()
        ]
        job_runs = [
            {
                "id": job.id,
                "name": job.name,
                "status": job.status,
                "conclusion": job.conclusion,
                "environment": job.environment.name if job.environment else None,
                "html_url": run_answers.job(base, run, job)["html_url"],
                "created_at": answers.stamp(job.created_at),
                "updated_at": answers.stamp(run.updated_at),
            }
            for job in jobs
        ]
        common = {"reviewers": people, "since": answers.stamp(self._state.clock())}
        if action == "requested":
            first = job_runs[0]
            requestor = answers.user(base, run.actor)
            return common | {
                "environment": first["environment"],
                "requestor": requestor,
                "workflow_job_run": first,
            }
        if approval is None:
            return common | {"workflow_job_runs": job_runs}
        approver = answers.user(base, approval.user)
        return common | {
            "approver": approver,
            "comment": approval.comment,
            "sender": approver,
            "workflow_job_runs": job_runs,
        }
