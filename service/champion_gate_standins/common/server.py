"""A stand-in's app, and its server on a free loopback port, in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.routing import Rule

from champion_gate_standins.common.http import WSGIServer


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


@contextmanager
def serve(app: Flask, *, port: int = 0) -> Iterator[str]:
    """Run the app until the block ends.

    Args:
        app: a stand-in's Flask app.
        port: TCP port on 127.0.0.1; 0 takes a free one.

    Yields:
        The base URL, without a trailing slash.
    """
    with WSGIServer(app, port) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            server.stop()
            thread.join()
