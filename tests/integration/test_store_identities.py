"""What is remembered of logins and accounts, on each database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.promotion import Phase
from champion_gate.domain.rows import RememberedLogin, TrainerAccount
from champion_gate.errors import ConflictError, NotFoundError
from champion_gate.store import Store
from integration.store_samples import LEASE, T0, after, entry, promotion
from integration.test_store_races import at_once

pytestmark = pytest.mark.part("rest", "postgresql")

pytest_plugins = ("integration.store_fixtures",)

MINE = TrainerAccount("github", "ann@example.com", "", "Octo-Ann", "11")
DAY = timedelta(days=1)


def line(before: RememberedLogin) -> LedgerEntry:
    return replace(entry(f"was {before.user_id}"), kind=LedgerKind.IDENTITY, registry="", model="", alias="")


def remember(store: Store, user_id: str, *, days: int = 0, login: str = "octo-ann") -> RememberedLogin:
    return store.remember_login("github", login, Person(user_id, "Octo-Ann"), T0 + days * DAY)


def test_the_first_account_of_a_login_stays_and_another_is_noted_beside_it(store: Store) -> None:
    first = remember(store, "11")
    assert first == RememberedLogin("github", "Octo-Ann", "11", T0, T0)
    assert remember(store, "11", days=1).last_resolved_at == T0 + DAY
    other = remember(store, "22", days=2, login="OCTO-ann")
    assert other == replace(first, last_resolved_at=T0 + DAY, other_id="22")
    assert store.remembered_login("github", "oCTO-ANN") == other
    assert store.remembered_login("gitlab", "octo-ann") is None
    back = remember(store, "11", days=3)
    assert (back.other_id, back.first_resolved_at, back.last_resolved_at) == (None, T0, T0 + 3 * DAY)


def test_looks_within_an_hour_write_nothing_and_a_late_one_takes_no_time_back(store: Store) -> None:
    remember(store, "11")
    found = store.remember_login("github", "octo-ann", Person("11", "Octo-Ann"), after(3599))
    assert found.last_resolved_at == T0
    assert remember(store, "11", days=2).last_resolved_at == T0 + 2 * DAY
    assert remember(store, "11", days=1).last_resolved_at == T0 + 2 * DAY


def test_trainers_accounts_are_kept_each_once(store: Store) -> None:
    for account in (MINE, MINE, replace(MINE, user_id="22"), replace(MINE, provider="gitlab")):
        store.remember_trainer_account(account, T0)
    principal = replace(MINE, trainer="3f25", alias="main.ml.churn@champion", user_id="7")
    store.remember_trainer_account(principal, T0)
    assert [each.user_id for each in store.trainer_accounts("github", "ann@example.com", "")] == ["11", "22"]
    assert store.trainer_accounts("github", "3f25", "main.ml.churn@champion") == (principal,)
    assert store.trainer_accounts("github", "3f25", "main.ml.fraud@champion") == ()
    remember(store, "11")
    (known,) = store.remembered_logins()
    assert {each.user_id for each in known.accounts} == {"11", "22", "7"}


def test_accepting_goes_with_its_line_and_wakes_what_waits_to_be_asked(store: Store) -> None:
    remember(store, "11")
    store.remember_trainer_account(MINE, T0)
    with pytest.raises(ConflictError, match="Octo-Ann is account 11, as before"):
        store.accept_login("github", "octo-ann", None, T0, line)
    remember(store, "22", days=1)
    with pytest.raises(ConflictError, match="account 22 now, not 33"):
        store.accept_login("github", "octo-ann", "33", T0, line)
    assert store.ledger_head().number == 0
    store.create_promotion(promotion("p-1", 2, due_at=after(900)))
    accepted = store.accept_login("github", "OCTO-ANN", "22", T0 + DAY, line)
    assert accepted == RememberedLogin("github", "Octo-Ann", "22", T0 + DAY, T0 + DAY, None, (MINE,))
    assert [each.entry.reason for each in store.ledger_lines()] == ["was 11"]
    taken = store.take_promotion("p-1", T0 + DAY, LEASE)
    assert taken is not None
    assert (taken.phase, taken.hints) == (Phase.REQUESTED, 1)


def test_forgetting_takes_the_accounts_with_it_and_no_others(store: Store) -> None:
    remember(store, "11")
    store.remember_login("github", "bob", Person("7", "bob"), T0)
    bob = replace(MINE, login="bob", user_id="7")
    for account in (MINE, bob):
        store.remember_trainer_account(account, T0)
    forgotten = store.forget_login("github", "Octo-ANN", line)
    assert (forgotten.user_id, forgotten.accounts) == ("11", (MINE,))
    assert store.remembered_login("github", "octo-ann") is None
    assert store.trainer_accounts("github", "ann@example.com", "") == (bob,)
    assert [each.login for each in store.remembered_logins()] == ["bob"]
    with pytest.raises(NotFoundError, match="Nothing is remembered of Octo-ANN at github"):
        store.forget_login("github", "Octo-ANN", line)
    assert store.verify_ledger() == 1


def test_an_order_whose_line_cannot_be_written_changes_nothing(store: Store) -> None:
    remember(store, "11")
    store.remember_trainer_account(MINE, T0)

    def unwritable(before: RememberedLogin) -> LedgerEntry:
        return replace(line(before), facts={"bad": float("nan")})

    with pytest.raises(ValueError, match="JSON compliant"):
        store.forget_login("github", "octo-ann", unwritable)
    assert store.remembered_logins()[0].accounts == (MINE,)


def test_of_workers_who_resolve_a_login_at_once_one_decides_and_all_agree(store: Store) -> None:
    found = at_once(8, lambda number: remember(store, str(11 + number % 2)))
    assert len({each.user_id for each in found}) == 1
    (known,) = store.remembered_logins()
    assert {known.user_id, known.other_id} <= {"11", "12", None}
    assert known.user_id == found[0].user_id
    at_once(8, lambda _number: store.remember_trainer_account(MINE, T0))
    assert store.trainer_accounts("github", "ann@example.com", "") == (MINE,)


def test_of_operators_who_accept_at_once_one_is_told_that_it_is_done(store: Store) -> None:
    remember(store, "11")
    remember(store, "22", days=1)

    def accept(_number: int) -> bool:
        try:
            store.accept_login("github", "octo-ann", None, T0 + DAY, line)
        except ConflictError:
            return False
        return True

    assert sorted(at_once(4, accept)) == [False, False, False, True]
    assert store.verify_ledger() == 1


def test_what_no_database_holds_is_remembered_all_the_same(store: Store) -> None:
    store.remember_login("github", "nul\x00", Person("1", "nul\x00"), T0)
    assert store.remembered_login("github", "nul\x00") is not None
    assert store.remembered_login("github", "\ud800") is None
