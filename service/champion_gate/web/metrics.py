"""`/metrics`, for Prometheus: what the rows tell at this moment, and what this process has counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, Response, request
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from champion_gate import __version__
from champion_gate.domain.callers import Role
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepKind, StepPhase
from champion_gate.meters import PREFIX, Meters
from champion_gate.store import Store
from champion_gate.store.figures import Figures
from champion_gate.web.auth import Auth, guarded

_HOOKS = "/hooks/"

Values = Iterable[tuple[tuple[str, ...], float]]
"""Labels' values, and what was measured."""


@dataclass(frozen=True)
class Moment:
    """What a scrape reads.

    Attributes:
        findings: what the doctor found that is not right.
    """

    figures: Figures
    findings: Sequence[Mapping[str, str]]
    now: datetime

    def age(self, since: datetime | None) -> float:
        """Seconds; zero where there is nothing, or clocks of replicas differ."""
        return 0.0 if since is None else max((self.now - since).total_seconds(), 0.0)


@dataclass(frozen=True)
class Gauge:
    """Something that is read anew for each scrape."""

    name: str
    what: str
    labels: tuple[str, ...]
    read: Callable[[Moment], Values]

    def family(self, moment: Moment | None) -> GaugeMetricFamily:
        """As Prometheus is told it; without values where there is no moment."""
        family = GaugeMetricFamily(self.name, self.what, labels=self.labels)
        for labels, value in () if moment is None else self.read(moment):
            family.add_metric(labels, value)
        return family


_OPEN = tuple(phase for phase in Phase if phase.is_open)
_NO_STEPS = {(kind.value, phase.value): 0 for kind in StepKind for phase in StepPhase}
GAUGES = (
    Gauge(
        "champion_gate_build_info",
        "1, with the version of the service.",
        ("version",),
        lambda _: [((__version__,), 1)],
    ),
    Gauge(
        "champion_gate_notifications",
        "Job notifications by what they came to.",
        ("phase",),
        lambda at: [((each,), at.figures.notifications.get(each, 0)) for each in NotificationPhase],
    ),
    Gauge(
        "champion_gate_promotions",
        "Promotions by phase.",
        ("phase",),
        lambda at: [((each,), at.figures.promotions.get(each, 0)) for each in Phase],
    ),
    Gauge(
        "champion_gate_oldest_promotion_seconds",
        "How long ago the oldest promotion of an open phase was asked for; 0 where there is none.",
        ("phase",),
        lambda at: [((each,), at.age(at.figures.oldest.get(each))) for each in _OPEN],
    ),
    Gauge(
        "champion_gate_steps",
        "Work around promotions and behind moves of aliases, by its kind and phase.",
        ("kind", "phase"),
        lambda at: {**_NO_STEPS, **at.figures.steps}.items(),
    ),
    Gauge(
        "champion_gate_overdue_seconds",
        "For how long the open row that is longest due has been so; 0 where none is.",
        ("rows",),
        lambda at: [
            ((each,), at.age(at.figures.overdue.get(each)))
            for each in ("notifications", "promotions", "steps")
        ],
    ),
    Gauge(
        "champion_gate_sweep_age_seconds",
        "How long ago a sweep last began, on whichever replica; 0 before the first one.",
        (),
        lambda at: [((), at.age(at.figures.swept_at))],
    ),
    Gauge(
        "champion_gate_ledger_lines",
        "Lines of the ledger. It never shrinks.",
        (),
        lambda at: [((), at.figures.ledger_lines)],
    ),
    Gauge(
        f"{PREFIX}doctor_findings",
        "What the doctor of this process found in its last round that is not right: 1 for each kind of check, with its worst verdict.",
        ("check", "verdict"),
        lambda at: Counter((each["check"], each["verdict"]) for each in at.findings).items(),
    ),
)


def _moment(store: Store, findings: Sequence[Mapping[str, str]], now: datetime) -> Moment:
    return Moment(store.figures(now), findings, now)


class Scraped(Collector):
    """Reads the gauges; `describe` needs no database."""

    def __init__(self, read: Callable[[], Moment]) -> None:
        self._read = read

    def describe(self) -> Iterator[Metric]:
        """Their names, before anything is there."""
        return (gauge.family(None) for gauge in GAUGES)

    def collect(self) -> Iterator[Metric]:
        """All of them, as of one moment."""
        moment = self._read()
        return (gauge.family(moment) for gauge in GAUGES)


class Metrics:
    """The view behind `/metrics`, and what counts webhooks for it."""

    def __init__(
        self, meters: Meters, store: Store, clock: Clock, findings: Callable[[], Sequence[Mapping[str, str]]]
    ) -> None:
        """Set up.

        Args:
            meters: what this process counts.
            store: whose rows are counted at each scrape.
            clock: for ages.
            findings: what the doctor found that is not right; at hand.
        """
        self._meters = meters
        meters.registry.register(Scraped(lambda: _moment(store, findings(), clock.now())))

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def metrics(self) -> Response:
        """Everything, as OpenMetrics or in Prometheus' text format, whichever is asked for."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(self._meters.registry), content_type=content_type)

    def count_hooks(self, app: Flask) -> None:
        """Count every answer of a route of hooks, also where nobody was let in."""

        @app.after_request
        def count(response: Response) -> Response:
            if request.url_rule is not None and request.url_rule.rule.startswith(_HOOKS):
                hook = request.url_rule.rule.removeprefix(_HOOKS)
                self._meters.answered_hook(hook, response.status_code)
            return response
