"""From the notification to the alias, the same scenarios for every way in which people approve.

Each test is a row of one table, and each way a column. Where a way knows no such thing, NO_SUCH_THING says why, and that cell is
not run; every other one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.gitlab.state import RefusedError as GitLabRefusedError
from integration.gate_providers import REPOSITORY, TRAINER_LOGIN, Provider
from integration.gate_reviews import PROMOTIONS
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.part("rest", "gitlab")

FIRST = (None, "1", "outside champion-gate")
WAYS = {
    "github": None,
    "gitlab-branch": "full",
    "gitlab-environment": "full",
    "gitlab-rules": None,
    "github-review": "rest",
}
"""Each, and where it runs if not as the test."""
QUICK = {
    ("github-review", "test_an_approved_version_becomes_champion"),
    ("github-review", "test_a_no_ends_it_and_is_on_record"),
    ("github-review", "test_of_two_people_both_are_waited_for_and_named_with_their_comments"),
}

_ONE_CLICK = "GitLab has one click there, by one person"
_NO_JOB = "no job waits for a review, so none runs, ends or is run again"
_OWN = "GitHub lets nobody approve what they opened themselves"
NO_SUCH_THING = {
    ("gitlab-branch", "test_of_two_people_both_are_waited_for_and_named_with_their_comments"): _ONE_CLICK,
    (
        "gitlab-environment",
        "test_of_two_people_both_are_waited_for_and_named_with_their_comments",
    ): _ONE_CLICK,
    ("gitlab-branch", "test_one_person_is_not_two"): _ONE_CLICK,
    ("gitlab-environment", "test_one_person_is_not_two"): _ONE_CLICK,
    ("gitlab-branch", "test_a_trainer_is_not_the_second_person"): _ONE_CLICK,
    ("gitlab-environment", "test_a_trainer_is_not_the_second_person"): _ONE_CLICK,
    ("github-review", "test_the_account_that_asks_approves_in_vain"): _OWN,
    ("github-review", "test_a_request_that_was_run_again_is_not_believed"): _NO_JOB,
    ("github-review", "test_the_decision_is_taken_while_the_gated_job_still_runs"): _NO_JOB,
    (
        "github-review",
        "test_of_a_doubled_request_one_is_adopted_and_the_other_cancelled",
    ): "a branch has a name, and GitHub opens no second pull request of it",
}
"""(way, scenario) -> why there is no such thing."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        name = metafunc.function.__name__
        parts = {way: "quick" if (way, name) in QUICK else part for way, part in WAYS.items()}
        ways = [
            pytest.param(way, marks=[pytest.mark.part(part)] if part else [])
            for way, part in parts.items()
            if (way, name) not in NO_SUCH_THING
        ]
        metafunc.parametrize("world", ways, indirect=True)


def test_every_cell_is_run_or_says_why_not() -> None:
    cells = NO_SUCH_THING.keys() | QUICK
    assert {way for way, _ in cells} <= WAYS.keys()
    assert {scenario for _, scenario in cells} <= globals().keys()
    assert all(NO_SUCH_THING.values())


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


@pytest.fixture
def there(world: GateWorld) -> Provider:
    return world.provider


def request_of(world: GateWorld, promotion: Promotion) -> str:
    """The status of its run or pipeline."""
    return world.provider.requests()[world.run_id_of(promotion)]


def unmoved(world: GateWorld) -> None:
    assert world.models.champion() == "1"
    assert world.databricks.catalog.alias_writes == []
    assert not [reason for _, reason in world.ledger() if reason.startswith("Approved")]


def to_champion(world: GateWorld) -> None:
    """The one request that is open leads to the alias."""
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[-1][2] == "reviewer-1"


# --- what people say -------------------------------------------------------------------------------------


def test_an_approved_version_becomes_champion(world: GateWorld, there: Provider) -> None:
    version = world.train()
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.request is not None
    assert pending.request.provider == there.key
    assert world.models.champion() == "1"

    there.approve(world.run_id_of(pending), "reviewer-1")
    world.look()

    assert world.ended(pending, Phase.PROMOTED) == f"Champion of {world.models.model} moved from v1 to v2"
    assert world.notification().phase is NotificationPhase.RESOLVED
    assert world.models.champion() == version == "2"
    assert world.moves() == [FIRST, ("1", "2", "reviewer-1")]
    assert ("decision", f"Approved by reviewer-1 ({there.seats[0]}).") in world.ledger()
    assert world.models.tags(version) == {
        "champion_gate_status": "promoted",
        "champion_gate_approved_by": "reviewer-1",
        "champion_gate_promotion": pending.id,
    }
    assert request_of(world, pending) == "success"


def test_a_no_ends_it_and_is_on_record(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    there.reject(world.run_id_of(pending), "reviewer-1")
    world.look()
    reason = world.ended(pending, Phase.REJECTED)
    expected = (
        f"Rejected by reviewer-1 ({there.seats[0]}): not yet"
        if there.comments
        else "was cancelled, which rejects"
    )
    assert expected in reason
    assert ("decision", reason) in world.ledger()
    assert world.models.tags("2")["champion_gate_status"] == "rejected"
    assert "champion_gate_approved_by" not in world.models.tags("2")
    assert request_of(world, pending) != "open"
    unmoved(world)


def test_a_request_that_somebody_cancels_at_the_vendor_is_rejected(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    there.cancel(world.run_id_of(pending))
    world.sweep()
    assert there.cancelled_words in world.ended(pending, Phase.REJECTED)
    unmoved(world)


def test_who_trained_the_version_approves_it_in_vain(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    there.approve(world.run_id_of(pending), TRAINER_LOGIN)
    world.look()
    assert f"the approval of {TRAINER_LOGIN} does not count, who is behind this version" in world.ended(
        pending, there.in_vain
    )
    unmoved(world)


def test_the_account_that_asks_approves_in_vain(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    there.slip_in_the_bot(world.run_id_of(pending))
    world.look()
    assert there.bot_words in world.ended(pending, Phase.REJECTED)
    unmoved(world)


# --- several people --------------------------------------------------------------------------------------


def test_of_two_people_both_are_waited_for_and_named_with_their_comments(
    world: GateWorld, there: Provider
) -> None:
    world.reconfigure(approval=there.approval(2))
    pending = world.ask()
    there.approve(world.run_id_of(pending), "reviewer-1", comment="metrics are fine")
    world.look()
    assert "of 2 approved" in world.ended(pending, Phase.PENDING_APPROVAL)
    unmoved(world)

    if there.key == "github":
        world.approve(pending, "reviewer-2", "champion-2")
    else:
        there.approve(world.run_id_of(pending), "reviewer-2")
    world.look()

    world.ended(pending, Phase.PROMOTED)
    decision = world.again(pending).decision
    assert decision is not None
    assert {(each.login, each.comment) for each in decision.deciders} == {
        ("reviewer-1", "metrics are fine"),
        ("reviewer-2", "looks good"),
    }
    assert {each.seat for each in decision.deciders} == set(there.seats)
    assert len({each.user_id for each in decision.deciders}) == 2
    assert set(world.moves()[-1][2].split(", ")) == {"reviewer-1", "reviewer-2"}
    (line,) = (line for line in world.store.ledger_lines(limit=100) if line.entry.kind.value == "decision")
    named = {(each["login"], each["comment"]) for each in line.entry.facts["deciders"]}  # type: ignore[attr-defined]
    assert named == {("reviewer-1", "metrics are fine"), ("reviewer-2", "looks good")}


def test_one_person_is_not_two(world: GateWorld, there: Provider) -> None:
    world.reconfigure(approval=there.approval(2))
    pending = world.ask()
    there.approve(world.run_id_of(pending), "reviewer-1", "reviewer-1")
    world.look()
    if there.key == "github":  # which lets one person release both
        assert "need a different person each" in world.ended(pending, Phase.REJECTED)
    else:
        assert "of 2 approved" in world.ended(pending, Phase.PENDING_APPROVAL)
    if there.key == "gitlab":
        with pytest.raises(GitLabRefusedError, match="Unplayable"):
            there.standin.play(there.standin.job(world.run_id_of(pending)), "reviewer-2")  # type: ignore[attr-defined]
    unmoved(world)


def test_a_trainer_is_not_the_second_person(world: GateWorld, there: Provider) -> None:
    world.reconfigure(approval=there.approval(2))
    pending = world.ask()
    there.approve(world.run_id_of(pending), "reviewer-1", TRAINER_LOGIN)
    world.look()
    world.ended(pending, there.in_vain)
    unmoved(world)


# --- other ends ------------------------------------------------------------------------------------------


def test_nobody_decides_and_the_request_expires(world: GateWorld) -> None:
    pending = world.ask()
    world.wait(days=14, seconds=2)
    reason = world.ended(pending, Phase.EXPIRED)
    assert reason.startswith(("Nobody decided before ", "Not approved by as many as are needed before "))
    assert request_of(world, pending) == "cancelled"
    assert world.models.tags("2")["champion_gate_status"] == "expired"
    unmoved(world)


def test_a_decision_after_the_expiry_does_not_count(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    world.clock.move(days=14, minutes=1)
    there.approve(world.run_id_of(pending), "reviewer-1")
    world.settle()
    unmoved(world)
    world.wait(minutes=2)
    world.ended(pending, Phase.EXPIRED)
    unmoved(world)


def test_an_operator_cancels_while_people_are_asked(world: GateWorld) -> None:
    pending = world.ask()
    world.core.promotion_orders.cancel(pending.id, actor="operator", reason="Trained on the wrong table.")
    world.settle()
    assert world.ended(pending, Phase.CANCELLED) == "Trained on the wrong table."
    assert request_of(world, pending) == "cancelled"
    unmoved(world)


def test_a_newer_version_supersedes_an_older_request(world: GateWorld) -> None:
    older = world.ask()
    newer = world.ask({"f1": 0.92})
    assert world.ended(older, Phase.SUPERSEDED) == f"The newer v3 asks for Champion now ({newer.id})."
    assert (request_of(world, older), request_of(world, newer)) == ("cancelled", "open")
    to_champion(world)
    assert world.models.champion() == "3"


def test_an_alias_that_moved_meanwhile_makes_it_stale(world: GateWorld, there: Provider) -> None:
    pending = world.ask()
    there.approve(world.run_id_of(pending), "reviewer-1")
    other = world.models.train(world.job_id, "2", {"f1": 0.9})
    world.models.move_alias(other)
    world.look()
    assert "stands on v3 now; approval was asked for replacing v1" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "3"
    assert world.databricks.catalog.alias_writes == []


# --- the place -------------------------------------------------------------------------------------------


def test_nobody_is_asked_at_an_unprotected_place_until_it_is_mended(
    world: GateWorld, there: Provider
) -> None:
    there.unprotect()
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert there.unprotected_words in waiting.reason
    assert any(name in waiting.reason for name in (REPOSITORY, PROMOTIONS, "project 42"))
    assert there.requests() == {}
    there.protect()
    world.wait(minutes=3)
    assert len(there.requests()) == 1
    to_champion(world)


def test_an_approval_at_a_place_that_lost_its_protection_is_not_believed(
    world: GateWorld, there: Provider
) -> None:
    pending = world.ask()
    there.approve(world.run_id_of(pending), "reviewer-1")
    there.unprotect()
    world.look()
    assert there.unprotected_words in world.ended(pending, Phase.PENDING_APPROVAL)
    unmoved(world)
    world.wait(days=15)
    world.wait(minutes=2)  # what is said of people is looked at twice
    world.ended(pending, Phase.EXPIRED)
    unmoved(world)


# --- the run or pipeline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("well", [True, False])
def test_a_request_that_was_run_again_is_not_believed(world: GateWorld, there: Provider, well: bool) -> None:
    there.hold_jobs()
    pending = world.ask()
    request_id = world.run_id_of(pending)
    there.approve(request_id, "reviewer-1")
    there.end_jobs(request_id, well=well)
    there.rerun(request_id, "reviewer-2")
    world.look()
    reason = world.ended(pending, Phase.REJECTED)
    assert "run a second time" in reason or "was retried" in reason
    unmoved(world)


def test_the_decision_is_taken_while_the_gated_job_still_runs(world: GateWorld, there: Provider) -> None:
    there.hold_jobs()
    pending = world.ask()
    there.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert request_of(world, pending) == "open"
    assert world.models.champion() == "2"
    there.end_jobs(world.run_id_of(pending), well=True)
    world.look()
    assert world.moves() == [FIRST, ("1", "2", "reviewer-1")]


def test_with_every_webhook_lost_the_sweep_finds_the_run_and_the_decision(
    world: GateWorld, there: Provider
) -> None:
    world.sweep()
    world.train_run()
    world.clock.move(minutes=1)
    world.sweep()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.clock.move(minutes=1)
    world.sweep()
    there.approve(world.run_id_of(pending), "reviewer-1")
    world.clock.move(minutes=1)
    world.sweep()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


# --- asked once ------------------------------------------------------------------------------------------


def test_a_request_whose_answer_was_lost_is_adopted(world: GateWorld, there: Provider) -> None:
    there.faults.add(f"{there.opening}$", method="POST", drop=True, carry_out=True)
    world.train()
    world.settle()
    assert "the connection broke" in (world.promotion(Phase.REQUESTED).retry.last_error or "")
    there.faults.clear()
    world.wait(seconds=5)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert list(there.requests()) == [world.run_id_of(pending)]
    assert there.asked() == 1
    to_champion(world)


def test_of_a_doubled_request_one_is_adopted_and_the_other_cancelled(
    world: GateWorld, there: Provider
) -> None:
    there.faults.add(f"{there.opening}$", drop=True, carry_out=True, times=1)
    there.faults.add(there.listing, body=there.nothing_listed)
    world.train()
    world.settle()
    for _ in range(14):
        world.wait(seconds=10)
    assert there.asked() == 2
    there.faults.clear()
    world.wait(seconds=20)
    world.look()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert sorted(there.requests().values()) == ["cancelled", "open"]
    assert request_of(world, pending) == "open"
    to_champion(world)
    assert world.models.champion() == "2"
