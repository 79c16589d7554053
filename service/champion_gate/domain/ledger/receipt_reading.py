"""Reads a receipt that somebody hands in: bounded, and of exactly the form that we give out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from champion_gate.domain.json_body import UnusableBodyError, json_object
from champion_gate.domain.ledger.chain import ChainedText, LedgerEntry, LedgerHead, read_body
from champion_gate.domain.ledger.export import read_members
from champion_gate.domain.ledger.head import NotedHead
from champion_gate.domain.ledger.receipt import DIGEST, FORMAT, digest_of
from champion_gate.domain.promotion import Phase
from champion_gate.domain.text import one_line
from champion_gate.errors import InvalidInputError

LONGEST_RECEIPT = 4 * 2**20
"""Bytes."""

_MEMBERS = frozenset(
    [
        "format",
        "promotion",
        "what",
        "who",
        "when",
        "phase",
        "reason",
        "evidence_sha256",
        "approval_settings_sha256",
        "request",
        "ledger",
        "head",
    ]
) | {DIGEST}
_WHAT = frozenset(
    [
        "gate",
        "registry",
        "model",
        "alias",
        "version",
        "version_id",
        "mlflow_run",
        "source",
        "job_run",
        "champion",
    ]
)
_WHO = frozenset(["verdict", "deciders", "trainers", "excluded"])
_WHEN = frozenset(["requested_at", "decided_at", "ended_at"])
_REQUEST = frozenset(["provider", "external_id", "url"])
_HEAD = frozenset(["number", "hash", "at"])


@dataclass(frozen=True)
class ReceiptLine:
    """A line of the ledger as the receipt quotes it, and what it says."""

    text: ChainedText
    entry: LedgerEntry


@dataclass(frozen=True)
class Receipt:
    """A receipt of the right form; nothing of it has been checked against anything.

    Attributes:
        what, who, when: its sections.
        request: where approval was asked for; empty where it never was.
        lines: oldest first, each with a number of its own, none beyond the head.
        digest_fits: whether it is as it was made, unless somebody took the pains to make the digest anew.
    """

    promotion_id: str
    what: Mapping[str, Any]
    who: Mapping[str, Any]
    when: Mapping[str, Any]
    phase: Phase
    reason: str
    evidence_sha256: str | None
    approval_settings_sha256: str | None
    request: Mapping[str, Any]
    lines: tuple[ReceiptLine, ...]
    head: LedgerHead
    digest_fits: bool


def read_receipt(sent: bytes) -> Receipt:
    """Read a receipt.

    Args:
        sent: as it is in the file.

    Raises:
        InvalidInputError: it is too long, or no receipt of the version that we know.
    """
    if len(sent) > LONGEST_RECEIPT:
        raise InvalidInputError(f"A receipt has at most {LONGEST_RECEIPT} bytes.")
    try:
        return _receipt(json_object(sent, "the file"))
    except UnusableBodyError as error:
        raise InvalidInputError(f"This is no receipt: {error}.") from None
    except (InvalidInputError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidInputError(f"This is no receipt: {one_line(str(error))}.") from None


def _receipt(members: dict[str, Any]) -> Receipt:
    if members.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    _expect(members, _MEMBERS, "the receipt")
    what, who, when = (
        _section(members, name, names) for name, names in (("what", _WHAT), ("who", _WHO), ("when", _WHEN))
    )
    head = _section(members, "head", _HEAD)
    noted = NotedHead.read(f"{_number(head['number'])}:{_text(head['hash'])}")
    for at in (*when.values(), head["at"]):
        _time(at)
    lines = tuple(_line(each) for each in _list(members["ledger"]))
    numbers = [line.text.number for line in lines]
    if numbers != sorted(set(numbers)) or any(number > head["number"] for number in numbers):
        raise ValueError("its lines of the ledger are out of order")
    phase = Phase(members["phase"])
    if phase.is_open:
        raise ValueError(f"nobody gets one of a promotion that is {phase.value}")
    return Receipt(
        promotion_id=_text(members["promotion"]),
        what={**what, **{name: _text(what[name]) for name in ("registry", "model", "alias", "version")}},
        who={
            name: _text_or_none(value) if name == "verdict" else _list(value) for name, value in who.items()
        },
        when=when,
        phase=phase,
        reason=_text(members["reason"]),
        evidence_sha256=_text_or_none(members["evidence_sha256"]),
        approval_settings_sha256=_text_or_none(members["approval_settings_sha256"]),
        request={} if members["request"] is None else _section(members, "request", _REQUEST),
        lines=lines,
        head=LedgerHead(head["number"], noted.hash),
        digest_fits=members[DIGEST] == digest_of(members),
    )


def _line(members: Any) -> ReceiptLine:
    if not isinstance(members, dict):
        raise TypeError("it quotes something that is no line of a ledger")
    text = read_members(members)
    return ReceiptLine(text, read_body(text.body))


def _section(members: dict[str, Any], name: str, names: frozenset[str]) -> dict[str, Any]:
    section = members[name]
    if not isinstance(section, dict):
        raise TypeError(f"{name} is no object")
    _expect(section, names, name)
    return section


def _expect(members: dict[str, Any], names: frozenset[str], where: str) -> None:
    # What this version does not know could say anything, and nobody would have checked it.
    if members.keys() != names:
        odd = ", ".join(sorted(members.keys() ^ names))
        raise ValueError(f"{where} lacks or does not know: {odd}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("there is something else where a text belongs")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("there is something else where a number belongs")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("there is something else where a list belongs")
    return value


def _time(value: Any) -> None:
    if value is not None and datetime.fromisoformat(_text(value)).tzinfo is None:
        raise ValueError(f"{value} is no time with a zone")
