"""Serves a stand-in on a free loopback port, in a thread of this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from flask import Flask


class _AsSent(WSGIRequestHandler):
    """Hands paths over as they were sent, as gunicorn does; http.server makes one of several leading slashes."""

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.path = self.requestline.split()[1]
        return True


@contextmanager
def serve(app: Flask, *, port: int = 0) -> Iterator[str]:
    """Run the app until the block ends.

    Args:
        app: a stand-in's Flask app.
        port: TCP port on 127.0.0.1; 0 takes a free one.

    Yields:
        The base URL, without a trailing slash.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_AsSent)
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
