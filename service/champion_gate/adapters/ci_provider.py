"""What the approval providers have in common: what a CI run is given, and which pending requests are worth another read."""

from __future__ import annotations

import json
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.starts import ListedRun, asked_between
from champion_gate.domain.approval import OpenedRequest
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import VendorRefusedError, VendorUnavailableError

A = TypeVar("A")
Key = tuple[str, ...]

_MODEL = 140
"""With it the title of a run, `Champion MODEL vVERSION [ID]`, stays below 255 characters: GitLab refuses or cuts longer
names of pipelines, and with its end the id would be lost by which the run is found."""

_log = logging.getLogger(__name__)


class CiProvider(ABC, Generic[A]):
    """An approval provider whose requests are CI runs. Safe to share between threads.

    Attributes:
        name: the key under which gates refer to it.
        waiting: the statuses of runs in which nothing can have been decided since they were seen in them.
    """

    waiting: ClassVar[frozenset[str]]

    def __init__(self, name: str, client: ApiClient) -> None:
        self.name = name
        self._client = client
        self._looks: dict[str, tuple[str | None, str]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._client.close()

    def with_news(
        self, pending: Sequence[Promotion], targets: Mapping[str, ApprovalTarget]
    ) -> tuple[str, ...]:
        """The ids of the promotions to be read again: all but those whose run still waits, unchanged since last time.

        One list a place; a place that cannot be read keeps no other from being looked at.

        Raises:
            VendorUnavailableError: the vendor answered about no place at all.
        """
        places: dict[Key, tuple[A, list[Promotion]]] = {}
        news: list[str] = []
        failed: list[VendorUnavailableError] = []
        for promotion in pending:
            request = promotion.request
            target = request.target if request and request.place else targets.get(promotion.gate)
            if target is None:
                news.append(promotion.id)
                continue
            api = self._api(target)
            places.setdefault(self._list_key(api, promotion), (api, []))[1].append(promotion)
        for api, group in places.values():
            try:
                news += self._news_of(api, group)
            except VendorUnavailableError as error:
                _log.warning("news of %d promotions cannot be listed: %s", len(group), error)
                failed.append(error)
        if failed and len(failed) == len(places):
            raise failed[0]
        self._forget_all_but(pending)
        return tuple(news)

    def _news_of(self, api: A, group: Sequence[Promotion]) -> list[str]:
        since = min(asked_between(promotion)[0] for promotion in group)
        try:
            runs = {run.id: run for run in self._runs(api, group[0], since)}
        except VendorRefusedError:
            # This list says nothing, so each is read by itself, and says there what is wrong.
            return [promotion.id for promotion in group]
        return [promotion.id for promotion in group if self._has_news(promotion, runs)]

    def _has_news(self, promotion: Promotion, runs: Mapping[str, ListedRun]) -> bool:
        run = runs.get((promotion.request.external_id if promotion.request else None) or "")
        if run is None:
            return True
        look = (run.status, run.updated_at)
        with self._lock:
            before = self._looks.get(run.id)
            self._looks[run.id] = look
        return look != before or run.status not in self.waiting

    def _forget_all_but(self, pending: Iterable[Promotion]) -> None:
        kept = {promotion.request.external_id for promotion in pending if promotion.request}
        with self._lock:
            for run_id in self._looks.keys() - kept:
                del self._looks[run_id]

    @abstractmethod
    def _api(self, target: ApprovalTarget) -> A:
        """The calls about a place."""

    @abstractmethod
    def _list_key(self, api: A, promotion: Promotion) -> Key:
        """Which list the promotion's run stands in."""

    @abstractmethod
    def _runs(self, api: A, promotion: Promotion, since: datetime) -> Iterable[ListedRun]:
        """That list, of the runs that were created then or later, UTC; VendorRefusedError where there is none."""


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
