"""`champion-gate tokens` as people and scripts run it, on a database and nothing else, and what a service makes of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from champion_gate.domain.callers import Role
from champion_gate.flow.api_tokens import ApiTokens, api_caller
from champion_gate.store import open_store
from champion_gate.web.auth import Access, Auth, caller, enforce, guarded
from champion_gate_standins.common.server import serve
from integration.commands import run_command
from integration.gate_world import CountingChance, MovableClock
from integration.store_databases import path_of, sqlite_store

TEXT = re.compile(r"cgate_[a-z0-9]{16}_[a-z0-9]{64}\n")


@dataclass
class Shell:
    """A terminal in which the database's address is set and no secret is."""

    database: Path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        environ = {"CHAMPION_GATE_DATABASE_URL": f"sqlite:///{self.database}", **environ}
        return run_command("tokens", *arguments, environ=environ, folder=self.database.parent)

    def create(self, name: str, *arguments: str, role: str = "viewer") -> str:
        done = self.run("create", "--name", name, "--role", role, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def list(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.run("list", "--json").stdout)
        return listed


@pytest.fixture
def shell() -> Iterator[Shell]:
    with sqlite_store() as (url, _):
        yield Shell(path_of(url))


def test_a_token_is_printed_alone_once_and_works_until_it_is_revoked(shell: Shell) -> None:
    @guarded(Auth.BEARER, role=Role.OPERATOR)
    def view() -> str:
        return caller().actor

    done = shell.run("create", "--name", "ci-bot", "--role", "operator")
    assert TEXT.fullmatch(done.stdout)
    assert "ci-bot" in done.stderr
    assert "only time" in done.stderr
    text = done.stdout.strip()
    assert text not in done.stderr
    (token,) = shell.list()
    table = shell.run("list").stdout
    for shown in (table, json.dumps(token)):
        assert text.rpartition("_")[2] not in shown
        assert "sha256" not in shown
    assert re.search(r"ID +NAME +ROLE +STATE +EXPIRES +LAST USED", table)
    assert (token["name"], token["role"], token["state"], token["last_used_at"]) == (
        "ci-bot",
        "operator",
        "active",
        None,
    )

    app = Flask("test", static_folder=None)
    app.add_url_rule("/", view_func=view)
    with open_store(f"sqlite:///{shell.database}") as store:
        tokens = ApiTokens(store, MovableClock(), CountingChance())
        enforce(app, Access(authenticate=api_caller(tokens)))
        with serve(app) as url:
            headers = {"Authorization": f"Bearer {text}"}
            assert requests.get(url, headers=headers, timeout=30).text == "ci-bot"
            revoked = shell.run("revoke", "ci-bot")
            assert revoked.stdout == f"Token {token['id']} of ci-bot admits nobody any more.\n"
            assert requests.get(url, headers=headers, timeout=30).status_code == 401
    (token,) = shell.list()
    assert token["state"] == "revoked"
    assert token["last_used_at"] is not None


@pytest.mark.parametrize(
    ("expires", "within"),
    [((), timedelta(days=90)), (("--expires", "12h"), timedelta(hours=12)), (("--expires", "never"), None)],
)
def test_it_ends_when_it_is_told(shell: Shell, expires: tuple[str, ...], within: timedelta | None) -> None:
    made = json.loads(shell.create("x", "--json", *expires))
    assert set(made) == {"id", "name", "role", "expires_at", "token"}
    assert TEXT.fullmatch(made["token"] + "\n")
    if within is None:
        assert made["expires_at"] is None
    else:
        left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
        assert within - timedelta(minutes=2) < left <= within


@pytest.mark.parametrize(
    ("date", "ends"),
    [
        ("2099-12-31", "2099-12-31T00:00:00.000Z"),
        ("2099-12-31T18:00+02:00", "2099-12-31T16:00:00.000Z"),
        ("2099-12-31T18:00:30Z", "2099-12-31T18:00:30.000Z"),
    ],
)
def test_a_date_is_utc(shell: Shell, date: str, ends: str) -> None:
    assert json.loads(shell.create("x", "--json", "--expires", date))["expires_at"] == ends


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--name", "x", "--role", "viewer", "--expires", "soon"), 2, "none of 12h, 90d"),
        (("--name", "x", "--role", "viewer", "--expires", "0d"), 2, "none of 12h, 90d"),
        (("--name", "x", "--role", "viewer", "--expires", "-1d"), 2, "none of 12h, 90d"),
        (("--name", "x", "--role", "viewer", "--expires", "0001-01-01T00:00+14:00"), 2, "none of 12h, 90d"),
        (("--name", "x", "--role", "viewer", "--expires", "2020-01-01"), 1, "expired already"),
        (("--name", "x", "--role", "root"), 2, "root"),
        (("--role", "viewer"), 2, "--name"),
        (("--name", "x"), 2, "--role"),
        (("--name", "\x1b[2J", "--role", "viewer"), 1, "cannot be a token's name"),
        (("--name", "champion-gate", "--role", "viewer"), 1, "must not look like"),
    ],
)
def test_what_makes_no_token_says_why_and_prints_nothing_on_standard_output(
    shell: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = shell.run("create", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert shell.list() == []


def test_a_name_that_is_borne_already_and_a_token_that_is_not_there(shell: Shell) -> None:
    shell.create("ci-bot")
    again = shell.run("create", "--name", "ci-bot", "--role", "operator")
    assert (again.returncode, again.stdout) == (1, "")
    assert "named ci-bot already" in again.stderr
    absent = shell.run("revoke", "nobody")
    assert (absent.returncode, absent.stdout) == (1, "")
    assert "no such token" in absent.stderr


def test_a_database_that_is_not_there_is_told(shell: Shell) -> None:
    shell.database.unlink()
    done = shell.run("create", "--name", "x", "--role", "viewer")
    assert (done.returncode, done.stdout) == (2, "")
    assert "champion-gate migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_a_service_is_named_it_says_that_it_works_on_the_local_database(shell: Shell) -> None:
    shell.create("ci-bot")
    for arguments in (
        ("list",),
        ("create", "--name", "x", "--role", "viewer"),
        ("revoke", "ci-bot"),
    ):
        done = shell.run(*arguments, CHAMPION_GATE_API_URL="https://gate.example.com")
        assert done.returncode == 0, done.stderr
        told = done.stderr.splitlines()[0]
        assert f"the local database sqlite:///{shell.database}, not on CHAMPION_GATE_API_URL" in told
        assert "local database" not in done.stdout
    assert shell.run("list").stderr == ""


def test_revoking_tells_programs_what_the_token_is_now(shell: Shell) -> None:
    made = json.loads(shell.create("ci-bot", "--json"))
    done = shell.run("revoke", "ci-bot", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    revoked = json.loads(done.stdout)
    assert (revoked["id"], revoked["name"], revoked["state"]) == (made["id"], "ci-bot", "revoked")
    assert shell.list() == [revoked]
