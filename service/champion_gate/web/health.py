"""`/livez` says that the process answers, `/readyz` that it can do its work, and how the vendors are.

A vendor that is away does not make it unready: hooks and rollbacks must go on being taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, jsonify

from champion_gate.domain.ledger.chain import LedgerHead, head_view
from champion_gate.domain.ports.runtime import Clock
from champion_gate.errors import GateError, VendorNotFoundError, VendorRefusedError, VendorUnavailableError
from champion_gate.log import get_logger
from champion_gate.web.auth import Auth, guarded
from champion_gate.web.problems import NotReadyError, problem

log = get_logger(__name__)

_VENDOR_SECONDS = 1.0  # a probe must be answered, whatever hangs


@dataclass(frozen=True)
class Check:
    """Something that the service needs.

    Attributes:
        name: shown in `/readyz`, e.g. "database".
        run: raises when it does not answer; what it returns does not matter.
        hint: what the operator should do then; of a vendor, where it refuses.
        is_vendor: whether it is no part of ours, and so does not make us unready.
    """

    name: str
    run: Callable[[], object]
    hint: str
    is_vendor: bool = False


@dataclass(frozen=True)
class _Report:
    at: datetime
    failed: tuple[Check, ...]
    head: LedgerHead | None
    vendors: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]


class Health:
    """The views behind `/livez` and `/readyz`."""

    def __init__(
        self,
        checks: Sequence[Check],
        clock: Clock,
        *,
        ledger_head: Callable[[], LedgerHead] | None = None,
        warnings: Callable[[], Sequence[str]] | None = None,
        findings: Callable[[], Sequence[Mapping[str, str]]] = tuple,
        keep: timedelta = timedelta(seconds=5),
        bound: timedelta = timedelta(seconds=5),
    ) -> None:
        """Set up.

        Args:
            checks: what `/readyz` runs, all at the same time.
            clock: for the age of the last report.
            ledger_head: reads the head that `/readyz` shows, so that others can note it; None for none.
            warnings: what a person should look at, though the service is ready; anybody may read it.
            findings: what the doctor found that is not right; at hand, and anybody may read it.
            keep: how long a report is given out again, so that nobody can hammer the vendors through us.
            bound: how long a check may take before it counts as failed.
        """
        self._checks = tuple(checks)
        self._clock = clock
        self._keep = keep
        self._bound = bound.total_seconds()
        self._last: _Report | None = None
        self._head = None if ledger_head is None else Check("ledger head", ledger_head, "")
        self._findings = findings
        self._warnings = None if warnings is None else Check("warnings", warnings, "")
        self._running: dict[str, _Run] = {}
        self._vendors: dict[str, dict[str, str]] = {}
        self._one_at_a_time = threading.Lock()

    @guarded(Auth.NONE)
    def livez(self) -> Response:
        """Answer, without looking at anything."""
        return jsonify({"status": "alive"})

    @guarded(Auth.NONE)
    def readyz(self) -> Response:
        """Answer 200 if our own checks passed, else 503 with those that failed; the vendors' state with both."""
        report = self._report()
        if report is None:
            return problem(503, code=NotReadyError.code, detail="The first checks are still running.")
        more: dict[str, object] = {"vendors": list(report.vendors)}
        if report.warnings:
            more["warnings"] = list(report.warnings)
        if found := self._findings():
            more["doctor"] = list(found)
        if report.head is not None:
            more["ledger"] = head_view(report.head)
        if report.failed:
            return problem(
                503,
                code=NotReadyError.code,
                detail="Not ready: " + ", ".join(check.name for check in report.failed) + ".",
                hint=" ".join(check.hint for check in report.failed),
                failed=[{"check": check.name, "hint": check.hint} for check in report.failed],
                **more,
            )
        ours = [check.name for check in self._checks if not check.is_vendor]
        return jsonify({"status": "ready", "checks": ours, **more})

    def _report(self) -> _Report | None:
        last = self._last
        if last is not None and timedelta() <= self._clock.now() - last.at < self._keep:
            return last
        # Those who come while somebody is looking get the last report: no thread waits for another.
        if not self._one_at_a_time.acquire(blocking=False):
            return last
        try:
            self._last = self._run_all(self._clock.now())
            return self._last
        finally:
            self._one_at_a_time.release()

    def _run_all(self, at: datetime) -> _Report:
        begun = time.monotonic()
        own = [check for check in (self._head, self._warnings) if check is not None]
        checks = (*self._checks, *own)
        for check in checks:
            # One that still hangs from last time is waited for, not started once more.
            if check.name not in self._running:
                self._running[check.name] = _Run(check)
        failed, vendors = [], []
        head: LedgerHead | None = None
        warnings: tuple[str, ...] = ()
        for check in checks:
            run = self._running[check.name]
            # A balancer asks who is ready, and waits for no vendor.
            bound = min(self._bound, _VENDOR_SECONDS) if check.is_vendor else self._bound
            run.done.wait(max(begun + bound - time.monotonic(), 0))
            if run.done.is_set():
                del self._running[check.name]
            if isinstance(run.found, LedgerHead):
                head = run.found
            elif check is self._warnings:
                warnings = tuple(run.found) if isinstance(run.found, list) else ()
            elif check.is_vendor:
                if run.done.is_set() or time.monotonic() - run.begun >= self._bound:
                    self._vendors[check.name] = run.vendor_view()
                vendors.append(self._vendors.get(check.name) or {"vendor": check.name, "state": "unknown"})
            elif not run.passed and check is not self._head:
                failed.append(check)
        return _Report(at, tuple(failed), head, tuple(vendors), warnings)


class _Run:
    """One run of a check, in a thread of its own; `passed` stays False until it has."""

    def __init__(self, check: Check) -> None:
        self.done = threading.Event()
        self.passed = False
        self.found: object = None
        self.error: Exception | None = None
        self.begun = time.monotonic()
        self._check = check
        threading.Thread(target=self._run, name=f"check-{check.name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.found = self._check.run()
            self.passed = True
        except GateError as error:
            self.error = error
            log.warning(
                "check failed", kind=self._check.name, code=error.code, error=error.message, reason=error.hint
            )
        except Exception as error:  # a check that cannot be run has not passed
            self.error = error
            log.exception("check failed", kind=self._check.name)
        finally:
            self.done.set()

    def vendor_view(self) -> dict[str, str]:
        """How the vendor is, and what to do; nothing of what it said, for anybody may read this."""
        state, hint = "answers", ""
        if not self.done.is_set() or isinstance(self.error, VendorUnavailableError):
            state = "unreachable"
            hint = "Is it up, and may this machine reach it? What waits for it goes on when it answers."
        elif isinstance(self.error, VendorRefusedError) and not isinstance(self.error, VendorNotFoundError):
            state, hint = "refused", self._check.hint
        elif self.error is not None:
            state, hint = "misconfigured", f"{self._check.hint} The service's log says what is wrong."
        return {"vendor": self._check.name, "state": state, **({"hint": hint} if hint else {})}
