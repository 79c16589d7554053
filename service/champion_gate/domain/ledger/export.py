"""The ledger outside the database: JSON lines that anybody can verify, and CSV for reading."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from champion_gate.domain.canonical import canonical
from champion_gate.domain.json_body import UnusableBodyError, json_object
from champion_gate.domain.ledger.chain import (
    GENESIS,
    ChainedText,
    LedgerHead,
    LedgerKind,
    NotedHead,
    break_in_chain,
)
from champion_gate.domain.text import one_line
from champion_gate.errors import ConflictError

BODY_MEMBERS = (
    "number",
    "kind",
    "registry",
    "model",
    "alias",
    "actor",
    "reason",
    "at",
    "promotion_id",
    "facts",
)
"""What a line's hash covers, with the hash of the line before it."""

MEMBERS = (*BODY_MEMBERS, "previous_hash", "hash")
LONGEST_LINE = 4 * 2**20
"""Bytes."""

_TEXTS = ("kind", "registry", "model", "alias", "actor", "reason", "at")
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
# What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection"), full-width forms included.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NOT_AS_WRITTEN = (
    "It cannot be exported as it was written; `champion-gate ledger verify` names what is wrong."
)


@dataclass(frozen=True)
class Part:
    """A piece of the ledger whose chain is unbroken.

    Attributes:
        first: number of its first line; 0 where it has none.
        rests_on: the hash that its first line follows: GENESIS for a whole ledger, else taken on trust.
    """

    first: int
    rests_on: str
    head: LedgerHead

    @property
    def lines(self) -> int:
        """How many there are."""
        return self.head.number - self.first + 1 if self.first else 0

    @property
    def is_whole(self) -> bool:
        """Whether it begins where the ledger began."""
        return self.first <= 1


def exported(line: ChainedText) -> dict[str, object]:
    """A line as one JSON object: the members of its text, `previous_hash` and `hash`.

    Raises:
        ConflictError: its text is not one that the ledger writes.
    """
    try:
        members = json.loads(line.body)
        as_written = members.keys() == set(BODY_MEMBERS) and canonical(members) == line.body
    except (ValueError, AttributeError, RecursionError):
        as_written = False
    if not as_written:
        raise ConflictError(f"Line {line.number} of the ledger has been edited.", hint=_NOT_AS_WRITTEN)
    return {**members, "previous_hash": line.previous_hash, "hash": line.hash}


def read_members(members: Mapping[str, object]) -> ChainedText:
    """The line out of its JSON object; the reverse of `exported`. Its hash is as given, not checked.

    Raises:
        ValueError: it is no line of a ledger.
    """
    number, facts, promotion_id = (members.get(name) for name in ("number", "facts", "promotion_id"))
    previous_hash, own_hash = members.get("previous_hash"), members.get("hash")
    if (
        members.keys() != set(MEMBERS)
        or not isinstance(number, int)
        or isinstance(number, bool)
        or number < 1
        or not all(isinstance(members[name], str) for name in _TEXTS)
        or not (promotion_id is None or isinstance(promotion_id, str))
        or not isinstance(facts, dict)
        or not isinstance(previous_hash, str)
        or not isinstance(own_hash, str)
        or not (_HASH.fullmatch(previous_hash) and _HASH.fullmatch(own_hash))
    ):
        raise ValueError("this is no line of a ledger")
    # Raises ValueError where the kind or the time is none.
    LedgerKind(str(members["kind"]))
    datetime.fromisoformat(str(members["at"]))
    try:
        body = canonical({name: members[name] for name in BODY_MEMBERS})
    except RecursionError:
        raise ValueError("this is no line of a ledger") from None
    return ChainedText(number, body, previous_hash, own_hash)


def write_jsonl(lines: Iterable[ChainedText]) -> Iterator[str]:
    """One JSON object a line, in ASCII; raises ConflictError at a line whose text has been edited."""
    for line in lines:
        yield canonical(exported(line)) + "\n"


def write_csv(lines: Iterable[ChainedText]) -> Iterator[str]:
    """A heading and one row a line, for people and their spreadsheets; facts stay JSON.

    Every cell is quoted, begins no formula and shows control characters as escapes, so it is not the text
    that was hashed. Raises ConflictError at a line whose text has been edited.
    """
    yield _row(MEMBERS)
    for line in lines:
        members = exported(line)
        facts = canonical({"facts": members["facts"]})[len('{"facts":') : -1].replace("\x7f", "\\u007f")
        yield _row(facts if name == "facts" else _cell(members[name]) for name in MEMBERS)


def read_jsonl(file: BinaryIO) -> Iterator[ChainedText]:
    """The lines of an export, one in memory at a time.

    Raises:
        ConflictError: a line of the file is none of a ledger.
    """
    for count, text in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
        if len(text) > LONGEST_LINE:
            raise ConflictError(f"Line {count} of the file is longer than any line of a ledger.")
        try:
            line = read_members(json_object(text))
        except (UnusableBodyError, ValueError):
            raise ConflictError(
                f"Line {count} of the file is no line of a ledger.",
                hint="It was damaged or edited, or this is no export in the format jsonl.",
            ) from None
        yield line


def unbroken(lines: Iterable[ChainedText]) -> Iterator[ChainedText]:
    """The same lines, each one checked against the one before it.

    What the first line follows is checked only where it is the ledger's first.

    Raises:
        ConflictError: naming the first line that is not as it was written.
    """
    previous: ChainedText | None = None
    for line in lines:
        if previous is None and line.number > 1:
            previous = ChainedText(line.number - 1, "", "", line.previous_hash)
        problem = break_in_chain(previous, line)
        if problem is not None:
            raise ConflictError(
                problem, hint="It was changed after it was written. Compare with another copy."
            )
        yield line
        previous = line


def check_part(lines: Iterable[ChainedText], noted: NotedHead | None = None) -> Part:
    """Check the chain of a whole ledger or of a part of one.

    Args:
        lines: oldest first.
        noted: a head that was noted elsewhere and must be found in it.

    Raises:
        ConflictError: naming the first line that is not as it was written, or the head that is not there.
    """
    first = last = None
    found = False
    for line in unbroken(lines):
        first, last = first or line, line
        found = found or (noted is not None and noted.is_line(line))
    if first is None or last is None:
        part = Part(0, GENESIS, LedgerHead(0, GENESIS))
    else:
        part = Part(first.number, first.previous_hash, LedgerHead(last.number, last.hash))
    if noted is not None and not found and not noted.precedes(first):
        raise ConflictError(why_not_found(noted, part))
    return part


def why_not_found(noted: NotedHead, part: Part) -> str:
    """Why a head that was noted elsewhere is not in a part whose chain is unbroken, in words."""
    number, shown = noted.number, f"{noted.hash[:12]}…"
    if number is None:
        earlier = (
            "" if part.is_whole else f", or the line stands before line {part.first}, where this part begins"
        )
        return f"No line has the noted hash {shown}: the ledger was rewritten or cut since it was noted{earlier}."
    if number > part.head.number:
        return (
            f"Line {number} was noted, and there is none after line {part.head.number}: the ledger was "
            "rewritten or cut since, or this is an older copy of it."
        )
    if number < part.first - 1:
        return f"Line {number} was noted, and this part begins with line {part.first}: export an earlier day too."
    return f"Line {number} has another hash than the noted {shown}: the ledger was rewritten or cut since."


def _row(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(cells)
    return text.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    shown = one_line(text, len(text))
    return f"'{shown}" if text.startswith(_FORMULA) else shown
