"""Which of the pending requests are worth another read, out of one list a place."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import VendorUnavailableError

K = TypeVar("K", bound=Hashable)

CLOCKS_DIFFER = timedelta(days=1)
"""A run whose time, by the vendor's clock, is further from ours than that is none of the promotion's."""

_CLOCK_SKEW = timedelta(minutes=5)

_log = logging.getLogger(__name__)


def asked_between(promotion: Promotion) -> tuple[datetime, datetime | None]:
    """When CI runs for this promotion may have been started.

    Whole days, so that the list is the same URL for many promotions and is answered with 304. From the
    promotion's beginning, not from its latest intent: an earlier call may have got through unseen.
    """
    request = promotion.request
    first = min(promotion.requested_at, request.intent_at) if request else promotion.requested_at
    since = _midnight(first - _CLOCK_SKEW)
    if request is None or request.opened_at is None:
        return since, None
    return since, _midnight(request.opened_at + timedelta(days=1)) + timedelta(days=1)


def last_asked(promotion: Promotion) -> datetime:
    """Since when the run of the latest call may have been started."""
    request = promotion.request
    return (request.asked_at or request.intent_at if request else promotion.requested_at) - _CLOCK_SKEW


def starts_of(promotion: Promotion) -> int:
    """How many CI runs may have been started for this promotion: a list that shows fewer may lack one."""
    return max(promotion.request.starts if promotion.request else 0, 1)


def earliest(promotions: Iterable[Promotion]) -> datetime:
    """Since when runs for any of these may have been started."""
    return min(asked_between(promotion)[0] for promotion in promotions)


def by_place(
    pending: Sequence[Promotion],
    targets: Mapping[str, ApprovalTarget],
    key_of: Callable[[Promotion, ApprovalTarget], K],
) -> tuple[dict[K, list[Promotion]], list[str]]:
    """Group by where the request was opened.

    Returns:
        The groups, and the ids of those of which no place is known any more.
    """
    grouped: dict[K, list[Promotion]] = {}
    nowhere: list[str] = []
    for promotion in pending:
        request = promotion.request
        target = request.target if request and request.place else targets.get(promotion.gate)
        if target is None:
            nowhere.append(promotion.id)
        else:
            grouped.setdefault(key_of(promotion, target), []).append(promotion)
    return grouped, nowhere


def each_place(
    grouped: Mapping[K, list[Promotion]], news_of: Callable[[K, list[Promotion]], list[str]]
) -> list[str]:
    """The news of all places; one that cannot be read keeps no other from being looked at.

    Args:
        grouped: what waits, by place.
        news_of: asks about one place.

    Raises:
        VendorUnavailableError: no place at all could be read.
    """
    news: list[str] = []
    failed: list[VendorUnavailableError] = []
    for key, group in grouped.items():
        try:
            news += news_of(key, group)
        except VendorUnavailableError as error:
            _log.warning("news of %d promotions cannot be listed: %s", len(group), error)
            failed.append(error)
    if failed and len(failed) == len(grouped):
        raise failed[0]
    return news


class LastLooks:
    """What each CI run looked like when it was last listed. Safe to share between threads."""

    def __init__(self) -> None:
        self._looks: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def changed(self, run_id: str, look: tuple[str, str]) -> bool:
        """Whether the run looks other than last time, or was never seen; remembers the look."""
        with self._lock:
            before = self._looks.get(run_id)
            self._looks[run_id] = look
        return look != before

    def keep_only(self, pending: Iterable[Promotion]) -> None:
        """Forget the runs of all other promotions."""
        kept = {promotion.request.external_id for promotion in pending if promotion.request}
        with self._lock:
            for run_id in self._looks.keys() - kept:
                del self._looks[run_id]


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
