"""The endpoints of the GitLab stand-in by which a Maintainer sets a project up, under /api/v4.

docs.gitlab.com, "Projects API", "Protected branches API", "Protected environments API", "Pipeline trigger tokens API", "Project access
tokens API", "Project webhooks API"; gitlab-org/gitlab!231325 for signing tokens.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.gitlab import answers, auth
from champion_gate_standins.gitlab.state import (
    DEVELOPER,
    MAINTAINER,
    Access,
    AccessToken,
    ApprovalRule,
    Project,
    ProtectedBranch,
    ProtectedEnvironment,
    RefusedError,
    State,
    Trigger,
    commit_sha,
    found,
)
from champion_gate_standins.gitlab.webhooks import Webhooks

Reply = Response | tuple[Response, int]
MakeToken = Callable[[Project, str, int, tuple[str, ...]], str]

HOOK_ID = 1  # there is one webhook, for all projects
_LONGEST_LIFE = timedelta(days=365)
_KEY_BYTES = 32


class ChangesApi:
    """The endpoints, over the state.

    Attributes:
        signs: whether it knows signing tokens; else it leaves them out without a word.
    """

    def __init__(self, state: State, webhooks: Webhooks, make_token: MakeToken) -> None:
        self.signs = True
        self._state = state
        self._webhooks = webhooks
        self._make_token = make_token
        self.blueprint = Blueprint("changes", __name__, url_prefix="/api/v4")
        one = "/projects/<int:project_id>"
        for method, rule, view in (
            ("PUT", one, self.edit_project),
            ("POST", f"{one}/protected_branches", self.protect_branch),
            ("POST", f"{one}/protected_environments", self.protect_environment),
            ("PUT", f"{one}/protected_environments/<path:name>", self.change_environment),
            ("POST", f"{one}/triggers", self.make_trigger),
            ("POST", f"{one}/access_tokens", self.make_access_token),
            ("POST", f"{one}/hooks", self.make_hook),
            ("PUT", f"{one}/hooks/<int:hook_id>", self.change_hook),
        ):
            self.blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    def _reach(self, project_id: int) -> tuple[AccessToken, Project, dict[str, Any]]:
        token = auth.authenticate(self._state, dict(request.headers))
        auth.require_scope(token, writes=True)
        project = auth.reach(self._state, token, project_id)
        auth.require_role(token, project, MAINTAINER)
        body = json.loads(request.get_data() or b"{}")
        return token, project, body if isinstance(body, dict) else {}

    def edit_project(self, project_id: int) -> Reply:
        """`PUT /projects/:id`: what is given is changed, all else stays."""
        _, project, body = self._reach(project_id)
        project.settings.update(body)
        return jsonify(answers.project(self._state.base_url, project))

    def protect_branch(self, project_id: int) -> Reply:
        """`POST …/protected_branches`."""
        _, project, body = self._reach(project_id)
        name = _text(body, "name")
        if name in project.protected_branches:
            raise RefusedError(409, f"Protected branch '{name}' already exists")
        push, merge = (
            [Access(self._state.new_id(), level=int(body.get(f"{each}_access_level", MAINTAINER)))]
            for each in ("push", "merge")
        )
        project.protected_branches[name] = made = ProtectedBranch(self._state.new_id(), name, push, merge)
        return jsonify(answers.protected_branch(made)), 201

    # --- protected environments -------------------------------------------------------------------------------

    def protect_environment(self, project_id: int) -> Reply:
        """`POST …/protected_environments`; 404 on the Free tier."""
        _, project, body = self._reach(project_id)
        name = _text(body, "name")
        if project.tier == "free":
            raise RefusedError(404, "404 Not Found")
        if name in project.protected_environments:
            raise RefusedError(409, f"Protected environment '{name}' already exists")
        if not body.get("deploy_access_levels"):
            raise RefusedError(400, "deploy_access_levels is missing", key="error")
        project.protected_environments[name] = made = ProtectedEnvironment(name, [], [])
        self._merge(project, made, body)
        return jsonify(answers.protected_environment(made)), 201

    def change_environment(self, project_id: int, name: str) -> Reply:
        """`PUT …/protected_environments/:name`: entries are added; those with an id and `_destroy` go."""
        _, project, body = self._reach(project_id)
        made = found(project.protected_environments.get(name) if project.tier != "free" else None)
        self._merge(project, made, body)
        return jsonify(answers.protected_environment(made))

    def _merge(self, project: Project, made: ProtectedEnvironment, body: Mapping[str, Any]) -> None:
        gone = {each["id"] for each in body.get("deploy_access_levels") or [] if each.get("_destroy")}
        made.deploy_access_levels[:] = [each for each in made.deploy_access_levels if each.id not in gone]
        for entry in body.get("deploy_access_levels") or []:
            access = None if entry.get("_destroy") else self._access(project, entry)
            made.deploy_access_levels += [] if access is None else [access]
        for entry in body.get("approval_rules") or []:
            access = self._access(project, entry)
            rules = [] if access is None else [ApprovalRule(access, int(entry.get("required_approvals", 1)))]
            made.approval_rules += rules

    def _access(self, project: Project, entry: Mapping[str, Any]) -> Access | None:
        """Who is no member with the role Developer is left out without a word."""
        if "user_id" not in entry:
            return Access(self._state.new_id(), level=int(entry["access_level"]))
        user = next((each for each in self._state.users.values() if each.id == entry["user_id"]), None)
        if user is None or project.level(user) < DEVELOPER:
            return None
        return Access(self._state.new_id(), user=user)

    # --- tokens -----------------------------------------------------------------------------------------------

    def make_trigger(self, project_id: int) -> Reply:
        """`POST …/triggers`: a token of whoever asks."""
        token, project, body = self._reach(project_id)
        number = self._state.new_id()
        secret = f"glptt-{commit_sha('trigger', number)}"
        made = Trigger(number, secret, _text(body, "description"), token.user, self._state.clock())
        project.triggers.append(made)
        return jsonify(answers.trigger(self._state.base_url, made, whole=True)), 201

    def make_access_token(self, project_id: int) -> Reply:
        """`POST …/access_tokens`: a bot with this role, whose token is told this once."""
        _, project, body = self._reach(project_id)
        try:
            expires = date.fromisoformat(_text(body, "expires_at"))
        except ValueError:
            raise RefusedError(400, "expires_at is invalid", key="error") from None
        if not timedelta(0) < expires - self._state.clock().date() <= _LONGEST_LIFE:
            raise RefusedError(400, {"expires_at": ["must be in the future, and within 365 days"]})
        level, scopes = int(body.get("access_level", MAINTAINER)), tuple(body.get("scopes") or ())
        secret = self._make_token(project, _text(body, "name"), level, scopes)
        told = answers.access_token(self._state.tokens[secret])
        return jsonify({**told, "access_level": level, "token": secret}), 201

    # --- the webhook ------------------------------------------------------------------------------------------

    def make_hook(self, project_id: int) -> Reply:
        """`POST …/hooks`."""
        _, project, body = self._reach(project_id)
        events = [name for name in self._webhooks.told if name.endswith("_events")]
        self._webhooks.told |= {**dict.fromkeys(events, False), "push_events": True}
        self._webhooks.secret_token = self._webhooks.signing_token = ""
        return self._write_hook(project, body), 201

    def change_hook(self, project_id: int, hook_id: int) -> Reply:
        """`PUT …/hooks/:hook_id`: what is given is changed, all else stays."""
        _, project, body = self._reach(project_id)
        if hook_id != HOOK_ID or self._webhooks.url is None:
            raise RefusedError(404, "404 Not found")
        return self._write_hook(project, body)

    def _write_hook(self, project: Project, body: Mapping[str, Any]) -> Response:
        hook = self._webhooks
        if "signing_token" in body and self.signs:
            hook.signing_token = _signing_token(body["signing_token"])
        hook.url = _text(body, "url")
        hook.secret_token = str(body.get("token", hook.secret_token))
        known = set(hook.told) - {"token_present", "signing_token_present"}
        hook.told.update({name: value for name, value in body.items() if name in known})
        hook.told["token_present"] = bool(hook.secret_token)
        if self.signs:
            hook.told["signing_token_present"] = bool(hook.signing_token)
        return jsonify(self._told(project))

    def _told(self, project: Project) -> dict[str, object]:
        """The webhook; its secrets are never told."""
        return {"id": HOOK_ID, "url": self._webhooks.url, "project_id": project.id, **self._webhooks.told}


def _signing_token(text: object) -> str:
    try:
        key = base64.b64decode(str(text).removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not str(text).startswith("whsec_") or len(key) != _KEY_BYTES:
        raise RefusedError(422, {"signing_token": ["is invalid"]})
    return str(text)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(400, f"{name} is missing", key="error")
    return value
