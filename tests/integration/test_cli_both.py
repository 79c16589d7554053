"""The client's two transports, the app in the command's process and HTTP to a service: the same answers from both."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from champion_gate.bootstrap.local import local_api
from champion_gate.domain.callers import Role
from champion_gate.domain.notifications import JobNotification, NotificationPhase
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.promotion import Phase
from champion_gate.domain.rows import TrainerAccount
from champion_gate.store import open_store
from integration.gate_models import TRAINER
from integration.gate_world import api_token
from integration.process_world import ProcessWorld, free_port, process_world, until

MODEL = "main.ml.churn"
NASTY = "nightly\x1b[31m\x07\x9b2J\u202eevil\nchampion-gate: all is well"
OPERATOR, VIEWER = "release-bot", "dashboard"
ALIASES = [f"spare{number}" for number in range(20)]


@dataclass
class Side:
    """One way to give the commands."""

    world: ProcessWorld
    environ: dict[str, str]
    actor: str

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        done = self.world.run(*arguments, **{**self.environ, **environ})
        assert "Traceback" not in done.stderr
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\x9b\u202e")
        token = self.environ.get("CHAMPION_GATE_TOKEN")
        assert token is None or token not in done.stdout + done.stderr
        return done

    def lines(self, *arguments: str) -> list[str]:
        """What a command that succeeds prints."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def document(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads("\n".join(self.lines(*arguments, "--json")))

    def refusal(self, *arguments: str, code: int = 1, **environ: str) -> str:
        """The one line of a command that cannot do what it is asked."""
        done = self.run(*arguments, **environ)
        assert (done.returncode, done.stdout) == (code, ""), (done.stdout, done.stderr)
        if code != 2:
            (line,) = done.stderr.splitlines()
            assert line.startswith("champion-gate: ")
        return done.stderr


@dataclass
class Both:
    """A world in which v2 is Champion, v3 waits for approval and v4 has been rejected."""

    world: ProcessWorld
    local: Side
    api: Side
    viewer: Side


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with process_world(tmp_path_factory.mktemp("both")) as world:
        file = world.folder / "gates.yaml"
        gates = json.loads(file.read_text())
        gates["aliases"] = [{"model": MODEL, "alias": alias} for alias in ALIASES]
        file.write_text(json.dumps(gates))
        world.serve()
        version = world.train()
        world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
        world.wait_for(Phase.PROMOTED, version)
        world.wait_for(Phase.PENDING_APPROVAL, world.train(f1=0.92))
        url = world.environ["CHAMPION_GATE_DATABASE_URL"]

        def over_api(role: Role, name: str) -> Side:
            # Nothing of the service's own settings is there: a laptop has none.
            nothing = dict.fromkeys(world.environ, "")
            token = api_token(url, role, name)
            return Side(
                world, {**nothing, "CHAMPION_GATE_API_URL": world.url, "CHAMPION_GATE_TOKEN": token}, name
            )

        yield Both(
            world,
            Side(world, {}, pwd.getpwuid(os.getuid()).pw_name),
            over_api(Role.OPERATOR, OPERATOR),
            over_api(Role.VIEWER, VIEWER),
        )


@pytest.fixture
def side(both: Both) -> Side:
    return both.local


_FREE = iter(ALIASES[:-1])


@pytest.fixture
def alias() -> str:
    """An alias of the test's own, which stands nowhere yet."""
    return next(_FREE)


def id_in(both: Both, phase: Phase) -> str:
    return next(each.id for each in both.world.promotions() if each.phase is phase)


# --- what is read ------------------------------------------------------------------------------------------


def reads(both: Both) -> list[list[str]]:
    promoted, pending = id_in(both, Phase.PROMOTED), id_in(both, Phase.PENDING_APPROVAL)
    with both.world.store() as store:
        notification = store.list_notifications(phase=NotificationPhase.RESOLVED).items[0].id
    return [
        ["alias", "get", MODEL, "--json"],
        ["alias", "history", MODEL],
        ["alias", "history", MODEL, "--json"],
        ["promotions", "list"],
        ["promotions", "list", "--phase", "promoted", "--model", MODEL, "--json"],
        ["promotions", "show", promoted],
        ["promotions", "show", promoted, "--json"],
        ["promotions", "show", pending, "--json"],
        ["promotions", "show", promoted, "--evidence"],
        ["notifications", "list", "--phase", "resolved", "--json"],
        ["notifications", "show", notification],
    ]


@pytest.mark.parametrize("number", range(11))
def test_both_answer_the_same(both: Both, number: int) -> None:
    arguments = reads(both)[number]
    told = both.local.lines(*arguments)
    assert told == both.api.lines(*arguments)
    assert len(told) > 2


def test_both_give_out_the_same_receipt(both: Both) -> None:
    of_local, of_api = (
        json.loads("\n".join(each.lines("promotions", "receipt", id_in(both, Phase.PROMOTED), *option)))
        for each, option in ((both.local, ()), (both.api, ["--json"]))
    )
    for each in (of_local, of_api):
        assert each.pop("head")["number"] >= 2
        each.pop("receipt_sha256")
    assert of_local == of_api
    assert of_local["who"]["deciders"][0]["login"] == "reviewer-1"


def test_a_list_is_put_together_out_of_its_parts(both: Both, side: Side) -> None:
    done = side.run("promotions", "list", "--limit", "1", "--json")
    assert len(json.loads(done.stdout)) == 1
    assert "more than 1" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["promotions", "show", "p-nobody"],
        ["promotions", "receipt", "p-nobody"],
        ["promotions", "retry", "p-nobody"],
        ["promotions", "cancel", "p-nobody", "--reason", "x"],
        ["promotions", "watch", "p-nobody"],
        ["promotions", "ask", "--gate", "nobody", "--version", "2", "--reason", "x"],
        ["promotions", "ask", "--gate", "churn", "--version", "999", "--reason", "x"],
        ["notifications", "show", "nothing"],
        ["notifications", "replay", "nothing"],
        ["alias", "get", "main.ml.nothing"],
        ["alias", "get", MODEL, ALIASES[-1]],
        ["alias", "set", MODEL, "999", "--reason", "x", "--only-if", "998"],
        ["alias", "set", MODEL, "Champion", "latest", "--reason", "x"],
        ["alias", "delete", MODEL, ALIASES[-1], "--reason", "x"],
        ["alias", "release", MODEL, ALIASES[-1], "--reason", "x"],
        ["alias", "hold", MODEL, ALIASES[-1], "--reason", " "],
    ],
)
def test_both_refuse_the_same(both: Both, arguments: list[str]) -> None:
    both.local.refusal(*arguments)
    both.api.refusal(*arguments)


# --- what is changed ---------------------------------------------------------------------------------------


def test_an_alias_is_set_moved_and_taken_away(side: Side, alias: str) -> None:
    (line,) = side.lines("alias", "set", MODEL, alias, "1", "--reason", "first")
    assert line == f"{alias} of {MODEL}: no version -> v1"
    (line,) = side.lines("alias", "set", MODEL, alias, "1", "--reason", "again")
    assert line == f"{alias} of {MODEL}: stays on v1"
    moved = side.document("alias", "set", MODEL, alias, "2", "--reason", "second", "--only-if", "1")
    assert moved == {
        "registry": "databricks-uc",
        "model": MODEL,
        "alias": alias,
        "version": "2",
        "hold": None,
        "outside": None,
        "from_version": "1",
        "changed": True,
    }
    assert side.world.databricks.catalog.alias(MODEL, alias) == "2"
    (line,) = side.lines("alias", "delete", MODEL, alias, "--reason", "no more", "--only-if", "2")
    assert line == f"{alias} of {MODEL}: v2 -> no version"
    assert f"no alias {alias}" in side.refusal("alias", "get", MODEL, alias)
    history = side.document("alias", "history", MODEL, alias)
    assert [(line["facts"]["to"], line["actor"], line["reason"]) for line in history] == [
        (None, side.actor, "no more"),
        ("2", side.actor, "second"),
        ("1", side.actor, "first"),
    ]
    assert {line["facts"]["source"] for line in history} == {"manual"}
    assert {line["facts"]["authenticated_by"] for line in history} == {"command line"}
    assert {line["facts"]["address"] for line in history} == {None}


def test_a_condition_that_does_not_hold_changes_nothing(side: Side, alias: str) -> None:
    side.lines("alias", "set", MODEL, alias, "1", "--reason", "first")
    set_it = ["alias", "set", MODEL, alias, "2", "--reason", "second", "--only-if", "2"]
    assert "stands on v1" in side.refusal(*set_it)
    assert "stands on v1" in side.refusal("alias", "delete", MODEL, alias, "--reason", "x", "--only-if", "2")
    assert side.document("alias", "get", MODEL, alias)["version"] == "1"


def test_a_rollback_goes_back_and_holds(side: Side, alias: str) -> None:
    for version in ("1", "2"):
        side.lines("alias", "set", MODEL, alias, version, "--reason", "on")
    (line,) = side.lines("alias", "rollback", MODEL, alias, "--reason", "v2 is wrong")
    assert line == f"{alias} of {MODEL}: v2 -> v1; on hold by {side.actor} because v2 is wrong"
    refused = side.refusal("alias", "set", MODEL, alias, "2", "--reason", "once more")
    assert f"on hold by {side.actor} because v2 is wrong" in refused
    (line,) = side.lines("alias", "release", MODEL, alias, "--reason", "mended")
    assert line == f"{alias} of {MODEL}: stands on v1; not on hold"
    refused = side.refusal("alias", "rollback", MODEL, alias, "--reason", "further")
    assert "No version before v1" in refused


def test_a_hold_keeps_an_alias_until_it_is_overridden(side: Side, alias: str) -> None:
    side.lines("alias", "set", MODEL, alias, "1", "--reason", "on")
    (line,) = side.lines("alias", "hold", MODEL, alias, "--reason", "audit")
    assert line == f"{alias} of {MODEL}: stands on v1; on hold by {side.actor} because audit"
    assert any(
        row.startswith("on hold") and "audit" in row for row in side.lines("alias", "get", MODEL, alias)
    )
    assert "audit" in side.refusal("alias", "delete", MODEL, alias, "--reason", "x")
    (line,) = side.lines("alias", "set", MODEL, alias, "2", "--reason", "must", "--override-hold")
    assert line.startswith(f"{alias} of {MODEL}: v1 -> v2; on hold by {side.actor}")


def test_nothing_hostile_in_a_reason_reaches_the_terminal(both: Both, alias: str) -> None:
    both.api.lines("alias", "set", MODEL, alias, "1", "--reason", NASTY)
    (line,) = both.local.lines("alias", "hold", MODEL, alias, "--reason", NASTY)
    assert "\\nchampion-gate: all is well" in line
    for side in (both.local, both.api):
        assert "evil" in "\n".join(side.lines("alias", "get", MODEL, alias))
        assert len(side.lines("alias", "history", MODEL, alias)) == 3
        refused = side.refusal("alias", "set", MODEL, alias, "2", "--reason", "x")
        assert "\\nchampion-gate: all is well" in refused
    assert _texts(both.api.document("alias", "history", MODEL, alias)).count(NASTY) == 2


@pytest.mark.part("rest")
def test_an_mlflow_registry_is_ordered_about_without_any_service(tmp_path: Path) -> None:
    with process_world(tmp_path, "mlflow") as world:
        side = Side(world, {}, pwd.getpwuid(os.getuid()).pw_name)
        assert world.run_process("migrate").returncode == 0
        version, model = world.models.train(world.job_id, "2", {"f1": 0.9}), world.models.model
        (line,) = side.lines("alias", "set", model, "Champion", version, "--reason", "by hand")
        assert line == f"Champion of {model}: v1 -> v{version}"
        (line,) = side.lines("alias", "rollback", model, "--reason", "too slow")
        assert line == f"Champion of {model}: v{version} -> v1; on hold by {side.actor} because too slow"
        history = side.document("alias", "history", model)
        assert [(line["kind"], line["facts"].get("to")) for line in history] == [
            ("hold", None),
            ("alias_change", "1"),
            ("alias_change", version),
            ("alias_change", "1"),
        ]
        refused = side.refusal("alias", "history", model.upper(), "champion")
        assert f"{model}@Champion" in refused


# --- promotions and notifications --------------------------------------------------------------------------


def test_a_promotion_is_cancelled_and_asked_for_afresh(tmp_path: Path) -> None:
    with process_world(tmp_path) as world:
        world.serve()
        version = world.train()
        pending = world.wait_for(Phase.PENDING_APPROVAL, version)
        side = Side(world, {}, pwd.getpwuid(os.getuid()).pw_name)

        (line,) = side.lines("promotions", "cancel", pending.id, "--reason", "wrong data")
        assert pending.id in line
        ended = world.wait_for(Phase.CANCELLED, version)
        assert ended.reason == f"Cancelled by {side.actor}: wrong data"
        asked = side.document(
            "promotions", "ask", "--gate", "churn", "--version", version, "--reason", "mended now"
        )
        assert asked["phase"] == "requested"
        assert asked["reason"] == f"{side.actor} asks by hand: mended now"
        refused = side.refusal(
            "promotions", "ask", "--gate", "churn", "--version", version, "--reason", "and again"
        )
        assert "asks for Champion already" in refused
        (line,) = side.lines("promotions", "cancel", asked["id"], "--reason", "no")
        until(lambda: world.promotions()[0].phase is Phase.CANCELLED, world.story)
        (line,) = side.lines("promotions", "retry", asked["id"])
        assert line.endswith(f"asks afresh for the version of {asked['id']}.")

        notification = side.document("notifications", "list")[0]
        (line,) = side.lines("notifications", "replay", notification["id"])
        assert notification["id"] in line
        again = side.document("notifications", "show", notification["id"])
        assert again["count"] == notification["count"] + 1


def failed_notifications(world: ProcessWorld) -> list[str]:
    """Two notifications whose runs could not be read for a day."""
    at, ids = datetime.now(UTC), []
    with world.store() as store:
        for run_id in ("71", "72"):
            hint = JobNotification("jobs.on_success", "1", "999", run_id, "train-churn")
            ids.append(store.record_notification("cli", hint, at))
            taken = store.take_notification(ids[-1], at, 60)
            assert taken is not None
            failed = replace(taken, phase=NotificationPhase.FAILED, reason="403", due_at=None)
            store.release_notification(failed, at)
    return ids


@pytest.mark.part("rest")
def test_all_that_failed_are_taken_up_at_once(tmp_path: Path) -> None:
    with process_world(tmp_path) as world:
        world.github.faults.add("/dispatches$", method="POST", status=403, body='{"message": "no"}')
        world.serve()
        versions = [world.train(), world.train()]
        failed = [world.wait_for(Phase.FAILED, version) for version in versions]
        replayed = failed_notifications(world)
        token = api_token(world.environ["CHAMPION_GATE_DATABASE_URL"], Role.OPERATOR, OPERATOR)
        over_api = {"CHAMPION_GATE_API_URL": world.url, "CHAMPION_GATE_TOKEN": token}
        side = Side(world, over_api, OPERATOR)

        world.github.faults.clear()
        lines = side.lines("promotions", "retry", "--failed", "--reason", "GitHub is mended")
        assert sorted(lines) == sorted(f"{each.id} is taken up again." for each in failed)
        world.wait_for(Phase.PENDING_APPROVAL, versions[1])
        world.wait_for(Phase.SUPERSEDED, versions[0])
        again = side.document("notifications", "replay", "--failed")
        assert sorted(each["id"] for each in again) == sorted(replayed)
        assert {each["count"] for each in again} == {2}
        assert side.document("promotions", "retry", "--failed") == []
        assert "Name one, or give --failed." in side.refusal("notifications", "replay", code=2)
        assert "Name one" in side.refusal("promotions", "retry", failed[0].id, "--failed", code=2)


# --- steps ------------------------------------------------------------------------------------------------


def test_steps_are_shown_and_ordered_about_alike(both: Both) -> None:
    promoted = id_in(both, Phase.PROMOTED)
    tag = f"{promoted}-tag-version"
    with both.world.store() as store:
        until(lambda: not store.open_steps(promoted), "the version is not tagged")
    for side in (both.local, both.api):
        (line,) = [each for each in side.lines("promotions", "show", promoted) if f"step {tag}" in each]
        assert line.startswith(f"step {tag}: succeeded: ")
        assert "cannot be skipped" in side.refusal("steps", "skip", tag, "--reason", "x")
        assert "nothing to retry" in side.refusal("steps", "retry", tag)
    both.viewer.refusal("steps", "retry", tag, code=3)


# --- identities -------------------------------------------------------------------------------------------


def test_whose_a_login_is_can_be_listed_accepted_and_forgotten(both: Both) -> None:
    side = both.api
    accounts = [{"trainer": TRAINER, "alias": None, "user_id": "11"}]
    with open_store(both.world.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
        at, login = datetime(2026, 3, 1, 8, tzinfo=UTC), "octo-moved"
        for number, days in (("11", 0), ("22", 1)):
            store.remember_login("github", login, Person(number, login), at + timedelta(days=days))
        store.remember_trainer_account(TrainerAccount("github", TRAINER, "", login, "11"), at)
        (found,) = [each for each in side.document("identities", "list") if each["login"] == login]
        assert (found["user_id"], found["other_id"], found["accounts"]) == ("11", "22", accounts)
        (row,) = [line for line in side.lines("identities", "list") if login in line]
        resolved = ("2026-03-01", "08:00:00Z")
        assert row.split() == ["github", login, "11", *resolved, *resolved, "22", TRAINER, "(11)"]
        why = ("--reason", "asked them")
        assert "not 33" in side.refusal("identities", "accept", "github", login, "--id", "33", *why)
        (said,) = side.lines("identities", "accept", "github", login.upper(), "--id", "22", *why)
        assert said == f"{login} is account 22 from now on."
        assert "nothing to accept" in side.refusal("identities", "accept", "github", login, *why)
        assert (
            store.ledger_lines()[0].entry.actor,
            store.ledger_lines()[0].entry.facts["accepted_id"],
        ) == (side.actor, "22")
        (said,) = side.lines("identities", "forget", "github", login, *why)
        assert said == f"{login} (account 11, 22) is forgotten."
        assert f"Nothing is remembered of {login}" in side.refusal(
            "identities", "forget", "github", login, *why
        )
        assert login not in str(side.document("identities", "list"))
        assert store.ledger_lines()[0].entry.facts["forgotten_ids"] == ["11", "22"]


def test_a_viewer_lists_identities_and_changes_none(both: Both) -> None:
    assert [each["login"] for each in both.viewer.document("identities", "list")] == ["octo-trainer"]
    for order in ("accept", "forget"):
        both.viewer.refusal("identities", order, "github", "octo-trainer", "--reason", "x", code=3)


@pytest.mark.parametrize("wrong", [("git hub", "ann"), ("github", "../x"), ("github", "a b")])
def test_what_is_no_login_does_not_enter_a_url(both: Both, wrong: tuple[str, str]) -> None:
    assert " is no " in both.api.refusal("identities", "forget", *wrong, "--reason", "x")


# --- who may, and where the service is ---------------------------------------------------------------------


def test_the_app_in_the_commands_process_admits_nobody_else(both: Both) -> None:
    with both.world.store() as store:
        stranger = local_api(store).application.test_client()
        for headers in ({}, {"Authorization": "Bearer x"}):
            assert stranger.get("/api/v1/promotions", headers=headers).status_code == 401


def test_a_viewer_reads_and_changes_nothing(both: Both, alias: str) -> None:
    assert both.viewer.document("alias", "get", MODEL)["version"] == "2"
    for order in (
        ["alias", "set", MODEL, alias, "1", "--reason", "x"],
        ["alias", "hold", MODEL, alias, "--reason", "x"],
        ["promotions", "cancel", id_in(both, Phase.PENDING_APPROVAL), "--reason", "x"],
        ["notifications", "list"],
    ):
        both.viewer.refusal(*order, code=3)
    assert both.world.databricks.catalog.alias(MODEL, alias) is None


def test_a_token_that_nobody_knows_is_exit_code_3(both: Both) -> None:
    both.api.refusal("promotions", "list", code=3, CHAMPION_GATE_TOKEN="cg_nobody_knows-this-token")


def test_a_service_without_a_token_for_it_is_exit_code_2(both: Both) -> None:
    message = both.api.refusal("promotions", "list", code=2, CHAMPION_GATE_TOKEN="")
    assert "CHAMPION_GATE_TOKEN" in message


def test_a_service_that_is_not_there_is_exit_code_4(both: Both) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    line = both.api.refusal("alias", "get", MODEL, "--api", url, code=4)
    assert url in line


def test_a_service_elsewhere_is_reached_by_https_only(both: Both) -> None:
    message = both.api.refusal("alias", "get", MODEL, "--api", "http://gate.example.com", code=2)
    assert "https://" in message


def test_the_token_is_no_option(both: Both) -> None:
    assert "No such option" in both.api.refusal("promotions", "list", "--token", "x", code=2)


def test_the_local_database_is_used_where_no_service_is_named(both: Both) -> None:
    both.api.refusal("promotions", "list", code=2, CHAMPION_GATE_API_URL="", CHAMPION_GATE_DATABASE_URL="x")


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []
