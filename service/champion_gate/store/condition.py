"""What the doctor asks the database about itself, and about what works on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text

from champion_gate.domain.aliases import AliasKey, Hold
from champion_gate.store.engine import Transactions, upsert
from champion_gate.store.tables import aliases, clock, notifications, webhooks
from champion_gate.store.values import from_json

_SQLITE = {"journal_mode": {"wal"}, "synchronous": {"2", "3"}}  # FULL, EXTRA
_POSTGRESQL = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    "synchronous_commit": {"on", "local", "remote_write", "remote_apply"},
}
_TOLD_OF = ("hook", "sweep")


@dataclass(frozen=True)
class Setting:
    """A setting of the database on which durability depends.

    Attributes:
        is_safe: whether what is committed survives a power cut with it (sqlite.org/pragma.html, postgresql.org:
            "Write Ahead Log").
    """

    name: str
    value: str
    is_safe: bool


class Condition(Transactions):
    """How the database is, and what its rows tell of those who work on them."""

    def durability(self) -> tuple[Setting, ...]:
        """What has to hold so that nothing that was committed is lost.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it cannot be read.
        """
        show, safe = ("PRAGMA", _SQLITE) if self._database.is_sqlite else ("SHOW", _POSTGRESQL)
        with self._read() as connection:
            values = {name: str(connection.scalar(text(f"{show} {name}"))).lower() for name in safe}
        return tuple(Setting(name, value, value in safe[name]) for name, value in values.items())

    def last_sweep(self) -> datetime | None:
        """When a sweep last began; None before the first one."""
        with self._read() as connection:
            found: datetime | None = connection.scalar(select(clock.c.noted_at))
            return found

    def told_by(self, limit: int) -> Mapping[str, tuple[str, ...]]:
        """Who told of the latest runs, "hook" or "sweep": by the job's id, the newest first.

        Args:
            limit: how many notifications are read altogether.
        """
        row = notifications.c
        newest = (
            select(row.job_id, row.source)
            .where(row.source.in_(_TOLD_OF))
            .order_by(row.first_received_at.desc(), row.id.desc())
            .limit(limit)
        )
        told: dict[str, tuple[str, ...]] = {}
        for found in self._rows(newest):
            told[found.job_id] = (*told.get(found.job_id, ()), found.source)
        return told

    def note_webhook(self, sender: str, kind: str, at: datetime) -> None:
        """Note that an authentic webhook has arrived.

        Args:
            sender: such as `mlflow`.
            kind: what it is about; one of a few words.
            at: now.
        """
        with self._write() as connection:
            first = upsert(connection, webhooks).values(sender=sender, kind=kind, last_at=at)
            connection.execute(
                first.on_conflict_do_update(index_elements=["sender", "kind"], set_={"last_at": at})
            )

    def webhooks_of(self, sender: str) -> Mapping[str, datetime]:
        """When the latest authentic webhook of each kind arrived from there."""
        query = select(webhooks).where(webhooks.c.sender == sender)
        return {row.kind: row.last_at for row in self._rows(query)}

    def holds(self) -> Mapping[AliasKey, Hold]:
        """Every alias that is kept where it is."""
        query = select(aliases).where(aliases.c.hold.is_not(None)).order_by(*aliases.primary_key)
        return {
            AliasKey(row.registry, row.model, row.alias): from_json(Hold, row.hold)
            for row in self._rows(query)
        }
