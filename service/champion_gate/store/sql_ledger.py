"""The Store's part that keeps the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.ledger.chain import ChainedText, LedgerEntry, LedgerHead, LedgerLine
from champion_gate.store import ledger
from champion_gate.store.sql_base import SqlBase


class SqlLedger(SqlBase):
    """The ledger: appended, read, checked; never changed."""

    def append_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Append lines."""
        with self._write() as connection:
            ledger.append(connection, entries)

    def ledger_lines(
        self,
        key: AliasKey | None = None,
        *,
        promotion_id: str | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int | None = 200,
    ) -> tuple[LedgerLine, ...]:
        """Lines of one alias or of one promotion, newest first.

        Args:
            key: which alias; None: all.
            promotion_id: which promotion; None: all.
            after: only lines with a higher number.
            before: only lines with a lower number.
            limit: how many at most; None: all there are.

        Raises:
            ConflictError: one of these lines has been edited by hand.
        """
        with self._read() as connection:
            return ledger.lines(connection, key, promotion_id, after=after, before=before, limit=limit)

    def ledger_head(self) -> LedgerHead:
        """The number and hash of the newest line; number 0 and GENESIS where there is none.

        Raises:
            ConflictError: somebody took the head away by hand.
        """
        with self._read() as connection:
            return ledger.head(connection)

    def ledger_export(self, since: datetime | None = None) -> Iterator[ChainedText]:
        """Every line as it is kept, oldest first, from the first one that was written at `since` or later.

        The rows are read in pieces, as of the moment when the first is asked for; a connection is held until
        the last was read or the iterator is closed.
        """
        with self._snapshot() as connection:
            yield from ledger.export(connection, since)

    def verify_ledger(self) -> int:
        """Recompute the whole chain and return how many lines there are.

        Raises:
            ConflictError: naming the first line that is not as it was written, or saying that the head or a
                trigger is not as it was made.
        """
        with self._snapshot() as connection:
            return ledger.verify(connection)
