"""The Flask app of the GitLab stand-in: its address, its words for what is not there, one request at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Blueprint, Flask, g, request

from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.server import StandInApp
from champion_gate_standins.gitlab.api import problem
from champion_gate_standins.gitlab.state import RefusedError, State

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_WORDS = {404: "404 Not Found", 405: "405 Method Not Allowed"}


def build_app(state: State, blueprints: Iterable[Blueprint], *, prefix: str) -> tuple[Flask, Faults]:
    """The app that serves these routes, and how to make it misbehave.

    Args:
        state: locked while a request is served; learns the address at which it is reached.
        blueprints: the routes.
        prefix: path of the installation, e.g. "/gitlab"; elsewhere everything is 404.
    """
    app = StandInApp(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    app.register_error_handler(RefusedError, problem)
    for status, words in _WORDS.items():
        app.register_error_handler(
            status, lambda _error, words=words, status=status: ({"error": words}, status)
        )

    @app.before_request
    def learn_address() -> None:
        state.base_url = g.own_address = state.external_url or request.url_root.rstrip("/")

    inner = app.wsgi_app

    def locked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if prefix:
            inside = path.startswith(f"{prefix}/")
            environ = {
                **environ,
                "SCRIPT_NAME": prefix if inside else "",
                "PATH_INFO": path.removeprefix(prefix) if inside else "/outside",
            }
        with state.lock:
            return inner(environ, start_response)

    faults = Faults(locked)
    app.wsgi_app = faults  # type: ignore[method-assign]
    return app, faults
