"""The ID tokens of GitHub's jobs (docs.github.com, "OpenID Connect reference"), as a running job asks for them."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.common.issuer import Issuer
from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.auth import bearer
from champion_gate_standins.github.state import Job, Run, State

_LIFETIME, _NOT_BEFORE = 300, 600


class IdTokens:
    """Issues ID tokens to jobs.

    Attributes:
        issuer: its keys and its `iss`; `issuer.url` changes the latter.
        runner_environment: "github-hosted" or "self-hosted".
        blueprints: the discovery document, the key set, and the place where jobs ask for tokens.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.issuer = Issuer(
            state.clock,
            lambda: state.base_url,
            discovery="/.well-known/openid-configuration",
            keys="/.well-known/jwks",
        )
        self.runner_environment = "github-hosted"
        self._request_tokens: dict[str, Job] = {}
        asking = Blueprint("id_tokens", __name__)
        asking.add_url_rule("/_apis/idtoken/<int:run_id>/<int:job_id>", "ask", self._ask)
        self.blueprints = (self.issuer.blueprint, asking)

    def id_token(
        self,
        run: Run | int | str,
        environment: str | None,
        audience: str | list[str] | None = None,
        **overrides: Any,
    ) -> str:
        """The token of the run's job for this environment.

        Args:
            run: the run or its id.
            environment: of the gated job, in whatever case; None for a job without one.
            audience: the `aud` that the job asks for; the owner's address by default.
            overrides: claims to be changed or added; None leaves one out.
        """
        with self._state.lock:
            one = run if isinstance(run, Run) else self._state.run(int(run))
            claims = self._claims(one, self._job(one, environment))
            claims["aud"] = audience or f"https://github.com/{one.repository.owner.login}"
        return self.issuer.sign(claims, lifetime=_LIFETIME, not_before=_NOT_BEFORE, **overrides)

    def request_variables(self, run: Run | int | str, environment: str) -> dict[str, str]:
        """What a job with `permissions: id-token: write` finds in its environment."""
        with self._state.lock:
            one = run if isinstance(run, Run) else self._state.run(int(run))
            job = self._job(one, environment)
            token = secrets.token_urlsafe(48)
            self._request_tokens[token] = job
        url = f"{self._state.base_url}/_apis/idtoken/{one.id}/{job.id}?api-version=2.0"
        return {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token}

    def _ask(self, run_id: int, job_id: int) -> Response:
        """`GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=…`, while the job runs."""
        job = self._request_tokens.get(bearer(request.headers.get("Authorization")))
        if job is None or job.id != job_id or job.status != "in_progress":
            raise RefusedError(401, "Bad credentials")
        environment = job.environment.name if job.environment else None
        token = self.id_token(self._state.run(run_id), environment, request.args.get("audience"))
        return jsonify({"count": len(token), "value": token})

    def _job(self, run: Run, environment: str | None) -> Job:
        wanted = environment.lower() if environment is not None else None
        for job in run.latest_jobs():
            if (job.environment.name.lower() if job.environment else None) == wanted:
                return job
        raise RefusedError(404, "Not Found")

    def _claims(self, run: Run, job: Job) -> dict[str, Any]:
        repository = run.repository
        file_ref = f"{repository.full_name}/{run.workflow.path}@refs/heads/{run.head_branch}"
        claims = {
            "sub": f"repo:{repository.full_name}:ref:refs/heads/{run.head_branch}",
            "repository": repository.full_name,
            "repository_id": str(repository.id),
            "repository_owner": repository.owner.login,
            "repository_owner_id": str(repository.owner.id),
            "repository_visibility": "private" if repository.private else "public",
            "ref": f"refs/heads/{run.head_branch}",
            "ref_type": "branch",
            "ref_protected": "true" if repository.branch_rules.get(run.head_branch) else "false",
            "base_ref": "",
            "head_ref": "",
            "sha": run.head_sha,
            "event_name": run.event,
            "workflow": run.workflow.name,
            "workflow_ref": file_ref,
            "workflow_sha": run.head_sha,
            "job_workflow_ref": file_ref,
            "job_workflow_sha": run.head_sha,
            "run_id": str(run.id),
            "run_number": str(run.run_number),
            "run_attempt": str(run.run_attempt),
            "actor": run.actor.login,
            "actor_id": str(run.actor.id),
            "check_run_id": str(job.id),
            "runner_environment": self.runner_environment,
        }
        if job.environment is None:
            return claims
        return claims | {
            "sub": f"repo:{repository.full_name}:environment:{job.environment.name}",
            "environment": job.environment.name,
            "environment_node_id": f"EN_{job.environment.id}",
        }
