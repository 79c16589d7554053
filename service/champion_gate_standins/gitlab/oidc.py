"""The ID tokens of GitLab's jobs (docs.gitlab.com, "OpenID Connect (OIDC) authentication using ID tokens")."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint

from champion_gate_standins.common.issuer import Issuer
from champion_gate_standins.gitlab.pipelines import Pipelines
from champion_gate_standins.gitlab.state import (
    DEVELOPER,
    GUEST,
    MAINTAINER,
    OWNER,
    REPORTER,
    Job,
    Project,
    State,
    User,
)

_NOT_BEFORE = 5
_ROLE_NAMES = {
    GUEST: "guest",
    REPORTER: "reporter",
    DEVELOPER: "developer",
    MAINTAINER: "maintainer",
    OWNER: "owner",
}


class IdTokens:
    """Issues ID tokens to jobs, with the claims of lib/gitlab/ci/jwt.rb and jwt_v2.rb.

    Attributes:
        issuer: its keys and its `iss`; `issuer.url` changes the latter.
        job_timeout: seconds; tokens live as long as their job may run.
        runner_environment: "self-hosted" or "gitlab-hosted".
    """

    def __init__(self, state: State, pipelines: Pipelines) -> None:
        self._state = state
        self._pipelines = pipelines
        self.issuer = Issuer(
            state.clock,
            lambda: state.base_url,
            discovery="/.well-known/openid-configuration",
            keys="/oauth/discovery/keys",
        )
        self.job_timeout = 300
        self.runner_environment = "self-hosted"

    @property
    def blueprint(self) -> Blueprint:
        """The discovery document and the key set."""
        return self.issuer.blueprint

    def id_token(self, job: Job | int, audience: str | list[str], **overrides: Any) -> str:
        """The token that a job with `id_tokens: {X: {aud: audience}}` gets.

        Args:
            job: the job or its id.
            audience: the `aud` that the job asks for.
            overrides: claims to be changed or added; None leaves one out.
        """
        with self._state.lock:
            one = job if isinstance(job, Job) else self._state.job(job)
            claims = self._claims(one) | {"aud": audience}
        return self.issuer.sign(claims, lifetime=self.job_timeout, not_before=_NOT_BEFORE, **overrides)

    def _claims(self, job: Job) -> dict[str, Any]:
        pipeline, project = job.pipeline, job.pipeline.project
        ref_path = f"refs/heads/{pipeline.ref}"
        host = urlsplit(self._state.base_url)
        about_project = _project_claims(project)
        return {
            **about_project,
            **_user_claims(project, job.user),
            **{f"job_{name}": value for name, value in about_project.items()},
            **self._environment_claims(job),
            "sub": f"project_path:{project.path}:ref_type:branch:ref:{pipeline.ref}",
            "pipeline_id": str(pipeline.id),
            "pipeline_source": pipeline.source,
            "job_id": str(job.id),
            "ref": pipeline.ref,
            "ref_type": "branch",
            "ref_path": ref_path,
            "ref_protected": _yes(pipeline.ref in project.protected_branches),
            "runner_id": 1,
            "runner_environment": self.runner_environment,
            "sha": pipeline.sha,
            "project_visibility": project.visibility,
            "ci_config_ref_uri": f"{host.netloc}{host.path}/{project.path}//.gitlab-ci.yml@{ref_path}",
            "ci_config_sha": pipeline.sha,
        }

    def _environment_claims(self, job: Job) -> dict[str, str]:
        if job.environment is None:
            return {}
        return {
            "environment": job.environment.name,
            "environment_protected": _yes(self._pipelines.protection(job) is not None),
            "deployment_tier": job.environment.tier,
            "environment_action": "start",
        }


def _project_claims(project: Project) -> dict[str, str]:
    return {
        "namespace_id": str(project.namespace_id),
        "namespace_path": project.path.rpartition("/")[0],
        "project_id": str(project.id),
        "project_path": project.path,
    }


def _user_claims(project: Project, user: User) -> dict[str, Any]:
    return {
        "user_id": str(user.id),
        "user_login": user.username,
        "user_email": f"{user.username}@example.com",
        "user_access_level": _ROLE_NAMES.get(project.level(user)),
    }


def _yes(value: bool) -> str:
    return "true" if value else "false"
