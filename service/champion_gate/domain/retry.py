"""When a call that failed is tried again, and when a person has to look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from champion_gate.errors import GateError, VendorRefusedError, VendorUnavailableError

BUDGET = timedelta(hours=24)  # an outage over a night must lose nothing
_LONGEST_SECONDS = 15 * 60.0  # so late at most is an outage's end seen
LONGEST_OWN = timedelta(seconds=_LONGEST_SECONDS * 1.25)
"""The longest pause that no vendor has asked for."""
_LONGEST_ASKED = 60 * 60.0  # vendors' rate limits are by the hour
_DAYS_TRIES = 20  # a day of failing takes more
_BETWEEN_REFUSALS = 60.0  # a refusal heals only when a person changes something


@dataclass(frozen=True)
class Retry:
    """How a piece of work fails: `Retry()` while all goes well."""

    attempts: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None

    def has_failed_for(self, budget: timedelta, now: datetime) -> bool:
        """Whether tries have failed for so long.

        Where there were too few of them, nothing was tried for most of that time: the service stood still, or its
        clock leapt ahead.
        """
        since = self.failing_since
        return since is not None and now - since >= budget and self.is_often

    @property
    def is_often(self) -> bool:
        """Whether it has been tried as often as in a day of failing."""
        return self.attempts >= _DAYS_TRIES


def next_try(
    error: GateError,
    before: Retry,
    *,
    now: datetime,
    fraction: float,
    budget: timedelta | None = BUDGET,
) -> tuple[Retry, datetime | None]:
    """Plan the attempt after a failed one: 1 s doubling to 15 min, with jitter, for 24 h.

    Where the vendor asks for a longer pause it is given that, up to an hour; after a refusal it is a minute at least. What
    waits for another worker alone waits no longer than `error.longest_pause`.

    Args:
        error: what went wrong; one that is not retryable gets no further attempt. A refused read does, for vendors
            refuse for a moment what they grant before and after; a refused write does where every call is refused:
            a token that ran out must not fail all that is open in that minute.
        before: how those before this one failed.
        now: the time of this failure.
        fraction: randomness, 0 <= fraction < 1.
        budget: for how long to go on; None sets no end and retries also what repeating alone cannot help,
            for work that only waits.

    Returns:
        How it has failed by now, and when to try again; None when the budget is used up or repeating cannot help.
    """
    failing = Retry(before.attempts + 1, before.failing_since or now, str(error))
    seconds = min(_LONGEST_SECONDS, 2.0 ** min(before.attempts, 20)) * (0.75 + 0.5 * fraction)
    if isinstance(error, VendorUnavailableError) and error.retry_after is not None:
        seconds = max(seconds, min(error.retry_after, _LONGEST_ASKED))
    if error.longest_pause is not None:
        seconds = min(seconds, error.longest_pause)
    heals = error.retryable
    if isinstance(error, VendorRefusedError):
        seconds = max(seconds, _BETWEEN_REFUSALS)
        heals = error.concerns_all or not error.of_write
    due_at: datetime | None = now + timedelta(seconds=seconds)
    if budget is not None and (not heals or failing.has_failed_for(budget, now)):
        due_at = None
    return failing, due_at
