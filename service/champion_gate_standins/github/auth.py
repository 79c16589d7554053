"""Who calls the GitHub stand-in: fine-grained tokens, App JWTs, installation tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from flask import request

from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.repositories import Repository
from champion_gate_standins.github.state import Credential, GitHubApp, State

TOKEN_LIFE = timedelta(hours=1)
_LEVELS = {"read": 1, "write": 2, "admin": 3}
_JWT_LIFE = timedelta(minutes=10)
_CLOCK_SKEW = timedelta(seconds=60)


def bearer(header: str | None) -> str:
    """The token of an Authorization header; RefusedError 401 without one."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() not in {"bearer", "token"} or not token:
        raise RefusedError(401, "Requires authentication")
    return token.strip()


def authenticate(state: State, header: str | None) -> Credential:
    """Who stands behind a token of a person or an installation.

    Raises:
        RefusedError: 401 for an unknown or expired token, 403 for a suspended installation.
    """
    credential = state.credentials.get(bearer(header))
    if credential is None or (credential.expires_at and credential.expires_at <= state.clock()):
        raise RefusedError(401, "Bad credentials")
    if credential.app and credential.app.suspended:
        raise RefusedError(403, "This installation has been suspended")
    return credential


def authenticate_app(state: State, header: str | None) -> GitHubApp:
    """The App behind a JWT: RS256, `iss` = client id or app id, at most ten minutes.

    docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App".

    Raises:
        RefusedError: 401 with GitHub's own sentence.
    """
    token = bearer(header)
    unreadable = RefusedError(401, "A JSON web token could not be decoded")
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.PyJWTError:
        raise unreadable from None
    app = next((app for app in state.apps if issuer in {app.client_id, str(app.id)}), None)
    if app is None:
        raise RefusedError(401, "'Issuer' claim ('iss') must be an Integer")
    unchecked = {
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
        "require": ["iss", "iat", "exp"],
    }
    try:
        claims = jwt.decode(token, app.public_key, algorithms=["RS256"], options=unchecked)  # type: ignore[arg-type]
    except jwt.PyJWTError:
        raise unreadable from None
    _check_times(claims, state.clock())
    return app


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    try:
        issued = datetime.fromtimestamp(int(claims["iat"]), UTC)
        expires = datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (TypeError, ValueError, OverflowError):
        raise RefusedError(401, "A JSON web token could not be decoded") from None
    if issued > now + _CLOCK_SKEW:
        raise RefusedError(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        )
    if expires <= now:
        raise RefusedError(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the"
            " assertion expires",
        )
    if expires > now + _JWT_LIFE + _CLOCK_SKEW:
        raise RefusedError(401, "'Expiration time' claim ('exp') is too far in the future")


def new_installation_token(state: State, app: GitHubApp, wish: Mapping[str, Any]) -> tuple[str, Credential]:
    """Make a token, narrowed to the repositories and permissions that are wished for.

    The token has the long stateless form, `ghs_` and the app's id in front, that GitHub rolls out since
    2026: nobody may count on a length.

    Raises:
        RefusedError: 422 where more is wished for than the installation was granted.
    """
    wished = wish.get("permissions") or app.permissions
    for name, level in wished.items():
        granted = "read" if name == "metadata" else app.permissions.get(name, "")
        if _LEVELS.get(str(level), 9) > _LEVELS.get(granted, 0):
            raise RefusedError(422, "The permissions requested are not granted to this installation.")
    by_id = {repository.id: name for name, repository in state.repositories.items()}
    by_name = {repository.name: name for name, repository in state.repositories.items()}
    named = [by_id.get(number) for number in wish.get("repository_ids") or []]
    named += [by_name.get(name) for name in wish.get("repositories") or []]
    allowed = None if app.repositories is None else {name.lower() for name in app.repositories}
    found = {name for name in named if name is not None and (allowed is None or name in allowed)}
    if len(found) != len(set(named)):
        raise RefusedError(
            422,
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        )
    limits = found or allowed
    credential = Credential(
        user=app.bot,
        permissions=dict(wished),
        repositories=None if limits is None else frozenset(limits),
        app=app,
        expires_at=state.clock() + TOKEN_LIFE,
    )
    token = f"ghs_{app.id}_{secrets.token_urlsafe(240)}"
    state.credentials[token] = credential
    return token, credential


def may(credential: Credential, name: str, level: str) -> bool:
    """Whether the token has this permission; everybody may read metadata."""
    held = "read" if name == "metadata" else credential.permissions.get(name, "")
    return _LEVELS.get(held, 0) >= _LEVELS[level]


def require(credential: Credential, name: str, level: str) -> None:
    """RefusedError 403 unless the token has this permission."""
    if not may(credential, name, level):
        kind = "integration" if credential.app else "personal access token"
        raise RefusedError(403, f"Resource not accessible by {kind}")


def reach(state: State, credential: Credential, full_name: str) -> Repository:
    """The repository; RefusedError 404 where it is absent or not the token's."""
    repository = state.repository(full_name)
    if credential.repositories is not None and repository.full_name.lower() not in credential.repositories:
        raise RefusedError(404, "Not Found")
    return repository


def enter(
    state: State, full_name: str, *permissions: str, level: str = "read", public: bool = False
) -> tuple[Credential, Repository]:
    """Who makes the request in hand, and the repository, if the token may.

    Args:
        state: everything.
        full_name: `owner/name`.
        permissions: any one of these is enough.
        level: of it, "read" or "write".
        public: whether everybody may do this in a public repository.

    Raises:
        RefusedError: 401 for a bad token, 403 without a permission, 404 for a repository that is not the token's.
    """
    caller = authenticate(state, request.headers.get("Authorization"))
    repository = reach(state, caller, full_name)
    if repository.private or not public:
        lacking = [name for name in permissions if not may(caller, name, level)]
        if len(lacking) == len(permissions):
            require(caller, lacking[0], level)
    return caller, repository
