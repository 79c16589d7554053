"""Lanes, whatever the order in which jobs come and go."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from champion_gate.work.worker import Lanes

JOBS = [("promotion", name) for name in "abcd"]


class LanesInAnyOrder(RuleBasedStateMachine):
    """Whatever comes and goes: no lane over its cap, no job twice at once, and no wake-up lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes({"wide": 2}, default_cap=1)
        self.running: dict[tuple[str, str], str] = {}
        self.owed: set[tuple[str, str]] = set()
        self.queue: list[tuple[str, str]] = []

    @rule(job=st.sampled_from(JOBS))
    def wake(self, job: tuple[str, str]) -> None:
        self.owed.add(job)
        self.queue.append(job)

    @precondition(lambda self: self.queue)
    @rule(lane=st.sampled_from(["wide", "narrow"]))
    def take(self, lane: str) -> None:
        job = self.queue.pop(0)
        if self.lanes.enter(lane, job):
            assert job not in self.running
            self.running[job] = lane
            self.owed.discard(job)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.extend(self.lanes.leave(self.running.pop(job), job))

    @invariant()
    def no_lane_is_over_its_cap(self) -> None:
        lanes = list(self.running.values())
        assert lanes.count("wide") <= 2
        assert lanes.count("narrow") <= 1

    def teardown(self) -> None:
        while self.queue or self.running:
            if self.queue:
                self.take("narrow")
            else:
                job = next(iter(self.running))
                self.queue.extend(self.lanes.leave(self.running.pop(job), job))
        assert self.owed == set()


TestLanesInAnyOrder = LanesInAnyOrder.TestCase


def looks(number: int) -> list[tuple[str, str]]:
    return [("look", f"runs:{each}") for each in range(number)]


def test_a_row_waits_for_one_look_and_not_for_a_whole_sweep() -> None:
    lanes = Lanes({}, default_cap=1)
    first, *others = looks(3)
    assert lanes.enter("databricks", first)
    assert not any(lanes.enter("databricks", each) for each in (*others, JOBS[0]))
    assert lanes.leave("databricks", first) == (JOBS[0],)


def test_rows_that_keep_coming_leave_every_other_place_to_a_sweep() -> None:
    lanes = Lanes({}, default_cap=1)
    assert lanes.enter("databricks", JOBS[0])
    assert not any(lanes.enter("databricks", each) for each in (*JOBS[1:], *looks(2)))
    order = [JOBS[0]]
    while ready := lanes.leave("databricks", order[-1]):
        order += ready
        assert lanes.enter("databricks", order[-1])
    assert [kind for kind, _ in order] == ["promotion", "look"] * 2 + ["promotion"] * 2
