"""Sends GitLab's webhooks: Job, Pipeline and Deployment Hook, with a secret token or signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from typing import Any

import requests

from champion_gate_standins.common.deliveries import Outbox
from champion_gate_standins.gitlab.answers import stamp
from champion_gate_standins.gitlab.state import Job, Pipeline, Project, State, User

TIMEOUT_SECONDS = 10
"""docs.gitlab.com, "Webhooks": GitLab.com gives a receiver ten seconds."""

NAMES = {"job": "Job Hook", "pipeline": "Pipeline Hook", "deployment": "Deployment Hook"}


@dataclass(eq=False)
class Delivery:
    """One webhook, sent or not.

    Attributes:
        key: `Idempotency-Key` and `webhook-id`, the same whenever it is sent.
        result: the receiver's HTTP status, or why there is none.
        sent: how many times it was sent.
    """

    id: int
    key: str
    name: str
    body: bytes
    result: str = "queued"
    sent: int = 0


def signature(signing_token: str, key: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature` (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`.

    Args:
        signing_token: `whsec_` and the key in base64.
        key: the value of `webhook-id`.
        timestamp: the value of `webhook-timestamp`, seconds since 1970.
        body: the raw body.
    """
    secret = base64.b64decode(signing_token.removeprefix("whsec_"))
    digest = hmac.new(secret, f"{key}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """The project's webhook.

    Attributes:
        url: where to; None sends nothing.
        secret_token: sent as `X-Gitlab-Token`; empty sends none.
        signing_token: `whsec_…`; empty signs nothing.
        lost: record deliveries without sending them.
        told: fields of the webhook as the API tells it, e.g. `job_events`.
        deliveries: everything that was due, oldest first.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.url: str | None = None
        self.secret_token = ""
        self.signing_token = ""
        self.lost = False
        self.told: dict[str, object] = {
            "push_events": False,
            "job_events": True,
            "pipeline_events": True,
            "deployment_events": True,
            "enable_ssl_verification": True,
            "alert_status": "executable",
            "disabled_until": None,
        }
        self.deliveries: list[Delivery] = []
        self._outbox = Outbox(self._send, "gitlab-webhooks")

    def announce(self, kind: str, job: Job | None, pipeline: Pipeline) -> None:
        """Queue one delivery: kind "job", "pipeline" or "deployment"; called with the state locked."""
        if self.url is None:
            return
        payload = self._pipeline_hook(pipeline) if job is None else self._of_job(kind, job)
        body = json.dumps(payload).encode()
        delivery = Delivery(self._state.new_id(), str(uuid.uuid4()), NAMES[kind], body)
        self.deliveries.append(delivery)
        if self.lost:
            delivery.result = "lost"
        else:
            self._outbox.put(delivery)

    def redeliver(self, delivery: Delivery) -> None:
        """Send one again, under the same key and with the same body."""
        self._outbox.put(delivery)

    def drain(self, seconds: float = 10.0) -> None:
        """Wait until everything queued has been sent; TimeoutError if that takes longer."""
        self._outbox.drain(seconds)

    def close(self) -> None:
        """Stop sending."""
        self._outbox.close()

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """The headers with which a delivery goes out now."""
        at = int(self._state.clock().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitLab/stand-in",
            "Idempotency-Key": delivery.key,
            "X-Gitlab-Event": delivery.name,
            "X-Gitlab-Webhook-UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, self.url or "")),
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "X-Gitlab-Instance": self._state.base_url,
        }
        if self.secret_token:
            headers["X-Gitlab-Token"] = self.secret_token
        if self.signing_token:
            headers["webhook-id"] = delivery.key
            headers["webhook-timestamp"] = str(at)
            headers["webhook-signature"] = signature(self.signing_token, delivery.key, at, delivery.body)
        return headers

    def _send(self, delivery: Delivery) -> None:
        try:
            answer = requests.post(
                self.url or "",
                data=delivery.body,
                headers=self.headers(delivery),
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
            delivery.result = str(answer.status_code)
        except requests.RequestException as error:
            delivery.result = type(error).__name__
        delivery.sent += 1

    # --- payloads (lib/gitlab/data_builder) ---------------------------------------------------------------

    def _of_job(self, kind: str, job: Job) -> dict[str, Any]:
        return self._deployment_hook(job) if kind == "deployment" else self._job_hook(job)

    def _job_hook(self, job: Job) -> dict[str, Any]:
        pipeline, project = job.pipeline, job.pipeline.project
        return {
            "object_kind": "build",
            "ref": pipeline.ref,
            "tag": False,
            "sha": pipeline.sha,
            **{f"build_{name}": value for name, value in _job_fields(job).items() if name != "user"},
            "pipeline_id": pipeline.id,
            "runner": None,
            "project_id": project.id,
            "project_name": project.path.replace("/", " / "),
            "user": _user(job.user),
            "commit": {
                "id": pipeline.id,
                "name": pipeline.name or None,
                "sha": pipeline.sha,
                "status": pipeline.status,
            },
            "repository": {"name": project.path.rpartition("/")[2], "homepage": self._url(project)},
            "environment": {"name": job.environment.name, "action": "start"} if job.environment else None,
            "retries_count": sum(one.retried and one.name == job.name for one in pipeline.jobs),
        }

    def _pipeline_hook(self, pipeline: Pipeline) -> dict[str, Any]:
        return {
            "object_kind": "pipeline",
            "object_attributes": {
                "id": pipeline.id,
                "iid": pipeline.iid,
                "name": pipeline.name or None,
                "ref": pipeline.ref,
                "tag": False,
                "sha": pipeline.sha,
                "source": pipeline.source,
                "status": pipeline.status,
                "stages": ["present", "approve"],
                "created_at": stamp(pipeline.created_at),
                "variables": [],
                "url": f"{self._url(pipeline.project)}/-/pipelines/{pipeline.id}",
            },
            "user": _user(pipeline.user),
            "project": self._project(pipeline.project),
            "builds": [
                _job_fields(job)
                | {
                    "manual": job.manual,
                    "environment": {"name": job.environment.name} if job.environment else None,
                }
                for job in pipeline.latest_jobs()
            ],
        }

    def _deployment_hook(self, job: Job) -> dict[str, Any]:
        deployment, project = job.deployment, job.pipeline.project
        if deployment is None:
            raise ValueError(f"Job {job.id} deploys nothing.")
        return {
            "object_kind": "deployment",
            "status": deployment.status,
            "status_changed_at": stamp(deployment.updated_at),
            "deployment_id": deployment.id,
            "deployable_id": job.id,
            "deployable_url": f"{self._url(project)}/-/jobs/{job.id}",
            "environment": deployment.environment.name,
            "project": self._project(project),
            "short_sha": job.pipeline.sha[:8],
            "user": _user(job.user),
        }

    def _url(self, project: Project) -> str:
        return f"{self._state.base_url}/{project.path}"

    def _project(self, project: Project) -> dict[str, Any]:
        return {
            "id": project.id,
            "name": project.path.rpartition("/")[2],
            "path_with_namespace": project.path,
            "default_branch": project.default_branch,
            "web_url": self._url(project),
        }


def _job_fields(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "stage": "present" if job.name == "present" else "approve",
        "name": job.name,
        "status": job.status,
        "created_at": stamp(job.created_at),
        "started_at": stamp(job.started_at) if job.started_at else None,
        "finished_at": stamp(job.finished_at) if job.finished_at else None,
        "allow_failure": job.allow_failure,
        "failure_reason": job.failure_reason,
        "user": _user(job.user),
    }


def _user(user: User) -> dict[str, Any]:
    return {"id": user.id, "name": user.name, "username": user.username, "email": "[REDACTED]"}
