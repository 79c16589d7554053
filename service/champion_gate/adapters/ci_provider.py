"""What the approval providers have in common: what a CI run is given, and which pending requests are worth another read."""

from __future__ import annotations

import json
import logging
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.starts import SeenRun
from champion_gate.domain.approval import News, OpenedRequest
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.promotion import Promotion, promotions_in
from champion_gate.domain.steps import StepKind
from champion_gate.errors import VendorError, VendorRefusedError, VendorUnavailableError

A = TypeVar("A")
Key = tuple[str, ...]

_MODEL = 140
"""With it the title of a run, `Champion MODEL vVERSION [ID]`, stays below 255 characters: GitLab refuses or cuts longer
names of pipelines, and with its end the id would be lost by which the run is found."""

_DECIDED_AT_ONCE = 10
"""More runs than these that leave the list between two looks are doubtful."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """A run as it was last seen in a list.

    Attributes:
        status, updated_at: what the list told.
        told_at: when its promotion had last been read, if this was told to be news: it is news until it is read anew.
    """

    status: str
    updated_at: datetime
    told_at: datetime | None


class CiProvider(ABC, Generic[A]):
    """An approval provider whose requests are CI runs. Safe to share between threads.

    Attributes:
        name: the key under which gates refer to it.
        waiting: the statuses of runs in which nothing can have been decided since they were seen in them.
    """

    waiting: ClassVar[frozenset[str]]

    def __init__(self, name: str, client: ApiClient) -> None:
        self.name = name
        self.client = client
        self._looks: dict[str, _Look] = {}
        self._absent: set[str] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self.client.close()

    goes_on = False
    """See ApprovalProvider: a call that starts a run starts another one when it is repeated."""

    def steps(self, target: ApprovalTarget) -> frozenset[StepKind]:  # noqa: ARG002 - none anywhere
        """See ApprovalProvider: a run tells by itself how it stands."""
        return frozenset()

    def show_status(self, target: ApprovalTarget, promotion: Promotion, words: str) -> None:
        """See ApprovalProvider."""
        raise _nowhere(self.name, target, promotion, words)

    def comment(self, target: ApprovalTarget, promotion: Promotion, text: str) -> None:
        """See ApprovalProvider."""
        raise _nowhere(self.name, target, promotion, text)

    def merge(self, target: ApprovalTarget, promotion: Promotion) -> str:
        """See ApprovalProvider."""
        raise _nowhere(self.name, target, promotion)

    def with_news(self, pending: Sequence[Promotion], targets: Mapping[str, ApprovalTarget]) -> News:
        """What the lists of runs that wait for people tell: one list a place, a page a hundred that wait.

        A run that waits as it did when it was last seen is no news, nor is one that is seen for the first time and
        has not changed since its promotion was last read. What is news is so until the promotion has been read: who is
        told may not be able to note it. A place that cannot be read keeps no other from being looked at.

        Raises:
            VendorUnavailableError: the vendor answered about no place at all.
        """
        places: dict[Key, tuple[A, list[Promotion]]] = {}
        news: list[str] = []
        asking: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        unlisted: list[str] = []
        failed: list[VendorUnavailableError] = []
        for promotion in pending:
            request = promotion.request
            target = request.target if request and request.place else targets.get(promotion.gate)
            if target is None:
                news.append(promotion.id)
                continue
            api = self.api(target)
            places.setdefault(self._list_key(api, promotion), (api, []))[1].append(promotion)
        for api, group in places.values():
            try:
                found = self._news_of(api, group)
            except VendorUnavailableError as error:
                _log.warning("news of %d promotions cannot be listed: %s", len(group), error)
                failed.append(error)
                unlisted += [promotion.id for promotion in group]
            else:
                news += found.promotions
                for promotion_id, runs in found.asking.items():
                    asking[promotion_id] += runs
        if failed and len(failed) == len(places):
            raise failed[0]
        self._forget_all_but(pending)
        return News(tuple(news), dict(asking), tuple(unlisted))

    def _news_of(self, api: A, group: Sequence[Promotion]) -> News:
        try:
            runs = {run.id: run for run in self._waiting_runs(api, group[0])}
        except VendorRefusedError:
            # This list says nothing, so each is read by itself, and says there what is wrong.
            return News(tuple(promotion.id for promotion in group))
        asking = _asking(runs.values(), {run_id(promotion) for promotion in group})
        runs |= self._elsewhere(api, [each for each in group if run_id(each) not in runs])
        return News(tuple(each.id for each in group if self._has_news(each, runs.get(run_id(each)))), asking)

    def _elsewhere(self, api: A, absent: Sequence[Promotion]) -> dict[str, SeenRun]:
        """Those that do not wait for people, as another list has them, where it is worth asking.

        At first one is read by itself: people have decided. One that is still undecided queues for a runner, perhaps
        for days; and many at once are a list that has failed.
        """
        ids = {run_id(promotion) for promotion in absent}
        with self._lock:
            again, self._absent = ids & self._absent, self._absent | ids
        asked = absent if len(absent) > _DECIDED_AT_ONCE else [one for one in absent if run_id(one) in again]
        if not asked:
            return {}
        try:
            return {run.id: run for run in self._runs_of(api, asked)}
        except VendorError as error:
            _log.warning("%d runs cannot be looked for in another list: %s", len(asked), error)
            return {}

    def _has_news(self, promotion: Promotion, run: SeenRun | None) -> bool:
        if run is None:
            return True
        read_at = promotion.updated_at
        with self._lock:
            before = self._looks.get(run.id)
            if before is None:
                is_news = run.updated_at > read_at
            else:
                is_unread = before.told_at == read_at
                is_news = is_unread or (before.status, before.updated_at) != (run.status, run.updated_at)
            self._looks[run.id] = _Look(run.status, run.updated_at, read_at if is_news else None)
        return is_news or run.status not in self.waiting

    def _forget_all_but(self, pending: Iterable[Promotion]) -> None:
        kept = set(map(run_id, pending))
        with self._lock:
            self._absent &= kept
            for gone in self._looks.keys() - kept:
                del self._looks[gone]

    @abstractmethod
    def api(self, target: ApprovalTarget) -> A:
        """The calls about a place."""

    @abstractmethod
    def _list_key(self, api: A, promotion: Promotion) -> Key:
        """Which list the promotion's run stands in."""

    @abstractmethod
    def _waiting_runs(self, api: A, promotion: Promotion) -> list[SeenRun]:
        """That list, of the runs that wait for people; VendorRefusedError where there is none."""

    @abstractmethod
    def _runs_of(self, api: A, promotions: Sequence[Promotion]) -> Iterable[SeenRun]:
        """The runs of these, and others, in whatever status."""


def _nowhere(vendor: str, *_: object) -> VendorRefusedError:
    return VendorRefusedError(vendor, "a request has no place for that here.")


def run_id(promotion: Promotion) -> str:
    """The run in which the promotion's people are asked; empty where it is not known."""
    return (promotion.request.external_id if promotion.request else None) or ""


def doubles_of(promotion: Promotion, waiting: Iterable[SeenRun]) -> tuple[str, ...]:
    """The ids of the runs that wait for people and ask for this promotion besides its own."""
    return _asking(waiting, {run_id(promotion)}).get(promotion.id, ())


def _asking(waiting: Iterable[SeenRun], but: set[str]) -> dict[str, tuple[str, ...]]:
    """Promotion id -> the runs that ask for it, without these."""
    found: dict[str, tuple[str, ...]] = {}
    for run in {run.id: run for run in waiting}.values():
        if run.status and run.id not in but:
            for promotion_id in promotions_in(run.title or ""):
                found[promotion_id] = (*found.get(promotion_id, ()), run.id)
    return found


def opened(vendor: str, what: str, read: Callable[[], OpenedRequest]) -> OpenedRequest:
    """The run that was started; one that was told unreadably may be running, and must be found."""
    try:
        return read()
    except VendorUnavailableError as error:
        raise VendorUnavailableError(vendor, f"{what}, but {error.message}", outcome_unknown=True) from error


# --- what a run is given ----------------------------------------------------------------------------------


def inputs_of(
    promotion: Promotion, evidence: str, *, more: Mapping[str, str], most: int, vendor: str
) -> dict[str, str]:
    """The inputs of the shipped CI templates; evidence that is too long is cut, with a note.

    Args:
        promotion: its correlation id ends up in the run's title, and in the path to which its jobs post.
        evidence: Markdown.
        more: inputs that this vendor's template takes besides.
        most: how many characters all inputs may have together, counted as JSON.
        vendor: its name in words, for the note.
    """
    inputs = {
        "promotion_id": promotion.correlation_id,
        "model": in_titles(promotion.model),
        "version": promotion.version.version,
        "alias": promotion.alias,
        **more,
        "evidence": "",
    }
    room = most - _size(inputs)
    return inputs | {"evidence": _cut(evidence or "No evidence.", room, promotion, vendor)}


def in_titles(model: str) -> str:
    """The model's name as it stands in titles; of a long one the middle is left out, and the evidence has it whole."""
    if len(model) <= _MODEL:
        return model
    half = (_MODEL - 3) // 2
    return f"{model[:half]}...{model[-half:]}"


def _cut(evidence: str, room: int, promotion: Promotion, vendor: str) -> str:
    if _size(evidence) <= room:
        return evidence
    digest = f", sha256 {promotion.evidence_sha256}" if promotion.evidence_sha256 else ""
    note = f"\n\n*Cut here: {vendor} takes no more. The whole evidence is on promotion {promotion.id}{digest}.*\n"
    low, high = 0, len(evidence)
    while low < high:
        middle = (low + high + 1) // 2
        if _size(evidence[:middle] + note) <= room:
            low = middle
        else:
            high = middle - 1
    kept = evidence[:low]
    # At a line's end where there is one near: half a row would break the table.
    line_end = kept.rfind("\n", low // 2)
    return (kept[:line_end] if line_end > 0 else kept) + note


def _size(value: object) -> int:
    """Counted as it is sent, escapes included: which characters the vendors count is not documented."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
