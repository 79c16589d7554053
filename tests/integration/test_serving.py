"""`champion-gate serve`: what it refuses, and how two of them share a database."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import requests

from champion_gate.domain.promotion import Phase
from integration.gate_world import SECRETS
from integration.process_world import ProcessWorld, free_port, port_of, process_world, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    with process_world(tmp_path) as made:
        yield made


# --- starting ----------------------------------------------------------------------------------------------


def test_it_serves_with_a_lean_master_and_logs_json(world: ProcessWorld) -> None:
    served = world.serve()
    assert requests.get(f"{world.url}/livez", timeout=10).json() == {"status": "alive"}
    assert requests.get(f"{world.url}/readyz", timeout=30).status_code == 200
    assert len(served.workers()) == 1
    assert {"message", "time", "level"} <= set(world.log_lines()[0])
    for secret in (*SECRETS.values(), world.environ["CHAMPION_GATE_GITHUB_TOKEN"], "standin-token"):
        assert secret == "databricks" or secret not in served.output()


@pytest.mark.part("rest")
def test_a_full_disk_is_not_ready_and_a_vendor_that_is_away_is(world: ProcessWorld) -> None:
    world.github.faults.add(".", status=503)
    served = world.serve()

    def states() -> dict[str, str]:
        answer = requests.get(f"{world.url}/readyz", timeout=30)
        assert answer.status_code == 200
        return {each["vendor"]: each["state"] for each in answer.json()["vendors"]}

    until(
        lambda: states() == {"registry": "answers", "github": "unreachable"}, "the vendors are not looked at"
    )
    (worker,) = served.workers()
    # No file of its may grow any more, which is what a full disk comes to.
    worker.rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))
    until(lambda: requests.get(f"{world.url}/readyz", timeout=30).status_code == 503, "it is still ready")
    failed = requests.get(f"{world.url}/readyz", timeout=30).json()["failed"]
    assert [each["check"] for each in failed] == ["database"]


def test_host_and_port_of_the_command_line_win(world: ProcessWorld) -> None:
    port = free_port()
    served = world.launch("--host", "localhost", "--port", str(port), "--console")
    until(lambda: "Listening at" in served.output(), served.output)
    served.url = f"http://localhost:{port}"
    served.wait_until_alive()
    assert not served.output().startswith("{")


def test_the_database_is_made_beside_what_the_address_says(world: ProcessWorld) -> None:
    world.environ["CHAMPION_GATE_DATABASE_URL"] = "sqlite:///relative.db"
    world.serve()
    assert (world.folder / "relative.db").exists()


# --- what it refuses ---------------------------------------------------------------------------------------


def assert_refused(world: ProcessWorld, *parts: str, **environ: str) -> str:
    """Exit 2, each problem once, nothing that only a programmer understands; returns the message."""
    done = world.run_process("serve", **environ)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("champion-gate: ")
    for part in parts:
        assert done.stderr.count(part) == 1, (part, done.stderr)
    assert "Traceback" not in done.stderr
    for secret in (world.environ.get("CHAMPION_GATE_GITHUB_TOKEN"), *SECRETS.values()):
        assert not secret or secret == "databricks" or secret not in done.stderr
    return done.stderr


def test_every_problem_is_named_at_once(world: ProcessWorld) -> None:
    del world.environ["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"]
    world.write_gates(world.gate(expires_after="soon", jbos=[1]))
    message = assert_refused(
        world,
        "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD",
        "CHAMPION_GATE_PORT",
        "jbos",
        "'soon'",
        CHAMPION_GATE_PORT="eighty",
    )
    lines = [line.strip() for line in message.splitlines()[1:]]
    assert len(lines) == len(set(lines)) == 4
    assert all(line.startswith("- ") for line in lines)


@pytest.mark.part("full")
def test_missing_credentials_of_github(world: ProcessWorld) -> None:
    del world.environ["CHAMPION_GATE_GITHUB_TOKEN"]
    assert_refused(world, "CHAMPION_GATE_GITHUB_TOKEN")


@pytest.mark.part("rest")
def test_secrets_that_are_refused_are_not_repeated(world: ProcessWorld) -> None:
    message = assert_refused(
        world,
        "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD",
        "CHAMPION_GATE_DATABASE_URL",
        CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD="shorty",
        CHAMPION_GATE_DATABASE_URL="mysql://gate:hunter22@db/gate",
    )
    assert "shorty" not in message
    assert "hunter22" not in message


@pytest.mark.part("rest")
def test_databricks_without_credentials(world: ProcessWorld) -> None:
    del world.environ["DATABRICKS_TOKEN"]
    assert_refused(world, "DATABRICKS_*: no credentials are found", PATH="/nowhere")


@pytest.mark.part("rest")
def test_a_databricks_profile_with_an_address_out_of_the_browser(world: ProcessWorld) -> None:
    del (
        world.environ["DATABRICKS_TOKEN"],
        world.environ["DATABRICKS_HOST"],
        world.environ["CHAMPION_GATE_GITHUB_TOKEN"],
    )
    file = world.folder / "databrickscfg"
    file.write_text("[gate]\nhost = https://adb-1.2.azuredatabricks.net/?o=12\ntoken = dapi-x\n")
    assert_refused(
        world,
        "the host of profile gate in ",
        "CHAMPION_GATE_GITHUB_TOKEN",
        DATABRICKS_CONFIG_FILE=str(file),
        DATABRICKS_CONFIG_PROFILE="gate",
    )


@pytest.mark.part("rest")
def test_gates_that_are_not_there(world: ProcessWorld) -> None:
    assert_refused(world, "no-such.yaml", CHAMPION_GATE_CONFIG=f"{world.folder}/no-such.yaml")


@pytest.mark.part("full")
def test_gates_behind_a_link_that_leads_nowhere(world: ProcessWorld) -> None:
    (world.folder / "gates.yaml").unlink()
    (world.folder / "gates.yaml").symlink_to(world.folder / "gone.yaml")
    assert_refused(world, f"{world.folder}/gates.yaml")


@pytest.mark.part("full")
def test_gates_that_are_a_directory(world: ProcessWorld) -> None:
    assert_refused(world, str(world.folder), CHAMPION_GATE_CONFIG=str(world.folder))


@pytest.mark.part("rest")
def test_gates_that_are_no_yaml(world: ProcessWorld) -> None:
    (world.folder / "gates.yaml").write_text("gates: [")
    assert_refused(world, "gates.yaml")


def test_a_job_name_that_two_jobs_bear(world: ProcessWorld) -> None:
    other = world.databricks.jobs.add_job("train-churn")
    world.write_gates(world.gate(jobs=["train-churn"]))
    message = assert_refused(world, "'train-churn'")
    assert world.job_id in message
    assert other in message


@pytest.mark.part("full")
def test_a_job_name_that_no_job_bears(world: ProcessWorld) -> None:
    world.write_gates(world.gate(jobs=["train-nothing"]))
    assert_refused(world, "'train-nothing'")


@pytest.mark.part("rest")
def test_job_names_are_checked_later_when_databricks_does_not_answer(world: ProcessWorld) -> None:
    world.write_gates(world.gate(jobs=["train-churn"]))
    served = world.launch(DATABRICKS_HOST=f"http://127.0.0.1:{free_port()}")
    served.wait_until_alive()
    assert time.monotonic() - served.begun < 20
    assert "not checked yet" in served.output()


@pytest.mark.part("rest")
def test_a_directory_for_the_database_that_is_not_there(world: ProcessWorld) -> None:
    done = world.run_process("serve", CHAMPION_GATE_DATABASE_URL=f"sqlite:///{world.folder}/nowhere/gate.db")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "nowhere/gate.db" in done.stderr


@pytest.mark.part("rest")
def test_a_database_that_is_none(world: ProcessWorld) -> None:
    (world.folder / "gate.db").write_text("This is no database. " * 100)
    done = world.run_process("serve")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "gate.db" in done.stderr


def test_a_port_that_is_taken(world: ProcessWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = world.launch("--port", str(taken.getsockname()[1]))
        assert served.process.wait(30) not in {0, None}
        assert re.search("in use", served.output())
        assert "Traceback" not in served.output()
        assert not served.processes()


# --- two of them on one SQLite file ----------------------------------------------------------------------


@pytest.mark.part("rest")
def test_a_second_one_takes_hooks_but_works_only_when_the_first_is_gone(world: ProcessWorld) -> None:
    first = world.serve()
    port = str(free_port())
    second = world.launch(CHAMPION_GATE_PORT=port, CHAMPION_GATE_SWEEP_SECONDS="1").wait_until_alive()

    run_id, version = world.begin_training()
    world.databricks.jobs.finish_run(run_id, notify=False)
    answer = requests.post(
        f"{second.url}/hooks/databricks",
        json=world.notification(run_id),
        auth=world.hook_credentials,
        timeout=30,
    )
    assert answer.status_code == 202
    pending = world.wait_for(Phase.PENDING_APPROVAL, version)
    assert "workers are running" not in second.output()
    assert "is resolved" in first.output()

    first.stop()
    until(lambda: "workers are running" in second.output(), second.output)
    world.approve(pending)
    world.wait_for(Phase.PROMOTED, version)
    until(lambda: "is promoted" in second.output(), second.output)
    assert world.alias_writes() == [int(version)]


@pytest.mark.part("rest")
def test_a_killed_one_hands_over_to_the_second(world: ProcessWorld) -> None:
    first = world.serve()
    second = world.launch(CHAMPION_GATE_PORT=str(free_port())).wait_until_alive()
    version = world.train()
    first.kill()
    until(lambda: "workers are running" in second.output(), second.output)
    world.github.webhooks.url = f"http://127.0.0.1:{port_of(second.url)}/hooks/github"
    world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
    world.wait_for(Phase.PROMOTED, version)


def test_its_log_names_the_promotion_on_each_line_of_its_work(world: ProcessWorld) -> None:
    world.serve()
    version = world.train()
    pending = world.wait_for(Phase.PENDING_APPROVAL, version)

    def about() -> list[str]:
        lines = [json.dumps(line) for line in world.log_lines()]
        return [line for line in lines if f"promotion {pending.id}" in line]

    # The row is there before the line that tells of it.
    assert all(f'"promotion": "{pending.id}"' in line for line in until(about, world.story))


@pytest.mark.part("rest")
def test_it_ends_once_a_newer_release_has_written_what_it_cannot_read(world: ProcessWorld) -> None:
    """As one does that was frozen when the last older replica was waited for."""
    served = world.serve()
    with closing(sqlite3.connect(world.folder / "gate.db", isolation_level=None)) as database:
        database.execute("UPDATE oldest_release SET release = '9.0.0'")
    until(lambda: served.process.poll() is not None, served.output)
    assert "this release may not run on the database any more" in served.output()
    assert served.output().count("Booting worker") <= 2
    assert "9.0.0" in assert_refused(world)
