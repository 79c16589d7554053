"""What the ledger holds of a receipt's promotion, found in one pass over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from champion_gate.domain.aliases import ChangeSource
from champion_gate.domain.ledger.chain import ChainedText, LedgerEntry, LedgerKind, canonical, read_body
from champion_gate.domain.ledger.entries import named
from champion_gate.domain.ledger.export import Part, why_not_found
from champion_gate.domain.ledger.head import NotedHead
from champion_gate.domain.ledger.receipt_reading import Receipt
from champion_gate.domain.promotion import Phase


def is_own_change(entry: LedgerEntry) -> bool:
    """Whether it is a change of the alias that the line's promotion made."""
    return entry.kind is LedgerKind.ALIAS_CHANGE and entry.facts.get("source") == ChangeSource.PROMOTION.value


def is_about(entry: LedgerEntry, receipt: Receipt) -> bool:
    """Whether it is about the registry, model, alias and promotion that the receipt names."""
    what = receipt.what
    key = (what["registry"], what["model"], what["alias"], receipt.promotion_id)
    return (entry.registry, entry.model, entry.alias, entry.promotion_id) == key


def told(entry: LedgerEntry) -> str:
    """What a line says, in words for people."""
    facts = entry.facts
    if entry.kind is LedgerKind.ALIAS_CHANGE:
        moved = f"from {_version(facts, 'from')} to {_version(facts, 'to')}"
        if is_own_change(entry):
            return f"the alias WAS moved {moved}"
        return f"somebody else moved the alias {moved}"
    if entry.kind is LedgerKind.DECISION:
        deciders = facts.get("deciders")
        rows = deciders if isinstance(deciders, list) else []
        logins = ", ".join(str(each.get("login")) for each in rows if isinstance(each, dict))
        return f"{facts.get('verdict')} by {logins or 'nobody'}"
    return f"{entry.kind.value} by {entry.actor}"


class Held:
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
        elif self._receipt.phase is not Phase.FAILED:
            self._problems.append(
                f"{ours}, and was written after the receipt's head, although nothing follows on "
                f"{self._receipt.phase.value}: {told(entry)}."
            )
        elif not is_about(entry, self._receipt):
            self._problems.append(f"{ours}, and names another registry, model or alias for it.")
        else:
            self._since.append(f"After the receipt was made, line {line.number}: {told(entry)}.")


def _version(facts: Mapping[str, Any], name: str) -> str:
    return named(facts.get(name))
