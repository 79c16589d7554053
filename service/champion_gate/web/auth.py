"""Who may call which route: declared beside the view, enforced before it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO, TypeVar

from flask import Flask, Request, g, request
from werkzeug.exceptions import BadRequest, RequestTimeout

from champion_gate.core.ports import ProviderHook
from champion_gate.errors import NotAuthenticatedError, TooLargeError
from champion_gate.log import get_logger

log = get_logger(__name__)

_MAX_TOKEN = 16 * 1024
_BODY_SILENCE_SECONDS = 10.0

View = TypeVar("View", bound=Callable[..., Any])


class Auth(StrEnum):
    """How a caller shows who it is."""

    NONE = "none"
    BASIC = "basic"
    SIGNATURE = "signature"
    BEARER = "bearer"
    CI_JOB = "ci job"


_CHALLENGES = {
    Auth.BASIC: 'Basic realm="champion-gate", charset="UTF-8"',
    Auth.SIGNATURE: "Signature",
    Auth.BEARER: 'Bearer realm="champion-gate"',
    Auth.CI_JOB: 'Bearer realm="champion-gate", scope="decision"',
}


@dataclass(frozen=True)
class Guard:
    """What stands before a view.

    Attributes:
        auth: how the caller shows who it is.
        body_cap: bytes that a body may have; None where the view reads none.
    """

    auth: Auth
    body_cap: int | None = None


@dataclass(frozen=True)
class Access:
    """The secrets that callers know; two of a kind while one is being replaced.

    Where there is none of a kind, nobody gets in that way.

    Attributes:
        databricks_pairs: (username, password) of the notification destination.
        provider_hooks: kind of provider -> how its webhooks are checked.
        api_tokens: the bearer tokens of the API.
    """

    databricks_pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    provider_hooks: Mapping[str, ProviderHook] = field(default_factory=dict, repr=False)
    api_tokens: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse what would let everybody in, or nobody.

        Raises:
            ValueError: a secret is empty, or a user name holds a colon, which Basic cannot carry.
        """
        flat = [part for pair in self.databricks_pairs for part in pair]
        if not all([*flat, *self.api_tokens]):
            raise ValueError("a secret must not be empty")
        if any(":" in username for username, _ in self.databricks_pairs):
            raise ValueError("the user name of a notification destination must not hold a colon")


def guarded(auth: Auth, *, body_cap: int | None = None) -> Callable[[View], View]:
    """Declare what stands before a view; a view without this is never served.

    Args:
        auth: how the caller shows who it is.
        body_cap: bytes that a body may have; None where the view reads none.
    """

    def declare(view: View) -> View:
        view.guard = Guard(auth, body_cap)  # type: ignore[attr-defined]
        return view

    return declare


def guard_of(view: Callable[..., Any]) -> Guard | None:
    """What was declared for a view; None if nothing was."""
    guard = getattr(view, "guard", None)
    return guard if isinstance(guard, Guard) else None


def undeclared_routes(app: Flask) -> tuple[str, ...]:
    """The rules whose view declares no authentication."""
    return tuple(
        str(rule) for rule in app.url_map.iter_rules() if guard_of(app.view_functions[rule.endpoint]) is None
    )


def body() -> bytes:
    """The body of the request in hand, read within its cap before authentication."""
    read: bytes = g.body
    return read


def enforce(app: Flask, access: Access) -> None:
    """Check every request against its view's guard before the view runs.

    Raises:
        RuntimeError: a route declares no authentication.
    """
    missing = undeclared_routes(app)
    if missing:
        raise RuntimeError(f"no authentication is declared for {', '.join(missing)}")

    @app.before_request
    def admit() -> None:
        if request.url_rule is None:
            return  # no view will run: the framework is about to answer 404 or 405
        guard = guard_of(app.view_functions[request.url_rule.endpoint])
        if guard is None:
            raise NotAuthenticatedError("This route admits nobody.")
        g.body = b"" if guard.body_cap is None else read_body(request, guard.body_cap)
        if guard.auth is Auth.NONE:
            return
        g.challenge = _CHALLENGES[guard.auth]
        if not _is_known(request, guard.auth, access, g.body):
            log.warning("caller refused", url=request.path, reason=f"{guard.auth} authentication failed")
            raise NotAuthenticatedError("The credentials are absent or wrong.")


def read_body(incoming: Request, cap: int) -> bytes:
    """Read a body that has at most `cap` bytes, whether or not its length is declared.

    Werkzeug's own `max_content_length` cuts an undeclared (chunked) body at the cap without an error.

    Raises:
        TooLargeError: it has more; at most one byte over the cap has been read.
        BadRequest, RequestTimeout: it is malformed, cut off, or stopped coming.
    """
    if (incoming.content_length or 0) > cap:
        raise _too_large(cap)
    environ = incoming.environ
    if incoming.content_length is None and not environ.get("wsgi.input_terminated"):
        return b""  # reading would never end on such a server
    limit = cap + 1 if incoming.content_length is None else incoming.content_length
    if (connection := environ.get("gunicorn.socket")) is not None:
        # A sender that falls silent must not keep a thread for good.
        connection.settimeout(_BODY_SILENCE_SECONDS)
    try:
        read = _read_up_to(environ["wsgi.input"], limit)
    except TimeoutError as error:
        raise RequestTimeout("The body stopped coming.") from error
    except Exception as error:  # each server has its own errors for a malformed body
        raise BadRequest("The body could not be read.") from error
    if len(read) > cap:
        raise _too_large(cap)
    if incoming.content_length is not None and len(read) < incoming.content_length:
        raise BadRequest("The body was cut off.")
    return read


def _read_up_to(stream: BinaryIO, limit: int) -> bytes:
    read = bytearray()
    while len(read) < limit and (piece := stream.read(limit - len(read))):
        read += piece
    return bytes(read)


def _too_large(cap: int) -> TooLargeError:
    return TooLargeError(f"The body has more than {cap} bytes.")


def _is_known(incoming: Request, auth: Auth, access: Access, sent: bytes) -> bool:
    if auth is Auth.BASIC:
        pairs = (f"{username}:{password}" for username, password in access.databricks_pairs)
        return _is_one_of(_basic(incoming), pairs)
    if auth is Auth.BEARER:
        return _is_one_of(_credentials(incoming, "bearer").encode("latin-1", "replace"), access.api_tokens)
    if auth is Auth.CI_JOB:
        # Its issuer's keys are needed to check it, so the view does; here only that there is one to check.
        return bool(bearer_token())
    hook = access.provider_hooks.get((incoming.view_args or {}).get("provider", ""))
    return hook is not None and hook.is_authentic(header, sent)


def bearer_token() -> str:
    """The bearer token of the request in hand, unverified; empty where it is absent or too long."""
    token = _credentials(request, "bearer")
    return token if len(token) <= _MAX_TOKEN else ""


def header(name: str) -> str:
    """A header of the request in hand, whatever its case; empty where it is absent."""
    return request.headers.get(name, "")


def _credentials(incoming: Request, scheme: str) -> str:
    given, _, rest = incoming.headers.get("Authorization", "").partition(" ")
    return rest.strip() if given.lower() == scheme else ""


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
