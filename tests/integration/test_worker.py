"""Workers on their queue: every job runs in Huey's own threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from champion_gate.errors import LeaseLostError, NotFoundError
from champion_gate.work.queue import HueyWakeUps
from champion_gate.work.worker import Every, Jobs, Worker

PATIENCE = 20


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Work:
    """Jobs that note what they are called for and stop where they are told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.begun: list[str] = []
        self.obstacles: dict[str, threading.Event] = {}
        self.errors: dict[str, Exception] = {}

    def jobs(self) -> Jobs:
        return Jobs(*(self._job(kind) for kind in ("notification", "promotion", "step", "look")))

    def block(self, *row_ids: str) -> threading.Event:
        obstacle = threading.Event()
        self.obstacles.update(dict.fromkeys(row_ids, obstacle))
        return obstacle

    def _job(self, kind: str) -> Callable[[str], None]:
        def run(row_id: str) -> None:
            self.begun.append(row_id)
            if row_id in self.obstacles:
                self.obstacles[row_id].wait(PATIENCE)
            self.calls.append((kind, row_id))
            if row_id in self.errors:
                raise self.errors[row_id]

        return run

    def done(self, *row_ids: str) -> bool:
        return set(row_ids) <= {row_id for _, row_id in list(self.calls)}


@pytest.fixture
def wake_ups() -> HueyWakeUps:
    return HueyWakeUps()


@pytest.fixture
def work() -> Work:
    return Work()


Start = Callable[..., Worker]


@pytest.fixture
def start(wake_ups: HueyWakeUps, work: Work) -> Iterator[Start]:
    """Starts workers; a row's lane is what stands before the dash in its id."""
    workers = []

    def begin(*timers: Every, **options: Any) -> Worker:
        settings: dict[str, Any] = {
            "lane_of": lambda _, row_id: row_id.partition("-")[0],
            "lane_caps": {"databricks": 3},
            **options,
        }
        worker = Worker(wake_ups, work.jobs(), timers=timers, **settings)
        worker.start()
        workers.append(worker)
        return worker

    yield begin
    for obstacle in work.obstacles.values():
        obstacle.set()
    for worker in workers:
        assert worker.stop(PATIENCE)


def test_each_kind_of_wake_up_reaches_its_job(start: Start, wake_ups: HueyWakeUps, work: Work) -> None:
    start()
    wake_ups.notification("a-1")
    wake_ups.promotion("b-1")
    wake_ups.step("c-1")
    wake_ups.look("runs:churn")
    until(lambda: len(work.calls) == 4)
    assert set(work.calls) == {
        ("notification", "a-1"),
        ("promotion", "b-1"),
        ("step", "c-1"),
        ("look", "runs:churn"),
    }


def test_what_was_enqueued_before_the_start_is_done(start: Start, wake_ups: HueyWakeUps, work: Work) -> None:
    wake_ups.promotion("a-1")
    start()
    until(lambda: work.done("a-1"))


def test_messages_come_off_in_their_order(wake_ups: HueyWakeUps) -> None:
    for number in range(3):
        wake_ups.promotion(f"p{number}")
    assert wake_ups.backlog() == 3
    assert [wake_ups.queue.dequeue().args[1] for _ in range(3)] == ["p0", "p1", "p2"]


def test_a_wake_up_is_handed_over_quickly(start: Start, wake_ups: HueyWakeUps, work: Work) -> None:
    start()
    began = time.monotonic()
    wake_ups.promotion("a-1")
    until(lambda: work.done("a-1"))
    assert time.monotonic() - began < 2


def test_a_job_waits_for_what_is_more_urgent_but_not_for_ever(
    start: Start, wake_ups: HueyWakeUps, work: Work
) -> None:
    asked: list[int] = []

    def gives_way() -> bool:
        asked.append(len(work.begun))
        return True

    start(gives_way=gives_way)
    wake_ups.promotion("a-1")
    until(lambda: work.done("a-1"))
    assert len(asked) > 1
    assert set(asked) == {0}


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), LeaseLostError("another has it")])
def test_a_job_that_fails_stops_nothing(
    start: Start, wake_ups: HueyWakeUps, work: Work, error: Exception
) -> None:
    work.errors["a-1"] = error
    start(threads=1)
    for _ in range(3):
        wake_ups.promotion("a-1")
    wake_ups.promotion("a-2")
    until(lambda: work.done("a-2"))
    assert work.done("a-1")


def test_a_lane_that_hangs_keeps_its_own_threads_and_no_others(
    start: Start, wake_ups: HueyWakeUps, work: Work
) -> None:
    stuck = [f"github-{number}" for number in range(20)]
    obstacle = work.block(*stuck)
    start()
    for row_id in stuck:
        wake_ups.promotion(row_id)
    until(lambda: len(work.begun) == 2)
    wake_ups.promotion("other-1")
    wake_ups.notification("databricks-1")
    until(lambda: work.done("other-1", "databricks-1"))
    assert sum(row_id.startswith("github") for row_id in work.begun) == 2
    obstacle.set()
    until(lambda: work.done(*stuck))


def test_a_lane_may_have_a_cap_of_its_own(start: Start, wake_ups: HueyWakeUps, work: Work) -> None:
    stuck = [f"databricks-{number}" for number in range(6)]
    obstacle = work.block(*stuck)
    start()
    for row_id in stuck:
        wake_ups.notification(row_id)
    until(lambda: len(work.begun) == 3)
    wake_ups.promotion("other-1")
    until(lambda: work.done("other-1"))
    assert len(work.begun) == 4
    obstacle.set()
    until(lambda: work.done(*stuck))


def test_rows_that_wait_for_a_lane_are_not_enqueued_again(
    start: Start, wake_ups: HueyWakeUps, work: Work
) -> None:
    obstacle = work.block("github-1", "github-2")
    start()
    for row_id in ("github-1", "github-2"):
        wake_ups.promotion(row_id)
    until(lambda: len(work.begun) == 2)
    wake_ups.promotion("github-3")
    wake_ups.promotion("other-1")
    until(lambda: work.done("other-1") and wake_ups.backlog() == 0)
    for _ in range(5):
        wake_ups.promotion("github-3")
    assert wake_ups.backlog() == 0
    obstacle.set()
    until(lambda: work.done("github-3"))
    assert work.calls.count(("promotion", "github-3")) == 1


def test_a_row_is_worked_on_by_one_thread_and_once_more_if_it_was_woken_meanwhile(
    start: Start, wake_ups: HueyWakeUps, work: Work
) -> None:
    obstacle = work.block("a-1")
    start()
    wake_ups.promotion("a-1")
    until(lambda: work.begun == ["a-1"])
    for _ in range(10):
        wake_ups.promotion("a-1")
    until(lambda: wake_ups.backlog() == 0)
    wake_ups.promotion("b-1")
    until(lambda: work.done("b-1"))
    assert work.begun.count("a-1") == 1
    obstacle.set()
    until(lambda: work.calls.count(("promotion", "a-1")) == 2)


def test_a_row_whose_lane_cannot_be_told_stops_nothing(
    start: Start, wake_ups: HueyWakeUps, work: Work
) -> None:
    def lane_of(_: str, row_id: str) -> str:
        if row_id == "gone":
            raise LookupError(row_id)
        return "x"

    start(lane_of=lane_of, threads=1)
    wake_ups.promotion("gone")
    wake_ups.send("nonsense", "x")
    wake_ups.promotion("here")
    until(lambda: work.done("here"))
    assert work.calls == [("promotion", "here")]


def test_a_wake_up_for_what_is_done_already_is_no_error(
    start: Start, wake_ups: HueyWakeUps, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    def lane_of(_: str, row_id: str) -> str:
        if row_id == "done":
            raise NotFoundError("There is no step done.")
        return "x"

    start(lane_of=lane_of, threads=1)
    wake_ups.step("done")
    wake_ups.step("open")
    until(lambda: work.done("open"))
    assert caplog.records == []


def test_stopping_finishes_the_step_in_hand_and_begins_no_other(
    start: Start, wake_ups: HueyWakeUps, work: Work
) -> None:
    obstacle = work.block("a-1")
    worker = start(threads=1)
    wake_ups.promotion("a-1")
    until(lambda: work.begun == ["a-1"])
    wake_ups.promotion("a-2")
    ended: list[bool] = []
    stopping = threading.Thread(target=lambda: ended.append(worker.stop(PATIENCE)))
    stopping.start()
    stopping.join(0.2)
    assert stopping.is_alive()
    obstacle.set()
    stopping.join(PATIENCE)
    assert ended == [True]
    assert work.calls == [("promotion", "a-1")]
    assert wake_ups.backlog() == 1


def test_stopping_does_not_wait_for_ever(start: Start, wake_ups: HueyWakeUps, work: Work) -> None:
    work.block("a-1")
    worker = start()
    wake_ups.promotion("a-1")
    until(lambda: work.begun == ["a-1"])
    began = time.monotonic()
    assert worker.stop(0.2) is False
    assert time.monotonic() - began < 5


def test_a_worker_that_never_started_stops_at_once(wake_ups: HueyWakeUps, work: Work) -> None:
    idle = Worker(wake_ups, work.jobs(), lane_of=lambda _, __: "x", lane_caps={}, timers=())
    assert idle.stop(0)


def test_a_timer_runs_at_once_again_and_again_and_survives_errors(start: Start) -> None:
    runs: list[int] = []

    def sweep() -> None:
        runs.append(1)
        raise RuntimeError("the database is away")

    start(Every("sweep", 0.01, sweep))
    until(lambda: len(runs) >= 3)


def test_a_timer_may_go_on_until_what_is_in_hand_has_ended(
    start: Start, wake_ups: HueyWakeUps, work: Work
) -> None:
    runs: list[int] = []
    obstacle = work.block("a-1")
    worker = start(Every("heartbeat", 0.01, lambda: runs.append(1), until_the_end=True))
    wake_ups.promotion("a-1")
    until(lambda: "a-1" in work.begun)
    stopping = threading.Thread(target=lambda: worker.stop(PATIENCE))
    stopping.start()
    stopping.join(0.2)
    before = len(runs)
    until(lambda: len(runs) > before + 1)
    obstacle.set()
    stopping.join(PATIENCE)
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())


def test_a_timer_may_begin_late_and_hold_up_no_stop(start: Start) -> None:
    begun, hangs, runs = threading.Event(), threading.Event(), list[str]()

    def hang() -> None:
        begun.set()
        hangs.wait(PATIENCE)

    worker = start(
        Every("late", 0.01, lambda: runs.append("late"), after=PATIENCE),
        Every("hangs", 60, hang, is_awaited=False),
    )
    assert begun.wait(PATIENCE)
    assert worker.stop(PATIENCE)
    assert (hangs.is_set(), runs) == (False, [])
    hangs.set()


def test_a_timer_that_hangs_holds_up_no_other(start: Start, work: Work) -> None:
    obstacle, runs = work.block("timer"), []
    start(Every("slow", 60, lambda: obstacle.wait(PATIENCE)), Every("due rows", 0.01, lambda: runs.append(1)))
    until(lambda: len(runs) >= 3)
