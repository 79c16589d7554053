"""The REST endpoints of the GitLab stand-in, under /api/v4."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.gitlab import answers, auth
from champion_gate_standins.gitlab.lists import choice, listed, page_of, time_of
from champion_gate_standins.gitlab.pipelines import Pipelines
from champion_gate_standins.gitlab.state import (
    DEVELOPER,
    MAINTAINER,
    NO_ONE,
    REPORTER,
    AccessToken,
    Deployment,
    Pipeline,
    Project,
    RefusedError,
    State,
    found,
)

Reply = Response | tuple[Response, int]


class Api:
    """The endpoints, over the state.

    Attributes:
        takes_inputs: False ignores `inputs`, as GitLab did before version 17.11: the template's defaults hold,
            and its workflow rules refuse the pipeline.
        listed_after: how old a pipeline is when lists show it, as those of a replica that lags behind.
        not_searched: ids of pipelines that lists by account lack, and the list of all has.
    """

    def __init__(self, state: State, pipelines: Pipelines) -> None:
        self._state = state
        self._pipelines = pipelines
        self.takes_inputs = True
        self.listed_after = timedelta(0)
        self.not_searched: set[str] = set()
        self.blueprint = Blueprint("api", __name__, url_prefix="/api/v4")
        self._add_routes()

    def _add_routes(self) -> None:
        one = "/projects/<int:project_id>"
        pipeline, job = f"{one}/pipelines/<int:pipeline_id>", f"{one}/jobs/<int:job_id>"
        deployment = f"{one}/deployments/<int:deployment_id>"
        routes: list[tuple[str, str, Callable[..., Reply]]] = [
            ("GET", "/user", self.get_me),
            ("GET", "/users", self.list_users),
            ("GET", "/users/<int:user_id>", self.get_user),
            ("GET", "/personal_access_tokens/self", self.get_token),
            ("GET", one, self.get_project),
            ("GET", f"{one}/members/all/<int:user_id>", self.get_member),
            ("GET", f"{one}/triggers", self.list_triggers),
            ("GET", f"{one}/protected_branches", self.list_protected_branches),
            ("GET", f"{one}/protected_branches/<path:name>", self.get_protected_branch),
            ("GET", f"{one}/protected_environments/<path:name>", self.get_protected_environment),
            ("POST", f"{one}/trigger/pipeline", self.trigger),
            ("POST", f"{one}/pipeline", self.create_pipeline),
            ("GET", f"{one}/pipelines", self.list_pipelines),
            ("GET", pipeline, self.get_pipeline),
            ("GET", f"{pipeline}/jobs", self.list_jobs),
            ("POST", f"{pipeline}/cancel", self.cancel),
            ("GET", job, self.get_job),
            ("POST", f"{job}/play", self.play),
            ("POST", f"{job}/retry", self.retry),
            ("GET", f"{one}/deployments", self.list_deployments),
            ("GET", deployment, self.get_deployment),
            ("POST", f"{deployment}/approval", self.approve),
        ]
        for method, rule, view in routes:
            self.blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    @property
    def _base(self) -> str:
        return self._state.base_url

    # --- who is asking -----------------------------------------------------------------------------------

    def _token(self) -> AccessToken:
        return auth.authenticate(self._state, dict(request.headers))

    def _caller(self, *, writes: bool = False) -> AccessToken:
        token = self._token()
        auth.require_scope(token, writes=writes)
        return token

    def _reach(
        self, project_id: int, level: int = REPORTER, *, writes: bool = False
    ) -> tuple[AccessToken, Project]:
        token = self._caller(writes=writes)
        project = auth.reach(self._state, token, project_id)
        auth.require_role(token, project, level)
        return token, project

    # --- accounts ----------------------------------------------------------------------------------------

    def get_me(self) -> Reply:
        """`GET /user`."""
        token = self._token()
        if not {"api", "read_api", "read_user"} & set(token.scopes):
            auth.require_scope(token, writes=False)
        return jsonify(answers.full_user(self._base, token.user))

    def list_users(self) -> Reply:
        """`GET /users?username=`; the username in whatever case."""
        self._caller()
        wanted = request.args.get("username")
        people = [
            one
            for one in self._state.users.values()
            if wanted is None or one.username.lower() == wanted.lower()
        ]
        page, headers = page_of(people)
        return listed([answers.user(self._base, one) for one in page], headers)

    def get_user(self, user_id: int) -> Reply:
        """`GET /users/:id`."""
        self._caller()
        return jsonify(answers.full_user(self._base, self._user(user_id)))

    def _user(self, user_id: int) -> Any:
        return found(next((one for one in self._state.users.values() if one.id == user_id), None), "User")

    def get_token(self) -> Reply:
        """`GET /personal_access_tokens/self`, for a token of any scope."""
        return jsonify(answers.access_token(self._token()))

    # --- projects ----------------------------------------------------------------------------------------

    def get_project(self, project_id: int) -> Reply:
        """`GET /projects/:id`."""
        _, project = self._reach(project_id, NO_ONE)
        return jsonify(answers.project(self._base, project))

    def get_member(self, project_id: int, user_id: int) -> Reply:
        """`GET /projects/:id/members/all/:user_id`, inherited members included; 404 for who is none."""
        _, project = self._reach(project_id, NO_ONE)
        level = found(self._state.members(project).get(user_id))
        return jsonify(answers.member(self._base, self._user(user_id), level))

    def list_triggers(self, project_id: int) -> Reply:
        """`GET /projects/:id/triggers`, for Maintainers."""
        token, project = self._reach(project_id, MAINTAINER)
        page, headers = page_of(project.triggers)
        return listed(
            [answers.trigger(self._base, one, whole=one.owner is token.user) for one in page], headers
        )

    def list_protected_branches(self, project_id: int) -> Reply:
        """`GET /projects/:id/protected_branches`, for Maintainers (app/policies/protected_branch_policy.rb)."""
        _, project = self._reach(project_id, MAINTAINER)
        page, headers = page_of(list(project.protected_branches.values()))
        return listed([answers.protected_branch(one) for one in page], headers)

    def get_protected_branch(self, project_id: int, name: str) -> Reply:
        """`GET /projects/:id/protected_branches/:name`; 404 for a branch that is not protected."""
        _, project = self._reach(project_id)
        return jsonify(answers.protected_branch(found(project.protected_branches.get(name))))

    def get_protected_environment(self, project_id: int, name: str) -> Reply:
        """`GET /projects/:id/protected_environments/:name`, for Maintainers; 404 on the Free tier."""
        token, project = self._reach(project_id, NO_ONE)
        if project.tier == "free":
            raise RefusedError(404, "404 Not Found")
        auth.require_role(token, project, MAINTAINER)
        return jsonify(answers.protected_environment(found(project.protected_environments.get(name))))

    # --- pipelines ---------------------------------------------------------------------------------------

    def trigger(self, project_id: int) -> Reply:
        """`POST /projects/:id/trigger/pipeline`: the token in the body is all it takes."""
        body = _body()
        project = self._state.projects.get(project_id)
        one = next(
            (each for each in (project.triggers if project else []) if each.token == body.get("token")), None
        )
        if project is None or one is None:
            raise RefusedError(404, "404 Not Found")
        if body.get("variables"):
            raise _bad("Insufficient permissions to set pipeline variables")
        return self._start(project, one.owner, body, "trigger")

    def create_pipeline(self, project_id: int) -> Reply:
        """`POST /projects/:id/pipeline`."""
        token, project = self._reach(project_id, DEVELOPER, writes=True)
        body = _body()
        if body.get("variables"):
            raise _bad("Insufficient permissions to set pipeline variables")
        return self._start(project, token.user, body, "api")

    def _start(self, project: Project, user: Any, body: dict[str, Any], source: str) -> Reply:
        ref, inputs = body.get("ref"), body.get("inputs") or {}
        if not isinstance(ref, str) or not ref:
            raise RefusedError(400, "ref is missing", key="error")
        if not isinstance(inputs, dict):
            raise RefusedError(400, "inputs is invalid", key="error")
        if not self.takes_inputs:
            raise _bad("Pipeline filtered out by workflow rules.")
        pipeline = self._pipelines.start(project, user, ref=ref, inputs=inputs, source=source)
        return jsonify(answers.pipeline(self._base, pipeline)), 201

    def list_pipelines(self, project_id: int) -> Reply:
        """`GET /projects/:id/pipelines`, newest first unless sorted otherwise."""
        _, project = self._reach(project_id)
        asked = request.args
        updated_after, updated_before = time_of("updated_after"), time_of("updated_before")
        created_after, created_before = time_of("created_after"), time_of("created_before")
        pipelines = [
            one
            for one in self._state.pipelines
            if one.project is project
            and self._state.clock() - one.created_at >= self.listed_after
            and not ("username" in asked and str(one.id) in self.not_searched)
            and all(asked.get(key, str(getattr(one, key))) == str(getattr(one, key)) for key in _FILTERS)
            and asked.get("username", one.user.username).lower() == one.user.username.lower()
            and (updated_after is None or one.updated_at > updated_after)
            and (updated_before is None or one.updated_at < updated_before)
            and (created_after is None or one.created_at > created_after)
            and (created_before is None or one.created_at < created_before)
        ]
        order = choice("order_by", {"id", "status", "ref", "updated_at", "user_id"}, "id")
        descending = choice("sort", {"asc", "desc"}, "desc") == "desc"
        pipelines.sort(key=lambda one: (_order(one, order), one.id), reverse=descending)
        page, headers = page_of(pipelines)
        return listed([answers.listed_pipeline(self._base, one) for one in page], headers)

    def get_pipeline(self, project_id: int, pipeline_id: int) -> Reply:
        """`GET /projects/:id/pipelines/:pipeline_id`."""
        _, project = self._reach(project_id)
        return jsonify(answers.pipeline(self._base, self._state.pipeline(pipeline_id, project)))

    def list_jobs(self, project_id: int, pipeline_id: int) -> Reply:
        """`GET …/pipelines/:pipeline_id/jobs`, newest first; without retried ones unless `include_retried`."""
        _, project = self._reach(project_id)
        pipeline = self._state.pipeline(pipeline_id, project)
        retried = request.args.get("include_retried", "").lower() in {"true", "1"}
        jobs = sorted(
            pipeline.jobs if retried else pipeline.latest_jobs(), key=lambda one: one.id, reverse=True
        )
        page, headers = page_of(jobs)
        return listed([answers.job(self._base, one) for one in page], headers)

    def cancel(self, project_id: int, pipeline_id: int) -> Reply:
        """`POST …/pipelines/:pipeline_id/cancel`; no error where there is nothing to cancel."""
        token, project = self._reach(project_id, REPORTER, writes=True)
        pipeline = self._state.pipeline(pipeline_id, project)
        if not self._pipelines.may_cancel(pipeline, token.user):
            raise RefusedError(403, "403 Forbidden")
        self._pipelines.cancel(pipeline)
        return jsonify(answers.pipeline(self._base, pipeline))

    # --- jobs --------------------------------------------------------------------------------------------

    def get_job(self, project_id: int, job_id: int) -> Reply:
        """`GET /projects/:id/jobs/:job_id`."""
        _, project = self._reach(project_id)
        return jsonify(answers.job(self._base, self._state.job(job_id, project)))

    def play(self, project_id: int, job_id: int) -> Reply:
        """`POST /projects/:id/jobs/:job_id/play`."""
        token, project = self._reach(project_id, writes=True)
        given = _body(required=False).get("job_variables_attributes") or []
        variables = {str(one.get("key")): str(one.get("value")) for one in given if isinstance(one, dict)}
        job = self._pipelines.play(self._state.job(job_id, project), token.user, variables)
        return jsonify(answers.job(self._base, job))

    def retry(self, project_id: int, job_id: int) -> Reply:
        """`POST /projects/:id/jobs/:job_id/retry`."""
        token, project = self._reach(project_id, writes=True)
        job = self._pipelines.retry(self._state.job(job_id, project), token.user)
        return jsonify(answers.job(self._base, job)), 201

    # --- deployments -------------------------------------------------------------------------------------

    def list_deployments(self, project_id: int) -> Reply:
        """`GET /projects/:id/deployments`, oldest first unless sorted otherwise."""
        _, project = self._reach(project_id)
        asked = request.args
        deployments = [
            one
            for one in self._state.deployments
            if one.job.pipeline.project is project
            and asked.get("environment", one.environment.name) == one.environment.name
            and asked.get("status", one.status) == one.status
        ]
        order = choice("order_by", {"id", "iid", "created_at", "updated_at", "finished_at", "ref"}, "id")
        descending = choice("sort", {"asc", "desc"}, "asc") == "desc"
        deployments.sort(
            key=lambda one: (str(getattr(one, order, "")) * (order != "id"), one.id), reverse=descending
        )
        page, headers = page_of(deployments)
        return listed([answers.listed_deployment(self._base, one) for one in page], headers)

    def _deployment(
        self, project_id: int, deployment_id: int, *, writes: bool = False
    ) -> tuple[AccessToken, Deployment]:
        token, project = self._reach(project_id, writes=writes)
        return token, self._state.deployment(deployment_id, project)

    def get_deployment(self, project_id: int, deployment_id: int) -> Reply:
        """`GET /projects/:id/deployments/:deployment_id`."""
        _, one = self._deployment(project_id, deployment_id)
        return jsonify(answers.deployment(self._base, self._pipelines, one))

    def approve(self, project_id: int, deployment_id: int) -> Reply:
        """`POST …/deployments/:deployment_id/approval`; 404 on the Free tier."""
        token, one = self._deployment(project_id, deployment_id, writes=True)
        if one.job.pipeline.project.tier == "free":
            raise RefusedError(404, "404 Not Found")
        body = _body()
        if body.get("status") not in {"approved", "rejected"}:
            raise RefusedError(400, "status does not have a valid value", key="error")
        said = self._pipelines.approve_deployment(
            one, token.user, body["status"], str(body.get("comment") or "")
        )
        return jsonify(answers.approval(self._base, said)), 201


_FILTERS = ("ref", "sha", "source", "status", "name")


def _order(pipeline: Pipeline, by: str) -> str:
    if by == "id":
        return ""
    if by == "user_id":
        return f"{pipeline.user.id:020}"
    value = getattr(pipeline, by)
    return value.isoformat() if by == "updated_at" else str(value)


def problem(error: RefusedError) -> tuple[Response, int]:
    """A refusal in GitLab's form."""
    return jsonify(error.answer), error.status


def _bad(problem: str) -> RefusedError:
    return RefusedError(400, {"base": [problem]})


def _body(*, required: bool = True) -> dict[str, Any]:
    """The body, JSON or a form; GitLab takes both."""
    if request.form:
        return dict(request.form)
    raw = request.get_data()
    if not raw and not required:
        return {}
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise RefusedError(400, "400 Bad request - message body does not match declared format") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "400 Bad request")
    return body
