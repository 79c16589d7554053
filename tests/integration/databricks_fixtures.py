"""A Databricks stand-in on loopback, and our connection to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import databricks.sdk  # noqa: F401 - takes a second, which a small budget does not have

from champion_gate.adapters.databricks.job_runs import DatabricksConnection, connect
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn

TOKEN = "standin-token"
IMPATIENT = Timeouts(connect=0.2, read=0.3, total=1.0)


class FakeTime:
    """Epoch milliseconds that pass only when told."""

    def __init__(self) -> None:
        self.ms = 1_764_000_000_000

    def __call__(self) -> int:
        return self.ms

    def pass_seconds(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass
class Workspace:
    standin: DatabricksStandIn
    url: str
    time: FakeTime

    @classmethod
    def at(cls, url: str) -> Workspace:
        """Somewhere that only looks like one."""
        return cls(DatabricksStandIn(), url, FakeTime())

    def connection(
        self,
        *,
        token: str | None = TOKEN,
        timeouts: Timeouts | None = None,
        half_made_seconds: float = 600,
        **overrides: object,
    ) -> DatabricksConnection:
        settings = {"host": self.url, "token": token, **overrides}
        return connect(
            product_version="0.1.0",
            config_overrides=settings,
            timeouts=timeouts,
            half_made_seconds=half_made_seconds,
        )

    def as_service_principal(
        self,
        *,
        secret: str = "standin-secret",
        timeouts: Timeouts | None = None,
        half_made_seconds: float = 600,
    ) -> DatabricksConnection:
        return self.connection(
            token=None,
            timeouts=timeouts,
            half_made_seconds=half_made_seconds,
            client_id="standin-client",
            client_secret=secret,
        )

    def paths(self) -> list[str]:
        """Paths of all calls but the SDK's own probe."""
        return [
            request.path for request in self.standin.requests if not request.path.startswith("/.well-known")
        ]


@contextmanager
def workspace() -> Iterator[Workspace]:
    time = FakeTime()
    standin = DatabricksStandIn(now=time)
    with serve(standin.app) as url:
        try:
            yield Workspace(standin, url, time)
        finally:
            standin.faults.clear()
