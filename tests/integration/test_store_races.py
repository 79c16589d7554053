"""Several workers at once, in threads and in processes: every row has one holder and the chain one end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest

from champion_gate.domain.canonical import utc_text
from champion_gate.store import Store
from integration.store_samples import (
    KEY,
    LEASE,
    T0,
    after,
    append_ledger,
    entry,
    notification,
    promotion,
)

pytest_plugins = ("integration.store_fixtures",)

T = TypeVar("T")

_PROCESS = """
import sys
from datetime import datetime
from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.store import open_store
from integration.store_samples import append_ledger

url, time, name = sys.argv[1:]
at = datetime.fromisoformat(time)
key = AliasKey("databricks-uc", "main.ml.churn", "Champion")
line = LedgerEntry(LedgerKind.HOLD, key.registry, key.model, key.alias, name, "race", at)
won = []
with open_store(url) as store:
    store.check()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(20):
        if store.take_promotion(f"p-{number}", at, 60) is not None:
            won.append(f"p-{number}")
        append_ledger(store, [line])
        lock = store.lock_alias(key, at, 60)
        if lock is not None:
            won.append(f"fence-{lock.fence}")
            store.unlock_alias(lock)
print(" ".join(won))
"""


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """Run it in so many threads that start together."""
    start = Barrier(count)

    def run(number: int) -> T:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_many_threads_one_takes_a_row(store: Store) -> None:
    store.create_promotion(promotion())
    row = store.record_notification("hook", notification(), T0)
    for take in (
        lambda _: store.take_promotion("p-1", T0, LEASE),
        lambda _: store.take_notification(row, T0, LEASE),
        lambda _: store.lock_alias(KEY, T0, LEASE),
    ):
        assert sum(found is not None for found in at_once(8, take)) == 1


def test_of_many_threads_one_takes_over_a_dead_workers_row(store: Store) -> None:
    store.create_promotion(promotion())
    assert store.take_promotion("p-1", T0, LEASE) is not None
    found = at_once(8, lambda _: store.take_promotion("p-1", after(LEASE), LEASE))
    assert sum(taken is not None for taken in found) == 1


def test_of_many_threads_one_opens_a_promotion(store: Store) -> None:
    made = at_once(8, lambda number: store.create_promotion(promotion(f"p-{number}")))
    assert sum(found is not None for found in made) == 1
    assert len(store.open_promotions(KEY)) == 1


def test_hints_from_many_threads_are_all_counted(store: Store) -> None:
    store.create_promotion(promotion())
    at_once(8, lambda _: store.hint_promotion("p-1", T0))
    assert store.get_promotion("p-1").hints == 8


def test_appends_from_many_threads_never_fork_the_chain(store: Store) -> None:
    def append(number: int) -> None:
        for _ in range(10):
            append_ledger(store, [entry(str(number)), entry("")])

    at_once(8, append)
    assert store.verify_ledger() == 160
    lines = store.ledger_lines()
    assert Counter(line.entry.reason for line in lines)[""] == 80
    following = zip(lines[::-1][::2], lines[::-1][1::2], strict=True)
    assert all(pair[0].entry.reason and not pair[1].entry.reason for pair in following), "a pair was split"


def test_a_thousand_posts_over_fifty_threads_are_counted_in_a_few_seconds(store: Store) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        rows = set(pool.map(lambda _: store.record_notification("hook", notification(), T0), range(1000)))
    assert store.get_notification(rows.pop()).count == 1000
    assert not rows
    assert time.monotonic() - began < 30, "generous, for a machine that does other things too"


def test_readers_are_not_held_up_by_writers(store: Store) -> None:
    def work(number: int) -> int:
        for step in range(20):
            if number % 2:
                append_ledger(store, [entry(str(step))])
            else:
                assert store.verify_ledger() >= 0
                store.due(T0)
        return number

    at_once(12, work)
    assert store.verify_ledger() == 120


@pytest.mark.part("rest", "sqlite")
def test_two_processes_never_hold_the_same_row_nor_fork_the_chain(store: Store, database_url: str) -> None:
    for number in range(20):
        store.create_promotion(promotion(f"p-{number}", number + 1))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, database_url, utc_text(T0), f"process {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            text=True,
        )
        for number in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        won = [name for process in processes for name in process.communicate(timeout=60)[0].split()]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    assert len(won) == len(set(won)), "a row or a fence was given twice"
    assert {name for name in won if name.startswith("p-")} == {f"p-{number}" for number in range(20)}
    assert store.verify_ledger() == 40
    assert Counter(line.entry.actor for line in store.ledger_lines()) == {"process 0": 20, "process 1": 20}
