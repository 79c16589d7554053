"""The ledger's chain: each line's hash covers its own text and the hash of the line before it; and its head."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from champion_gate.domain.canonical import canonical, sha256_of, utc_text
from champion_gate.errors import InvalidInputError

_NOTE = re.compile(r"(?:(0|[1-9][0-9]{0,17}):)?([0-9a-f]{64})", re.ASCII | re.IGNORECASE)


class LedgerKind(StrEnum):
    """What a line of the ledger says."""

    DECISION = "decision"
    ALIAS_CHANGE = "alias_change"
    HOLD = "hold"
    RELEASE = "release"
    IDENTITY = "identity"
    STEP = "step"
    DRIFT = "drift"


@dataclass(frozen=True)
class LedgerEntry:
    """A line to be appended. `facts` is JSON-able and holds what is particular to the kind."""

    kind: LedgerKind
    registry: str
    model: str
    alias: str
    actor: str
    reason: str
    at: datetime
    promotion_id: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LedgerLine:
    """A line as it stands: numbered and chained to the one before it."""

    number: int
    entry: LedgerEntry
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class LedgerHead:
    """The end of the chain: whoever keeps a copy of it elsewhere can tell later whether the ledger was rewritten."""

    number: int
    hash: str


GENESIS = "0" * 64
"""What stands for the hash of the line before the first one."""


@dataclass(frozen=True)
class ChainedText:
    """A line as it is kept.

    Attributes:
        number: 1 for the first line, without gaps.
        body: the entry and the number as canonical JSON.
        previous_hash: hash of the line before, or GENESIS.
        hash: lower-case hex sha256 of previous_hash, a line feed and the body.
    """

    number: int
    body: str
    previous_hash: str
    hash: str


def chain(number: int, previous_hash: str, entry: LedgerEntry) -> ChainedText:
    """Make the line that follows the one with `previous_hash`.

    Raises:
        ValueError: the entry's time is not aware, or its facts cannot be written as JSON.
        TypeError: the facts hold something that JSON does not know.
    """
    body = write_body(number, entry)
    return ChainedText(number, body, previous_hash, chain_hash(previous_hash, body))


def chain_hash(previous_hash: str, body: str) -> str:
    """The hash of a line, as lower-case hex sha256."""
    return sha256_of(f"{previous_hash}\n{body}")


def write_body(number: int, entry: LedgerEntry) -> str:
    """The entry and its number as canonical JSON; raises as `chain` does."""
    body = {
        "number": number,
        "kind": entry.kind.value,
        "registry": entry.registry,
        "model": entry.model,
        "alias": entry.alias,
        "actor": entry.actor,
        "reason": entry.reason,
        "at": ledger_time(entry.at),
        "promotion_id": entry.promotion_id,
        "facts": _plain(entry.facts),
    }
    return canonical(body)


def ledger_time(at: datetime) -> str:
    """As lines and receipts have it; raises ValueError for a naive time."""
    return utc_text(at, zone="+00:00")


def read_body(body: str) -> LedgerEntry:
    """The entry out of a line's text; the reverse of `write_body`.

    Raises:
        ValueError: the text is not what `write_body` makes.
    """
    try:
        found: dict[str, Any] = json.loads(body)
        return LedgerEntry(
            kind=LedgerKind(found["kind"]),
            registry=found["registry"],
            model=found["model"],
            alias=found["alias"],
            actor=found["actor"],
            reason=found["reason"],
            at=datetime.fromisoformat(found["at"]),
            promotion_id=found["promotion_id"],
            facts=found["facts"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no ledger line: {error}") from error


def break_in_chain(previous: ChainedText | None, line: ChainedText) -> str | None:
    """Why `line` is not the one that was written after `previous`; None if it is.

    Args:
        previous: the line before, already checked; None for the first line.
        line: the next one that was found, in the order of the numbers.
    """
    expected = 1 if previous is None else previous.number + 1
    if line.number != expected:
        return f"Line {expected} of the ledger is missing."
    if line.previous_hash != (GENESIS if previous is None else previous.hash):
        return f"Line {expected} of the ledger does not follow the line before it."
    if line.hash != chain_hash(line.previous_hash, line.body):
        return f"Line {expected} of the ledger has been edited."
    return None


@dataclass(frozen=True)
class NotedHead:
    """A head that was noted elsewhere: in a log, a receipt, an answer of `/readyz`.

    Attributes:
        number: the line's; None where only the hash was noted.
        hash: lower-case hex.
    """

    number: int | None
    hash: str

    @classmethod
    def read(cls, text: str) -> NotedHead:
        """Read `HASH` or `NUMBER:HASH`.

        Raises:
            InvalidInputError: it is neither.
        """
        match = _NOTE.fullmatch(text.strip())
        if match is None:
            raise InvalidInputError(
                f"{text!r} is no head of a ledger.",
                hint="Write its hash, or NUMBER:HASH; a hash has 64 digits.",
            )
        number, digits = match.groups()
        return cls(None if number is None else int(number), digits.lower())

    def is_line(self, line: ChainedText) -> bool:
        """Whether it was this line that was noted."""
        return self.hash == line.hash and self.number in {None, line.number}

    def precedes(self, first: ChainedText | None) -> bool:
        """Whether it is what `first` follows; with None, whether it is the head of an empty ledger."""
        if first is None:
            return self.hash == GENESIS and self.number in {None, 0}
        return self.hash == first.previous_hash and self.number in {None, first.number - 1}


def head_view(head: LedgerHead) -> dict[str, object]:
    """The head as clients see it."""
    return {"number": head.number, "hash": head.hash}


def _plain(value: object) -> object:
    """Mappings as dicts and sequences as lists, because read-only mappings are unknown to `json`."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the names of a ledger entry's facts are strings")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
