"""The ID tokens of CI jobs: what their claims must say, as tables of checks, and who verifies them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.oidc.jwks import IssuerKeys
from champion_gate.adapters.oidc.tokens import (
    LONGEST_ID,
    ClaimsError,
    SignedClaims,
    TokenRules,
    signed_claims,
    unverified_issuer,
)
from champion_gate.domain.approval import VerifiedToken
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import NotAuthenticatedError

Check = Callable[[str, SignedClaims, Promotion], bool]
"""Whether a claim's value (vendors send texts only) fits this promotion."""

_MISFIT = "claim {} does not fit this promotion"
_REQUIRED = ("iss", "aud", "exp", "nbf", "iat", "jti")
"""Checked for every vendor, before its table is."""

_log = logging.getLogger(__name__)


class OtherRunError(ClaimsError):
    """The claims fit but for those that say which run, or which attempt of it, the job belongs to."""


@dataclass(frozen=True)
class JobIdentity:
    """Which job a token belongs to; see VerifiedToken."""

    run_id: str
    job_id: str
    attempt: int
    seat: str | None
    user_id: str | None


@dataclass(frozen=True)
class ClaimsTable:
    """What one vendor's tokens must say.

    Attributes:
        identity: reads which job it is, out of claims that have passed.
        checked: claims that must be there and fit.
        runs: claims that say which run, checked in the same way once all others fit.
        demanded: claims that must be there, although there is nothing to compare them with.
        optional: claims that must fit where they are there.
        unchecked: claims that are known and say nothing that we rely on.
    """

    identity: Callable[[SignedClaims, Promotion], JobIdentity]
    checked: Mapping[str, Check]
    runs: Mapping[str, Check] = field(default_factory=dict)
    demanded: frozenset[str] = frozenset()
    optional: Mapping[str, Check] = field(default_factory=dict)
    unchecked: frozenset[str] = frozenset()

    def unknown(self, claims: SignedClaims) -> tuple[str, ...]:
        """Names of claims that this table has never heard of."""
        known = {*self.checked, *self.runs, *self.demanded, *self.optional, *self.unchecked, *_REQUIRED}
        return tuple(sorted(set(claims) - known))

    def check(self, claims: SignedClaims, promotion: Promotion) -> None:
        """Raise ClaimsError unless every claim fits; an empty table lets nothing pass.

        Raises:
            OtherRunError: it is a job of ours, but not of the run that counts.
        """
        if not self.checked:
            raise ClaimsError("nothing is known of what this issuer's tokens must say")
        missing = sorted({*self.checked, *self.runs, *self.demanded} - set(claims))
        if missing:
            raise ClaimsError(f"there is no claim {', '.join(missing)}")
        for name, fits in {**self.checked, **self.optional}.items():
            if name in claims and not _fits(fits, name, claims, promotion):
                raise ClaimsError(_MISFIT.format(name))
        for name in self.demanded:
            if not isinstance(claims[name], str) or not claims[name]:
                raise ClaimsError(f"claim {name} is empty, or no text")
        for name, fits in self.runs.items():
            if not _fits(fits, name, claims, promotion):
                raise OtherRunError(_MISFIT.format(name))


def _fits(fits: Check, name: str, claims: SignedClaims, promotion: Promotion) -> bool:
    value = claims[name]
    return isinstance(value, str) and bool(value) and fits(value, claims, promotion)


# --- what tables are made of ----------------------------------------------------------------------------------


def is_pin(key: str) -> Check:
    """The value is exactly what was pinned when the request opened; nothing fits a pin that is missing."""

    def check(value: str, _claims: SignedClaims, promotion: Promotion) -> bool:
        return value == pin(promotion, key)

    return check


def is_word(word: str) -> Check:
    """The value is exactly this word."""

    def check(value: str, _claims: SignedClaims, _promotion: Promotion) -> bool:
        return value == word

    return check


def is_request(value: str, _claims: SignedClaims, promotion: Promotion) -> bool:
    """The value is the id under which the request was opened.

    While that id is not known, or another request that shows the same evidence may be known later, any id
    fits: VerifiedToken tells which, and whoever uses it compares.
    """
    request = promotion.request
    if request is None:
        return False
    untold = request.external_id is None or request.starts > 1
    return value == request.external_id or (untold and promotion.phase.is_open)


def is_ref_path(value: str, _claims: SignedClaims, promotion: Promotion) -> bool:
    """The value is the pinned branch, with refs/heads/ before it."""
    ref = pin(promotion, "ref")
    return bool(ref) and value == f"refs/heads/{ref}"


def pin(promotion: Promotion, key: str) -> str | None:
    """What was pinned when the request opened; None where nothing was."""
    return (promotion.request.pins.get(key) or None) if promotion.request else None


def place(promotion: Promotion, key: str) -> str | None:
    """The gate's own word for the place as it was when the request opened."""
    return (promotion.request.place.get(key) or None) if promotion.request else None


# --- the verifier ---------------------------------------------------------------------------------------------


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
    """Checks the ID tokens of CI jobs. Safe to share between threads."""

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
        """Make sure that it is the token of this promotion's gated job.

        What is wrong with a refused token goes into the log and, without values, to the caller.

        Args:
            unverified_token: as it was sent; at most 16 KiB.
            promotion: with the request whose job may post.

        Raises:
            NotAuthenticatedError: it is not, for whatever reason; the reason goes into the log.
            VendorUnavailableError: the issuer's keys cannot be read.
        """
        try:
            provider = self._provider(unverified_token, promotion)
            claims = self._signed_claims(unverified_token, provider)
            table = self._issuers[provider].claims
            table.check(claims, promotion)
        except ClaimsError as refused:
            _log.warning("promotion %s: an ID token was refused: %s", promotion.id, refused)
            hint = _run_that_counts(promotion) if isinstance(refused, OtherRunError) else ""
            raise NotAuthenticatedError(f"The ID token was refused: {refused}.", hint=hint) from None
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
        claimed = unverified_issuer(unverified_token)
        provider = promotion.request.provider if promotion.request else None
        if provider is not None and provider not in self._issuers:
            raise ClaimsError(f"no job decides on what was asked at {provider}")
        if claimed not in {issuer.url for issuer in self._issuers.values()}:
            raise ClaimsError("its issuer is not one that is configured")
        if provider not in self._issuers or self._issuers[provider].url != claimed:
            raise ClaimsError("its issuer is not that of this promotion's provider")
        return provider

    def _signed_claims(self, unverified_token: str, provider: str) -> SignedClaims:
        issuer = self._issuers[provider]
        rules = TokenRules(issuer.url, issuer.audience, _REQUIRED, one_audience=True)
        signed = signed_claims(unverified_token, rules, keys=self._keys[provider], now=self._clock.now())
        if not isinstance(signed["jti"], str) or not 0 < len(signed["jti"]) <= LONGEST_ID:
            raise ClaimsError("claim jti is no id")
        return signed


def _run_that_counts(promotion: Promotion) -> str:
    """Told to jobs of ours only."""
    request = promotion.request
    counts = request.url or request.external_id if request else None
    return (
        f"Promotion {promotion.id} is {promotion.phase}. Of its runs only the first attempt of {counts} counts."
        if counts
        else ""
    )
