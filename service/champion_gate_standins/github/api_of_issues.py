"""The endpoints of the GitHub stand-in beside a pull request: timeline, comments, commit statuses, people's permissions."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from champion_gate_standins.github import auth, history, pull_answers
from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.api import json_body, with_etag
from champion_gate_standins.github.api_of_pulls import pull_of
from champion_gate_standins.github.commits import Commit, Status
from champion_gate_standins.github.lists import linked, page_of, text_of
from champion_gate_standins.github.pulls import Pulls
from champion_gate_standins.github.repositories import Repository
from champion_gate_standins.github.state import Credential, State

_STATES = {"error", "failure", "pending", "success"}
_MOST_STATUSES = 1000
_LONGEST_COMMENT, _LONGEST_DESCRIPTION = 65_536, 140


class IssuesApi:
    """The endpoints, over the state."""

    def __init__(self, state: State, pulls: Pulls) -> None:
        self._state = state
        self._pulls = pulls
        self.blueprint = Blueprint("issues", __name__)
        self.blueprint.after_request(with_etag)
        repo = "/repos/<owner>/<name>"
        for method, rule, view in (
            ("GET", f"{repo}/issues/<int:number>/timeline", self.list_timeline),
            ("GET", f"{repo}/issues/<int:number>/comments", self.list_comments),
            ("POST", f"{repo}/issues/<int:number>/comments", self.add_comment),
            ("POST", f"{repo}/statuses/<sha>", self.add_status),
            ("GET", f"{repo}/commits/<path:ref>/statuses", self.list_statuses),
            ("GET", f"{repo}/collaborators/<login>/permission", self.get_permission),
        ):
            self.blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    def _issue(self, owner: str, name: str, level: str = "read") -> tuple[Credential, Repository]:
        """A pull request is an issue too: either permission will do."""
        public = level == "read"
        return auth.enter(
            self._state, f"{owner}/{name}", "issues", "pull_requests", level=level, public=public
        )

    def list_timeline(self, owner: str, name: str, number: int) -> Response:
        """`GET …/issues/{issue_number}/timeline`, oldest first; commits that were pushed away are gone from it."""
        _, repository = self._issue(owner, name)
        one = pull_of(repository, number)
        there = history.ancestry(repository, one.head_sha)
        shown = [each for each in one.timeline if not isinstance(each, Commit) or each.sha in there]
        page, link = page_of(shown, repository.id)
        base = self._state.base_url
        return linked(jsonify([pull_answers.happening(base, repository, one, each) for each in page]), link)

    def list_comments(self, owner: str, name: str, number: int) -> Response:
        """`GET …/issues/{issue_number}/comments`, oldest first."""
        _, repository = self._issue(owner, name)
        one = pull_of(repository, number)
        page, link = page_of(one.comments, repository.id)
        base = self._state.base_url
        return linked(jsonify([pull_answers.comment(base, repository, one, each) for each in page]), link)

    def add_comment(self, owner: str, name: str, number: int) -> tuple[Response, int]:
        """`POST …/issues/{issue_number}/comments`."""
        caller, repository = self._issue(owner, name, "write")
        one, text = pull_of(repository, number), text_of(json_body(), "body")
        if not text or len(text) > _LONGEST_COMMENT:
            raise RefusedError(422, "Validation Failed")
        made = self._pulls.comment(one, text, caller.user)
        return jsonify(pull_answers.comment(self._state.base_url, repository, one, made)), 201

    def add_status(self, owner: str, name: str, sha: str) -> tuple[Response, int]:
        """`POST …/statuses/{sha}`."""
        caller, repository = auth.enter(self._state, f"{owner}/{name}", "statuses", level="write")
        body = json_body()
        if sha not in repository.commits and sha not in repository.branches.values():
            raise RefusedError(422, f"No commit found for SHA: {sha}")
        if len(str(body.get("description") or "")) > _LONGEST_DESCRIPTION:
            raise RefusedError(
                422, "Validation Failed", ["description is too long (maximum is 140 characters)"]
            )
        if body.get("state") not in _STATES:
            raise RefusedError(422, "Validation Failed")
        context = str(body.get("context", "default"))
        earlier = [each for each in repository.statuses if (each.sha, each.context) == (sha, context)]
        if len(earlier) >= _MOST_STATUSES:
            raise RefusedError(422, "Validation Failed")
        made = Status(
            id=self._state.new_id(),
            sha=sha,
            state=body["state"],
            context=context,
            description=body.get("description"),
            target_url=body.get("target_url"),
            creator=caller.user,
            at=self._state.clock(),
        )
        repository.statuses.append(made)
        return jsonify(pull_answers.status(self._state.base_url, repository, made)), 201

    def list_statuses(self, owner: str, name: str, ref: str) -> Response:
        """`GET …/commits/{ref}/statuses`, newest first."""
        _, repository = auth.enter(self._state, f"{owner}/{name}", "statuses", public=True)
        sha = repository.branches.get(ref, ref)
        found = [each for each in reversed(repository.statuses) if each.sha == sha]
        page, link = page_of(found, repository.id)
        base = self._state.base_url
        return linked(jsonify([pull_answers.status(base, repository, each) for each in page]), link)

    def get_permission(self, owner: str, name: str, login: str) -> Response:
        """`GET …/collaborators/{username}/permission`, also of who is no collaborator; Apps are no users."""
        _, repository = auth.enter(self._state, f"{owner}/{name}", "metadata")
        who = self._state.user(login)
        if who.type != "User":
            raise RefusedError(404, f"{login} is not a user")
        return jsonify(pull_answers.permission(self._state.base_url, repository, who))
