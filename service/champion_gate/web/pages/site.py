"""What all pages for people share: their frame, how values are shown, and the headers that they are sent with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from importlib.resources import files
from typing import TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, g, request, url_for
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.canonical import utc_text
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.steps import StepKind
from champion_gate.domain.text import counted, one_line
from champion_gate.web import cookies
from champion_gate.web.auth import Auth, guarded
from champion_gate.web.pages.docs import code_spans

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ASSETS = {"dashboard.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_LONGEST = 4000  # characters of a text from outside
_FORM_CAP = 16 * 1024
_LOOK_AGAIN = timedelta(seconds=5)
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))
_DONE = {
    "cancelled": "The order to end it is stored; it is carried out in a moment.",
    "retried": "It is taken up again.",
    "skipped": "It is skipped.",
    "rolled-back": "The alias was rolled back, and is on hold.",
    "held": "The alias is on hold.",
    "released": "The hold is released; promotions that waited go on.",
    "replayed": "It is looked at once more.",
}
"""What `?done=` may say: nothing of a link's own words is ever shown."""

_STEPS = {
    StepKind.CANCEL_REQUEST: "cancelling the request",
    StepKind.CANCEL_DOUBLES: "cancelling doubled requests",
    StepKind.TAG_VERSION: "tagging the version",
    StepKind.VALIDATE: "validation",
    StepKind.JOB: "job",
    StepKind.ENDPOINT: "serving endpoint",
    StepKind.CHALLENGER: "setting the challenger's alias",
    StepKind.CHALLENGER_REMOVAL: "taking the challenger's alias away",
    StepKind.COPY: "copying the version",
    StepKind.STATUS: "status of the commit",
    StepKind.COMMENT: "comment on the pull request",
    StepKind.MERGE: "merging the pull request",
    StepKind.DRIFT_LOOKUP: "looking up who moved it",
    StepKind.REOPEN: "asking again",
    StepKind.RESTORE: "putting the alias back",
    StepKind.NOTICE: "message to",
}
_WHICH = ("job", "serving_endpoint", "notice")

View = TypeVar("View", bound=Callable[..., Response])


@dataclass(frozen=True)
class Page:
    """Declares what a view serves, as its decorator.

    Attributes:
        rule: the URL rule.
        name: its endpoint.
        role: what whoever is signed in must be allowed.
        takes_form: whether it has a form that is posted to it.
        reads_form_only: whether there is nothing to be looked at.
    """

    rule: str
    name: str
    role: Role = Role.VIEWER
    takes_form: bool = False
    reads_form_only: bool = False

    def __call__(self, view: View) -> View:
        """Declare it, and what stands before it."""
        view.page = self  # type: ignore[attr-defined]
        return guarded(Auth.SESSION, role=self.role, body_cap=_FORM_CAP if self.takes_form else None)(view)

    @property
    def methods(self) -> list[str]:
        """The HTTP methods."""
        return [*([] if self.reads_form_only else ["GET"]), *(["POST"] if self.takes_form else [])]


class Site:
    """Puts pages together. Every text that a template shows is made fit to be shown on one line, and escaped."""

    def __init__(self, app: Flask, clock: Clock, warnings: Callable[[], Sequence[str]]) -> None:
        """Set up.

        Args:
            app: which serves the pages.
            clock: for how long ago something was.
            warnings: what a person should look at, as `/readyz` says it.
        """
        self._app = app
        self._clock = clock
        self._warnings = warnings
        self._warned: tuple[datetime, Sequence[str]] | None = None
        self._templates = Environment(
            loader=PackageLoader("champion_gate.web.pages"),
            autoescape=True,
            finalize=_shown,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        shown = {
            "when": self.when,
            "ago": self.ago,
            "soon": self.soon,
            "link": link,
            "number": number,
            "url_for": url_for,
        }
        self._templates.globals.update(shown, words=_in_words, vendor=vendor, step_name=step_name)
        self._templates.filters["code_spans"] = code_spans

    def add(self, views: object) -> None:
        """Serve every view of an object that declares a page."""
        for name, function in vars(type(views)).items():
            if isinstance(page := getattr(function, "page", None), Page):
                self._app.add_url_rule(page.rule, page.name, getattr(views, name), methods=page.methods)

    def add_assets(self) -> None:
        """Serve what the pages are made of, which anybody may have."""
        self._app.add_url_rule("/assets/<name>", "asset", self._asset)

    def render(self, template: str, *, status: int = 200, **shown: object) -> Response:
        """A page.

        Args:
            template: its file.
            status: the HTTP status.
            shown: what the template shows besides the frame.
        """
        caller: Caller | None = g.get("caller")
        secret = cookies.secret_in(cookies.SESSION)
        frame: dict[str, object] = {
            "caller": caller,
            "is_operator": caller is not None and caller.role is Role.OPERATOR,
            "form_field": cookies.FORM_FIELD,
            "form_token": "" if secret is None else cookies.form_token(secret),
            "here": request.endpoint,
            "done": _DONE.get(request.args.get("done", "")),
            "style": self._version,
            "now": self._clock.now(),
        }
        if "warnings" not in shown:
            frame["warnings"] = self._current_warnings()
        html = self._templates.get_template(template).render(frame | shown)
        return Response(html, status, _HEADERS, content_type="text/html; charset=utf-8")

    @staticmethod
    def go_on(target: str) -> Response:
        """Send the browser to another page of ours, or to an address that is known to be good, by GET."""
        return Response("", HTTPStatus.SEE_OTHER, {"Location": target})

    def problem(self, status: int, detail: str, hint: str) -> Response:
        """The page of an error."""
        title = HTTPStatus(status).phrase
        # Without warnings: the database may be what is wrong.
        return self.render("problem.html", status=status, title=title, detail=detail, hint=hint, warnings=[])

    def when(self, at: datetime | None) -> Markup:
        """A time in UTC, and how long ago that is."""
        if at is None:
            return Markup("—")
        return Markup('<time datetime="{}">{} UTC</time> <span class="faint">{}</span>').format(
            utc_text(at, "seconds"), f"{at:%Y-%m-%d %H:%M}", self._relative(at)
        )

    def ago(self, at: datetime) -> Markup:
        """How long ago it is, and the time where somebody asks for it."""
        text = utc_text(at, "seconds")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(text, text, self._relative(at))

    def soon(self, at: datetime) -> Markup:
        """When something is due: a time to come, or now."""
        return self.ago(at) if at > self._clock.now() else Markup("now")

    def _relative(self, at: datetime) -> str:
        passed = self._clock.now() - at
        if abs(passed) < timedelta(minutes=1):
            return "just now"
        return f"{lasted(passed)} ago" if passed > timedelta() else f"in {lasted(-passed)}"

    def _current_warnings(self) -> Sequence[str]:
        now = self._clock.now()
        if self._warned is None or not timedelta() <= now - self._warned[0] < _LOOK_AGAIN:
            self._warned = now, self._warnings()
        return self._warned[1]

    @guarded(Auth.NONE)
    def _asset(self, name: str) -> Response:
        if name not in _ASSETS:
            return self._app.make_response(("", HTTPStatus.NOT_FOUND))
        response = Response(self._assets[name], content_type=_ASSETS[name])
        # Their address changes with what they hold.
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    @cached_property
    def _assets(self) -> dict[str, str]:
        folder = files("champion_gate.web.pages").joinpath("templates")
        return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _ASSETS}

    @cached_property
    def _version(self) -> str:
        return hashlib.sha256("".join(self._assets.values()).encode()).hexdigest()[:12]


def lasted(span: timedelta) -> str:
    """A span in its largest unit, e.g. `3 days`."""
    seconds = int(span.total_seconds())
    for size, name in _UNITS:
        if (count := seconds // size) > 0:
            return counted(count, name)
    return "less than a minute"


def link(url: str | None, text: str) -> Markup:
    """A link that leads away; the text alone where the address is none of the web's."""
    try:
        is_web = urlsplit(url or "").scheme in {"http", "https"}
    except ValueError:
        is_web = False
    shown = escape(one_line(text, _LONGEST))
    return Markup('<a href="{}" rel="noreferrer">{}</a>').format(url, shown) if is_web else shown


def number(found: object, *, signed: bool = False) -> str:
    """A frozen number as people read it; evidence has "nan" and the like as text."""
    if found is None:
        return "—"
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return str(found)
    return f"{found:+.6g}" if signed and found else f"{found:.6g}"


def vendor(provider: str) -> str:
    """A CI/CD system as people call it, with its host where that is not the usual one."""
    kind, _, host = provider.partition(":")
    return {"github": "GitHub", "gitlab": "GitLab"}.get(kind, kind) + (f" ({host})" if host else "")


def step_name(kind: str, about: Mapping[str, object]) -> str:
    """What a step does, and which job, endpoint or receiver it is for, out of its configuration or its ledger line."""
    which = [str(about[name]) for name in _WHICH if about.get(name) is not None and kind != StepKind.VALIDATE]
    return " ".join([_STEPS.get(kind, _in_words(kind)), *which])  # type: ignore[call-overload] # a StrEnum is its text


def _in_words(name: str) -> str:
    """A phase or kind as people read it."""
    return name.replace("_", " ")


def _shown(value: object) -> object:
    return one_line(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value
