"""An alias: the row that its one writer holds, the hold that keeps it in place, and what operators order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from champion_gate.domain.callers import Caller
from champion_gate.domain.text import is_visible
from champion_gate.errors import InvalidInputError


@dataclass(frozen=True)
class AliasKey:
    """Which alias: the name of the one-writer row."""

    registry: str
    model: str
    alias: str


class ChangeSource(StrEnum):
    """On whose word an alias is changed by us."""

    PROMOTION = "promotion"
    MANUAL = "manual"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Hold:
    """Keeps an alias where it is: promotions wait, manual changes need `override_hold`.

    Attributes:
        by_rollback: a rollback placed it; another rollback needs no override.
    """

    actor: str
    reason: str
    at: datetime
    by_rollback: bool = False

    def __str__(self) -> str:
        return f"on hold by {self.actor} because {self.reason}"


ARRIVES_WITHIN = timedelta(minutes=2)
"""A write that was sent arrives by then or never: twice its total deadline."""


@dataclass(frozen=True)
class AliasIntent:
    """A write to an alias that was about to happen: committed before the registry is called.

    Attributes:
        from_version, to_version: None stands for "no alias".
        fence: the writer's number; a later writer has a higher one.
        at: when it was first about to happen.
        facts: what else the ledger is to say of it.
        sent_at: when it was last about to be sent; None in rows of earlier releases.
    """

    from_version: str | None
    to_version: str | None
    fence: int
    actor: str
    reason: str
    promotion_id: str | None
    at: datetime
    source: ChangeSource = ChangeSource.PROMOTION
    facts: Mapping[str, str | None] = field(default_factory=dict)
    sent_at: datetime | None = None

    def is_still_at_start(self, current: str | None) -> bool:
        """Whether an alias that stands there does not show the write, nor anybody else's."""
        return current == self.from_version != self.to_version

    @property
    def arrives_before(self) -> datetime:
        """From when on it is certain that the write, if it has not arrived, never will."""
        return (self.sent_at or self.at) + ARRIVES_WITHIN


@dataclass(frozen=True)
class AliasLock:
    """The leased, fenced row that every writer of an alias holds.

    Attributes:
        known_version: where the alias stood when the gate last looked or wrote; None = no alias.
        seen: whether the gate has ever looked; `known_version` means nothing before.
        intent: a write that somebody began and nobody finished yet.
        hold: None where there is none.
        dropped: writes that were given up and may arrive all the same, oldest first.
    """

    key: AliasKey
    fence: int
    lease: str
    seen: bool
    known_version: str | None
    intent: AliasIntent | None
    hold: Hold | None = None
    dropped: tuple[AliasIntent, ...] = ()

    def is_settled_at(self, current: str | None) -> bool:
        """Whether an alias that stands there leaves nothing to record, and no write to wait for."""
        return self.intent is None and not self.dropped and self.seen and self.known_version == current

    def sent_for(self, promotion_id: str) -> AliasIntent | None:
        """The promotion's latest write of which nobody knows yet what came; None if there is none."""
        unsettled = (*self.dropped, *(() if self.intent is None else (self.intent,)))
        return next((each for each in reversed(unsettled) if each.promotion_id == promotion_id), None)


@dataclass(frozen=True)
class OnlyIf:
    """What an operator says of the alias as it stands (`If-Match`); the order is refused if it is not so.

    Attributes:
        versions: one of these holds the alias.
        any_version: some version holds it, whichever (`If-Match: *`).
    """

    versions: frozenset[str] = frozenset()
    any_version: bool = False

    def allows(self, current: str | None) -> bool:
        """Whether the alias stands as was said."""
        return current is not None and (self.any_version or current in self.versions)


LONGEST_REASON = 2000


def check_reason(reason: str) -> str:
    """Return the reason as it is, or raise InvalidInputError: 1 to 2000 characters, one of them visible."""
    if not is_visible(reason) or len(reason) > LONGEST_REASON:
        raise InvalidInputError(
            "A change needs a reason.", hint=f"Say why, in at most {LONGEST_REASON} characters."
        )
    return reason


@dataclass(frozen=True)
class Order:
    """Who orders a change of an alias, why, and under which conditions.

    Attributes:
        reason: in the operator's words; 1 to 2000 characters, one of them visible.
        override_hold: carry it out although the alias is on hold.

    Raises:
        InvalidInputError: the reason is none.
    """

    caller: Caller
    reason: str
    override_hold: bool = False
    only_if: OnlyIf | None = None

    def __post_init__(self) -> None:
        check_reason(self.reason)


@dataclass(frozen=True)
class AliasState:
    """Where an alias stands in the registry now; `version` None: on none."""

    key: AliasKey
    version: str | None
    hold: Hold | None


@dataclass(frozen=True)
class AliasChange:
    """What an order came to.

    Attributes:
        from_version: where the alias stood before.
        changed: False where it stood there already, and nothing was written.
    """

    state: AliasState
    from_version: str | None
    changed: bool
