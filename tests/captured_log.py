"""What the service logs when it runs in this process."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from champion_gate import log


@contextmanager
def logging_kept() -> Iterator[None]:
    """Whoever sets up logging in this block does so until its end."""
    root, ours = logging.getLogger(), structlog.get_config()
    before = (list(root.handlers), root.level)
    try:
        yield
    finally:
        root.handlers[:], root.level = before
        logging.captureWarnings(capture=False)
        structlog.configure(**ours)


@contextmanager
def captured_log() -> Iterator[io.StringIO]:
    """What is logged until the block ends, in the form that it has when the service runs."""
    with logging_kept():
        stream = io.StringIO()
        log.configure(stream=stream)
        yield stream
