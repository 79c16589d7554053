"""What is tried where people approve by pull-request review: none of it ends in an alias that nobody approved.

What every way of approving knows (trainers, one person for two seats, too late) is in test_both_providers.py. That two accounts
are one person's cannot be known: service/docs/reviews.md says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.commits import Review
from integration.gate_providers import BOT
from integration.gate_reviews import PROMOTIONS, ReviewProvider, number_of
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.part("rest")
quick = pytest.mark.part("quick")
SECONDARY = (
    '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}'
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider="github-review") as made:
        for role, login in (("read", "passer-by"), ("triage", "triager"), ("write", "accomplice")):
            made.github.people.give(PROMOTIONS, login, role)
        yield made
        approvers = {"reviewer-1", "reviewer-2", "first-reviewer"}
        assert made.models.champion() == "1" or {*made.moves()[-1][2].split(", ")} <= approvers


@pytest.fixture
def there(world: GateWorld) -> ReviewProvider:
    assert isinstance(world.provider, ReviewProvider)
    return world.provider


def number(world: GateWorld, promotion: Promotion) -> int:
    return number_of(world.run_id_of(promotion))


def branch(world: GateWorld, promotion: Promotion) -> str:
    return world.github.people.pull(PROMOTIONS, number(world, promotion)).head


def approves(world: GateWorld, promotion: Promotion, login: str = "reviewer-1", **more: Any) -> Review:
    return world.github.people.review(PROMOTIONS, number(world, promotion), login, **more)


def waits(world: GateWorld, promotion: Promotion, words: str = "") -> None:
    """Look at once and minutes later, and assert that it still waits, and nothing has moved."""
    for _ in range(2):
        world.look()
        reason = world.ended(promotion, Phase.PENDING_APPROVAL)
        world.clock.move(minutes=2)
    assert world.models.champion() == "1"
    assert world.databricks.catalog.alias_writes == []
    assert words in f"{reason} {world.again(promotion).retry.last_error}", reason


def void(world: GateWorld, promotion: Promotion, words: str) -> None:
    """Look until it has ended without an approval, whatever people have approved."""
    for _ in range(4):
        world.look()
        world.clock.move(minutes=5)
    assert words in world.ended(promotion, Phase.STALE)
    assert world.models.champion() == "1"
    assert not [reason for _, reason in world.ledger() if reason.startswith("Approved")]


def promoted(world: GateWorld, promotion: Promotion) -> None:
    world.look()
    world.ended(promotion, Phase.PROMOTED)


# --- whose review ----------------------------------------------------------------------------------------


@quick
def test_approvals_of_others_than_listed_people_who_may_write(
    world: GateWorld, there: ReviewProvider
) -> None:
    pending = world.ask()
    world.github.add_user("helper[bot]", type="Bot")
    there.people.give(PROMOTIONS, "helper[bot]", "write")
    for login in ("passer-by", "accomplice", "helper[bot]"):
        approves(world, pending, login)
    draft = approves(world, pending, "reviewer-1", verdict=None)
    with pytest.raises(RefusedError):  # our own account's
        approves(world, pending, BOT)
    waits(world, pending)
    there.people.submit(PROMOTIONS, number(world, pending), draft, "APPROVE")
    promoted(world, pending)


def test_a_bot_and_an_app_whose_logins_are_listed(world: GateWorld, there: ReviewProvider) -> None:
    pending = world.ask()
    approves(world, pending)
    world.github.state.user("reviewer-1").type = "Bot"
    waits(world, pending)


@quick
def test_the_account_of_who_approved_is_deleted(world: GateWorld) -> None:
    pending = world.ask()
    approves(world, pending)
    world.github.delete_user("reviewer-1")
    waits(world, pending)
    approves(world, pending, "reviewer-2")
    promoted(world, pending)


def test_who_approved_is_renamed_and_somebody_else_takes_the_login(world: GateWorld) -> None:
    pending = world.ask()
    world.github.rename_user("reviewer-1", "first-reviewer")
    world.github.people.give(PROMOTIONS, "reviewer-1", "write")
    approves(world, pending, "reviewer-1")
    waits(world, pending)
    world.github.state.users.pop("reviewer-1")
    approves(world, pending, "first-reviewer")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[-1][2] == "first-reviewer"


@quick
def test_who_approved_loses_write_access_before_it_is_decided(
    world: GateWorld, there: ReviewProvider
) -> None:
    pending = world.ask()
    approves(world, pending)
    for role in ("triage", "read", "none"):
        there.people.give(PROMOTIONS, "reviewer-1", role)
        waits(world, pending)
    there.people.take_away(PROMOTIONS, "reviewer-1")
    waits(world, pending)
    there.people.give(PROMOTIONS, "reviewer-1", "maintain")
    promoted(world, pending)


def test_an_approver_is_added_to_gates_yaml_after_asking(world: GateWorld, there: ReviewProvider) -> None:
    pending = world.ask()
    approves(world, pending, "accomplice")
    world.reconfigure(approval=there.place(approvers={"people": ["reviewer-1", "accomplice"]}))
    world.look()
    world.clock.move(minutes=2)
    world.look()
    assert world.again(pending).phase in {Phase.PENDING_APPROVAL, Phase.STALE}
    assert world.databricks.catalog.alias_writes == []


def test_who_leaves_and_who_joins_a_team_after_asking(world: GateWorld, there: ReviewProvider) -> None:
    """Teams are read when it is decided; who fills them approves, and service/docs/reviews.md says so."""
    team = world.github.add_team("example", "ml", ["reviewer-1", "accomplice"])
    there.people.give(PROMOTIONS, team, "write")
    world.reconfigure(approval=there.place(approvers={"teams": ["ml"]}))
    pending = world.ask()
    approves(world, pending, "accomplice")
    world.github.add_team("example", "ml", ["reviewer-1"])
    waits(world, pending)
    other = world.github.add_team("example", "others", ["accomplice"])
    there.people.give(PROMOTIONS, other, "write")
    waits(world, pending)
    approves(world, pending)
    promoted(world, pending)


# --- which review ----------------------------------------------------------------------------------------


@quick
def test_an_approval_and_a_no_on_the_second_page(world: GateWorld, there: ReviewProvider) -> None:
    pending = world.ask()
    for _ in range(105):
        approves(world, pending, "accomplice", verdict="COMMENT")
    approves(world, pending)
    approves(world, pending, verdict="REQUEST_CHANGES", body="wrong table")
    world.look()
    assert "Rejected by reviewer-1" in world.ended(pending, Phase.REJECTED)
    again = world.ask({"f1": 0.92})
    for _ in range(105):
        approves(world, again, "accomplice", verdict="COMMENT")
    approves(world, again)
    approves(world, again, verdict="COMMENT", body="and thank you")  # takes nothing back
    promoted(world, again)


def test_a_review_of_another_commit(world: GateWorld, there: ReviewProvider) -> None:
    pending = world.ask()
    approves(world, pending, commit=there.pull(world.run_id_of(pending)).base_sha)
    waits(world, pending)


@quick
def test_a_dismissed_approval_and_the_older_one_below_it(world: GateWorld, there: ReviewProvider) -> None:
    pending = world.ask()
    approves(world, pending)
    newer = approves(world, pending)
    there.people.dismiss(PROMOTIONS, number(world, pending), newer, "accomplice")
    waits(world, pending)
    approves(world, pending, verdict="COMMENT", body="why was that dismissed?")
    waits(world, pending)
    approves(world, pending)
    promoted(world, pending)


def test_a_dismissed_no_of_a_listed_person_lets_others_approve(
    world: GateWorld, there: ReviewProvider
) -> None:
    """Before anybody has looked; once it was seen it has rejected."""
    pending = world.ask()
    no = approves(world, pending, verdict="REQUEST_CHANGES")
    there.people.dismiss(PROMOTIONS, number(world, pending), no, "accomplice")
    waits(world, pending)
    approves(world, pending, "reviewer-2")
    promoted(world, pending)


def test_a_no_of_somebody_who_is_not_listed_rejects_nothing(world: GateWorld) -> None:
    pending = world.ask()
    approves(world, pending, "passer-by", verdict="REQUEST_CHANGES")
    waits(world, pending)
    approves(world, pending)
    promoted(world, pending)


# --- which commit and branch -----------------------------------------------------------------------------


def _second_commit(world: GateWorld, pending: Promotion) -> None:
    world.github.people.push(PROMOTIONS, branch(world, pending), "accomplice")


def _force_push(world: GateWorld, pending: Promotion) -> None:
    world.github.people.force_push(PROMOTIONS, branch(world, pending), "accomplice")


def _retarget(world: GateWorld, pending: Promotion) -> None:
    world.github.people.make_branch(PROMOTIONS, "elsewhere", "accomplice")
    world.github.people.retarget(PROMOTIONS, number(world, pending), "accomplice", "elsewhere")


SPOILT = {
    "second commit": (_second_commit, "commit"),
    "force push": (_force_push, "commit"),
    "base retargeted": (_retarget, "elsewhere"),
}


@pytest.mark.parametrize("name", [pytest.param("second commit", marks=quick), *list(SPOILT)[1:]])
@pytest.mark.parametrize("first", [True, False], ids=["approved before", "approved after"])
def test_what_is_approved_is_changed(world: GateWorld, name: str, *, first: bool) -> None:
    spoil, words = SPOILT[name]
    pending = world.ask()
    if first:
        approves(world, pending)
    spoil(world, pending)
    if not first:
        approves(world, pending)
    void(world, pending, words)


def test_a_pull_request_from_a_fork_whose_branch_bears_the_same_name(world: GateWorld) -> None:
    pending, people = world.ask(), world.github.people
    fork = people.fork(PROMOTIONS, "passer-by")
    people.push(fork, branch(world, pending), "passer-by")
    theirs = people.open(PROMOTIONS, "passer-by", f"passer-by:{branch(world, pending)}", title="Champion")
    people.review(PROMOTIONS, theirs, "reviewer-1")
    waits(world, pending)
    people.merge(PROMOTIONS, theirs, "reviewer-1")
    waits(world, pending)
    approves(world, pending)
    promoted(world, pending)


def test_title_and_text_are_changed_and_changed_back(world: GateWorld, there: ReviewProvider) -> None:
    """They decide nothing: what is approved is the commit."""
    pending = world.ask()
    pull = there.pull(world.run_id_of(pending))
    title, body = pull.title, pull.body
    there.people.edit(
        PROMOTIONS, pull.number, "accomplice", title="Harmless", body="Nothing is approved here."
    )
    waits(world, pending)
    there.people.edit(PROMOTIONS, pull.number, "accomplice", title=title, body=body)
    waits(world, pending)
    approves(world, pending)
    promoted(world, pending)


@quick
def test_a_title_that_names_another_promotion_has_nothing_closed(
    world: GateWorld, there: ReviewProvider
) -> None:
    """Whoever may write can give a pull request any title, and not its branch."""
    world.reconfigure(newer_version="keep")
    first = world.ask()
    second = world.ask({"f1": 0.93})
    assert first.request is not None
    there.people.edit(
        PROMOTIONS, number(world, second), "accomplice", title=f"Champion [{first.request.correlation_id}]"
    )
    approves(world, first, verdict="REQUEST_CHANGES")
    world.look()
    world.ended(first, Phase.REJECTED)
    world.sweep()
    world.wait(minutes=20)
    assert there.waits(world.run_id_of(second))
    approves(world, second)
    promoted(world, second)


@pytest.mark.parametrize("theirs", [True, False], ids=["with a commit", "at base"])
def test_a_branch_that_somebody_else_made_first(world: GateWorld, *, theirs: bool) -> None:
    world.provider.faults.add("/git/refs$", method="POST", status=500)
    world.train()
    world.settle()
    asking = world.promotion(Phase.REQUESTED)
    assert asking.request is not None
    name, people = f"champion-gate/{asking.request.correlation_id}", world.github.people
    people.make_branch(PROMOTIONS, name, "accomplice")
    if theirs:
        people.push(PROMOTIONS, name, "accomplice", f"promotions/{asking.id}.md", "Everything is fine.\n")
    world.provider.faults.clear()
    for _ in range(3):
        world.wait(minutes=3)
    if theirs:
        assert world.provider.requests() == {}
        waiting = world.promotion(Phase.REQUESTED)
        assert name in f"{waiting.reason} {waiting.retry.last_error}"
        people.delete_branch(PROMOTIONS, name, "accomplice")
        for _ in range(3):
            world.wait(minutes=10)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert branch(world, pending) == name
    approves(world, pending)
    promoted(world, pending)


# --- the repository --------------------------------------------------------------------------------------


def test_the_repository_is_transferred(world: GateWorld) -> None:
    pending = world.ask()
    approves(world, pending)
    world.github.people.transfer(PROMOTIONS, "others")
    world.github.people.give("others/promotions", BOT, "write")
    for _ in range(4):
        world.look()
        world.clock.move(minutes=5)
    assert world.again(pending).phase in {Phase.PENDING_APPROVAL, Phase.STALE}
    assert world.databricks.catalog.alias_writes == []


def test_the_repository_is_renamed_and_another_takes_its_name(world: GateWorld) -> None:
    pending = world.ask()
    world.github.people.rename(PROMOTIONS, "moved")
    waits(world, pending, "moved")
    world.github.add_repository(PROMOTIONS, private=True, workflow=None)
    for login in (BOT, "reviewer-1"):
        world.github.people.give(PROMOTIONS, login, "write")
    waits(world, pending)


def test_the_repository_turns_public(world: GateWorld) -> None:
    pending = world.ask()
    world.github.people.set_private(PROMOTIONS, private=False)
    world.github.add_user("anybody")
    approves(world, pending, "anybody")
    waits(world, pending)
    approves(world, pending)
    promoted(world, pending)


# --- closed and merged -----------------------------------------------------------------------------------


@quick
def test_closed_by_others_than_approvers_waits_and_reopening_heals(
    world: GateWorld, there: ReviewProvider
) -> None:
    pending = world.ask()
    world.github.add_user("stale[bot]", type="Bot")
    for login in ("stale[bot]", "triager"):
        there.people.close(PROMOTIONS, number(world, pending), login)
        waits(world, pending, login)
        there.people.reopen(PROMOTIONS, number(world, pending), "triager")
        waits(world, pending)
    approves(world, pending)
    promoted(world, pending)


def test_merged_by_a_person_before_approvals_suffice(world: GateWorld, there: ReviewProvider) -> None:
    pending = world.ask()
    there.people.merge(PROMOTIONS, number(world, pending), "accomplice")
    waits(world, pending)
    approves(world, pending)
    promoted(world, pending)
    again = world.ask({"f1": 0.95})
    there.people.merge(PROMOTIONS, number(world, again), "reviewer-1")
    world.wait(days=14, seconds=2)
    assert "merged by reviewer-1, without the approvals" in world.ended(again, Phase.EXPIRED)


@quick
def test_an_approval_in_time_is_not_lost_while_reviews_are_read_at_the_end(
    world: GateWorld, there: ReviewProvider
) -> None:
    world.reconfigure(approval=there.approval(people=2))
    pending = world.ask()
    approves(world, pending)
    world.look()
    assert pending.request is not None
    left = pending.request.expires_at - world.clock.now()
    world.clock.move(seconds=left.total_seconds() - 5)

    def the_second_comes_late() -> None:
        approves(world, pending, "reviewer-2")
        world.clock.move(seconds=10)

    reading = there.faults.add("/permission$", method="GET", times=1, meanwhile=the_second_comes_late)
    world.look()
    assert reading.hits == 1
    promoted(world, pending)


def test_an_ordered_end_believes_no_bad_word_about_who_approved_at_once(
    world: GateWorld, there: ReviewProvider
) -> None:
    pending = world.ask()
    approves(world, pending)
    there.people.give(PROMOTIONS, "reviewer-1", "read")
    order = EndRequest(Phase.CANCELLED, "operator", "Not this one.", world.clock.now())
    assert world.store.request_end(pending.id, order)
    world.look()
    assert "reviewer-1 (review) may not write" in world.ended(pending, Phase.PENDING_APPROVAL)
    there.people.give(PROMOTIONS, "reviewer-1", "write")
    world.live(minutes=2)
    world.ended(pending, Phase.PROMOTED)
    again = world.ask({"f1": 0.95})
    approves(world, again, "passer-by")
    assert world.store.request_end(again.id, replace(order, at=world.clock.now()))
    world.live(minutes=2)
    world.ended(again, Phase.CANCELLED)


# --- answers that fail -----------------------------------------------------------------------------------

FAILURES: dict[str, dict[str, Any]] = {
    "403": {"status": 403, "body": '{"message": "Resource not accessible by integration"}'},
    "404": {"status": 404, "body": '{"message": "Not Found"}'},
    "500": {"status": 500},
    "502": {"status": 502, "body": "<html>"},
    "secondary limit": {"status": 403, "body": SECONDARY, "headers": {"Retry-After": "60"}},
    "no JSON": {"body": "[{"},
    "nothing": {"body": "[]"},
    "cut off": {"drop": True},
}


@pytest.mark.parametrize(
    "what",
    [pytest.param("/reviews$", marks=quick), r"/pulls/\d+$", "/permission$", "/repos/example/promotions$"],
)
def test_while_an_answer_fails_nothing_is_decided(world: GateWorld, what: str) -> None:
    pending = world.ask()
    approves(world, pending)
    for how in FAILURES.values():
        world.provider.faults.add(what, method="GET", **how)
        waits(world, pending)
        world.provider.faults.clear()
    world.clock.move(hours=1)  # what limits ask for is over
    promoted(world, pending)
