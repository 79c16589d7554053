"""A step: a piece of durable work around a promotion, that no decision waits for unless it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from champion_gate.domain.promotion import Phase
from champion_gate.domain.retry import Retry


class StepKind(StrEnum):
    """What is done."""

    CANCEL_REQUEST = "cancel_request"
    CANCEL_DOUBLES = "cancel_doubles"
    TAG_VERSION = "tag_version"
    VALIDATE = "validate"
    JOB = "job"
    ENDPOINT = "endpoint"
    CHALLENGER = "challenger"
    CHALLENGER_REMOVAL = "challenger_removal"
    COPY = "copy"
    STATUS = "status"
    COMMENT = "comment"
    MERGE = "merge"
    DRIFT_LOOKUP = "drift_lookup"
    REOPEN = "reopen"
    RESTORE = "restore"
    NOTICE = "notice"


AFTER_MOVES = (StepKind.JOB, StepKind.ENDPOINT)
"""What follows a move of an alias; its ends are lines of the ledger."""


class StepPhase(StrEnum):
    """Where a step stands. The first two are open."""

    PLANNED = "planned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    OVERTAKEN = "overtaken"

    @property
    def is_open(self) -> bool:
        """Whether work is left to do."""
        return self in {StepPhase.PLANNED, StepPhase.RUNNING}


@dataclass(frozen=True)
class Step:
    """One piece of such work. Its row stays when it has ended.

    Attributes:
        id: `[a-z0-9-]+`; made of what it belongs to and what it does, so that planning it twice makes one.
        promotion_id: what it belongs to; empty for what follows or tells of a move of an alias that no promotion made.
        config: what is to be done, frozen when it was planned; CANCEL_REQUEST: {"external_id"}; CANCEL_DOUBLES: nothing, they
            are looked for; TAG_VERSION: the tags, key -> value; VALIDATE: see
            `flow/validation_runs.py`; JOB and ENDPOINT: see `flow/after.py`; CHALLENGER and its removal:
            `Promotion.asked` and {"challenger"}; COPY: see `flow/copy_runs.py`; STATUS and COMMENT: nothing, they tell how
            the promotion stands when they are carried out; MERGE: `Promotion.asked`; NOTICE:
            {"notice", "message"}; DRIFT_LOOKUP, REOPEN and RESTORE: see `domain/drift.py`; REOPEN that
            belongs to a promotion: {"promotions": [its id]}.
        planned_at: when it became necessary.
        due_at: when it is looked at next; None once it has ended.
        position: its place among those of what it belongs to; the store counts from 0.
        reason: why it is where it is, in words for people.
        starts: how often the vendor was asked to begin, since it was planned or an operator took it up again.
        token: what the vendor knows a start by; stored before the call.
        external_id, url: the vendor's own id and page of what was started.
        started_at: when the vendor was first asked for this start.
        known: what was known of what was started; JSON-able.
        result_json: what came of it, as canonical JSON, and its sha256.
        retry: how its calls fail.
        lease: token of the worker that holds the row; empty where nobody does.
    """

    id: str
    promotion_id: str
    kind: StepKind
    config: Mapping[str, Any]
    planned_at: datetime
    due_at: datetime | None
    position: int = 0
    phase: StepPhase = StepPhase.PLANNED
    reason: str = ""
    starts: int = 0
    token: str = ""
    external_id: str | None = None
    url: str | None = None
    started_at: datetime | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None
    result_json: str | None = None
    result_sha256: str | None = None
    retry: Retry = field(default_factory=Retry)
    lease: str = ""


LEDGERED = frozenset(
    {
        StepKind.VALIDATE,
        StepKind.CHALLENGER,
        StepKind.CHALLENGER_REMOVAL,
        StepKind.COPY,
        StepKind.MERGE,
        *AFTER_MOVES,
    }
)
"""The kinds whose ends are lines of the ledger."""
WAITED_FOR: Mapping[StepKind, Phase] = {StepKind.VALIDATE: Phase.VALIDATING, StepKind.COPY: Phase.COPYING}
"""The kinds for whose end the promotion waits, and in which phase; in any other nobody does."""
MOST_STARTS: Mapping[StepKind, int] = {StepKind.VALIDATE: 2}
"""How often the kinds that start something are begun by themselves: what could not run gets one fresh attempt."""


def planned(
    promotion_id: str, kind: StepKind, config: Mapping[str, Any], at: datetime, *, name: str = ""
) -> Step:
    """A step at its beginning, due at once.

    Args:
        promotion_id: what it belongs to.
        kind: what is to be done.
        config: see Step.
        at: now.
        name: `[a-z0-9-]+`, what tells it from others of its kind that belong to the same.
    """
    words = (promotion_id, *kind.value.split("_"), *([name] if name else []))
    return Step("-".join(words), promotion_id, kind, config, planned_at=at, due_at=at)


def ended(step: Step, phase: StepPhase, reason: str, at: datetime) -> Step:
    """The step as it ends; how its calls failed stays to be seen where it has failed."""
    retry = step.retry if phase is StepPhase.FAILED else Retry()
    return replace(step, phase=phase, reason=reason, ended_at=at, due_at=None, retry=retry)


def taken_up_again(step: Step, reason: str, at: datetime, *, starts: int = 0) -> Step:
    """The step as it begins anew, with nothing of what was started before but how often that was, and which copies.

    A start of which no run is known may have made one, which its token finds.
    """
    return replace(
        planned(step.promotion_id, step.kind, step.config, at),
        id=step.id,
        position=step.position,
        planned_at=step.planned_at,
        reason=reason,
        starts=starts,
        lease=step.lease,
        known=step.known if step.kind is StepKind.COPY else {},
        token=step.token if step.external_id is None else "",
    )
