"""The API over real HTTP on the whole gate, with every answer held against the service's own document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask
from jsonschema import Draft202012Validator

from champion_gate.domain.callers import Caller, Role
from champion_gate.web.app import Operations, create_app
from champion_gate.web.auth import Access
from champion_gate.web.throttle import Attempts
from champion_gate_standins.common.server import serve
from integration.gate_world import GateWorld, gate_world

VIEWER, OPERATOR, OTHER = "viewer-token", "operator-token", "other-token"
CALLERS = {
    VIEWER: ("auditor", Role.VIEWER, "API token v"),
    OPERATOR: ("operator-1", Role.OPERATOR, "API token a"),
    OTHER: ("ben", Role.OPERATOR, "API token b"),
}
ALIAS = "/api/v1/models/main.ml.churn/aliases/Champion"
PROBLEM = {"type", "title", "status", "detail", "code", "hint"}


def known(text: str, address: str | None) -> Caller | None:
    """Who a token of the tests is."""
    found = CALLERS.get(text)
    return None if found is None else Caller(*found, address)


class Document:
    """The service's description of itself, to hold answers against."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.operations = {
            (method.upper(), path): operation
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        self._components = document["components"]
        self._patterns = {
            (method, path): re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
            for method, path in self.operations
        }

    def check(self, answer: requests.Response) -> None:
        """Fail on a status, content type, header or body that is not described."""
        method, path = str(answer.request.method), urlsplit(str(answer.request.url)).path
        (key,) = (key for key, each in self._patterns.items() if key[0] == method and each.fullmatch(path))
        said = self.operations[key]["responses"].get(str(answer.status_code))
        assert said is not None, f"{key} does not say that it answers {answer.status_code}: {answer.text}"
        media = answer.headers["Content-Type"].partition(";")[0]
        assert media in said["content"], f"{key} does not say that it answers {media}"
        for name in ("ETag", "Location", "Retry-After", "WWW-Authenticate", "Idempotency-Replayed"):
            assert name not in answer.headers or name in said.get("headers", {}), (
                key,
                answer.status_code,
                name,
            )
        if media.endswith("json"):
            schema = {**said["content"][media]["schema"], "components": self._components}
            errors = [error.message for error in Draft202012Validator(schema).iter_errors(answer.json())]
            assert not errors, (key, errors)


@dataclass
class ApiWorld:
    """The gate, and the API in front of it."""

    gate: GateWorld
    app: Flask
    url: str
    document: Document

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = OPERATOR, **headers: str
    ) -> requests.Response:
        """Send a request, and hold its answer against the document.

        Args:
            method: the HTTP method.
            path: of the API, with its query.
            body: sent as JSON; None sends none, bytes are sent as they are.
            token: who sends it.
            **headers: further headers, with _ for -.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        given: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        answer = requests.request(method, self.url + path, headers=sent, timeout=20, **given)
        self.document.check(answer)
        return answer

    def problem(self, status: int, code: str, *request: object, **how: Any) -> dict[str, Any]:
        """Send a request that must be refused in this way; returns the problem."""
        answer = self.call(*request, **how)  # type: ignore[arg-type]
        said: dict[str, Any] = answer.json()
        assert (answer.status_code, said["code"]) == (status, code), said
        assert said.keys() >= PROBLEM
        return said

    def add_versions(self, count: int) -> None:
        """Register so many more versions; nobody is told."""
        for number in range(count):
            self.gate.models.train(self.gate.job_id, f"by-hand-{number}", {"f1": 0.9})


@contextmanager
def api_world(folder: Path, **gate: object) -> Iterator[ApiWorld]:
    """A gate as in `gate_world`, and its API."""
    with gate_world(folder, **gate) as world:  # type: ignore[arg-type]
        app = create_app(
            store=world.store,
            wake_ups=world.wake_ups,
            clock=world.clock,
            access=Access(authenticate=known, attempts=Attempts(pause=lambda _seconds: None)),
            checks=(),
            operations=Operations.on(world.core.context),
            meters=world.core.context.meters,
        )
        with serve(app) as url:
            document = requests.get(f"{url}/openapi.json", timeout=20).json()
            yield ApiWorld(world, app, url, Document(document))
