"""The service as gunicorn runs it, with leases of seconds: a test can wait until one that is frozen has lost them."""

from __future__ import annotations

from flask import Flask

from champion_gate import wsgi
from champion_gate.flow.context import Waits

APP = f"{__name__}:create()"
LEASE_SECONDS = 8.0


def create() -> Flask:
    """The app."""
    return wsgi.create(Waits(lease_seconds=LEASE_SECONDS, alias_lease_seconds=LEASE_SECONDS))
