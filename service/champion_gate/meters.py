"""What this process counts and times, for `/metrics`. What the rows tell is not counted: it is read from them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from champion_gate.errors import GateError

PREFIX = "champion_gate_process_"
"""Begins the names of what one process counts, so that nobody takes it for what all of them did."""
_CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
_DECISION_SECONDS = (60.0, 300.0, 900.0, 3600.0, 14400.0, 28800.0, 86400.0, 259200.0, 604800.0, 1209600.0)
_APPLICATION_SECONDS = (0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)


@dataclass(frozen=True)
class Meter:
    """How a counter or histogram is declared, for its page."""

    name: str
    kind: str
    labels: tuple[str, ...]
    what: str


class Meters:
    """Counters of one process; they begin at zero when it starts. May be shared between threads.

    Attributes:
        registry: all of them, and what else `/metrics` shows.
        declared: each of them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.declared: list[Meter] = []
        ProcessCollector(registry=self.registry)
        self._calls = self._histogram(
            "vendor_call_seconds",
            "Calls to a vendor, repeats included. `outcome` is `ok` or an error's code.",
            _CALL_SECONDS,
            "vendor",
            "outcome",
        )
        self._decisions = self._histogram(
            "decision_seconds",
            "From the request that people were shown to what they decided.",
            _DECISION_SECONDS,
            "verdict",
        )
        self._applications = self._histogram(
            "application_seconds",
            "From the approval, when it was read, to the alias that has moved.",
            _APPLICATION_SECONDS,
        )
        self._drift = self._counter(
            "drift", "Moves of aliases by somebody else that were put into the ledger as made outside."
        )
        self._hooks = self._counter(
            "hook_requests",
            "Webhooks by the status of the answer: 202 and 200 were taken, from 400 on they were refused.",
            "hook",
            "status",
        )

    def _histogram(self, name: str, what: str, buckets: Sequence[float], *labels: str) -> Histogram:
        self.declared.append(Meter(f"{PREFIX}{name}", "histogram", labels, what))
        return Histogram(f"{PREFIX}{name}", what, labels, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        self.declared.append(Meter(f"{PREFIX}{name}_total", "counter", labels, what))
        return Counter(f"{PREFIX}{name}", what, labels, registry=self.registry)

    @contextmanager
    def call(self, vendor: str) -> Iterator[None]:
        """Time one call to a vendor, whatever comes of it."""
        begun, outcome = time.monotonic(), "ok"
        try:
            yield
        except BaseException as error:
            outcome = error.code if isinstance(error, GateError) else "error"
            raise
        finally:
            self._calls.labels(vendor, outcome).observe(time.monotonic() - begun)

    def decided(self, verdict: str, opened_at: datetime | None, decided_at: datetime) -> None:
        """People have decided; the vendor's clock may be behind ours."""
        if opened_at is not None:
            self._decisions.labels(verdict).observe(max((decided_at - opened_at).total_seconds(), 0.0))

    def applied(self, approved_at: datetime | None, at: datetime) -> None:
        """An approval has moved its alias."""
        if approved_at is not None:
            self._applications.observe(max((at - approved_at).total_seconds(), 0.0))

    def drifted(self) -> None:
        """Somebody else's move of an alias was put on record."""
        self._drift.inc()

    def answered_hook(self, hook: str, status: int) -> None:
        """A webhook was answered.

        Args:
            hook: the last part of its route: one of a few.
            status: of the answer.
        """
        self._hooks.labels(hook, str(status)).inc()
