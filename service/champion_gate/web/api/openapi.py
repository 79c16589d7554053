"""Routes that are described: each is registered with flask-openapi3, which validates and writes the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from http import HTTPMethod, HTTPStatus
from typing import Any, TypeAlias, get_type_hints

from flask import Response
from flask_openapi3.models import OPENAPI3_REF_PREFIX
from flask_openapi3.models.info import Info
from flask_openapi3.models.schema import Schema
from flask_openapi3.models.server import Server
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from flask_openapi3.utils import get_model_schema
from pydantic import BaseModel, ValidationError

from champion_gate import __version__
from champion_gate.web.api.answers import Problem
from champion_gate.web.api.idempotency import Repeatable
from champion_gate.web.api.json_bodies import read_json, refuse_stray_parameters
from champion_gate.web.api.requests import Repeating
from champion_gate.web.auth import Auth, guard_of
from champion_gate.web.problems import of_validation_error

Content: TypeAlias = type[BaseModel] | Mapping[str, object]
"""A model, or a schema and its media type: {"text/markdown": {"type": "string"}}."""

_PROBLEM_TYPE = "application/problem+json"
_ABOUT = """\
Human approval in CI/CD before a trained model version becomes Champion.

Ids and versions are strings, times RFC 3339 in UTC. Errors are `application/problem+json` (RFC 9457): `code` says
which error it is and does not change. What is not described here is refused, not ignored.
"""
_SECURITY = {Auth.BEARER: "bearer", Auth.CI_JOB: "ciJob"}
_SCHEMES: Mapping[str, dict[str, Any]] = {
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
_OF_READING = frozenset([400, 408, 413])
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


@dataclass(frozen=True)
class Described:
    """What the document says of a route beside what its view's models say.

    Attributes:
        name: the operation's id.
        tag: the part of the document under which it stands.
        status: of the answer when all went well.
        answer: what it then holds.
        problems: the statuses of errors that are particular to it.
        headers: of the good answer.
        also: further good statuses with the same answer.
        is_repeatable: whether it takes an `Idempotency-Key`.
        about: what else to know, as Markdown; the summary is the view's docstring.
    """

    name: str
    tag: str
    answer: Content
    status: int = 200
    problems: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    also: tuple[int, ...] = ()
    is_repeatable: bool = False
    about: str = ""


class ApiApp(OpenAPI):
    """A Flask app whose described routes are validated as strictly as the document says."""

    def __init__(self, import_name: str, **settings: Any) -> None:
        super().__init__(
            import_name,
            info=Info(title="champion-gate", version=__version__, description=_ABOUT),
            servers=[Server(url="/")],
            security_schemes=dict(_SCHEMES),
            doc_ui=False,
            validation_error_status=422,
            validation_error_model=Problem,
            validation_error_callback=of_validation_error,
            **settings,
        )

    @staticmethod
    def create_view_func(func: Callable[..., Response], *models: Any, **settings: Any) -> Any:
        """Let the library validate everything but the body, which `read_json` does."""
        header, cookie, path, query, form, body, raw = models
        checked = _checked(func, body=body, takes_any=query is not None)
        return OpenAPI.create_view_func(checked, header, cookie, path, query, form, None, raw, **settings)

    def describe(
        self,
        method: HTTPMethod,
        rule: str,
        view: Callable[..., Response],
        described: Described,
        repeatable: Repeatable | None = None,
    ) -> None:
        """Serve a view and describe it.

        Args:
            method: the HTTP method.
            rule: the URL rule, as Flask has it.
            view: a method whose annotations name its models, and whose docstring is the summary.
            described: the rest.
            repeatable: remembers requests with a key, for a view that is repeatable.
        """
        summary, _, more = (view.__doc__ or "").partition("\n")
        guard = guard_of(view)
        role = None if guard is None or guard.role is None else guard.role.value
        register = {
            HTTPMethod.GET: self.get,
            HTTPMethod.POST: self.post,
            HTTPMethod.PUT: self.put,
            HTTPMethod.DELETE: self.delete,
        }[method]
        scheme = _SECURITY.get(guard.auth) if guard is not None else None
        register(
            rule,
            endpoint=described.name,
            operation_id=described.name,
            tags=[Tag(name=described.tag)],
            summary=summary,
            description=described.about or more.strip() or summary,
            responses=self._responses(view, described),
            security=[{scheme: []}] if scheme is not None else None,
            openapi_extensions={"x-role": role} if role is not None else None,
        )(view if repeatable is None else _repeated(view, repeatable))

    def _responses(
        self, view: Callable[..., Response], described: Described
    ) -> dict[str | int | HTTPStatus, Any]:
        headers = (
            (*described.headers, "Idempotency-Replayed") if described.is_repeatable else described.headers
        )
        good = {
            "description": HTTPStatus(described.status).phrase,
            "content": self._content(described.answer),
            **_headers(headers),
        }
        guard = guard_of(view)
        statuses = {*_OF_ALL, *described.problems}
        if guard is not None:
            statuses |= {*_OF_AUTH.get(guard.auth, ())}
        if guard is not None and guard.body_cap is not None:
            statuses |= _OF_READING  # also where the view does not look at what was sent
        if "body" in get_type_hints(view):
            statuses.add(415)
        if described.is_repeatable:
            statuses.add(409)
        answers: dict[str | int | HTTPStatus, Any] = {
            status: dict(good) for status in (described.status, *described.also)
        }
        return answers | {
            status: self._problem(status, is_repeatable=described.is_repeatable)
            for status in sorted(statuses)
        }

    def _content(self, answer: Content) -> dict[str, object]:
        if isinstance(answer, Mapping):
            return {media: {"schema": schema} for media, schema in answer.items()}
        return {"application/json": {"schema": self._reference(answer)}}

    def _problem(self, status: int, *, is_repeatable: bool) -> dict[str, object]:
        names = [name for name, statuses in _OF_PROBLEM.items() if status in statuses]
        if is_repeatable and status in _KEPT:
            names.append("Idempotency-Replayed")
        return {
            "description": _SAID[status],
            "content": {_PROBLEM_TYPE: {"schema": self._reference(Problem)}},
            **_headers(names),
        }

    def _reference(self, model: type[BaseModel]) -> dict[str, str]:
        if model.__name__ not in self.components_schemas:  # else most of the time of `create_app` goes here
            schema = get_model_schema(model, mode="serialization")
            for name, inner in {**schema.pop("$defs", {}), model.__name__: schema}.items():
                self.components_schemas[name] = Schema(**inner)
        return {"$ref": f"{OPENAPI3_REF_PREFIX}/{model.__name__}"}


def _headers(names: Sequence[str]) -> dict[str, object]:
    if not names:
        return {}
    return {
        "headers": {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}
    }


def _checked(
    view: Callable[..., Response], *, body: type[BaseModel] | None, takes_any: bool
) -> Callable[..., Response]:
    @wraps(view)
    def checked(**given: Any) -> Response:
        refuse_stray_parameters(takes_any=takes_any)
        if body is not None:
            try:
                given["body"] = read_json(body)
            except ValidationError as error:
                return of_validation_error(error)
        return view(**given)

    return checked


def _repeated(view: Callable[..., Response], repeatable: Repeatable) -> Callable[..., Response]:
    """The view with the header that makes it repeatable, which only a view with other headers gets to see."""
    has_headers = "header" in get_type_hints(view)

    @wraps(view)
    def repeated(header: Repeating, **given: Any) -> Response:
        if has_headers:
            given["header"] = header
        return repeatable.answer(header.idempotency_key, lambda: view(**given))

    if not has_headers:
        repeated.__annotations__ = {**view.__annotations__, "header": Repeating}
    return repeated
