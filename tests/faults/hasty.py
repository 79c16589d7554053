"""The service as gunicorn runs it, with waits that fit faults of seconds: thousands of them fit into minutes.

What is asked for anew here after seconds cannot arrive any more: no fault of `proxy` carries anything out later.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from flask import Flask

from champion_gate.bootstrap import build_service
from champion_gate.flow.context import Waits

APP = f"{__name__}:create()"
SOON = timedelta(seconds=1)
LEASE_SECONDS, ALIAS_LEASE_SECONDS = "HASTY_LEASE_SECONDS", "HASTY_ALIAS_LEASE_SECONDS"
"""Variables of how long a lease is: by default longer than any fault but the longest, which costs its row the lease."""
AHEAD_SECONDS = "HASTY_AHEAD_SECONDS"
"""The variable of how far the service's clock is ahead."""
_LEASE = "12"


class _Ahead:
    """The machine's clock, put ahead."""

    def __init__(self, seconds: float) -> None:
        self._by = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """What the service takes for the time, in UTC."""
        return datetime.now(UTC) + self._by


def create() -> Flask:
    """The app, with the service in `extensions["champion_gate"]`."""
    waits = Waits(
        lease_seconds=float(os.environ.get(LEASE_SECONDS, _LEASE)),
        alias_lease_seconds=float(os.environ.get(ALIAS_LEASE_SECONDS, _LEASE)),
        request_appears=timedelta(seconds=4),
        request_search=SOON,
        recheck=SOON,
        look=timedelta(seconds=20),
        look_soon=SOON,
        look_after_write=SOON,
        copy_arrives=timedelta(seconds=4),
        run_look=SOON,
        run_look_longest=timedelta(seconds=4),
        job_look=SOON,
        endpoint_look=SOON,
        late_update=timedelta(seconds=20),
        turn=SOON,
    )
    service = build_service(os.environ, waits=waits, clock=_Ahead(float(os.environ.get(AHEAD_SECONDS, "0"))))
    service.app.extensions["champion_gate"] = service
    return service.app
