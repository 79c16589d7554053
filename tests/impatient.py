"""The service as gunicorn runs it, but for a few waits that stand-ins and tests do not need as long, and a clock that may go wrong."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask

from champion_gate import wsgi
from champion_gate.flow.context import Waits

REQUEST_APPEARS = timedelta(seconds=20)
"""In production 100 s, for a vendor's list may lag; a stand-in's does not."""
COPY_ARRIVES = timedelta(seconds=20)
"""The same of a copy that MLflow was asked for."""
LEASE_SECONDS = 20.0
"""So long a replica that was killed keeps its rows where another one works on."""
LOOK = timedelta(seconds=1)
"""Between looks at what the stand-ins' jobs and endpoints come to."""
CLOCK = "GATE_CLOCK_IS_AHEAD"
"""The variable that names a file with the seconds by which the service's clock is wrong."""


class WrongClock:
    """The machine's clock, and what a test has written into a file.

    Args:
        ahead: the file: by how many seconds it is ahead.
    """

    def __init__(self, ahead: Path) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        """What the service takes for the time, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=float(self._ahead.read_text()))


def set_clock(ahead: Path, seconds: float) -> None:
    """Put the clock of the services that read this file so many seconds ahead, at one stroke."""
    new = ahead.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(ahead)


def create() -> Flask:
    """The app; what was lost to a kill between the intent and the call is asked for again after seconds."""
    ahead = os.environ.get(CLOCK)
    return wsgi.create(
        Waits(
            request_appears=REQUEST_APPEARS,
            copy_arrives=COPY_ARRIVES,
            lease_seconds=LEASE_SECONDS,
            job_look=LOOK,
            endpoint_look=LOOK,
            turn=LOOK,
        ),
        clock=None if ahead is None else WrongClock(Path(ahead)),
    )
