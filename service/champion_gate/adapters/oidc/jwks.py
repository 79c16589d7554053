"""The keys that an issuer of ID tokens publishes: found through its discovery document, cached, asked for sparingly."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from champion_gate.adapters.http.auth import NoAuth
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.domain.ports.runtime import Clock
from champion_gate.errors import ConfigurationError, VendorError, VendorUnavailableError

KEYS_LAST = timedelta(minutes=10)
"""For how long keys are believed without asking again; a key that an issuer withdraws lives no longer."""

UNKNOWN_KEY_COOL_DOWN = timedelta(seconds=60)  # made-up key ids must not have us call the issuer each time
OUTAGE_COOL_DOWN = timedelta(seconds=5)  # an issuer that is away is not waited for by every token that comes

_DISCOVERY = "/.well-known/openid-configuration"
PATIENCE = 1.0
"""Seconds from the start of a call to the issuer during which callers wait for the one who makes it.

Anybody can send a token that names an unknown key: were they to wait for as long as the issuer takes, strangers
could occupy every thread of the service while an issuer hangs. Whoever gives up gets a 503 and asks again.
"""

_TIMEOUTS = Timeouts(connect=5.0, read=5.0, total=5.0)
_POST_AGAIN = "Post the same token again in a moment."
_MAX_ANSWER_BYTES = 256 * 1024  # an issuer has a handful of keys, of about 2 KiB each
_LEAST_KEY_BITS = 2048  # RFC 7518, section 3.3


class IssuerKeys:
    """The RSA signing keys of one issuer. Safe to share between threads: one asks, the others wait for it, but not for long."""

    def __init__(
        self,
        issuer: str,
        *,
        clock: Clock,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is called yet.

        Args:
            issuer: exactly as tokens name it; https, or http on a loopback address.
            clock: tells how old the keys are.
            ca_file: PEM file of certificate authorities.
            timeouts: of each call.
            sleep: pauses between tries.

        Raises:
            ConfigurationError: one of these cannot be used.
        """
        split = urlsplit(issuer)
        if split.scheme != "https" and not (split.scheme == "http" and is_loopback(split.hostname)):
            raise ConfigurationError([f"OIDC issuer {issuer!r} is no https:// address"])
        if split.query or split.fragment or split.username is not None:
            raise ConfigurationError([f"OIDC issuer {issuer!r} is more than an address and a path"])
        self.issuer = issuer
        self._vendor = f"the issuer {split.netloc}"
        self._path = split.path.rstrip("/")
        self._origin = (split.scheme, split.netloc)
        self._client = ApiClient(
            vendor=self._vendor,
            base_url=f"{split.scheme}://{split.netloc}",
            headers={"Accept": "application/json", "User-Agent": "champion-gate"},
            ca_file=ca_file,
            timeouts=timeouts or _TIMEOUTS,
            max_answer_bytes=_MAX_ANSWER_BYTES,
            sleep=sleep,
        )
        self._clock = clock
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._read_at: datetime | None = None
        self._failed_at: datetime | None = None
        self._lock = threading.Lock()
        self._asking_since: float | None = None

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._client.close()

    def get(self, key_id: str) -> RSAPublicKey | None:
        """The key of this id; None where the issuer has none such.

        Keys are read again once they are old, and for an unknown id at most once a minute, so that a flood
        of made-up ids causes no flood of calls.

        Raises:
            VendorUnavailableError: the keys are not known, or too old, and cannot be read now; or somebody
                asks for them already, and the issuer lets us wait.
        """
        now = self._clock.now()
        if not self._is_fresh(now, KEYS_LAST) or (
            key_id not in self._keys and not self._is_fresh(now, UNKNOWN_KEY_COOL_DOWN)
        ):
            self._refresh(now)
        return self._keys.get(key_id)

    def _is_fresh(self, now: datetime, lasting: timedelta) -> bool:
        read_at = self._read_at
        return read_at is not None and timedelta(0) <= now - read_at < lasting

    def _refresh(self, asked_at: datetime) -> None:
        if not self._lock.acquire(timeout=self._patience_left()):
            raise VendorUnavailableError(
                self._vendor, "it has been asked for its keys and does not answer yet.", hint=_POST_AGAIN
            )
        try:
            if self._read_at is not None and self._read_at >= asked_at:
                return
            if self._has_just_failed(asked_at):
                raise VendorUnavailableError(self._vendor, "its keys could not be read a moment ago.")
            self._asking_since = time.monotonic()
            self._ask()
        finally:
            self._asking_since = None
            self._lock.release()

    def _patience_left(self) -> float:
        since = self._asking_since
        return PATIENCE if since is None else max(0.0, since + PATIENCE - time.monotonic())

    def _ask(self) -> None:
        try:
            self._keys = self._read()
        except VendorError as error:
            self._failed_at = self._clock.now()
            raise VendorUnavailableError(
                self._vendor, f"its keys cannot be read: {error.message}", hint=_POST_AGAIN
            ) from error
        self._read_at, self._failed_at = self._clock.now(), None

    def _has_just_failed(self, asked_at: datetime) -> bool:
        """Whether a call failed a moment ago, or while this caller waited for its turn: one call serves them all."""
        failed_at = self._failed_at
        if failed_at is None:
            return False
        return failed_at >= asked_at or timedelta(0) <= self._clock.now() - failed_at < OUTAGE_COOL_DOWN

    def _read(self) -> Mapping[str, RSAPublicKey]:
        found = self._get(f"{self._path}{_DISCOVERY}")
        if found.get("issuer") != self.issuer:
            raise self._unusable("its discovery document names another issuer")
        listed = self._get(self._path_of(found.get("jwks_uri"))).get("keys")
        keys = {
            key["kid"]: public
            for key in (listed if isinstance(listed, list) else [])
            if isinstance(key, dict) and (public := _public_key(key)) is not None
        }
        if not keys:
            raise self._unusable("its key set holds no key that can be used")
        return keys

    def _path_of(self, address: object) -> str:
        """Where the keys are, on the issuer's own host: no document can send us elsewhere."""
        try:
            split = urlsplit(address if isinstance(address, str) else "")
        except ValueError:
            split = urlsplit("")
        if (split.scheme, split.netloc) != self._origin or split.query or split.fragment:
            raise self._unusable("its discovery document points to keys that are not on its own host")
        return split.path

    def _get(self, path: str) -> Mapping[str, Any]:
        found = self._client.get(path, auth=NoAuth())
        if not isinstance(found, dict):
            raise self._unusable(f"GET {path} was answered with no object")
        return found

    def _unusable(self, why: str) -> VendorUnavailableError:
        return VendorUnavailableError(self._vendor, f"{why}.")


def _public_key(key: Mapping[str, Any]) -> RSAPublicKey | None:
    """The RSA key for verifying signatures that a JSON Web Key holds; None for every other kind."""
    suits = key.get("kty") == "RSA" and key.get("use", "sig") == "sig" and key.get("alg", "RS256") == "RS256"
    if not suits or "d" in key or not isinstance(key.get("kid"), str) or not key["kid"]:
        return None
    try:
        public = jwt.PyJWK.from_dict(dict(key), algorithm="RS256").key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return public if isinstance(public, RSAPublicKey) and public.key_size >= _LEAST_KEY_BITS else None


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
