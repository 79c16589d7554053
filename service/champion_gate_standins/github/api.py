"""The REST endpoints of the GitHub stand-in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.github import answers, auth, run_answers
from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.lists import created_filter, linked, page_of
from champion_gate_standins.github.repositories import Repository, Workflow
from champion_gate_standins.github.runs import Runs
from champion_gate_standins.github.state import UNFINISHED, Credential, GitHubApp, Run, State

OLD_VERSION, NEW_VERSION = "2022-11-28", "2026-03-10"
MAX_SEARCH = 1000


class Api:
    """The endpoints, over the state.

    Attributes:
        run_details: what the server knows of `return_run_details` under 2022-11-28: "supported", or
            "ignored" or "refused" as by an older GitHub Enterprise Server.
        versions: the values of X-GitHub-Api-Version that it takes.
        searches: whether lists of runs with a filter show anything. GitHub answers them from a search index,
            which has been empty for more than a day while lists without a filter were right.
        listed_after: how old a run is when lists show it; by its id it can be read at once.
        not_searched: ids of runs that the search index lacks, so that only unfiltered lists show them.
    """

    def __init__(self, state: State, runs: Runs) -> None:
        self._state = state
        self._runs = runs
        self.run_details = "supported"
        self.versions = {OLD_VERSION, NEW_VERSION}
        self.searches = True
        self.listed_after = timedelta(0)
        self.not_searched: set[str] = set()
        self.blueprint = Blueprint("api", __name__)
        self.blueprint.before_request(self._before)
        self.blueprint.after_request(with_etag)
        self._add_routes()

    def _add_routes(self) -> None:
        repo = "/repos/<owner>/<name>"
        actions = f"{repo}/actions"
        one_run = f"{actions}/runs/<int:run_id>"
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/app", self.get_app),
            ("POST", "/app/installations/<int:installation_id>/access_tokens", self.create_token),
            ("GET", f"{repo}/installation", self.get_installation),
            ("GET", "/user", self.get_me),
            ("GET", "/users/<login>", self.get_user),
            ("GET", "/orgs/<org>/teams/<slug>/memberships/<login>", self.get_membership),
            ("GET", "/orgs/<org>/teams/<slug>/members", self.list_members),
            ("GET", repo, self.get_repository),
            ("GET", f"{repo}/environments/<path:environment>", self.get_environment),
            ("GET", f"{repo}/rules/branches/<path:branch>", self.list_branch_rules),
            ("GET", f"{actions}/workflows/<file>", self.get_workflow),
            ("POST", f"{actions}/workflows/<file>/dispatches", self.dispatch),
            ("GET", f"{actions}/workflows/<file>/runs", self.list_runs),
            ("GET", f"{actions}/runs", self.list_runs),
            ("GET", one_run, self.get_run),
            ("GET", f"{one_run}/approvals", self.list_approvals),
            ("GET", f"{one_run}/pending_deployments", self.list_pending),
            ("POST", f"{one_run}/pending_deployments", self.review),
            ("GET", f"{one_run}/jobs", self.list_jobs),
            ("POST", f"{one_run}/cancel", self.cancel),
            ("POST", f"{one_run}/rerun", self.rerun),
        ]
        for method, rule, view in routes:
            self.blueprint.add_url_rule(rule, f"{method} {rule}".replace(".", ""), view, methods=[method])

    def _before(self) -> None:
        version = request.headers.get("X-GitHub-Api-Version", OLD_VERSION)
        if version not in self.versions:
            raise RefusedError(400, f"API version '{version}' is not supported.")

    @property
    def _base(self) -> str:
        return self._state.base_url

    # --- who is asking -----------------------------------------------------------------------------------

    def _caller(self) -> Credential:
        return auth.authenticate(self._state, request.headers.get("Authorization"))

    def _app(self) -> GitHubApp:
        return auth.authenticate_app(self._state, request.headers.get("Authorization"))

    def _reach(self, owner: str, name: str, permission: str, level: str) -> tuple[Credential, Repository]:
        caller = self._caller()
        repository = auth.reach(self._state, caller, f"{owner}/{name}")
        auth.require(caller, permission, level)
        return caller, repository

    def _reach_run(self, owner: str, name: str, run_id: int, level: str = "read") -> tuple[Credential, Run]:
        caller, repository = self._reach(owner, name, "actions", level)
        return caller, self._state.run(run_id, repository)

    # --- Apps and accounts -------------------------------------------------------------------------------

    def get_app(self) -> Response:
        """`GET /app`."""
        return jsonify(answers.app(self._base, self._app()))

    def get_installation(self, owner: str, name: str) -> Response:
        """`GET /repos/{owner}/{repo}/installation`."""
        app = self._app()
        repository = self._state.repository(f"{owner}/{name}")
        if app.repositories is not None and repository.full_name not in app.repositories:
            raise RefusedError(404, "Not Found")
        return jsonify(answers.installation(self._base, app))

    def create_token(self, installation_id: int) -> tuple[Response, int]:
        """`POST /app/installations/{installation_id}/access_tokens`."""
        app = self._app()
        if app.installation_id != installation_id:
            raise RefusedError(404, "Not Found")
        if app.suspended:
            raise RefusedError(403, "This installation has been suspended")
        token, credential = auth.new_installation_token(self._state, app, json_body(required=False))
        answer = {
            "token": token,
            "expires_at": answers.stamp(credential.expires_at or self._state.clock()),
            "permissions": {"metadata": "read", **credential.permissions},
            "repository_selection": "all" if credential.repositories is None else "selected",
        }
        return jsonify(answer), 201

    def get_me(self) -> Response:
        """`GET /user`; not for installation tokens."""
        caller = self._caller()
        if caller.app:
            raise RefusedError(403, "Resource not accessible by integration")
        return jsonify(answers.public_user(self._base, caller.user))

    def get_user(self, login: str) -> Response:
        """`GET /users/{username}`."""
        self._caller()
        return jsonify(answers.public_user(self._base, self._state.user(login)))

    def get_membership(self, org: str, slug: str, login: str) -> Response:
        """`GET /orgs/{org}/teams/{team_slug}/memberships/{username}`; 404 for who is no member."""
        auth.require(self._caller(), "members", "read")
        team = self._state.team(org, slug)
        if login.lower() not in {member.login.lower() for member in self._state.members(team)}:
            raise RefusedError(404, "Not Found")
        url = f"{self._base}/orgs/{team.org}/teams/{team.slug}/memberships/{login}"
        return jsonify({"url": url, "role": "member", "state": "active"})

    def list_members(self, org: str, slug: str) -> Response:
        """`GET /orgs/{org}/teams/{team_slug}/members`."""
        auth.require(self._caller(), "members", "read")
        members, link = page_of(self._state.members(self._state.team(org, slug)))
        return linked(jsonify([answers.user(self._base, member) for member in members]), link)

    # --- repositories ------------------------------------------------------------------------------------

    def get_repository(self, owner: str, name: str) -> Response:
        """`GET /repos/{owner}/{repo}`."""
        _, repository = self._reach(owner, name, "metadata", "read")
        return jsonify(answers.full_repository(self._base, repository))

    def get_environment(self, owner: str, name: str, environment: str) -> Response:
        """`GET /repos/{owner}/{repo}/environments/{environment_name}`, and its `deployment-branch-policies`.

        One route: werkzeug decodes %2F before it matches, and an environment's name may hold a slash.
        """
        _, repository = self._reach(owner, name, "actions", "read")
        wanted, policies = re.fullmatch(
            r"(.*?)(/deployment-branch-policies)?", environment, re.DOTALL
        ).groups()  # type: ignore[union-attr]
        place = self._state.environment(repository, wanted)
        if policies:
            return jsonify(answers.branch_policies(place))
        return jsonify(answers.environment(self._base, repository, place))

    def list_branch_rules(self, owner: str, name: str, branch: str) -> Response:
        """`GET /repos/{owner}/{repo}/rules/branches/{branch}`; the branch need not exist."""
        _, repository = self._reach(owner, name, "metadata", "read")
        if repository.private and repository.plan == "free":
            raise RefusedError(
                403, "Upgrade to GitHub Pro or make this repository public to enable this feature."
            )
        page, link = page_of(answers.branch_rules(repository, branch), repository.id)
        return linked(jsonify(page), link)

    def _workflow(self, repository: Repository, file: str) -> Workflow:
        for workflow in repository.workflows.values():
            if file in {workflow.file, str(workflow.id)}:
                return workflow
        raise RefusedError(404, "Not Found")

    def get_workflow(self, owner: str, name: str, file: str) -> Response:
        """`GET …/actions/workflows/{workflow_id}`."""
        _, repository = self._reach(owner, name, "actions", "read")
        return jsonify(run_answers.workflow(self._base, repository, self._workflow(repository, file)))

    def dispatch(self, owner: str, name: str, file: str) -> tuple[Response, int]:
        """`POST …/actions/workflows/{workflow_id}/dispatches`."""
        caller, repository = self._reach(owner, name, "actions", "write")
        workflow, body = self._workflow(repository, file), json_body()
        version = request.headers.get("X-GitHub-Api-Version", OLD_VERSION)
        known = {"ref", "inputs"}
        if version == OLD_VERSION and self.run_details != "refused":
            known.add("return_run_details")
        for key in body.keys() - known:
            raise RefusedError(422, f'Invalid request.\n\n"{key}" is not a permitted key.')
        if not isinstance(body.get("ref"), str) or not isinstance(body.get("inputs", {}), dict):
            raise RefusedError(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
        run = self._runs.dispatch(
            repository, workflow, ref=body["ref"], inputs=body.get("inputs", {}), actor=caller.user
        )
        wanted = self.run_details == "supported" and body.get("return_run_details") is True
        if version == OLD_VERSION and not wanted:
            return nothing(204), 204
        run_url, html_url = run_answers.run_links(self._base, run)
        return jsonify({"workflow_run_id": run.id, "run_url": run_url, "html_url": html_url}), 200

    # --- runs --------------------------------------------------------------------------------------------

    def list_runs(self, owner: str, name: str, file: str | None = None) -> Response:
        """`GET …/actions/workflows/{workflow_id}/runs` and `GET …/actions/runs`, newest first."""
        _, repository = self._reach(owner, name, "actions", "read")
        workflow = self._workflow(repository, file) if file else None
        asked = request.args
        searched = any(
            key in asked
            for key in ("actor", "branch", "check_suite_id", "created", "event", "head_sha", "status")
        )
        hidden = self.not_searched if self.searches else None
        until = self._state.clock() - self.listed_after
        found = [
            run
            for run in reversed(self._state.runs)
            if run.repository is repository
            and run.created_at <= until
            and workflow in {None, run.workflow}
            and (not searched or (hidden is not None and str(run.id) not in hidden))
        ]
        for wanted in _filters(asked):
            found = [run for run in found if wanted(run)]
        page, link = page_of(found[:MAX_SEARCH] if searched else found, repository.id)
        answer = {
            "total_count": len(found),
            "workflow_runs": [run_answers.run(self._base, run) for run in page],
        }
        return linked(jsonify(answer), link)

    def get_run(self, owner: str, name: str, run_id: int) -> Response:
        """`GET …/actions/runs/{run_id}`."""
        _, run = self._reach_run(owner, name, run_id)
        return jsonify(run_answers.run(self._base, run))

    def list_approvals(self, owner: str, name: str, run_id: int) -> Response:
        """`GET …/approvals`: all attempts' reviews, unpaginated."""
        _, run = self._reach_run(owner, name, run_id)
        return jsonify([run_answers.approval(self._base, run, review) for review in run.approvals])

    def list_pending(self, owner: str, name: str, run_id: int) -> Response:
        """`GET …/pending_deployments`."""
        caller, run = self._reach_run(owner, name, run_id)
        pending = [
            run_answers.pending_deployment(
                self._base, run, place, can_approve=self._runs.may_review(run, place, caller.user)
            )
            for place in (job.environment for job in run.held_jobs())
            if place
        ]
        return jsonify(pending)

    def review(self, owner: str, name: str, run_id: int) -> Response:
        """`POST …/pending_deployments`; not enabled for GitHub Apps."""
        caller, repository = self._reach(owner, name, "deployments", "write")
        if caller.app:
            raise RefusedError(403, "Resource not accessible by integration")
        run, body = self._state.run(run_id, repository), json_body()
        ids, verdict = body.get("environment_ids"), body.get("state")
        if (
            not isinstance(ids, list)
            or verdict not in {"approved", "rejected"}
            or not isinstance(body.get("comment"), str)
        ):
            raise RefusedError(422, "Invalid request.")
        names = [place.name for place in repository.environments.values() if place.id in ids]
        jobs = self._runs.review(
            run, names, caller.user, approve=verdict == "approved", comment=body["comment"]
        )
        return jsonify([run_answers.deployment(self._base, run, job) for job in jobs])

    def list_jobs(self, owner: str, name: str, run_id: int) -> Response:
        """`GET …/jobs`, of the latest attempt unless `filter=all`."""
        _, run = self._reach_run(owner, name, run_id)
        jobs = run.jobs if request.args.get("filter") == "all" else run.latest_jobs()
        page, link = page_of(jobs, run.repository.id)
        answer = {"total_count": len(jobs), "jobs": [run_answers.job(self._base, run, job) for job in page]}
        return linked(jsonify(answer), link)

    def cancel(self, owner: str, name: str, run_id: int) -> tuple[Response, int]:
        """`POST …/cancel`."""
        _, run = self._reach_run(owner, name, run_id, "write")
        self._runs.cancel(run)
        return jsonify({}), 202

    def rerun(self, owner: str, name: str, run_id: int) -> tuple[Response, int]:
        """`POST …/rerun`."""
        caller, run = self._reach_run(owner, name, run_id, "write")
        self._runs.rerun(run, caller.user)
        return jsonify({}), 201


def _filters(asked: Mapping[str, str]) -> Iterator[Callable[[Run], bool]]:
    """What a list of runs was asked to show; what costs most for each run comes last."""
    if within := asked.get("created"):
        is_within = created_filter(within)
        yield lambda run: is_within(run.created_at)
    if "event" in asked:
        yield lambda run: run.event == asked["event"]
    if "actor" in asked:
        yield lambda run: run.actor.login.lower() == asked["actor"].lower()
    if "branch" in asked:
        yield lambda run: run.head_branch == asked["branch"]
    if "status" in asked:
        status = asked["status"]
        if status in UNFINISHED:
            yield lambda run: run.status == status
        else:
            yield lambda run: status in {run.status, run.conclusion}


def problem(error: RefusedError) -> tuple[Response, int]:
    """A refusal in GitHub's form."""
    answer = {
        "message": error.message,
        "documentation_url": "https://docs.github.com/rest",
        "status": str(error.status),
    }
    return jsonify(answer | ({"errors": error.errors} if error.errors else {})), error.status


def nothing(status: int) -> Response:
    """An answer without a body."""
    answer = Response(status=status)
    answer.headers.pop("Content-Type", None)
    return answer


def json_body(*, required: bool = True) -> dict[str, Any]:
    """The JSON object of the request in hand; an empty one without a body, where it is not required."""
    raw = request.get_data()
    if not raw and not required:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise RefusedError(400, "Problems parsing JSON") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "Body should be a JSON object")
    return body


def with_etag(answer: Response) -> Response:
    """Give GETs a weak ETag and answer 304 to who has it already (docs "Best practices for using the REST API").

    It holds for one token: an App's next one is told everything anew (GitHub's support in eclipse-csi/otterdog#201).
    """
    version = request.headers.get("X-GitHub-Api-Version", OLD_VERSION)
    answer.headers["X-GitHub-Api-Version-Selected"] = version
    if request.method != "GET" or answer.status_code != 200:  # noqa: PLR2004 - OK
        return answer
    told = f"{request.headers.get('Authorization')} {answer.get_data(as_text=True)}"
    etag = f'W/"{hashlib.sha256(told.encode()).hexdigest()}"'
    answer.headers["ETag"] = etag
    if request.headers.get("If-None-Match") == etag:
        answer.set_data(b"")
        answer.status_code = 304
        answer.headers.pop("Content-Type", None)
    return answer
