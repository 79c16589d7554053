"""Growth: how much longer everything takes with 100,000 promotions in the store than with 1,000."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from bench.filling import OTHER_MODELS, fill
from bench.load import HEADERS, body
from bench.report import Report
from champion_gate.bootstrap.databases import migrate_database
from champion_gate.domain.promotion import Phase
from integration.gate_world import GateWorld, api_token, gate_world
from integration.process_world import Served, free_port
from integration.store_samples import KEY

FEW, MANY = 1_000, 100_000
MOST_GROWTH = 1.5
CALLS, HOOKS, DECISIONS = 10, 50, 3
DEEP = 8
"""Parts of 100 into the list."""
LISTS = {
    "promotions": "/promotions?limit=200",
    "promotions of a model": f"/promotions?model={KEY.model}",
    "promotions of one of many models": f"/promotions?model=main.ml.model_{OTHER_MODELS // 2}&limit=20",
    "promotions that failed": "/promotions?phase=failed",
    "promotions of a model in a phase": f"/promotions?model={KEY.model}&phase=rejected",
    "notifications": "/notifications",
    "notifications that failed": "/notifications?phase=failed",
    "history of an alias": f"/models/{KEY.model}/aliases/{KEY.alias}/history",
}


@dataclass
class Side:
    """A world with a store of one size, and a service on it."""

    between: GateWorld
    served: Served
    session: requests.Session
    token: str
    runs: Iterator[int] = field(default_factory=lambda: iter(range(10**12, 2 * 10**12)))

    def get(self, path: str) -> dict[str, Any]:
        """A list, over a connection that is kept open."""
        answer = self.session.get(f"{self.served.url}/api/v1{path}", timeout=60)
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def deep(self) -> str:
        """The path of a part that lies far in the list."""
        cursor = self.get("/promotions?limit=100")["cursor"]
        for _ in range(DEEP):
            cursor = self.get(f"/promotions?limit=100&cursor={cursor}")["cursor"]
        return f"/promotions?limit=50&cursor={cursor}"

    def scrape(self) -> None:
        """What Prometheus reads."""
        assert self.session.get(f"{self.served.url}/metrics", timeout=60).ok

    def post(self) -> None:
        """A notification of a job that no gate watches."""
        sent = body("4711", next(self.runs))
        answer = self.session.post(f"{self.served.url}/hooks/databricks", sent, headers=HEADERS, timeout=60)
        assert answer.status_code == 202, answer.text

    def sweep(self) -> None:
        """What is due, and a look at every vendor's list."""
        for look in self.between.core.sweep.run():
            self.between.core.sweep.look(look)

    def decide(self) -> float:
        """Seconds from a person's approval until the alias is set; the request was opened before."""
        promotion = self.between.ask()
        self.between.approve(promotion)
        begun = time.perf_counter()
        self.between.store.hint_promotion(promotion.id, self.between.clock.now())
        self.between.core.promoter.advance(promotion.id)
        taken = time.perf_counter() - begun
        self.between.ended(promotion, Phase.PROMOTED)
        self.between.settle()
        return taken


def measure(report: Report) -> dict[str, Any]:
    """The part `growth`."""
    with side(FEW) as few, side(report.scaled(MANY, least=2 * FEW)) as many:

        def compare(what: str, act: Callable[[Side], object], times: int = CALLS) -> float:
            rounds = [one_round(act, few, many, times) for _ in range(report.rounds)]
            grown = statistics.median(late / early for early, late in rounds)
            beside = (f"{1000 * statistics.median(taken):,.1f} ms" for taken in zip(*rounds, strict=True))
            report.row(what, grown, sized=True, beside=" → ".join(beside), at_most=MOST_GROWTH)
            return grown

        hook = compare("hook: a notification is acknowledged", Side.post, HOOKS)
        paths = {**LISTS, "promotions, deep in the list": few.deep()}
        lists = [compare(f"list: {what}", partial(read, path)) for what, path in paths.items()]
        compare("metrics: one scrape", Side.scrape)
        for each in (few, many):
            each.served.stop()
            each.sweep()  # the first finds that the history is not the registry's
            each.between.settle()
        sweep = compare("sweep: all looks", Side.sweep)
        decision = compare("decision: from approval to alias", Side.decide, DECISIONS)
    grown = {"hook": hook, "list": max(lists), "sweep": sweep, "decision": decision}
    return {name: round(times, 2) for name, times in grown.items()}


@contextmanager
def side(rows: int, database: str | None = None) -> Iterator[Side]:
    """A filled store, its world and its service.

    Args:
        rows: how many promotions.
        database: URL of one without tables, for the service alone; None for one in SQLite that is also the world's own.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        between = stack.enter_context(gate_world(folder))
        url = database or between.environ["CHAMPION_GATE_DATABASE_URL"]
        migrate_database(url)
        fill(url, rows)
        session = stack.enter_context(requests.Session())
        # Gunicorn closes a connection that was idle for five seconds, maybe just as it is used again.
        session.mount("http://", HTTPAdapter(max_retries=Retry(1)))
        token = api_token(url)
        session.headers["Authorization"] = f"Bearer {token}"
        environ = {
            **between.environ,
            "CHAMPION_GATE_DATABASE_URL": url,
            "CHAMPION_GATE_PORT": str(free_port()),
            "DATABRICKS_HOST": between.databricks_url,
            "DATABRICKS_TOKEN": "standin-token",
        }
        served = Served(environ, folder / "service.log")
        stack.callback(served.kill)
        served.wait_until_working()
        yield Side(between, served, session, token)


def read(path: str, of: Side) -> None:
    """Read a list."""
    of.get(path)


def one_round(act: Callable[[Side], object], few: Side, many: Side, times: int) -> tuple[float, float]:
    """The medians of so many on each side, in turn, so that noise meets both."""
    taken: dict[int, list[float]] = {id(few): [], id(many): []}
    for _ in range(times):
        for of in (few, many):
            begun = time.perf_counter()
            told = act(of)
            whole = time.perf_counter() - begun
            taken[id(of)].append(told if isinstance(told, float) else whole)
    return statistics.median(taken[id(few)]), statistics.median(taken[id(many)])
