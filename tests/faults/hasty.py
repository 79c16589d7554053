"""The service as gunicorn runs it, with waits that fit faults of seconds: thousands of them fit into minutes.

What is asked for anew here after seconds cannot arrive any more: no fault of `proxy` carries anything out later.
"""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from champion_gate import wsgi
from champion_gate.flow.context import Waits

APP = f"{__name__}:create()"
SOON = timedelta(seconds=1)
LEASE_SECONDS = 20.0
"""Longer than the longest fault: a call that is not answered in it holds its row no longer."""


def create() -> Flask:
    """The app."""
    return wsgi.create(
        Waits(
            lease_seconds=LEASE_SECONDS,
            alias_lease_seconds=LEASE_SECONDS,
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
    )
