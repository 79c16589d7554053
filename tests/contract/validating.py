"""WSGI middleware that checks every exchange with a GitHub stand-in against GitHub's own OpenAPI description."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.templating.responses.exceptions import ResponseNotFound
from werkzeug.datastructures import EnvironHeaders, Headers, ImmutableMultiDict

from champion_gate_standins.common.faults import FAULT_HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HERE = Path(__file__).parent
DEFAULT_VERSION = "2022-11-28"
VERSIONS = (DEFAULT_VERSION, "2026-03-10")
SERVER = "https://api.github.com"
NOT_MODIFIED, BAD_REQUEST, MOVED = 304, 400, {301, 307}
NO_API = re.compile(
    r"/[^/]+/[^/]+/(actions/runs/\d+|pulls?(/\d+)?)|/\.well-known/.*|/_apis/.*|/apps/.*|(/organizations/[^/]+)?/settings/apps/.*"
)
"""Pages for people, and the issuer of ID tokens, which the description of the REST API leaves out."""
SLASHED = re.compile(
    r"(/repos/[^/]+/[^/]+/(?:git/(?:matching-)?refs?/heads|compare|contents(?!/\.github/workflows/)|commits)/)(.+?)(/statuses)?"
)
"""Paths with a parameter that may hold slashes, which GitHub takes and OpenAPI has no word for."""


@dataclass
class _Request:
    """What openapi-core's Request protocol asks for; the server is always the one that GitHub names."""

    method: str
    path: str
    body: bytes | None
    content_type: str
    parameters: RequestParameters
    host_url: str = SERVER


@dataclass
class _Answer:
    status_code: int
    headers: Headers
    data: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "")


@dataclass
class Recorder:
    """What the exchanges showed.

    Attributes:
        violations: one line each; empty = all is as GitHub describes it.
        checked: "METHOD /path/{template} status" of GitHub's description -> how often it was checked.
        unlisted: the same of our own schemas, and of errors, which only need GitHub's general form.
    """

    violations: list[str] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    unlisted: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Description:
    """An OpenAPI description, and regular expressions for its paths (method and template -> path)."""

    checks: OpenAPI
    templates: dict[tuple[str, str], re.Pattern[str]]

    def template(self, request: _Request) -> str | None:
        """The path of the description that the request is for; None where it lists none."""
        for (method, template), pattern in self.templates.items():
            if method == request.method and pattern.fullmatch(request.path):
                return template
        return None


@cache
def _description(name: str) -> _Description:
    raw = json.loads((HERE / f"github.{name}.json").read_text(), object_hook=_corrected)
    templates = {
        (method, template): re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))
        for template, operations in raw["paths"].items()
        for method in operations
    }
    return _Description(OpenAPI.from_dict(raw), templates)


def _corrected(node: dict[str, Any]) -> dict[str, Any]:
    """Five things that GitHub's description says of itself and GitHub does not keep.

    A nullable enum lists no null, which OpenAPI 3.0.3 asks for; `created` is called a date-time, while its own text
    points to the search syntax for ranges of dates; and an environment is told no `can_admins_bypass`, which GitHub
    takes (google/go-github#2725). Of two forms of an error one is the other without details, so both fit,
    and a folder, being a list, has no property that tells it from files.
    """
    node.pop("discriminator", None)
    if any(str(one.get("$ref")).endswith("/basic-error") for one in node.get("oneOf", ())):
        node["anyOf"] = node.pop("oneOf")
    if node.get("additionalProperties") is False and "prevent_self_review" in node["properties"]:
        node["properties"]["can_admins_bypass"] = {"type": "boolean"}
    if node.get("nullable") and "enum" in node and None not in node["enum"]:
        node["enum"].append(None)
    if node.get("name") == "created" and node.get("in") == "query":
        node["schema"].pop("format", None)
    return node


class ValidatingApp(Recorder):
    """The middleware. Give it the stand-in's `wsgi_app`; look at `violations` afterwards."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__()
        self._app = app
        for name in (*VERSIONS, "repositories", "unlisted"):
            _description(name)  # seconds, which no caller's time-out should contain

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass one exchange on, and check it, if it is one with the REST API."""
        request = _read_request(environ)
        sent: list[tuple[str, list[tuple[str, str]]]] = []

        def keep(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> Callable[[bytes], object]:
            sent.append((status, headers))
            return lambda _chunk: None

        if not NO_API.fullmatch(request.path):
            version = environ.get("HTTP_X_GITHUB_API_VERSION", DEFAULT_VERSION)
            self._note(request, "asked", self._request_problems(version, request))
        answer = self._app(environ, keep)
        body = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        status, headers = sent[-1]
        received = _Answer(int(status.split()[0]), Headers(headers), body)
        if not NO_API.fullmatch(request.path) and FAULT_HEADER not in received.headers:
            self._note(request, status, self._answer_problems(version, request, received))
        start_response(status, headers)
        return [body]

    def _note(self, request: _Request, when: str, problems: Iterable[str]) -> None:
        self.violations += [f"{request.method.upper()} {request.path} {when}: {each}" for each in problems]

    def _request_problems(self, version: str, request: _Request) -> Iterator[str]:
        if version not in VERSIONS:
            yield f"GitHub has no API version {version}"
        elif found := _find(version, request):
            yield from map(_explain, found.description.checks.request_validator.iter_errors(request))
        else:
            yield "neither GitHub's description nor ours lists this operation"

    def _answer_problems(self, version: str, request: _Request, answer: _Answer) -> Iterator[str]:
        found = _find(version, request) if version in VERSIONS else None
        if found is None or answer.status_code == NOT_MODIFIED:
            return
        key = f"{request.method.upper()} {found.template} {answer.status_code}"
        errors = list(found.description.checks.response_validator.iter_errors(request, answer))
        if any(isinstance(error, ResponseNotFound) for error in errors):
            self.unlisted[key] += 1
            yield from _general_error(answer)
        else:
            (self.checked if found.listed else self.unlisted)[key] += 1
            yield from map(_explain, errors)


class _Found(NamedTuple):
    """Where an operation is described: by GitHub (`listed`), or by us."""

    description: _Description
    template: str
    listed: bool


def _find(version: str, request: _Request) -> _Found | None:
    for name in (version, "repositories", "unlisted"):
        description = _description(name)
        if template := description.template(request):
            return _Found(description, template, listed=name != "unlisted")
    return None


def _read_request(environ: WSGIEnvironment) -> _Request:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    environ["wsgi.input"] = io.BytesIO(body)
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ.get("PATH_INFO", "")
    query = ImmutableMultiDict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    path = re.sub(r"^/repositories/\d+(?=/|$)", "/repos/by/number", raw.partition("?")[0])
    if slashed := SLASHED.fullmatch(path):
        path = slashed[1] + slashed[2].replace("/", "%2F") + (slashed[3] or "")
    return _Request(
        method=environ["REQUEST_METHOD"].lower(),
        path=path,
        body=body or None,
        content_type=environ.get("CONTENT_TYPE", "").lower(),
        parameters=RequestParameters(query=query, header=Headers(list(EnvironHeaders(environ)))),
    )


def _explain(error: BaseException) -> str:
    """The telling part of an error: openapi-core keeps it in the innermost cause."""
    outer = f"{getattr(error, 'name', '')} {error}".partition(":")[0].strip()
    while error.__cause__ is not None:
        error = error.__cause__
    details = getattr(error, "schema_errors", ())
    told = [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in details]
    return f"{outer}: {'; '.join(told) or error}"


def _general_error(answer: _Answer) -> Iterator[str]:
    """Errors that no description lists have GitHub's `basic-error` form with a message; every operation may redirect."""
    if answer.status_code in MOVED:
        return
    if answer.status_code < BAD_REQUEST:
        yield "this status is not listed"
        return
    try:
        message = json.loads(answer.data).get("message")
    except (ValueError, AttributeError):
        message = None
    if not isinstance(message, str):
        yield "an error without a message"
