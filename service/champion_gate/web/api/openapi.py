"""The OpenAPI 3.1 document: what the routes declare, and the JSON schemas of the models that read and answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from champion_gate import __version__
from champion_gate.web.api.requests import Repeating
from champion_gate.web.api.routes import Content, Route, Served
from champion_gate.web.auth import Auth
from champion_gate.web.problems import Problem

Node: TypeAlias = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_ABOUT = """\
Human approval in CI/CD before a trained model version becomes Champion.

Ids and versions are strings, times RFC 3339 in UTC. Errors are `application/problem+json` (RFC 9457): `code` says
which error it is and does not change. What is not described here is refused, not ignored.
"""
_TAGS = {
    "promotions": "Promotions",
    "steps": "Steps",
    "models": "Aliases",
    "identities": "Identities",
    "notifications": "Notifications",
}
_SECURITY = {Auth.BEARER: "bearer", Auth.CI_JOB: "ciJob"}
_SCHEMES: Node = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `champion-gate tokens create`, or a JWT of the configured OIDC issuer.",
    },
    "ciJob": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The OIDC token of the gated CI job itself.",
    },
}
_SAID = {
    400: "The body cannot be read.",
    401: "No or wrong credentials.",
    403: "The caller is known and may not do this.",
    404: "There is no such thing here.",
    408: "The body stopped coming, or came too slowly.",
    409: "The thing is not in a state in which this can be done.",
    412: "The alias is not on the version that `If-Match` names; nothing was changed.",
    413: "The body is too large.",
    414: "The request line is too long.",
    415: "The body does not say that it is JSON.",
    422: "A field, a parameter or a name is not of the form that is taken; nothing was changed.",
    429: "Wrong credentials too often of late.",
    502: "Databricks or the registry refused.",
    503: "Databricks, the registry, an issuer or the database does not answer; try again later.",
}
_OF_ALL = (414, 422)
_OF_READING = (400, 408, 413)
_OF_AUTH = {Auth.BEARER: (401, 403, 429, 503), Auth.CI_JOB: (401, 408, 413, 429, 503)}
_OF_PROBLEM = {"Retry-After": (409, 429, 503), "WWW-Authenticate": (401,)}
_KEPT = (404, 409, 412, 422)
_HEADERS: Mapping[str, str] = {
    "ETag": "The version that the alias is on, in double quotes; absent where it is on none.",
    "Location": "Where the new thing is.",
    "Retry-After": "Seconds after which to try again, where that may help.",
    "WWW-Authenticate": "How to show who you are.",
    "Idempotency-Replayed": "`true`: this is the answer to the same request when it was first sent.",
}


def document(routes: Iterable[Served]) -> Node:
    """The document of the routes, as JSON has it."""
    schemas = _Schemas()
    paths: dict[str, Node] = {}
    tags: dict[str, None] = {}
    for served in routes:
        path = f"/api/v1{served.route.rule}".replace("<", "{").replace(">", "}")
        paths.setdefault(path, {})[served.route.method.lower()] = _operation(served, schemas)
        tags[_tag(served.route)] = None
    return {
        "openapi": "3.1.0",
        "info": {"title": "champion-gate", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {"schemas": schemas.named, "securitySchemes": _SCHEMES},
    }


class _Schemas:
    """The schemas of models, gathered as they are referred to."""

    def __init__(self) -> None:
        self.named: dict[str, Node] = {}

    def of(self, model: type[BaseModel], mode: Literal["validation", "serialization"]) -> Node:
        """The schema itself; those inside it are gathered."""
        schema = model.model_json_schema(ref_template=f"{_REFERENCE}{{model}}", mode=mode)
        self.named.update(schema.pop("$defs", {}))
        return schema

    def reference(self, model: type[BaseModel], mode: Literal["validation", "serialization"]) -> Node:
        """A reference to it."""
        if model.__name__ not in self.named:
            self.named[model.__name__] = self.of(model, mode)
        return {"$ref": f"{_REFERENCE}{model.__name__}"}


def _tag(route: Route) -> str:
    return _TAGS[route.rule.split("/")[1]]


def _operation(served: Served, schemas: _Schemas) -> Node:
    route, reads = served.route, served.reads
    summary, _, more = (served.view.__doc__ or "").partition("\n")
    about = " ".join([*more.split(), *([route.about] if route.about else ())])
    operation: Node = {
        "operationId": route.name,
        "tags": [_tag(route)],
        "summary": summary,
        "description": about or summary,
        "security": [{_SECURITY[route.auth]: []}],
        "responses": _responses(route, schemas, looks_at_body="body" in reads),
    }
    if route.role is not None:
        operation["x-role"] = route.role.value
    parameters = [
        *(_parameters(Repeating, "header", schemas) if route.is_repeatable else ()),
        *(
            each
            for place in ("header", "path", "query")
            if place in reads
            for each in _parameters(reads[place], place, schemas)
        ),
    ]
    if parameters:
        operation["parameters"] = parameters
    if "body" in reads:
        operation["requestBody"] = {
            "content": {"application/json": {"schema": schemas.reference(reads["body"], "validation")}},
            "required": not getattr(reads["body"], "may_be_absent", False),
        }
    return operation


def _parameters(model: type[BaseModel], place: str, schemas: _Schemas) -> list[Node]:
    schema = schemas.of(model, "validation")
    return [
        {
            "name": name,
            "in": place,
            "required": name in schema.get("required", ()),
            "schema": inner,
            **{key: inner[key] for key in ("description", "example") if key in inner},
        }
        for name, inner in schema["properties"].items()
    ]


def _responses(route: Route, schemas: _Schemas, *, looks_at_body: bool) -> Node:
    etag = () if isinstance(route.answer, Mapping) or route.answer.etag_field is None else ("ETag",)
    replayed = ("Idempotency-Replayed",) if route.is_repeatable else ()
    good = {
        "description": HTTPStatus(route.status).phrase,
        "content": _content(route.answer, schemas),
        **_headers((*route.headers, *etag, *replayed)),
    }
    statuses = {*_OF_ALL, *route.errors, *_OF_AUTH[route.auth]}
    if route.has_body:
        statuses |= {*_OF_READING}  # also where the view does not look at what was sent
    if looks_at_body:
        statuses.add(415)
    if route.is_repeatable:
        statuses.add(409)
    problem = {"application/problem+json": {"schema": schemas.reference(Problem, "serialization")}}
    answers: Node = {str(status): good for status in (route.status, *route.also)}
    for status in sorted(statuses):
        names = [name for name, those in _OF_PROBLEM.items() if status in those]
        names += replayed if status in _KEPT else ()
        answers[str(status)] = {"description": _SAID[status], "content": problem, **_headers(names)}
    return answers


def _content(answer: Content, schemas: _Schemas) -> Node:
    if isinstance(answer, Mapping):
        return {media: {"schema": schema} for media, schema in answer.items()}
    return {"application/json": {"schema": schemas.reference(answer, "serialization")}}


def _headers(names: Sequence[str]) -> Node:
    described = {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}
    return {"headers": described} if described else {}
