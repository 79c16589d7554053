"""Where the people of gates under attack approve: GitHub, and GitLab with either protection."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.issuer import Issuer
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, Job, Project
from champion_gate_standins.gitlab.webhooks import signature
from integration.attacked_gate import (
    AUDIENCE,
    GITHUB_SECRET,
    PEOPLE,
    ROBOT,
    SIGNING_TOKEN,
    Asked,
    AttackedGate,
)

if TYPE_CHECKING:
    from integration.attack_world import AttackWorld


class OnGitHub(AttackedGate):
    """People approve in an environment of a repository of its own."""

    vendor = "github"

    def __init__(self, world: AttackWorld, number: int) -> None:
        super().__init__(world, number)
        world.databricks.catalog.add_model(self.model)
        self.repository = f"example/gate-{number}"
        self.there = world.github
        self.there.add_repository(self.repository)
        self.there.protect_branch(self.repository)
        self.protect()

    def protect(self, **rules: Any) -> None:
        """Protect the environment anew, with these rules changed."""
        self.there.protect_environment(self.repository, "champion", **{"reviewers": PEOPLE, **rules})

    @property
    def issuer(self) -> Issuer:
        return self.there.oidc.issuer

    @property
    def faults(self) -> Faults:
        return self.there.faults

    @property
    def path(self) -> str:
        return f"/repos/{self.repository}(?=/|$)"

    @property
    def approval(self) -> dict[str, object]:
        return {"github": {"repository": self.repository, "environments": ["champion"]}}

    def approve(self, asked: Asked, login: str = "reviewer-1") -> None:
        self.there.review(asked.external_id, "champion", login, approve=True)

    def cancel(self, asked: Asked) -> None:
        self.there.cancel(asked.external_id)

    def open_runs(self) -> list[str]:
        runs = [run for run in self.there.runs if run.repository.full_name == self.repository]
        return [str(run.id) for run in runs if not run.cancelled]

    def start(self, inputs_of: Asked, login: str) -> str:
        return str(self.there.dispatch(self.repository, self.inputs(inputs_of), login=login).id)

    def inputs(self, asked: Asked) -> Mapping[str, str]:
        return self.there.run(asked.external_id).inputs

    def token(self, asked: Asked, **claims: Any) -> str:
        return self.there.oidc.id_token(asked.external_id, "champion", claims.pop("aud", AUDIENCE), **claims)

    def hook_body(self, external_id: str) -> bytes:
        return json.dumps({"action": "completed", "workflow_run": {"id": int(external_id)}}).encode()

    def hook_headers(self, body: bytes, **changes: str) -> dict[str, str]:
        digest = hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-GitHub-Event": "workflow_run",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": f"sha256={digest}",
        }
        return {**headers, **changes}


class OnGitLab(AttackedGate):
    """People play the manual job of a project of its own, whose environment (Premium) or branch is protected."""

    vendor = "gitlab"
    protection = "environment"

    def __init__(self, world: AttackWorld, number: int) -> None:
        super().__init__(world, number)
        world.databricks.catalog.add_model(self.model)
        self.there = world.gitlab
        free = self.protection == "branch"
        self.project: Project = self.there.add_project(
            f"example/gate-{number}", tier="free" if free else "premium"
        )
        for person in (*PEOPLE, "reader"):
            self.there.add_member(self.project, person, MAINTAINER)
        self.there.add_member(self.project, ROBOT, MAINTAINER if free else DEVELOPER)
        if not free:
            self.there.protect_branch(self.project, "main", merge=(MAINTAINER, ROBOT))
            self.protect()

    def protect(self, deployers: Sequence[str | int] = PEOPLE, **rules: Any) -> None:
        """Protect the environment anew, with these rules changed."""
        self.there.protect_environment(self.project, "champion", deployers=deployers, **rules)

    @property
    def issuer(self) -> Issuer:
        return self.there.id_tokens.issuer

    @property
    def faults(self) -> Faults:
        return self.there.faults

    @property
    def path(self) -> str:
        return f"/projects/{self.project.id}(?=/|$)"

    @property
    def approval(self) -> dict[str, object]:
        return {"gitlab": {"project": self.project.id, "protection": self.protection}}

    def job(self, asked: Asked) -> Job:
        """The gated job."""
        return self.there.job(asked.external_id)

    def approve(self, asked: Asked, login: str = "reviewer-1") -> None:
        self.there.play(self.job(asked), login)

    def cancel(self, asked: Asked) -> None:
        self.there.cancel(asked.external_id)

    def open_runs(self) -> list[str]:
        ours = [each for each in self.there.pipelines if each.project is self.project]
        return [str(each.id) for each in ours if each.status != "canceled"]

    def start(self, inputs_of: Asked, login: str) -> str:
        inputs = self.inputs(inputs_of)
        self.there.add_member(self.project, login, MAINTAINER)
        return str(self.there.start(self.project, inputs, username=login, source="api").id)

    def inputs(self, asked: Asked) -> Mapping[str, str]:
        return self.there.pipeline(asked.external_id).inputs

    def token(self, asked: Asked, **claims: Any) -> str:
        job = self.job(asked)
        if job.started_at is None:  # its user is then still who started the pipeline; nobody has such a token
            claims = {"user_id": str(self.there.add_user("reviewer-1")), **claims}
        return self.there.id_tokens.id_token(job, claims.pop("aud", AUDIENCE), **claims)

    def hook_body(self, external_id: str) -> bytes:
        return json.dumps({"object_kind": "pipeline", "object_attributes": {"id": int(external_id)}}).encode()

    def hook_headers(self, body: bytes, **changes: str) -> dict[str, str]:
        key, at = str(uuid.uuid4()), int(time.time())
        headers = {
            "X-Gitlab-Event": "Pipeline Hook",
            "Idempotency-Key": key,
            "webhook-id": key,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(SIGNING_TOKEN, key, at, body),
        }
        return {**headers, **changes}


class OnFreeGitLab(OnGitLab):
    """Without protected environments: Maintainers play the job."""

    protection = "branch"
