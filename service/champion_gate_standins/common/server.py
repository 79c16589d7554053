"""A stand-in's app, and its server on a free loopback port, in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from flask import Flask
from werkzeug.routing import Rule

from champion_gate_standins.common.http import WSGIServer


class _Route(Rule):
    """A route that is compiled once for all the apps of its kind, and to which no URL is ever built.

    Either takes a good part of the time of a test that starts stand-ins.
    """

    _compiled: ClassVar[dict[tuple[str, bool | None], dict[str, Any]]] = {}

    def compile(self) -> None:
        key = self.rule, self.merge_slashes
        if key not in self._compiled:
            super().compile()
            kept = ("_parts", "_trace", "_converters", "_build", "_build_unknown", "arguments")
            self._compiled[key] = {name: getattr(self, name) for name in kept}
        vars(self).update(self._compiled[key])

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        del append_unknown
        return _never_built


def _never_built(*_: object, **__: object) -> tuple[str, str]:
    raise NotImplementedError


class StandInApp(Flask):
    """Flask that is quick to set up, as tests make it anew again and again; it has no `url_for`."""

    url_rule_class = _Route


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
