"""Whether a pipeline that GitLab answers 404 for was deleted, or is merely hidden from us."""

from __future__ import annotations

from datetime import timedelta

from champion_gate.adapters.gitlab.api import ProjectApi
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.errors import RequestGoneError, VendorNotFoundError

_AROUND_START = timedelta(hours=1)


def check_gone(api: ProjectApi, pipeline_id: str, request: ApprovalRequest) -> None:
    """Raise RequestGoneError if the pipeline is not there, nor in the list of its project's pipelines.

    Raises:
        VendorError: the project or its pipelines cannot be read.
    """
    try:
        api.pipeline(pipeline_id)
    except VendorNotFoundError:
        if api.project().id != request.pins.get("project_id"):
            return
        since = request.intent_at - _AROUND_START
        until = (request.opened_at or request.intent_at) + _AROUND_START
        if all(one.id != pipeline_id for one in api.all_pipelines(since, until)):
            raise RequestGoneError(
                "GitLab",
                f"pipeline {pipeline_id} is gone: it was deleted, and project {api.spot.project} does not list it "
                "any more.",
            ) from None
