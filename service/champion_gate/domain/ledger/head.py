"""The ledger's head, told to the world outside the database, and found again from a note of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from champion_gate.domain.ledger.chain import GENESIS, ChainedText, LedgerHead
from champion_gate.errors import InvalidInputError

_NOTE = re.compile(r"(?:(0|[1-9][0-9]{0,17}):)?([0-9a-f]{64})", re.ASCII | re.IGNORECASE)


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
