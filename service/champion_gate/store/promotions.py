"""Promotions: at most one open per version and alias, each written only by who holds its lease."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Update,
    and_,
    bindparam,
    case,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningInsert

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.canonical import utc_text
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.promotion import TRANSITIONS, EndRequest, Phase, Promotion
from champion_gate.domain.retry import Retry
from champion_gate.domain.rows import Page
from champion_gate.domain.steps import WAITED_FOR, Step
from champion_gate.errors import ConflictError, NotFoundError
from champion_gate.store.engine import Transactions, upsert_for
from champion_gate.store.leases import Leases
from champion_gate.store.ledger import append_lines
from champion_gate.store.pages import page
from champion_gate.store.releases import let_all_read
from champion_gate.store.steps import add_steps, hasten_steps
from champion_gate.store.tables import OPEN_PROMOTION, promotions
from champion_gate.store.values import UtcTime, from_json, from_plain, plain, to_json

# Written out, because SQLite uses a partial index only where it sees that the condition is the index's.
OPEN: ColumnElement[bool] = promotions.c.phase.in_(
    [literal_column(f"'{phase.value}'") for phase in Phase if phase.is_open]
)
LEASES = Leases(promotions, OPEN, hints_when_taken=promotions.c.hints)
_NEWEST = (promotions.c.requested_at, promotions.c.id)
# Built once: to put a statement together takes longer than to carry it out.
_ONE = select(promotions).where(promotions.c.id == bindparam("row"))
_WRITING = update(promotions).where(promotions.c.id == bindparam("row")).returning(promotions)
_FOR_ALIAS = and_(*(promotions.c[name] == bindparam(name) for name in ("registry", "model", "alias")))
_PENDING = select(promotions).where(promotions.c.phase == Phase.PENDING_APPROVAL.value).order_by(*_NEWEST)
_OPEN_FOR_ALIAS = select(promotions).where(_FOR_ALIAS, OPEN).order_by(*_NEWEST)
_OF_VERSION = (
    select(promotions)
    .where(_FOR_ALIAS, promotions.c.version_number == bindparam("version"))
    .order_by(*(column.desc() for column in _NEWEST))
)
_COLUMNS = (
    *("id", "gate", "registry", "model", "alias", "phase", "reason"),
    *("requested_at", "updated_at", "ended_at", "due_at"),
    *("failed_from", "evidence_json", "hints", "lease"),
)
"""The fields of a Promotion that are columns under their own names."""
_AS_NEW: dict[str, Any] = {
    "ended_at": None,
    **asdict(Retry()),
    "failed_from": None,
    "end_request": None,
}
"""What a promotion that is taken up again forgets."""


class Promotions(Transactions):
    """Promotions and the leases on them."""

    def create_promotion(self, promotion: Promotion) -> Promotion | None:
        """Insert it; None where one is open already for the same (registry, source model, model, version, alias).

        Raises:
            ConflictError: there is one with this id.
        """
        values = {
            "id": promotion.id,
            "hints": promotion.hints,
            "end_request": None if promotion.end_request is None else to_json(promotion.end_request),
            **_values(promotion, promotion.updated_at),
        }
        with self._write() as connection:
            let_all_read(connection, promotion)
            try:
                row = connection.execute(_creating(connection.dialect.name), values).one_or_none()
            except IntegrityError as error:
                raise ConflictError(f"There is a promotion {promotion.id} already.") from error
        return None if row is None else _promotion(row)

    def get_promotion(self, promotion_id: str) -> Promotion:
        """One row; raises NotFoundError."""
        row = self._row(_ONE, row=promotion_id)
        if row is None:
            raise NotFoundError(f"There is no promotion {promotion_id}.")
        return _promotion(row)

    def promotions_of_version(
        self, key: AliasKey, version: str, source_model: str | None = None
    ) -> tuple[Promotion, ...]:
        """All promotions, open and ended, of one version for one alias, newest first.

        Args:
            key: which alias.
            version: its number.
            source_model: whose version it is; None: that of the alias's own model.
        """
        of = key.model if source_model is None else source_model
        found = _load(self._rows(_OF_VERSION, version=version, **asdict(key)))
        return tuple(each for each in found if each.source_model == of)

    def open_promotions(self, key: AliasKey) -> tuple[Promotion, ...]:
        """All open promotions for one alias, oldest first."""
        return _load(self._rows(_OPEN_FOR_ALIAS, **asdict(key)))

    def pending_promotions(self, limit: int | None = None) -> tuple[Promotion, ...]:
        """The promotions in `pending_approval`, oldest first: so many, or all."""
        return _load(self._rows(_PENDING if limit is None else _PENDING.limit(limit)))

    def list_promotions(
        self,
        *,
        model: str | None = None,
        phase: Phase | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Promotion]:
        """Newest first."""
        query = select(promotions)
        if model is not None:
            query = query.where(promotions.c.model == model)
        if phase is not None:
            query = query.where(promotions.c.phase == phase.value)
        with self._read() as connection:
            return page(connection, query, _NEWEST, cursor=cursor, limit=limit, load=_load)

    def take_promotion(self, promotion_id: str, at: datetime, lease_seconds: float) -> Promotion | None:
        """Lease an open, due row, and remember how many hints it had."""
        with self._write() as connection:
            row = LEASES.take(
                connection, promotion_id, at=at, lease_seconds=lease_seconds, token=self._token()
            )
        return None if row is None else _promotion(row)

    def keep_promotion(self, taken: Promotion, at: datetime, lease_seconds: float) -> None:
        """Lease the row anew for who holds it; raises LeaseLostError."""
        with self._write() as connection:
            LEASES.keep(connection, taken, at=at, lease_seconds=lease_seconds)

    def save_promotion(
        self,
        taken: Promotion,
        at: datetime,
        *,
        release: bool = False,
        ledger: Sequence[LedgerEntry] = (),
        steps: Sequence[Step] = (),
    ) -> Promotion:
        """Write all but `end_request` and `hints`, with ledger lines and steps: all or nothing.

        With `release` the lease is given back, and if the row's hints have grown since it was taken and it
        is still open, it is due at once.

        Raises:
            LeaseLostError: another holds it.
            ConflictError: its phase cannot follow the stored one (`domain.promotion.TRANSITIONS`).
            ValueError: it is given back open and nothing says when it is due.
        """
        with self._write() as connection:
            saved = save(connection, taken, at, release=release)
            append_lines(connection, ledger)
            add_steps(connection, steps)
            return saved

    def hint_promotion(self, promotion_id: str, at: datetime) -> None:
        """Somebody says that there is news: due now, or as soon as the present holder gives it back.

        Nothing happens to one that is not open.
        """
        with self._write() as connection:
            connection.execute(_HINTING_ONE, {"row": promotion_id, "at": at})

    def hint_request(self, external_id: str, at: datetime) -> tuple[str, ...]:
        """`hint_promotion` for those whose request has this vendor's id, at whatever provider; returns their ids."""
        # Most of what CI systems tell is about runs of others, for which no writer need wait.
        if not self._rows(_WITH_REQUEST, request=external_id):
            return ()
        with self._write() as connection:
            return tuple(connection.scalars(_HINTING_REQUEST, {"request": external_id, "at": at}))

    def request_end(self, promotion_id: str, end: EndRequest) -> bool:
        """Order the end of an open promotion that has no such order yet; also a hint. False if not.

        A person's order goes before the gate's own.
        """
        is_it = promotions.c.id == promotion_id
        with self._write() as connection:
            found = connection.scalar(select(promotions.c.end_request).where(is_it).with_for_update())
            if found is not None:
                before = from_json(EndRequest, found)
                if end.phase is not Phase.CANCELLED or before.phase is Phase.CANCELLED:
                    return False
            let_all_read(connection, end)
            return hint(connection, end.at, is_it, end_request=to_json(end)) == 1

    def retry_promotion(
        self, promotion_id: str, at: datetime, reason: str, steps: Sequence[Step] = ()
    ) -> bool:
        """FAILED -> the phase it failed from, all counters reset, due at once. False if it is not FAILED.

        An earlier order to end it is void. With it, steps are begun anew that it waits for then.

        Raises:
            NotFoundError: there is no such promotion.
            ConflictError: it cannot return to that phase, or another one of its version is open by now.
        """
        is_it = promotions.c.id == promotion_id
        with self._write() as connection:
            row = connection.execute(select(promotions).where(is_it).with_for_update()).one_or_none()
            if row is None:
                raise NotFoundError(f"There is no promotion {promotion_id}.")
            if row.phase != Phase.FAILED.value:
                return False
            phase = Phase(row.failed_from or Phase.REQUESTED)
            if phase not in TRANSITIONS[Phase.FAILED]:
                raise ConflictError(f"A promotion that failed while {phase.value} cannot be taken up again.")
            values = {"phase": phase.value, "reason": reason, "updated_at": at, "due_at": at}
            try:
                connection.execute(update(promotions).where(is_it).values(**_AS_NEW, **values))
            except IntegrityError as error:
                raise ConflictError(
                    f"Another promotion of v{row.version_number} of {row.source_model} for {row.alias} is open."
                ) from error
            add_steps(connection, steps)
            return True


@cache
def _creating(dialect: str) -> ReturningInsert[Any]:
    index = next(index for index in promotions.indexes if index.name == "one_open_promotion")
    first = upsert_for(dialect, promotions).on_conflict_do_nothing(
        index_elements=list(index.columns.keys()),
        index_where=text(OPEN_PROMOTION),
    )
    return first.returning(promotions)


def save(connection: Connection, taken: Promotion, at: datetime, *, release: bool) -> Promotion:
    """See `Promotions.save_promotion`: the promotion's own row."""
    row = LEASES.held_row(connection, taken)
    let_all_read(connection, taken)
    _check_phase(taken, Phase(row.phase))
    values = _values(taken, at)
    if release:
        values.update(lease="", lease_until=None)
        if taken.phase.is_open:
            values["due_at"] = at if row.hints > row.hints_when_taken else _due(taken)
    if not taken.phase.is_open and row.phase in WAITED_FOR.values():
        hasten_steps(connection, taken.id, at)
    return _promotion(connection.execute(_WRITING, {"row": taken.id, **values}).one())


def _hinting(*conditions: ColumnElement[bool], **values: Any) -> Update:
    at, due_at = bindparam("at", type_=UtcTime), promotions.c.due_at
    due = {"hints": promotions.c.hints + 1, "due_at": case((due_at < at, due_at), else_=at)}
    return update(promotions).where(OPEN, *conditions).values(**due, **values)


def hint(connection: Connection, at: datetime, *conditions: ColumnElement[bool], **values: Any) -> int:
    """Count a hint on the open rows that these conditions find, make them due, and write the values; returns how many.

    Whoever holds one now sees the count when giving it back.
    """
    return connection.execute(_hinting(*conditions, **values), {"at": at}).rowcount


_OF_REQUEST = promotions.c.external_id == bindparam("request")
_WITH_REQUEST = select(promotions.c.id).where(_OF_REQUEST, OPEN)
_HINTING_REQUEST = _hinting(_OF_REQUEST).returning(promotions.c.id)
_HINTING_ONE = _hinting(promotions.c.id == bindparam("row"))


def asks_for(key: AliasKey) -> ColumnElement[bool]:
    """Whether a promotion is for this alias."""
    return and_(
        promotions.c.registry == key.registry,
        promotions.c.model == key.model,
        promotions.c.alias == key.alias,
    )


def let_begin_by(connection: Connection, at: datetime) -> None:
    """Let nothing that is measured of an open promotion have begun later than now: the clock was ahead then."""
    now = utc_text(at)
    columns = (promotions.c.id, promotions.c.details, promotions.c.end_request)
    for row in connection.execute(select(*columns).where(OPEN).with_for_update()).all():
        details = json.loads(row.details)
        for name in ("missing_since", "version_missing_since"):
            details[name] = details.get(name) and min(details[name], now)
        seen_once = details.get("seen_once") or {}
        details["seen_once"] = {what: min(since, now) for what, since in seen_once.items()}
        end = row.end_request and from_json(EndRequest, row.end_request)
        connection.execute(
            update(promotions)
            .where(promotions.c.id == row.id)
            .values(
                details=json.dumps(details, separators=(",", ":")),
                end_request=end and to_json(replace(end, at=min(end.at, at))),
            )
        )


def _check_phase(taken: Promotion, stored: Phase) -> None:
    if taken.phase is stored:
        return
    # Only `retry` leaves FAILED: it takes an operator.
    if stored is Phase.FAILED or taken.phase not in TRANSITIONS.get(stored, frozenset()):
        raise ConflictError(f"Promotion {taken.id} is {stored.value} and cannot become {taken.phase.value}.")


def _due(taken: Promotion) -> datetime:
    if taken.due_at is None:
        raise ValueError(f"promotion {taken.id} stays {taken.phase.value} and is never due")
    return taken.due_at


def _values(promotion: Promotion, at: datetime) -> dict[str, Any]:
    """The columns that whoever holds the row may write."""
    details = plain(promotion)
    for name in (*_COLUMNS, "retry", "end_request"):
        details.pop(name)
    return {
        "gate": promotion.gate,
        "registry": promotion.registry,
        "model": promotion.model,
        "alias": promotion.alias,
        "version_number": promotion.version.version,
        "source_model": promotion.source_model,
        "phase": promotion.phase.value,
        "reason": promotion.reason,
        "requested_at": promotion.requested_at,
        "updated_at": at,
        "ended_at": promotion.ended_at,
        "due_at": promotion.due_at if promotion.phase.is_open else None,
        **asdict(promotion.retry),
        "failed_from": None if promotion.failed_from is None else promotion.failed_from.value,
        "external_id": None if promotion.request is None else promotion.request.external_id,
        "evidence_json": promotion.evidence_json,
        "details": json.dumps(details, separators=(",", ":")),
    }


def _load(rows: Sequence[Row[Any]]) -> tuple[Promotion, ...]:
    return tuple(_promotion(row) for row in rows)


def _promotion(row: Row[Any]) -> Promotion:
    columns = {name: getattr(row, name) for name in _COLUMNS}
    end_request = None if row.end_request is None else json.loads(row.end_request)
    details = json.loads(row.details)
    return from_plain(Promotion, {**details, **columns, "retry": row._asdict(), "end_request": end_request})
