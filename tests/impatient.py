"""The service as gunicorn runs it, but for a few waits that stand-ins and tests do not need as long."""

from __future__ import annotations

from datetime import timedelta

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


def create() -> Flask:
    """The app; what was lost to a kill between the intent and the call is asked for again after seconds."""
    return wsgi.create(
        Waits(
            request_appears=REQUEST_APPEARS,
            copy_arrives=COPY_ARRIVES,
            lease_seconds=LEASE_SECONDS,
            job_look=LOOK,
            endpoint_look=LOOK,
            turn=LOOK,
        )
    )
