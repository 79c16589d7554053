"""SIGTERM ends everything in a bounded time, and nothing outlives the service."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from champion_gate.domain.promotion import Phase
from champion_gate.store import open_store
from champion_gate_standins.databricks.server import Fault
from integration.process_world import ProcessWorld, port_of, process_world, refuses, until

pytestmark = pytest.mark.part("rest")

QUICK_SECONDS = 15.0
"""Generous: a second or two, and whatever the step in hand takes, which may be the import of the vendors' clients."""
STOP_SECONDS = 9.0
"""The eight that it may take, and the end of two processes; `docker stop` kills after ten."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    with process_world(tmp_path) as made:
        yield made


def log_is_empty(world: ProcessWorld) -> bool:
    log = world.folder / "gate.db-wal"
    return not log.exists() or log.stat().st_size == 0


def assert_nothing_is_left(world: ProcessWorld) -> None:
    assert [each for served in world.started for each in served.processes()] == []
    assert refuses(port_of(world.url))


@pytest.mark.parametrize("by", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.part("full"))])
def test_a_service_at_rest_ends_at_once(world: ProcessWorld, by: signal.Signals) -> None:
    world.forked = False
    served = world.serve()
    assert served.stop(by) < QUICK_SECONDS
    assert served.process.returncode == 0
    assert_nothing_is_left(world)


@pytest.mark.part("full")
def test_ctrl_c_ends_it_also_while_connections_come_in(world: ProcessWorld) -> None:
    """At a terminal both processes get the signal; the worker may be starting threads for the connections."""
    world.forked = False
    served = world.launch()
    until(lambda: "workers are running" in served.output(), served.output)
    workers = served.workers()
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(world.url)), timeout=10))
        for each in workers:
            each.send_signal(signal.SIGINT)
        assert served.stop(signal.SIGINT) < STOP_SECONDS
    assert_nothing_is_left(world)


def test_a_service_that_has_only_just_begun_ends_at_once(world: ProcessWorld) -> None:
    world.forked = False
    served = world.launch()
    until(lambda: "Booting worker" in served.output(), served.output)
    assert served.stop() < QUICK_SECONDS
    assert_nothing_is_left(world)


def test_the_step_in_hand_is_finished_and_leaves_a_database_that_is_whole_in_its_one_file(
    world: ProcessWorld,
) -> None:
    hang = threading.Event()
    hanging = world.databricks.faults.add(Fault("/aliases/", "PUT", hang=hang))
    served = world.serve()
    version = world.train()
    world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
    until(lambda: hanging.hits, world.story)
    served.process.send_signal(signal.SIGTERM)
    until(lambda: "Handling signal: term" in served.output(), served.output)
    hang.set()
    served.process.wait(QUICK_SECONDS)
    assert_nothing_is_left(world)
    assert log_is_empty(world)
    alone = world.folder / "alone.db"
    alone.write_bytes((world.folder / "gate.db").read_bytes())
    world.wait_for(Phase.PROMOTED, version, 1)
    assert world.alias_writes() == [int(version)]
    with open_store(f"sqlite:///{alone}") as store:
        assert store.verify_ledger() == len(world.ledger())


def test_who_reads_the_database_does_not_keep_the_service_from_ending(world: ProcessWorld) -> None:
    served = world.serve()
    with closing(sqlite3.connect(world.folder / "gate.db")) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM promotions").fetchone()
        world.train()
        world.wait_for(Phase.PENDING_APPROVAL)
        assert served.stop() < STOP_SECONDS
    assert_nothing_is_left(world)


def test_a_step_that_hangs_keeps_the_service_no_longer_than_is_set(world: ProcessWorld) -> None:
    """Its call would go on for another half minute; the row's lease and the sweep take care of it."""
    hanging = world.github.faults.add(".", hang=120, drop=True)
    served = world.serve(CHAMPION_GATE_STOP_SECONDS="3")
    world.train()
    until(lambda: hanging.hits, world.story)
    assert served.stop() < 4.5
    assert_nothing_is_left(world)
    assert log_is_empty(world)
    (waiting,) = (line for line in world.log_lines() if "waiting for steps in hand" in line["message"])
    assert waiting["kind"].startswith("promotion ")
    (left,) = (line for line in world.log_lines() if "in the middle of a step" in line["message"])
    assert left["kind"] == waiting["kind"]


def test_requests_that_hang_do_not_keep_the_service_from_ending(world: ProcessWorld) -> None:
    served = world.serve()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", port_of(world.url)), timeout=10)
            )
            client.sendall(b"POST /hooks/databricks HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{")
        assert requests.get(f"{world.url}/livez", timeout=10).ok
        assert served.stop() < STOP_SECONDS
    assert "open connections" in served.output()
    assert_nothing_is_left(world)


def test_the_worker_ends_by_itself_when_its_master_is_killed(world: ProcessWorld) -> None:
    served = world.serve()
    assert served.workers()
    served.process.kill()
    served.process.wait()
    begun = time.monotonic()
    until(lambda: not served.workers(), served.output)
    assert time.monotonic() - begun < QUICK_SECONDS
    assert_nothing_is_left(world)


@pytest.mark.part("full")
def test_the_next_service_works_when_only_the_master_was_killed(world: ProcessWorld) -> None:
    """The orphaned worker holds the port and the lock on the database for a moment."""
    served = world.serve()
    served.workers()
    served.process.kill()
    served.process.wait()
    version = world.train(notify=False)
    world.serve(CHAMPION_GATE_SWEEP_SECONDS="1")
    world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
    world.wait_for(Phase.PROMOTED, version)


def test_an_orphan_gives_the_port_back_at_once_whatever_it_waits_for(world: ProcessWorld) -> None:
    hanging = world.github.faults.add(".", hang=120, drop=True)
    served = world.serve()
    served.workers()
    world.train()
    until(lambda: hanging.hits, world.story)
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", port_of(world.url)), timeout=10)
            )
            client.sendall(b"POST /hooks/databricks HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{")
        served.process.kill()
        served.process.wait()
        begun = time.monotonic()
        world.launch().wait_until_alive()
        assert time.monotonic() - begun < QUICK_SECONDS
        world.started[-1].wait_until_working()  # it holds the lock on the database, too


def test_a_killed_worker_is_replaced(world: ProcessWorld) -> None:
    served = world.serve()
    (worker,) = served.workers()
    worker.kill()
    until(lambda: [each.pid for each in served.workers()] not in ([], [worker.pid]), served.output)
    until(served.answers, served.output)
    version = world.train()
    world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
    world.wait_for(Phase.PROMOTED, version)
