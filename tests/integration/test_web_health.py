"""`/livez` and `/readyz` over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from flask import Flask

from champion_gate.errors import (
    ConfigurationError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate.store import open_store
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate.web.health import Check, Health
from champion_gate.work.queue import HueyWakeUps
from champion_gate_standins.common.server import serve

NOW = datetime(2025, 1, 31, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class World:
    def __init__(self, url: str, clock: Clock) -> None:
        self.url, self.clock = url, clock

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=20)


Start = Callable[..., World]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Serves an app with these checks; no route here reads the database."""
    url = f"sqlite:///{tmp_path / 'gate.db'}"
    open_servers = []
    with open_store(url) as store:

        def begin(*checks: Check) -> World:
            clock = Clock()
            app = create_app(store=store, wake_ups=HueyWakeUps(), clock=clock, access=Access(), checks=checks)
            server = serve(app)
            open_servers.append(server)
            return World(server.__enter__(), clock)

        yield begin
        for server in open_servers:
            server.__exit__(None, None, None)


def test_alive_and_ready_need_no_credentials(start: Start) -> None:
    world = start(Check("database", lambda: None, ""))
    assert world.get("/livez").json() == {"status": "alive"}
    assert world.get("/readyz").json() == {"status": "ready", "checks": ["database"], "vendors": []}


def fails_with(error: Exception) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    "error", [VendorUnavailableError("GitHub", "said ghs_secret"), OSError("ghs_secret")]
)
def test_not_ready_names_what_failed_and_what_to_do_but_no_secret(start: Start, error: Exception) -> None:
    world = start(
        Check("database", lambda: None, ""), Check("github", fails_with(error), "Check the App's key.")
    )
    answer = world.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["failed"] == [{"check": "github", "hint": "Check the App's key."}]
    assert "ghs_secret" not in answer.text


@pytest.mark.parametrize(
    ("error", "state", "hint"),
    [
        (VendorUnavailableError("GitHub", "ghs_secret"), "unreachable", "may this machine reach it"),
        (VendorRefusedError("GitHub", "ghs_secret", hint="ghs_secret"), "refused", "Check the App's key."),
        (
            VendorNotFoundError("GitHub", "ghs_secret"),
            "misconfigured",
            "Check the App's key. The service's log",
        ),
        (ConfigurationError(["ghs_secret"]), "misconfigured", "The service's log"),
        (OSError("ghs_secret"), "misconfigured", "The service's log"),
    ],
)
def test_a_vendor_that_is_away_does_not_make_it_unready(
    start: Start, error: Exception, state: str, hint: str
) -> None:
    world = start(
        Check("database", lambda: None, ""),
        Check("github", fails_with(error), "Check the App's key.", is_vendor=True),
        Check("registry", lambda: None, "", is_vendor=True),
    )
    answer = world.get("/readyz")
    github, registry = answer.json()["vendors"]
    assert (answer.status_code, github["vendor"], github["state"]) == (200, "github", state)
    assert hint in github["hint"]
    assert registry == {"vendor": "registry", "state": "answers"}
    assert "ghs_secret" not in answer.text


def test_a_vendor_that_hangs_keeps_nobody_waiting() -> None:
    let_go, clock = threading.Event(), Clock()
    checks = [Check("github", lambda: let_go.wait(60), "", is_vendor=True)]
    app = Flask("health")
    app.add_url_rule("/readyz", view_func=Health(checks, clock, bound=timedelta(seconds=1.5)).readyz)
    states = []
    while "unreachable" not in states:
        begun = time.monotonic()
        answer = app.test_client().get("/readyz")
        assert (answer.status_code, time.monotonic() - begun < 2.5) == (200, True)
        states.append(answer.get_json()["vendors"][0]["state"])
        clock.time += timedelta(seconds=6)
    let_go.set()
    assert set(states[:-1]) == {"unknown"}


def test_a_report_is_given_out_again_for_a_while(start: Start) -> None:
    runs: list[int] = []
    world = start(Check("github", lambda: runs.append(1), ""))
    for _ in range(5):
        assert world.get("/readyz").status_code == 200
    assert len(runs) == 1
    world.clock.time += timedelta(seconds=6)
    world.get("/readyz")
    assert len(runs) == 2


def test_a_check_that_hangs_holds_up_nobody_else() -> None:
    let_go, begun = threading.Event(), []

    def hang() -> None:
        begun.append(1)
        let_go.wait(60)

    clock = Clock()
    checks = [Check("github", hang, "Look."), Check("database", lambda: None, "")]
    app = Flask("health")
    app.add_url_rule("/readyz", view_func=Health(checks, clock, bound=timedelta(milliseconds=100)).readyz)
    client = app.test_client()
    for _ in range(3):
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert [each["check"] for each in answer.get_json()["failed"]] == ["github"]
        clock.time += timedelta(seconds=6)
    assert len(begun) == 1
    let_go.set()


def test_those_who_come_during_the_first_checks_do_not_wait(start: Start) -> None:
    let_go, begun = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        let_go.wait(60)

    world = start(Check("github", slow, ""))
    answers: list[requests.Response] = []
    first = threading.Thread(target=lambda: answers.append(world.get("/readyz")))
    first.start()
    assert begun.wait(10)
    assert world.get("/readyz").status_code == 503
    assert world.get("/livez").status_code == 200
    let_go.set()
    first.join()
    assert answers[0].status_code == 200
