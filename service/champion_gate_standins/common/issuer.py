"""Issues ID tokens for CI jobs: RS256 keys, the discovery document, the key set."""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Blueprint, Response, jsonify

_KEY_BITS = 2048


@dataclass(frozen=True)
class SigningKey:
    """A private key and the name under which its public half is published."""

    kid: str
    private: rsa.RSAPrivateKey

    def public(self) -> dict[str, str]:
        """The public half as a JSON Web Key (RFC 7517)."""
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": _base64url(numbers.n),
            "e": _base64url(numbers.e),
        }


class Issuer:
    """Keys, their publication, and tokens signed with the newest.

    Attributes:
        url: the `iss` of tokens, e.g. where the stand-in is reached under another name; None = its own address.
        published: the keys that the key set lists; take keys out, or clear it, for a key set that lacks them.
    """

    def __init__(
        self, clock: Callable[[], datetime], base: Callable[[], str], *, discovery: str, keys: str
    ) -> None:
        """Make no key yet.

        Args:
            clock: aware UTC time.
            base: tells the stand-in's own address.
            discovery: path of the discovery document.
            keys: path of the key set.
        """
        self._clock = clock
        self._base = base
        self._keys_path = keys
        self.url: str | None = None
        self.published: list[SigningKey] = []
        self._signing: SigningKey | None = None
        self._lock = threading.Lock()
        self.blueprint = Blueprint("issuer", __name__)
        self.blueprint.add_url_rule(discovery, "discovery", self._discovery)
        self.blueprint.add_url_rule(keys, "keys", self._keys)

    @property
    def issuer(self) -> str:
        """The `iss` of tokens."""
        return self.url or self._base()

    @property
    def signing(self) -> SigningKey:
        """The key that signs; the first is made when it is first asked for."""
        with self._lock:
            return self._signing or self._rotate(publish=True)

    def rotate(self, private: rsa.RSAPrivateKey | None = None, *, publish: bool = True) -> SigningKey:
        """Sign with a new key from now on; the old ones stay published.

        Args:
            private: to be used under a new name; one is made by default, which takes longer than all the rest.
            publish: False keeps the new one out of the key set, so that its tokens have an unknown `kid`.
        """
        with self._lock:
            return self._rotate(private, publish=publish)

    def _rotate(self, private: rsa.RSAPrivateKey | None = None, *, publish: bool) -> SigningKey:
        key = SigningKey(uuid.uuid4().hex, private or rsa.generate_private_key(65537, _KEY_BITS))
        if publish:
            self.published.append(key)
        self._signing = key  # published before: no token may be signed with a key that nobody can find
        return key

    def sign(self, claims: Mapping[str, Any], *, lifetime: int, not_before: int, **overrides: Any) -> str:
        """A signed token.

        Args:
            claims: what it says, besides `iss`, `iat`, `nbf`, `exp` and `jti`.
            lifetime: seconds from now to `exp`.
            not_before: seconds from `nbf` to now.
            overrides: claims to be changed or added; None leaves one out.
        """
        now = int(self._clock().timestamp())
        times = {"iat": now, "nbf": now - not_before, "exp": now + lifetime}
        whole = {"iss": self.issuer, "jti": str(uuid.uuid4()), **times, **claims, **overrides}
        kept = {name: value for name, value in whole.items() if value is not None or name not in overrides}
        key = self.signing
        return jwt.encode(kept, key.private, algorithm="RS256", headers={"kid": key.kid})

    def _discovery(self) -> Response:
        return jsonify(
            {
                "issuer": self.issuer,
                "jwks_uri": f"{self._base()}{self._keys_path}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
            }
        )

    def _keys(self) -> Response:
        return jsonify({"keys": [key.public() for key in self.published]})


def _base64url(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
