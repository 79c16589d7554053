"""The Store's part that remembers which accounts logins stand for."""

from __future__ import annotations

from datetime import datetime

from champion_gate.domain.ports import Person
from champion_gate.domain.store import EntryOf, RememberedLogin, TrainerAccount
from champion_gate.store import identities, promotions
from champion_gate.store.sql_base import SqlBase, append


class SqlIdentities(SqlBase):
    """Logins and accounts."""

    def remember_login(self, provider: str, login: str, found: Person, at: datetime) -> RememberedLogin:
        """Remember who has a login: the first account stays, another one is noted beside it."""
        known = self.remembered_login(provider, login)
        if known is not None and identities.is_noted(known, found, at):
            return known
        with self._write() as connection:
            return identities.remember(connection, provider, login, found, at)

    def remembered_login(self, provider: str, login: str) -> RememberedLogin | None:
        """What is remembered of a login, in any case of its letters."""
        with self._read() as connection:
            return identities.find(connection, provider, login)

    def remembered_logins(self) -> tuple[RememberedLogin, ...]:
        """All of them, by provider and login."""
        with self._read() as connection:
            return identities.find_all(connection)

    def remember_trainer_account(self, account: TrainerAccount, at: datetime) -> None:
        """Remember that an account is a trainer's."""
        if account in self.trainer_accounts(account.provider, account.trainer, account.alias):
            return
        with self._write() as connection:
            identities.remember_account(connection, account, at)

    def trainer_accounts(self, provider: str, trainer: str, alias: str) -> tuple[TrainerAccount, ...]:
        """All accounts that were ever a trainer's."""
        with self._read() as connection:
            return identities.accounts_of(connection, provider, trainer, alias)

    def accept_login(
        self, provider: str, login: str, user_id: str | None, at: datetime, line: EntryOf
    ) -> RememberedLogin:
        """Let the login stand for its other account; whatever waits to be asked is due, in the same transaction."""
        with self._write() as connection:
            before = identities.locked(connection, provider, login)
            accepted = identities.accept(connection, before, user_id, at)
            promotions.hint_requested(connection, at)
            append(connection, [line(before)], ())
            return accepted

    def forget_login(self, provider: str, login: str, line: EntryOf) -> RememberedLogin:
        """Forget the login and the trainers' accounts that it was resolved to; returns what was remembered."""
        with self._write() as connection:
            before = identities.locked(connection, provider, login)
            identities.forget(connection, before)
            append(connection, [line(before)], ())
            return before
