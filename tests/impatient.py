"""The service as gunicorn runs it, but for one wait: that for a request whose opening was not confirmed."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from champion_gate import wsgi
from champion_gate.flow.context import Waits

REQUEST_APPEARS = timedelta(seconds=20)
"""In production two minutes, for a vendor's list may lag; a stand-in's does not."""


def create() -> Flask:
    """The app; what was lost to a kill between the intent and the call is asked for again after seconds."""
    return wsgi.create(Waits(request_appears=REQUEST_APPEARS))
