"""Which accounts logins stand for, and which accounts were ever a trainer's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, select, update

from champion_gate.domain.ports import Person
from champion_gate.domain.store import RememberedLogin, TrainerAccount
from champion_gate.errors import ConflictError, NotFoundError
from champion_gate.store.tables import identities, trainer_accounts
from champion_gate.store.upsert import upsert

_NOTED_EVERY = timedelta(hours=1)


def find(connection: Connection, provider: str, login: str) -> RememberedLogin | None:
    """What is remembered of a login, without accounts."""
    row = connection.execute(select(identities).where(_is(provider, login))).one_or_none()
    return None if row is None else _remembered(row)


def find_all(connection: Connection) -> tuple[RememberedLogin, ...]:
    """All of them, with accounts."""
    accounts: dict[tuple[str, str], list[TrainerAccount]] = {}
    for row in connection.execute(select(trainer_accounts).order_by(*trainer_accounts.primary_key)):
        accounts.setdefault((row.provider, row.login), []).append(_account(row))
    query = select(identities).order_by(identities.c.provider, identities.c.login)
    return tuple(
        _remembered(row, tuple(accounts.get((row.provider, row.login), ())))
        for row in connection.execute(query)
    )


def is_noted(found: RememberedLogin | None, person: Person, at: datetime) -> bool:
    """Whether remembering it would write nothing new."""
    return (
        found is not None
        and (found.user_id, found.other_id) == (person.user_id, None)
        and found.login == person.login
        and at - found.last_resolved_at < _NOTED_EVERY
    )


def remember(
    connection: Connection, provider: str, login: str, person: Person, at: datetime
) -> RememberedLogin:
    """Insert it, or note who has the login now; of two who insert at once the first one's account stays."""
    first = upsert(connection, identities).values(
        provider=provider,
        login=login.casefold(),
        shown=person.login,
        user_id=person.user_id,
        first_resolved_at=at,
        last_resolved_at=at,
    )
    connection.execute(first.on_conflict_do_nothing(index_elements=["provider", "login"]))
    row = connection.execute(select(identities).where(_is(provider, login)).with_for_update()).one()
    if row.user_id == person.user_id:
        last = max(at, row.last_resolved_at)
        noted: dict[str, Any] = {"last_resolved_at": last, "shown": person.login, "other_id": None}
    else:
        noted = {"other_id": person.user_id}
    return _changed(connection, provider, login, **noted)


def remember_account(connection: Connection, account: TrainerAccount, at: datetime) -> None:
    """Insert it, if it is not known."""
    insert = upsert(connection, trainer_accounts).values(
        provider=account.provider,
        trainer=account.trainer,
        alias=account.alias,
        login=account.login.casefold(),
        user_id=account.user_id,
        shown=account.login,
        first_resolved_at=at,
    )
    connection.execute(insert.on_conflict_do_nothing())


def accounts_of(
    connection: Connection, provider: str, trainer: str, alias: str
) -> tuple[TrainerAccount, ...]:
    """All accounts that were ever a trainer's, the earliest first."""
    of = trainer_accounts.c
    query = select(trainer_accounts).where(of.provider == provider, of.trainer == trainer, of.alias == alias)
    rows = connection.execute(query.order_by(of.first_resolved_at, of.user_id, of.login))
    return tuple(_account(row) for row in rows)


def locked(connection: Connection, provider: str, login: str) -> RememberedLogin:
    """What is remembered of a login, with accounts; nobody else changes it until the transaction ends.

    Raises:
        NotFoundError: nothing is.
    """
    query = select(identities).where(_is(provider, login)).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"Nothing is remembered of {login} at {provider}.")
    mine = select(trainer_accounts).where(_resolved_from(provider, login))
    rows = connection.execute(mine.order_by(*trainer_accounts.primary_key))
    return _remembered(row, tuple(_account(each) for each in rows))


def accept(
    connection: Connection, before: RememberedLogin, user_id: str | None, at: datetime
) -> RememberedLogin:
    """Let a locked login stand for its other account.

    Raises:
        ConflictError: there is none, or it is not `user_id`.
    """
    if before.other_id is None:
        raise ConflictError(
            f"{before.login} is account {before.user_id}, as before: there is nothing to accept."
        )
    if user_id not in {None, before.other_id}:
        raise ConflictError(f"{before.login} is account {before.other_id} now, not {user_id}.")
    changed = {"user_id": before.other_id, "first_resolved_at": at, "last_resolved_at": at, "other_id": None}
    return replace(_changed(connection, before.provider, before.login, **changed), accounts=before.accounts)


def forget(connection: Connection, before: RememberedLogin) -> None:
    """Delete a locked login and the trainers' accounts that it was resolved to."""
    connection.execute(delete(identities).where(_is(before.provider, before.login)))
    connection.execute(delete(trainer_accounts).where(_resolved_from(before.provider, before.login)))


def _changed(connection: Connection, provider: str, login: str, **values: Any) -> RememberedLogin:
    statement = update(identities).where(_is(provider, login)).values(**values).returning(identities)
    return _remembered(connection.execute(statement).one())


def _is(provider: str, login: str) -> ColumnElement[bool]:
    return and_(identities.c.provider == provider, identities.c.login == login.casefold())


def _resolved_from(provider: str, login: str) -> ColumnElement[bool]:
    of = trainer_accounts.c
    return and_(of.provider == provider, of.login == login.casefold())


def _remembered(row: Row[Any], accounts: tuple[TrainerAccount, ...] = ()) -> RememberedLogin:
    return RememberedLogin(
        provider=row.provider,
        login=row.shown,
        user_id=row.user_id,
        first_resolved_at=row.first_resolved_at,
        last_resolved_at=row.last_resolved_at,
        other_id=row.other_id,
        accounts=accounts,
    )


def _account(row: Row[Any]) -> TrainerAccount:
    return TrainerAccount(row.provider, row.trainer, row.alias, row.shown, row.user_id)
