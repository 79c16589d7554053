"""A gate's validation job: before people are asked, what each answer of Databricks comes to, and what reviewers are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from champion_gate.adapters.databricks.connection import ME
from champion_gate.domain.ledger.receipt import read_receipt
from champion_gate.domain.ledger.receipt_check import ReceiptCheck, check_receipt
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step, StepPhase
from champion_gate.errors import ConflictError
from champion_gate.flow.operator_steps import StepOrders
from champion_gate.web.api.promotions import make_receipt
from champion_gate_standins.databricks.job_starts import JobStarts, Started
from integration.gate_models import TRAINER
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.spread(2)

VALIDATOR = "7c0b5f2e-0000-4000-8000-000000000001"
NAMES = ("model_name", "model_version", "sample")
RULES = {
    "f1": {"better": "higher", "max_worse": 0.01, "at_least": 0.8},
    "auc": {"from": "validation", "better": "higher", "max_worse": 0.02, "at_least": 0.7},
}


@dataclass
class Validating:
    """A gate with a validation job."""

    world: GateWorld
    job: str

    @property
    def starts(self) -> JobStarts:
        return self.world.databricks.starts

    def runs(self) -> list[Started]:
        """The validation runs that were made."""
        return self.starts.runs_of(self.job)

    def course(self, said: object = None, **course: Any) -> None:
        """What becomes of the runs from now on."""
        if said is not None:
            course["said"] = lambda _given: {"main": said}
        self.starts.set_course(self.job, **course)

    def configure(self, **changes: Any) -> None:
        validation = {"job": int(self.job), "parameters": {"sample": "full"}, **changes.pop("validation", {})}
        self.world.reconfigure(validation=validation, **changes)

    def train(self, metrics: Mapping[str, float] | None = None) -> Promotion:
        """A version asks; as far as that goes at once."""
        version = self.world.train(metrics)
        self.world.settle()
        return next(each for each in self.world.promotions() if each.version.version == version)

    def step(self, promotion: Promotion) -> Step:
        return self.world.store.get_step(f"{promotion.id}-validate")

    def lines(self, promotion: Promotion) -> list[Mapping[str, Any]]:
        """The facts of the ledger's lines about its steps, oldest first."""
        self.world.store.verify_ledger()
        lines = reversed(self.world.store.ledger_lines(promotion_id=promotion.id))
        return [line.entry.facts for line in lines if line.entry.kind.value == "step"]

    def asked(self) -> int:
        """How many requests people have had."""
        return len(self.world.github.runs)


def said(passed: object = True, **more: object) -> dict[str, object]:
    return {"champion_gate_validation": {"passed": passed, **more}}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Validating]:
    with gate_world(tmp_path) as world:
        job = world.databricks.jobs.add_job(
            "validate-churn", run_as=VALIDATOR, parameters=dict.fromkeys(NAMES, "")
        )
        made = Validating(world, job)
        made.configure()
        yield made


# --- what a run comes to ----------------------------------------------------------------------------------

PASSED, NO, WAITS = Phase.PENDING_APPROVAL, Phase.INELIGIBLE, Phase.VALIDATING


@dataclass(frozen=True)
class Row:
    """What Databricks answers, where the promotion then stands, what it says, and how many runs were made."""

    name: str
    phase: Phase
    told: str
    course: Mapping[str, Any] = field(default_factory=dict)
    output: object = None
    runs: int = 1

    def __str__(self) -> str:
        return self.name


def failed(name: str, code: str, **tasks: str) -> Row:
    """An end that says nothing of the version: one fresh attempt, and then it waits."""
    return Row(name, WAITS, code, {"code": code, "tasks": tasks or {"main": code}}, runs=2)


ROWS = [
    Row(
        "green, with our output",
        PASSED,
        "Waiting for approval",
        {},
        said(checks=[{"name": "null", "passed": True}]),
    ),
    Row("green, without our output", PASSED, "Waiting for approval"),
    Row("green, with others' output", PASSED, "Waiting for approval", {}, {"champion_gate": {"model": "x"}}),
    Row("green, says no", NO, "passed: false", {}, said(False, checks=[{"name": "drift", "passed": False}])),
    Row(
        "green, contradicts its checks",
        NO,
        "contradicts itself",
        {},
        said(checks=[{"name": "d", "passed": False}]),
    ),
    Row(
        "a task failed",
        NO,
        "main failed (boom)",
        {"code": "RUN_EXECUTION_ERROR", "tasks": {"main": "RUN_EXECUTION_ERROR"}, "errors": {"main": "boom"}},
    ),
    Row(
        "with failures",
        NO,
        "SUCCESS_WITH_FAILURES",
        {"code": "SUCCESS_WITH_FAILURES", "tasks": {"main": "SUCCESS", "b": "RUN_EXECUTION_ERROR"}},
    ),
    failed("no compute", "CLUSTER_ERROR"),
    failed("skipped", "MAX_CONCURRENT_RUNS_EXCEEDED"),
    failed("cancelled by somebody", "USER_CANCELED"),
    failed("never heard of", "NEVER_HEARD_OF"),
    Row("cut output", WAITS, "was cut", {"truncated": True}, said(), runs=2),
    Row("no boolean", WAITS, "neither true nor false", {}, said("yes"), runs=2),
    Row(
        "said under another key",
        WAITS,
        "not as a key of its own",
        {},
        {"result": said(False)},
        runs=2,
    ),
    Row("no JSON", WAITS, "is not JSON", {}, '{"champion_gate_validation": {"passed": true', runs=2),
    Row(
        "a key twice",
        WAITS,
        "a key twice",
        {},
        '{"champion_gate_validation": {"passed": false, "passed": true}}',
        runs=2,
    ),
    *(
        pytest.param(row, marks=pytest.mark.part("rest"))
        for row in (
            failed("queue full", "MAX_JOB_QUEUE_SIZE_EXCEEDED"),
            failed("quota", "WORKSPACE_RUN_LIMIT_EXCEEDED"),
            failed("budget", "BUDGET_POLICY_LIMIT_EXCEEDED"),
            failed("cloud", "CLOUD_FAILURE"),
            failed("disabled", "DISABLED"),
            failed("library", "LIBRARY_INSTALLATION_ERROR"),
            failed("a task had no compute", "CLUSTER_ERROR", a="SUCCESS", b="CLUSTER_ERROR"),
            Row(
                "said no before it was cancelled",
                NO,
                "passed: false",
                {"code": "USER_CANCELED", "tasks": {"main": "SUCCESS", "b": "USER_CANCELED"}},
                said(False),
            ),
            Row("no list", WAITS, "no list", {}, said(checks={}), runs=2),
            Row("a check without a word", WAITS, "true or false", {}, said(checks=[{"name": "x"}]), runs=2),
            Row("a number that is none", WAITS, "no number", {}, said(metrics={"auc": "0.9"}), runs=2),
            Row(
                "too large a number",
                WAITS,
                "no number",
                {},
                '{"champion_gate_validation": {"passed": true, "metrics": {"auc": 1e999}}}',
                runs=2,
            ),
            Row(
                "NaN",
                WAITS,
                "not JSON",
                {},
                '{"champion_gate_validation": {"passed": true, "metrics": {"auc": NaN}}}',
                runs=2,
            ),
            Row(
                "an infinite number beside",
                WAITS,
                "too large",
                {},
                '{"champion_gate_validation": {"passed": true, "loss": 1e999}}',
                runs=2,
            ),
            Row("almost our key", WAITS, "not as a key", {}, {"Champion_gate_validations": {}}, runs=2),
            Row(
                "a text in a text",
                WAITS,
                "not as a key of its own",
                {},
                {"x": json.dumps(said(False))},
                runs=2,
            ),
            Row("no object", WAITS, "no object", {}, {"champion_gate_validation": True}, runs=2),
            Row(
                "too many", WAITS, "more than 100", {}, said(metrics={f"m{n}": n for n in range(101)}), runs=2
            ),
        )
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_the_promotion_says_of_each_end_and_that_nobody_is_asked_before(
    gate: Validating, row: Row
) -> None:
    gate.course(row.output, **row.course)
    promotion = gate.train()
    if row.phase is WAITS:
        gate.world.live(seconds=15)
    now = gate.world.again(promotion)
    assert (now.phase, now.retry.last_error) == (row.phase, None), now.reason
    assert row.told in now.reason
    assert gate.asked() == (1 if row.phase is PASSED else 0)
    assert [run.parameters for run in gate.runs()] == row.runs * [
        {"model_name": gate.world.models.model, "model_version": "2", "sample": "full"}
    ]
    assert len({run.token for run in gate.runs()}) == row.runs
    step = gate.step(promotion)
    assert step.phase is (StepPhase.FAILED if row.phase is WAITS else StepPhase.SUCCEEDED)
    assert [line["external_id"] for line in gate.lines(promotion)] == [run.run_id for run in gate.runs()]
    assert gate.world.models.champion() == "1"
    if row.phase is WAITS:
        assert f"champion-gate steps retry {step.id}" in now.reason
        gate.world.live(hours=2)
        assert gate.world.again(promotion).phase is WAITS
        assert len(gate.runs()) == row.runs


def test_an_approval_of_a_validated_version_makes_it_champion(gate: Validating) -> None:
    gate.course(said(metrics={"auc": 0.91}))
    promotion = gate.train()
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.ended(promotion, Phase.PROMOTED)
    assert gate.world.models.champion() == "2"
    assert len(gate.runs()) == 1


def test_while_the_run_goes_on_nobody_is_asked_and_the_promotion_names_it(gate: Validating) -> None:
    gate.course(said(), seconds=1800)
    promotion = gate.train()
    (run,) = gate.runs()
    now = gate.world.again(promotion)
    assert now.phase is Phase.VALIDATING
    assert f"runs/{run.run_id}" in now.reason
    requests = gate.world.databricks.requests
    asked_who_we_are = [each.path for each in requests].count(ME)
    gate.world.live(minutes=29)
    assert (gate.asked(), gate.world.again(promotion).phase) == (0, Phase.VALIDATING)
    gate.world.live(minutes=5)
    assert (gate.asked(), gate.world.again(promotion).phase) == (1, Phase.PENDING_APPROVAL)
    assert [each.path for each in requests].count(ME) == asked_who_we_are


def test_a_run_that_takes_too_long_is_cancelled_and_started_once_more(gate: Validating) -> None:
    gate.configure(validation={"timeout": "10m"})
    gate.course(said(), seconds=None)
    promotion = gate.train()
    gate.world.live(minutes=30)
    assert [run.cancelled is not None for run in gate.runs()] == [True, True]
    now = gate.world.again(promotion)
    assert (now.phase, gate.asked()) == (Phase.VALIDATING, 0)
    assert "took longer than 0:10:00" in now.reason


def test_an_operator_has_it_validated_again_and_cannot_skip_it(gate: Validating) -> None:
    gate.course(code="CLUSTER_ERROR", tasks={"main": "CLUSTER_ERROR"})
    promotion = gate.train()
    gate.world.live(seconds=15)
    orders = StepOrders(gate.world.store, gate.world.wake_ups, gate.world.clock)
    with pytest.raises(ConflictError, match="cannot be skipped"):
        orders.skip(gate.step(promotion).id, actor="operator-1", reason="no time")
    gate.course(said())
    orders.retry(gate.step(promotion).id, actor="operator-1", reason="the cluster is there")
    gate.world.settle()
    assert gate.world.again(promotion).phase is Phase.PENDING_APPROVAL
    assert [line["phase"] for line in gate.lines(promotion)] == ["failed", "failed", "succeeded"]
    with pytest.raises(ConflictError, match="nothing to retry"):
        orders.retry(gate.step(promotion).id, actor="operator-1")


@pytest.mark.part("rest")
def test_a_start_that_was_refused_is_tried_at_once_for_an_operator(gate: Validating) -> None:
    gate.course(said())
    gate.world.break_databricks("run-now", status=403, error_code="PERMISSION_DENIED")
    promotion = gate.train()
    gate.world.live(minutes=30)
    gate.world.databricks.faults.clear()
    orders = StepOrders(gate.world.store, gate.world.wake_ups, gate.world.clock)
    orders.retry(gate.step(promotion).id, actor="operator-1")
    gate.world.settle()
    assert gate.world.again(promotion).phase is Phase.PENDING_APPROVAL
    assert len(gate.runs()) == 1


def test_nothing_is_validated_for_a_promotion_that_has_ended(gate: Validating) -> None:
    gate.course(code="CLUSTER_ERROR", tasks={"main": "CLUSTER_ERROR"})
    promotion = gate.train()
    gate.world.live(seconds=15)
    gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
    gate.world.settle()
    gate.world.ended(promotion, Phase.CANCELLED)
    orders = StepOrders(gate.world.store, gate.world.wake_ups, gate.world.clock)
    with pytest.raises(ConflictError, match="waits for no validation"):
        orders.retry(gate.step(promotion).id, actor="operator-1")
    assert len(gate.runs()) == 2


def test_a_cancelled_promotion_has_its_run_cancelled_at_once(gate: Validating) -> None:
    gate.course(said(), seconds=None)
    promotion = gate.train()
    gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
    gate.world.settle()
    gate.world.ended(promotion, Phase.CANCELLED)
    (run,) = gate.runs()
    assert run.cancelled is not None
    assert gate.step(promotion).phase is StepPhase.OVERTAKEN
    assert gate.asked() == 0


def test_a_run_whose_start_was_not_answered_is_cancelled_with_its_promotion(gate: Validating) -> None:
    gate.course(said(), seconds=None)
    gate.world.break_databricks("run-now", lose_answer=True, times=1)
    promotion = gate.train()
    gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
    gate.world.live(minutes=5)
    gate.world.ended(promotion, Phase.CANCELLED)
    (run,) = gate.runs()
    assert run.cancelled is not None
    assert gate.step(promotion).phase is StepPhase.OVERTAKEN


def test_what_iterations_and_child_runs_said_counts(gate: Validating) -> None:
    jobs = gate.world.databricks.jobs
    gate.course(
        seconds=None,
        tasks={"each": "SUCCESS", "child": "SUCCESS"},
        kinds={"each": "for_each", "child": "run_job"},
    )
    other = jobs.add_job("other")
    for no_of in ("each", "child", ""):
        promotion = gate.train()
        run = gate.runs()[-1]
        for number in range(3):
            iteration = jobs.add_iteration(run.run_id, "each")
            jobs.set_output(iteration, said(no_of != "each" or number != 1))
        child = jobs.start_child(run.run_id, "child", other, tasks=["main"])
        jobs.set_output(jobs.task_run_id(child, "main"), said(no_of != "child"))
        jobs.finish_run(child, notify=False)
        jobs.finish_run(run.run_id, notify=False)
        gate.world.live(minutes=5)
        assert gate.world.again(promotion).phase is (NO if no_of else PASSED), no_of
        keys = [task["key"] for task in gate.lines(promotion)[-1]["result"]["run"]["tasks"]]
        assert keys == [
            "each",
            "child",
            *("each/each_iteration", "each/each_iteration[1]", "each/each_iteration[2]"),
            "child/main",
        ]


OURS = "champion-gate@example.com"
FOREIGN = [
    ("somebody@example.com", 0, "was started by somebody@example.com, and not by champion-gate@example.com"),
    (None, 0, "does not tell who started it"),
    (OURS, 1, "began before this was planned"),
    (OURS, 0, "userName` is absent"),
]
"""Who began a run, how many hours before ours was planned, and why it is not ours."""


# --- which run counts -------------------------------------------------------------------------------------


def test_a_run_of_another_job_does_not_count(gate: Validating) -> None:
    other = gate.world.databricks.jobs.add_job("other", parameters=dict.fromkeys(NAMES, ""))
    gate.course(said())
    gate.world.break_databricks(
        "run-now", body=json.dumps({"run_id": int(gate.world.databricks.jobs.start_run(other))}).encode()
    )
    promotion = gate.train()
    now = gate.world.again(promotion)
    assert (now.phase, gate.asked()) == (Phase.VALIDATING, 0)
    assert f"is one of job {other}" in now.reason


def test_a_run_for_another_version_does_not_count(gate: Validating) -> None:
    gate.course(said())
    foreign = gate.world.databricks.jobs.start_run(
        gate.job, parameters={"model_name": gate.world.models.model, "model_version": "1", "sample": "full"}
    )
    gate.world.databricks.jobs.finish_run(foreign, "SUCCESS", notify=False)
    gate.world.break_databricks("run-now", body=json.dumps({"run_id": int(foreign)}).encode())
    promotion = gate.train()
    now = gate.world.again(promotion)
    assert (now.phase, gate.asked()) == (Phase.VALIDATING, 0)
    assert "another model_version than '2'" in now.reason


def test_a_run_of_the_job_for_the_version_that_somebody_else_began_does_not_count(gate: Validating) -> None:
    jobs, model = gate.world.databricks.jobs, gate.world.models.model
    for number, (creator, hours, told) in enumerate(FOREIGN, start=2):
        given = {"model_name": model, "model_version": str(number), "sample": "full"}
        run = jobs.start_run(gate.job, creator=creator, parameters=given)
        jobs.set_output(jobs.task_run_id(run, "train"), said())
        jobs.finish_run(run, "SUCCESS", notify=False)
        gate.world.clock.move(hours=hours)
        gate.world.break_databricks("run-now", body=json.dumps({"run_id": int(run)}).encode())
        if creator == OURS and not hours:
            gate.configure()
            gate.world.break_databricks("scim/v2/Me", body=b'{"id": "42"}')
        now = gate.world.again(gate.train())
        assert (now.phase, gate.asked()) == (Phase.VALIDATING, 0), told
        assert told in now.reason
        gate.world.databricks.faults.clear()
    assert gate.runs() == []


def test_a_job_that_does_not_define_a_parameter_is_not_started(gate: Validating) -> None:
    gate.configure(validation={"parameters": {"smaple": "full"}})
    promotion = gate.train()
    now = gate.world.again(promotion)
    assert (now.phase, gate.runs(), gate.asked()) == (Phase.VALIDATING, [], 0)
    assert "does not define the job parameter smaple" in now.reason


def test_a_version_that_changed_meanwhile_is_not_put_to_people(gate: Validating) -> None:
    gate.course(said(), seconds=600)
    promotion = gate.train()
    gate.world.models.remove("2")
    gate.world.live(minutes=40)
    gate.world.ended(promotion, Phase.STALE)
    assert gate.asked() == 0


def test_another_validation_than_was_begun_makes_it_stale(gate: Validating) -> None:
    gate.course(said(), seconds=600)
    promotion = gate.train()
    gate.configure(validation={"parameters": {"sample": "small"}})
    gate.world.live(minutes=15)
    assert "another one than was begun" in gate.world.ended(promotion, Phase.STALE)
    assert gate.asked() == 0


def test_an_approval_without_a_validation_does_not_count_where_the_gate_asks_for_one_by_then(
    gate: Validating,
) -> None:
    gate.world.reconfigure(validation=None)
    promotion = gate.train()
    assert promotion.phase is Phase.PENDING_APPROVAL
    gate.configure()
    gate.world.approve(promotion)
    gate.world.look()
    assert "asks for a validation now" in gate.world.ended(promotion, Phase.STALE)
    assert gate.world.models.champion() == "1"


# --- rules and evidence -----------------------------------------------------------------------------------


def test_a_rule_takes_its_number_from_the_validation(gate: Validating) -> None:
    gate.configure(metrics=RULES)
    gate.course(said(metrics={"auc": 0.65}))
    assert "uc is 0.65, and must be at least 0.7" in gate.world.ended(gate.train(), Phase.INELIGIBLE)
    gate.course(said())
    assert "he metric auc is missing" in gate.world.ended(gate.train({"f1": 0.9}), Phase.INELIGIBLE)
    assert gate.asked() == 0
    assert len(gate.runs()) == 2


def test_what_training_measured_is_judged_before_the_job_is_started(gate: Validating) -> None:
    gate.configure(metrics=RULES)
    gate.world.ended(gate.train({"f1": 0.5}), Phase.INELIGIBLE)
    assert gate.runs() == []


def test_a_rule_compares_with_the_champions_own_validation_by_the_same_job(gate: Validating) -> None:
    gate.configure(metrics=RULES)
    gate.course(said(metrics={"auc": 0.95}))
    first = gate.train()
    shown = gate.world.evidence(first)["validation"]
    assert isinstance(shown, dict)
    assert shown["champion_validated"] is False  # v1 was put there by hand: only the bounds apply
    gate.world.approve(first)
    gate.world.look()
    gate.world.ended(first, Phase.PROMOTED)

    gate.course(said(metrics={"auc": 0.92}))
    assert "0.95 is reached now" in gate.world.ended(gate.train(), Phase.INELIGIBLE)
    gate.course(said(metrics={"auc": 0.94}))
    third = gate.train()
    (auc,) = (row for row in gate.world.evidence(third)["gate_metrics"]["rows"] if row["name"] == "auc")  # type: ignore[index]
    assert (auc["candidate"], auc["champion"], auc["from"]) == (0.94, 0.95, "validation")
    other = gate.world.databricks.jobs.add_job("other", run_as=VALIDATOR, parameters=dict.fromkeys(NAMES, ""))
    gate.starts.set_course(other, said=lambda _: {"main": said(metrics={"auc": 0.8})})
    gate.configure(metrics=RULES, validation={"job": int(other)})
    assert gate.train().phase is Phase.PENDING_APPROVAL  # another job's numbers are not comparable


def test_rules_that_became_stricter_are_applied_to_what_people_were_shown(gate: Validating) -> None:
    gate.configure(metrics=RULES)
    gate.course(said(metrics={"auc": 0.75}))
    promotion = gate.train()
    gate.configure(metrics={**RULES, "auc": {"from": "validation", "better": "higher", "at_least": 0.8}})
    gate.world.approve(promotion)
    gate.world.look()
    assert "auc is 0.75, and must be at least 0.8" in gate.world.ended(promotion, Phase.STALE)


def test_reviewers_see_the_validation_first_and_the_evidence_names_who_ran_it(gate: Validating) -> None:
    gate.world.databricks.jobs.run_job_as(gate.job, TRAINER, {"user_name": TRAINER})
    check = {"name": "no nulls | ::error::", "passed": True, "value": 0, "limit": "none"}
    gate.course(said(checks=[check], metrics={"auc": 0.9}, report_url="https://example.com/report"))
    promotion = gate.train()
    shown = gate.world.evidence(promotion)["validation"]
    assert isinstance(shown, dict)
    (run,) = gate.runs()
    assert (shown["passed"], shown["details"], shown["run"]["id"]) == (True, True, run.run_id)
    assert shown["ran_as_trainers"] == [TRAINER]
    assert shown["result_sha256"] == gate.step(promotion).result_sha256
    request = gate.world.github.run(gate.world.run_id_of(promotion))
    text = next(str(each) for each in request.inputs.values() if "Validation passed" in str(each))
    assert ", validation passed\n" in text
    assert text.index("Validation passed") < text.index("People behind")
    assert "is among those who trained this version" in text
    assert "[`report`](https://example.com/report)" in text
    assert "::error::" not in text
    assert "| `auc` | 0.9 |" in text


def test_green_without_our_output_says_so(gate: Validating) -> None:
    shown = gate.world.evidence(gate.train())["validation"]
    assert isinstance(shown, dict)
    assert (shown["passed"], shown["details"]) == (True, False)


# --- on record --------------------------------------------------------------------------------------------


def checked_receipt(gate: Validating, promotion: Promotion) -> ReceiptCheck:
    sent = json.dumps(make_receipt(gate.world.store, promotion.id, gate.world.clock.now())).encode()
    now = gate.world.again(promotion)
    evidence = None if now.evidence_json is None else now.evidence_json.encode()
    return check_receipt(read_receipt(sent), gate.world.store.ledger_export(), evidence)


def test_a_receipt_tells_of_the_validation_and_is_borne_out(gate: Validating) -> None:
    gate.course(said(metrics={"auc": 0.91}))
    promotion = gate.train()
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.ended(promotion, Phase.PROMOTED)
    found = checked_receipt(gate, promotion)
    assert found.problems == ()
    (line,) = gate.lines(promotion)
    assert (line["kind"], line["result"]["passed"], line["version"]) == ("validate", True, "2")
    assert line["result_sha256"] == gate.step(promotion).result_sha256


def test_the_ledger_bears_out_that_a_version_was_ineligible(gate: Validating) -> None:
    gate.course(said(False))
    promotion = gate.train()
    found = checked_receipt(gate, promotion)
    assert found.problems == ()
    assert not any("how it ended" in each for each in found.unproven)


def test_a_receipt_from_before_the_run_was_cancelled_stays_true(gate: Validating) -> None:
    gate.world.sweep()  # where the alias stands is the ledger's first line
    gate.course(said(), seconds=None)
    promotion = gate.train()
    gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
    gate.world.core.promoter.advance(promotion.id)
    sent = json.dumps(make_receipt(gate.world.store, promotion.id, gate.world.clock.now())).encode()
    gate.world.live(minutes=5)
    assert len(gate.lines(promotion)) == 1
    found = check_receipt(read_receipt(sent), gate.world.store.ledger_export())
    assert found.problems == ()
    assert "validate overtaken" in found.since[0]
