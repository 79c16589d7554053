"""What the store gives out and takes beside promotions, notifications, aliases and ledger lines."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.errors import InvalidInputError


@dataclass(frozen=True)
class Due:
    """Ids of rows that are due and held by nobody."""

    notifications: tuple[str, ...]
    promotions: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class RepeatableRequest:
    """A request with an `Idempotency-Key`: the same one sent again gets the same answer and does nothing.

    Attributes:
        key: the caller, the path and the header's value, made one text.
        fingerprint: lower-case hex sha256 of what is asked for; the same key must not ask for something else.
        status: HTTP status of the answer; None while the first one is being carried out, or was cut off.
        answer: its body.
    """

    key: str
    fingerprint: str
    status: int | None = None
    answer: str = ""


@dataclass(frozen=True)
class TrainerAccount:
    """An account that a trainer was resolved to; it stays excluded until it is forgotten.

    Attributes:
        provider: key of the ApprovalProvider.
        trainer: casefolded name at Databricks.
        alias: MODEL@ALIAS, casefolded, whose gates say so; empty for people, who are the same everywhere.
        login, user_id: the account, under its login of then.
    """

    provider: str
    trainer: str
    alias: str
    login: str
    user_id: str


@dataclass(frozen=True)
class RememberedLogin:
    """Which account a login stands for.

    Attributes:
        provider: key of the ApprovalProvider.
        login: as the vendor wrote it; no two differ only in case.
        last_resolved_at: when the vendor last said so, to the hour.
        other_id: the account that has the login now, until an operator accepts it; else None.
        accounts: all that it was ever resolved to for trainers.
    """

    provider: str
    login: str
    user_id: str
    first_resolved_at: datetime
    last_resolved_at: datetime
    other_id: str | None = None
    accounts: tuple[TrainerAccount, ...] = ()


EntryOf = Callable[[RememberedLogin], LedgerEntry]
"""Makes the ledger's line about a login out of what was remembered of it before."""

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list, newest first. `cursor` asks for the next part; None at the end."""

    items: tuple[T, ...]
    cursor: str | None


def write_cursor(place: object) -> str:
    """A cursor that continues a list behind this place, which JSON knows."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_cursor(cursor: str, read: Callable[[Any], T]) -> T:
    """The place behind which a list continues.

    Args:
        cursor: as somebody sent it.
        read: checks the place; raises ValueError, TypeError or OverflowError where it is of another form.

    Raises:
        InvalidInputError: the cursor is not one that we made.
    """
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        # Its own form again, or it was made up.
        if write_cursor(place) == cursor:
            return read(place)
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise InvalidInputError(
        "The cursor cannot be read.", hint="Take it as it was given, or start without one."
    )
