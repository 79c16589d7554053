"""What follows a move of the alias: jobs that are run, and serving endpoints that are moved."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.bootstrap.local import local_api
from champion_gate.domain.aliases import Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.serving import versions_of
from champion_gate.domain.steps import StepKind, StepPhase
from champion_gate.flow.after import failed_of_latest_moves
from champion_gate.flow.operator_steps import StepOrders
from champion_gate_standins.databricks.server import Fault
from integration.commands import run_command
from integration.endpoint_shapes import SHAPES, but_counter, expected, settable, shared_out
from integration.gate_crashes import DiesAtWrite, StoreBetween, start_with
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.spread(4)

OPERATOR = Caller("operator-1", Role.OPERATOR, "API token t1")
ENDPOINT = "churn-prod"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def add_job(world: GateWorld, **course: object) -> str:
    parameters = dict.fromkeys(("model_name", "model_version", "alias", "promotion_id", "mode"), "")
    job = world.databricks.jobs.add_job("batch-churn", parameters=parameters)
    world.databricks.starts.set_course(job, **course)
    return job


def add_endpoint(world: GateWorld, name: str = ENDPOINT) -> None:
    entity = {"name": "champion", "entity_name": world.models.model, "entity_version": "1"}
    secret = {"environment_vars": {"KEY": "written-out-by-mistake"}}
    world.databricks.serving.add_endpoint(name, [{**entity, **secret}])


def promote(world: GateWorld) -> Promotion:
    pending = world.ask()
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    return world.again(pending)


def ends(world: GateWorld) -> list[tuple[StepKind, StepPhase]]:
    return [(step.kind, step.phase) for step in world.after_moves()]


def served(world: GateWorld, name: str = ENDPOINT) -> set[str]:
    return versions_of(world.databricks.serving.shown(name)["config"], world.models.model)


def roll_back(world: GateWorld) -> None:
    key = world.models.model
    world.core.alias_orders.roll_back(key, "Champion", Order(OPERATOR, "it answers nonsense"))


def test_a_job_and_an_endpoint_follow_a_promotion_in_order(world: GateWorld) -> None:
    job = add_job(world, seconds=300)
    add_endpoint(world)
    world.databricks.serving.update_seconds = 600
    world.reconfigure(
        after=[{"job": int(job), "parameters": {"mode": "full"}}, {"serving_endpoint": ENDPOINT}]
    )
    promoted = promote(world)

    (run,) = world.databricks.starts.runs_of(job)
    assert run.parameters == {
        "model_name": world.models.model,
        "model_version": "2",
        "alias": "Champion",
        "promotion_id": promoted.id,
        "mode": "full",
    }
    assert world.databricks.serving.updates == []
    world.live(minutes=6)
    assert ends(world) == [(StepKind.JOB, StepPhase.SUCCEEDED), (StepKind.ENDPOINT, StepPhase.RUNNING)]
    world.live(minutes=11)

    assert ends(world) == [(StepKind.JOB, StepPhase.SUCCEEDED), (StepKind.ENDPOINT, StepPhase.SUCCEEDED)]
    assert served(world) == {"2"}
    batch, endpoint = world.after_moves()
    assert (batch.external_id, batch.reason) == (run.run_id, "The job succeeded.")
    assert endpoint.reason == "The endpoint serves v2."
    assert (
        json.loads(endpoint.result_json or "")["config_before"]["served_entities"][0]["entity_version"] == "1"
    )
    assert "written-out-by-mistake" not in str(world.after_moves())
    assert [line for line in world.ledger() if line[0] == "step"] == [
        ("step", "The job succeeded."),
        ("step", "The endpoint serves v2."),
    ]
    shown = [step.id for step in world.store.steps_of(promoted.id)]
    assert shown[-2:] == [batch.id, endpoint.id]
    assert (len(world.databricks.starts.started), len(world.databricks.serving.updates)) == (1, 1)


def test_a_rollback_a_minute_later_takes_the_endpoint_back(world: GateWorld) -> None:
    add_endpoint(world)
    world.databricks.serving.update_seconds = 600
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT}])
    promote(world)
    world.live(minutes=1)
    roll_back(world)
    world.live(minutes=25)

    first, second = world.after_moves()
    assert (first.phase, second.phase) == (StepPhase.OVERTAKEN, StepPhase.SUCCEEDED)
    assert first.reason == "Its update may go on, and is followed by the next: Champion stands on v1 now."
    assert second.reason == "The endpoint serves v1."
    shown = world.databricks.serving.shown(ENDPOINT)
    assert (served(world), shown["state"]["ready"]) == ({"1"}, "READY")
    sent = [versions_of(each.config, world.models.model) for each in world.databricks.serving.updates]
    assert sent == [{"2"}, {"1"}]
    assert [move[:2] for move in world.moves()][-2:] == [("1", "2"), ("2", "1")]
    told = [reason for kind, reason in world.ledger() if kind == "step"]
    assert told == [first.reason, second.reason]
    assert [json.loads(step.result_json or "")["config_version_before"] for step in (first, second)] == [1, 2]


def test_an_update_that_is_carried_out_long_after_it_was_sent_does_not_stay(world: GateWorld) -> None:
    add_endpoint(world)
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT}])
    world.break_databricks("/config$", status=503, times=1)
    promote(world)
    roll_back(world)
    world.live(minutes=1)
    first, second = world.after_moves()
    assert (first.phase, second.phase, served(world)) == (StepPhase.OVERTAKEN, StepPhase.RUNNING, {"1"})
    assert f"an update of step {first.id} was not answered" in second.reason
    late = {"name": "champion", "entity_name": world.models.model, "entity_version": "2"}
    world.databricks.serving.update(ENDPOINT, {"served_entities": [late]})
    world.live(minutes=10)
    (_, second) = world.after_moves()
    assert (second.phase, second.reason) == (StepPhase.SUCCEEDED, "The endpoint serves v1.")
    assert served(world) == {"1"}


def test_a_rollback_while_an_update_is_being_sent_follows_it(world: GateWorld) -> None:
    add_endpoint(world)
    world.databricks.serving.update_seconds = 600
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT}])

    def meanwhile() -> None:
        roll_back(world)
        world.core.steps.carry_out(world.after_moves()[-1].id)

    world.databricks.serving.before_put = meanwhile
    promote(world)
    world.live(minutes=25)
    assert ends(world) == [(StepKind.ENDPOINT, StepPhase.OVERTAKEN), (StepKind.ENDPOINT, StepPhase.SUCCEEDED)]
    assert served(world) == {"1"}


@pytest.mark.parametrize("names_are_refused", [True, pytest.param(False, marks=pytest.mark.part("rest"))])
def test_endpoints_of_every_shape_keep_all_but_the_version_through_promotion_and_rollback(
    world: GateWorld, *, names_are_refused: bool
) -> None:
    for number in range(2, 8):
        world.models.train(world.job_id, str(number), {"f1": 0.9})
    world.models.move_alias("7")
    serving = world.databricks.serving
    serving.refuses_old_names = names_are_refused
    for shape in SHAPES:
        serving.add_endpoint(
            shape.name, shape.entities, routes=shape.routes, config=shape.config, **shape.extras
        )
    first = {shape.name: serving.shown(shape.name) for shape in SHAPES}
    world.reconfigure(after=[{"serving_endpoint": shape.name} for shape in SHAPES])
    promote(world)
    world.live(minutes=8)
    for shape in SHAPES:
        forced = shape.forced if names_are_refused else {}
        there = serving.shown(shape.name)
        assert but_counter(there) == but_counter(expected(first[shape.name], "8", forced)), shape
        # Meanwhile somebody gives each route the share of the one at the other end.
        shares = [route["traffic_percentage"] for route in there["config"]["traffic_config"]["routes"]][::-1]
        serving.update(shape.name, settable(shared_out(there["config"], shares)))
        first[shape.name]["config"] = shared_out(first[shape.name]["config"], shares)

    roll_back(world)
    world.live(minutes=8)
    for shape in SHAPES:
        assert but_counter(serving.shown(shape.name)) == but_counter(first[shape.name]), shape
    assert ends(world) == 2 * len(SHAPES) * [(StepKind.ENDPOINT, StepPhase.SUCCEEDED)]
    assert len(serving.updates) == 3 * len(SHAPES)


@pytest.mark.part("rest")
def test_what_has_not_begun_when_the_alias_moves_on_is_skipped(world: GateWorld) -> None:
    job = add_job(world, seconds=600)
    add_endpoint(world)
    world.reconfigure(after=[{"job": int(job), "on": ["promoted"]}, {"serving_endpoint": ENDPOINT}])
    promote(world)
    roll_back(world)
    world.live(minutes=15)

    assert ends(world) == [
        (StepKind.JOB, StepPhase.SUCCEEDED),
        (StepKind.ENDPOINT, StepPhase.SKIPPED),
        (StepKind.ENDPOINT, StepPhase.SUCCEEDED),
    ]
    assert world.after_moves()[0].reason == "Meanwhile Champion stands on v1 now. The job succeeded."
    assert world.databricks.serving.updates == []
    assert world.after_moves()[2].reason == "The endpoint served v1 already."


@pytest.mark.parametrize(
    ("course", "phase", "told"),
    [
        ({"seconds": None}, StepPhase.RUNNING, "The job runs (RUNNING), and is left running."),
        pytest.param(
            {"seconds": 60, "code": "CLUSTER_ERROR", "tasks": {"main": "CLUSTER_ERROR"}},
            StepPhase.FAILED,
            "The job could not run: CLUSTER_ERROR",
            marks=pytest.mark.part("rest"),
        ),
    ],
)
def test_a_run_that_is_under_way_when_the_alias_moves_on_says_so_however_it_goes(
    world: GateWorld, course: dict[str, object], phase: StepPhase, told: str
) -> None:
    job = add_job(world, **course)
    world.reconfigure(after=[{"job": int(job), "on": ["promoted"]}])
    promote(world)
    roll_back(world)
    world.live(minutes=5)
    (step,) = world.after_moves()
    assert (step.phase, step.reason) == (phase, f"Meanwhile Champion stands on v1 now. {told}")
    assert world.databricks.starts.runs_of(job)[0].cancelled is None


@pytest.mark.part("rest")
def test_a_move_back_and_forth_is_no_reason_to_do_the_first_ones_work(world: GateWorld) -> None:
    job = add_job(world, seconds=600)
    second = add_job(world)
    world.reconfigure(after=[{"job": int(job), "on": ["promoted"]}, {"job": int(second)}])
    promote(world)
    roll_back(world)
    world.core.alias_orders.put(
        world.models.model, "Champion", "2", Order(OPERATOR, "it was right", override_hold=True)
    )
    world.live(minutes=15)
    assert [step.phase for step in world.after_moves()] == [
        StepPhase.SUCCEEDED,
        StepPhase.SKIPPED,
        StepPhase.SKIPPED,
        StepPhase.SUCCEEDED,
    ]
    assert [run.parameters["promotion_id"] for run in world.databricks.starts.runs_of(second)] == [""]


def test_what_fails_undoes_nothing_and_the_next_goes_on(world: GateWorld) -> None:
    job = add_job(
        world, code="RUN_EXECUTION_ERROR", tasks={"main": "RUN_EXECUTION_ERROR"}, message="No such table."
    )
    add_endpoint(world)
    world.databricks.serving.failure = "The model could not be loaded."
    world.reconfigure(after=[{"job": int(job)}, {"serving_endpoint": ENDPOINT}])
    promoted = promote(world)
    world.live(minutes=5)

    assert ends(world) == [(StepKind.JOB, StepPhase.FAILED), (StepKind.ENDPOINT, StepPhase.FAILED)]
    batch, endpoint = world.after_moves()
    assert batch.reason == "The job failed: RUN_EXECUTION_ERROR: No such table."
    assert endpoint.reason == "The update failed: champion: The model could not be loaded."
    assert (world.models.champion(), world.again(promoted).phase, served(world)) == (
        "2",
        Phase.PROMOTED,
        {"1"},
    )


def test_a_failure_is_seen_wherever_somebody_looks(world: GateWorld) -> None:
    job = add_job(
        world, code="RUN_EXECUTION_ERROR", tasks={"main": "RUN_EXECUTION_ERROR"}, message="No such table."
    )
    world.reconfigure(after=[{"job": int(job)}])
    promoted = promote(world)
    world.live(minutes=5)

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return run_command(*words, environ=world.environ, folder=world.folder)

    def warnings() -> object:
        return local_api(world.store).get("/readyz").get_json().get("warnings")

    watched = command("promotions", "watch", promoted.id)
    assert watched.returncode == 1
    assert "failed: The job failed: RUN_EXECUTION_ERROR: No such table." in watched.stdout
    assert "promoted, 1 failed after" in command("promotions", "list").stdout
    listed = command("steps", "list", world.models.model, "Champion").stdout
    assert listed.startswith(f"job {world.after_moves()[0].id}: failed: The job failed")
    assert "1 of the jobs and endpoints" in str(warnings())
    assert "RUN_EXECUTION_ERROR" not in str(warnings())

    receipt = world.folder / "receipt.json"
    receipt.write_text(
        local_api(world.store).get(f"/api/v1/promotions/{promoted.id}/receipt").get_data(as_text=True)
    )
    assert command("ledger", "verify-receipt", str(receipt)).returncode == 0

    command("steps", "skip", world.after_moves()[0].id, "--reason", "nobody needs it")
    assert warnings() is None
    assert command("promotions", "watch", promoted.id).returncode == 0
    kind, reason = world.ledger()[-1]
    assert (kind, reason.endswith(": nobody needs it")) == ("step", True)


@pytest.mark.part("rest")
def test_a_failure_warns_until_the_alias_moves_again(world: GateWorld) -> None:
    job = add_job(world, code="CLUSTER_ERROR", tasks={"main": "CLUSTER_ERROR"})
    world.reconfigure(after=[{"job": int(job), "on": ["promoted"]}])
    promote(world)
    world.live(minutes=5)
    assert len(failed_of_latest_moves(world.store)) == 1
    roll_back(world)
    assert failed_of_latest_moves(world.store) == []


@pytest.mark.parametrize("crash_first", [pytest.param(True, marks=pytest.mark.part("rest")), False])
def test_an_answer_that_is_lost_leads_to_one_run_and_one_update(
    world: GateWorld, *, crash_first: bool
) -> None:
    job = add_job(world, seconds=60)
    add_endpoint(world)
    world.databricks.serving.update_seconds = 120
    world.reconfigure(after=[{"job": int(job)}, {"serving_endpoint": ENDPOINT}])
    for path in ("run-now", "/config$"):
        world.databricks.faults.add(Fault(path, lose_answer=True, times=1))
    promote(world)
    if crash_first:
        world.crash()
    world.live(minutes=10)
    assert ends(world) == [(StepKind.JOB, StepPhase.SUCCEEDED), (StepKind.ENDPOINT, StepPhase.SUCCEEDED)]
    assert len(world.databricks.starts.runs_of(job)) == len(world.databricks.serving.updates) == 1


LAST = 20
"""How many writes follow the alias's move; one more is never reached."""
QUICK = (6,)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(each, marks=() if each in QUICK else pytest.mark.part("rest"))
        for each in range(1, LAST + 2)
    ],
)
def test_a_crash_before_any_write_leads_to_one_run_and_one_update(world: GateWorld, number: int) -> None:
    job = add_job(world, seconds=10)
    add_endpoint(world)
    world.databricks.serving.update_seconds = 20
    world.reconfigure(after=[{"job": int(job)}, {"serving_endpoint": ENDPOINT}])
    pending = world.ask()
    world.approve(pending)
    world.store.hint_promotion(pending.id, world.clock.now())
    world.core.promoter.advance(pending.id)
    dies = DiesAtWrite(number)
    start_with(world, StoreBetween(world.store, before=dies))
    try:
        world.live(minutes=2)
    except SystemExit:
        world.crash()
    world.live(minutes=5)

    assert dies.died is (number <= LAST), dies.left
    assert ends(world) == [(StepKind.JOB, StepPhase.SUCCEEDED), (StepKind.ENDPOINT, StepPhase.SUCCEEDED)]
    assert len(world.databricks.starts.runs_of(job)) == len(world.databricks.serving.updates) == 1
    assert [kind for kind, _ in world.ledger()].count("step") == 2
    assert served(world) == {"2"}


@pytest.mark.part("rest")
def test_a_job_follows_on_an_mlflow_registry_too(tmp_path: Path) -> None:
    with gate_world(tmp_path, "mlflow") as world:
        job = add_job(world)
        world.reconfigure(after=[{"job": int(job)}])
        promote(world)
        world.live(minutes=1)
        assert ends(world) == [(StepKind.JOB, StepPhase.SUCCEEDED)]
        assert world.databricks.starts.runs_of(job)[0].parameters["model_version"] == "2"


@pytest.mark.part("rest")
def test_a_parameter_that_the_job_does_not_define_starts_nothing(world: GateWorld) -> None:
    job = add_job(world)
    world.reconfigure(after=[{"job": int(job), "parameters": {"smaple": "full"}}])
    promote(world)
    world.live(minutes=1)
    (step,) = world.after_moves()
    assert "does not define the parameters smaple" in str(step.retry.last_error)
    assert world.databricks.starts.started == []


def test_somebody_elses_update_is_waited_for_and_kept(world: GateWorld) -> None:
    add_endpoint(world)
    serving = world.databricks.serving
    serving.update_seconds = 600
    entity = {
        "name": "champion",
        "entity_name": world.models.model,
        "entity_version": "1",
        "workload_size": "Large",
    }
    serving.before_put = lambda: serving.update(ENDPOINT, {"served_entities": [entity]})
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT}])
    promote(world)
    world.live(minutes=25)
    (step,) = world.after_moves()
    assert (step.phase, step.reason) == (StepPhase.SUCCEEDED, "The endpoint serves v2.")
    config = serving.shown(ENDPOINT)["config"]["served_entities"][0]
    assert (config["entity_version"], config["workload_size"]) == ("2", "Large")


@pytest.mark.parametrize("status", [403, pytest.param(503, marks=pytest.mark.part("rest"))])
def test_updates_that_were_not_taken_do_not_use_up_a_step(world: GateWorld, status: int) -> None:
    add_endpoint(world)
    serving = world.databricks.serving
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT, "timeout": "4h"}])
    refusing = world.break_databricks("/config$", status=status)
    promote(world)
    world.live(minutes=30)
    assert refusing.hits > 5
    (step,) = world.after_moves()
    assert (step.phase, len(serving.updates)) == (StepPhase.RUNNING, 0)
    world.databricks.faults.clear()
    world.live(minutes=61)
    assert ends(world) == [(StepKind.ENDPOINT, StepPhase.SUCCEEDED)]
    assert (len(serving.updates), served(world)) == (1, {"2"})


def test_an_endpoint_that_never_arrives_is_given_up_in_time(world: GateWorld) -> None:
    add_endpoint(world)
    world.databricks.serving.update_seconds = 86_400
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT, "timeout": "2m"}])
    promote(world)
    world.live(minutes=3)
    (step,) = world.after_moves()
    assert step.phase is StepPhase.FAILED
    assert step.reason.startswith("Not there within its time-out (on_its_way)")


@pytest.mark.part("rest")
def test_an_endpoint_that_others_put_back_again_and_again_is_given_up(world: GateWorld) -> None:
    add_endpoint(world)
    serving = world.databricks.serving
    back = {
        "served_entities": [{"name": "champion", "entity_name": world.models.model, "entity_version": "1"}]
    }
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT, "timeout": "2h"}])
    promote(world)
    for _ in range(6):
        serving.update(ENDPOINT, back)
        world.live(seconds=30)
    (step,) = world.after_moves()
    assert step.reason == "Updated 5 times, and somebody else's updates undid it."
    assert (step.phase, served(world)) == (StepPhase.FAILED, {"1"})


@pytest.mark.part("rest")
def test_an_operator_tries_again_what_failed(world: GateWorld) -> None:
    job = add_job(world, code="CLUSTER_ERROR", tasks={"main": "CLUSTER_ERROR"})
    world.reconfigure(after=[{"job": int(job)}])
    promote(world)
    world.live(minutes=1)
    (failed,) = world.after_moves()
    assert failed.reason == "The job could not run: CLUSTER_ERROR"
    world.databricks.starts.set_course(job)
    StepOrders(world.store, world.wake_ups, world.clock).retry(failed.id, actor="operator-1")
    world.live(minutes=1)
    (again,) = world.after_moves()
    assert again.phase is StepPhase.SUCCEEDED
    assert len(world.databricks.starts.runs_of(job)) == 2


@pytest.mark.part("rest")
def test_a_gate_without_it_makes_the_same_calls_as_before(world: GateWorld) -> None:
    promote(world)
    world.live(minutes=60)
    assert world.after_moves() == ()
    requests = world.databricks.requests
    written = [(each.method, each.path.rpartition("/")[2]) for each in requests if each.method != "GET"]
    assert Counter(written) == {("PUT", "Champion"): 1, ("POST", "set-tag"): 3, ("POST", "search"): 2}
    jobs = {each.query["job_id"] for each in requests if "job_id" in each.query}
    assert (jobs, [each for each in requests if "serving" in each.path]) == ({world.job_id}, [])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "was started by trainer@example.com"),
        pytest.param(
            {"model_version": "1"}, "was given another model_version", marks=pytest.mark.part("rest")
        ),
    ],
)
def test_a_run_that_is_not_ours_is_no_success(world: GateWorld, changes: dict[str, str], told: str) -> None:
    jobs, job = world.databricks.jobs, add_job(world)
    world.reconfigure(after=[{"job": int(job)}])
    pending = world.ask()
    given = {
        "model_name": world.models.model,
        "model_version": "2",
        "alias": "Champion",
        "promotion_id": pending.id,
    }
    run = jobs.start_run(job, parameters={**given, **changes})
    jobs.finish_run(run, "SUCCESS", notify=False)
    world.break_databricks("run-now", body=json.dumps({"run_id": int(run)}).encode())
    world.approve(pending)
    world.look()
    world.live(minutes=1)
    (step,) = world.after_moves()
    assert step.phase is StepPhase.FAILED
    assert told in step.reason
    assert world.models.champion() == "2"


def test_a_start_that_failed_is_not_made_once_the_alias_has_moved_on(world: GateWorld) -> None:
    job = add_job(world, seconds=60)
    world.reconfigure(after=[{"job": int(job), "on": ["promoted"]}])
    world.databricks.faults.add(Fault("run-now", status=503))
    promote(world)
    world.live(minutes=1)
    roll_back(world)
    world.databricks.faults.clear()
    world.live(minutes=30)
    assert world.databricks.starts.runs_of(job) == []
    assert [phase for _, phase in ends(world)] == [StepPhase.OVERTAKEN]


def test_what_databricks_quotes_of_an_endpoints_variables_is_kept_nowhere(
    world: GateWorld, caplog: pytest.LogCaptureFixture
) -> None:
    add_endpoint(world)
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT}])
    # The second time it stands where the vendor's words are cut.
    words = f"KEY is written-out-by-mistake, not a reference{'.' * 440}written-out-by-mistake"
    quoted = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": words}).encode()
    world.databricks.faults.add(Fault("/config$", status=400, body=quoted))
    promote(world)
    assert "KEY is [redacted], not a" in str(world.after_moves()[0].retry.last_error)
    world.live(days=2)
    assert ends(world) == [(StepKind.ENDPOINT, StepPhase.FAILED)]
    told = [line.entry for line in world.store.ledger_lines()]
    assert "written-out" not in f"{world.after_moves()} {told} {caplog.text}"


@pytest.mark.part("rest")
def test_words_of_a_failed_update_quote_no_variable(world: GateWorld) -> None:
    add_endpoint(world)
    world.databricks.serving.failure = "KEY=written-out-by-mistake is refused"
    world.reconfigure(after=[{"serving_endpoint": ENDPOINT}])
    promote(world)
    world.live(minutes=5)
    (step,) = world.after_moves()
    assert "KEY=[redacted] is refused" in step.reason


def test_a_start_that_was_not_answered_is_taken_up_again_as_the_same_run(world: GateWorld) -> None:
    job = add_job(world)
    world.reconfigure(after=[{"job": int(job)}])
    world.databricks.faults.add(Fault("run-now", lose_answer=True))
    promote(world)
    (start,) = world.after_moves()
    orders = StepOrders(world.store, world.wake_ups, world.clock)
    orders.skip(start.id, actor="operator-1", reason="no answer")
    world.databricks.faults.clear()
    orders.retry(start.id, actor="operator-1")
    world.live(minutes=5)
    assert ends(world) == [(StepKind.JOB, StepPhase.SUCCEEDED)]
    assert len(world.databricks.starts.runs_of(job)) == 1


@pytest.mark.part("rest")
def test_a_start_that_is_refused_can_be_skipped_for_what_waits_behind_it(world: GateWorld) -> None:
    job = add_job(world)
    add_endpoint(world)
    world.reconfigure(after=[{"job": int(job)}, {"serving_endpoint": ENDPOINT}])
    world.databricks.faults.add(Fault("run-now", status=403, error_code="PERMISSION_DENIED"))
    promote(world)
    world.live(minutes=5)
    start, _ = world.after_moves()
    StepOrders(world.store, world.wake_ups, world.clock).skip(start.id, actor="operator-1", reason="no grant")
    world.live(minutes=5)
    assert ends(world) == [(StepKind.JOB, StepPhase.SKIPPED), (StepKind.ENDPOINT, StepPhase.SUCCEEDED)]
