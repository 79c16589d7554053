"""Notices: people are told of what becomes of a promotion and of its alias, once, and never in its way."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.aliases import Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.findings import Finding, Verdict
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepPhase
from champion_gate.flow.notices import _Pace
from champion_gate.flow.operator_steps import StepOrders
from champion_gate.flow.own_checks import WAITING, Installation, checkups
from champion_gate.meters import PREFIX
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate_standins.common.faults import Fault
from champion_gate_standins.common.server import serve
from integration.commands import run_command
from integration.gate_world import GateWorld
from integration.notices_world import notices_of, pass_time, told_world
from integration.store_samples import T0, after

OPERATOR = Caller("operator-1", Role.OPERATOR, "token")
SECRETS = ("a-secret-of-slack", "a-signature-of-teams", "whsec_")


def rolled_back(world: GateWorld, reason: str) -> None:
    world.core.alias_orders.roll_back(world.models.model, "Champion", Order(OPERATOR, reason))


def waiting_for_people(world: GateWorld) -> list[Finding]:
    """What the doctor finds of it."""
    ours = Installation(lambda: nullcontext(world.store), None, world.clock, 60.0, set())
    found = [finding for checkup in checkups(ours) for finding in checkup.run()]
    return [each for each in found if each.check == WAITING.key]


def ready(world: GateWorld) -> dict[str, Any]:
    """What /readyz answers."""
    app = create_app(
        store=world.store, wake_ups=world.wake_ups, clock=world.clock, access=Access(), checks=()
    )
    found: dict[str, Any] = app.test_client().get("/readyz").get_json()
    return found


def nothing_leaks(world: GateWorld, caplog: pytest.LogCaptureFixture) -> None:
    """No secret is in the database, the ledger or the log."""
    kept = b"".join(path.read_bytes() for path in world.database.parent.glob(f"{world.database.name}*"))
    for secret in SECRETS:
        assert secret.encode() not in kept
        assert secret not in caplog.text


def test_each_receiver_is_told_the_whole_way_and_of_what_happens_to_the_alias(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with told_world(tmp_path) as (world, receivers):
        pending = world.ask()
        pass_time(world, 3)
        world.approve(pending)
        world.look()
        pass_time(world, 6)
        assert world.promotion(Phase.PROMOTED).id == pending.id
        rolled_back(world, "<!channel> it *drifts*")
        pass_time(world, 2)
        world.models.move_alias("2")
        world.sweep()
        pass_time(world, 3)

        events = [each.body for each in receivers.of("webhook")]
        assert [each["type"] for each in events] == [
            "promotion.requested",
            "promotion.decided",
            "promotion.promoted",
            "alias.rolled_back",
            "alias.drift",
        ]
        asked, decided, promoted, back, drift = (each["data"] for each in events)
        assert asked["people_behind"] == ["trainer@example.com"]
        assert asked["rules"] == ["f1 0.91 (ok, before 0.9)"]
        assert asked["url"] == f"https://gate.example.com/promotions/{pending.id}"
        assert decided["deciders"] == [{"login": "reviewer-1", "comment": "looks good"}]
        assert (decided["verdict"], promoted["version"], promoted["gate"]) == ("approved", "2", "churn")
        assert (back["from"], back["to"], back["actor"]) == ("2", "1", "operator-1")
        assert (drift["from"], drift["to"], drift["gates"]) == ("1", "2", ["churn"])

        assert len(receivers.of("slack")) == len(receivers.of("teams")) == len(events)
        assert receivers.posted_nothing == []
        buttons = receivers.of("slack")[0].body["blocks"][-1]["elements"]
        assert [each["url"] for each in buttons] == [asked["request_url"], asked["url"]]
        assert "&lt;!channel&gt;" in str(receivers.of("slack")[3].body)

        told = notices_of(world, pending.id)
        assert {step.phase for step in told.values()} == {StepPhase.SUCCEEDED}
        assert told["requested-office"].reason.startswith("The workflow accepted it.")
        for vendor in ("Slack", "Teams", "Webhook"):
            calls = f"{PREFIX}vendor_call_seconds_count", {"vendor": vendor, "outcome": "ok"}
            assert world.core.context.meters.registry.get_sample_value(*calls) == len(events)
        # Once, also where everything is looked at again, and a dead process begins anew.
        world.crash()
        world.look()
        world.sweep()
        pass_time(world, 2)
        assert len(receivers.taken) == 3 * len(events)
        nothing_leaks(world, caplog)


def test_a_request_that_nobody_decides_is_told_of_once_and_not_after_its_end(tmp_path: Path) -> None:
    with told_world(tmp_path) as (world, receivers):
        pending = world.ask()
        pass_time(world, 1)
        for _ in range(3):
            world.clock.move(hours=2)
            world.sweep()
            pass_time(world, 2)
        titles = [each.body["text"] for each in receivers.of("slack")]
        assert titles == [
            f"v2 of {world.models.model} asks for Champion",
            f"v2 of {world.models.model} still waits for a decision about Champion",
        ]
        receivers.faults.add("/services/", status=503, times=1)
        late = world.ask({"f1": 0.92})  # supersedes it
        world.approve(late)
        world.look()
        pass_time(world, 15)
        assert world.again(pending).phase is Phase.SUPERSEDED
        skipped = notices_of(world, late.id)["requested-team"]
        assert (skipped.phase, skipped.reason) == (StepPhase.SKIPPED, "Nobody is asked any more.")
        assert [each.body["text"].split()[2:] for each in receivers.of("slack")[2:]] == [
            ["main.ml.churn", "was", "approved", "for", "Champion"],
            ["main.ml.churn", "has", "Champion", "now"],
        ]


def test_only_what_a_notice_asks_for_is_told(tmp_path: Path) -> None:
    notices = [
        {"name": "team", "kind": "slack", "on": ["failed"], "private": True},
        {"name": "audit_log", "kind": "webhook", "gates": ["churn"], "on": ["step_failed"], "private": True},
    ]
    with told_world(tmp_path, list(notices)) as (world, receivers):
        world.train({"f1": 0.5})
        world.settle()
        (bad,) = receivers.of("slack")
        assert "does not get Champion: the promotion is ineligible" in bad.body["text"]
        pending = world.ask()
        world.approve(pending)
        world.break_databricks(".*tag.*", status=403)
        world.look()
        for _ in range(25):
            world.wait(hours=1)
        (failed,) = receivers.of("webhook")
        assert failed.body["type"] == "step.failed"
        assert failed.body["data"]["step"] == f"{pending.id}-tag-version"
        assert len(receivers.of("slack")) == 1


@pytest.mark.parametrize(
    ("fault", "again_after"),
    [
        ({"status": 429, "headers": {"Retry-After": "120"}}, 120),
        ({"status": 500}, 10),
        pytest.param({"drop": True}, 10, marks=pytest.mark.part("full")),
        pytest.param({"status": 200, "body": "<html>a login</html>"}, 10, marks=pytest.mark.part("full")),
        pytest.param({"status": 403, "body": "action_prohibited"}, 60, marks=pytest.mark.part("full")),
    ],
    ids=["429", "500", "dropped", "page", "403"],
)
def test_what_may_pass_is_tried_again_and_holds_up_nothing(
    tmp_path: Path, fault: dict[str, object], again_after: int
) -> None:
    with told_world(tmp_path) as (world, receivers):
        broken: Fault = receivers.faults.add("/services/", **fault)
        pending = world.ask()
        step = notices_of(world, pending.id)["requested-team"]
        assert (step.phase, step.retry.attempts, broken.hits) == (StepPhase.PLANNED, 1, 1)
        pass_time(world, 9)
        assert broken.hits == 1
        world.approve(pending)
        world.look()
        assert world.promotion(Phase.PROMOTED).id == pending.id
        broken.times = 0
        world.live(seconds=2 * again_after)
        assert {each.body["text"].split()[-1] for each in receivers.of("slack")} == {"Champion", "now"}
        assert "a-secret-of-slack" not in (step.retry.last_error or "")


def test_what_is_not_taken_is_tried_for_a_day_and_shown_meanwhile(tmp_path: Path) -> None:
    notices = [{"name": "team", "kind": "slack", "private": True}]
    with told_world(tmp_path, list(notices)) as (world, receivers):
        receivers.slack_is = "action_prohibited"
        pending = world.ask()
        (warned,) = (each for each in waiting_for_people(world) if each.verdict is Verdict.WARNING)
        assert "Messages of notice team are not taken, and tried again for a day" in warned.found
        for _ in range(25):
            world.wait(hours=1)
        step = notices_of(world, pending.id)["requested-team"]
        assert step.phase is StepPhase.FAILED
        assert "Given up after a day" in step.reason
        assert "403 (action_prohibited)" in step.reason
        receivers.slack_is = ""
        StepOrders(world.store, world.wake_ups, world.clock).retry(step.id, actor="operator-1")
        pass_time(world, 2)
        assert len(receivers.of("slack")) == 1


def test_a_message_goes_out_of_a_command_which_says_what_the_receiver_answered(tmp_path: Path) -> None:
    with told_world(tmp_path) as (world, receivers):
        environ = {**world.environ, "DATABRICKS_HOST": world.databricks_url}
        sent = run_command("notices", "test", "office", environ=environ, folder=tmp_path)
        assert (sent.returncode, sent.stderr) == (0, "")
        assert "The workflow accepted it. Whether it is posted" in sent.stdout
        (seen,) = receivers.of("teams")
        assert "nobody has to do anything" in str(seen.body)
        receivers.slack_is = "no_service"
        refused = run_command("notices", "test", "team", environ=environ, folder=tmp_path)
        assert refused.returncode == 1
        assert "404 (no_service)" in refused.stderr
        assert "a-secret-of-slack" not in refused.stderr
        unknown = run_command("notices", "test", "nobody", environ=environ, folder=tmp_path)
        assert (unknown.returncode, "team, office, audit_log" in unknown.stderr) == (2, True)


@pytest.mark.part("rest")
def test_apprise_sends_to_whatever_it_knows(tmp_path: Path) -> None:
    with told_world(tmp_path, []) as (world, receivers), serve(receivers.app) as url:
        world.extra = {"notices": [{"name": "mail", "kind": "apprise"}]}
        world.environ["CHAMPION_GATE_NOTICE_MAIL_URL"] = (
            url.replace("http://", "json://") + "/a-secret-of-slack"
        )
        world.reconfigure()
        receivers.faults.add("/a-secret-of-slack", status=500, times=1)
        pending = world.ask()
        step = notices_of(world, pending.id)["requested-mail"]
        assert "the service did not take the message" in (step.retry.last_error or "")
        assert "a-secret-of-slack" not in (step.retry.last_error or "")
        told = receivers.faults.add("/a-secret-of-slack", status=200, body="ok")
        pass_time(world, 12)
        assert told.hits == 1
        assert notices_of(world, pending.id)["requested-mail"].reason == "Apprise sent it."


@pytest.mark.parametrize("where", ["slack", "teams", "webhook"])
def test_a_receiver_that_is_gone_is_shown_with_what_to_do(tmp_path: Path, where: str) -> None:
    with told_world(tmp_path) as (world, receivers):
        receivers.slack_is = "no_service" if where == "slack" else ""
        receivers.workflow_is = "deleted" if where == "teams" else "there"
        receivers.webhook_is_gone = where == "webhook"
        name = {"slack": "team", "teams": "office", "webhook": "audit-log"}[where]
        words = {"slack": "404 (no_service)", "teams": "404 (WorkflowNotFound)", "webhook": "410"}[where]
        pending = world.ask()
        step = notices_of(world, pending.id)[f"requested-{name}"]
        assert step.phase is StepPhase.FAILED
        assert words in step.reason
        assert f"champion-gate steps retry {step.id}" in step.reason
        assert not any(secret in step.reason for secret in SECRETS)
        (warned,) = (each for each in waiting_for_people(world) if each.verdict is Verdict.WARNING)
        assert words in warned.found
        assert "champion-gate steps retry" in warned.remedy
        assert "1 message to people was given up" in ready(world)["warnings"][0]
        pass_time(world, 1)
        assert {each.kind for each in receivers.taken} == {"slack", "teams", "webhook"} - {where}


def test_turns_that_another_replica_has_used_are_forgotten() -> None:
    pace = _Pace(timedelta(seconds=1))
    for number in range(100):
        pace.turn("team", f"s-{number}", T0)
    assert pace.turn("team", "s-99", T0) == after(99), "nobody else gets the same"
    late = after(7300)
    assert pace.turn("team", "s-100", late) == late
    assert len(pace._booked) <= 1  # noqa: SLF001 - it must not grow for ever, which nothing else shows


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with told_world(tmp_path) as (world, receivers):
        receivers.faults.add("/hook", status=307, headers={"Location": "/elsewhere"})
        pending = world.ask()
        step = notices_of(world, pending.id)["requested-audit-log"]
        assert "Redirects are not followed" in (step.retry.last_error or "")
        assert ("POST", "/elsewhere") not in receivers.faults.requests


def test_an_address_that_leads_into_our_own_network_is_refused_when_it_is_connected_to(
    tmp_path: Path,
) -> None:
    notices = [{"name": "team", "kind": "slack"}]
    with told_world(tmp_path, []) as (world, _):
        world.extra = {"notices": notices}
        world.environ["CHAMPION_GATE_NOTICE_TEAM_URL"] = (
            f"https://localhost:{world.databricks_url.rpartition(':')[2]}/services/x"
        )
        world.reconfigure()
        pending = world.ask()
        step = notices_of(world, pending.id)["requested-team"]
        assert "leads to an address of a private network" in (step.retry.last_error or "")
        assert "private: true" in (step.retry.last_error or "")
