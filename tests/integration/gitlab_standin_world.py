"""A GitLab stand-in with one project, under a sub-path, called over HTTP by requests and by python-gitlab."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests
from gitlab import Gitlab

from champion_gate_standins.common.server import serve
from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, Pipeline

PREFIX = "/gitlab"
PROJECT = "/api/v4/projects/42"
START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def inputs(**changes: object) -> dict[str, object]:
    given: dict[str, object] = {
        "promotion_id": "p1",
        "model": "main.ml.churn",
        "version": "2",
        "alias": "Champion",
        "environment": "champion",
        "gate_url": "https://gate.example.com",
        "evidence_base64": base64.b64encode(b"# Evidence").decode(),
    }
    return given | changes


@dataclass
class World:
    gitlab: GitLabStandIn
    trigger: str = ""
    reader: str = ""
    now: datetime = START
    base: str = ""
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        headers = {"PRIVATE-TOKEN": self.reader if token is None else token} if token != "" else {}
        headers |= options.pop("headers", {})
        return self.session.request(
            method, self.base + path, headers=headers, timeout=10, allow_redirects=False, **options
        )

    def open(self, **changes: object) -> requests.Response:
        body = {"token": self.trigger, "ref": "main", "inputs": inputs(**changes)}
        return self.call("POST", f"{PROJECT}/trigger/pipeline", "", json=body)

    def opened(self, **changes: object) -> Pipeline:
        answer = self.open(**changes)
        assert answer.status_code == 201, answer.text
        return self.gitlab.pipeline(answer.json()["id"])

    def client(self, token: str | None = None) -> Gitlab:
        """An independent client; it reads paged lists to their end only if told to."""
        return Gitlab(self.base, private_token=token or self.reader, retry_transient_errors=False)


@contextmanager
def standin_world(tier: str = "free", **options: Any) -> Iterator[World]:
    """Project 42: `rita` and `tom` are Maintainers, `dev` is a Developer, `svc` owns the trigger token."""
    made: World
    standin = GitLabStandIn(clock=lambda: made.now, prefix=PREFIX, **options)
    made = World(standin)
    members = {"rita": MAINTAINER, "tom": MAINTAINER, "dev": DEVELOPER}
    standin.add_project("example/ml-deploy", id=42, tier=tier, members=members)
    made.trigger = standin.add_trigger(42, "svc")
    made.reader = standin.add_project_token(42, "reader", MAINTAINER)
    with serve(standin.app) as base, made.session, closing(standin):
        made.base = base + PREFIX
        yield made
