"""Signs people in at the issuer: the authorization code flow with PKCE (OpenID Connect Core, 3.1; RFC 7636)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client

from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.auth import NoAuth
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.oidc.people import OidcRoles
from champion_gate.domain.callers import Attempt, Person
from champion_gate.domain.ports.runtime import Clock
from champion_gate.errors import NotAuthenticatedError, VendorUnavailableError

DISCOVERY = "/.well-known/openid-configuration"
_LASTS = timedelta(minutes=10)
_TIMEOUTS = Timeouts(connect=5.0, read=5.0, total=10.0)
_MAX_ANSWER_BYTES = 256 * 1024
_NOT_TAKEN = (400, 401, 403)
"""How token endpoints refuse a code or a client (RFC 6749, 5.2)."""


@dataclass(frozen=True)
class Client:
    """Under which name we are known to the issuer.

    Attributes:
        secret: where the issuer wants one besides PKCE.
        redirect_uri: where it sends people back to.
    """

    issuer: str
    client_id: str
    secret: str | None
    scopes: tuple[str, ...]
    redirect_uri: str
    ca_file: str | None = None


@dataclass(frozen=True)
class Endpoints:
    """What the issuer's discovery document names.

    Attributes:
        token_path: on the issuer's own host.
        auth_methods: how clients with a secret show it.
    """

    authorization: str
    token_path: str
    auth_methods: tuple[str, ...]


class IssuerSignIn:
    """Sends people to the issuer, and takes what they come back with. Safe to share between threads."""

    def __init__(
        self,
        client: Client,
        roles: OidcRoles,
        clock: Clock,
        *,
        timeouts: Timeouts = _TIMEOUTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is called yet.

        Args:
            client: who we are to the issuer.
            roles: checks ID tokens whose audience is `client_id`.
            clock: tells how old the discovery document is.
            timeouts: of each call.
            sleep: pauses between tries of what may be repeated.
        """
        split = urlsplit(client.issuer)
        self.host = split.netloc
        self._client = client
        self._roles = roles
        self._clock = clock
        self._origin = f"{split.scheme}://{split.netloc}"
        self._path = split.path.rstrip("/")
        self._vendor = f"the issuer {split.netloc}"
        self._http = ApiClient(
            vendor=self._vendor,
            base_url=self._origin,
            headers={"Accept": "application/json", "User-Agent": "champion-gate"},
            ca_file=client.ca_file,
            timeouts=timeouts,
            max_answer_bytes=_MAX_ANSWER_BYTES,
            sleep=sleep,
        )
        self._lock = threading.Lock()
        self._known: tuple[datetime, Endpoints] | None = None

    def address(self, attempt: Attempt) -> str:
        """Where to send the browser.

        Raises:
            VendorError: the issuer's endpoints cannot be read.
        """
        endpoints = self.endpoints()
        address, _ = self._oauth(endpoints).create_authorization_url(
            endpoints.authorization,
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return str(address)

    def person(self, attempt: Attempt, answer: Mapping[str, str]) -> Person:
        """Whom the issuer has signed in.

        Args:
            attempt: as it was begun.
            answer: the query with which the browser came back; `state` has been compared.

        Raises:
            NotAuthenticatedError: nobody, or not for this attempt.
            VendorError: the issuer did not answer.
        """
        if answer.get("iss", self._client.issuer) != self._client.issuer:  # RFC 9207
            raise NotAuthenticatedError("Another issuer answered than the one that was asked.")
        code = answer.get("code", "")
        if not code:
            raise NotAuthenticatedError("The issuer has not signed you in.")
        endpoints = self.endpoints()
        try:
            token = self._oauth(endpoints).fetch_token(
                endpoints.token_path,
                code=code,
                code_verifier=attempt.verifier,
                grant_type="authorization_code",
            )
        except (AuthlibBaseError, ValueError) as refused:
            raise NotAuthenticatedError(
                "The issuer did not take the code that it had given.",
                hint="Sign in again. If it stays so: are api.oidc.client_id and its secret right?",
            ) from refused
        id_token = token.get("id_token")
        if not isinstance(id_token, str):
            raise NotAuthenticatedError("The issuer's answer holds no ID token.")
        return self._roles.person(id_token, nonce=attempt.nonce)

    def endpoints(self) -> Endpoints:
        """What the discovery document names, read again once it is old.

        Raises:
            VendorError: it cannot be read, or cannot be used.
        """
        with self._lock:
            known, now = self._known, self._clock.now()
        if known is not None and timedelta() <= now - known[0] < _LASTS:
            return known[1]
        found = self._read()
        with self._lock:
            self._known = (now, found)
        return found

    def _read(self) -> Endpoints:
        found = self._http.get(f"{self._path}{DISCOVERY}", auth=NoAuth())
        if not isinstance(found, dict) or found.get("issuer") != self._client.issuer:
            raise self._unusable("its discovery document names another issuer")
        ways = found.get("token_endpoint_auth_methods_supported")
        challenges = found.get("code_challenge_methods_supported")
        if isinstance(challenges, list) and "S256" not in challenges:
            raise self._unusable("it does not know PKCE with S256")
        authorization, token = (self._own(found, f"{kind}_endpoint") for kind in ("authorization", "token"))
        return Endpoints(
            authorization,
            urlsplit(token).path,
            tuple(map(str, ways)) if isinstance(ways, list) else ("client_secret_basic",),
        )

    def _own(self, found: Mapping[str, Any], name: str) -> str:
        """An address on the issuer's own host: no document can send people or codes elsewhere."""
        address = found.get(name)
        try:
            split = urlsplit(address if isinstance(address, str) else "")
        except ValueError:
            split = urlsplit("")
        if f"{split.scheme}://{split.netloc}" != self._origin or split.fragment:
            raise self._unusable(f"its discovery document names no {name} on its own host")
        return split.geturl()

    def _unusable(self, why: str) -> VendorUnavailableError:
        return VendorUnavailableError(self._vendor, f"people cannot sign in there: {why}.")

    def _oauth(self, endpoints: Endpoints) -> OAuth2Client:
        method = "none"
        if self._client.secret is not None:
            ways = ("client_secret_basic", "client_secret_post")
            method = next((each for each in ways if each in endpoints.auth_methods), ways[0])
        return _OverHttp(
            self._http,
            self._client.client_id,
            self._client.secret,
            token_endpoint_auth_method=method,
            scope=" ".join(self._client.scopes),
            redirect_uri=self._client.redirect_uri,
            code_challenge_method="S256",
        )


class _OverHttp(OAuth2Client):  # type: ignore[misc] # Authlib has no types
    """Authlib's client over our HTTP layer, which has the deadlines and bounds."""

    def _fetch_token(
        self, url: str, body: str = "", headers: Any = None, auth: Any = None, method: str = "POST", **_: Any
    ) -> dict[str, Any]:
        path, sent, text = auth.prepare(method, url, dict(headers), body)
        answer = self.session.send(method, path, auth=NoAuth(), body=text, headers=sent, accept=_NOT_TAKEN)
        found: dict[str, Any] = self.parse_response_token(_Response(answer))
        return found


@dataclass(frozen=True)
class _Response:
    """An answer as Authlib looks at it."""

    answer: Answer

    @property
    def status_code(self) -> int:
        return self.answer.status

    def json(self) -> object:
        return json.loads(self.answer.body)

    def raise_for_status(self) -> None:
        """Our HTTP layer has raised already what is an error to it."""
