"""The pages on the whole gate: a browser without a screen, signed in or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from champion_gate.domain.callers import Role
from champion_gate.domain.findings import Finding, Verdict
from champion_gate.flow.api_tokens import ApiTokens, api_caller
from champion_gate.flow.sessions import Sessions
from champion_gate.web.app import Dashboard, Operations, create_app
from champion_gate.web.auth import Access
from champion_gate.web.pages.sign_in import IdentityProvider
from champion_gate.web.throttle import Attempts
from integration.gate_world import GateWorld, gate_world

HOST = "https://gate.example.com"
SESSION, VISITOR = "__Host-champion-gate", "__Host-champion-gate-visitor"
FINDING = Finding(
    "service.secrets", Verdict.WARNING, "former secrets are taken", "They protect nothing.", "Remove <them>."
)


class Browser:
    """Keeps cookies, sends forms as they are on the page, and follows no redirect by itself."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **headers: str) -> TestResponse:
        """A page."""
        return self.client.get(path, base_url=HOST, headers=headers)

    def text(self, path: str) -> str:
        """What a page says, without its tags."""
        answer = self.get(path)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return words(answer.text)

    def post(self, path: str, /, **fields: str) -> TestResponse:
        """Send these very fields."""
        return self.client.post(path, base_url=HOST, data=fields)

    def send(self, path: str, /, **fields: str) -> TestResponse:
        """Load a page, fill in its form, the last one that it has, and send it."""
        page = self.get(path)
        assert page.status_code == 200, (page.status_code, page.text)
        form = re.findall(r"<form[^>]*method=\"post\".*?</form>", page.text, re.DOTALL)[-1]
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form))
        return self.post(path, **{**{name: unescape(value) for name, value in hidden.items()}, **fields})

    def sign_in(self, token: str, path: str = "/sign-in") -> TestResponse:
        """With an API token."""
        return self.send(path, token=token)

    def cookie(self, name: str = SESSION) -> str | None:
        """What it has in a cookie."""
        found = self.client.get_cookie(name, domain="gate.example.com")
        return None if found is None else found.value

    def plant(self, name: str, value: str) -> None:
        """Have it keep what it was not given here."""
        self.client.set_cookie(name, value, domain="gate.example.com", secure=True)


@dataclass
class PagesWorld:
    """The gate, and its pages."""

    gate: GateWorld
    app: Flask
    tokens: ApiTokens
    pauses: list[float] = field(default_factory=list)

    def make(self, role: Role = Role.OPERATOR, name: str = "", **changes: Any) -> str:
        """The text of a new API token."""
        given = {"expires_at": None, "created_by": "test", **changes}
        return self.tokens.create(name or f"a-{role}", role, **given)[1]

    def signed_in(self, role: Role = Role.OPERATOR, name: str = "") -> Browser:
        """A browser of somebody with this role."""
        browser = Browser(self.app)
        assert browser.sign_in(self.make(role, name)).status_code == 303
        return browser

    def two_champions(self) -> None:
        """v2 was approved and is Champion, after v1."""
        self.gate.approve(self.gate.ask({"f1": 0.93, "auc": 0.96}))
        self.gate.look()


def app_of(
    gate: GateWorld, tokens: ApiTokens, pauses: list[float], provider: IdentityProvider | None = None
) -> Flask:
    """The service's app with its pages."""
    role_of = getattr(provider, "roles", None) and provider.roles.role_of  # type: ignore[union-attr]
    sessions = Sessions(tokens, role_of)
    return create_app(
        store=gate.store,
        wake_ups=gate.wake_ups,
        clock=gate.clock,
        access=Access(
            authenticate=api_caller(tokens),
            session=sessions.caller,
            attempts=Attempts(pause=pauses.append),
        ),
        checks=(),
        operations=Operations.on(gate.core.context),
        dashboard=Dashboard(sessions, tokens.chance, provider, lambda: [FINDING]),
    )


@contextmanager
def pages_world(folder: Path, **gate: Any) -> Iterator[PagesWorld]:
    """A gate as in `gate_world`, and its pages."""
    with gate_world(folder, **gate) as world:
        tokens, pauses = ApiTokens(world.store, world.clock, world.chance), list[float]()
        yield PagesWorld(world, app_of(world, tokens, pauses), tokens, pauses)


def words(html: str) -> str:
    """The text of a page, as a person reads it."""
    body = re.sub(r"<wbr>", "", html.partition('<main id="main">')[2].partition("</main>")[0])
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
