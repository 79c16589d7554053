"""Verifies the ID tokens of CI jobs: unverified token -> signed claims -> verified token."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from champion_gate.adapters import oidc_github, oidc_gitlab
from champion_gate.adapters.http import Timeouts
from champion_gate.adapters.oidc_claims import ClaimsError, ClaimsTable, SignedClaims
from champion_gate.adapters.oidc_keys import IssuerKeys
from champion_gate.core.claims import VerifiedToken
from champion_gate.core.ports import Clock
from champion_gate.core.promotion import Promotion
from champion_gate.errors import NotAuthenticatedError

GITHUB = oidc_github.TABLE
GITLAB = oidc_gitlab.TABLE

LEEWAY = timedelta(seconds=30)
MAX_TOKEN_BYTES = 16 * 1024

_ALGORITHM = "RS256"
_REQUIRED = ("iss", "aud", "exp", "nbf", "iat", "jti")
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64"})
_LONGEST_ID = 255
_LATEST = 253_402_300_799
"""The last second of the year 9999, the last that a datetime can hold."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Issuer:
    """Who signs the tokens of a provider's jobs.

    Attributes:
        url: exactly as the `iss` claim has it; a slash at the end makes another issuer.
        audience: the `aud` for which jobs ask; a single one, unique to this installation.
        claims: what the tokens must say.
        ca_file: PEM file of certificate authorities.
    """

    url: str
    audience: str
    claims: ClaimsTable
    ca_file: str | None = None


class OidcVerifier:
    """A TokenVerifier. Safe to share between threads."""

    def __init__(
        self,
        issuers: Mapping[str, Issuer],
        *,
        clock: Clock,
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is called yet.

        Args:
            issuers: provider key -> who signs its tokens.
            clock: now, against which tokens' times are checked.
            timeouts: of the calls for keys.
            sleep: pauses between tries.

        Raises:
            ConfigurationError: an issuer cannot be used.
        """
        self._issuers = dict(issuers)
        self._clock = clock
        self._keys = {
            provider: IssuerKeys(
                issuer.url, clock=clock, ca_file=issuer.ca_file, timeouts=timeouts, sleep=sleep
            )
            for provider, issuer in issuers.items()
        }

    def close(self) -> None:
        """Close the connections that are kept open."""
        for keys in self._keys.values():
            keys.close()

    def verify(self, unverified_token: str, promotion: Promotion) -> VerifiedToken:
        """See TokenVerifier. What is wrong with a refused token goes into the log and, without values, to the caller."""
        try:
            provider = self._provider(unverified_token, promotion)
            claims = self._signed_claims(unverified_token, provider)
            table = self._issuers[provider].claims
            table.check(claims, promotion)
        except ClaimsError as refused:
            _log.warning("promotion %s: an ID token was refused: %s", promotion.id, refused)
            raise NotAuthenticatedError(f"The ID token was refused: {refused}.") from None
        unknown = table.unknown(claims)
        if unknown:
            _log.warning(
                "promotion %s: an ID token holds unknown claims: %s", promotion.id, ", ".join(unknown)
            )
        job = table.identity(claims, promotion)
        return VerifiedToken(
            provider=provider,
            issuer=claims["iss"],
            token_id=claims["jti"],
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            run_id=job.run_id,
            job_id=job.job_id,
            attempt=job.attempt,
            seat=job.seat,
            user_id=job.user_id,
            unknown_claims=unknown,
        )

    def _provider(self, unverified_token: str, promotion: Promotion) -> str:
        """The promotion's provider, if the token claims to be its issuer's; the claim chooses nothing else."""
        if not unverified_token.isascii() or len(unverified_token) > MAX_TOKEN_BYTES:
            raise ClaimsError("it is too long, or no token")
        provider = promotion.request.provider if promotion.request else None
        unverified_issuer = _peek(unverified_token).get("iss")
        if unverified_issuer not in {issuer.url for issuer in self._issuers.values()}:
            raise ClaimsError("its issuer is not one that is configured")
        if provider not in self._issuers or self._issuers[provider].url != unverified_issuer:
            raise ClaimsError("its issuer is not that of this promotion's provider")
        return provider

    def _signed_claims(self, unverified_token: str, provider: str) -> SignedClaims:
        issuer = self._issuers[provider]
        key = self._keys[provider].get(_key_id(unverified_token))
        if key is None:
            raise ClaimsError("its issuer has no such key")
        try:
            signed = jwt.decode(
                unverified_token,
                key=key,
                algorithms=[_ALGORITHM],
                issuer=issuer.url,
                audience=issuer.audience,
                options={
                    "verify_signature": True,
                    "require": list(_REQUIRED),
                    "verify_iss": True,
                    "verify_aud": True,
                    "strict_aud": True,
                    "verify_jti": True,
                    # PyJWT would take the machine's time; _check_times takes our clock's.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    # Never looked at: its form is whatever an organization makes it.
                    "verify_sub": False,
                },
            )
        except jwt.PyJWTError as error:
            raise ClaimsError(_in_words(error)) from None
        self._check_times(signed)
        if not isinstance(signed["jti"], str) or not 0 < len(signed["jti"]) <= _LONGEST_ID:
            raise ClaimsError("claim jti is no id")
        return SignedClaims(signed)

    def _check_times(self, signed: Mapping[str, Any]) -> None:
        now, leeway = self._clock.now().timestamp(), LEEWAY.total_seconds()
        for name in ("exp", "nbf", "iat"):
            value = signed[name]
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LATEST:
                raise ClaimsError(f"claim {name} is no time")
        if signed["exp"] <= now - leeway:
            raise ClaimsError("it has expired")
        if max(signed["nbf"], signed["iat"]) > now + leeway:
            raise ClaimsError("it is not valid yet")


def _peek(unverified_token: str) -> Mapping[str, Any]:
    """What a token claims, unverified; good for nothing but for choosing whose keys to try."""
    try:
        peeked = jwt.decode(unverified_token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise ClaimsError("it is no token") from None
    return peeked if isinstance(peeked.get("iss"), str) else {}


def _key_id(unverified_token: str) -> str:
    """The key with which it claims to be signed; keys that it brings along, or points to, refuse it."""
    header = jwt.get_unverified_header(unverified_token)
    if header.get("alg") != _ALGORITHM:
        raise ClaimsError(f"it is not signed with {_ALGORITHM}")
    if _REFUSED_HEADERS & set(header):
        raise ClaimsError("its header brings a key along, or demands what we do not know")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= _LONGEST_ID:
        raise ClaimsError("it does not say with which key it is signed")
    return key_id


_WORDS: Mapping[type[jwt.PyJWTError], str] = {
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidAlgorithmError: f"it is not signed with {_ALGORITHM}",
    jwt.InvalidAudienceError: "it was made for another audience",
    jwt.InvalidIssuerError: "its issuer is not one that is configured",
}


def _in_words(error: jwt.PyJWTError) -> str:
    """Why PyJWT refused it; its own words may hold values."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"there is no claim {error.claim}"
    return _WORDS.get(type(error), f"it is no valid token ({type(error).__name__})")
