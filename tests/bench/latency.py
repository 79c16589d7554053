"""Latency: from a notification to the open request, and from an approval to the alias, beside the critical path.

The vendors are stand-ins in this process, which does nothing else while it waits; the service is a process of its own.

The critical path is the longest chain of calls of which each needs an earlier one, or has to come after it
(tests/integration/test_calls.py holds which):

    open     job run > versions > candidate's MLflow run > [its row] > alias and Champion > its MLflow run > that run's
             models > the request: 7 everywhere; the place and people are surveyed beside the registry.
    apply    GitHub: run > jobs > votes > attempt > alias (beside it the version) > PUT > read back: 7.
             GitLab with approval rules: pipeline > jobs > deployments > that deployment's votes > who voted > alias >
             PUT > read back: 8. Only the list tells the deployment's id, only the deployment who voted.
             MLflow: one more, since its client reads the model before it sets an alias on it.

A call of that path is taken to last as long as the answer is held up, and as long as the same promotion's reads last
without that: a process of its own sends them one after the other by `requests`, over connections that are kept.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import requests

from bench.report import Report
from champion_gate.domain.promotion import Phase
from champion_gate.store import Store, open_store
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn, Hook
from integration.gate_models import TRAINER, CatalogModels, MlflowModels, Models, empty_mlflow_database
from integration.gate_providers import PROVIDERS, GitHubProvider, GitLabProvider, Provider
from integration.gate_world import GATE, SECRETS
from integration.journal import Call, Journal, forwarded
from integration.mlflow_server import MlflowServer, mlflow_server
from integration.process_world import Served, free_port, until

DELAY_SECONDS = 0.05
MOST_RATIO = 1.15
REPLAYS = 3
DEPTHS = {
    ("uc", "github"): (7, 7),
    ("uc", "gitlab-rules"): (7, 8),
    ("mlflow", "github"): (7, 8),
    ("mlflow", "gitlab-rules"): (7, 9),
}
"""How deep the critical path is: (open, apply)."""
NAMES = {"uc": "Unity Catalog", "mlflow": "MLflow", "github": "GitHub", "gitlab-rules": "GitLab"}

_session = requests.Session()


@dataclass
class Way:
    """One promotion.

    Attributes:
        opening, applying: its calls; the last one ends the way.
        opened, applied: seconds.
    """

    opening: list[Call]
    applying: list[Call]
    opened: float
    applied: float


@dataclass
class Between:
    """A service between its vendors."""

    databricks: DatabricksStandIn
    provider: Provider
    models: Models
    journal: Journal
    job_id: str
    urls: dict[str, str]
    tokens: dict[str, dict[str, str]]
    store: Store

    def promote(self, delay: float) -> Way:
        """One promotion, with every answer held up so long."""
        self.journal.delay = delay
        run_id = self.databricks.jobs.start_run(self.job_id)
        version = self.models.train(
            self.job_id, self.databricks.jobs.task_run_id(run_id, "train"), {"f1": 0.91}
        )
        self.journal.calls.clear()
        begun = time.perf_counter()
        self.databricks.jobs.finish_run(run_id)
        asked = self.wait_for(version, Phase.PENDING_APPROVAL)
        opening = _until(self.journal.calls, self.provider.opening)
        self.let_start(asked)
        self.journal.calls.clear()
        approved = time.perf_counter()
        self.let_start(asked, last=True)
        self.wait_for(version, Phase.PROMOTED)
        alias = "/aliases/Champion" if isinstance(self.models, CatalogModels) else "/registered-models/alias"
        applying = _until(self.journal.calls, alias, 1)  # it is read back
        self.settle()
        return Way(opening, applying, opening[-1].ended - begun, applying[-1].ended - approved)

    def let_start(self, request_id: str, *, last: bool = False) -> None:
        """What people do; at last what lets the job start, of which the service is told by a webhook."""
        provider = self.provider
        if isinstance(provider, GitLabProvider):
            if last:
                provider.standin.play(provider.standin.job(request_id), "reviewer-1")
                return
            provider.standin.webhooks.lost = True
            provider.standin.approve_deployment(provider.standin.deployment(request_id), "reviewer-1")
            provider.standin.webhooks.lost = False
        elif last:
            provider.approve(request_id, "reviewer-1")

    def wait_for(self, version: str, phase: Phase) -> str:
        """The request of the version's promotion, once that is so far."""

        def found() -> str | None:
            for each in self.store.list_promotions(limit=3).items:
                if each.version.version == version and each.phase is phase and each.request is not None:
                    return each.request.external_id
            return None

        request_id: str = until(found, lambda: str(self.store.list_promotions(limit=3).items))
        return request_id

    def settle(self) -> None:
        """Return once nothing is left to be done, and no webhook under way."""
        if isinstance(self.provider, GitHubProvider | GitLabProvider):
            self.provider.standin.webhooks.drain()
        until(lambda: not any(self.store.open_steps(each.id) for each in self.newest()), "work is left")

    def newest(self) -> tuple[Any, ...]:
        """The last promotions."""
        return self.store.list_promotions(limit=3).items

    def reads(self, calls: list[Call]) -> list[tuple[str, dict[str, str]]]:
        """Address and headers of the reads among the calls."""
        found = []
        for call in calls:
            method, path = call.line.split(" ", 1)
            vendor = "databricks" if path.startswith("/api/2.") else "provider"
            if path.startswith("/api/2.0/mlflow") and "mlflow" in self.urls:
                vendor = "mlflow"
            if method == "GET":
                found.append((self.urls[vendor] + path, self.tokens[vendor]))
        return found


def measure(report: Report) -> dict[str, Any]:
    """The part `latency`."""
    found: dict[str, dict[str, float]] = {"open": {}, "apply": {}}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for kind, depths in DEPTHS.items():
            with tempfile.TemporaryDirectory() as folder, between(Path(folder), *kind) as world:
                taken = Taken(depths)
                for _ in range(2):  # the first ones of a service cost more: it gets to know its vendors
                    world.promote(0)
                for _ in range(report.rounds):
                    taken.round(world, pool)
            name = f"{NAMES[kind[0]]}, {NAMES[kind[1]]}"
            for part in ("open", "apply"):
                ratio = taken.shown(report, part, name)
                found[part].setdefault(
                    "ratio_at_50ms", ratio
                )  # of Unity Catalog and GitHub, which come first
    return found


@dataclass
class Taken:
    """What the rounds measured."""

    depths: tuple[int, int]
    slow: list[Way] = field(default_factory=list)
    quick: list[Way] = field(default_factory=list)
    a_call: list[float] = field(default_factory=list)

    def round(self, world: Between, pool: Pool) -> None:
        """One promotion with each delay, and the reference."""
        self.slow.append(world.promote(DELAY_SECONDS))
        self.quick.append(world.promote(0))
        reads = world.reads([*self.quick[-1].opening, *self.quick[-1].applying])
        self.a_call.append(pool.apply(seconds_a_call, (reads,)))

    def shown(self, report: Report, part: str, name: str) -> float:
        """Report one part; returns its ratio with answers held up."""
        depth = self.depths[part == "apply"]

        def seconds(way: Way) -> float:
            return way.opened if part == "open" else way.applied

        def ratio(ways: list[Way], delay: float) -> float:
            pairs = zip(ways, self.a_call, strict=True)
            return statistics.median(seconds(way) / (depth * (delay + a_call)) for way, a_call in pairs)

        calls = [way.opening if part == "open" else way.applying for way in self.slow]
        count, waves = (
            statistics.median(len(each) for each in calls),
            statistics.median(deep(each) for each in calls),
        )
        for ways, delay in ((self.slow, DELAY_SECONDS), (self.quick, 0.0)):
            taken = statistics.median(map(seconds, ways))
            path = depth * (delay + statistics.median(self.a_call))
            report.row(
                f"{part}, {name}, answers after {1000 * delay:.0f} ms",
                ratio(ways, delay),
                beside=f"{1000 * taken:.0f} ms; {depth} calls in turn {1000 * path:.0f} ms",
                at_most=MOST_RATIO if delay else None,
            )
        report.row(f"{part}, {name}: calls, one after the other", waves, beside=f"{count:g} in all", digits=0)
        return round(ratio(self.slow, DELAY_SECONDS), 3)


def deep(calls: list[Call]) -> int:
    """How many of them, at the most, were made one after the other."""
    found, ended = 0, 0.0
    for call in sorted(calls, key=lambda each: each.ended):
        if call.begun >= ended:
            found, ended = found + 1, call.ended
    return found


def seconds_a_call(reads: list[tuple[str, dict[str, str]]]) -> float:
    """The mean of these reads, one after the other over kept connections; of some times, the median."""
    means = []
    for _ in range(REPLAYS):
        begun = time.perf_counter()
        for url, headers in reads:
            _session.get(url, headers=headers, timeout=60).raise_for_status()
        means.append((time.perf_counter() - begun) / len(reads))
    return statistics.median(means)


def _until(calls: list[Call], end: str, more: int = 0) -> list[Call]:
    """The calls until one whose path ends so, and so many after it."""
    at = next(
        at for at, call in enumerate(calls) if not call.line.startswith("GET ") and call.line.endswith(end)
    )
    return calls[: at + 1 + more]


@contextmanager
def between(folder: Path, registry: str, provider: str) -> Iterator[Between]:
    """A Champion, a watched job, a place where people approve, and a service that knows all of them."""
    databricks, there, journal = (
        DatabricksStandIn(),
        PROVIDERS[provider](lambda: datetime.now(UTC)),
        Journal(),
    )
    with ExitStack() as stack:
        journal.listen(databricks.app, there.app)
        urls = {
            "databricks": stack.enter_context(serve(databricks.app)),
            "provider": stack.enter_context(serve(there.app)),
        }
        models: Models = CatalogModels(databricks)
        if registry == "mlflow":
            (folder / "mlflow.db").write_bytes(empty_mlflow_database())
            urls["mlflow"] = stack.enter_context(
                forwarded(stack.enter_context(mlflow_server(folder)), journal)
            )
            models = MlflowModels(folder, MlflowServer(urls["mlflow"], folder / "mlflow.db"))
        port = free_port()
        job_id = databricks.jobs.add_job("train", run_as=TRAINER, creator=TRAINER, hook=_hook(port))
        models.move_alias(models.train(job_id, "1", {"f1": 0.9}))
        gate = {**GATE, "jobs": [int(job_id)], "model": models.model, "approval": there.approval()}
        file = {"registry": models.registry, there.key: there.server(urls["provider"]), "gates": [gate]}
        (folder / "gates.yaml").write_text(json.dumps(file))
        secrets = there.environ()
        _send_webhooks(there, port, secrets)
        environ = {
            **SECRETS,
            **secrets,
            "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
            "CHAMPION_GATE_DATABASE_URL": f"sqlite:///{folder}/gate.db",
            "CHAMPION_GATE_PORT": str(port),
            "DATABRICKS_HOST": urls["databricks"],
            "DATABRICKS_TOKEN": "standin-token",
        }
        stack.callback(there.stop)
        served = Served(environ, folder / "service.log")
        stack.callback(served.kill)
        served.wait_until_working()
        until(lambda: "first looked" in served.output(), served.output)
        store = stack.enter_context(open_store(environ["CHAMPION_GATE_DATABASE_URL"]))
        tokens = {"databricks": _bearer("standin-token"), "mlflow": {}, "provider": _signed_in(secrets)}
        yield Between(databricks, there, models, journal, job_id, urls, tokens, store)


def _hook(port: int) -> Hook:
    return Hook(
        f"http://127.0.0.1:{port}/hooks/databricks",
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
    )


def _send_webhooks(there: Provider, port: int, secrets: dict[str, str]) -> None:
    if isinstance(there, GitHubProvider):
        there.standin.webhooks.url = f"http://127.0.0.1:{port}/hooks/github"
        there.standin.webhooks.secret = SECRETS["CHAMPION_GATE_GITHUB_WEBHOOK_SECRET"]
    elif isinstance(there, GitLabProvider):
        there.standin.webhooks.url = f"http://127.0.0.1:{port}/hooks/gitlab"
        there.standin.webhooks.signing_token = secrets["CHAMPION_GATE_GITLAB_SIGNING_TOKEN"]


def _signed_in(secrets: dict[str, str]) -> dict[str, str]:
    if "CHAMPION_GATE_GITHUB_TOKEN" in secrets:
        return _bearer(secrets["CHAMPION_GATE_GITHUB_TOKEN"])
    return {"PRIVATE-TOKEN": secrets["CHAMPION_GATE_GITLAB_READ_TOKEN"]}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
