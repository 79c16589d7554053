"""The GitHub stand-in's pages on which people make an App out of a manifest and install it, and the code's exchange.

docs.github.com, "Registering a GitHub App from a manifest". Refusals: vikasprogrammer/agentric#317 (`hook_attributes` without a
url), github-community-projects/private-mirrors#387 (a hook on this machine).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Blueprint, Response, jsonify, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from champion_gate_standins.github import answers
from champion_gate_standins.github.accounts import RefusedError, User
from champion_gate_standins.github.state import GitHubApp, State
from champion_gate_standins.github.webhooks import Webhooks

_CODE_LIFE = timedelta(hours=1)
_LONGEST_NAME = 34
_NEEDS = {
    "pull_request": "pull_requests",
    "pull_request_review": "pull_requests",
    "deployment_review": "deployments",
    "deployment_status": "deployments",
    "workflow_job": "actions",
    "workflow_run": "actions",
}
"""Event -> the permission that an App must have to be told of it."""


@dataclass(frozen=True)
class _Pending:
    """A manifest that somebody has agreed to, until its code is exchanged."""

    manifest: Mapping[str, Any]
    name: str
    owner: User
    until: datetime


class AppPages:
    """Pages at the addresses that GitHub documents.

    Attributes:
        signed_in: the login of the person at the browser, who owns what is made at `/settings/apps/new`.
        reaches_this_machine: whether webhooks may go to it; GitHub's may not.
        new_key: makes an App's key.
    """

    def __init__(self, state: State, webhooks: Webhooks, add_app: Callable[..., GitHubApp]) -> None:
        self._state = state
        self._webhooks = webhooks
        self._add_app = add_app
        self._codes: dict[str, _Pending] = {}
        self.signed_in = "octo-admin"
        self.reaches_this_machine = False
        self.new_key: Callable[[], rsa.RSAPrivateKey] = lambda: rsa.generate_private_key(65537, 2048)
        self.blueprint = Blueprint("apps", __name__)
        for rule, view in (
            ("/settings/apps/new", self.make),
            ("/organizations/<org>/settings/apps/new", self.make),
            ("/apps/<slug>/installations/new", self.install),
            ("/app-manifests/<code>/conversions", self.convert),
        ):
            self.blueprint.add_url_rule(rule, rule, view, methods=["POST"])

    def make(self, org: str | None = None) -> BaseResponse:
        """First the form of another site with `manifest`, then our own in which the person has edited the name."""
        manifest = _object(request.form.get("manifest", ""))
        problems = list(self._problems(manifest))
        name = request.form.get("name")
        if not problems and name is not None:
            problems = list(self._name_problems(name))
        if problems:
            return Response(f"Invalid GitHub App configuration: {escape(' '.join(problems))}", 422)
        if name is None:
            return Response(_PAGE.format(escape(json.dumps(manifest)), escape(str(manifest.get("name", "")))))
        owner = self._state.account(org or self.signed_in, kind="Organization" if org else "User")
        code = secrets.token_hex(20)
        self._codes[code] = _Pending(manifest, name, owner, self._state.clock() + _CODE_LIFE)
        state = {"state": request.args["state"]} if "state" in request.args else {}
        return redirect(f"{manifest['redirect_url']}?{urlencode({'code': code, **state})}", 302)

    def _problems(self, manifest: Mapping[str, Any]) -> Iterator[str]:
        hook = manifest.get("hook_attributes", {"url": None})
        for holder in (manifest, hook):
            if "url" not in holder:
                yield 'Error "url" wasn\'t supplied.'
        if "redirect_url" not in manifest:
            yield 'Error "redirect_url" wasn\'t supplied.'
        host = urlsplit(hook.get("url") or "https://gate.example.com").hostname or ""
        if (host == "localhost" or host.startswith("127.")) and not self.reaches_this_machine:
            yield f"Hook url is not supported because it isn't reachable over the public Internet ({host})"
        granted = manifest.get("default_permissions", {})
        for event in manifest.get("default_events", []):
            if _NEEDS.get(event) not in granted:
                yield f"Default events unsupported: {event}"

    def _name_problems(self, name: str) -> Iterator[str]:
        if not 0 < len(name) <= _LONGEST_NAME:
            yield "Name is too long (maximum is 34 characters)"
        if _slug(name) in {app.slug for app in self._state.apps}:
            yield "Name is already taken"

    def convert(self, code: str) -> tuple[Response, int]:
        """`POST /app-manifests/{code}/conversions`, by whoever has the code; once, within an hour."""
        pending = self._codes.pop(code, None)
        if pending is None or pending.until <= self._state.clock():
            raise RefusedError(404, "Not Found")
        key = self.new_key()
        manifest = pending.manifest
        app = self._add_app(
            _slug(pending.name),
            public_pem(key),
            owner=pending.owner.login,
            permissions=manifest.get("default_permissions", {}),
            repositories=(),
        )
        app.events = list(manifest.get("default_events", []))
        hook = manifest.get("hook_attributes")
        if hook is not None:
            self._webhooks.url, self._webhooks.secret = hook["url"], secrets.token_hex(20)
        told = {
            "client_id": app.client_id,
            "client_secret": secrets.token_hex(20),
            "webhook_secret": self._webhooks.secret if hook is not None else None,
            "pem": private_pem(key),
        }
        return jsonify(answers.app(self._state.base_url, app) | told), 201

    def install(self, slug: str) -> BaseResponse:
        """Install the App on the repositories (`repository`, OWNER/NAME) that the person has chosen."""
        app = next((each for each in self._state.apps if each.slug == slug), None)
        chosen = [self._state.repository(name) for name in request.form.getlist("repository")]
        if app is None or not all(each.owner is app.owner for each in chosen):
            raise RefusedError(404, "Not Found")  # a private App is its owner's alone
        app.repositories = {each.full_name for each in chosen}
        return Response("installed")


_PAGE = (
    '<!doctype html><meta charset="utf-8"><title>Create GitHub App</title><form method="post">'
    '<input type="hidden" name="manifest" value="{}"><label>GitHub App name <input name="name" value="{}"></label>'
    "<button>Create GitHub App</button></form>"
)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(422, "The configuration does not appear to be a valid GitHub App manifest.")
    return found


def _slug(name: str) -> str:
    return "-".join(name.lower().split())


def private_pem(key: rsa.RSAPrivateKey) -> str:
    """As GitHub gives it out."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """With which GitHub verifies what the App signs."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
