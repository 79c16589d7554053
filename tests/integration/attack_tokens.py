"""ID tokens as an attacker makes them: claims changed, keys of one's own, an issuer of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask

from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.issuer import Issuer
from champion_gate_standins.common.server import serve
from integration.attacked_gate import AttackedGate


@cache
def own_key() -> rsa.RSAPrivateKey:
    """The attacker's."""
    return rsa.generate_private_key(65537, 2048)


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def forged(gate: AttackedGate, token: str, **claims: Any) -> str:
    """The same token with other claims (None leaves one out), signed by the vendor's own key all the same."""
    changed = {**claims_of(token), **claims}
    kept = {name: value for name, value in changed.items() if value is not None}
    key = gate.issuer.signing
    # PyJWT itself makes no token whose `iss` is no text, or `aud` a strange one; an attacker can.
    return signed(kept, key.private, headers={"kid": key.kid})


def signed(
    claims: Mapping[str, Any], key: Any, *, algorithm: str = "RS256", headers: Mapping[str, Any] | None = None
) -> str:
    """Claims as they are, with whatever signature and header."""
    payload = json.dumps(dict(claims)).encode()
    return jwt.PyJWS(algorithms=None).encode(payload, key, algorithm, headers=dict(headers or {}))


@contextmanager
def evil_issuer() -> Iterator[tuple[Issuer, list[tuple[str, str]]]]:
    """An issuer of the attacker's own, and all that it was asked."""
    origin: list[str] = []
    issuer = Issuer(
        lambda: datetime.now(UTC),
        lambda: origin[0],
        discovery="/.well-known/openid-configuration",
        keys="/.well-known/jwks",
    )
    app = Flask("evil")
    app.register_blueprint(issuer.blueprint)
    faults = Faults(app.wsgi_app)
    app.wsgi_app = faults  # type: ignore[method-assign]
    with serve(app) as url:
        origin.append(url)
        issuer.rotate()
        yield issuer, faults.requests
