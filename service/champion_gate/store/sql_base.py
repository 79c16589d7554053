"""What every part of the Store shares: transactions, and fresh tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.promotion import FollowUp
from champion_gate.store import follow_ups, ledger
from champion_gate.store.engine import Database


class SqlBase:
    """An open database. Each part of the Store is a class over it; `SqlStore` is all of them in one.

    Args:
        database: migrated, and opened by this process.
        token: makes lease tokens and notifications' ids: unguessable, never the same twice.
    """

    def __init__(self, database: Database, token: Callable[[], str]) -> None:
        self._database = database
        self._read = database.read
        self._snapshot = database.snapshot
        self._write = database.write
        self._token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()


def append(connection: Connection, entries: Sequence[LedgerEntry], new: Sequence[FollowUp]) -> None:
    """Ledger lines and follow-ups that belong to what this transaction writes."""
    ledger.append(connection, entries)
    follow_ups.add(connection, new)
