"""How much there is of everything: what is open is counted at once, and what has ended once a minute.

So a scrape takes as long with a hundred thousand promotions as with none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, func, literal_column, not_, select

from champion_gate.store import notifications as notification_rows
from champion_gate.store import promotions as promotion_rows
from champion_gate.store import steps as step_rows
from champion_gate.store.engine import Database, Transactions
from champion_gate.store.tables import clock, ledger_head, notifications, promotions, steps
from champion_gate.store.values import UtcTime

COUNTED_EVERY = timedelta(minutes=1)
"""So often what has ended is to be counted, for `figures` to have it at hand."""
_KEPT = 2 * COUNTED_EVERY
_OPEN = {
    notifications: notification_rows.OPEN,
    promotions: promotion_rows.OPEN,
    steps: step_rows.OPEN,
}


def _counting(table: Table, which: ColumnElement[bool], *by: ColumnElement[Any]) -> Select[Any]:
    # Built once: to put a statement together takes longer than to carry it out.
    return select(*by, func.count().label("many")).select_from(table).where(which).group_by(*by)


_PROMOTIONS = _counting(promotions, _OPEN[promotions], promotions.c.phase).add_columns(
    func.min(promotions.c.requested_at, type_=UtcTime).label("oldest")
)
_NOTIFICATIONS = _counting(notifications, _OPEN[notifications], notifications.c.phase)
# Not the column itself: to have the kinds in order, SQLite would read all that have ended too.
_STEPS = _counting(
    steps, _OPEN[steps], steps.c.kind.concat(literal_column("''")).label("kind"), steps.c.phase
)
_ENDED_PROMOTIONS = _counting(promotions, not_(_OPEN[promotions]), promotions.c.phase)
_ENDED_NOTIFICATIONS = _counting(notifications, not_(_OPEN[notifications]), notifications.c.phase)
_ENDED_STEPS = _counting(steps, not_(_OPEN[steps]), steps.c.kind, steps.c.phase)
_LONGEST_DUE = {
    table.name: select(literal_column("min(due_at)", type_=UtcTime)).select_from(table).where(is_open)
    for table, is_open in _OPEN.items()
}


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


@dataclass(frozen=True)
class _Ended:
    """What does not change any more, and grows for ever."""

    counted_at: datetime
    notifications: Mapping[str, int]
    promotions: Mapping[str, int]
    steps: Mapping[tuple[str, str], int]


class FiguresOfRows(Transactions):
    """Counts."""

    def __init__(self, database: Database, token: Callable[[], str]) -> None:
        super().__init__(database, token)
        self._ended: _Ended | None = None

    def count_ended(self, at: datetime) -> _Ended:
        """Count what has ended, for `figures` to give out in the two minutes from now on."""
        with self._snapshot() as connection:
            self._ended = counted = _Ended(
                counted_at=at,
                notifications=_by_phase(connection.execute(_ENDED_NOTIFICATIONS)),
                promotions=_by_phase(connection.execute(_ENDED_PROMOTIONS)),
                steps=_by_kind(connection.execute(_ENDED_STEPS)),
            )
        return counted

    def figures(self, at: datetime) -> Figures:
        """All of them, as of one moment; but what has ended, as when that was counted last.

        Args:
            at: now. Where that was not counted within the last two minutes, it is first.
        """
        ended = self._ended
        if ended is None or not timedelta() <= at - ended.counted_at < _KEPT:
            ended = self.count_ended(at)
        with self._snapshot() as connection:
            waiting = connection.execute(_PROMOTIONS).all()
            due = {name: connection.scalar(query) for name, query in _LONGEST_DUE.items()}
            return Figures(
                notifications={**ended.notifications, **_by_phase(connection.execute(_NOTIFICATIONS))},
                promotions={**ended.promotions, **_by_phase(waiting)},
                oldest={row.phase: row.oldest for row in waiting},
                steps={**ended.steps, **_by_kind(connection.execute(_STEPS))},
                overdue={name: since for name, since in due.items() if since is not None},
                ledger_lines=connection.scalar(select(ledger_head.c.number)) or 0,
                swept_at=connection.scalar(select(clock.c.noted_at)),
            )


def _by_phase(rows: Iterable[Row[Any]]) -> dict[str, int]:
    return {row.phase: row.many for row in rows}


def _by_kind(rows: Iterable[Row[Any]]) -> dict[tuple[str, str], int]:
    return {(row.kind, row.phase): row.many for row in rows}
