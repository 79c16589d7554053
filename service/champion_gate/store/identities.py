"""Which accounts logins stand for, and which accounts were ever a trainer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, select, update

from champion_gate.domain.ports.approval import Person
from champion_gate.domain.promotion import Phase
from champion_gate.domain.rows import EntryOf, RememberedLogin, TrainerAccount
from champion_gate.errors import ConflictError, NotFoundError
from champion_gate.store.engine import Transactions, upsert
from champion_gate.store.ledger import append_lines
from champion_gate.store.promotions import hint
from champion_gate.store.tables import identities, promotions, trainer_accounts
from champion_gate.store.values import from_plain

_BEFORE_PEOPLE = [phase.value for phase in Phase if phase.is_before_people]
_NOTED_EVERY = timedelta(hours=1)  # a look at the same account is not to cost a write each time
# Built once: to put a statement together takes longer than to carry it out.
_ONE = select(identities).where(
    identities.c.provider == bindparam("provider"), identities.c.login == bindparam("login")
)
_OF_TRAINER = (
    select(trainer_accounts)
    .where(*(trainer_accounts.c[name] == bindparam(name) for name in ("provider", "trainer", "alias")))
    .order_by(*(trainer_accounts.c[name] for name in ("first_resolved_at", "user_id", "login")))
)


class Identities(Transactions):
    """Logins and accounts."""

    def remember_login(self, provider: str, login: str, found: Person, at: datetime) -> RememberedLogin:
        """Remember who has a login: the first account stays, another one is noted beside it.

        Returns:
            What is remembered then, without `accounts`.
        """
        known = self.remembered_login(provider, login)
        if known is not None and _is_noted(known, found, at):
            return known
        first = {
            "shown": found.login,
            "user_id": found.user_id,
            "first_resolved_at": at,
            "last_resolved_at": at,
        }
        with self._write() as connection:
            insert = upsert(connection, identities).values(provider=provider, login=login.casefold(), **first)
            # Of two who insert at once the first one's account stays.
            connection.execute(insert.on_conflict_do_nothing(index_elements=["provider", "login"]))
            row = connection.execute(select(identities).where(_is(provider, login)).with_for_update()).one()
            if row.user_id != found.user_id:
                return _changed(connection, provider, login, other_id=found.user_id)
            last = max(at, row.last_resolved_at)
            return _changed(
                connection, provider, login, last_resolved_at=last, shown=found.login, other_id=None
            )

    def remembered_login(self, provider: str, login: str) -> RememberedLogin | None:
        """What is remembered of a login, in any case of its letters, without accounts."""
        row = self._row(_ONE, provider=provider, login=login.casefold())
        return None if row is None else _remembered(row)

    def remembered_logins(self) -> tuple[RememberedLogin, ...]:
        """All of them, by provider and login, with accounts."""
        accounts: dict[tuple[str, str], list[TrainerAccount]] = {}
        query = select(identities).order_by(identities.c.provider, identities.c.login)
        with self._read() as connection:
            for row in connection.execute(select(trainer_accounts).order_by(*trainer_accounts.primary_key)):
                accounts.setdefault((row.provider, row.login), []).append(_account(row))
            return tuple(
                _remembered(row, accounts.get((row.provider, row.login), ()))
                for row in connection.execute(query)
            )

    def remember_trainer_account(self, account: TrainerAccount, at: datetime) -> None:
        """Remember that an account is a trainer's, if it is not known."""
        if account in self.trainer_accounts(account.provider, account.trainer, account.alias):
            return
        row = {
            **vars(account),
            "login": account.login.casefold(),
            "shown": account.login,
            "first_resolved_at": at,
        }
        with self._write() as connection:
            connection.execute(upsert(connection, trainer_accounts).values(row).on_conflict_do_nothing())

    def trainer_accounts(self, provider: str, trainer: str, alias: str) -> tuple[TrainerAccount, ...]:
        """All accounts that were ever a trainer's, the earliest first."""
        rows = self._rows(_OF_TRAINER, provider=provider, trainer=trainer, alias=alias)
        return tuple(_account(row) for row in rows)

    def accept_login(
        self, provider: str, login: str, user_id: str | None, at: datetime, line: EntryOf
    ) -> RememberedLogin:
        """Let the login stand for its other account; whatever waits to be asked is due, in the same transaction.

        Raises:
            NotFoundError: it is not remembered.
            ConflictError: there is no other account, or it is not `user_id`.
        """
        with self._write() as connection:
            before = _locked(connection, provider, login)
            if before.other_id is None:
                raise ConflictError(
                    f"{before.login} is account {before.user_id}, as before: there is nothing to accept."
                )
            if user_id not in {None, before.other_id}:
                raise ConflictError(f"{before.login} is account {before.other_id} now, not {user_id}.")
            accepted = _changed(
                connection,
                provider,
                login,
                user_id=before.other_id,
                first_resolved_at=at,
                last_resolved_at=at,
                other_id=None,
            )
            hint(connection, at, promotions.c.phase.in_(_BEFORE_PEOPLE))
            append_lines(connection, [line(before)])
            return replace(accepted, accounts=before.accounts)

    def forget_login(self, provider: str, login: str, line: EntryOf) -> RememberedLogin:
        """Forget the login and the trainers' accounts that it was resolved to; returns what was remembered.

        Raises:
            NotFoundError: it is not remembered.
        """
        with self._write() as connection:
            before = _locked(connection, provider, login)
            connection.execute(delete(identities).where(_is(provider, login)))
            connection.execute(delete(trainer_accounts).where(_resolved_from(provider, login)))
            append_lines(connection, [line(before)])
            return before


def _is_noted(known: RememberedLogin, person: Person, at: datetime) -> bool:
    """Whether remembering it would write nothing new."""
    return (
        (known.user_id, known.other_id) == (person.user_id, None)
        and known.login == person.login
        and at - known.last_resolved_at < _NOTED_EVERY
    )


def _locked(connection: Connection, provider: str, login: str) -> RememberedLogin:
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
    return _remembered(row, [_account(each) for each in rows])


def _changed(connection: Connection, provider: str, login: str, **values: Any) -> RememberedLogin:
    statement = update(identities).where(_is(provider, login)).values(**values).returning(identities)
    return _remembered(connection.execute(statement).one())


def _is(provider: str, login: str) -> ColumnElement[bool]:
    return and_(identities.c.provider == provider, identities.c.login == login.casefold())


def _resolved_from(provider: str, login: str) -> ColumnElement[bool]:
    of = trainer_accounts.c
    return and_(of.provider == provider, of.login == login.casefold())


def _remembered(row: Row[Any], accounts: Sequence[TrainerAccount] = ()) -> RememberedLogin:
    return from_plain(RememberedLogin, {**row._asdict(), "login": row.shown, "accounts": accounts})


def _account(row: Row[Any]) -> TrainerAccount:
    return TrainerAccount(row.provider, row.trainer, row.alias, row.shown, row.user_id)
