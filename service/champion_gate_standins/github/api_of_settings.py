"""The endpoints of the GitHub stand-in that tell how things are set: an App's webhook, variables."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.github import answers, auth
from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.lists import linked, page_of
from champion_gate_standins.github.repositories import Repository
from champion_gate_standins.github.state import State
from champion_gate_standins.github.webhooks import Delivery, Webhooks


class SettingsApi:
    """The endpoints, over the state."""

    def __init__(self, state: State, webhooks: Webhooks) -> None:
        self._state = state
        self._webhooks = webhooks
        self.blueprint = Blueprint("settings", __name__)
        repo = "/repos/<owner>/<name>"
        for rule, view in (
            ("/app/hook/config", self.get_hook),
            ("/app/hook/deliveries", self.list_deliveries),
            (f"{repo}/actions/variables/<variable>", self.get_variable),
            (f"{repo}/actions/organization-variables", self.list_organization_variables),
        ):
            self.blueprint.add_url_rule(rule, rule, view)

    # --- an App's webhook --------------------------------------------------------------------------------

    def _app(self) -> None:
        auth.authenticate_app(self._state, request.headers.get("Authorization"))

    def get_hook(self) -> Response:
        """`GET /app/hook/config`."""
        self._app()
        hook = self._webhooks
        answer = {"content_type": "json", "insecure_ssl": "1" if hook.insecure_ssl else "0"}
        answer |= {"url": hook.url} if hook.url else {}
        return jsonify(answer | ({"secret": "********"} if hook.secret else {}))

    def list_deliveries(self) -> Response:
        """`GET /app/hook/deliveries`, newest first."""
        self._app()
        page, link = page_of([_delivery(each) for each in reversed(self._webhooks.deliveries)])
        return linked(jsonify(page), link)

    # --- repositories ------------------------------------------------------------------------------------

    def _reach(self, owner: str, name: str) -> Repository:
        return auth.enter(self._state, f"{owner}/{name}", "actions_variables")[1]

    def get_variable(self, owner: str, name: str, variable: str) -> Response:
        """`GET …/actions/variables/{name}`."""
        found = self._reach(owner, name).variables
        if variable.upper() not in found:
            raise RefusedError(404, "Not Found")
        return jsonify(self._variable(variable.upper(), found[variable.upper()]))

    def list_organization_variables(self, owner: str, name: str) -> Response:
        """`GET …/actions/organization-variables`."""
        repository = self._reach(owner, name)
        found = self._state.org_variables.get(repository.owner.login.lower(), {})
        page, link = page_of([self._variable(*each) for each in found.items()], repository.id)
        return linked(jsonify({"total_count": len(found), "variables": page}), link)

    def _variable(self, name: str, value: str) -> dict[str, str]:
        at = answers.stamp(self._state.clock())
        return {"name": name, "value": value, "created_at": at, "updated_at": at}


def _delivery(one: Delivery) -> dict[str, Any]:
    """`hook-delivery-item`; a receiver that did not answer has the status code 0."""
    code = int(one.result) if one.result.isdigit() else 0
    return {
        "id": one.id,
        "guid": one.guid,
        "delivered_at": answers.stamp(one.at),
        "redelivery": one.sent > 1,
        "duration": 0.1,
        "status": _status(code),
        "status_code": code,
        "event": one.name,
        "action": one.action,
        "installation_id": None,
        "repository_id": None,
        "throttled_at": None,
    }


def _status(code: int) -> str:
    if not code:
        return "failed to connect to host"
    return "OK" if code < HTTPStatus.BAD_REQUEST else f"Invalid HTTP Response: {code}"
