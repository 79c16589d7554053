"""Pages: how long a browser waits for each page of the dashboard with 100,000 promotions in the store, and with 1,000.

What else the machine does counts here as ours; the CPU time beside it is the service's own.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from html import unescape
from typing import Any

import requests

from bench.filling import OTHER_MODELS
from bench.growth import DEEP, FEW, MANY, MOST_GROWTH, Side, side
from bench.postgresql import postgresql
from bench.report import Report, percentile
from bench.serving import cpu_seconds
from integration.store_samples import KEY

CALLS = 40
"""A round."""
MOST_MS = 100
_IDLE, _MOST_SECONDS = 0.1, 300
FIRST = "/"
PATHS = {
    "what is waiting": FIRST,
    "promotions": "/promotions",
    "promotions of a model": f"/promotions?model={KEY.model}",
    "promotions of one of many models": f"/promotions?model=main.ml.model_{OTHER_MODELS // 2}",
    "promotions that failed": "/promotions?phase=failed",
    "promotions of a model in a phase": f"/promotions?model={KEY.model}&phase=rejected",
    "one promotion": "/promotions/p-000500",
    "models": "/models",
    "an alias's history": f"/models/{KEY.model}/aliases/{KEY.alias}",
    "its rollback, before it is confirmed": f"/models/{KEY.model}/aliases/{KEY.alias}/rollback",
    "notifications": "/notifications?phase=resolved",
    "notifications that led nowhere": "/notifications",
    "the doctor's findings": "/doctor",
}


class Visitor:
    """A browser that is signed in, over a connection that is kept open."""

    def __init__(self, of: Side) -> None:
        self._url, self._session, self._cookies = of.served.url, of.session, dict[str, str]()
        form = self.get("/sign-in")
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        self._send("POST", "/sign-in", {**fields, "token": of.token})

    def get(self, path: str) -> str:
        """A page."""
        answer = self._send("GET", path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    def deep(self, path: str) -> str:
        """The address of a part that lies far in a list."""
        for _ in range(DEEP):
            found = re.search(r'<a href="([^"]+)" rel="next"', self.get(path))
            assert found, path
            path = unescape(found[1])
        return path

    def _send(self, method: str, path: str, fields: dict[str, str] | None = None) -> requests.Response:
        # By hand: the library keeps cookies that are for https alone to itself.
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        answer = self._session.request(
            method,
            self._url + path,
            data=fields,
            headers={"Cookie": cookie},
            timeout=60,
            allow_redirects=False,
        )
        self._cookies |= dict(answer.cookies.items())
        return answer


@dataclass
class Taken:
    """What all calls of a page took."""

    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0


def measure(report: Report) -> dict[str, Any]:
    """The part `pages`."""
    found = {"sqlite": on("SQLite", lambda: None, report)}
    with postgresql() as server:
        found["postgresql"] = on("PostgreSQL", server.database, report)
    return found


def on(database: str, new: Callable[[], str | None], report: Report) -> dict[str, float]:
    """What is measured on one database.

    Args:
        database: its name.
        new: makes one; see `side`.
        report: takes the rows.
    """
    many_rows = report.scaled(MANY, least=2 * FEW)
    with side(FEW, new()) as few, side(many_rows, new()) as many:
        early, late = Visitor(few), Visitor(many)
        acts: dict[str, Callable[[], object]] = {
            what: partial(late.get, path) for what, path in PATHS.items()
        }
        for what in ("promotions", "an alias's history"):
            acts[f"{what}, deep in the list"] = partial(late.get, late.deep(PATHS[what]))
        acts["a scrape of /metrics"] = many.scrape
        taken = {what: Taken() for what in acts}
        wait_until_warm(many)
        for act in acts.values():
            act()  # which is the first of its kind, and reads the templates
        for _ in range(report.rounds):
            for what, act in acts.items():
                begun = cpu_seconds(many.served.processes())
                taken[what].seconds += [seconds(act) for _ in range(CALLS)]
                taken[what].cpu += cpu_seconds(many.served.processes()) - begun
        slowest = 0.0
        for what, each in taken.items():
            p99, median = 1000 * percentile(each.seconds, 99), 1000 * statistics.median(each.seconds)
            slowest = max(slowest, p99)
            beside = f"median {median:,.1f} ms, CPU {1000 * each.cpu / len(each.seconds):,.1f} ms"
            row = f"{database}, {what}: 99th percentile"
            report.row(row, p99, "ms", sized=True, beside=beside, at_most=MOST_MS, digits=1)
        grown = [
            growth(
                report, f"{database}, what is waiting", partial(early.get, FIRST), partial(late.get, FIRST)
            ),
            growth(report, f"{database}, a scrape of /metrics", few.scrape, many.scrape),
        ]
    return {"slowest_p99_ms": round(slowest, 1), "growth": round(max(grown), 2)}


def wait_until_warm(of: Side) -> None:
    """Until it has imported all that it imports after its start."""
    spent = cpu_seconds(of.served.processes())
    for _ in range(_MOST_SECONDS):
        time.sleep(1)
        before, spent = spent, cpu_seconds(of.served.processes())
        if spent - before < _IDLE:
            return
    raise TimeoutError("the service never comes to rest")


def growth(report: Report, what: str, early: Callable[[], object], late: Callable[[], object]) -> float:
    """How much longer it takes with many promotions than with few, each of both in turn."""
    grown, beside = list[float](), ""
    for _ in range(report.rounds):
        pairs = [(seconds(early), seconds(late)) for _ in range(CALLS)]
        few, many = (statistics.median(side) for side in zip(*pairs, strict=True))
        grown.append(many / few)
        beside = f"{1000 * few:,.1f} ms → {1000 * many:,.1f} ms"
    found = statistics.median(grown)
    report.row(f"{what}: beside the same with 1,000", found, sized=True, beside=beside, at_most=MOST_GROWTH)
    return found


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun
