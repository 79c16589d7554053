"""The GitHub stand-in's pages of pull requests: those that are open, and one with its file, its reviews and a form."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from champion_gate_standins.common.ci_page import is_foreign_form, page
from champion_gate_standins.common.markdown_page import render
from champion_gate_standins.github import history
from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.api_of_pulls import pull_of
from champion_gate_standins.github.commits import Comment, Review
from champion_gate_standins.github.people import People
from champion_gate_standins.github.repositories import PullRequest, Repository, may
from champion_gate_standins.github.state import State


class PullPage:
    """Pages at the places that `html_url` names."""

    def __init__(self, state: State, people: People) -> None:
        self._state = state
        self._people = people
        self.blueprint = Blueprint("pull_pages", __name__, template_folder="../templates")
        here = "/<owner>/<name>"
        self.blueprint.add_url_rule(f"{here}/pulls", "list", self.list_open)
        self.blueprint.add_url_rule(f"{here}/pull/<int:number>", "show", self.show)
        self.blueprint.add_url_rule(f"{here}/pull/<int:number>", "act", self.act, methods=["POST"])

    def list_open(self, owner: str, name: str) -> Response:
        """The open pull requests, newest first."""
        found = self._state.repository(f"{owner}/{name}")
        pulls = [one for one in reversed(found.pulls) if one.state == "open"]
        return page("github_pulls.html", 200, repository=found, pulls=pulls)

    def show(self, owner: str, name: str, number: int) -> Response:
        """The pull request as it stands."""
        found = self._state.repository(f"{owner}/{name}")
        return self._page(found, pull_of(found, number))

    def act(self, owner: str, name: str, number: int) -> BaseResponse:
        """Do what was pressed as the chosen person, then show it; a form that another site posted is refused."""
        found = self._state.repository(f"{owner}/{name}")
        pull = pull_of(found, number)
        try:
            self._take(found, pull)
        except RefusedError as error:
            return self._page(found, pull, error)
        return redirect(request.path, 303)

    def _take(self, repository: Repository, pull: PullRequest) -> None:
        form, name = request.form, repository.full_name
        login, text = form.get("login", ""), form.get("comment", "")
        act = form.get("act", "")
        if is_foreign_form():
            raise RefusedError(403, "This form was posted from another site.")
        if act in {"APPROVE", "REQUEST_CHANGES", "COMMENT"}:
            self._people.review(name, pull.number, login, act, text)
        elif act == "close":
            self._people.close(name, pull.number, login)
        elif act == "reopen":
            self._people.reopen(name, pull.number, login)
        elif act == "merge":
            self._people.merge(name, pull.number, login)
        else:
            raise RefusedError(422, "Choose what to do.")

    def _page(
        self, repository: Repository, pull: PullRequest, problem: RefusedError | None = None
    ) -> Response:
        before = history.fork_point(repository, pull.base_sha, pull.head_sha).files
        after = history.commit_of(repository, pull.head_sha).files
        shown = (one for one in pull.timeline if isinstance(one, (Review, Comment)))
        return page(
            "github_pull.html",
            problem.status if problem else 200,
            repository=repository,
            pull=pull,
            files={path: render(after.get(path, "")) for path in history.changes(before, after)},
            people=[
                one
                for one in self._state.users.values()
                if one.type == "User" and one is not pull.user and may(repository, one, "read")
            ],
            text=render(pull.body),
            said=list(shown),
            statuses={one.context: one for one in repository.statuses if one.sha == pull.head_sha},
            problem=problem,
            told="; ".join(map(str, problem.errors)) or problem.message if problem else "",
        )
