"""An identity provider where people sign in: authorization code with PKCE, checked as RFC 6749 and 7636 want it.

The error codes are those of RFC 6749, 5.2; PKCE's are of RFC 7636, 4.6.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import trustme
from flask import Flask, Response, jsonify, redirect, request

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.oidc.jwks import IssuerKeys
from champion_gate.adapters.oidc.people import CALLBACK, OidcRoles
from champion_gate.adapters.oidc.sign_in import Client, IssuerSignIn
from champion_gate.settings.gates import ApiOidc
from champion_gate_standins.common.issuer import Issuer
from integration.gate_providers import issuers_key
from integration.oidc_world import serve_tls
from integration.pages_world import HOST

CLIENT, SECRET = "dashboard-client", "a-client-secret"
PERSON = {"sub": "248289761001", "preferred_username": "jane", "groups": ["ml-platform"]}


@dataclass
class IdentityProvider:
    """What the tests make it say, and what it was asked.

    Attributes:
        claims: of the ID token; None leaves one out.
        extra: changes to the discovery document.
        secret: what clients show; None: PKCE alone.
        denies: whether the person says no.
    """

    origin: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: dict(PERSON))
    extra: dict[str, Any] = field(default_factory=dict)
    secret: str | None = SECRET
    denies: bool = False
    is_away: bool = False
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.issuer = Issuer(
            lambda: datetime.now(UTC), lambda: self.origin, discovery="/unused", keys="/keys"
        )
        self.issuer.rotate(issuers_key())
        self.app = Flask("identity provider")
        self.app.register_blueprint(self.issuer.blueprint)
        self.app.add_url_rule("/.well-known/openid-configuration", view_func=self.discovery)
        self.app.add_url_rule("/authorize", view_func=self.authorize)
        self.app.add_url_rule("/token", view_func=self.token, methods=["POST"])

    def discovery(self) -> Response | tuple[str, int]:
        if self.is_away:
            return "", 503
        document = {
            "issuer": self.origin,
            "jwks_uri": f"{self.origin}/keys",
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "none"],
        }
        return jsonify({**document, **self.extra})

    def authorize(self) -> Response | tuple[str, int]:
        """The person is signed in already, and agrees."""
        given = request.args.to_dict()
        self.asked.append(given)
        if given.get("client_id") != CLIENT or given.get("redirect_uri") != f"{HOST}{CALLBACK}":
            return "no such client", 400
        if given.get("response_type") != "code" or given.get("code_challenge_method") != "S256":
            return "no PKCE", 400
        answer = {"state": given["state"]}
        if self.denies:
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self.codes[answer["code"]] = given
        return redirect(f"{given['redirect_uri']}?{urlencode(answer)}", 302)  # type: ignore[return-value]

    def token(self) -> tuple[Response, int]:
        """A code is taken once, from the client that asked, with the verifier of its challenge."""
        given = request.form.to_dict()
        if given.get("client_id") != CLIENT or given.get("client_secret") != self.secret:
            return jsonify({"error": "invalid_client"}), 401
        asked = self.codes.pop(given.get("code", ""), None)
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_right = asked is not None and challenge == asked["code_challenge"]
        if asked is None or not is_right or given.get("redirect_uri") != asked["redirect_uri"]:
            return jsonify({"error": "invalid_grant", "error_description": "no such code"}), 400
        about = {"aud": CLIENT, "nonce": asked.get("nonce")}
        id_token = self.issuer.sign({**about, **self.claims}, lifetime=300, not_before=0)
        return jsonify({"access_token": "unused", "token_type": "Bearer", "id_token": id_token}), 200


class SignInThere(IssuerSignIn):
    """The service's own, with what the tests ask of the roles."""

    roles: OidcRoles


@contextmanager
def identity_provider(folder: Path) -> Iterator[tuple[IdentityProvider, SignInThere]]:
    """The provider over TLS, and the service's side of it."""
    authority, there = trustme.CA(), IdentityProvider()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with serve_tls(there.app, authority) as there.origin:
        oidc = ApiOidc(
            issuer=there.origin,
            audience=CLIENT,
            name_claim="preferred_username",
            role_claim="groups",
            operator=("ml-platform",),
            viewer=("ml-readers",),
            ca_file=str(ca_file),
            client_id=CLIENT,
        )
        clock, quick = _Now(), Timeouts(2.0, 2.0, 2.0)
        keys = IssuerKeys(there.origin, clock=clock, ca_file=str(ca_file), timeouts=quick)
        roles = OidcRoles(oidc, keys, clock)
        client = Client(there.origin, CLIENT, there.secret, oidc.scopes, f"{HOST}{CALLBACK}", str(ca_file))
        here = SignInThere(client, roles, clock, timeouts=quick, sleep=lambda _: None)
        here.roles = roles
        yield there, here
        roles.close()


class _Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


def query_of(address: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
