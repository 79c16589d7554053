"""Whether a receipt is borne out: by the lines that it quotes, and by the ledger that they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from champion_gate.core.aliases import ChangeSource
from champion_gate.core.approval import Verdict
from champion_gate.core.bodies import UnusableBodyError, json_object
from champion_gate.core.ledger import ChainedText, LedgerKind, canonical, chain_hash, read_body
from champion_gate.core.ledger_export import Part, check_part, why_not_found
from champion_gate.core.ledger_head import NotedHead
from champion_gate.core.promotion import Phase
from champion_gate.core.receipt_reading import Receipt, ReceiptLine
from champion_gate.errors import ConflictError

_DECIDED: Mapping[Phase, frozenset[str | None]] = {
    Phase.PROMOTED: frozenset({Verdict.APPROVED.value}),
    Phase.REJECTED: frozenset({Verdict.REJECTED.value}),
    Phase.STALE: frozenset({Verdict.APPROVED.value, None}),
    Phase.FAILED: frozenset({Verdict.APPROVED.value, None}),
}
"""Which verdict may lead to which end; to every other end none."""


@dataclass(frozen=True)
class ReceiptCheck:
    """What came of checking a receipt, in sentences for people.

    Attributes:
        confirmed: what was found to be so.
        problems: what contradicts it; one is enough for not believing it.
        unproven: what nothing but the receipt says.
    """

    confirmed: tuple[str, ...]
    problems: tuple[str, ...]
    unproven: tuple[str, ...]


def check_receipt(
    receipt: Receipt, ledger: Iterable[ChainedText], evidence: bytes | None = None
) -> ReceiptCheck:
    """Check a receipt against itself, against the ledger and, if it is given, against the evidence.

    Args:
        receipt: as it was read.
        ledger: the ledger or an export of it, oldest line first; read once, a line at a time.
        evidence: byte for byte as the API gave it out.
    """
    confirmed, problems = [], []
    for sentence, find in _own_checks(receipt, evidence):
        found = list(find)
        problems += found
        confirmed += [] if found else [sentence]
    held = _Held(receipt)
    try:
        part = check_part(held.watching(ledger))
    except ConflictError as error:
        problems.append(f"In the ledger: {error.message}")
    else:
        found = list(held.problems(part))
        problems += found
        confirmed += _chain_confirmed(part)
        confirmed += [] if found else _held_confirmed(receipt, part)
    return ReceiptCheck(tuple(confirmed), tuple(problems), tuple(_unproven(receipt, evidence)))


def _own_checks(receipt: Receipt, evidence: bytes | None) -> Iterator[tuple[str, Iterable[str]]]:
    yield "The receipt has the sha256 that it names for itself.", _digest(receipt)
    if receipt.lines:
        yield "Each line of the ledger that it quotes has the hash that it claims.", _lines(receipt)
    yield "What it says of the decision is what the quoted lines say.", _decision(receipt)
    yield "What it says of the alias is what the quoted lines say.", _alias(receipt)
    if evidence is not None:
        yield "The evidence is the one that was decided on.", _evidence(receipt, evidence)


def _digest(receipt: Receipt) -> Iterator[str]:
    if not receipt.digest_fits:
        yield "The receipt was changed after it was made: its own sha256 does not fit."


def _lines(receipt: Receipt) -> Iterator[str]:
    what, expected = receipt.what, receipt.promotion_id
    key = (what["registry"], what["model"], what["alias"], expected)
    for line in receipt.lines:
        number, entry = line.text.number, line.entry
        if line.text.hash != chain_hash(line.text.previous_hash, line.text.body):
            yield f"Line {number} on the receipt has been edited: its hash does not fit."
        if number == receipt.head.number and line.text.hash != receipt.head.hash:
            yield f"The receipt names another hash for its head than for line {number}, which is the same line."
        if (entry.registry, entry.model, entry.alias, entry.promotion_id) != key:
            yield f"Line {number} on the receipt is about another registry, model, alias or promotion."


def _decision(receipt: Receipt) -> Iterator[str]:
    verdict, lines = receipt.who["verdict"], _of_kind(receipt, LedgerKind.DECISION)
    if verdict not in _DECIDED.get(receipt.phase, {None}):
        yield f"A promotion with the verdict {verdict!r} cannot end as {receipt.phase.value}."
    if len(lines) > 1:
        yield "It quotes more than one decision."
    if not lines:
        if verdict is not None or receipt.who["deciders"] or receipt.when["decided_at"] is not None:
            yield "It tells of a decision, and quotes no line of the ledger with one."
        return
    facts, claims = lines[-1].entry.facts, _decision_claims(receipt)
    for words, name, claimed in claims:
        if name not in facts or facts[name] != claimed:
            yield f"It says {words} {claimed!r}, and line {lines[-1].text.number} says {facts.get(name)!r}."
    if not _same_time(receipt.when["decided_at"], facts.get("decided_at")):
        yield f"It says decided at {receipt.when['decided_at']!r}, and the ledger {facts.get('decided_at')!r}."
    if verdict == Verdict.APPROVED.value and not receipt.who["deciders"]:
        yield "It tells of an approval by nobody."


def _decision_claims(receipt: Receipt) -> Iterator[tuple[str, str, Any]]:
    """In which words, under which name of the line's facts, and what the receipt says."""
    yield "verdict", "verdict", receipt.who["verdict"]
    yield "deciders", "deciders", receipt.who["deciders"]
    yield "version", "version", receipt.what["version"]
    yield "version id", "version_id", receipt.what["version_id"]
    yield "replaced version", "champion", receipt.what["champion"]
    yield "evidence sha256", "evidence_sha256", receipt.evidence_sha256
    yield "approval settings sha256", "approval_settings_sha256", receipt.approval_settings_sha256
    yield "provider", "provider", receipt.request.get("provider")
    yield "request", "request", receipt.request.get("external_id")
    yield "request's address", "url", receipt.request.get("url")


def _alias(receipt: Receipt) -> Iterator[str]:
    changes = _of_kind(receipt, LedgerKind.ALIAS_CHANGE)
    own = [line for line in changes if line.entry.facts.get("source") == ChangeSource.PROMOTION.value]
    if receipt.phase is Phase.PROMOTED and not own:
        yield "It says promoted, and quotes no line of the ledger with this promotion's change of the alias."
    # One that failed may find later that its write had arrived after all.
    if own and receipt.phase not in {Phase.PROMOTED, Phase.FAILED}:
        yield f"It says {receipt.phase.value}, and quotes a change of the alias that this promotion made."
    if own and receipt.who["verdict"] != Verdict.APPROVED.value:
        yield "It quotes a change of the alias without telling of an approval."
    if len(own) > 1:
        yield "It quotes more than one change of the alias, and an approval is spent once."
    moved = (receipt.what["champion"], receipt.what["version"])
    for line in own:
        if (line.entry.facts.get("from"), line.entry.facts.get("to")) != moved:
            yield f"Line {line.text.number} moves the alias between other versions than the receipt says."


def _evidence(receipt: Receipt, evidence: bytes) -> Iterator[str]:
    found = hashlib.sha256(evidence).hexdigest()
    if found != receipt.evidence_sha256:
        yield f"The evidence has the sha256 {found}, and the receipt names {receipt.evidence_sha256}."
        return
    try:
        asked = json_object(evidence, "it").get("asked")
    except UnusableBodyError as error:
        yield f"The evidence cannot be read: {error}."
        return
    named = {"promotion": receipt.promotion_id, "to_version": receipt.what["version"]}
    if not isinstance(asked, dict) or any(asked.get(name) != value for name, value in named.items()):
        yield "The evidence is about another promotion or version."


class _Held:
    """What a pass over the ledger finds of a receipt's lines and head, without keeping the ledger."""

    def __init__(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self._noted = NotedHead(receipt.head.number, receipt.head.hash)
        self._missing = {line.text.number: line.text.hash for line in receipt.lines}
        self._first: ChainedText | None = None
        self._head_found = False
        self._problems: list[str] = []
        # The hashed text is canonical, so that a line of this promotion cannot be written otherwise.
        self._mark = canonical({"promotion_id": receipt.promotion_id})[1:-1]

    def watching(self, ledger: Iterable[ChainedText]) -> Iterator[ChainedText]:
        """The same lines."""
        for line in ledger:
            self._first = self._first or line
            self._head_found = self._head_found or self._noted.is_line(line)
            if line.number <= self._receipt.head.number:
                self._look_at(line)
            yield line

    def problems(self, part: Part) -> Iterator[str]:
        """What is not so; to be asked when all lines have passed."""
        yield from self._problems
        if not self._head_found and not self._noted.precedes(self._first):
            yield f"The receipt's head is not in the ledger. {why_not_found(self._noted, part)}"
        for number in self._missing:
            yield f"Line {number}, which the receipt quotes, is not in the ledger at hand."

    def _look_at(self, line: ChainedText) -> None:
        quoted = self._missing.pop(line.number, None)
        if quoted is not None and quoted != line.hash:
            self._problems.append(f"Line {line.number} is another one in the ledger than on the receipt.")
        if quoted is None and self._mark in line.body and self._is_ours(line.body):
            self._problems.append(
                f"Line {line.number} of the ledger is about this promotion too, and the receipt leaves it out."
            )

    def _is_ours(self, body: str) -> bool:
        try:
            return read_body(body).promotion_id == self._receipt.promotion_id
        except ValueError:
            return True


def _chain_confirmed(part: Part) -> list[str]:
    if part.is_whole:
        return [f"The ledger's chain is unbroken from its first line to line {part.head.number}."]
    return [f"The ledger's chain is unbroken from line {part.first} to line {part.head.number}."]


def _held_confirmed(receipt: Receipt, part: Part) -> Iterator[str]:
    head, count = receipt.head.number, len(receipt.lines)
    yield f"Line {head} of the ledger still has the hash that the receipt names as its head: nothing up to it was rewritten since."
    since = "" if part.is_whole else f" from line {part.first} on"
    if count:
        yield f"The ledger's lines of this promotion{since} up to line {head} are the {count} that the receipt quotes, and no other."
    else:
        yield f"The ledger{since} holds no line of this promotion up to line {head}, as the receipt says."


def _unproven(receipt: Receipt, evidence: bytes | None) -> Iterator[str]:
    yield "The ledger does not say, so that only the receipt does: the gate, the job run, the MLflow run and the source; who trained it and who was excluded; when it was requested and when it ended, and the reason of its end."
    if not _of_kind(receipt, LedgerKind.DECISION):
        yield "Nobody decided, so that only the receipt says which version id, evidence and request it had."
    elif evidence is None:
        yield "The evidence was not looked at; give it with --evidence: it names the MLflow run and the people."


def _of_kind(receipt: Receipt, kind: LedgerKind) -> list[ReceiptLine]:
    return [line for line in receipt.lines if line.entry.kind is kind]


def _same_time(one: object, other: object) -> bool:
    try:
        return datetime.fromisoformat(str(one)) == datetime.fromisoformat(str(other))
    except (ValueError, TypeError):
        return False
