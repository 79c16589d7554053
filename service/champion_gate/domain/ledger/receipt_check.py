"""Whether a receipt is borne out: by the lines that it quotes, and by the ledger that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from champion_gate.domain.approval import Verdict
from champion_gate.domain.canonical import canonical
from champion_gate.domain.ledger.chain import (
    ChainedText,
    LedgerEntry,
    LedgerKind,
    NotedHead,
    chain_hash,
    read_body,
)
from champion_gate.domain.ledger.entries import (
    SOURCE_MODEL,
    SOURCE_VERSION,
    SOURCE_VERSION_ID,
    VERSION_ID,
    is_own_change,
    told,
)
from champion_gate.domain.ledger.export import Part, check_part, why_not_found
from champion_gate.domain.ledger.receipt import Receipt, ReceiptLine, Request
from champion_gate.domain.ledger.receipt_evidence import ONLY_IN_EVIDENCE, EvidenceCheck, check_evidence
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConflictError

_NOT_ASKED = Request(provider=None, external_id=None, url=None)
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
        since: what the ledger tells of a failed promotion after the receipt was made.
        in_ledger: whether the receipt quotes any line; if not, the ledger does not bear it out.
    """

    confirmed: tuple[str, ...]
    problems: tuple[str, ...]
    unproven: tuple[str, ...]
    since: tuple[str, ...] = ()
    in_ledger: bool = True


def check_receipt(
    receipt: Receipt, ledger: Iterable[ChainedText], evidence: bytes | None = None
) -> ReceiptCheck:
    """Check a receipt against itself, the ledger (its oldest line first, read once) and, if it is given, the evidence."""
    compared = None if evidence is None else check_evidence(receipt, evidence)
    confirmed: list[str] = []
    problems: list[str] = []
    unproven = list(_unproven(receipt, compared))
    for sentence, find in _own_checks(receipt):
        found = list(find)
        problems += found
        confirmed += [] if found else [sentence]
    if compared is not None:
        problems += compared.problems
        confirmed += [] if compared.problems else _evidence_confirmed(receipt, compared)
    held = _Held(receipt)
    try:
        part = check_part(held.watching(ledger))
    except ConflictError as error:
        problems.append(f"In the ledger: {error.message}")
    else:
        found = list(held.problems(part))
        problems += found
        confirmed += _chain_confirmed(part)
        confirmed += [] if found else _held_confirmed(receipt, part, held)
        unproven += _not_looked_at(part)
    return ReceiptCheck(
        tuple(confirmed), tuple(problems), tuple(unproven), held.since, in_ledger=bool(receipt.lines)
    )


def _own_checks(receipt: Receipt) -> Iterator[tuple[str, Iterable[str]]]:
    yield "The receipt has the sha256 that it names for itself.", _digest(receipt)
    if receipt.lines:
        yield "Each line of the ledger that it quotes has the hash that it claims.", _lines(receipt)
        yield "What it says of the decision is what the quoted lines say.", _decision(receipt)
        yield "What it says of the alias is what the quoted lines say.", _alias(receipt)
    else:
        yield (
            "It tells of no decision and of no change of the alias.",
            [*_decision(receipt), *_alias(receipt)],
        )


def _digest(receipt: Receipt) -> Iterator[str]:
    if not receipt.digest_fits:
        yield "The receipt was changed after it was made: its own sha256 does not fit."


def _lines(receipt: Receipt) -> Iterator[str]:
    for line in receipt.lines:
        number, entry = line.text.number, line.entry
        if line.text.hash != chain_hash(line.text.previous_hash, line.text.body):
            yield f"Line {number} on the receipt has been edited: its hash does not fit."
        if number == receipt.head.number and line.text.hash != receipt.head.hash:
            yield f"The receipt names another hash for its head than for line {number}, which is the same line."
        if not _is_about(entry, receipt):
            yield f"Line {number} on the receipt is about another registry, model, alias or promotion."


def _decision(receipt: Receipt) -> Iterator[str]:
    verdict, lines = receipt.who.verdict, _of_kind(receipt, LedgerKind.DECISION)
    if verdict not in _DECIDED.get(receipt.phase, {None}):
        yield f"A promotion with the verdict {verdict!r} cannot end as {receipt.phase.value}."
    if len(lines) > 1:
        yield "It quotes more than one decision."
    if not lines:
        if verdict is not None or receipt.who.deciders or receipt.when.decided_at is not None:
            yield "It tells of a decision, and quotes no line of the ledger with one."
        return
    facts, claims = lines[-1].entry.facts, _decision_claims(receipt)
    for words, name, claimed in claims:
        if name not in facts or facts[name] != claimed:
            yield f"It says {words} {claimed!r}, and line {lines[-1].text.number} says {facts.get(name)!r}."
    if not _same_time(receipt.when.decided_at, facts.get("decided_at")):
        yield f"It says decided at {receipt.when.decided_at!r}, and the ledger {facts.get('decided_at')!r}."
    if verdict == Verdict.APPROVED.value and not receipt.who.deciders:
        yield "It tells of an approval by nobody."


def _decision_claims(receipt: Receipt) -> Iterator[tuple[str, str, Any]]:
    """In which words, under which name of the line's facts, and what the receipt says."""
    asked = receipt.request or _NOT_ASKED
    yield "verdict", "verdict", receipt.who.verdict
    yield "deciders", "deciders", receipt.who.deciders
    yield "version", "version", receipt.what.version
    yield "version id", "version_id", receipt.what.version_id
    yield "replaced version", "champion", receipt.what.champion
    if receipt.what.source_model is not None:
        yield "source model", SOURCE_MODEL, receipt.what.source_model
    yield "evidence sha256", "evidence_sha256", receipt.evidence_sha256
    yield "approval settings sha256", "approval_settings_sha256", receipt.approval_settings_sha256
    yield "provider", "provider", asked.provider
    yield "request", "request", asked.external_id
    yield "request's address", "url", asked.url


def _alias(receipt: Receipt) -> Iterator[str]:
    own = [line for line in receipt.lines if is_own_change(line.entry)]
    if receipt.phase is Phase.PROMOTED and not own:
        yield "It says promoted, and quotes no line of the ledger with this promotion's change of the alias."
    if own and receipt.phase is not Phase.PROMOTED:
        line = own[0]
        yield f"It says {receipt.phase.value}, and line {line.text.number} says that {told(line.entry)}.{_way_out(receipt)}"
    if own and receipt.who.verdict != Verdict.APPROVED.value:
        yield "It quotes a change of the alias without telling of an approval."
    if len(own) > 1:
        yield "It quotes more than one change of the alias, and an approval is spent once."
    moved = _moved(receipt)
    for line in own:
        if {name: line.entry.facts.get(name) for name in moved} != moved:
            yield f"Line {line.text.number} moves the alias between other versions than the receipt says."


def _moved(receipt: Receipt) -> dict[str, object]:
    """What the facts of its change of the alias have to be."""
    what = receipt.what
    if what.source_model is None:
        return {"from": what.champion, "to": what.version}
    return {
        "from": what.champion,
        "to": what.copy_version,
        VERSION_ID: what.copy_version_id,
        SOURCE_MODEL: what.source_model,
        SOURCE_VERSION: what.version,
        SOURCE_VERSION_ID: what.version_id,
    }


def _chain_confirmed(part: Part) -> list[str]:
    if part.is_whole:
        return [f"The ledger's chain is unbroken from its first line to line {part.head.number}."]
    return [f"The ledger's chain is unbroken from line {part.first} to line {part.head.number}."]


def _held_confirmed(receipt: Receipt, part: Part, held: _Held) -> Iterator[str]:
    head, count = receipt.head.number, len(receipt.lines)
    last = head if held.since else part.head.number
    yield f"Line {head} of the ledger still has the hash that the receipt names as its head: nothing up to it was rewritten since."
    begin = "" if part.is_whole else f" from line {part.first} on"
    if count:
        yield f"The ledger's lines of this promotion{begin} up to line {last} are the {count} that the receipt quotes, and no other."
    else:
        yield f"The ledger{begin} holds no line of this promotion up to line {last}, as the receipt says."


def _evidence_confirmed(receipt: Receipt, compared: EvidenceCheck) -> Iterator[str]:
    if not _of_kind(receipt, LedgerKind.DECISION):
        yield "The evidence has the sha256 that the receipt names, and says nothing else than the receipt."
        return
    yield "The evidence is the one that was decided on."
    same = [words for words in ONLY_IN_EVIDENCE if words in compared.borne_out]
    if same:
        yield f"The evidence says the same as the receipt of: {_listed(same)}."


def _unproven(receipt: Receipt, compared: EvidenceCheck | None) -> Iterator[str]:
    decided = bool(_of_kind(receipt, LedgerKind.DECISION))
    if not receipt.lines:
        yield (
            f"No line of the ledger speaks of promotion {receipt.promotion_id}: only the receipt says that there was "
            f"such a promotion, that its phase is {receipt.phase.value}, and the registry, model, alias and version."
        )
    elif not _tells_phase(receipt):
        yield f"Only the receipt says that its phase is {receipt.phase.value}: the ledger does not tell how it ended."
    # Evidence whose sha256 no line names could be made to fit, as the receipt could.
    borne_out = compared.borne_out if compared is not None and decided and not compared.problems else ()
    rest = [words for words in ONLY_IN_EVIDENCE if words not in borne_out]
    rest_listed = f"{_listed(rest)}; " if rest else ""
    yield (
        f"The ledger does not say, so that only the receipt does: {rest_listed}when it was requested and when it "
        "ended, and the reason of its end."
    )
    if not decided:
        yield "Nobody decided, so that only the receipt says which version id, evidence and request it had."
    elif compared is None:
        yield "The evidence was not looked at; give it with --evidence: it names the MLflow run and the people."


def _tells_phase(receipt: Receipt) -> bool:
    """Whether a quoted line leaves no other end than the one that the receipt names."""
    if receipt.phase is Phase.STALE:
        changes = _of_kind(receipt, LedgerKind.ALIAS_CHANGE)
        return any(not is_own_change(line.entry) for line in changes)
    if receipt.phase is Phase.INELIGIBLE:
        return any(_said_no(line.entry) for line in _of_kind(receipt, LedgerKind.STEP))
    return receipt.phase in {Phase.PROMOTED, Phase.REJECTED}


def _said_no(entry: LedgerEntry) -> bool:
    """Whether it is a validation that spoke against the version."""
    result = entry.facts.get("result")
    return isinstance(result, dict) and result.get("passed") is False


def _not_looked_at(part: Part) -> Iterator[str]:
    if not part.is_whole:
        yield f"The ledger at hand begins with line {part.first}: what came before was not looked at."


def _way_out(receipt: Receipt) -> str:
    if receipt.phase is not Phase.FAILED:
        return ""
    # A write that seemed lost may be found later; only an operator's retry takes that up.
    return (
        " If the change was found after it had failed: champion-gate promotions retry "
        f"{receipt.promotion_id}, and get the receipt anew."
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join([*filter(None, [", ".join(words[:-1])]), words[-1]])


def _of_kind(receipt: Receipt, kind: LedgerKind) -> list[ReceiptLine]:
    return [line for line in receipt.lines if line.entry.kind is kind]


def _same_time(one: object, other: object) -> bool:
    try:
        return datetime.fromisoformat(str(one)) == datetime.fromisoformat(str(other))
    except (ValueError, TypeError):
        return False


def _is_about(entry: LedgerEntry, receipt: Receipt) -> bool:
    """Whether it is about the registry, model, alias and promotion that the receipt names."""
    key = (receipt.what.registry, receipt.what.model, receipt.what.alias, receipt.promotion_id)
    return (entry.registry, entry.model, entry.alias, entry.promotion_id) == key


class _Held:
    """What a pass over the ledger finds of a receipt's lines and head, without keeping the ledger."""

    def __init__(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self._noted = NotedHead(receipt.head.number, receipt.head.hash)
        self._missing = {line.text.number: line.text.hash for line in receipt.lines}
        self._first: ChainedText | None = None
        self._head_found = False
        self._problems: list[str] = []
        self._since: list[str] = []
        # The hashed text is canonical, so that a line of this promotion cannot be written otherwise.
        self._mark = canonical({"promotion_id": receipt.promotion_id})[1:-1]

    @property
    def since(self) -> tuple[str, ...]:
        """What the ledger tells of the promotion after the receipt's head, where it may tell more."""
        return tuple(self._since)

    def watching(self, ledger: Iterable[ChainedText]) -> Iterator[ChainedText]:
        """The same lines."""
        for line in ledger:
            self._first = self._first or line
            self._head_found = self._head_found or self._noted.is_line(line)
            self._look_at(line)
            yield line

    def problems(self, part: Part) -> Iterator[str]:
        """What is not so; to be asked when all lines have passed."""
        yield from self._problems
        if self._receipt.head.number == 0 and self._first is not None:
            # Such a head fits every ledger, so that it says nothing about this one.
            yield "The receipt's head is from before the ledger's first line: get the receipt anew."
        if not self._head_found and not self._noted.precedes(self._first):
            yield f"The receipt's head is not in the ledger. {why_not_found(self._noted, part)}"
        for number in self._missing:
            yield f"Line {number}, which the receipt quotes, is not in the ledger at hand."

    def _look_at(self, line: ChainedText) -> None:
        quoted = self._missing.pop(line.number, None)
        if quoted is not None:
            if quoted != line.hash:
                self._problems.append(f"Line {line.number} is another one in the ledger than on the receipt.")
        elif self._mark in line.body:
            self._look_at_unquoted(line)

    def _look_at_unquoted(self, line: ChainedText) -> None:
        try:
            entry = read_body(line.body)
            readable = isinstance(entry.facts, dict)
        except ValueError:
            readable = False
        if not readable:
            self._problems.append(
                f"Line {line.number} of the ledger cannot be read, and names this promotion."
            )
            return
        if entry.promotion_id != self._receipt.promotion_id:
            return
        ours = f"Line {line.number} of the ledger is about this promotion too"
        if line.number <= self._receipt.head.number:
            self._problems.append(f"{ours}, and the receipt leaves it out: {told(entry)}.")
        elif self._receipt.phase is not Phase.FAILED and entry.kind is not LedgerKind.STEP:
            self._problems.append(
                f"{ours}, and was written after the receipt's head, although nothing follows on "
                f"{self._receipt.phase.value}: {told(entry)}."
            )
        elif not _is_about(entry, self._receipt):
            self._problems.append(f"{ours}, and names another registry, model or alias for it.")
        else:
            self._since.append(f"After the receipt was made, line {line.number}: {told(entry)}.")
