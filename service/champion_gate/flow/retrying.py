"""When a call that failed is tried again, and when a person has to look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from champion_gate.errors import GateError, VendorRefusedError, VendorUnavailableError

BUDGET = timedelta(hours=24)
_LONGEST_SECONDS = 15 * 60.0
_LONGEST_ASKED = 60 * 60.0
_BETWEEN_REFUSALS = 60.0


@dataclass(frozen=True)
class NextTry:
    """What follows a failed attempt.

    Attributes:
        due_at: when to try again; None when the budget is used up or repeating cannot help.
    """

    attempts: int
    failing_since: datetime
    due_at: datetime | None
    last_error: str


def next_try(
    error: GateError,
    *,
    attempts: int,
    failing_since: datetime | None,
    now: datetime,
    fraction: float,
    budget: timedelta | None = BUDGET,
) -> NextTry:
    """Plan the attempt after a failed one: 1 s doubling to 15 min, with jitter, for 24 h.

    Where the vendor asks for a longer pause it is given that, up to an hour; after a refusal it is a minute at least.

    Args:
        error: what went wrong; one that is not retryable gets no further attempt. A refused read does, for vendors
            refuse for a moment what they grant before and after; a refused write does where every call is refused:
            a token that ran out must not fail all that is open in that minute.
        attempts: how many failed before this one.
        failing_since: when the first of them failed.
        now: the time of this failure.
        fraction: randomness, 0 <= fraction < 1.
        budget: for how long to go on; None sets no end and retries also what repeating alone cannot help,
            for work that only waits.
    """
    since = failing_since or now
    seconds = min(_LONGEST_SECONDS, 2.0 ** min(attempts, 20)) * (0.75 + 0.5 * fraction)
    if isinstance(error, VendorUnavailableError) and error.retry_after is not None:
        seconds = max(seconds, min(error.retry_after, _LONGEST_ASKED))
    heals = error.retryable
    if isinstance(error, VendorRefusedError):
        seconds = max(seconds, _BETWEEN_REFUSALS)
        heals = error.concerns_all or not error.of_write
    due_at: datetime | None = now + timedelta(seconds=seconds)
    if budget is not None and (not heals or now - since >= budget):
        due_at = None
    return NextTry(attempts + 1, since, due_at, str(error))
