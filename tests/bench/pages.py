"""Pages: how long a browser waits for each page of the dashboard with 100,000 promotions in the store, and with 1,000."""

from __future__ import annotations

import re
import statistics
import time
from html import unescape
from typing import Any

import requests

from bench.filling import OTHER_MODELS
from bench.growth import DEEP, FEW, MANY, MOST_GROWTH, Side, side
from bench.report import Report, percentile
from integration.gate_world import api_token
from integration.store_samples import KEY

CALLS = 100
MOST_MS = 100
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
        self._url, self._session, self._cookies = of.served.url, requests.Session(), dict[str, str]()
        form = self.get("/sign-in")
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        self._send("POST", "/sign-in", {**fields, "token": api_token(of.between.store)})

    def get(self, path: str) -> str:
        """A page."""
        answer = self._send("GET", path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    def seconds(self, path: str) -> float:
        """How long a page takes."""
        begun = time.perf_counter()
        self.get(path)
        return time.perf_counter() - begun

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


def measure(report: Report) -> dict[str, Any]:
    """The part `pages`."""
    with side(FEW) as few, side(report.scaled(MANY, least=2 * FEW)) as many:
        early, late = Visitor(few), Visitor(many)
        deep = {
            f"{what}, deep in the list": late.deep(PATHS[what])
            for what in ("promotions", "an alias's history")
        }
        slowest = 0.0
        for what, path in {**PATHS, **deep}.items():
            late.seconds(path)
            taken = [late.seconds(path) for _ in range(CALLS)]
            p99 = 1000 * percentile(taken, 99)
            slowest = max(slowest, p99)
            beside = f"median {1000 * statistics.median(taken):,.1f} ms"
            report.row(
                f"{what}: 99th percentile", p99, "ms", sized=True, beside=beside, at_most=MOST_MS, digits=1
            )
        grown = []
        for _ in range(report.rounds):
            pairs = [(early.seconds(FIRST), late.seconds(FIRST)) for _ in range(CALLS // 4)]
            grown.append(statistics.median(b for _, b in pairs) / statistics.median(a for a, _ in pairs))
        growth = statistics.median(grown)
        report.row("the first page, beside the same with 1,000", growth, sized=True, at_most=MOST_GROWTH)
    return {"slowest_p99_ms": round(slowest, 1), "first_page": round(growth, 2)}
