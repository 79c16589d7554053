"""How much there is of everything, read from indexes alone: as fast with a hundred thousand promotions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, func, literal_column, select

from champion_gate.domain.promotion import Phase
from champion_gate.store import notifications as notification_rows
from champion_gate.store import promotions as promotion_rows
from champion_gate.store import steps as step_rows
from champion_gate.store.engine import Transactions
from champion_gate.store.tables import clock, ledger_head, notifications, promotions, steps
from champion_gate.store.values import UtcTime


@dataclass(frozen=True)
class Figures:
    """What the rows come to at one moment.

    Attributes:
        notifications, promotions: how many are in each phase; phases without any are left out.
        oldest: when the oldest promotion of each open phase was asked for.
        steps: how many there are of each kind in each phase.
        overdue: of promotions, notifications and steps, since when the open one that is longest due has been so.
        ledger_lines: the number of the last line.
        swept_at: when a sweep last began; None before the first one.
    """

    notifications: Mapping[str, int]
    promotions: Mapping[str, int]
    oldest: Mapping[str, datetime]
    steps: Mapping[tuple[str, str], int]
    overdue: Mapping[str, datetime]
    ledger_lines: int
    swept_at: datetime | None


class FiguresOfRows(Transactions):
    """Counts."""

    def figures(self) -> Figures:
        """All of them, as of one moment."""
        with self._snapshot() as connection:
            return Figures(
                notifications=_by_phase(connection, notifications),
                promotions=_by_phase(connection, promotions),
                oldest=_oldest(connection),
                steps={
                    (row.kind, row.phase): row.many
                    for row in connection.execute(
                        select(steps.c.kind, steps.c.phase, func.count().label("many")).group_by(
                            steps.c.kind, steps.c.phase
                        )
                    )
                },
                overdue=_overdue(connection),
                ledger_lines=connection.scalar(select(ledger_head.c.number)) or 0,
                swept_at=connection.scalar(select(clock.c.noted_at)),
            )


def _by_phase(connection: Connection, table: Table) -> dict[str, int]:
    counted = select(table.c.phase, func.count()).group_by(table.c.phase)
    return {row[0]: row[1] for row in connection.execute(counted)}


def _oldest(connection: Connection) -> dict[str, datetime]:
    """One look into the index a phase."""
    found = {}
    for phase in Phase:
        if phase.is_open:
            first = func.min(promotions.c.requested_at, type_=UtcTime)
            found[phase.value] = connection.scalar(select(first).where(promotions.c.phase == phase.value))
    return {phase: at for phase, at in found.items() if at is not None}


def _overdue(connection: Connection) -> dict[str, datetime]:
    tables = {
        "notifications": (notifications, notification_rows.OPEN),
        "promotions": (promotions, promotion_rows.OPEN),
        "steps": (steps, step_rows.OPEN),
    }
    first = literal_column("min(due_at)", type_=UtcTime)
    found = {
        name: connection.scalar(select(first).select_from(table).where(is_open))
        for name, (table, is_open) in tables.items()
    }
    return {name: at for name, at in found.items() if at is not None}
