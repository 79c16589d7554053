"""Migrations on databases that are in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from champion_gate.domain.aliases import ChangeSource
from champion_gate.domain.approval import ExcludedPerson
from champion_gate.domain.canonical import utc_text
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import StepKind
from champion_gate.errors import ConfigurationError
from champion_gate.store import Store, migrate, open_store
from champion_gate.store.engine import Database
from champion_gate.store.tables import OPEN_PROMOTION, metadata
from integration.store_databases import Databases, bring_to
from integration.store_samples import (
    KEY,
    LEASE,
    T0,
    after,
    api_token,
    append_ledger,
    entry,
    hold,
    notification,
    promotion,
    repeatable,
    request,
    step,
    taken_promotion,
)

pytest_plugins = ("integration.store_fixtures",)

# As schema 0002 wrote it: an intent had neither a source nor facts.
_OLD_INTENT = (
    '{"from_version":"1","to_version":"2","fence":4,"actor":"bob","reason":"approved",'
    f'"promotion_id":"p-1","at":"{utc_text(T0)}"}}'
)


@contextmanager
def old_store(url: str, revision: str) -> Iterator[Store]:
    """A database with an old schema, filled by the store of today, which names a column and the index of open promotions."""
    bring_to(url, revision)
    _write(
        url,
        "DROP INDEX one_open_promotion",
        "ALTER TABLE promotions ADD COLUMN source_model TEXT NOT NULL DEFAULT ''",
        _index("source_model"),
    )
    with open_store(url) as store:
        yield store
    _write(url, "DROP INDEX one_open_promotion", "ALTER TABLE promotions DROP COLUMN source_model", _index())


def _index(*more: str) -> str:
    columns = ", ".join(("registry", *more, "model", "version_number", "alias"))
    return f"CREATE UNIQUE INDEX one_open_promotion ON promotions ({columns}) WHERE {OPEN_PROMOTION}"


def _write(url: str, *statements: str) -> None:
    with closing(Database(url)) as database, database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def in_use(databases: Databases) -> str:
    """A database of schema 0002 with rows in every table, an alias in the middle of a change."""
    url = databases.empty()
    with old_store(url, "0002") as store:
        store.record_notification("hook", notification(), T0)
        taken_promotion(store, evidence_json="{}", reason="naïve \u2028 <b>")
        store.create_promotion(promotion("p-2", 3, alias="Shadow"))
        store.bind_token("i t", promotion_id="p-1", job="j", expires_at=after(60), at=T0)
        append_ledger(store, [entry("a"), entry("b", promotion_id="p-1")])
        store.gate_first_seen("churn", T0)
    with closing(Database(url)) as database, database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO aliases (registry, model, alias, fence, seen, known_version, intent, lease)"
                " VALUES (:registry, :model, :alias, 4, true, '1', :intent, '')"
            ),
            {"registry": KEY.registry, "model": KEY.model, "alias": KEY.alias, "intent": _OLD_INTENT},
        )
        connection.execute(
            text(
                "INSERT INTO follow_ups (id, promotion_id, kind, facts, due_at)"
                " VALUES ('f-1', 'p-1', 'cancel_request', '{\"external_id\":\"77\"}', :due_at)"
            ),
            {"due_at": utc_text(T0)},
        )
    return url


def rows(url: str) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    """What each table holds, in the columns that schema 0002 has."""
    added = {"hold", "dropped", "refused", "source_model"}
    with closing(Database(url)) as database, database.read() as connection:
        for table in metadata.sorted_tables:
            if table.name not in {
                "api_tokens",
                "requests",
                "identities",
                "trainer_accounts",
                "clock",
                "failing_looks",
                "steps",
                "webhooks",
                "sessions",
                "replicas",
                "oldest_release",
            }:
                names = ", ".join(column.name for column in table.columns if column.name not in added)
                found = connection.execute(text(f"SELECT {names} FROM {table.name}"))
                yield table.name, sorted((tuple(row) for row in found), key=repr)


def follow_ups(url: str) -> list[tuple[object, ...]]:
    """What there was in place of steps before schema 0007."""
    with closing(Database(url)) as database, database.read() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM follow_ups"))]


def test_a_database_before_the_migration_is_not_served(in_use: str) -> None:
    with open_store(in_use) as store, pytest.raises(ConfigurationError, match="0002"):
        store.check()


def test_every_row_is_there_after_the_migration(in_use: str) -> None:
    before = dict(rows(in_use))
    assert [table for table, found in before.items() if not found] == ["resolutions"]
    migrate(in_use)
    assert dict(rows(in_use)) == before


def test_what_was_under_way_goes_on_after_the_migration(in_use: str) -> None:
    migrate(in_use)
    with open_store(in_use) as store:
        store.check()
        assert store.verify_ledger() == 2
        known = store.known_alias(KEY)
        assert known is not None
        assert (known.hold, known.known_version) == (None, "1")
        assert known.intent is not None
        assert (known.intent.source, dict(known.intent.facts)) == (ChangeSource.PROMOTION, {})
        lock = store.lock_alias(KEY, T0, LEASE)
        assert lock is not None
        done = store.finish_alias_change(lock, T0, known_version="2", ledger=[entry("c")], hold=hold())
        assert (done.fence, done.hold) == (5, hold())
        assert store.verify_ledger() == 3
        assert store.list_promotions(phase=Phase.REQUESTED, model=KEY.model).items[0].id == "p-2"
        assert [found.id for found in store.open_promotions(KEY)] == ["p-1"]
        assert store.get_promotion("p-1").reason == "naïve \u2028 <b>"
        assert store.open_steps("p-1") == (step(),)
        store.create_api_token(api_token())
        assert store.begin_request(repeatable(), T0) is None


def test_the_migration_can_be_taken_back_and_made_again(in_use: str) -> None:
    before, left = dict(rows(in_use)), follow_ups(in_use)
    migrate(in_use)
    bring_to(in_use, "-0005")
    assert dict(rows(in_use)) == before
    assert follow_ups(in_use) == left != []
    migrate(in_use)
    assert dict(rows(in_use)) == before
    with closing(Database(in_use)) as database, database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_what_is_validated_asks_anew_where_the_migration_is_taken_back(databases: Databases) -> None:
    url = databases.empty()
    migrate(url)
    with open_store(url) as store:
        store.create_promotion(promotion("p-1", phase=Phase.VALIDATING))
        store.plan_step(step(id="p-1-validate", kind=StepKind.VALIDATE, config={"job": "9"}))
        assert store.create_promotion(promotion("p-2", phase=Phase.VALIDATING)) is None
    bring_to(url, "-0008")
    with closing(Database(url)) as database, database.read() as connection:
        assert connection.scalar(text("SELECT phase FROM promotions")) == "requested"
    migrate(url)
    with open_store(url) as store:
        assert [found.id for found in store.open_promotions(KEY)] == ["p-1"]
        assert store.steps_of("p-1") == ()


def test_what_is_copied_is_failed_where_the_migration_is_taken_back(databases: Databases) -> None:
    url = databases.empty()
    migrate(url)
    elsewhere = replace(promotion("p-1"), model="prod.ml.churn", phase=Phase.COPYING)
    same_number = replace(elsewhere, id="p-2", version=replace(elsewhere.version, model="dev.ml.churn"))
    with open_store(url) as store:
        store.create_promotion(elsewhere)
        assert store.create_promotion(same_number) is not None
        assert store.create_promotion(replace(elsewhere, id="p-3")) is None
    bring_to(url, "-0009")
    with closing(Database(url)) as database, database.read() as connection:
        assert set(connection.scalars(text("SELECT phase FROM promotions"))) == {"failed"}
    migrate(url)


TRAINER = "Ann@Example.com"
PRINCIPAL = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def excluding(
    number: int, gate: str, days: int, *people: tuple[str, str, str], provider: str = "github"
) -> Promotion:
    """A promotion about whom nobody of these was allowed to decide."""
    asked_at = T0 + timedelta(days=days)
    return promotion(
        f"p-{number}",
        number,
        gate=gate,
        requested_at=asked_at,
        excluded=tuple(ExcludedPerson(name, "job run-as", login, user_id) for name, login, user_id in people),
        request=request(provider=provider, intent_at=asked_at),
    )


def test_accounts_of_earlier_requests_are_remembered(databases: Databases) -> None:
    url = databases.empty()
    with old_store(url, "0003") as store:
        store.create_promotion(
            excluding(3, "churn", 0, (TRAINER, "Octo-Trainer", "11"), (PRINCIPAL, "bob", "7"))
        )
        store.create_promotion(excluding(4, "fraud", 1, (TRAINER, "octo-trainer", "11")))
        store.create_promotion(excluding(5, "churn", 2, (TRAINER, "octo-trainer", "22")))
        store.create_promotion(excluding(6, "churn", 3, (TRAINER, "ann", "5"), provider="gitlab"))
        store.create_promotion(replace(excluding(7, "churn", 4, (TRAINER, "lost", "9")), request=None))
    migrate(url)
    with open_store(url) as store:
        known = {(each.provider, each.login): each for each in store.remembered_logins()}
        assert known.keys() == {("github", "octo-trainer"), ("github", "bob"), ("gitlab", "ann")}
        trainer = known["github", "octo-trainer"]
        assert (trainer.user_id, trainer.other_id) == ("22", None)
        assert trainer.first_resolved_at == trainer.last_resolved_at == T0 + timedelta(days=2)
        mine = store.trainer_accounts("github", "ann@example.com", "")
        assert [each.user_id for each in mine] == ["11", "22"]
        assert [
            each.user_id for each in store.trainer_accounts("github", PRINCIPAL, "main.ml.churn@champion")
        ] == ["7"]
        assert store.trainer_accounts("github", PRINCIPAL, "main.ml.fraud@champion") == ()
        assert [each.login for each in store.trainer_accounts("gitlab", "ann@example.com", "")] == ["ann"]
        store.check()
    bring_to(url, "-0004")
    migrate(url)


def test_the_ledger_stays_append_only_after_the_migration(in_use: str) -> None:
    migrate(in_use)
    with (
        closing(Database(in_use)) as database,
        pytest.raises(DBAPIError, match="append-only"),
        database.write() as connection,
    ):
        connection.execute(text("DELETE FROM ledger WHERE number = 2"))
    with open_store(in_use) as store:
        assert store.verify_ledger() == 2
