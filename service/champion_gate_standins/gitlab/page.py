"""The GitLab stand-in's page of a pipeline: what is asked, and buttons to run the gated job or cancel."""

from __future__ import annotations

import base64
import binascii

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from champion_gate_standins.common.ci_page import is_foreign_form, page
from champion_gate_standins.common.markdown_page import render
from champion_gate_standins.gitlab.pipelines import Pipelines
from champion_gate_standins.gitlab.state import Pipeline, RefusedError, State


class PipelinePage:
    """Pages at the places that `web_url` names."""

    def __init__(self, state: State, ci: Pipelines) -> None:
        self._state = state
        self._ci = ci
        self.blueprint = Blueprint("pages", __name__, template_folder="../templates")
        rule = "/<path:project>/-/pipelines/<int:pipeline_id>"
        self.blueprint.add_url_rule(rule, "show", self.show)
        self.blueprint.add_url_rule(rule, "act", self.act, methods=["POST"])

    def _pipeline(self, project: str, pipeline_id: int) -> Pipeline:
        pipeline = self._state.pipeline(pipeline_id)
        if pipeline.project.path != project:
            raise RefusedError(404, "404 Not Found")
        return pipeline

    def show(self, project: str, pipeline_id: int) -> Response:
        """The pipeline as it stands."""
        return self._page(self._pipeline(project, pipeline_id))

    def act(self, project: str, pipeline_id: int) -> BaseResponse:
        """Run the gated job or cancel the pipeline as the chosen person, then show it."""
        pipeline = self._pipeline(project, pipeline_id)
        try:
            self._take(pipeline)
        except RefusedError as error:
            return self._page(pipeline, problem=error)
        return redirect(request.script_root + request.path, 303)

    def _take(self, pipeline: Pipeline) -> None:
        if is_foreign_form():
            raise RefusedError(403, "This form was posted from another site.")
        user = self._state.user(request.form.get("login", ""))
        if request.form.get("verdict") == "cancel":
            if not self._ci.may_cancel(pipeline, user):
                raise RefusedError(403, "403 Forbidden")
            self._ci.cancel(pipeline)
        elif request.form.get("verdict") == "play":
            job = next((job for job in pipeline.latest_jobs() if job.name == self._ci.gated_job), None)
            if job is None:
                raise RefusedError(404, "404 Not Found")
            self._ci.play(job, user)
        else:
            raise RefusedError(422, "Choose to run the job or to cancel.")

    def _page(self, pipeline: Pipeline, problem: RefusedError | None = None) -> Response:
        gated = [job for job in pipeline.latest_jobs() if job.name == self._ci.gated_job]
        waiting = next((job for job in gated if job.status == "manual"), None)
        everybody = list(self._state.users.values())
        people = [user for user in everybody if waiting is not None and self._ci.may_play(waiting, user)]
        return page(
            "gitlab_pipeline.html",
            problem.status if problem else 200,
            pipeline=pipeline,
            waiting=waiting,
            people=people,
            evidence=render(_evidence(pipeline)),
            problem=problem,
        )


def _evidence(pipeline: Pipeline) -> str:
    try:
        return base64.b64decode(pipeline.inputs.get("evidence_base64", ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
