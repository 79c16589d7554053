"""The endpoints of the GitLab stand-in that tell how things are set: a project's webhook and its files, under /api/v4."""

from __future__ import annotations

import base64
import hashlib

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.gitlab import auth
from champion_gate_standins.gitlab.answers import stamp
from champion_gate_standins.gitlab.lists import listed, page_of
from champion_gate_standins.gitlab.state import MAINTAINER, REPORTER, Project, RefusedError, State
from champion_gate_standins.gitlab.webhooks import Delivery, Webhooks

HOOK_ID = 1


class SettingsApi:
    """The endpoints, over the state."""

    def __init__(self, state: State, webhooks: Webhooks) -> None:
        self._state = state
        self._webhooks = webhooks
        self.blueprint = Blueprint("settings", __name__, url_prefix="/api/v4")
        one = "/projects/<int:project_id>"
        for rule, view in (
            (f"{one}/hooks", self.list_hooks),
            (f"{one}/hooks/<int:hook_id>/events", self.list_events),
            (f"{one}/repository/files/<path:path>", self.get_file),
        ):
            self.blueprint.add_url_rule(rule, rule, view)

    def _reach(self, project_id: int, level: int) -> Project:
        token = auth.authenticate(self._state, dict(request.headers))
        auth.require_scope(token, writes=False)
        project = auth.reach(self._state, token, project_id)
        auth.require_role(token, project, level)
        return project

    def list_hooks(self, project_id: int) -> Response:
        """`GET /projects/:id/hooks`, for Maintainers."""
        project, hook = self._reach(project_id, MAINTAINER), self._webhooks
        told = {
            "id": HOOK_ID,
            "url": hook.url,
            "project_id": project.id,
            "created_at": stamp(project.created_at),
            **hook.told,
        }
        page, headers = page_of([told] if hook.url else [])
        return listed(list(page), headers)

    def list_events(self, project_id: int, hook_id: int) -> Response:
        """`GET /projects/:id/hooks/:hook_id/events`, newest first."""
        self._reach(project_id, MAINTAINER)
        if hook_id != HOOK_ID:
            raise RefusedError(404, "404 Not found")
        page, headers = page_of([self._event(each) for each in reversed(self._webhooks.deliveries)])
        return listed(list(page), headers)

    def _event(self, one: Delivery) -> dict[str, object]:
        return {
            "id": one.id,
            "url": self._webhooks.url,
            "trigger": f"{one.name.partition(' ')[0].lower()}_hooks",
            "request_headers": {"X-Gitlab-Event": one.name},
            "request_data": {},
            "response_headers": {},
            "response_body": "",
            "execution_duration": 0.1,
            "response_status": one.result if one.result.isdigit() else "internal error",
        }

    def get_file(self, project_id: int, path: str) -> Response:
        """`GET /projects/:id/repository/files/:file_path?ref=`."""
        project = self._reach(project_id, REPORTER)
        ref = request.args.get("ref")
        if ref is None:
            raise RefusedError(400, "ref is missing", key="error")
        text = project.files.get(ref, {}).get(path)
        if text is None:
            raise RefusedError(404, "404 File Not Found")
        content = text.encode()
        answer = {
            "file_name": path.rpartition("/")[2],
            "file_path": path,
            "size": len(content),
            "encoding": "base64",
            "content_sha256": hashlib.sha256(content).hexdigest(),
            "ref": ref,
            "content": base64.b64encode(content).decode(),
        }
        return jsonify(answer)
