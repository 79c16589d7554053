"""`/openapi.json`, and the same for people at `/docs`: one page without scripts, with nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
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

Node = Mapping[str, Any]


class Docs:
    """The views behind `/openapi.json` and `/docs`."""

    def __init__(self, app: Flask, api: Api) -> None:
        self._app = app
        self._api = api
        for make in (breakable, code_spans, kind_of, model_of):
            app.add_template_filter(make)
        self._style = files("champion_gate.web").joinpath("templates/docs.css").read_text(encoding="utf-8")

    @guarded(Auth.NONE)
    def document(self) -> Response:
        """The OpenAPI 3.1 document."""
        return Response(self._text, content_type="application/json")

    @guarded(Auth.NONE)
    def page(self) -> Response:
        """The reference, as HTML."""
        response = Response(
            render_template("docs.html", **self._shown, base=request.url_root.rstrip("/")),
            content_type="text/html; charset=utf-8",
        )
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'sha256-{_sha256(self._style)}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return response

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self._api.served)

    @cached_property
    def _text(self) -> str:
        return self._app.json.dumps(self._document)

    @cached_property
    def _shown(self) -> dict[str, Any]:
        """What the page is made of: the document's own parts, the operations by their tag."""
        schemas = self._document["components"]["schemas"]
        tags: dict[str, list[dict[str, Any]]] = {each["name"]: [] for each in self._document["tags"]}
        for path, item in self._document["paths"].items():
            for method, operation in item.items():
                content = operation.get("requestBody", {}).get("content", {}).get("application/json")
                body = {} if content is None else schemas[model_of(content["schema"])]
                curl = _curl(path, method, operation, body)
                shown = {"path": path, "method": method.upper(), "body": body, "curl": curl}
                tags[operation["tags"][0]].append({**operation, **shown})
        return {"info": self._document["info"], "style": self._style, "tags": tags, "schemas": schemas}


def code_spans(text: str) -> Markup:
    """Text whose `backticks` show code, as in the document's Markdown; everything else is escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup("").join(
        code.format(piece) if number % 2 else escape(piece) for number, piece in enumerate(pieces)
    )


def breakable(path: str) -> Markup:
    """A path that is broken, where it does not fit, before a slash and not inside a word."""
    return Markup("<wbr>/").join(path.split("/"))


def kind_of(schema: Node) -> str:
    """The JSON type in words, e.g. `list of text or null`."""
    if "anyOf" in schema:
        return " or ".join(kind_of(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return model_of(schema)
    if schema.get("type") == "array":
        return f"list of {kind_of(schema['items'])}"
    if schema.get("format") == "date-time":
        return "time"
    return "text" if schema["type"] == "string" else str(schema["type"])


def model_of(schema: Node) -> str:
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
