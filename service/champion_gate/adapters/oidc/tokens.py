"""What every ID token has to pass, whoever presents it: unverified token -> signed claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NewType

import jwt

from champion_gate.adapters.oidc.jwks import IssuerKeys

SignedClaims = NewType("SignedClaims", Mapping[str, Any])
"""Claims whose signature, issuer, audience and times have been verified; nothing else may be passed on."""

LEEWAY = timedelta(seconds=30)  # clocks differ
MAX_TOKEN_BYTES = 16 * 1024  # what proxies let through as a header; issuers' tokens take 2 KiB
LONGEST_ID = 255

_ALGORITHM = "RS256"
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64"})
_LATEST = 253_402_300_799
"""The last second of the year 9999, the last that a datetime can hold."""


class ClaimsError(Exception):
    """The claims do not fit; names the claim, never its value."""


@dataclass(frozen=True)
class TokenRules:
    """What the tokens of one issuer must say before anybody looks at what else they say.

    Attributes:
        issuer: the claim `iss`, letter by letter.
        audience: the claim `aud`.
        required: claims that must be there.
        one_audience: `aud` must be this text itself. Where it need not be, it may also be a list that holds
            it; a list of several only together with `azp`, which then must be the audience too.
    """

    issuer: str
    audience: str
    required: tuple[str, ...]
    one_audience: bool


def unverified_issuer(unverified_token: str) -> str | None:
    """Whose token it claims to be; good for nothing but for choosing whose keys to try.

    Raises:
        ClaimsError: it is too long, or no token at all.
    """
    if not unverified_token.isascii() or len(unverified_token) > MAX_TOKEN_BYTES:
        raise ClaimsError("it is too long, or no token")
    try:
        peeked = jwt.decode(unverified_token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise ClaimsError("it is no token") from None
    issuer = peeked.get("iss")
    return issuer if isinstance(issuer, str) else None


def signed_claims(
    unverified_token: str, rules: TokenRules, *, keys: IssuerKeys, now: datetime
) -> SignedClaims:
    """The claims of a token whose signature, issuer, audience and times are right.

    Raises:
        ClaimsError: it is not right; names the claim, never its value.
        VendorUnavailableError: the keys cannot be had.
    """
    key = keys.get(_key_id(unverified_token))
    if key is None:
        raise ClaimsError("its issuer has no such key")
    try:
        signed = jwt.decode(
            unverified_token,
            key=key,
            algorithms=[_ALGORITHM],
            issuer=rules.issuer,
            audience=rules.audience,
            options={
                "verify_signature": True,
                "require": list(rules.required),
                "verify_iss": True,
                "verify_aud": True,
                "strict_aud": rules.one_audience,
                "verify_jti": True,
                # PyJWT would take the machine's time; _check_times takes our clock's.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                # Its form is whatever an organization makes it; who relies on it checks it.
                "verify_sub": False,
            },
        )
    except jwt.PyJWTError as error:
        raise ClaimsError(_in_words(error)) from None
    _check_audiences(signed, rules)
    _check_times(signed, now)
    return SignedClaims(signed)


def _key_id(unverified_token: str) -> str:
    """The key with which it claims to be signed; keys that it brings along, or points to, refuse it."""
    header = jwt.get_unverified_header(unverified_token)
    if header.get("alg") != _ALGORITHM:
        raise ClaimsError(f"it is not signed with {_ALGORITHM}")
    if _REFUSED_HEADERS & set(header):
        raise ClaimsError("its header brings a key along, or demands what we do not know")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= LONGEST_ID:
        raise ClaimsError("it does not say with which key it is signed")
    return key_id


def _check_audiences(signed: Mapping[str, Any], rules: TokenRules) -> None:
    """A token that was made for several must say that we are the one that asked for it (OpenID Connect Core, 3.1.3.7)."""
    audience = signed["aud"]
    if isinstance(audience, list) and len(audience) > 1 and signed.get("azp") != rules.audience:
        raise ClaimsError("it was made for several audiences, and claim azp is not ours")


def _check_times(signed: Mapping[str, Any], at: datetime) -> None:
    now, leeway = at.timestamp(), LEEWAY.total_seconds()
    times = {name: signed[name] for name in ("exp", "nbf", "iat") if name in signed}
    for name, value in times.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LATEST:
            raise ClaimsError(f"claim {name} is no time")
    if times["exp"] <= now - leeway:
        raise ClaimsError("it has expired")
    if max(times.get("nbf", 0), times["iat"]) > now + leeway:
        raise ClaimsError("it is not valid yet")


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
