"""The endpoints of the GitHub stand-in for pull requests and their reviews."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.github import auth, pull_answers
from champion_gate_standins.github.accounts import RefusedError, Team, User
from champion_gate_standins.github.api import json_body, with_etag
from champion_gate_standins.github.commits import Review
from champion_gate_standins.github.lists import linked, page_of, text_of
from champion_gate_standins.github.pulls import STATES, Pulls
from champion_gate_standins.github.repositories import PullRequest, Repository
from champion_gate_standins.github.state import Credential, State


class PullsApi:
    """The endpoints, over the state."""

    def __init__(self, state: State, pulls: Pulls) -> None:
        self._state = state
        self._pulls = pulls
        self.blueprint = Blueprint("pulls", __name__)
        self.blueprint.after_request(with_etag)
        many = "/repos/<owner>/<name>/pulls"
        one = f"{many}/<int:number>"
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", many, self.list_pulls),
            ("POST", many, self.open),
            ("GET", one, self.get),
            ("PATCH", one, self.change),
            ("PUT", f"{one}/merge", self.merge),
            ("POST", f"{one}/requested_reviewers", self.request_reviewers),
            ("GET", f"{one}/reviews", self.list_reviews),
            ("POST", f"{one}/reviews", self.review),
            ("PUT", f"{one}/reviews/<int:review_id>/dismissals", self.dismiss),
        ]
        for method, rule, view in routes:
            self.blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    def _repository(self, owner: str, name: str, level: str = "read") -> tuple[Credential, Repository]:
        public = level == "read"
        return auth.enter(self._state, f"{owner}/{name}", "pull_requests", level=level, public=public)

    def _reach(
        self, owner: str, name: str, number: int, level: str = "read"
    ) -> tuple[Credential, Repository, PullRequest]:
        caller, repository = self._repository(owner, name, level)
        return caller, repository, pull_of(repository, number)

    def _told(self, repository: Repository, one: PullRequest) -> Response:
        return jsonify(pull_answers.full_pull_request(self._state.base_url, repository, one))

    # --- pull requests -----------------------------------------------------------------------------------------

    def list_pulls(self, owner: str, name: str) -> Response:
        """`GET …/pulls`: open ones unless `state` asks for others; `head` without an owner filters nothing."""
        _, repository = self._repository(owner, name)
        asked = request.args
        head = asked.get("head", "")
        found = [
            one
            for one in repository.pulls
            if asked.get("state", "open") in {one.state, "all"}
            and asked.get("base", one.base) == one.base
            and (":" not in head or head == f"{one.origin.owner.login}:{one.head}")
        ]
        by_update = asked.get("sort") == "updated"
        found.sort(key=lambda one: one.updated_at if by_update else one.created_at)
        if asked.get("direction", "asc" if by_update else "desc") == "desc":
            found.reverse()
        page, link = page_of(found, repository.id)
        told = [pull_answers.pull_request(self._state.base_url, repository, one) for one in page]
        return linked(jsonify(told), link)

    def open(self, owner: str, name: str) -> tuple[Response, int]:
        """`POST …/pulls`."""
        caller, repository = self._repository(owner, name, "write")
        body = json_body()
        account, _, head = text_of(body, "head").rpartition(":")
        base, title, draft = text_of(body, "base"), text_of(body, "title"), body.get("draft") is True
        origin = self._fork(repository, account) if account else repository
        body_text = str(body.get("body") or "")
        one = self._pulls.open(
            repository, head, base, caller.user, title=title, body=body_text, draft=draft, origin=origin
        )
        return self._told(repository, one), 201

    def _fork(self, repository: Repository, account: str) -> Repository:
        for one in self._state.repositories.values():
            if one.commits is repository.commits and one.owner.login.lower() == account.lower():
                return one
        raise RefusedError(
            422, "Validation Failed", [{"resource": "PullRequest", "field": "head", "code": "invalid"}]
        )

    def get(self, owner: str, name: str, number: int) -> Response:
        """`GET …/pulls/{pull_number}`."""
        _, repository, one = self._reach(owner, name, number)
        return self._told(repository, one)

    def change(self, owner: str, name: str, number: int) -> Response:
        """`PATCH …/pulls/{pull_number}`: title, body, base, and whether it is open."""
        caller, repository, one = self._reach(owner, name, number, "write")
        body = json_body()
        texts = {key: text_of(body, key) for key in ("title", "body", "base") if key in body}
        if body.get("state", "open") not in {"open", "closed"}:
            raise RefusedError(422, "Validation Failed")
        self._pulls.edit(repository, one, caller.user, **texts)
        if "state" in body:
            act = self._pulls.reopen if body["state"] == "open" else self._pulls.close
            act(repository, one, caller.user)
        return self._told(repository, one)

    def merge(self, owner: str, name: str, number: int) -> Response:
        """`PUT …/pulls/{pull_number}/merge`, which writes to a branch and so needs "contents"."""
        caller, repository = auth.enter(self._state, f"{owner}/{name}", "contents", level="write")
        body = json_body(required=False)
        sha = self._pulls.merge(
            repository,
            pull_of(repository, number),
            caller.user,
            sha=body.get("sha"),
            method=str(body.get("merge_method", "merge")),
            message=body.get("commit_title"),
        )
        return jsonify({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})

    def request_reviewers(self, owner: str, name: str, number: int) -> tuple[Response, int]:
        """`POST …/requested_reviewers`."""
        caller, repository, one = self._reach(owner, name, number, "write")
        body = json_body()
        people: list[User | Team] = []
        try:
            people += [self._state.user(str(login)) for login in body.get("reviewers") or ()]
            org = repository.owner.login
            people += [self._state.team(org, str(slug)) for slug in body.get("team_reviewers") or ()]
        except RefusedError:
            raise RefusedError(
                422,
                "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not"
                f" a collaborator of the {repository.full_name} repository.",
            ) from None
        self._pulls.request_reviews(repository, one, people, caller.user)
        return jsonify(pull_answers.pull_request(self._state.base_url, repository, one)), 201

    # --- reviews -----------------------------------------------------------------------------------------------

    def list_reviews(self, owner: str, name: str, number: int) -> Response:
        """`GET …/reviews`, oldest first; nobody is shown what another has not submitted yet."""
        caller, repository, one = self._reach(owner, name, number)
        seen = [each for each in one.reviews if each.state != "PENDING" or each.user is caller.user]
        seen.sort(key=lambda each: each.submitted_at or self._state.clock())
        page, link = page_of(seen, repository.id)
        return linked(jsonify([self._review(repository, one, each) for each in page]), link)

    def review(self, owner: str, name: str, number: int) -> Response:
        """`POST …/reviews`; pending without an `event`."""
        caller, repository, one = self._reach(owner, name, number, "write")
        body = json_body()
        event = body.get("event")
        if event is not None and event not in STATES:
            raise RefusedError(422, "Unprocessable Entity", ["Variable $event was provided invalid value"])
        text, commit = str(body.get("body") or ""), body.get("commit_id")
        made = self._pulls.review(repository, one, caller.user, event, body=text, commit_id=commit)
        return jsonify(self._review(repository, one, made))

    def dismiss(self, owner: str, name: str, number: int, review_id: int) -> Response:
        """`PUT …/reviews/{review_id}/dismissals`."""
        caller, repository, one = self._reach(owner, name, number, "write")
        found = review_of(one, review_id)
        self._pulls.dismiss(repository, one, found, text_of(json_body(), "message"), caller.user)
        return jsonify(self._review(repository, one, found))

    def _review(self, repository: Repository, one: PullRequest, review: Review) -> Mapping[str, object]:
        return pull_answers.review(self._state.base_url, repository, one, review)


def pull_of(repository: Repository, number: int) -> PullRequest:
    """A pull request by number; RefusedError 404 without one."""
    for one in repository.pulls:
        if one.number == number:
            return one
    raise RefusedError(404, "Not Found")


def review_of(pull: PullRequest, review_id: int) -> Review:
    """A review by id; RefusedError 404 without one."""
    for one in pull.reviews:
        if one.id == review_id:
            return one
    raise RefusedError(404, "Not Found")
