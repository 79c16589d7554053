"""Who may call which route: declared beside the view, enforced before it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import NotFound

from champion_gate.domain import ping
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.ports.approval import ProviderHook
from champion_gate.domain.registry_news import RegistryHook
from champion_gate.errors import (
    GateError,
    NotAuthenticatedError,
    NotPermittedError,
    TooManyAttemptsError,
)
from champion_gate.log import get_logger
from champion_gate.web import cookies
from champion_gate.web.bodies import put_back, read_body
from champion_gate.web.problems import problem
from champion_gate.web.throttle import WINDOW_SECONDS, Attempts, source_address

log = get_logger(__name__)

_MAX_TOKEN = 16 * 1024
_READING = {"GET", "HEAD", "OPTIONS"}
_BEARER_TEXT = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1

View = TypeVar("View", bound=Callable[..., Any])


class Auth(StrEnum):
    """How a caller shows who it is."""

    NONE = "none"
    BASIC = "basic"
    SIGNATURE = "signature"
    PING = "ping"
    BEARER = "bearer"
    CI_JOB = "ci job"
    VISITOR = "visitor"
    SESSION = "session"


_WITH_ROLE = {Auth.BEARER, Auth.SESSION}


_CHALLENGES = {
    Auth.BASIC: 'Basic realm="champion-gate", charset="UTF-8"',
    Auth.SIGNATURE: "Signature",
    Auth.PING: "Signature",
    Auth.BEARER: 'Bearer realm="champion-gate"',
    Auth.CI_JOB: 'Bearer realm="champion-gate", scope="decision"',
}


@dataclass(frozen=True)
class Guard:
    """What stands before a view.

    Attributes:
        body_cap: bytes that a body may have; None where the view reads none.
        role: what a caller with a bearer token, or a session, must be allowed.
    """

    auth: Auth
    body_cap: int | None = None
    role: Role | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it says all that has to be said."""
        return (self.auth in _WITH_ROLE) == (self.role is not None)


class NotSignedInError(GateError):
    """A page for people who are signed in, and nobody is."""

    code = "not_signed_in"
    status = 401


class StrangeFormError(GateError):
    """A form that was not made for this browser, or was made before it signed in or out."""

    code = "strange_form"
    status = 403


def _nobody(_text: str, _address: str | None) -> Caller | None:
    return None


@dataclass(frozen=True)
class Access:
    """How callers are known; there are two secrets of a kind while one is being replaced.

    Where there is none of a kind, nobody gets in that way.

    Attributes:
        databricks_pairs: (username, password) of the notification destination.
        provider_hooks, registry_hooks: kind of provider or registry -> how its webhooks are checked.
        authenticate: turns bearer text and the source address into a caller, or None where it admits nobody.
        attempts: counts those who are refused, and slows them.
        session: turns a session's id and the source address into a caller, or None where it counts no longer.
        uses_databricks: whether there is a workspace whose notifications are taken.
        ping_secrets: of the doctor's ping, besides the pairs.
    """

    databricks_pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    provider_hooks: Mapping[str, ProviderHook] = field(default_factory=dict, repr=False)
    authenticate: Callable[[str, str | None], Caller | None] = field(default=_nobody, repr=False)
    attempts: Attempts = field(default_factory=Attempts, repr=False)
    registry_hooks: Mapping[str, RegistryHook] = field(default_factory=dict, repr=False)
    session: Callable[[str, str | None], Caller | None] = field(default=_nobody, repr=False)
    uses_databricks: bool = True
    ping_secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def pinged(self) -> ping.Ping:
        """What answers the doctor."""
        return ping.of_secrets(self.databricks_pairs, self.ping_secrets)

    def __post_init__(self) -> None:
        """Refuse what would let everybody in, or nobody.

        Raises:
            ValueError: a secret is empty, or a user name holds a colon, which Basic cannot carry.
        """
        if not all(part for pair in self.databricks_pairs for part in pair):
            raise ValueError("a secret must not be empty")
        if any(":" in username for username, _ in self.databricks_pairs):
            raise ValueError("the user name of a notification destination must not hold a colon")


def guarded(auth: Auth, *, role: Role | None = None, body_cap: int | None = None) -> Callable[[View], View]:
    """Declare what stands before a view; a view without this is never served.

    Args:
        auth: how the caller shows who it is.
        role: what a caller with a bearer token or a session must be allowed; required there, and only there.
        body_cap: bytes that a body may have; None where the view reads none, and then it finds none.
    """

    def declare(view: View) -> View:
        view.guard = Guard(auth, body_cap, role)  # type: ignore[attr-defined]
        return view

    return declare


def guard_of(view: Callable[..., Any]) -> Guard | None:
    """What was declared for a view; None if nothing was."""
    guard = getattr(view, "guard", None)
    return guard if isinstance(guard, Guard) else None


def undeclared_routes(app: Flask) -> tuple[str, ...]:
    """The rules whose view declares no authentication, or takes bearer tokens without saying of which role."""
    return tuple(str(rule) for rule in app.url_map.iter_rules() if _guard_at(app, rule.endpoint) is None)


def _guard_at(app: Flask, endpoint: str) -> Guard | None:
    guard = guard_of(app.view_functions[endpoint])
    return guard if guard is not None and guard.is_complete else None


def body() -> bytes:
    """The body of the request in hand, read within its cap before authentication."""
    read: bytes = g.body
    return read


def caller() -> Caller:
    """Who sent the request in hand; only behind `Auth.BEARER` and `Auth.SESSION`."""
    known: Caller = g.caller
    return known


def enforce(app: Flask, access: Access) -> None:
    """Check every request against its view's guard before the view runs, and answer whoever is refused.

    Raises:
        RuntimeError: a route declares no authentication, or no role.
    """
    missing = undeclared_routes(app)
    if missing:
        raise RuntimeError(f"no authentication is declared for {', '.join(missing)}")

    @app.before_request
    def admit() -> None:
        # Werkzeug merges leading slashes; a proxy's rules do not know that spelling of a path.
        if any(request.environ.get(name, "").startswith("//") for name in ("PATH_INFO", "RAW_URI")):
            raise NotFound
        if request.url_rule is None:
            return  # no view will run: the framework is about to answer 404 or 405
        guard = _guard_at(app, request.url_rule.endpoint)
        if guard is None:
            raise NotAuthenticatedError("This route admits nobody.")
        g.auth = guard.auth
        g.body = b"" if guard.body_cap is None else read_body(request, guard.body_cap)
        put_back(request, g.body)
        _admit(guard, access)

    @app.errorhandler(NotAuthenticatedError)
    def refuse(error: NotAuthenticatedError) -> Response:
        return _refusal(error, access.attempts)


def _admit(guard: Guard, access: Access) -> None:
    """Raise unless the sender of the request in hand is known and may do this."""
    if guard.auth is Auth.NONE:
        return
    if guard.auth is Auth.VISITOR:
        _check_form(cookies.secret_in(cookies.VISITOR))
        return
    if guard.role is None:
        if not _is_known(request, guard.auth, access, g.body):
            raise NotAuthenticatedError("The credentials are absent or wrong.")
        return
    found = _signed_in(access) if guard.auth is Auth.SESSION else _of_bearer(access)
    if not found.role.includes(guard.role):
        log.warning("caller not permitted", url=request.path, actor=found.actor, role=found.role.value)
        raise NotPermittedError(
            f"This needs the role {guard.role}, and {found.actor} has the role {found.role}.",
            hint="Use credentials of that role.",
        )
    g.caller = found


def _of_bearer(access: Access) -> Caller:
    text = bearer_token()
    found = access.authenticate(text, source_address()) if text else None
    if found is None:
        raise NotAuthenticatedError(
            "The bearer token is absent or wrong.",
            hint="Send `Authorization: Bearer …`; `champion-gate tokens create` makes a token.",
        )
    return found


def _signed_in(access: Access) -> Caller:
    """Who is signed in; whatever changes something was sent by a form that was made for them."""
    session_id = cookies.secret_in(cookies.SESSION)
    found = access.session(session_id, source_address()) if session_id else None
    if found is None:
        raise NotSignedInError("Nobody is signed in.")
    _check_form(session_id)
    return found


def _check_form(secret: str | None) -> None:
    if request.method not in _READING and not cookies.is_own_form(secret):
        log.warning("form refused", url=request.path, address=source_address())
        raise StrangeFormError(
            "This form was not made for you, or is out of date. Nothing was done.",
            hint="Go back, load the page again, and send the form once more.",
        )


def count_refusal(attempts: Attempts, reason: str) -> None:
    """Note that the sender of the request in hand is not known, and wait where there are too many such.

    Raises:
        TooManyAttemptsError: as many wait already as may.
    """
    address = source_address()
    count, is_many = attempts.failed(address)
    log.warning("caller refused", url=request.path, reason=reason, address=address, count=count)
    if is_many:
        attempts.hold_back()


def _refusal(error: NotAuthenticatedError, attempts: Attempts) -> Response:
    """The answer to somebody who is not known, held back where there are too many."""
    auth = g.get("auth")
    try:
        count_refusal(attempts, f"{auth} authentication failed" if auth else error.message)
    except TooManyAttemptsError as many:
        answer = problem(many.status, code=many.code, detail=many.message, hint=many.hint)
        answer.headers["Retry-After"] = str(WINDOW_SECONDS)
        return answer
    answer = problem(error.status, code=error.code, detail=error.message, hint=error.hint)
    if auth in _CHALLENGES:
        answer.headers["WWW-Authenticate"] = _challenge(auth)
    return answer


def _challenge(auth: Auth) -> str:
    """What `WWW-Authenticate` says; whoever has sent no bearer token is told of no error (RFC 6750, 3.1)."""
    has_sent = auth in {Auth.BEARER, Auth.CI_JOB} and _scheme(request) == "bearer"
    return _CHALLENGES[auth] + (', error="invalid_token"' if has_sent else "")


def _is_known(incoming: Request, auth: Auth, access: Access, sent: bytes) -> bool:
    if auth is Auth.BASIC:
        pairs = (f"{username}:{password}" for username, password in access.databricks_pairs)
        return _is_one_of(_basic(incoming), pairs)
    if auth is Auth.PING:
        return access.pinged.answer(sent, header(ping.SIGNATURE)) is not None
    if auth is Auth.CI_JOB:
        # Its issuer's keys are needed to check it, so the view does; here only that there is one to check.
        return bool(bearer_token())
    hooks: Mapping[str, ProviderHook | RegistryHook] = {**access.provider_hooks, **access.registry_hooks}
    hook = hooks.get((incoming.view_args or {}).get("sender", ""))
    return hook is not None and hook.is_authentic(header, sent)


def bearer_token() -> str:
    """The bearer token of the request in hand, unverified; empty where there is none of its form.

    Servers join several `Authorization` headers with commas, which no token holds: of two none is taken.
    """
    token = _credentials(request, "bearer")
    return token if len(token) <= _MAX_TOKEN and _BEARER_TEXT.fullmatch(token) else ""


def header(name: str) -> str:
    """A header of the request in hand, whatever its case; empty where it is absent."""
    return request.headers.get(name, "")


def _credentials(incoming: Request, scheme: str) -> str:
    given, _, rest = incoming.headers.get("Authorization", "").partition(" ")
    return rest.strip() if given.lower() == scheme else ""


def _scheme(incoming: Request) -> str:
    return incoming.headers.get("Authorization", "").partition(" ")[0].lower()


def _basic(incoming: Request) -> bytes:
    try:
        return base64.b64decode(_credentials(incoming, "basic"), validate=True)
    except ValueError:
        return b""


def _is_one_of(given: bytes, known: Iterable[str]) -> bool:
    # Digests have one length, and every one is compared: the time tells neither length nor which matched.
    digest = hashlib.sha256(given).digest()
    matches = [hmac.compare_digest(digest, hashlib.sha256(each.encode()).digest()) for each in known]
    return any(matches)
