"""kill -9 at each call of an operator's order: the alias stands somewhere, and the ledger tells how it came there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import pytest

from faults.journal import read_journal
from faults.orders import MODEL, credentials, order
from faults.storm import Storm, storm
from integration.process_world import until
from integration.store_databases import Databases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(1800)]

ORDERS: tuple[str | None, ...] = ("1", None, "2")
"""Versions; None takes the alias away."""
ROUNDS, PATIENCE_SECONDS = 2, 60.0


def calls_of_orders(made: Storm, headers: Mapping[str, str]) -> list[str]:
    """The shapes of what they ask the registry of the model."""
    before = made.far.asked()
    assert [order(made, headers, version) for version in ORDERS] == [200] * len(ORDERS)
    return sorted({shape for shape in made.far.shapes(before) if "/prod.ml.m#" in shape})


def holds(made: Storm) -> str:
    """Where the alias stands in the registry."""
    lines = read_journal(made.folder / "journal.jsonl")
    return str([line["version"] for line in lines if line["what"] == "holds" and line["model"] == MODEL][-1])


def kill_in_an_order(made: Storm, headers: Mapping[str, str], place: tuple[str, bool]) -> None:
    """Kill it at such a call of an order, and start it again."""
    shape, after = place
    over = threading.Event()

    def keep_ordering() -> None:
        """What a killed service has begun holds the alias for a while, or has put it there already."""
        for version in cycle(ORDERS):
            if over.is_set():
                return
            order(made, headers, version)

    made.started[-1].wait_until_working()
    made.far.hold(shape, after=after)
    ordering = threading.Thread(target=keep_ordering)
    ordering.start()
    try:
        until(lambda: made.far.is_held(0.5), made.story, PATIENCE_SECONDS)
    finally:
        over.set()
        made.kill()
        made.far.let_go()
        ordering.join()
    made.start()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_an_order_is_killed_before_and_after_each_of_its_calls(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    databases: Databases = request.getfixturevalue(f"{database}_databases")
    with storm(tmp_path, "github", databases.migrated(), gates=1) as made:
        made.start()
        made.train()
        made.settle()
        headers = credentials(made)
        shapes = calls_of_orders(made, headers)
        places = [(shape, after) for shape in shapes for after in (False, True)] * ROUNDS
        for place in places:
            kill_in_an_order(made, headers, place)
        made.started[-1].wait_until_working()
        until(lambda: order(made, headers, "2") == 200, made.story, PATIENCE_SECONDS)
        made.settle()
        made.judge()
        assert made.figures.kills == len(places) > 4
        assert holds(made) == "2"
