"""What each answer of Databricks comes to: what the promotion says, and that the alias does not move where it must not.

One gate with a validation, a copy to production, a batch job and an endpoint, asked about one version after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import StepKind
from champion_gate_standins.databricks.serving import Serving
from integration.test_copies import PROD, Copying, copying

pytestmark = pytest.mark.spread(2)

ENDPOINT = "churn-prod"
PARAMETERS = dict.fromkeys(("model_name", "model_version"), "")
VALIDATE, COPY, BATCH, SERVE = StepKind.VALIDATE, StepKind.COPY, StepKind.JOB, StepKind.ENDPOINT


@dataclass
class Everything:
    """The gate, and its jobs by what they are for."""

    copying: Copying
    jobs: dict[StepKind, str]

    @property
    def serving(self) -> Serving:
        return self.copying.world.databricks.serving

    def begin(self) -> None:
        """All goes well from now on."""
        self.serving.failure, self.serving.cancels, self.serving.is_ready = "", False, True
        self.copying.copier.made = {}
        self.course(VALIDATE)
        self.course(BATCH)
        self.copying.course(seconds=0.0)
        batch = {"job": int(self.jobs[BATCH])}
        self.copying.configure(
            validation={"job": int(self.jobs[VALIDATE])},
            after=[batch, {"serving_endpoint": ENDPOINT, "timeout": "20m"}],
        )

    def course(self, of: StepKind, **course: Any) -> None:
        if of is COPY:
            self.copying.course(**{"seconds": 0.0, **course})
        else:
            self.copying.starts.set_course(self.jobs[of], **course)

    def train(self, *, approve: bool = True, **time: float) -> Promotion:
        """A version asks, people approve it where they are asked, and time passes."""
        world = self.copying.world
        version = world.train()
        world.settle()
        (promotion,) = (each for each in world.promotions() if each.version.version == version)
        if world.again(promotion).phase is Phase.PENDING_APPROVAL and approve:
            world.approve(promotion)
            world.look()
        world.live(**time)
        return promotion

    def told(self, promotion: Promotion) -> str:
        """What the promotion and all its steps say."""
        steps = self.copying.world.store.steps_of(promotion.id)
        said = [text for step in steps for text in (step.reason, step.retry.last_error)]
        return " ".join(filter(None, [self.copying.world.again(promotion).reason, *said]))

    def end(self) -> None:
        """Leave nothing open behind."""
        world = self.copying.world
        world.databricks.faults.clear()
        for promotion in world.promotions():
            if promotion.phase.is_open:
                world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="the next row")
        self.begin()
        world.live(minutes=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    folder: Path = tmp_path_factory.mktemp("gate")
    with copying(folder) as gate:
        add = gate.world.databricks.jobs.add_job
        jobs = {VALIDATE: add("validate", parameters=PARAMETERS), BATCH: add("batch", parameters=PARAMETERS)}
        entity = {"name": "champion", "entity_name": PROD, "entity_version": "1"}
        gate.world.databricks.serving.add_endpoint(ENDPOINT, [entity])
        yield Everything(gate, {**jobs, COPY: gate.job})


@pytest.fixture
def gate(made: Everything) -> Iterator[Everything]:
    made.begin()
    yield made
    made.end()


Wrong = Callable[[Everything], object]


@dataclass(frozen=True)
class Row:
    """An answer, where the promotion then stands and what it says; the alias moves only where it is promoted."""

    name: str
    wrong: Wrong
    phase: Phase
    told: str

    def __str__(self) -> str:
        return self.name


def ends(of: StepKind, code: str) -> Wrong:
    return lambda gate: gate.course(of, code=code, tasks={"main": code})


def refused(path: str, status: int, error_code: str) -> Wrong:
    return lambda gate: gate.copying.world.break_databricks(path, status=status, error_code=error_code)


def said(*passed: bool, auc: tuple[float, ...] = (0.9, 0.9)) -> Wrong:
    """What two tasks of the validation hand back."""
    outputs = {
        f"task{number}": {"champion_gate_validation": {"passed": each, "metrics": {"auc": auc[number]}}}
        for number, each in enumerate(passed)
    }
    return lambda gate: gate.course(
        VALIDATE, tasks=dict.fromkeys(outputs, "SUCCESS"), said=lambda _given: outputs
    )


def copied(**course: Any) -> Wrong:
    return lambda gate: gate.course(COPY, **course)


def twice(gate: Everything) -> None:
    """Two tasks of the copying run say that they copied."""
    tasks = ("main", "again")
    gate.course(
        COPY,
        tasks=dict.fromkeys(tasks, "SUCCESS"),
        said=lambda given: dict.fromkeys(tasks, gate.copying.said(given)["main"]),
    )


def serves(**how: object) -> Wrong:
    def change(gate: Everything) -> None:
        for name, value in how.items():
            setattr(gate.serving, name, value)

    return change


WAITS, NO, COPYING, FAILED, DONE = (
    Phase.VALIDATING,
    Phase.INELIGIBLE,
    Phase.COPYING,
    Phase.FAILED,
    Phase.PROMOTED,
)
_MAY_NOT_RUN = "Starting and cancelling runs needs the permission CAN MANAGE RUN on the job"
_QUICK = [
    Row("validation: two tasks disagree", said(True, False), NO, "its output says passed: false"),
    Row("copy: its output was cut", copied(truncated=True), FAILED, "was cut"),
    Row("endpoint: update cancelled", serves(cancels=True), DONE, "The update was cancelled"),
]
_REST = [
    Row("validation: cancelled", ends(VALIDATE, "CANCELED"), WAITS, "could not run: CANCELED"),
    Row("validation: may not run", refused("run-now", 403, "PERMISSION_DENIED"), WAITS, _MAY_NOT_RUN),
    Row(
        "validation: numbers disagree",
        said(True, True, auc=(0.9, 0.8)),
        NO,
        "contradicts itself: auc is 0.9 and 0.8",
    ),
    Row(
        "copy: failed registration",
        lambda gate: setattr(gate.copying.copier, "made", {"status": "FAILED_REGISTRATION"}),
        FAILED,
        "is failed, not ready",
    ),
    Row("copy: no output", copied(said=lambda _given: {}), FAILED, "says nothing of it"),
    Row("copy: two tasks", twice, FAILED, "says it in 2 tasks"),
    Row("endpoint: never ready", serves(is_ready=False), DONE, "Not there within its time-out (not_ready)"),
    Row(
        "endpoint: may not update",
        refused("/config$", 403, "PERMISSION_DENIED"),
        DONE,
        "Moving an endpoint needs the permission CAN MANAGE",
    ),
]
_GONE = refused("run-now", 404, "RESOURCE_DOES_NOT_EXIST")
_ENDPOINTS = f"/serving-endpoints/{ENDPOINT}$"
_FULL = [
    *(
        Row(f"{of.value}: {code}", ends(of, code), phase, f"{words}: {code}")
        for of, phase, words in (
            (VALIDATE, WAITS, "could not run"),
            (COPY, FAILED, "The copy failed"),
            (BATCH, DONE, "The job could not run"),
        )
        for code in ("CANCELED", "SKIPPED", "INTERNAL_ERROR", "NEVER_HEARD_OF")
    ),
    Row("validation: no such job to run", _GONE, WAITS, "run-now answered 404"),
    Row(
        "endpoint: may not see it",
        refused(_ENDPOINTS, 403, "PERMISSION_DENIED"),
        DONE,
        "CAN VIEW on the serving endpoint",
    ),
    Row(
        "endpoint: there is none",
        refused(_ENDPOINTS, 404, "RESOURCE_DOES_NOT_EXIST"),
        DONE,
        f"{_ENDPOINTS[:-1]} answered 404",
    ),
    Row(
        "endpoint: update failed",
        serves(failure="No memory."),
        DONE,
        "The update failed: champion: No memory.",
    ),
]


@pytest.mark.parametrize(
    "row",
    [
        *_QUICK,
        *(pytest.param(row, marks=pytest.mark.part("rest")) for row in _REST),
        *(pytest.param(row, marks=pytest.mark.part("full")) for row in _FULL),
    ],
    ids=str,
)
def test_what_the_promotion_says_and_where_the_alias_stands(gate: Everything, row: Row) -> None:
    before = gate.copying.champion()
    row.wrong(gate)
    promotion = gate.train(minutes=40)
    now = gate.copying.world.again(promotion)
    assert now.phase is row.phase, (now.reason, now.retry.last_error)
    assert row.told in gate.told(promotion)
    moved_to = before if now.copied is None else now.copied.version
    assert gate.copying.champion() == (moved_to if row.phase is DONE else before)
    assert (now.request is None) is (row.phase in {WAITS, NO})


@pytest.mark.parametrize("of", [VALIDATE, COPY])
def test_nothing_ends_by_what_a_run_said_once(gate: Everything, of: StepKind) -> None:
    """Its output is another than it is, or missing, in one answer."""
    world = gate.copying.world
    gate.course(VALIDATE, said=lambda _: {"main": {"champion_gate_validation": {"passed": True}}})
    if of is VALIDATE:
        lie = {"notebook_output": {"result": '{"champion_gate_validation": 17}'}}
        body = json.dumps(lie).encode()
        world.break_databricks("/runs/get-output", body=body, skip=1, times=1)  # the training's comes first
    promotion = gate.train(approve=False)
    if of is COPY:
        world.break_databricks("/runs/get-output", body=b"{}", times=1)
    else:
        assert "cannot be read" in gate.told(promotion)
        world.live(minutes=5)
    world.approve(promotion)
    world.look()
    world.live(minutes=40)

    now = world.again(promotion)
    assert now.phase is DONE, (now.reason, now.retry.last_error)


@pytest.mark.part("rest")
@pytest.mark.parametrize("status", [403, pytest.param(404, marks=pytest.mark.part("full"))])
def test_a_copy_whose_job_cannot_be_run_is_waited_for(gate: Everything, status: int) -> None:
    before = gate.copying.champion()
    promotion = gate.train(approve=False)
    refused("run-now", status, "PERMISSION_DENIED")(gate)
    gate.copying.world.approve(promotion)
    gate.copying.world.look()
    gate.copying.world.live(minutes=40)
    assert gate.copying.world.again(promotion).phase is COPYING
    assert f"run-now answered {status}" in gate.told(promotion)
    assert gate.copying.champion() == before


@pytest.mark.part("rest")
def test_a_start_whose_run_was_deleted_is_made_afresh_after_a_day(gate: Everything) -> None:
    """Databricks refuses its token for ever; until then nothing tells it from a refusal that heals."""
    world, runs = gate.copying.world, gate.copying.starts.runs_of
    gate.course(VALIDATE, said=lambda _: {"main": {"champion_gate_validation": {"passed": True}}})
    world.break_databricks("run-now", lose_answer=True, times=1)
    version = world.train()
    world.settle()
    (promotion,) = (each for each in world.promotions() if each.version.version == version)
    *_, lost = runs(gate.jobs[VALIDATE])
    world.databricks.jobs.delete_run(lost.run_id)
    world.wait(hours=1)
    assert world.again(promotion).phase is WAITS
    assert "was deleted" in gate.told(promotion)
    for _ in range(24):
        world.wait(hours=1)
        world.again(promotion)
    assert world.again(promotion).phase is Phase.PENDING_APPROVAL
    *_, afresh = runs(gate.jobs[VALIDATE])
    assert afresh.token != lost.token
    assert json.loads(world.store.get_step(f"{promotion.id}-validate").result_json or "")["passed"] is True


@pytest.mark.part("rest")
def test_a_start_that_was_forbidden_for_a_day_still_leads_to_the_run_that_was_made(gate: Everything) -> None:
    """The refusal is about us, and says nothing of the run: another token would make a second one."""
    world, runs = gate.copying.world, gate.copying.starts.runs_of
    before = len(runs(gate.jobs[VALIDATE]))
    world.break_databricks("run-now", lose_answer=True, times=1)
    promotion = gate.train(approve=False)
    refused("run-now", 403, "PERMISSION_DENIED")(gate)
    for hours in (1, 24):
        world.wait(hours=hours)
    world.databricks.faults.clear()
    world.live(hours=1)
    assert world.again(promotion).phase is Phase.PENDING_APPROVAL
    assert len(runs(gate.jobs[VALIDATE])) == before + 1
