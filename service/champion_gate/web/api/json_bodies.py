"""Bodies and query strings as strict as our models say, where the library in between is not."""

from __future__ import annotations

from typing import TypeVar

from flask import request
from pydantic import BaseModel

from champion_gate.domain.json_body import UnusableBodyError, json_object
from champion_gate.domain.text import one_line
from champion_gate.errors import InvalidInputError
from champion_gate.web.auth import body
from champion_gate.web.problems import MalformedBodyError, UnsupportedMediaTypeError

BODY_CAP = 64 * 1024
"""Bytes that a body of the API may have."""

Model = TypeVar("Model", bound=BaseModel)


def read_json(model: type[Model]) -> Model:
    """The body of the request in hand.

    flask-openapi3 itself takes a body of another type for null, and parses a JSON string a second time.

    Raises:
        UnsupportedMediaTypeError, MalformedBodyError: it is no JSON object, or does not say that it is JSON.
        pydantic.ValidationError: it is not as the model wants it.
    """
    sent = body()
    if not sent and getattr(model, "may_be_absent", False):
        return model.model_validate({})
    if request.mimetype != "application/json":
        raise UnsupportedMediaTypeError(
            f"The body's content type is {one_line(request.mimetype, 60) or 'not given'}.",
            hint="Send JSON with the header `Content-Type: application/json`.",
        )
    try:
        return model.model_validate(json_object(sent))
    except UnusableBodyError as error:
        message = str(error)
        raise MalformedBodyError(f"{message[:1].upper()}{message[1:]}.") from error


def refuse_stray_parameters(*, takes_any: bool) -> None:
    """Refuse a parameter that is given twice, or any where none is taken.

    Args:
        takes_any: whether a model looks at the names.

    Raises:
        InvalidInputError: naming the first one.
    """
    for name, values in request.args.lists():
        if not takes_any:
            raise InvalidInputError(f"No parameter is taken here, and {one_line(name, 100)!r} was given.")
        if len(values) > 1:
            raise InvalidInputError(f"The parameter {one_line(name, 100)!r} was given more than once.")
