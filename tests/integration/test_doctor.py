"""`champion-gate doctor`: green where all is right, and for each single thing put wrong exactly the right check fails."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from champion_gate.bootstrap.databases import migrate_database
from champion_gate.domain.after import GIVEN_PARAMETERS
from champion_gate.domain.ports.approval import Person
from champion_gate.store import open_store
from champion_gate_standins.databricks.runs import Job
from champion_gate_standins.databricks.server import Fault
from integration.commands import clean_environ, command_line, run_command
from integration.doctor_world import MODEL, SERVING, US, VALIDATOR, DoctorWorld, Wrong, attach, doctor_world
from integration.gate_models import TRAINER
from integration.process_world import until

pytestmark = pytest.mark.spread(2)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DoctorWorld]:
    with doctor_world(tmp_path) as made:
        yield made


def test_is_green_where_all_is_right(world: DoctorWorld) -> None:
    findings = world.doctor()
    assert [each for each in findings if each["verdict"] != "ok"] == []


def job(world: DoctorWorld) -> Job:
    found = world.databricks.jobs.job(world.job_id)
    assert found is not None
    return found


def fault(path: str, status: int = 403) -> Callable[[DoctorWorld], object]:
    return lambda world: world.databricks.faults.add(
        Fault(path, status=status, error_code="PERMISSION_DENIED")
    )


def permit(world: DoctorWorld, job_id: str, principal: str, level: str | None) -> None:
    """Give a permission on a job, or take all away."""
    held = world.databricks.grants.objects["jobs", job_id]
    held.pop(principal) if level is None else held.update({principal: (held[principal][0], level)})


def validation_of(world: DoctorWorld) -> Job:
    found = world.databricks.jobs.job(str(int(world.job_id) + 1))
    assert found is not None
    return found


def validate_as_a_stranger(world: DoctorWorld) -> None:
    world.databricks.add_principal("other@example.com")
    validation_of(world).run_as = "other@example.com"


def start_as_a_manager(world: DoctorWorld) -> None:
    """A batch job follows the move, as somebody who manages the model."""
    who, databricks = "scorer@example.com", world.databricks
    databricks.add_principal(who)
    databricks.grants.grant("FUNCTION", MODEL, who, "EXECUTE", "MANAGE")
    batch = databricks.jobs.add_job("score", run_as=who, parameters=dict.fromkeys(GIVEN_PARAMETERS, ""))
    databricks.grants.permit("jobs", batch, "ml-owners", "CAN_MANAGE_RUN", "group_name")
    world.write_gates(after=[{"job": int(batch)}])


def never_registered(world: DoctorWorld) -> None:
    """The versions that there are were registered by somebody else."""
    world.databricks.catalog.version(MODEL, "1").created_by = "somebody@example.com"


def may_not_register(world: DoctorWorld) -> None:
    never_registered(world)
    world.databricks.grants.revoke("FUNCTION", MODEL, "ml-trainers", "CREATE_MODEL_VERSION")


def two_of_a_name(world: DoctorWorld) -> None:
    world.databricks.jobs.add_job("train-churn")
    world.write_gates(jobs=[int(world.job_id), "train-churn"])


def no_destination(world: DoctorWorld) -> None:
    attach(world.databricks, world.job_id, "ml-alerts")
    for each in world.databricks.destinations.by_id.values():
        each.display_name = each.display_name.replace("champion-gate", "gate")


def run_without_cluster(world: DoctorWorld, **cluster: object) -> None:
    """The cluster that ran is gone, and the job's settings tell this of the next one."""
    world.databricks.clusters.clusters.clear()
    job(world).more["job_clusters"][0]["new_cluster"] |= cluster


def own_model(world: DoctorWorld, owner: str) -> None:
    world.databricks.catalog.set_owner(MODEL, owner)
    world.databricks.grants.grant("FUNCTION", MODEL, US, "EXECUTE")


def fail_a_run(world: DoctorWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    run = world.databricks.jobs.run(run_id)
    assert run is not None
    run.tasks[0].cluster_id = "0101-small"
    world.databricks.jobs.finish_run(run_id, "RUN_EXECUTION_ERROR")


def serve_as(world: DoctorWorld, **extras: object) -> None:
    entity = {"name": "churn", "entity_name": MODEL, "entity_version": "1", "workload_size": "Small"}
    world.databricks.serving.add_endpoint("churn", [entity], **{"creator": SERVING, **extras})  # type: ignore[arg-type]


def look_up(world: DoctorWorld, warehouse: str = "abcdef01", **broken: bool) -> None:
    """Configure a warehouse; there is abcdef01."""
    world.databricks.sql.warehouses.add("abcdef01")
    world.extra["databricks"] = {"warehouse": warehouse}
    world.write_gates()
    for name, value in broken.items():
        setattr(world.databricks.sql, name, value)


def test_the_audit_log_is_read_through_the_warehouse(world: DoctorWorld) -> None:
    look_up(world)
    found = {each["check"]: (each["verdict"], each["found"]) for each in world.doctor()}
    assert found["databricks.audit"] == ("ok", "system.access.audit can be read (warehouse abcdef01)")


WARNING, NOT_KNOWN = "warning", "not known"
WRONG = {
    # who moves aliases outside
    "a warehouse that is not there": Wrong(
        lambda world: look_up(world, "abcdef02"),
        "databricks.audit",
        "Correct the id under databricks.warehouse",
    ),
    "a warehouse that we may not use": Wrong(
        lambda world: look_up(world, usable=False),
        "databricks.audit",
        f"Give {US} CAN USE on the SQL warehouse",
    ),
    "an audit log that we may not read": Wrong(
        lambda world: look_up(world, selectable=False),
        "databricks.audit",
        f"GRANT SELECT ON TABLE system.access.audit TO `{US}`;",
    ),
    # jobs
    "a job that is hidden from us": Wrong(
        lambda world: permit(world, world.job_id, US, None),
        "databricks.job",
        f"give {US} CAN VIEW",
        hides=True,
    ),
    "a job that is gone": Wrong(
        lambda world: world.write_gates(jobs=[4711]),
        "databricks.job",
        "correct the job's id under jobs of gate churn",
        hides=True,
    ),
    "a name that two jobs bear": Wrong(
        two_of_a_name, "databricks.job", "Write the job's id in place of 'train-churn'"
    ),
    "a trainer without identity": Wrong(
        lambda world: world.write_gates(identities={}), "databricks.run_as", f"{TRAINER}"
    ),
    "a job that runs as a group": Wrong(
        lambda world: world.databricks.jobs.run_job_as(world.job_id, None, {"group_name": "ml-trainers"}),
        "databricks.run_as",
        "ml-trainers",
        also={"databricks.compute": WARNING},
        hides=True,
    ),
    "our destination is not attached": Wrong(
        lambda world: attach(world.databricks, world.job_id, "ml-alerts"),
        "databricks.notification",
        "Job notifications, add champion-gate 127.0.0.1:",
        WARNING,
    ),
    "three others are attached": Wrong(
        lambda world: attach(world.databricks, world.job_id, "ml-alerts", "on-call", "other"),
        "databricks.notification",
        "First take one away: a job has at most 3 (ml-alerts, on-call, other)",
        WARNING,
    ),
    "the destination of another installation": Wrong(
        lambda world: attach(
            world.databricks, world.job_id, "champion-gate", "champion-gate other.example.com"
        ),
        "databricks.notification",
        "Job notifications, add champion-gate 127.0.0.1:",
        WARNING,
    ),
    "there is no destination of ours": Wrong(
        no_destination,
        "databricks.notification",
        "let a workspace administrator rename it, else make it",
        WARNING,
    ),
    "destinations are hidden": Wrong(
        fault("notification-destinations"), "databricks.notification", "", NOT_KNOWN
    ),
    "the last run failed": Wrong(fail_a_run, "databricks.last_run", "See why: http", WARNING),
    # compute
    "a cluster without access mode": Wrong(
        run_without_cluster, "databricks.compute", "data_security_mode: DATA_SECURITY_MODE_AUTO", WARNING
    ),
    "a cluster that isolates nobody": Wrong(
        lambda world: world.databricks.clusters.clusters["0101-small"].update(data_security_mode="NONE"),
        "databricks.compute",
        "serverless compute",
        WARNING,
    ),
    "an access mode that is new": Wrong(
        lambda world: run_without_cluster(world, data_security_mode="DATA_SECURITY_MODE_NOVEL"),
        "databricks.compute",
        "serverless compute",
        NOT_KNOWN,
    ),
    "a cluster of somebody else": Wrong(
        lambda world: world.databricks.clusters.clusters["0101-small"].update(
            single_user_name="x@example.com"
        ),
        "databricks.compute",
        "dedicated to the principal as whom the job runs",
        WARNING,
    ),
    # jobs that the gate starts, and endpoints
    "a validation that we may not start": Wrong(
        lambda world: permit(world, str(int(world.job_id) + 1), "ml-owners", "CAN_VIEW"),
        "databricks.started_job",
        f"give {US} CAN MANAGE RUN",
    ),
    "a validation that lacks a parameter": Wrong(
        lambda world: setattr(validation_of(world), "parameters", {"model_name": ""}),
        "databricks.started_job",
        "Job parameters",
    ),
    "a validation as somebody who may not use the model": Wrong(
        validate_as_a_stranger,
        "databricks.started_job",
        f"GRANT EXECUTE ON FUNCTION {MODEL} TO `other@example.com`;",
    ),
    "who may start jobs is hidden": Wrong(
        fault("permissions/jobs"), "databricks.started_job", f"give {US} CAN MANAGE RUN", NOT_KNOWN
    ),
    "an endpoint that we may only query": Wrong(
        lambda world: serve_as(world, permission_level="CAN_QUERY"),
        "databricks.endpoint",
        f"give {US} CAN MANAGE",
    ),
    "an endpoint of a person": Wrong(
        lambda world: serve_as(world, creator=TRAINER),
        "databricks.endpoint",
        "Make the endpoint anew",
        WARNING,
    ),
    "an endpoint whose creator lost its right": Wrong(
        lambda world: world.databricks.grants.revoke("FUNCTION", MODEL, SERVING, "EXECUTE"),
        "databricks.endpoint",
        f"GRANT EXECUTE ON FUNCTION {MODEL} TO `{SERVING}`;",
    ),
    # privileges
    "no USE CATALOG": Wrong(
        lambda world: world.databricks.grants.revoke("CATALOG", "main", "ml-owners", "USE_CATALOG"),
        "databricks.privileges",
        f"GRANT USE CATALOG ON CATALOG main TO `{US}`;",
        hides=True,
    ),
    "no USE SCHEMA": Wrong(
        lambda world: world.databricks.grants.revoke("SCHEMA", "main.ml", US, "USE_SCHEMA"),
        "databricks.privileges",
        f"GRANT USE SCHEMA ON SCHEMA main.ml TO `{US}`;",
        hides=True,
    ),
    "a model of somebody else": Wrong(
        lambda world: own_model(world, "somebody@example.com"),
        "databricks.alias",
        "--owner GROUP",
        hides=True,
    ),
    "a model of the trainer": Wrong(
        lambda world: own_model(world, TRAINER),
        "databricks.separation",
        f"with a group that {TRAINER} is not in",
        also={"databricks.alias": "FAIL"},
        hides=True,
    ),
    "a model of a group that we are not in": Wrong(
        lambda world: own_model(world, "others"), "databricks.alias", "--write-probe", NOT_KNOWN, hides=True
    ),
    "a trainer in the owning group": Wrong(
        lambda world: world.databricks.principals.join(TRAINER, "ml-owners"),
        "databricks.separation",
        f"with a group that {TRAINER} is not in",
    ),
    "a trainer who manages the schema": Wrong(
        lambda world: world.databricks.grants.grant("SCHEMA", "main.ml", TRAINER, "MANAGE"),
        "databricks.separation",
        f"REVOKE MANAGE ON SCHEMA main.ml FROM `{TRAINER}`;",
        also={"databricks.others": WARNING},
    ),
    "a trainer whose groups are hidden": Wrong(
        lambda world: setattr(world.databricks.principals, "hides_others", True),
        "databricks.separation",
        "Let an administrator look",
        NOT_KNOWN,
        also={"databricks.started_job": NOT_KNOWN},  # it runs as the trainer too
    ),
    "a validation as a member of the owning group": Wrong(
        lambda world: world.databricks.principals.join(VALIDATOR, "ml-owners"),
        "databricks.separation",
        f"with a group that {VALIDATOR} is not in",
    ),
    "a validation that may register versions": Wrong(
        lambda world: world.databricks.grants.grant("FUNCTION", MODEL, VALIDATOR, "CREATE_MODEL_VERSION"),
        "databricks.separation",
        f"REVOKE CREATE MODEL VERSION ON FUNCTION {MODEL} FROM `{VALIDATOR}`;",
        WARNING,
    ),
    "a validation as the trainer": Wrong(
        lambda world: setattr(validation_of(world), "run_as", TRAINER),
        "databricks.separation",
        f"REVOKE CREATE MODEL VERSION ON FUNCTION {MODEL} FROM `ml-trainers`;",
        WARNING,
    ),
    "a job after the move that manages the model": Wrong(
        start_as_a_manager,
        "databricks.separation",
        f"REVOKE MANAGE ON FUNCTION {MODEL} FROM `scorer@example.com`;",
        also={"databricks.others": WARNING},
    ),
    "a trainer who may not register": Wrong(
        may_not_register,
        "databricks.training",
        f"GRANT CREATE MODEL VERSION ON FUNCTION {MODEL} TO `{TRAINER}`;",
    ),
    "a trainer of whom little is shown": Wrong(
        never_registered,
        "databricks.training",
        f"GRANT USE CATALOG ON CATALOG main TO `{TRAINER}`;",
        NOT_KNOWN,
    ),
    "somebody else who manages it": Wrong(
        lambda world: world.databricks.grants.grant("FUNCTION", MODEL, "Platform", "MANAGE"),
        "databricks.others",
        f"REVOKE MANAGE ON FUNCTION {MODEL} FROM `Platform`;",
        WARNING,
    ),
    "we own the schema": Wrong(
        lambda world: world.databricks.grants.owners.update({("SCHEMA", "main.ml"): US}),
        "databricks.own_rights",
        "ALTER SCHEMA main.ml OWNER TO another group;",
        WARNING,
    ),
    "a group of ours that manages the schema": Wrong(
        lambda world: world.databricks.grants.grant("SCHEMA", "main.ml", "ml-owners", "MANAGE"),
        "databricks.own_rights",
        "REVOKE MANAGE ON SCHEMA main.ml FROM `ml-owners`;",
        WARNING,
    ),
    "we are an administrator": Wrong(
        lambda world: world.databricks.principals.join(US, "admins"),
        "databricks.own_rights",
        f"Take {US} out of the group admins",
        WARNING,
    ),
    "we may change the training job": Wrong(
        lambda world: permit(world, world.job_id, US, "CAN_MANAGE"),
        "databricks.own_rights",
        "CAN VIEW is enough for us",
        WARNING,
    ),
    "a deployment job": Wrong(
        lambda world: world.databricks.catalog.set_deployment_job(MODEL, "77"),
        "databricks.deployment_job",
        "disconnect it",
        WARNING,
    ),
    "an experiment that is hidden": Wrong(
        fault("mlflow/runs/get"), "databricks.experiment", "CAN READ on the MLflow experiment"
    ),
    "a model that is not there": Wrong(
        lambda world: world.databricks.catalog.remove_model(MODEL),
        "databricks.model",
        f"GRANT EXECUTE ON FUNCTION {MODEL}",
        hides=True,
    ),
    # the workspace
    "a wrong token": Wrong(
        lambda world: world.environ.update(DATABRICKS_TOKEN="another-token"),
        "databricks.identity",
        "Check DATABRICKS_HOST",
        hides=True,
    ),
    "a workspace that is away": Wrong(
        lambda world: world.environ.update(DATABRICKS_HOST="http://127.0.0.1:9"),
        "databricks.identity",
        "",
        hides=True,
    ),
}
QUICK = (
    *("a job that is hidden from us", "our destination is not attached", "a cluster without access mode"),
    *("no USE SCHEMA", "a model of somebody else", "a trainer in the owning group", "a wrong token"),
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.part(WRONG[each].part)) for each in WRONG],
)
def test_says_what_is_wrong_and_what_to_do(world: DoctorWorld, name: str) -> None:
    wrong = WRONG[name]
    wrong.put(world)
    findings = world.doctor(code=1 if wrong.verdict == "FAIL" else 0)
    told = {(each["check"], each["verdict"]) for each in findings if each["verdict"] != "ok"}
    others = {
        each for each in told - {(wrong.check, wrong.verdict)} if each not in (wrong.also or {}).items()
    }
    if wrong.hides:
        others = {each for each in others if each[1] != "not known"}
    assert (wrong.check, wrong.verdict) in told, findings
    assert others == set()
    said = [each for each in findings if (each["check"], each["verdict"]) == (wrong.check, wrong.verdict)]
    assert wrong.remedy in said[0]["remedy"]
    assert said[0]["why"]


def test_prints_for_people_and_exits_by_what_it_found(world: DoctorWorld) -> None:
    def told() -> tuple[int, str, str]:
        done = run_command("doctor", environ=world.environ, folder=world.folder)
        return done.returncode, done.stdout, done.stderr

    code, text, errors = told()
    assert (code, errors) == (0, "")
    assert "ok         databricks.identity: we are 0f0e0d0c-1111-2222-3333-444455556666 at http" in text
    world.environ["DATABRICKS_TOKEN"] = "another-token"
    code, text, _ = told()
    assert code == 1
    assert "FAIL       databricks.identity: " in text
    assert "           do: The token is wrong, has expired or was revoked." in text


def test_settings_that_cannot_be_used_exit_with_2(world: DoctorWorld) -> None:
    done = run_command("doctor", "--gate", "nobody", environ=world.environ, folder=world.folder)
    assert done.returncode == 2
    assert "found 'nobody'; expected one of churn" in done.stderr


def test_config_check_online_prints_whose_each_login_is(world: DoctorWorld) -> None:
    def told(*more: str) -> tuple[int, str, str]:
        done = run_command("config", "check", *more, environ=world.environ, folder=world.folder)
        return done.returncode, done.stdout, done.stderr

    number = world.github.state.user("octo-trainer").id
    is_theirs = f"identities.{TRAINER} is octo-trainer, octo-trainer (id {number})"
    code, text, _ = told("--online")
    assert (code, is_theirs in text) == (0, True), text
    assert is_theirs not in told()[1]
    assert not (world.folder / "gate.db").exists()
    migrate_database(world.environ["CHAMPION_GATE_DATABASE_URL"])
    with open_store(world.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
        store.remember_login("github", "octo-trainer", Person("7", "octo-trainer"), datetime.now(UTC))
    code, text, _ = told("--online")
    assert code == 1
    assert f"octo-trainer --id {number} --reason WHY" in text
    world.github.delete_user("octo-trainer")
    code, text, _ = told("--online", "--json")
    assert (code, json.loads(text)["accounts"][0]["verdict"]) == (0, "warning")
    code, _, errors = told("--online", "--file", "gates.yaml")
    assert code == 2
    assert "--online takes the service's secrets" in errors


# --- compute ----------------------------------------------------------------------------------------------

NOTEBOOK: dict[str, object] = {"notebook_task": {}}
BARE: dict[str, object] = {"task_key": "bare", **NOTEBOOK, "new_cluster": {"num_workers": 1}}


def of_policy(policy_id: str) -> dict[str, object]:
    return {**NOTEBOOK, "new_cluster": {"policy_id": policy_id}}


@pytest.mark.part("rest")
@pytest.mark.parametrize(
    ("task", "verdict"),
    [
        pytest.param({"spark_python_task": {}, "environment_key": "default"}, "ok", id="serverless"),
        pytest.param({"sql_task": {}}, "ok", id="no compute of ours"),
        pytest.param(
            {**NOTEBOOK, "new_cluster": {"data_security_mode": "USER_ISOLATION"}}, "ok", id="shared"
        ),
        pytest.param({**NOTEBOOK, "existing_cluster_id": "0101-team"}, "ok", id="a team's cluster"),
        pytest.param(
            {**NOTEBOOK, "existing_cluster_id": "0101-gone"}, NOT_KNOWN, id="a cluster that is gone"
        ),
        pytest.param({**NOTEBOOK, "existing_cluster_id": "0101-hidden"}, NOT_KNOWN, id="a hidden cluster"),
        pytest.param({"for_each_task": {"task": BARE}}, WARNING, id="for each"),
        pytest.param({"run_job_task": {"job_id": 4712}}, NOT_KNOWN, id="a job that is hidden"),
        pytest.param(of_policy("fixes"), "ok", id="fixed by policy"),
        pytest.param(of_policy("fixes nothing"), WARNING, id="not fixed by policy"),
        pytest.param(of_policy("hidden"), NOT_KNOWN, id="policy that is hidden"),
    ],
)
def test_where_a_task_runs(world: DoctorWorld, task: dict[str, object], verdict: str) -> None:
    places, first = world.databricks.clusters, {"task_key": "first", **NOTEBOOK, "environment_key": "e"}
    places.clusters["0101-team"] = {"data_security_mode": "DATA_SECURITY_MODE_STANDARD"}
    places.hidden.add("0101-hidden")
    places.policies |= {"fixes": {"data_security_mode": {"type": "fixed", "value": "SINGLE_USER"}}}
    places.policies["fixes nothing"] = {"data_security_mode": {"type": "allowlist", "values": ["NONE"]}}
    # The one that matters is on the second page.
    tasks = [{**first, "task_key": f"first-{number}"} for number in range(100)]
    job(world).more = {**job(world).more, "tasks": [*tasks, {"task_key": "last", **task}]}
    found = [each for each in world.doctor() if each["check"] == "databricks.compute"]
    assert [each["verdict"] for each in found] == [verdict], found


@pytest.mark.part("rest")
def test_a_job_that_copies_runs_as_nobody_who_trains(world: DoctorWorld) -> None:
    copier = world.databricks.jobs.add_job(
        "copy", run_as=TRAINER, parameters={"model_name": "", "model_version": "", "destination": ""}
    )
    world.databricks.grants.permit("jobs", copier, US, "CAN_MANAGE_RUN", "service_principal_name")
    world.databricks.catalog.add_model("main.prod.churn")
    world.databricks.grants.grant("CATALOG", "main", US, "USE_SCHEMA")
    world.write_gates(promote_to={"model": "main.prod.churn", "job": int(copier)}, after=[])
    failed = {each["check"]: each for each in world.doctor(code=1) if each["verdict"] == "FAIL"}
    assert list(failed) == ["databricks.started_job"], failed
    said = failed["databricks.started_job"]
    assert "who trains could plant something else" in said["found"]


# --- writing ----------------------------------------------------------------------------------------------

WRITTEN = [(MODEL, "champion-gate-doctor", 1), (MODEL, "champion-gate-doctor", None)]


def verdicts(world: DoctorWorld, *arguments: str, code: int = 0) -> dict[str, str]:
    return {each["check"]: each["verdict"] for each in world.doctor(*arguments, code=code)}


def test_a_probe_shows_who_may_move_aliases_and_leaves_nothing(world: DoctorWorld) -> None:
    migrate_database(world.environ["CHAMPION_GATE_DATABASE_URL"])
    world.databricks.catalog.set_alias(MODEL, "Champion", "1")
    assert "registry.write" not in verdicts(world)
    assert world.databricks.catalog.alias_writes == []
    found = verdicts(world, "--write-probe")
    assert found["registry.write"] == "ok"
    assert "databricks.alias" not in found
    assert world.databricks.catalog.alias_writes == WRITTEN
    assert world.databricks.catalog.alias(MODEL, "Champion") == "1"
    assert world.databricks.catalog.alias(MODEL, "champion-gate-doctor") is None


def test_a_refused_probe_is_kept_until_one_is_carried_out(world: DoctorWorld) -> None:
    migrate_database(world.environ["CHAMPION_GATE_DATABASE_URL"])
    own_model(world, "others")
    (said,) = [each for each in world.doctor("--write-probe", code=1) if each["verdict"] == "FAIL"]
    assert said["check"] == "registry.write"
    assert "needs the model's owner" in said["remedy"]
    assert verdicts(world, code=1)["registry.refused"] == "FAIL"
    world.databricks.principals.join(US, "others")
    assert verdicts(world, "--write-probe")["registry.write"] == "ok"
    assert verdicts(world)["registry.refused"] == "ok"


@pytest.mark.part("rest")
@pytest.mark.parametrize(
    ("lost", "verdict"),
    [
        ({"status": 500}, "not known"),
        ({"lose_answer": True}, "not known"),
        ({"status": 403, "error_code": "PERMISSION_DENIED"}, "FAIL"),
    ],
)
def test_a_probe_cleans_up_after_answers_that_were_lost(
    world: DoctorWorld, lost: dict[str, Any], verdict: str
) -> None:
    world.databricks.faults.add(Fault("aliases/champion-gate-doctor", method="DELETE", times=1, **lost))
    (said,) = [each for each in world.doctor("--write-probe", code=None) if each["check"] == "registry.write"]
    assert said["verdict"] == verdict
    assert f"Delete the alias champion-gate-doctor of {MODEL}, if it is there." in said["remedy"]
    assert world.databricks.catalog.alias(MODEL, "champion-gate-doctor") is None


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.part("rest")),
        pytest.param(signal.SIGINT, marks=pytest.mark.part("full")),
    ],
)
def test_a_probe_that_is_interrupted_takes_its_alias_away(world: DoctorWorld, sent: signal.Signals) -> None:
    hang = threading.Event()
    world.databricks.faults.add(Fault("aliases/champion-gate-doctor", method="DELETE", hang=hang))
    process = subprocess.Popen(
        command_line("doctor", "--write-probe"), cwd=world.folder, env=clean_environ(world.environ)
    )
    try:
        until(lambda: world.databricks.catalog.alias(MODEL, "champion-gate-doctor"), "it was never set")
        process.send_signal(sent)
        hang.set()
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert world.databricks.catalog.alias(MODEL, "champion-gate-doctor") is None


@pytest.mark.part("rest")
def test_a_gates_own_alias_is_never_the_probe(world: DoctorWorld) -> None:
    world.write_gates(alias="Champion-Gate-Doctor")
    (said,) = [each for each in world.doctor("--write-probe", code=1) if each["check"] == "registry.write"]
    assert "Choose another name" in said["remedy"]
    assert world.databricks.catalog.alias_writes == []
