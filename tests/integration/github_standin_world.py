"""A GitHub stand-in with one protected environment, called over HTTP, every exchange checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

from champion_gate_standins.common.server import serve
from champion_gate_standins.github.server import GitHubStandIn
from contract.validating import ValidatingApp

REPO = "/repos/example/ml-deploy"
DISPATCH = f"{REPO}/actions/workflows/champion-gate.yml/dispatches"
RUNS = f"{REPO}/actions/workflows/champion-gate.yml/runs"
START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def inputs(**changes: str) -> dict[str, str]:
    given = {
        "promotion_id": "p1",
        "model": "main.ml.churn",
        "version": "2",
        "alias": "Champion",
        "evidence": "# Evidence",
        "environments": '["champion"]',
    }
    return given | changes


@dataclass
class World:
    github: GitHubStandIn
    now: datetime = START
    base: str = ""
    checks: ValidatingApp | None = None
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, token: str = "", **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        return self.session.request(
            method, self.base + path, headers=headers, timeout=10, allow_redirects=False, **options
        )

    def dispatched(self, **changes: str) -> int:
        return self.github.dispatch("example/ml-deploy", inputs(**changes), login="starter").id

    def job(self, run_id: int, name: str = "approve (champion)") -> str:
        jobs = {job.name: job for job in self.github.run(run_id).latest_jobs()}
        return jobs[name].conclusion or jobs[name].status


@contextmanager
def standin_world() -> Iterator[World]:
    """A repository whose environment `champion` is reviewed by `rita`."""
    made: World
    github = GitHubStandIn(clock=lambda: made.now)
    made = World(github)
    github.add_repository("example/ml-deploy")
    github.protect_branch("example/ml-deploy")
    github.add_user("rita")
    github.protect_environment("example/ml-deploy", "champion", ["rita"])
    made.checks = ValidatingApp(github.app.wsgi_app)
    github.app.wsgi_app = made.checks  # type: ignore[method-assign]
    with serve(github.app) as base, made.session, closing(github):
        made.base = base
        yield made
    # Some tests ask badly on purpose; the answers must be right all the same.
    assert [line for line in made.checks.violations if " asked: " not in line] == []
