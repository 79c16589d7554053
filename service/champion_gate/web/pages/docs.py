"""`/openapi.json`, and the same for people at `/docs`: one page without scripts, with nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, render_template, request
from markupsafe import Markup, escape

from champion_gate.web.api.openapi import document
from champion_gate.web.api.routes import Api
from champion_gate.web.auth import Auth, guarded

_REFERENCE = "#/components/schemas/"
_METHODS = ("get", "post", "put", "delete")

Node = Mapping[str, Any]


def code_spans(text: str) -> Markup:
    """Text whose `backticks` show code, as in the document's Markdown; everything else is escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup("").join(
        code.format(piece) if number % 2 else escape(piece) for number, piece in enumerate(pieces)
    )


@dataclass(frozen=True)
class FieldRow:
    """A parameter or a member of an object, as a line of a table.

    Attributes:
        kind: its JSON type in words.
        model: the name of the schema that describes it further; empty where there is none.
    """

    name: str
    where: str
    kind: str
    model: str
    is_required: bool
    about: str


@dataclass(frozen=True)
class AnswerRow:
    """A status with what it means."""

    status: str
    about: str
    kind: str
    model: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OperationEntry:
    """Everything that the page says of one operation."""

    name: str
    method: str
    path: str
    summary: str
    about: str
    access: str
    parameters: tuple[FieldRow, ...]
    body: tuple[FieldRow, ...]
    answers: tuple[AnswerRow, ...]
    curl: str


class Docs:
    """The views behind `/openapi.json` and `/docs`."""

    def __init__(self, app: Flask, api: Api) -> None:
        self._app = app
        self._api = api
        app.add_template_filter(code_spans)
        self._style = files("champion_gate.web").joinpath("templates/docs.css").read_text(encoding="utf-8")

    @guarded(Auth.NONE)
    def document(self) -> Response:
        """The OpenAPI 3.1 document."""
        return Response(self._text, content_type="application/json")

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self._api.served)

    @cached_property
    def _text(self) -> str:
        return self._app.json.dumps(self._document)

    @guarded(Auth.NONE)
    def page(self) -> Response:
        """The reference, as HTML."""
        html = render_template(
            "docs.html",
            info=self._document["info"],
            style=self._style,
            tags=self._tags,
            schemas=self._schemas,
            base=request.url_root.rstrip("/"),
        )
        response = Response(html, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'sha256-{_sha256(self._style)}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return response

    @cached_property
    def _tags(self) -> dict[str, list[OperationEntry]]:
        found: dict[str, list[OperationEntry]] = {}
        for path, item in self._document["paths"].items():
            for method in _METHODS:
                if method in item:
                    entry = self._entry(path, method, item[method])
                    found.setdefault(item[method]["tags"][0], []).append(entry)
        return found

    @cached_property
    def _schemas(self) -> dict[str, tuple[str, tuple[FieldRow, ...], tuple[str, ...]]]:
        """Name -> what it is, its members, and its values where it is an enumeration."""
        return {
            name: (
                schema.get("description", ""),
                tuple(_fields(schema)),
                tuple(map(str, schema.get("enum", ()))),
            )
            for name, schema in sorted(self._document["components"]["schemas"].items())
        }

    def _entry(self, path: str, method: str, operation: Node) -> OperationEntry:
        body = self._body_schema(operation)
        return OperationEntry(
            name=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=operation["summary"],
            about="" if operation["description"] == operation["summary"] else operation["description"],
            access=operation.get("x-role", "the approved CI job"),
            parameters=tuple(map(_parameter, operation.get("parameters", ()))),
            body=tuple(_fields(body)),
            answers=tuple(_answer(status, said) for status, said in sorted(operation["responses"].items())),
            curl=_curl(path, method, operation, body),
        )

    def _body_schema(self, operation: Node) -> Node:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            return {}
        found: Node = self._document["components"]["schemas"][_model_of(content["schema"])]
        return found


def _parameter(parameter: Node) -> FieldRow:
    schema = parameter["schema"]
    return FieldRow(
        name=parameter["name"],
        where=parameter["in"],
        kind=_kind(schema),
        model=_model_of(schema),
        is_required=parameter.get("required", False),
        about=parameter.get("description", ""),
    )


def _fields(schema: Node) -> Iterator[FieldRow]:
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        yield FieldRow(
            name, "body", _kind(inner), _model_of(inner), name in required, inner.get("description", "")
        )


def _answer(status: str, said: Node) -> AnswerRow:
    media, content = next(iter(said.get("content", {"": {"schema": {}}}).items()))
    headers = tuple((name, header["description"]) for name, header in said.get("headers", {}).items())
    return AnswerRow(status, said["description"], media, _model_of(content["schema"]), headers)


def _kind(schema: Node) -> str:
    """The JSON type in words, e.g. `list of text or null`."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return _model_of(schema)
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("format") == "date-time":
        return "time"
    return "text" if schema["type"] == "string" else str(schema["type"])


def _model_of(schema: Node) -> str:
    """The name of the schema that is meant somewhere in this one; empty where there is none."""
    for each in (schema, *schema.get("anyOf", ()), schema.get("items", {})):
        if "$ref" in each:
            return str(each["$ref"]).removeprefix(_REFERENCE)
    return ""


def _curl(path: str, method: str, operation: Node, body: Node) -> str:
    """A line to copy, with `$TOKEN` for the token and `$URL` for where the service is."""
    query = []
    for parameter in operation.get("parameters", ()):
        example = str(parameter["schema"].get("example", ""))
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(example, safe=""))
        elif parameter["in"] == "query" and parameter.get("required"):
            query.append(f"{parameter['name']}={quote(example)}")
    words = ["curl", *([] if method == "get" else ["-X", method.upper()])]
    words += ["-H", '"Authorization: Bearer $TOKEN"']
    if body:
        sample = {
            name: inner["example"]
            for name, inner in body["properties"].items()
            if "example" in inner and (name in body.get("required", ()) or name == "job_run_id")
        }
        words += ["-H", "'Content-Type: application/json'", "-d", f"'{json.dumps(sample)}'"]
    return " ".join([*words, f'"$URL{path}{"?" if query else ""}{"&".join(query)}"'])


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
