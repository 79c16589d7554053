"""Verifies the ID tokens of CI jobs: unverified token -> signed claims -> verified token."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.oidc.claims import ClaimsError, ClaimsTable, OtherRunError, SignedClaims
from champion_gate.adapters.oidc.jwks import IssuerKeys
from champion_gate.adapters.oidc.tokens import LONGEST_ID, TokenRules, signed_claims, unverified_issuer
from champion_gate.domain.approval import VerifiedToken
from champion_gate.domain.ports import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import NotAuthenticatedError

_REQUIRED = ("iss", "aud", "exp", "nbf", "iat", "jti")

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
