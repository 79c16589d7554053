"""Whether a receipt is borne out: by the lines that it quotes, and by the ledger that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from champion_gate.domain.approval import Verdict
from champion_gate.domain.ledger.chain import ChainedText, LedgerKind, chain_hash
from champion_gate.domain.ledger.export import Part, check_part
from champion_gate.domain.ledger.receipt_evidence import ONLY_IN_EVIDENCE, EvidenceCheck, check_evidence
from champion_gate.domain.ledger.receipt_held import Held, is_about, is_own_change, told
from champion_gate.domain.ledger.receipt_reading import Receipt, ReceiptLine
from champion_gate.domain.promotion import Phase
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
    """Check a receipt against itself, against the ledger and, if it is given, against the evidence.

    Args:
        receipt: as it was read.
        ledger: the ledger or an export of it, oldest line first; read once, a line at a time.
        evidence: byte for byte as the API gave it out.
    """
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
    held = Held(receipt)
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
        if not is_about(entry, receipt):
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
    own = [line for line in receipt.lines if is_own_change(line.entry)]
    if receipt.phase is Phase.PROMOTED and not own:
        yield "It says promoted, and quotes no line of the ledger with this promotion's change of the alias."
    if own and receipt.phase is not Phase.PROMOTED:
        line = own[0]
        yield f"It says {receipt.phase.value}, and line {line.text.number} says that {told(line.entry)}.{_way_out(receipt)}"
    if own and receipt.who["verdict"] != Verdict.APPROVED.value:
        yield "It quotes a change of the alias without telling of an approval."
    if len(own) > 1:
        yield "It quotes more than one change of the alias, and an approval is spent once."
    moved = (receipt.what["champion"], receipt.what["version"])
    for line in own:
        if (line.entry.facts.get("from"), line.entry.facts.get("to")) != moved:
            yield f"Line {line.text.number} moves the alias between other versions than the receipt says."


def _chain_confirmed(part: Part) -> list[str]:
    if part.is_whole:
        return [f"The ledger's chain is unbroken from its first line to line {part.head.number}."]
    return [f"The ledger's chain is unbroken from line {part.first} to line {part.head.number}."]


def _held_confirmed(receipt: Receipt, part: Part, held: Held) -> Iterator[str]:
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
    return receipt.phase in {Phase.PROMOTED, Phase.REJECTED}


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
