"""Verifies the tokens with which people call the API: unverified token -> actor and role."""

from __future__ import annotations

import logging

from champion_gate.adapters.oidc.jwks import IssuerKeys
from champion_gate.adapters.oidc.tokens import (
    LONGEST_ID,
    ClaimsError,
    SignedClaims,
    TokenRules,
    signed_claims,
    unverified_issuer,
)
from champion_gate.domain.callers import LONGEST_NAME, Person, Role, is_callers_name
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.text import is_plain_name, pretends_to_be_us
from champion_gate.errors import NotAuthenticatedError, NotPermittedError
from champion_gate.settings.gates import ApiOidc

CALLBACK = "/sign-in/callback"
"""Where an issuer sends people back to, on our public address."""
_REQUIRED = ("iss", "aud", "exp", "iat", "sub")
_CLAIMS_OF_JOBS = frozenset(
    {"job_workflow_ref", "runner_environment", "ci_config_ref_uri", "pipeline_id", "project_path"}
)
"""What the ID tokens of GitHub's and GitLab's jobs hold, and people's do not.

docs.github.com, "OpenID Connect reference"; docs.gitlab.com, "OpenID Connect (OIDC) authentication using ID
tokens". The settings refuse their issuers already; a GitLab that also signs people in may be known by another name.
"""

_log = logging.getLogger(__name__)


class OidcRoles:
    """Checks the ID tokens with which people and machines call the API. Safe to share between threads."""

    def __init__(self, oidc: ApiOidc, keys: IssuerKeys, clock: Clock) -> None:
        """Nothing is called yet."""
        self._oidc = oidc
        self._keys = keys
        self._clock = clock
        self._rules = TokenRules(oidc.issuer, oidc.audience, _REQUIRED, one_audience=False)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._keys.close()

    def verify(self, unverified_token: str) -> tuple[str, Role, str]:
        """Make sure that the configured issuer gave it to somebody who has a role here.

        What is wrong with a refused token goes into the log and, without values, to the caller.

        Args:
            unverified_token: as it was sent; at most 16 KiB.

        Returns:
            The actor's name, the role, and how we know: `OIDC <issuer> <sub>`.

        Raises:
            NotAuthenticatedError: it is nobody's, for whatever reason; the message holds nothing of the token.
            NotPermittedError: it is somebody's who has no role.
            VendorUnavailableError: the issuer's keys cannot be read.
        """
        person = self.person(unverified_token)
        role = self.role_of(person)
        if role is None:
            _log.warning("a caller's token gives no role: nothing in claim %s does", self._oidc.role_claim)
            raise NotPermittedError(
                f"The token gives no role: nothing in its claim {self._oidc.role_claim} is one that admits here.",
                hint="Ask whoever runs champion-gate: `api.oidc` in gates.yaml says who is a viewer or an operator.",
            )
        return person.actor, role, person.authenticated_by

    def person(self, unverified_token: str, *, nonce: str | None = None) -> Person:
        """Whose token it is, whatever the person may do here; raises as `verify` does.

        Args:
            unverified_token: as it was sent.
            nonce: what its claim `nonce` must be; None takes any.
        """
        try:
            claims = self._signed_claims(unverified_token)
            _check_nonce(claims, nonce)
            subject = _subject(claims)
            actor = self._actor(claims)
        except ClaimsError as refused:
            _log.warning("a caller's token was refused: %s", refused)
            raise NotAuthenticatedError(f"The token was refused: {refused}.") from None
        return Person(actor, self._oidc.issuer, subject, self._role_values(claims))

    def role_of(self, person: Person) -> Role | None:
        """What gates.yaml makes of a person; None where that is nothing, or another issuer knew them."""
        if person.issuer != self._oidc.issuer:
            return None
        if not set(self._oidc.operator).isdisjoint(person.role_values):
            return Role.OPERATOR
        return None if set(self._oidc.viewer).isdisjoint(person.role_values) else Role.VIEWER

    def _signed_claims(self, unverified_token: str) -> SignedClaims:
        if unverified_issuer(unverified_token) != self._oidc.issuer:
            raise ClaimsError("its issuer is not one that is configured")
        claims = signed_claims(unverified_token, self._rules, keys=self._keys, now=self._clock.now())
        if _CLAIMS_OF_JOBS & set(claims):
            raise ClaimsError("it is a CI job's, not a person's")
        return claims

    def _actor(self, claims: SignedClaims) -> str:
        """The name for the ledger, in which nothing can hide and nothing pretends to be more than a name."""
        claim = self._oidc.name_claim
        if not _counts(claims, claim):
            raise ClaimsError("the e-mail address that it names is not verified")
        name = claims.get(claim)
        if not isinstance(name, str) or not is_plain_name(name, LONGEST_NAME):
            raise ClaimsError(
                f"claim {claim} is no name of 1 to {LONGEST_NAME} printable characters without a backslash"
            )
        if pretends_to_be_us(name):
            raise ClaimsError(f"claim {claim} looks like the gate itself or like somebody outside")
        return name

    def _role_values(self, claims: SignedClaims) -> tuple[str, ...]:
        """What the claim of roles holds; one that is neither a text nor a list of texts says nothing."""
        claim = self._oidc.role_claim
        found = claims.get(claim)
        values = [found] if isinstance(found, str) else found
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            return ()
        known = {*self._oidc.operator, *self._oidc.viewer}
        return tuple(value for value in values if value in known) if _counts(claims, claim) else ()


def _check_nonce(claims: SignedClaims, nonce: str | None) -> None:
    if nonce is not None and claims.get("nonce") != nonce:
        raise ClaimsError("claim nonce is not that of this sign-in")


def _subject(claims: SignedClaims) -> str:
    """Who it is at the issuer, whatever the name is there (OpenID Connect Core, section 2: at most 255 characters)."""
    subject = claims["sub"]
    if not isinstance(subject, str) or not is_callers_name(subject, LONGEST_ID):
        raise ClaimsError("claim sub is no id")
    return subject


def _counts(claims: SignedClaims, name: str) -> bool:
    """Whether a claim may be relied on; at some issuers people write any e-mail address into their own account."""
    return name != "email" or claims.get("email_verified") is True
