"""The GitHub stand-in's page of a run: what is asked, and a form to approve or reject it."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from champion_gate_standins.common.ci_page import is_foreign_form, page
from champion_gate_standins.common.markdown_page import render
from champion_gate_standins.github.accounts import RefusedError, User
from champion_gate_standins.github.runs import Runs
from champion_gate_standins.github.state import Run, State


class RunPage:
    """Pages at the places that `html_url` names."""

    def __init__(self, state: State, runs: Runs) -> None:
        self._state = state
        self._runs = runs
        self.blueprint = Blueprint("pages", __name__, template_folder="../templates")
        rule = "/<owner>/<name>/actions/runs/<int:run_id>"
        self.blueprint.add_url_rule(rule, "show", self.show)
        self.blueprint.add_url_rule(rule, "review", self.review, methods=["POST"])

    def _run(self, owner: str, name: str, run_id: int) -> Run:
        return self._state.run(run_id, self._state.repository(f"{owner}/{name}"))

    def show(self, owner: str, name: str, run_id: int) -> Response:
        """The run as it stands."""
        return self._page(self._run(owner, name, run_id))

    def review(self, owner: str, name: str, run_id: int) -> BaseResponse:
        """Approve or reject as the chosen reviewer, then show the run.

        A form that another site posted is refused.
        """
        run = self._run(owner, name, run_id)
        try:
            self._take(run)
        except RefusedError as error:
            return self._page(run, problem=error)
        return redirect(request.path, 303)

    def _take(self, run: Run) -> None:
        form = request.form
        if is_foreign_form():
            raise RefusedError(403, "This form was posted from another site.")
        if form.get("verdict") not in {"approve", "reject"}:
            raise RefusedError(422, "Choose Approve or Reject.")
        if not form.getlist("environment"):
            raise RefusedError(422, "Choose at least one environment.")
        self._runs.review(
            run,
            form.getlist("environment"),
            self._state.user(form.get("login", "")),
            approve=form["verdict"] == "approve",
            comment=form.get("comment", ""),
        )

    def _page(self, run: Run, problem: RefusedError | None = None) -> Response:
        waiting = [job.environment for job in run.waiting_jobs() if job.environment]
        people: dict[int, User] = {person.id: person for place in waiting for person in place.people()}
        return page(
            "github_run.html",
            problem.status if problem else 200,
            run=run,
            waiting=waiting,
            people=list(people.values()),
            evidence=render(run.inputs.get("evidence", "")),
            problem=problem,
        )
