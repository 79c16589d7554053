"""A stand-in's app, and its server on a free loopback port, in a thread of this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.routing import Rule
from werkzeug.serving import WSGIRequestHandler, make_server


class _MatchedOnly(Rule):
    """A route to which no URL is ever built; to compile how takes a fifth of the time of a test that starts stand-ins."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        del append_unknown
        return _never_built


def _never_built(*_: object, **__: object) -> tuple[str, str]:
    raise NotImplementedError


class StandInApp(Flask):
    """Flask that is quick to set up, as tests make it anew again and again; it has no `url_for`."""

    url_rule_class = _MatchedOnly


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
