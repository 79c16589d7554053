"""Errors as RFC 9457 `application/problem+json`, the framework's own included."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from champion_gate.errors import GateError
from champion_gate.log import get_logger

log = get_logger(__name__)


class NotReadyError(GateError):
    """Something without which the service cannot do its work does not answer."""

    code = "not_ready"
    status = 503
    retryable = True


_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
}


def problem(status: int, *, code: str, detail: str, hint: str = "", **more: Any) -> Response:
    """An error as the client gets it.

    Args:
        status: the HTTP status.
        code: stable machine-readable name.
        detail: what happened, in words.
        hint: what the reader may do about it; may be empty.
        **more: further members that JSON knows.
    """
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        **more,
    }
    return Response(json.dumps(body), status, content_type="application/problem+json")


def register(app: Flask) -> None:
    """Have every error that leaves the app take this form."""
    app.register_error_handler(GateError, _from_gate_error)
    app.register_error_handler(HTTPException, _from_http_exception)
    app.register_error_handler(Exception, _from_unexpected)


def _from_gate_error(error: GateError) -> Response:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", code=error.code, error=error.message)
    response = problem(error.status, code=error.code, detail=error.message, hint=error.hint)
    if error.status == HTTPStatus.UNAUTHORIZED and (challenge := g.get("challenge")):
        response.headers["WWW-Authenticate"] = challenge
    return response


def _from_http_exception(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    code = _CODES.get(status, HTTPStatus(status).name.lower())
    response = problem(status, code=code, detail=error.description or "")
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _from_unexpected(error: Exception) -> Response:
    log.error("request failed unexpectedly", exc_info=error)
    return problem(
        500, code="internal", detail="Something went wrong on our side.", hint="The log says what happened."
    )
