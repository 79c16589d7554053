"""The CI runs that we started for a promotion: when they may have been started, and which of a vendor's lists are they."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from champion_gate.adapters.http.models import Answered, NumberId, Time
from champion_gate.domain.approval import FoundRequests, OpenedRequest
from champion_gate.domain.promotion import Promotion, bears, bears_promotion, promotions_in
from champion_gate.errors import VendorError

_CLOCKS_DIFFER = timedelta(days=1)
"""A run whose time, by the vendor's clock, is further from ours than that is none of the promotion's."""

_CLOCK_SKEW = timedelta(minutes=5)  # between our clock and the vendor's
_APPEARS_WITHIN = timedelta(minutes=10)
"""A call whose fate was not told starts a run by then, or not at all."""


class ListedRun(Answered):
    """A CI run in a vendor's list. Its title bears the promotion's id; its status is in the vendor's words."""

    id: NumberId
    title: str
    url: str
    status: str | None = None
    created_at: Time
    updated_at: Time


@dataclass(frozen=True, slots=True)
class SeenRun:
    """What is kept of a run in a list between two looks: as little as can be, for there may be thousands.

    Attributes:
        title: None where the list does not tell it.
    """

    id: str
    title: str | None
    status: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, listed: ListedRun) -> SeenRun:
        """What is kept of it; without a status it counts as one that may have ended."""
        title = listed.title if "title" in listed.model_fields_set else None
        status = sys.intern(listed.status or "")
        return cls(listed.id, title, status, listed.created_at, listed.updated_at)


R = TypeVar("R", bound=ListedRun)


@dataclass(frozen=True)
class Started(Generic[R]):
    """The runs that we started in a promotion's time, for whatever promotion.

    Attributes:
        whole: whether they are all.
        ends: the statuses of those that have ended.
    """

    promotion: Promotion
    runs: tuple[R, ...]
    whole: bool
    ends: Collection[str]

    def for_promotion(self) -> list[R]:
        """Those that ask for this promotion, whatever evidence they show."""
        return [run for run in self.runs if bears_promotion(run.title, self.promotion)]

    def with_this_evidence(self) -> list[R]:
        """Those that show the evidence that the promotion stands for now, oldest first."""
        found = [run for run in self.runs if bears(run.title, self.promotion)]
        return sorted(found, key=lambda run: (run.created_at, int(run.id)))

    def open_ones_but(self, ids: Collection[str | None]) -> tuple[str, ...]:
        """The ids of those that ask for this promotion and have not ended, without these."""
        asking = self.for_promotion()
        return tuple(run.id for run in asking if run.id not in ids and run.status not in self.ends)

    def found(self, remark: str) -> FoundRequests:
        """As the port has it."""
        ours = self.with_this_evidence()
        return FoundRequests(
            ours=tuple(OpenedRequest(run.id, run.url) for run in ours),
            outdated=self.open_ones_but({run.id for run in ours}),
            remark=remark,
        )

    def nameless(self) -> list[str]:
        """The pages of those that the latest call may have started, and that bear no promotion's id."""
        request = self.promotion.request
        asked = request.asked_at or request.intent_at if request else self.promotion.requested_at
        since = asked - _CLOCK_SKEW
        return [run.url for run in self.runs if run.created_at >= since and not promotions_in(run.title)]

    def lacks_some(self) -> bool:
        """Whether a run of the promotion's own is not there, of as many as may have been started."""
        request = self.promotion.request
        starts = max(request.starts if request else 0, 1)
        return not self.with_this_evidence() or len(self.for_promotion()) < starts


def started_by_us(
    promotion: Promotion,
    ends: Collection[str],
    listed: Callable[[datetime, datetime | None], Iterable[R]],
    newest: Callable[[datetime, Mapping[str, R]], tuple[Iterable[R], bool]],
) -> Started[R]:
    """Read first the list that the vendor filters, and where that lacks one of the promotion's own, all runs besides.

    Where the first cannot be read, the other is enough if it is whole or shows the promotion's own.

    Args:
        promotion: with its request.
        ends: the statuses of runs that have ended.
        listed: those of our own between two times, UTC; None = until now.
        newest: those of our own since a time, UTC, out of a list of all, and whether they are all; is given those
            that are known.

    Raises:
        VendorError: neither list could be read to the end.
    """
    since, until = asked_between(promotion)
    first: dict[str, R] = {}
    unread: VendorError | None = None
    try:
        first = {run.id: run for run in listed(since, until)}
    except VendorError as error:
        unread = error
    started = Started(promotion, tuple(first.values()), True, ends)
    if not started.lacks_some():
        return started
    try:
        more, whole = newest(since - _CLOCKS_DIFFER, first)
        runs = first | {run.id: run for run in more}
    except VendorError as error:
        raise unread or error from None
    started = Started(promotion, tuple(runs.values()), whole, ends)
    if unread is not None and not whole and not started.with_this_evidence():
        raise unread
    return started


def asked_between(promotion: Promotion) -> tuple[datetime, datetime | None]:
    """When CI runs for this promotion may have been started.

    As short as can be, for the list is as long as what was started then; where it lacks what is looked for, because
    clocks differ, a longer one is read. From the promotion's beginning, not from its latest intent: an earlier
    call may have got through unseen.
    """
    request = promotion.request
    first = min(promotion.requested_at, request.intent_at) if request else promotion.requested_at
    since = _whole_seconds(first - _CLOCK_SKEW)
    if request is None or request.opened_at is None:
        return since, None
    return since, _whole_seconds(request.opened_at + _APPEARS_WITHIN + _CLOCK_SKEW)


def spans(promotions: Iterable[Promotion]) -> list[tuple[datetime, datetime | None]]:
    """When runs for these may have been started, as few spans of time as can be."""
    merged: list[tuple[datetime, datetime | None]] = []
    for since, until in sorted(map(asked_between, promotions), key=lambda span: span[0]):
        if not merged or ((before := merged[-1][1]) is not None and before < since):
            merged.append((since, until))
        elif before is not None:
            merged[-1] = (merged[-1][0], None if until is None else max(before, until))
    return merged


def _whole_seconds(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)
