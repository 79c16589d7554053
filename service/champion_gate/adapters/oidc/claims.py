"""Claims as tables of checks: what must be there and fit, what may be there, what is never looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NewType

from champion_gate.domain.promotion import Promotion

SignedClaims = NewType("SignedClaims", Mapping[str, Any])
"""Claims whose signature, issuer, audience and times have been verified; nothing else may be passed on."""

Check = Callable[[str, SignedClaims, Promotion], bool]
"""Whether a claim's value (vendors send texts only) fits this promotion."""

REGISTERED = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
"""Checked for every vendor, before its table is."""

_MISFIT = "claim {} does not fit this promotion"


class ClaimsError(Exception):
    """The claims do not fit; names the claim, never its value."""


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
        known = {*self.checked, *self.runs, *self.demanded, *self.optional, *self.unchecked, *REGISTERED}
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
