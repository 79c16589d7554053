"""kill -9 of the real process at each call that does something around a promotion: it is done, and done once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from champion_gate_standins.databricks.server import Fault
from integration.process_world import process_world, until
from integration.whole_way import CHALLENGER, whole_way

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Call:
    """One of the calls of the way.

    Attributes:
        skip: how many calls like it pass before.
    """

    name: str
    path: str
    method: str
    skip: int = 0

    def __str__(self) -> str:
        return self.name


CALLS = [
    Call("validation", "/jobs/run-now$", "POST"),
    Call("challenger", f"/aliases/{CHALLENGER}$", "PUT"),
    Call("copy", "/jobs/run-now$", "POST", skip=1),
    Call("alias", "/aliases/Champion$", "PUT"),
    Call("challenger's removal", f"/aliases/{CHALLENGER}$", "DELETE"),
    Call("batch", "/jobs/run-now$", "POST", skip=2),
    Call("endpoint", "/config$", "PUT"),
]
IN_CI = {("copy", True), ("endpoint", False)}


@pytest.mark.parametrize(
    ("call", "reaches"),
    [
        pytest.param(call, reaches, marks=[pytest.mark.part("rest")] if (call.name, reaches) in IN_CI else [])
        for call in CALLS
        for reaches in (False, True)
    ],
    ids=str,
)
def test_killed_while_a_call_is_on_its_way(tmp_path: Path, call: Call, *, reaches: bool) -> None:
    """It is lost, or it is carried out and nobody is there to hear of it."""
    with process_world(tmp_path) as world:
        way = whole_way(world)
        hang = threading.Event()
        fault = world.databricks.faults.add(
            Fault(call.path, call.method, skip=call.skip, hang=hang, drop=not reaches, times=1)
        )
        served = world.serve()
        world.train()
        way.approve_until(lambda: fault.hits)
        before = way.done()
        served.kill()
        hang.set()
        if reaches:
            until(lambda: way.done() > before, "what had been sent was not carried out")
        world.serve()
        way.assert_all_done_once()


@pytest.mark.parametrize(
    ("call", "look"), [(CALLS[0], "/jobs/runs/get$"), (CALLS[-1], "/serving-endpoints/[^/]+$")], ids=str
)
def test_killed_while_it_looks_what_a_call_has_come_to(tmp_path: Path, call: Call, look: str) -> None:
    """The call was answered, and what it has begun may have ended meanwhile."""
    with process_world(tmp_path) as world:
        way = whole_way(world)
        hang = threading.Event()
        fault = world.databricks.faults.add(Fault(call.path, call.method, hang=hang, times=1))
        served = world.serve()
        world.train()
        way.approve_until(lambda: fault.hits)
        hanging = world.databricks.faults.add(Fault(look, "GET", hang=threading.Event(), drop=True))
        hang.set()
        until(lambda: hanging.hits, way.story)
        served.kill()
        world.databricks.faults.clear()
        world.serve()
        way.assert_all_done_once()
