"""The commands on the local database, beside a running service."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.commands import run_command
from integration.process_world import ProcessWorld, free_port, process_world, until
from unit.far_end import answer, far_end

pytest_plugins = ("integration.store_fixtures",)

pytestmark = pytest.mark.spread(2)

LATE = "3600"
AGO = re.compile(r"\b(now|\d+ (min|h|d) ago|in \d+ (min|h|d))\b *")
NASTY = "train\x1b[31m\x07\x9b2J\u202eevil\nnext"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessWorld]:
    """v2 has become Champion, v3 waits for approval, and a notification of an unwatched job was ignored."""
    with process_world(tmp_path_factory.mktemp("cli")) as made:
        made.serve()
        version = made.train()
        made.approve(made.wait_for(Phase.PENDING_APPROVAL, version))
        made.wait_for(Phase.PROMOTED, version)
        made.wait_for(Phase.PENDING_APPROVAL, made.train(f1=0.92))
        unwatched = made.databricks.jobs.start_run(made.databricks.jobs.add_job(NASTY))
        made.databricks.jobs.finish_run(unwatched)
        body = made.notification(unwatched) | {"job": {"job_id": 4711, "name": NASTY}}
        answer = requests.post(
            f"{made.url}/hooks/databricks", json=body, auth=made.hook_credentials, timeout=30
        )
        assert answer.status_code in {200, 202}
        yield made


def lines(world: ProcessWorld, *arguments: str, **environ: str) -> list[str]:
    """What a command that succeeds prints."""
    done = world.run(*arguments, **environ)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def document(world: ProcessWorld, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return json.loads("\n".join(lines(world, *arguments)))


def refusal(world: ProcessWorld, *arguments: str, code: int = 1, **environ: str) -> str:
    """The one line of a command that cannot do what it is asked."""
    done = world.run(*arguments, **environ)
    assert (done.returncode, done.stdout) == (code, ""), done.stdout
    assert "Traceback" not in done.stderr
    if code != 2:
        (line,) = done.stderr.splitlines()
        assert line.startswith("champion-gate: ")
    return done.stderr


def in_phase(world: ProcessWorld, phase: Phase) -> str:
    return next(p.id for p in world.promotions() if p.phase is phase)


# --- the shell --------------------------------------------------------------------------------------------


def completed(world: ProcessWorld, words: str) -> dict[str, str]:
    """What Tab offers after these words, with what is told of each."""
    environ = {"_CHAMPION_GATE_COMPLETE": "zsh_complete", "COMP_WORDS": words}
    done = world.run(**environ, COMP_CWORD=str(len(words.split(" ")) - 1))
    assert done.stderr == ""
    offered = done.stdout.splitlines()
    return dict(zip(offered[1::3], offered[2::3], strict=True))


def test_tab_offers_ids_and_phases(world: ProcessWorld) -> None:
    promoted, pending = in_phase(world, Phase.PROMOTED), in_phase(world, Phase.PENDING_APPROVAL)
    assert completed(world, "champion-gate promotions show ") == {
        pending: "main.ml.churn v3 pending_approval",
        promoted: "main.ml.churn v2 promoted",
    }
    assert list(completed(world, f"champion-gate promotions cancel {promoted[:-1]}")) == [promoted]
    assert list(completed(world, "champion-gate promotions list --phase pe")) == ["pending_approval"]
    assert list(completed(world, "champion-gate notifications list --phase un")) == ["unresolved"]
    assert not set("".join(completed(world, "champion-gate notifications show ").values())) & set("\x1b\x07")


def test_tab_offers_nothing_where_nothing_can_be_read(world: ProcessWorld, tmp_path: Path) -> None:
    done = run_command(
        environ={
            "_CHAMPION_GATE_COMPLETE": "bash_complete",
            "COMP_WORDS": "champion-gate promotions show ",
            "COMP_CWORD": "3",
        },
        folder=tmp_path,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_serve_says_that_its_port_is_in_use(world: ProcessWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(world, "serve", "--port", str(port), code=4)
    assert line.startswith(f"champion-gate: Port {port} of 127.0.0.1 is in use.")
    assert "cannot listen on 203.0.113.7" in refusal(world, "serve", "--host", "203.0.113.7", code=2)


# --- config ------------------------------------------------------------------------------------------------


def test_config_check_says_what_the_gate_does(world: ProcessWorld) -> None:
    text = " ".join(lines(world, "config", "check"))
    assert "1 gate" in text
    assert world.job_id in text
    assert "main.ml.churn" in text


def test_config_check_names_what_is_wrong(world: ProcessWorld) -> None:
    message = refusal(world, "config", "check", code=2, CHAMPION_GATE_SWEEP_SECONDS="often")
    assert message.count("CHAMPION_GATE_SWEEP_SECONDS") == 1


def test_config_check_names_missing_databricks_credentials(
    world: ProcessWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(world.environ, "DATABRICKS_TOKEN")
    message = refusal(world, "config", "check", code=2, PATH="/nowhere")
    assert "DATABRICKS_*: no credentials are found" in message


def test_config_check_tells_programs_too(world: ProcessWorld) -> None:
    found = document(world, "config", "check", "--json")
    assert found["valid"] is True
    assert found["explanation"].strip() == "\n".join(lines(world, "config", "check")).strip()
    done = world.run("config", "check", "--json", CHAMPION_GATE_SWEEP_SECONDS="often")
    assert (done.returncode, done.stderr) == (2, "")
    found = json.loads(done.stdout)
    assert found["valid"] is False
    assert [each for each in found["problems"] if "CHAMPION_GATE_SWEEP_SECONDS" in each] == found["problems"]


def test_config_schema_is_json_schema_and_needs_no_settings(world: ProcessWorld) -> None:
    schema = json.loads(run_command("config", "schema", environ={}, folder=world.folder).stdout)
    assert "gates" in schema["properties"]
    assert schema["$schema"].startswith("https://json-schema.org/")


# --- migrate -----------------------------------------------------------------------------------------------


def test_migrate_makes_the_tables_and_may_run_again(world: ProcessWorld, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    for _ in range(2):
        (line,) = lines(world, "migrate", CHAMPION_GATE_DATABASE_URL=url)
        assert line == f"The tables are up to date in {url}."
    told = json.loads("\n".join(lines(world, "migrate", "--json", CHAMPION_GATE_DATABASE_URL=url)))
    assert told == {"database": url, "up_to_date": True}
    done = world.run(
        "migrate", CHAMPION_GATE_DATABASE_URL=url, CHAMPION_GATE_API_URL="https://gate.example.com"
    )
    assert f"the local database {url}, not on CHAMPION_GATE_API_URL" in done.stderr
    assert lines(world, "promotions", "list", CHAMPION_GATE_DATABASE_URL=url)


def test_a_database_that_is_not_there_is_told_in_one_line(world: ProcessWorld, tmp_path: Path) -> None:
    for arguments in (["promotions", "list"], ["migrate"]):
        line = refusal(
            world, *arguments, code=4, CHAMPION_GATE_DATABASE_URL=f"sqlite:///{tmp_path}/no/where.db"
        )
        assert "no/where.db" in line


def test_a_database_without_tables_says_what_to_do(world: ProcessWorld, tmp_path: Path) -> None:
    message = refusal(
        world, "promotions", "list", code=2, CHAMPION_GATE_DATABASE_URL=f"sqlite:///{tmp_path}/empty.db"
    )
    assert "champion-gate migrate" in message


# --- promotions --------------------------------------------------------------------------------------------


def test_promotions_are_listed_newest_first(world: ProcessWorld) -> None:
    table = lines(world, "promotions", "list")
    assert table[0].split() == ["ID", "VERSION", "ALIAS", "PHASE", "CHANGED", "WHY"]
    assert [("v3" in row, "v2" in row) for row in table[1:3]] == [(True, False), (False, True)]
    listed = document(world, "promotions", "list", "--json")
    assert [each["version"] for each in listed] == ["3", "2"]
    # A pipe is told exact times: who reads it may do so later.
    assert listed[0]["updated_at"][:19].replace("T", " ") + "Z" in table[1]


def test_promotions_are_narrowed(world: ProcessWorld) -> None:
    only = document(world, "promotions", "list", "--phase", "promoted", "--json")
    assert [each["phase"] for each in only] == ["promoted"]
    assert document(world, "promotions", "list", "--model", "main.ml.other", "--json") == []
    assert len(document(world, "promotions", "list", "--model", "main.ml.churn", "--json")) == 2
    done = world.run("promotions", "list", "--limit", "1")
    assert len(done.stdout.splitlines()) == 2
    assert "more than 1" in done.stderr


def test_a_phase_that_there_is_not(world: ProcessWorld) -> None:
    message = refusal(world, "promotions", "list", "--phase", "nearly", code=2)
    assert "pending_approval" in message


def test_a_promotion_is_shown_with_its_decision_and_ledger(world: ProcessWorld) -> None:
    promotion_id = in_phase(world, Phase.PROMOTED)
    text = "\n".join(lines(world, "promotions", "show", promotion_id))
    assert "Champion of main.ml.churn for v2" in text
    assert "\napproval in     champion\n" in text
    assert "\ndecided by      reviewer-1 (champion)\n" in text
    assert text.count("\nledger ") == 2
    assert text.count("trainer@example.com") == 1
    shown = document(world, "promotions", "show", promotion_id, "--json")
    assert shown["id"] == promotion_id
    assert [line["kind"] for line in shown["ledger"]] == ["alias_change", "decision"]


def test_the_evidence_is_what_the_reviewer_was_shown(world: ProcessWorld) -> None:
    text = "\n".join(lines(world, "promotions", "show", in_phase(world, Phase.PROMOTED), "--evidence"))
    assert "| v1 → v2 |" in text
    assert "`f1`" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["promotions", "show", "p-nobody"],
        ["promotions", "retry", "p-nobody"],
        ["promotions", "cancel", "p-nobody", "--reason", "x"],
        ["notifications", "show", "nothing"],
        ["hooks", "send", "nothing"],
        ["promotions", "show", "\x1b[31m"],
    ],
)
def test_an_unknown_id_is_told_in_one_line(world: ProcessWorld, arguments: list[str]) -> None:
    line = refusal(world, *arguments)
    assert "\x1b" not in line


def test_what_has_not_failed_cannot_be_retried(world: ProcessWorld) -> None:
    assert "nothing to retry" in refusal(world, "promotions", "retry", in_phase(world, Phase.PROMOTED))


def test_what_has_ended_cannot_be_cancelled(world: ProcessWorld) -> None:
    line = refusal(world, "promotions", "cancel", in_phase(world, Phase.PROMOTED), "--reason", "late")
    assert "promoted" in line


@pytest.mark.parametrize("kind", ["promotion", "notification"])
def test_what_cannot_be_an_id_is_told_in_the_readers_words(world: ProcessWorld, kind: str) -> None:
    assert f"'../x' cannot be the id of a {kind}." in refusal(world, f"{kind}s", "show", "../x")


def test_cancelling_needs_a_reason(world: ProcessWorld) -> None:
    assert "--reason" in refusal(world, "promotions", "cancel", in_phase(world, Phase.PROMOTED), code=2)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.part("rest"))])
def test_what_a_command_orders_begins_within_two_seconds(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    """The command works on the database from this process; the worker is in the service's."""
    environ = {}
    if database == "postgresql":
        environ["CHAMPION_GATE_DATABASE_URL"] = request.getfixturevalue("postgresql_databases").migrated()
    with process_world(tmp_path, **environ) as world:
        world.serve(CHAMPION_GATE_SWEEP_SECONDS=LATE)
        took = []
        for _ in range(3):
            pending = world.wait_for(Phase.PENDING_APPROVAL, world.train())
            (line,) = lines(world, "promotions", "cancel", pending.id, "--reason", "wrong data")
            began = time.monotonic()
            assert pending.id in line
            ended = world.wait_for(Phase.CANCELLED, pending.version.version)
            took.append(time.monotonic() - began)
            assert ended.reason == f"Cancelled by {pwd.getpwuid(os.getuid()).pw_name}: wrong data"
        assert sorted(took)[1] < 2, took
        until(lambda: all(run.cancelled for run in world.github.runs), world.story)
        assert world.alias_writes() == []


def test_a_failed_promotion_is_taken_up_again(tmp_path: Path) -> None:
    """GitHub refuses until a person has mended it; the person then says so."""
    with process_world(tmp_path) as world:
        refusing = world.github.faults.add(
            "/dispatches$", method="POST", status=403, body='{"message": "no"}'
        )
        world.serve()
        version = world.train()
        failed = world.wait_for(Phase.FAILED, version)
        assert f"champion-gate promotions retry {failed.id}" in failed.reason
        assert refusing.hits
        world.github.faults.clear()
        (line,) = lines(world, "promotions", "retry", failed.id)
        assert line == f"{failed.id} is taken up again."
        world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
        world.wait_for(Phase.PROMOTED, version)


# --- notifications -----------------------------------------------------------------------------------------


def test_notifications_are_listed_and_narrowed(world: ProcessWorld) -> None:
    table = lines(world, "notifications", "list")
    assert table[0].split() == ["ID", "FROM", "JOB", "RUN", "CAME", "PHASE", "WHY"]
    assert any("train-churn" in row and "resolved" in row for row in table)
    resolved = document(world, "notifications", "list", "--phase", "resolved", "--json")
    assert {each["phase"] for each in resolved} == {"resolved"}
    assert "received" in refusal(world, "notifications", "list", "--phase", "lost", code=2)


def test_what_is_logged_while_a_command_works_stays_out_of_what_it_prints() -> None:
    begun = (  # as for every command
        "import logging; from champion_gate.cli import cli; "
        "cli.make_context('', ['config']).invoke(cli.callback, env_file=None, no_color=False)"
    )
    said = "logging.getLogger('champion_gate.flow').warning('said by the way'); print('asked for')"
    done = subprocess.run(
        [sys.executable, "-c", f"{begun}; {said}"], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "asked for\n"
    assert "said by the way" in done.stderr


def test_a_notification_is_shown_with_what_it_came_to(world: ProcessWorld) -> None:
    with world.store() as store:
        row = store.list_notifications(phase=NotificationPhase.RESOLVED).items[0]
    text = "\n".join(lines(world, "notifications", "show", row.id))
    assert "gate churn: resolved" in text
    shown = document(world, "notifications", "show", row.id, "--json")
    assert shown["resolutions"][0]["gate"] == "churn"


def test_control_characters_of_others_never_reach_the_terminal(world: ProcessWorld) -> None:
    with world.store() as store:
        nasty = [row for row in store.list_notifications().items if "evil" in row.notification.job_name]
    assert nasty, "the stand-in's notification has come to nothing"
    for arguments in (["list"], ["show", nasty[0].id], ["list", "--json"], ["show", nasty[0].id, "--json"]):
        text = "\n".join(lines(world, "notifications", *arguments))
        assert "evil" in text
        assert not set(text) & set("\x1b\x07\x9b\u202e")


# --- alias -------------------------------------------------------------------------------------------------


def test_where_the_alias_stands(world: ProcessWorld) -> None:
    answer = document(world, "alias", "get", "main.ml.churn", "--json")
    assert answer == {
        "registry": "databricks-uc",
        "model": "main.ml.churn",
        "alias": "Champion",
        "version": "2",
        "hold": None,
        "outside": None,
    }
    assert any(row.split() == ["version", "2"] for row in lines(world, "alias", "get", "MAIN.ml.churn"))


def test_an_alias_or_model_that_there_is_not(world: ProcessWorld) -> None:
    assert "No gate names main.ml.churn@Other" in refusal(world, "alias", "get", "main.ml.churn", "Other")
    refusal(world, "alias", "history", "main.ml.churn", "Other")
    refusal(world, "alias", "get", "main.ml.nothing")
    refusal(world, "alias", "get", "a/b")
    refusal(world, "alias", "history", "main.ml.churn", "a\x1bb")


def test_who_moved_the_alias(world: ProcessWorld) -> None:
    table = lines(world, "alias", "history", "main.ml.churn")
    assert table[0].split() == ["LINE", "WHEN", "WHAT", "MOVE", "WHO", "WHY", "PROMOTION"]
    assert "v1 -> v2" in table[1]
    assert "reviewer-1" in table[1]
    history = document(world, "alias", "history", "main.ml.churn", "--json")
    assert [line["facts"]["to"] for line in history if line["kind"] == "alias_change"] == ["2", "1"]
    done = world.run("alias", "history", "main.ml.churn", "--json", "--limit", "1")
    assert json.loads(done.stdout) == history[:1]
    assert "more than 1" in done.stderr


def test_who_moved_the_alias_is_told_without_any_secret_of_the_service(world: ProcessWorld) -> None:
    needed = ("CHAMPION_GATE_CONFIG", "CHAMPION_GATE_DATABASE_URL")
    nothing = dict.fromkeys(set(world.environ) - set(needed), "")
    arguments = ("alias", "history", "main.ml.churn", "--json")
    assert lines(world, *arguments, **nothing) == lines(world, *arguments)
    refusal(world, "alias", "get", "main.ml.churn", code=2, **nothing)
    (world.folder / "broken.yaml").write_text("gates: 7")
    broken = str(world.folder / "broken.yaml")
    assert "gates" in refusal(world, *arguments, code=2, **nothing | {"CHAMPION_GATE_CONFIG": broken})


def test_what_works_on_rows_alone_needs_nothing_but_the_database(world: ProcessWorld, tmp_path: Path) -> None:
    promotion_id = in_phase(world, Phase.PROMOTED)
    environ = {"CHAMPION_GATE_DATABASE_URL": world.environ["CHAMPION_GATE_DATABASE_URL"]}
    for arguments in (
        ["promotions", "list"],
        ["promotions", "show", promotion_id],
        ["promotions", "show", promotion_id, "--evidence"],
        ["promotions", "receipt", promotion_id],
        ["notifications", "list"],
        ["identities", "list"],
    ):
        done = run_command(*arguments, environ=environ, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        said, again = (AGO.sub("ago", each.stdout) for each in (done, world.run(*arguments)))
        assert said == again or arguments[1] == "receipt"
    assert not list(tmp_path.iterdir())


# --- hooks -------------------------------------------------------------------------------------------------


def test_a_stored_notification_is_sent_again(world: ProcessWorld) -> None:
    with world.store() as store:
        rows = store.list_notifications(phase=NotificationPhase.RESOLVED).items
    before = next(row for row in rows if row.source == "hook")  # a sweep may have come before it
    (line,) = lines(world, "hooks", "send", before.id)
    assert line.startswith("202 ")
    with world.store() as store:
        assert store.get_notification(before.id).count == before.count + 1


def test_a_sample_notification_is_sent(world: ProcessWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    (line,) = lines(
        world,
        *("hooks", "send", "--job", world.job_id, "--run", run_id, "--job-name", "train-churn"),
        *("--workspace", world.databricks.workspace_id, "--url", world.url),
    )
    assert line.startswith("202 ")


def test_a_sample_needs_job_and_run(world: ProcessWorld) -> None:
    assert "--run" in refusal(world, "hooks", "send", "--job", "1", code=2)


def test_a_service_that_does_not_answer(world: ProcessWorld) -> None:
    line = refusal(
        world, *("hooks", "send", "--job", "1", "--run", "2"), code=4, CHAMPION_GATE_PORT=str(free_port())
    )
    assert "champion-gate serve" in line


def test_a_service_that_refuses_is_no_success(world: ProcessWorld) -> None:
    line = refusal(
        world,
        *("hooks", "send", "--job", "1", "--run", "2"),
        CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD="another-password-altogether",
    )
    assert "401" in line


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (answer(200, "<!doctype html><html>Sign in</html>"), "answered 200 with a web page in place of JSON"),
        (answer(302, "", Location="https://login.example.com/"), "answered 302"),
        (answer(500, "\x1b[2Jgone", Content_Type="text/plain; charset=utf-8"), "answered 500 \\x1b[2Jgone"),
    ],
)
def test_what_a_proxy_answers_in_place_of_the_service_is_no_success(
    world: ProcessWorld, given: bytes, says: str
) -> None:
    with far_end(given) as far:
        line = refusal(world, "hooks", "send", "--job", "1", "--run", "2", "--url", far.url)
    assert says in line


# --- help --------------------------------------------------------------------------------------------------

COMMANDS = [
    [],
    *(
        [name]
        for name in ("serve", "demo", "config", "migrate", "promotions", "notifications", "alias", "hooks")
    ),
    *(["config", name] for name in ("check", "schema")),
    *(["promotions", name] for name in ("list", "show", "receipt", "ask", "cancel", "retry", "watch")),
    *(["notifications", name] for name in ("list", "show", "replay")),
    *(["alias", name] for name in ("get", "set", "delete", "rollback", "hold", "release", "history")),
    ["hooks", "send"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], tmp_path: Path) -> None:
    done = run_command(*command, "--help", environ={}, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: champion-gate")


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = ["flask", "sqlalchemy", "pydantic", "databricks", "mlflow", "requests", "yaml", "huey", "alembic"]
    program = (
        "import sys\nfrom champion_gate.cli import cli\n"
        "for option in ('--help', '--version'):\n"
        "    try:\n        cli([option], prog_name='champion-gate')\n    except SystemExit:\n        pass\n"
        f"print('imported:', *sorted(set({heavy!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert "champion-gate, version" in done.stdout
    assert done.stdout.endswith("imported:\n")


def test_a_command_that_there_is_not(world: ProcessWorld) -> None:
    assert "No such command" in refusal(world, "promote", code=2)


# --- as a process of its own -------------------------------------------------------------------------------


@pytest.mark.part("rest", "arguments1", "arguments2", "arguments3", "arguments4", "arguments5", "arguments6")
@pytest.mark.parametrize(
    ("arguments", "environ", "code"),
    [
        (["config", "schema"], {}, 0),
        (["promotions", "list", "--json"], {}, 0),
        (["promotions", "show", "p-nobody"], {}, 1),
        (["promotions", "show", "p-\udcff"], {}, 1),
        (["config", "check"], {"CHAMPION_GATE_SWEEP_SECONDS": "often"}, 2),
        (["promotions", "list", "--phase", "nearly"], {}, 2),
        (["promotions", "list"], {"CHAMPION_GATE_DATABASE_URL": "sqlite:////no/where.db"}, 4),
    ],
)
def test_a_process_ends_with_the_exit_code_and_prints_on_the_right_stream(
    world: ProcessWorld, arguments: list[str], environ: dict[str, str], code: int
) -> None:
    done = world.run_process(*arguments, **environ)
    assert done.returncode == code, done.stderr
    assert bool(done.stdout) is (code == 0)
    assert bool(done.stderr) is (code != 0)
    assert "Traceback" not in done.stderr


def test_the_health_check_asks_on_the_port_that_is_configured(world: ProcessWorld) -> None:
    alive = run_command("healthcheck", environ=world.environ, folder=world.folder)
    assert (alive.returncode, alive.stdout) == (0, "alive\n")
    elsewhere = {**world.environ, "CHAMPION_GATE_PORT": str(free_port())}
    dead = run_command("healthcheck", environ=elsewhere, folder=world.folder)
    assert (dead.returncode, dead.stdout) == (4, "")
    assert "does not answer" in dead.stderr
