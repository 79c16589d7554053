"""The app for gunicorn: `champion_gate.wsgi:create()`."""

from __future__ import annotations

import os
import sys

from flask import Flask
from gunicorn.arbiter import Arbiter

from champion_gate.bootstrap import build_service
from champion_gate.domain.ports.runtime import Clock
from champion_gate.errors import ConfigurationError
from champion_gate.flow.context import Waits
from champion_gate.log import get_logger

log = get_logger(__name__)


def create(waits: Waits | None = None, clock: Clock | None = None) -> Flask:
    """Build the service out of the environment; gunicorn's hooks start and stop its workers.

    Args:
        waits: how long is waited for what; as in production by default.
        clock: where the time comes from; the machine's by default.

    Returns:
        The app, with the service in `extensions["champion_gate"]`.

    Raises:
        SystemExit: the configuration cannot be used; the code keeps gunicorn from trying again and again.
    """
    try:
        service = build_service(os.environ, waits=waits, clock=clock)
    except ConfigurationError as error:
        log.critical("the service does not start", reason=error.message)
        sys.exit(Arbiter.APP_LOAD_ERROR)
    service.app.extensions["champion_gate"] = service
    return service.app
