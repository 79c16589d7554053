"""The reference: a bare Flask app that gives back what it is sent, under gunicorn with the service's own settings.

This module is both the app and gunicorn's configuration.
"""

from __future__ import annotations

from flask import Flask, Response, request

from champion_gate.gunicorn_conf import (
    accesslog,
    control_socket_disable,
    keepalive,
    threads,
    timeout,
    worker_tmp_dir,
    workers,
)

__all__ = [
    "accesslog",
    "control_socket_disable",
    "keepalive",
    "threads",
    "timeout",
    "worker_tmp_dir",
    "workers",
]

worker_class = "gthread"
loglevel = "warning"
app = Flask(__name__)


@app.post("/echo")
def echo() -> Response:
    return Response(request.get_data(), content_type="application/json")


@app.get("/livez")
def alive() -> Response:
    return Response(status=204)
