"""Steps: what is to be done around a promotion, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    update,
)

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.steps import AFTER_MOVES, WAITED_FOR, Step, StepKind, StepPhase
from champion_gate.errors import ConflictError, NotFoundError
from champion_gate.store.engine import Transactions, upsert
from champion_gate.store.leases import Leases
from champion_gate.store.ledger import append_lines
from champion_gate.store.releases import let_all_read
from champion_gate.store.tables import steps
from champion_gate.store.values import from_plain, plain

# Written out, because SQLite uses a partial index only where it sees that the condition is the index's.
OPEN: ColumnElement[bool] = steps.c.phase.in_(
    [literal_column(f"'{phase.value}'") for phase in StepPhase if phase.is_open]
)
FAILED: ColumnElement[bool] = steps.c.phase == literal_column(f"'{StepPhase.FAILED.value}'")
MOST_SHOWN = 200
_AFTER_MOVES = steps.c.kind.in_([kind.value for kind in AFTER_MOVES])
_FAILED_AFTER_MOVES = select(steps).where(FAILED, _AFTER_MOVES).order_by(steps.c.id)
_NOTICE = StepKind.NOTICE.value
_FAILED_NOTICES = select(steps).where(FAILED, steps.c.kind == _NOTICE).order_by(steps.c.id).limit(MOST_SHOWN)
_FAILED_OF_ALIASES = (
    select(steps)
    .where(FAILED, steps.c.kind.in_([kind.value for kind in StepKind if kind is not StepKind.NOTICE]))
    # Not the column itself: by its index SQLite would read all of them, and most have ended well.
    .where(steps.c.promotion_id.concat(literal_column("''")).is_(None))
    .order_by(steps.c.id)
    .limit(MOST_SHOWN)
)
# SQLite has no such type, and reads text.
_DETAILS = cast(steps.c.details, JSON().with_variant(Text(), "sqlite"))
_FAILING_NOTICES = (
    select(steps)
    .where(OPEN, steps.c.kind == _NOTICE, steps.c.attempts > 0)
    .order_by(steps.c.id)
    .limit(MOST_SHOWN)
)
_OPEN_ENDPOINTS = select(steps).where(OPEN, steps.c.kind == StepKind.ENDPOINT.value).order_by(steps.c.id)
LEASES = Leases(steps, OPEN)
_ONE = select(steps).where(steps.c.id == bindparam("row"))
_WRITING = update(steps).where(steps.c.id == bindparam("row")).returning(steps)
_OF_PROMOTION = (
    select(steps)
    .where(steps.c.promotion_id == bindparam("promotion"))
    .order_by(steps.c.position.desc(), steps.c.id)
    .limit(MOST_SHOWN)
)
_OPEN_OF_PROMOTION = (
    select(steps)
    .where(steps.c.promotion_id == bindparam("promotion"), OPEN)
    .order_by(steps.c.position, steps.c.id)
)
_COLUMNS = ("id", "promotion_id", "kind", "position", "phase", "due_at", "lease")
"""The fields of a Step that are columns under their own names; the store alone writes its position."""
_PLANNED_ANEW = (StepPhase.SUCCEEDED, StepPhase.FAILED, StepPhase.OVERTAKEN)
_TAKEN_UP = ("phase", "due_at", "details", "attempts", "failing_since", "last_error")


class Steps(Transactions):
    """Steps and the leases on them."""

    def steps_of(self, promotion_id: str) -> tuple[Step, ...]:
        """Those of a promotion, in their order; of more than 200 the last ones."""
        return tuple(_step(row) for row in reversed(self._rows(_OF_PROMOTION, promotion=promotion_id)))

    def open_steps(self, promotion_id: str) -> tuple[Step, ...]:
        """Those of a promotion that have not ended, in their order."""
        return tuple(_step(row) for row in self._rows(_OPEN_OF_PROMOTION, promotion=promotion_id))

    def open_endpoint_steps(self) -> tuple[Step, ...]:
        """All that are to move a serving endpoint, and have not ended."""
        return tuple(_step(row) for row in self._rows(_OPEN_ENDPOINTS))

    def steps_named(self, step_ids: Sequence[str]) -> tuple[Step, ...]:
        """Those with these ids that there are, in this order."""
        found = {row.id: _step(row) for row in self._rows(select(steps).where(steps.c.id.in_(step_ids)))}
        return tuple(found[each] for each in step_ids if each in found)

    def failed_after_moves(self) -> tuple[Step, ...]:
        """Those that have failed behind a move of an alias, whatever came after it."""
        return tuple(_step(row) for row in self._rows(_FAILED_AFTER_MOVES))

    def failed_of_aliases(self, alias: AliasKey | None = None) -> tuple[Step, ...]:
        """Those that have failed and belong to no promotion, but to an alias (this one); of more than 200 the first."""
        wanted = {} if alias is None else asdict(alias)
        its = [_DETAILS["config", name].as_string() == value for name, value in wanted.items()]
        return tuple(_step(row) for row in self._rows(_FAILED_OF_ALIASES.where(*its)))

    def failed_notices(self) -> tuple[Step, ...]:
        """Messages that were given up; of more than 200 the first."""
        return tuple(_step(row) for row in self._rows(_FAILED_NOTICES))

    def failing_notices(self) -> tuple[Step, ...]:
        """Messages that have been tried, and are tried again; of more than 200 the first."""
        return tuple(_step(row) for row in self._rows(_FAILING_NOTICES))

    def failed_of_promotions(self, promotion_ids: Sequence[str]) -> Mapping[str, int]:
        """How many of those behind a promotion's move have failed; promotions without any are left out."""
        counted = (
            select(steps.c.promotion_id, func.count().label("failed"))
            .where(steps.c.promotion_id.in_(promotion_ids), FAILED, _AFTER_MOVES)
            .group_by(steps.c.promotion_id)
        )
        return {row.promotion_id: row.failed for row in self._rows(counted)}

    def get_step(self, step_id: str) -> Step:
        """One row; raises NotFoundError."""
        row = self._row(_ONE, row=step_id)
        if row is None:
            raise NotFoundError(f"There is no step {step_id}.")
        return _step(row)

    def plan_step(self, new: Step) -> None:
        """Store one by itself, as `add_steps` does."""
        with self._write() as connection:
            add_steps(connection, [new])

    def take_step(self, step_id: str, at: datetime, lease_seconds: float) -> Step | None:
        """Lease an open, due one."""
        token = self._token()
        with self._write() as connection:
            row = LEASES.take(connection, step_id, at=at, lease_seconds=lease_seconds, token=token)
        return None if row is None else _step(row)

    def save_step(
        self,
        taken: Step,
        *,
        release: bool = False,
        ledger: Sequence[LedgerEntry] = (),
        steps: Sequence[Step] = (),
    ) -> Step:
        """Write all of it, with ledger lines and further steps: all or nothing; with `release` the lease is given back.

        Raises:
            LeaseLostError: another holds it.
        """
        with self._write() as connection:
            LEASES.held_row(connection, taken)
            given_back = {"lease": "", "lease_until": None} if release else {}
            append_lines(connection, ledger)
            add_steps(connection, steps)
            return _written(connection, taken, **given_back)

    def hasten_steps(self, promotion_id: str, at: datetime) -> None:
        """Make due at once what a promotion waited for, and has no need of any more."""
        with self._write() as connection:
            hasten_steps(connection, promotion_id, at)

    def order_step(
        self,
        step_id: str,
        revise: Callable[[Step], Step],
        ledger: Callable[[Step], Sequence[LedgerEntry]] = lambda _revised: (),
    ) -> Step:
        """Write what an order makes of a step that nobody is at, with ledger lines: all or nothing.

        Args:
            step_id: which.
            revise: makes the step as it is to be; what it raises changes nothing.
            ledger: what is recorded of it as it is then.

        Raises:
            NotFoundError: there is no such step.
            ConflictError: a worker holds it.
        """
        with self._write() as connection:
            row = connection.execute(_ONE.with_for_update(), {"row": step_id}).one_or_none()
            if row is None:
                raise NotFoundError(f"There is no step {step_id}.")
            if row.lease:
                raise ConflictError(
                    f"Step {step_id} is being worked on.", hint="Look at it again in a minute."
                )
            revised = _written(connection, revise(_step(row)))
            append_lines(connection, ledger(revised))
            return revised


def hasten_steps(connection: Connection, promotion_id: str, at: datetime) -> None:
    """Make due what a promotion waited for and does not any more; whoever is at a step then sets its time anew."""
    waited_for = steps.c.kind.in_([kind.value for kind in WAITED_FOR])
    of = steps.c.promotion_id == promotion_id
    connection.execute(update(steps).where(of, OPEN, waited_for).values(due_at=at))


def add_steps(connection: Connection, new: Sequence[Step]) -> None:
    """Insert them. One whose id is there stays as it is while it is open, because what plans it may run twice.

    One that has ended is taken up again: it is planned anew because it is needed again. What an operator skipped stays
    skipped, and what people were told is not told again.
    """
    let_all_read(connection, new)
    for step in new:
        last = select(func.coalesce(func.max(steps.c.position) + 1, 0)).where(
            steps.c.promotion_id == step.promotion_id
        )
        of = step.promotion_id or None
        insert = upsert(connection, steps).values(
            id=step.id,
            promotion_id=of,
            kind=step.kind.value,
            position=step.position if of is None else last.scalar_subquery(),
            **_values(step),
        )
        again = and_(steps.c.phase.in_([phase.value for phase in _PLANNED_ANEW]), steps.c.kind != _NOTICE)
        taken_up = {name: insert.excluded[name] for name in _TAKEN_UP}
        connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=taken_up, where=again))


def let_begin_by(connection: Connection, at: datetime) -> None:
    """Let nothing that an open step has started have begun later than now: the clock was ahead then."""
    for row in connection.execute(select(steps).where(OPEN).with_for_update()).all():
        step = _step(row)
        if step.started_at is not None and step.started_at > at:
            _written(connection, replace(step, started_at=at))


def _written(connection: Connection, step: Step, **columns: Any) -> Step:
    let_all_read(connection, step)
    return _step(connection.execute(_WRITING, {"row": step.id, **_values(step), **columns}).one())


def _values(step: Step) -> dict[str, Any]:
    """The columns that whoever holds the row may write."""
    if step.phase.is_open and step.due_at is None:
        raise ValueError(f"step {step.id} stays {step.phase.value} and is never due")
    details = plain(step)
    for name in (*_COLUMNS, "retry"):
        details.pop(name)
    return {
        "phase": step.phase.value,
        "due_at": step.due_at if step.phase.is_open else None,
        **asdict(step.retry),
        "details": json.dumps(details, separators=(",", ":")),
    }


def _step(row: Row[Any]) -> Step:
    columns = {name: getattr(row, name) for name in _COLUMNS}
    columns["promotion_id"] = row.promotion_id or ""
    return from_plain(Step, {**json.loads(row.details), **columns, "retry": row._asdict()})
