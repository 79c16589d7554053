"""The Databricks stand-in's notification destinations.

Routes and fields: databricks/sdk/service/settings.py, NotificationDestinationsAPI. Addresses, user names and passwords are
taken and never told again.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, abort, jsonify, request

from champion_gate_standins.databricks.principals import require_admin

_PAGE = 2  # small, so that clients have to page
_TYPES = {
    "generic_webhook": "WEBHOOK",
    "slack": "SLACK",
    "email": "EMAIL",
    "microsoft_teams": "MICROSOFT_TEAMS",
}
_TAKEN = re.compile(r"https://.+|http://127\.0\.0\.1:.+")  # loopback, as tests have no certificate


@dataclass
class Destination:
    """Where notifications go; `config` has one key, its kind."""

    id: str
    display_name: str
    config: dict[str, dict[str, Any]]

    @property
    def webhook(self) -> dict[str, Any]:
        """Address, user name and password; empty for another kind."""
        return self.config.get("generic_webhook", {})

    def listed(self) -> dict[str, Any]:
        """As an item of the list."""
        kind = _TYPES[next(iter(self.config))]
        return {"id": self.id, "display_name": self.display_name, "destination_type": kind}

    def shown(self) -> dict[str, Any]:
        """By itself: of what was taken it is only told that it is there."""
        told = {
            kind: {f"{name}_set": bool(value) for name, value in given.items()}
            for kind, given in self.config.items()
        }
        return {**self.listed(), "config": told}


class Destinations:
    """All of them, by id; only workspace admins make and change them."""

    def __init__(self) -> None:
        self.by_id: dict[str, Destination] = {}

    def add(self, display_name: str, config: dict[str, dict[str, Any]]) -> str:
        """Make one and return its id."""
        made = Destination(str(uuid.uuid4()), display_name, config)
        self.by_id[made.id] = made
        return made.id

    def attach(self, app: Flask) -> None:
        """Add the routes."""
        path = "/api/2.0/notification-destinations"
        app.get(path)(self._list_destinations)
        app.post(path)(self._create_destination)
        app.get(f"{path}/<destination_id>")(self._get_destination)
        app.patch(f"{path}/<destination_id>")(self._update_destination)

    def _list_destinations(self) -> Response:
        start = int(request.args.get("page_token") or 0)
        found = [each.listed() for each in self.by_id.values()]
        more = {"next_page_token": str(start + _PAGE)} if len(found) > start + _PAGE else {}
        return jsonify({"results": found[start : start + _PAGE], **more})

    def _get_destination(self, destination_id: str) -> Response:
        return jsonify(self._found(destination_id).shown())

    def _create_destination(self) -> Response:
        require_admin("create notification destinations")
        body = request.get_json(silent=True) or {}
        name = body.get("display_name")
        if not isinstance(name, str) or not name:
            abort(400, "display_name is required.")
        return jsonify(self.by_id[self.add(name, _config(body))].shown())

    def _update_destination(self, destination_id: str) -> Response:
        require_admin("update notification destinations")
        found, body = self._found(destination_id), request.get_json(silent=True) or {}
        found.display_name = str(body.get("display_name") or found.display_name)
        if "config" in body:
            found.config = _config(body)
        return jsonify(found.shown())

    def _found(self, destination_id: str) -> Destination:
        if destination_id not in self.by_id:
            abort(404, f"Notification destination {destination_id} does not exist.")
        return self.by_id[destination_id]


def _config(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    config = body.get("config")
    if not isinstance(config, dict) or len(config) != 1 or next(iter(config)) not in _TYPES:
        abort(400, "config has to have one of the kinds of destination.")
    webhook = config.get("generic_webhook")
    if webhook is not None and not _TAKEN.fullmatch(str(webhook.get("url", ""))):
        abort(400, "The URL of a webhook has to begin with https://.")
    return config
