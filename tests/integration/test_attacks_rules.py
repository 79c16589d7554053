"""The attack list, 32 and 33: rules that became stricter are got round by a retry, or while people decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_models import MlflowModels
from integration.gate_world import GATE, GateWorld, gate_world
from integration.rules_world import OPERATOR, approve, assert_unmoved, gate, post, shown

pytestmark = pytest.mark.spread(4)

VENDORS = ("github", "gitlab-rules")


@pytest.fixture(
    params=[
        pytest.param(("uc", "github"), id="uc-github"),
        pytest.param(("mlflow", "gitlab-rules"), id="mlflow-gitlab-rules", marks=pytest.mark.part("rest")),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    registry, provider = request.param
    with gate_world(tmp_path, registry, provider) as made:
        yield made


@pytest.fixture
def uc(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


# --- 32: a retry checks what an ask checks ----------------------------------------------------------------


def rejected(world: GateWorld) -> Promotion:
    pending = world.ask()
    world.provider.reject(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.REJECTED)
    return pending


def failed_while_requested(world: GateWorld) -> Promotion:
    status = 422 if world.provider.key == "github" else 400
    world.provider.faults.add(f"{world.provider.opening}$", status=status)
    world.train()
    world.settle()
    world.provider.faults.clear()
    return world.promotion(Phase.FAILED)


def failed_while_approved(world: GateWorld) -> Promotion:
    pending = world.ask()
    fault = world.break_databricks("/aliases/", method="PUT", status=403)
    approve(world, pending)
    world.look()
    world.ended(pending, Phase.FAILED)
    fault.times = 0
    return pending


ENDED = [rejected, failed_while_requested, failed_while_approved]


def to_a_stricter_gate(world: GateWorld) -> None:
    strict = gate(world, name="strict", metrics={"f1": {"better": "higher", "at_least": 0.99}})
    world.write_gates([gate(world, jobs=["train-churn"]), strict])


def to_another_job(world: GateWorld) -> None:
    world.databricks.jobs.add_job("other")
    world.reconfigure(jobs=["other"])


def to_another_name(world: GateWorld) -> None:
    world.write_gates([gate(world, name="renamed")])


def to_a_name_of_two(world: GateWorld) -> None:
    world.databricks.jobs.add_job("train-churn")
    world.reconfigure(jobs=["train-churn"])


def to_another_way(world: GateWorld) -> None:
    world.reconfigure(version="tag")


CHANGES: dict[str, tuple[Callable[[GateWorld], None], str]] = {
    "a stricter gate names the job": (to_a_stricter_gate, "does not watch job"),
    "another job is watched": (to_another_job, "does not watch job"),
    "the gate has another name": (to_another_name, "Gate churn is not configured any more"),
    "a second job has the name": (to_a_name_of_two, "2 jobs bear the name 'train-churn'"),
}


@pytest.mark.part("rest", "failed_while")
@pytest.mark.parametrize("end", ENDED)
@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_attack_32_a_retry_is_refused_where_an_ask_is(
    uc: GateWorld, end: Callable[[GateWorld], Promotion], change: Callable[[GateWorld], None], words: str
) -> None:
    ended = end(uc)
    phase = uc.again(ended).phase
    change(uc)
    status, said = post(uc, f"/promotions/{ended.id}/retry")
    assert (status, said.get("code")) == (409, "conflict"), said
    assert words in said["detail"]
    if "not configured" not in words:
        status, said = post(uc, "/promotions", gate="churn", version="2", reason="please")
        assert status == 409, said
        assert words in said["detail"]
    uc.settle()
    assert [p.id for p in uc.promotions()] == [ended.id]
    assert uc.again(ended).phase is phase
    assert uc.models.champion() == "1"


# Only the stand-in of Databricks can be made to refuse a write, so that end has no real MLflow server beside it.
@pytest.mark.part("rest", "world3", "world4")
@pytest.mark.parametrize(
    ("world", "end"),
    [(("uc", "github"), end) for end in ENDED]
    + [(("mlflow", "gitlab-rules"), end) for end in (rejected, failed_while_requested)],
    indirect=["world"],
)
def test_attack_32_control_a_retry_goes_on_where_nothing_has_changed(
    world: GateWorld, end: Callable[[GateWorld], Promotion]
) -> None:
    ended = end(world)
    world.databricks.faults.clear()
    status, said = post(world, f"/promotions/{ended.id}/retry")
    assert status == 202, said
    world.settle()
    going_on = world.store.get_promotion(said["id"])
    if going_on.phase is Phase.PENDING_APPROVAL:
        approve(world, going_on)
        world.look()
    world.ended(going_on, Phase.PROMOTED)
    assert world.models.champion() == "2"


def test_attack_32_a_run_that_the_gate_no_longer_accepts(uc: GateWorld) -> None:
    uc.reconfigure(accept_success_with_failures=True)
    run_id, _ = uc.train_run(result="SUCCESS_WITH_FAILURES")
    uc.notify(run_id)
    uc.settle()
    ended = uc.promotion(Phase.PENDING_APPROVAL)
    uc.reject(ended)
    uc.look()
    uc.reconfigure()
    status, said = post(uc, f"/promotions/{ended.id}/retry")
    assert status == 409, said
    assert "succeeded with failures" in said["detail"]
    status, said = post(uc, "/promotions", gate="churn", version="2", reason="please")
    assert status == 409, said
    assert "succeeded with failures" in said["detail"]


def test_attack_32_a_failed_one_that_the_gate_would_not_find_any_more(uc: GateWorld) -> None:
    ended = failed_while_requested(uc)
    to_another_way(uc)
    status, said = post(uc, f"/promotions/{ended.id}/retry")
    assert status == 409, said
    assert "found by mlflow_run, and gate churn finds versions by tag now" in said["detail"]
    status, said = post(uc, "/promotions", gate="churn", version="2", reason="please")
    assert status == 201, "what an operator names need not be found"
    uc.settle()
    approve(uc, uc.promotion(Phase.PENDING_APPROVAL))
    uc.look()
    assert uc.models.champion() == "2"


def test_attack_32_a_version_that_is_another_one_by_now(world: GateWorld) -> None:
    ended = rejected(world)
    world.models.remove("2")
    if world.models.registry == "databricks-uc":
        world.models.train(world.job_id, "1", {"f1": 0.99})
        expected = (409, "is another version now")
    else:
        expected = (422, "There is no v2")
    status, said = post(world, f"/promotions/{ended.id}/retry")
    assert status == expected[0], said
    assert expected[1] in said["detail"]
    assert [p.id for p in world.promotions()] == [ended.id]


def test_attack_32_a_child_job_that_has_gone_over_to_a_stricter_gate(uc: GateWorld) -> None:
    jobs = uc.databricks.jobs
    child = jobs.add_job("train-child")
    run_id = jobs.start_run(uc.job_id, tasks={"go": "run_job"})
    child_run = jobs.start_child(run_id, "go", child)
    version = uc.models.train(child, jobs.task_run_id(child_run, "train"), {"f1": 0.91})
    jobs.finish_run(child_run, "SUCCESS", notify=False)
    jobs.finish_run(run_id, "SUCCESS", notify=False)
    uc.notify(run_id)
    uc.settle()
    pending = uc.promotion(Phase.PENDING_APPROVAL)
    assert pending.version.version == version
    strict = gate(
        uc, name="strict", jobs=[int(child)], metrics={"f1": {"better": "higher", "at_least": 0.99}}
    )
    uc.write_gates([gate(uc), strict])
    approve(uc, pending)
    uc.look()
    assert_unmoved(uc, pending, Phase.STALE, f"started job {child}, which another gate to Champion watches")
    status, said = post(uc, f"/promotions/{pending.id}/retry")
    assert status == 409, said
    assert "which another gate to Champion watches" in said["detail"]


# --- 33: the gate's rules change while people decide ------------------------------------------------------

F1 = {"better": "higher", "max_worse": 0.01, "at_least": 0.8}
STRICTER: dict[str, tuple[dict[str, object], str]] = {
    "a higher bound": (
        {"metrics": {"f1": {**F1, "at_least": 0.95}}},
        "f1 is 0.91, and must be at least 0.95",
    ),
    "a bound the other way": (
        {"metrics": {"f1": {"better": "lower", "at_most": 0.5}}},
        "must be at most 0.5",
    ),
    "less may be lost": ({"metrics": {"f1": F1, "auc": {"better": "higher", "max_worse": 0.01}}}, "worse by"),
    "a metric that was only shown": (
        {"metrics": {"auc": {"better": "higher", "at_least": 0.9}}},
        "auc is 0.85, and must be at least 0.9",
    ),
    "a metric that nobody was shown": (
        {"metrics": {"recall": {"better": "higher", "at_least": 0.1}}},
        "the evidence has no metric recall",
    ),
    "another job": ({"jobs": [4711]}, "does not watch job"),
    "another job by name": ({"jobs": ["train-fraud"]}, "does not watch job"),
    "found another way": ({"version": "tag"}, "was found by mlflow_run"),
}
OF_EACH_KIND = {name: STRICTER[name] for name in ("a higher bound", "another job", "found another way")}
METRICS = {"f1": 0.91, "auc": 0.85}


@pytest.mark.part("rest", "mlflow", "the other way", "less may", "only shown", "job by name")
@pytest.mark.part("full", "rules-a bound", "rules-less", "rules-a metric", "rules-another")
@pytest.mark.parametrize(("changes", "words"), STRICTER.values(), ids=STRICTER)
def test_attack_33_a_gate_that_became_stricter_while_people_decided(
    world: GateWorld, changes: dict[str, object], words: str
) -> None:
    pending = world.ask(METRICS)
    world.reconfigure(**changes)
    approve(world, pending)
    world.sweep()
    world.look()
    assert_unmoved(world, pending, Phase.STALE, words)
    assert ("decision", "Approved by reviewer-1 (champion).") in world.ledger()


@pytest.mark.part("rest", "another")
@pytest.mark.parametrize(("changes", "words"), OF_EACH_KIND.values(), ids=OF_EACH_KIND)
def test_attack_33_a_gate_that_became_stricter_while_the_approval_waited(
    uc: GateWorld, changes: dict[str, object], words: str
) -> None:
    pending = uc.ask(METRICS)
    orders = uc.core.alias_orders
    orders.hold(uc.models.model, "Champion", caller=OPERATOR, reason="not now")
    approve(uc, pending)
    uc.look()
    uc.ended(pending, Phase.APPROVED)
    uc.reconfigure(**changes)
    uc.core.alias_orders.release(uc.models.model, "Champion", caller=OPERATOR, reason="now")
    uc.settle()
    assert_unmoved(uc, pending, Phase.STALE, words)


@pytest.mark.part("rest", "another")
@pytest.mark.parametrize(("changes", "words"), OF_EACH_KIND.values(), ids=OF_EACH_KIND)
def test_attack_33_a_gate_that_became_stricter_after_a_write_that_never_arrived(
    uc: GateWorld, changes: dict[str, object], words: str
) -> None:
    pending = uc.ask(METRICS)
    uc.break_databricks("/aliases/", method="PUT", status=500)
    approve(uc, pending)
    uc.look()
    uc.ended(pending, Phase.APPROVED)
    uc.databricks.faults.clear()
    uc.reconfigure(**changes)
    uc.look()
    assert_unmoved(uc, pending, Phase.STALE, words)
    assert uc.databricks.catalog.alias_writes == []


def test_attack_33_a_stricter_gate_takes_back_no_write_that_has_arrived(uc: GateWorld) -> None:
    pending = uc.ask()
    uc.break_databricks("/aliases/", method="PUT", lose_answer=True, times=3)
    approve(uc, pending)
    uc.look()
    uc.databricks.faults.clear()
    uc.reconfigure(metrics={"f1": {"better": "higher", "at_least": 0.99}})
    uc.look()
    uc.ended(pending, Phase.PROMOTED)
    assert uc.models.champion() == "2"


def test_attack_33_a_result_that_the_gate_no_longer_accepts(uc: GateWorld) -> None:
    uc.reconfigure(accept_success_with_failures=True)
    run_id, _ = uc.train_run(result="SUCCESS_WITH_FAILURES")
    uc.notify(run_id)
    uc.settle()
    pending = uc.promotion(Phase.PENDING_APPROVAL)
    uc.reconfigure()
    approve(uc, pending)
    uc.look()
    assert_unmoved(uc, pending, Phase.STALE, "succeeded with failures")


def test_attack_33_a_job_that_a_stricter_gate_names_by_its_id(uc: GateWorld) -> None:
    uc.reconfigure(jobs=["train-churn"])
    pending = uc.ask()
    to_a_stricter_gate(uc)
    approve(uc, pending)
    uc.look()
    assert_unmoved(uc, pending, Phase.STALE, "which gate strict names by its id")


MANY = {f"m{number:03}": 0.9 for number in range(130)}


def test_attack_33_control_a_gate_with_more_rules_than_the_evidence_shows_of_other_metrics(
    world: GateWorld,
) -> None:
    world.reconfigure(metrics={name: {"better": "higher", "at_least": 0.8} for name in MANY})
    pending = world.ask(MANY)
    approve(world, pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


@pytest.mark.part("rest", "asked anew")
@pytest.mark.part("full", "mlflow")
@pytest.mark.parametrize("end", ["taken back", "asked anew"])
def test_attack_33_a_rule_on_a_metric_that_the_evidence_did_not_keep(world: GateWorld, end: str) -> None:
    world.reconfigure(metrics=None)
    pending = world.ask(MANY)
    world.reconfigure(metrics={"m129": {"better": "higher", "at_least": 0.8}})
    approve(world, pending)
    world.look()
    reason = world.ended(pending, Phase.APPROVED)
    assert "m129 is not among the metrics that the evidence kept" in reason
    assert f"champion-gate promotions cancel {pending.id}" in reason
    assert world.models.champion() == "1"
    if end == "taken back":
        world.reconfigure(metrics=None)
        world.wait(minutes=11)
    else:
        status, _ = post(world, f"/promotions/{pending.id}/cancel", reason="a new rule")
        assert status == 202
        world.settle()
        world.ended(pending, Phase.CANCELLED)
        status, said = post(world, f"/promotions/{pending.id}/retry")
        assert status == 202, said
        world.settle()
        pending = world.promotion(Phase.PENDING_APPROVAL)
        approve(world, pending)
        world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


@pytest.mark.part("rest")
def test_attack_33_control_a_tag_that_is_trusted_from_now_on(tmp_path: Path) -> None:
    with gate_world(tmp_path, "mlflow", version="tag", trainers=["octo-trainer"]) as world:
        run_id = world.databricks.jobs.start_run(world.job_id)
        task = world.databricks.jobs.task_run_id(run_id, "train")
        version = world.models.train(world.job_id, task, {"f1": 0.91})
        assert isinstance(world.models, MlflowModels)
        world.models.client.set_model_version_tag(world.models.model, version, RUN_TAG, run_id)
        world.databricks.jobs.finish_run(run_id, "SUCCESS", notify=False)
        world.notify(run_id)
        world.settle()
        pending = world.promotion(Phase.PENDING_APPROVAL)
        assert pending.found_by == "tag"
        world.reconfigure(version="trusted_tag", trainers=["octo-trainer"])
        approve(world, pending)
        world.look()
        world.ended(pending, Phase.PROMOTED)
        assert world.models.champion() == version


LOOSER: dict[str, dict[str, object]] = {
    "nothing": {},
    "a lower bound": {"metrics": {"f1": {**F1, "at_least": 0.1}}},
    "no rules": {"metrics": None},
    "more jobs": {"jobs": [4711, "train-churn"]},
    "more results": {"accept_success_with_failures": True},
    "a way that finds it": {"version": "mlflow_run"},
    "a rule that is met": {"metrics": {"f1": F1, "auc": {"better": "higher", "at_least": 0.5}}},
}


@pytest.mark.part("rest", "a lower bound", "no rules", "more results", "a rule that is met")
@pytest.mark.part("full", "mlflow")
@pytest.mark.parametrize("changes", LOOSER.values(), ids=LOOSER)
def test_attack_33_control_what_became_looser_changes_nothing(
    world: GateWorld, changes: dict[str, object]
) -> None:
    pending = world.ask(METRICS)
    world.reconfigure(**changes)
    approve(world, pending)
    world.sweep()
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


def test_a_version_that_was_asked_for_by_hand_need_not_be_found(uc: GateWorld) -> None:
    run_id, version = uc.train_run()
    status, _ = post(uc, "/promotions", gate="churn", version=version, job_run_id=run_id, reason="please")
    assert status == 201
    uc.settle()
    pending = uc.promotion(Phase.PENDING_APPROVAL)
    uc.reconfigure(version="tag")
    approve(uc, pending)
    uc.look()
    uc.ended(pending, Phase.PROMOTED)


def test_a_job_that_was_renamed_since_keeps_the_name_that_its_run_had(uc: GateWorld) -> None:
    uc.reconfigure(jobs=["train-churn"])
    pending = uc.ask()
    uc.databricks.jobs.remove_job(uc.job_id)
    uc.databricks.jobs.add_job("train-churn-old", job_id=int(uc.job_id))
    approve(uc, pending)
    uc.look()
    uc.ended(pending, Phase.PROMOTED)


def test_an_approval_waits_while_two_jobs_bear_the_name(uc: GateWorld) -> None:
    uc.reconfigure(jobs=["train-churn"])
    pending = uc.ask()
    double = uc.databricks.jobs.add_job("train-churn")
    approve(uc, pending)
    uc.look()
    view = shown(uc, pending)
    assert view["phase"] == "approved"
    assert "2 jobs bear the name 'train-churn'" in view["reason"]
    uc.wait(days=2)
    assert uc.again(pending).phase is Phase.APPROVED
    assert uc.models.champion() == "1"
    uc.databricks.jobs.remove_job(double)
    uc.wait(minutes=10)
    uc.ended(pending, Phase.PROMOTED)


def test_an_approval_waits_while_the_jobs_cannot_be_listed(uc: GateWorld) -> None:
    uc.reconfigure(jobs=["train-churn"])
    pending = uc.ask()
    uc.break_databricks("/jobs/list", status=500)
    approve(uc, pending)
    uc.look()
    assert uc.again(pending).phase is Phase.APPROVED
    assert uc.models.champion() == "1"
    uc.databricks.faults.clear()
    uc.wait(minutes=16)
    uc.ended(pending, Phase.PROMOTED)


def test_nobody_is_asked_once_the_gate_does_not_watch_the_job_any_more(uc: GateWorld) -> None:
    uc.core.alias_orders.hold(uc.models.model, "Champion", caller=OPERATOR, reason="not now")
    uc.train()
    uc.settle()
    waiting = uc.promotion(Phase.REQUESTED)
    uc.reconfigure(jobs=[4711])
    uc.core.alias_orders.release(uc.models.model, "Champion", caller=OPERATOR, reason="now")
    uc.settle()
    assert "does not watch job" in uc.ended(waiting, Phase.STALE)
    assert uc.github.runs == []


def test_the_usual_rules_are_those_of_the_other_tests() -> None:
    assert GATE["metrics"] == {"f1": F1}
