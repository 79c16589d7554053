"""`/livez` says that the process answers, `/readyz` that what it needs answers too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, jsonify

from champion_gate.core.ports import Clock
from champion_gate.errors import GateError
from champion_gate.log import get_logger
from champion_gate.web.auth import Auth, guarded
from champion_gate.web.problems import NotReadyError, problem

log = get_logger(__name__)


@dataclass(frozen=True)
class Check:
    """Something that must answer before the service can do its work.

    Attributes:
        name: shown in `/readyz`, e.g. "database".
        run: raises when it does not answer.
        hint: what the operator should do then.
    """

    name: str
    run: Callable[[], None]
    hint: str


@dataclass(frozen=True)
class _Report:
    at: datetime
    failed: tuple[Check, ...]


class Health:
    """The views behind `/livez` and `/readyz`."""

    def __init__(
        self,
        checks: Sequence[Check],
        clock: Clock,
        *,
        keep: timedelta = timedelta(seconds=5),
        bound: timedelta = timedelta(seconds=5),
    ) -> None:
        """Set up.

        Args:
            checks: what `/readyz` runs, all at the same time.
            clock: for the age of the last report.
            keep: how long a report is given out again, so that nobody can hammer the vendors through us.
            bound: how long a check may take before it counts as failed.
        """
        self._checks = tuple(checks)
        self._clock = clock
        self._keep = keep
        self._bound = bound.total_seconds()
        self._last: _Report | None = None
        self._running: dict[str, _Run] = {}
        self._one_at_a_time = threading.Lock()

    @guarded(Auth.NONE)
    def livez(self) -> Response:
        """Answer, without looking at anything."""
        return jsonify({"status": "alive"})

    @guarded(Auth.NONE)
    def readyz(self) -> Response:
        """Answer 200 if all checks passed, else 503 with those that failed."""
        report = self._report()
        if report is None:
            return problem(503, code=NotReadyError.code, detail="The first checks are still running.")
        if report.failed:
            return problem(
                503,
                code=NotReadyError.code,
                detail="Not ready: " + ", ".join(check.name for check in report.failed) + ".",
                hint=" ".join(check.hint for check in report.failed),
                failed=[{"check": check.name, "hint": check.hint} for check in report.failed],
            )
        return jsonify({"status": "ready", "checks": [check.name for check in self._checks]})

    def _report(self) -> _Report | None:
        last = self._last
        if last is not None and timedelta() <= self._clock.now() - last.at < self._keep:
            return last
        # Those who come while somebody is looking get the last report: no thread waits for another.
        if not self._one_at_a_time.acquire(blocking=False):
            return last
        try:
            self._last = _Report(self._clock.now(), self._run_all())
            return self._last
        finally:
            self._one_at_a_time.release()

    def _run_all(self) -> tuple[Check, ...]:
        deadline = time.monotonic() + self._bound
        for check in self._checks:
            # One that still hangs from last time is waited for, not started once more.
            if check.name not in self._running:
                self._running[check.name] = _Run(check)
        failed = []
        for check in self._checks:
            run = self._running[check.name]
            run.done.wait(max(deadline - time.monotonic(), 0))
            if run.done.is_set():
                del self._running[check.name]
            if not run.passed:
                failed.append(check)
        return tuple(failed)


class _Run:
    """One run of a check, in a thread of its own; `passed` stays False until it has."""

    def __init__(self, check: Check) -> None:
        self.done = threading.Event()
        self.passed = False
        self._check = check
        threading.Thread(target=self._run, name=f"check-{check.name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._check.run()
            self.passed = True
        except GateError as error:
            log.warning("check failed", kind=self._check.name, code=error.code, error=error.message)
        except Exception:  # a check that cannot be run has not passed
            log.exception("check failed", kind=self._check.name)
        finally:
            self.done.set()
