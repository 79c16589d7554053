"""The service of `demo --full`, as gunicorn runs it: it looks more often at what the stand-ins do in seconds."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from champion_gate import wsgi
from champion_gate.flow.context import Waits

APP = f"{__name__}:create()"
_LOOK = timedelta(seconds=1)  # Databricks takes minutes for a job or an endpoint


def create() -> Flask:
    """The app; see `champion_gate.wsgi`."""
    return wsgi.create(Waits(run_look=_LOOK, job_look=_LOOK, endpoint_look=_LOOK, turn=_LOOK))
