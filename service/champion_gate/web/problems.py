"""Errors as RFC 9457 `application/problem+json`, the framework's own included."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy.exc import InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from werkzeug.exceptions import HTTPException

from champion_gate.domain.text import one_line
from champion_gate.errors import GateError, InvalidInputError, StoreUnavailableError
from champion_gate.log import get_logger

log = get_logger(__name__)

_CONTENT_TYPE = "application/problem+json"
_RETRY_SECONDS = {HTTPStatus.CONFLICT: 1}
_USUAL_RETRY_SECONDS = 5
_MOST_FIELDS = 20


class FieldProblem(BaseModel):
    """What is wrong with one field or parameter."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Of the field or parameter, with dots between the levels.")
    detail: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it; some kinds have further members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Always `about:blank`: `code` says which error it is.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in words.")
    code: str = Field(
        description="Which error, for programs; stable.", json_schema_extra={"example": "on_hold"}
    )
    hint: str = Field(description="What you can do about it; may be empty.")
    errors: list[FieldProblem] | SkipJsonSchema[None] = Field(
        None,
        description="What is wrong with which field or parameter, of a 422.",
        json_schema_extra=lambda schema: schema.pop("default", None),  # type: ignore[arg-type]
    )


class NotReadyError(GateError):
    """Something without which the service cannot do its work does not answer."""

    code = "not_ready"
    status = 503
    retryable = True


class MalformedBodyError(GateError):
    """A body that cannot be read."""

    code = "malformed_body"
    status = 400


class UnsupportedMediaTypeError(GateError):
    """A body that does not say that it is JSON."""

    code = "unsupported_media_type"
    status = 415


_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    414: "uri_too_long",
}


def problem(status: int, *, code: str, detail: str, hint: str = "", **more: Any) -> Response:
    """An error as the client gets it."""
    # Not made by the model, which does not take every text; whoever gets an error must get one in any case.
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        **more,
    }
    return Response(json.dumps(body), status, content_type=_CONTENT_TYPE)


def code_of(status: int) -> str:
    """The stable name of an error that is known by its HTTP status alone."""
    return _CODES.get(status, HTTPStatus(status).name.lower())


def register(app: Flask) -> None:
    """Have every error that leaves the app take this form, but for those that it is to raise."""
    app.register_error_handler(HTTPException, _from_http_exception)
    if app.config["PROPAGATE_EXCEPTIONS"]:
        return
    app.register_error_handler(GateError, of_gate_error)
    # The server ends a session that was idle too long, which its driver calls internal.
    for kind in (OperationalError, InternalError, NoConnectionError):
        app.register_error_handler(kind, _from_database)
    app.register_error_handler(Exception, _from_unexpected)


def of_gate_error(error: GateError) -> Response:
    """One of our errors; where repeating may help, with the seconds after which to try."""
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", code=error.code, error=error.message)
    response = problem(error.status, code=error.code, detail=error.message, hint=error.hint)
    if error.retryable:
        asked = getattr(error, "retry_after", None)
        usual = _RETRY_SECONDS.get(HTTPStatus(error.status), _USUAL_RETRY_SECONDS)
        response.headers["Retry-After"] = str(usual if asked is None else max(1, math.ceil(asked)))
    return response


def of_validation_error(error: ValidationError) -> Response:
    """What pydantic found wrong, each field or parameter by its name."""
    found = [
        {"name": _name(each["loc"]), "detail": _what(each)}
        for each in error.errors(include_url=False)[:_MOST_FIELDS]
    ]
    detail = "; ".join(f"{each['name']}: {each['detail']}" for each in found)
    return problem(
        InvalidInputError.status,
        code=InvalidInputError.code,
        detail=f"{detail}.",
        hint="/docs describes every field and parameter.",
        errors=found,
    )


def _name(location: tuple[int | str, ...]) -> str:
    return one_line(".".join(map(str, location)), 100) or "the request"


def _what(found: Mapping[str, Any]) -> str:
    given = found.get("input")
    if found["type"] == "extra_forbidden":
        return "nothing of this name is taken here"
    if found["type"] == "missing":
        return "is missing"
    if found["type"] == "string_type" and isinstance(given, int | float) and not isinstance(given, bool):
        return f'write it in quotes: "{one_line(str(given), 40)}"'
    if found["type"] == "string_pattern_mismatch" and isinstance(given, str) and not given.strip():
        return "must not be blank"
    message = str(found["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _from_http_exception(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    response = problem(status, code=code_of(status), detail=error.description or "")
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _from_database(error: SQLAlchemyError) -> Response:
    """The database is away or busy; a statement of ours that it does not understand is our own fault."""
    if getattr(getattr(error, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return _from_unexpected(error)
    log.error("the database did not answer", exc_info=error)
    return of_gate_error(StoreUnavailableError("The database did not answer.", hint="Send it again later."))


def _from_unexpected(error: Exception) -> Response:
    log.error("request failed unexpectedly", exc_info=error)
    return problem(
        500, code="internal", detail="Something went wrong on our side.", hint="The log says what happened."
    )
