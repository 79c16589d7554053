"""Credentials for GitHub: an App that makes itself short-lived, narrowed tokens, or a fine-grained token."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from champion_gate.adapters.github.models import AccessToken, App, Installation, User, github
from champion_gate.adapters.github.secrets import Credentials, GitHubApp, GitHubToken
from champion_gate.adapters.github.settings import RepositoryPlace
from champion_gate.adapters.http.auth import Auth, HeaderTokens, Rotation, looks_like_a_token
from champion_gate.adapters.http.client import ApiClient
from champion_gate.domain.names import joined
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.ports.runtime import Clock
from champion_gate.errors import ConfigurationError, VendorNotFoundError, VendorRefusedError

MEMBERS = ("members", "read")
CONTENTS = ("contents", "read")
VARIABLES = ("actions_variables", "read")

_BEARER = "Bearer "
_Key = tuple[str, tuple[str, str]]  # repository and permission
_ISSUED_EARLIER = timedelta(seconds=60)  # GitHub takes no token from its future (docs.github.com)
_JWT_LIFE = timedelta(seconds=540)  # GitHub takes ten minutes; one is left for clocks that differ
_REFRESH_BEFORE = timedelta(minutes=5)  # of an hour; a call that is under way still has time


# --- a fine-grained token ---------------------------------------------------------------------------------


class TokenAccess:
    """What a fine-grained token opens; see Access."""

    def __init__(self, client: ApiClient, credentials: Sequence[GitHubToken]) -> None:
        for each in credentials:
            if not looks_like_a_token(each.token):
                raise ConfigurationError(["GitHub: the token holds characters that no token has"])
        self._client = client
        self.auth: Auth = HeaderTokens("Authorization", [f"Bearer {each.token}" for each in credentials])
        self._account: Person | None = None

    def to(self, spot: RepositoryPlace, permission: tuple[str, str] | None = None) -> Auth:  # noqa: ARG002 - one token opens all
        """See Access."""
        return self.auth

    def own_account(self, spot: RepositoryPlace) -> Person:  # noqa: ARG002 - one account everywhere
        """See Access."""
        if self._account is None:
            self._account = person(self._client.get(joined("user"), auth=self.auth))
        return self._account

    def check(self) -> None:
        """See Access."""
        person(self._client.get(joined("user"), auth=self.auth))


# --- an App -----------------------------------------------------------------------------------------------


class _AppAuth:
    """Signs a JWT for each call (docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App")."""

    def __init__(self, apps: Sequence[GitHubApp], clock: Clock) -> None:
        self._keys = [(app.client_id, _private_key(app.private_key)) for app in apps]
        self._rotation = Rotation(len(apps))
        self._clock = clock
        self._lock = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        now = self._clock.now()
        client_id, key = self._keys[self._rotation.current]
        claims = {
            "iss": client_id,
            # Issued a minute ago: GitHub refuses a time that lies ahead of its own clock.
            "iat": int((now - _ISSUED_EARLIER).timestamp()),
            "exp": int((now + _JWT_LIFE).timestamp()),
        }
        return {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm='RS256')}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Take the next key. Whether there is another; a call that was refused beside this one may have taken it."""
        with self._lock:
            return not self._is_current(refused) or self._rotation.renew()

    def _is_current(self, sent: Mapping[str, str]) -> bool:
        """Whether this JWT was signed with the key that is used now: each call has one of its own."""
        client_id, key = self._keys[self._rotation.current]
        try:
            jwt.decode(
                sent["Authorization"].removeprefix(_BEARER),
                key.public_key(),
                algorithms=["RS256"],
                issuer=client_id,
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return False
        return True


def _private_key(pem: str) -> RSAPrivateKey:
    try:
        # Whether its numbers fit each other was checked with the settings, which takes 40 ms.
        key = load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(["GitHub: the App's private key is no unencrypted RSA key in PEM form"])
    return key


class AppAccess:
    """What an App opens; see Access.

    Attributes:
        as_app: for calls about the App itself, whose permissions do not matter.
    """

    def __init__(self, client: ApiClient, apps: Sequence[GitHubApp], clock: Clock) -> None:
        self._client = client
        self.as_app: Auth = _AppAuth(apps, clock)
        self._clock = clock
        self._tokens: dict[_Key, AccessToken] = {}
        self._making: dict[_Key, Future[AccessToken]] = {}
        self._lock = threading.Lock()
        self._account: Person | None = None

    def to(self, spot: RepositoryPlace, permission: tuple[str, str] | None = None) -> Auth:
        """See Access."""
        return _InstallationAuth(self, spot, permission or spot.asks_with)

    def own_account(self, spot: RepositoryPlace) -> Person:
        """See Access."""
        if self._account is None:
            login = f"{self._app().slug}[bot]"
            self._account = person(self._client.get(joined("users", login), auth=self.to(spot)))
        return self._account

    def check(self) -> None:
        """See Access."""
        self._app()

    def _app(self) -> App:
        return github.one(App, self._client.get(joined("app"), auth=self.as_app), "app")

    def token(self, spot: RepositoryPlace, permission: tuple[str, str]) -> str:
        """The installation token for a repository: cached, and made anew five minutes before it ends."""
        key = (spot.repository.lower(), permission)
        with self._lock:
            cached = self._tokens.get(key)
            if cached is not None and cached.expires_at - _REFRESH_BEFORE > self._clock.now():
                return cached.token
            others = self._making.get(key)
            made = self._making.setdefault(key, Future())
        if others is None:
            # Without the lock: a GitHub that hangs must not hold up the other repositories.
            self._make(made, key, spot, permission)
        return made.result().token

    def _make(
        self, made: Future[AccessToken], key: _Key, spot: RepositoryPlace, permission: tuple[str, str]
    ) -> None:
        """Make a token once for all calls that go out together and lack it."""
        try:
            token = self._new_token(spot, permission)
        except BaseException as error:  # noqa: BLE001 - raised by each of them
            with self._lock:
                del self._making[key]
            made.set_exception(error)
        else:
            with self._lock:
                self._tokens[key] = token
                del self._making[key]
            made.set_result(token)

    def forget(self, spot: RepositoryPlace, permission: tuple[str, str], token: str) -> None:
        """Have the next call make a token anew, unless one was made since this one."""
        key = (spot.repository.lower(), permission)
        with self._lock:
            if key in self._tokens and self._tokens[key].token == token:
                del self._tokens[key]

    def _new_token(self, spot: RepositoryPlace, permission: tuple[str, str]) -> AccessToken:
        """Made; a refusal says nothing of what the caller asked about, or would have changed."""
        try:
            return self._asked_token(spot, permission)
        except VendorNotFoundError as error:
            raise VendorRefusedError(
                "GitHub",
                f"our App is not installed on {spot.repository}.",
                hint="Install it there.",
                concerns_all=True,
            ) from error
        except VendorRefusedError as error:
            error.concerns_all = True
            raise

    def installation(self, spot: RepositoryPlace) -> Installation:
        """`GET /repos/{owner}/{repo}/installation`; VendorNotFoundError where the App is not installed there."""
        found = self._client.get(joined("repos", spot.owner, spot.name, "installation"), auth=self.as_app)
        return github.one(Installation, found, "installation")

    def _asked_token(self, spot: RepositoryPlace, permission: tuple[str, str]) -> AccessToken:
        name, level = permission
        answer = self._client.post(
            joined("app", "installations", self.installation(spot).id, "access_tokens"),
            auth=self.as_app,
            body={"repositories": [spot.name], "permissions": {name: level}},
            repeatable=True,
        )
        return github.one(AccessToken, answer.json(), "access token")


@dataclass(frozen=True)
class _InstallationAuth:
    access: AppAccess
    spot: RepositoryPlace
    permission: tuple[str, str]

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"{_BEARER}{self.access.token(self.spot, self.permission)}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        self.access.forget(self.spot, self.permission, refused["Authorization"].removeprefix(_BEARER))
        return True


Access = TokenAccess | AppAccess
"""What our credentials open: `to` gives those for calls about a repository and, with MEMBERS, about its organization's
teams; `own_account` is who acts when we do, asked once; `check` is a cheap call that GitHub refuses if they are wrong."""


def new_access(
    client: ApiClient, credentials: Credentials, clock: Clock, previous: Credentials | None = None
) -> Access:
    """What these credentials open. Nothing is called yet.

    Args:
        client: for GitHub's API.
        credentials: what to use.
        clock: for the Apps' tokens.
        previous: what to use where GitHub refuses the current ones, while they are being replaced; of the
            same kind.

    Raises:
        ConfigurationError: they cannot be used.
    """
    if isinstance(credentials, GitHubApp):
        if isinstance(previous, GitHubToken):
            raise ConfigurationError(["GitHub: the previous credentials of an App are an App's"])
        return AppAccess(client, [credentials, *([previous] if previous else [])], clock)
    if isinstance(previous, GitHubApp):
        raise ConfigurationError(["GitHub: the previous credentials of a token are a token"])
    return TokenAccess(client, [credentials, *([previous] if previous else [])])


def person(answer: object) -> Person:
    """The account of an answer that describes one."""
    found = github.one(User, answer, "user")
    return Person(found.id, found.login)
