"""A gated CI job posts its token: a hint that its people have decided, and a question how it went.

The token is verified, bound to the promotion and job it was first posted for, and believed in nothing else:
`advance` re-reads the vendor's API. Posted again, the token only asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from champion_gate.domain.approval import TokenUse
from champion_gate.domain.names import is_row_id
from champion_gate.domain.ports.runtime import Clock, WakeUps
from champion_gate.domain.promotion import Phase, Promotion, parts_of
from champion_gate.errors import NotAuthenticatedError, NotFoundError
from champion_gate.store import Store

if TYPE_CHECKING:  # else every command would load what checks signatures
    from champion_gate.adapters.oidc.ci_jobs import OidcVerifier

_BUDGET = timedelta(seconds=25)  # shorter than the 30 s for which the CI files' curl waits
_POSTABLE_AFTER_EXPIRY = timedelta(minutes=2)
"""A token is accepted a little after its expiry (clock skew); its binding has to live longer."""

_log = logging.getLogger(__name__)


class Standing(StrEnum):
    """What the job is told."""

    PROMOTED = "promoted"
    OTHERS_DECIDE = "others decide"
    UNDER_WAY = "under way"
    ENDED = "ended"


@dataclass(frozen=True)
class Outcome:
    """How the promotion stands, and what that means for the job that asks."""

    promotion: Promotion
    standing: Standing


class PostedDecision:
    """Takes CI jobs' tokens.

    Args:
        pause: waits a moment between two looks at the row; False when there is no time left to wait.
    """

    def __init__(
        self,
        *,
        store: Store,
        verifier: OidcVerifier,
        wake_ups: WakeUps,
        clock: Clock,
        pause: Callable[[], None],
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._wake_ups = wake_ups
        self._clock = clock
        self._pause = pause

    def take(
        self, promotion_id: str, unverified_token: str, *, place: AbstractContextManager[bool]
    ) -> Outcome:
        """Verify the token, have the decision read if it is its first post, and say how the promotion stands.

        Args:
            promotion_id: what the job says it was released for: the promotion's id, or its correlation id with
                the hash of the evidence that its people saw.
            unverified_token: the job's ID token as it was sent.
            place: entered by a first post, which alone waits for the outcome; says whether it may, for at
                most 25 s.

        Raises:
            NotAuthenticatedError: the token is not that of this promotion's gated job, or was posted for another.
            VendorUnavailableError: the token's issuer does not tell its keys.
        """
        promotion = self._find(promotion_id)
        promotion_id = promotion.id
        token = self._verifier.verify(unverified_token, promotion)
        posted_at = self._clock.now()
        if promotion.request is None or token.run_id != promotion.request.external_id:
            # In which run people were asked is not known yet: nothing is bound to the token, and it asks again.
            self._hint(promotion_id, posted_at)
            return Outcome(promotion, Standing.UNDER_WAY)
        use = self._store.bind_token(
            token.key,
            promotion_id=promotion_id,
            job=token.job,
            expires_at=token.expires_at + _POSTABLE_AFTER_EXPIRY,
            at=posted_at,
        )
        if use is TokenUse.ELSEWHERE:
            _log.warning("a token was posted for promotion %s that was first posted elsewhere", promotion_id)
            raise _not_accepted()
        # The end of a copy is told by its step.
        if promotion.phase.is_open and promotion.phase is not Phase.COPYING:
            # Also for a repeated post: whoever was to look after the first may have died before.
            self._hint(promotion_id, posted_at)
        if use is TokenUse.AGAIN:
            return _outcome(self._store.get_promotion(promotion_id), token.seat)
        with place as may_wait:
            return self._wait(promotion_id, token.seat, may_wait=may_wait)

    def _find(self, promotion_id: str) -> Promotion:
        if not is_row_id(promotion_id):
            raise _not_accepted()
        try:
            return promotion_named(self._store, promotion_id)
        except NotFoundError as error:
            # To somebody without a valid token all promotions look alike.
            _log.warning("a token was posted for %s: %s", promotion_id, error)
            raise _not_accepted() from error

    def _hint(self, promotion_id: str, at: datetime) -> None:
        self._store.hint_promotion(promotion_id, at)
        try:
            self._wake_ups.promotion(promotion_id)
        except Exception:  # noqa: BLE001 - the row is hinted: the sweep finds it
            _log.exception("a wake-up for promotion %s was lost", promotion_id)

    def _wait(self, promotion_id: str, seat: str | None, *, may_wait: bool) -> Outcome:
        begun = self._clock.now()
        hinted = self._store.get_promotion(promotion_id)
        outcome = _outcome(hinted, seat)
        while may_wait and outcome.standing in {Standing.UNDER_WAY, Standing.OTHERS_DECIDE}:
            looked = outcome.promotion.updated_at > hinted.updated_at
            # Without its sign: a clock that is set back meanwhile must not make this last.
            late = abs(self._clock.now() - begun) >= _BUDGET
            copying = outcome.promotion.phase is Phase.COPYING
            if late or copying or (looked and outcome.standing is Standing.OTHERS_DECIDE):
                break
            self._pause()
            outcome = _outcome(self._store.get_promotion(promotion_id), seat)
        return outcome


def _not_accepted() -> NotAuthenticatedError:
    return NotAuthenticatedError(
        "The token is not accepted for this promotion.",
        hint="Only the gated job that champion-gate itself asked for may post, once, with its own ID token. "
        "A run that shows earlier evidence does not count any more.",
    )


def _outcome(promotion: Promotion, seat: str | None) -> Outcome:
    if promotion.phase is Phase.PROMOTED:
        return Outcome(promotion, Standing.PROMOTED)
    if not promotion.phase.is_open:
        return Outcome(promotion, Standing.ENDED)
    if promotion.phase is Phase.PENDING_APPROVAL and promotion.outstanding and seat is not None:
        mine = seat.casefold() in {each.casefold() for each in promotion.outstanding}
        return Outcome(promotion, Standing.UNDER_WAY if mine else Standing.OTHERS_DECIDE)
    return Outcome(promotion, Standing.UNDER_WAY)


def promotion_named(store: Store, text: str) -> Promotion:
    """The promotion with this id, or this correlation id, as a request's name and the vendors' jobs have it.

    Raises:
        NotFoundError: there is none, or it stands for other evidence by now.
    """
    try:
        return store.get_promotion(text)
    except NotFoundError:
        named = parts_of(text)
        if named is None:
            raise
    promotion = store.get_promotion(named[0])
    if not (promotion.evidence_sha256 or "").startswith(named[1]):
        raise NotFoundError(
            f"Promotion {promotion.id} stands for other evidence than that of {text}: a request that shows "
            "earlier evidence does not count any more.",
            hint=f"Look at promotion {promotion.id}.",
        )
    return promotion
