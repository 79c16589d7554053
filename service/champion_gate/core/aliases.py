"""An alias: the row that its one writer holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class AliasKey:
    """Which alias: the name of the one-writer row."""

    registry: str
    model: str
    alias: str


@dataclass(frozen=True)
class AliasIntent:
    """A write to an alias that was about to happen: committed before the registry is called.

    Attributes:
        from_version, to_version: None stands for "no alias".
        fence: the writer's number; a later writer has a higher one.
    """

    from_version: str | None
    to_version: str | None
    fence: int
    actor: str
    reason: str
    promotion_id: str | None
    at: datetime


@dataclass(frozen=True)
class AliasLock:
    """The leased, fenced row that every writer of an alias holds.

    Attributes:
        known_version: where the alias stood when the gate last looked or wrote; None = no alias.
        seen: whether the gate has ever looked; `known_version` means nothing before.
        intent: a write that somebody began and nobody finished yet.
    """

    key: AliasKey
    fence: int
    lease: str
    seen: bool
    known_version: str | None
    intent: AliasIntent | None
