"""The ledger's head where it lives outside the database: in `/readyz` and in the log."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from flask import Flask

from champion_gate.domain.ledger.chain import GENESIS, LedgerHead
from champion_gate.errors import StoreUnavailableError
from champion_gate.flow.sweep import log_ledger_head
from champion_gate.store import Store, open_store
from champion_gate.web.health import Check, Health
from champion_gate_standins.common.server import serve
from integration.store_databases import SqliteDatabases
from integration.store_samples import append_ledger, entry


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2025, 1, 31, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(SqliteDatabases(tmp_path).migrated()) as opened:
        yield opened


def fail() -> None:
    raise StoreUnavailableError("The disk is full.")


def app_of(head: Callable[[], LedgerHead], clock: Clock, *checks: Check) -> Flask:
    app = Flask("head")
    health = Health(checks, clock, ledger_head=head, bound=timedelta(milliseconds=500))
    app.add_url_rule("/readyz", view_func=health.readyz)
    return app


def test_readyz_shows_the_head_as_it_moves_on(store: Store) -> None:
    clock = Clock()
    with serve(app_of(store.ledger_head, clock, Check("database", store.check, ""))) as url:
        answer = requests.get(f"{url}/readyz", timeout=20)
        assert answer.json() == {
            "status": "ready",
            "checks": ["database"],
            "vendors": [],
            "ledger": {"number": 0, "hash": GENESIS},
        }
        append_ledger(store, [entry()])
        clock.time += timedelta(seconds=6)
        head = store.ledger_head()
        shown = requests.get(f"{url}/readyz", timeout=20).json()["ledger"]
        assert shown == {"number": 1, "hash": head.hash}


def test_readyz_shows_the_head_while_something_else_fails(store: Store) -> None:
    with serve(app_of(store.ledger_head, Clock(), Check("github", fail, "Look."))) as url:
        answer = requests.get(f"{url}/readyz", timeout=20)
    assert answer.status_code == 503
    assert answer.json()["ledger"] == {"number": 0, "hash": GENESIS}
    assert [each["check"] for each in answer.json()["failed"]] == ["github"]


def test_readyz_leaves_out_a_head_that_cannot_be_read() -> None:
    def no_head() -> LedgerHead:
        raise StoreUnavailableError("The disk is full.")

    with serve(app_of(no_head, Clock(), Check("database", fail, "Look."))) as url:
        answer = requests.get(f"{url}/readyz", timeout=20)
    assert answer.status_code == 503
    assert "ledger" not in answer.json()
    assert [each["check"] for each in answer.json()["failed"]] == ["database"]


def test_a_head_that_hangs_makes_nobody_wait_for_ever() -> None:
    let_go = threading.Event()

    def hang() -> LedgerHead:
        let_go.wait(60)
        return LedgerHead(1, "a" * 64)

    with serve(app_of(hang, Clock(), Check("database", lambda: None, ""))) as url:
        answer = requests.get(f"{url}/readyz", timeout=20)
        assert answer.json() == {"status": "ready", "checks": ["database"], "vendors": []}
    let_go.set()


def test_the_log_holds_the_head_in_fields_of_its_own_and_in_words(store: Store, logged: io.StringIO) -> None:
    append_ledger(store, [entry(), entry()])
    log_ledger_head(store)
    (line,) = [json.loads(text) for text in logged.getvalue().splitlines()]
    head = store.ledger_head()
    assert (line["number"], line["hash"]) == (2, head.hash)
    assert line["message"] == f"the ledger ends with line 2, hash {head.hash}"
