"""What the ledger says of where an alias stood before."""

from __future__ import annotations

from collections.abc import Sequence

from champion_gate.domain.aliases import ChangeSource
from champion_gate.domain.ledger.chain import LedgerKind, LedgerLine
from champion_gate.domain.ledger.entries import VERSION_ID


def version_before(lines: Sequence[LedgerLine], current: str | None) -> str | None:
    """The version on which an alias stood before it came to where it stands.

    Args:
        lines: all lines of the alias, newest first.
        current: where it stands.

    Returns:
        The latest version before that no rollback has ever left; None if there is none.
    """
    moves = [line.entry.facts for line in lines if line.entry.kind is LedgerKind.ALIAS_CHANGE]
    rolled_back = {facts.get("from") for facts in moves if facts.get("source") == ChangeSource.ROLLBACK.value}
    for facts in moves:
        before = facts.get("from")
        if isinstance(before, str) and before != current and before not in rolled_back:
            return before
    return None


def version_id_of(lines: Sequence[LedgerLine], version: str) -> str | None:
    """The id of the version of this number that held the alias last; None where the ledger does not say.

    Args:
        lines: all lines of the alias, newest first.
        version: its number.
    """
    for line in lines:
        if line.entry.kind is LedgerKind.ALIAS_CHANGE and line.entry.facts.get("to") == version:
            found = line.entry.facts.get(VERSION_ID)
            return found if isinstance(found, str) else None
    return None
