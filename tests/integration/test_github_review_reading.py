"""What people did to a pull request at GitHub, and what it comes to: the whole way from the review to the judgement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from champion_gate.domain import policy
from champion_gate.domain.approval import ExcludedPerson, Verdict
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import VendorError
from champion_gate_standins.github import answers, pull_answers
from integration.github_review_world import NAME, ReviewWorld, github_review_world, number_of, target_of

pytestmark = pytest.mark.spread(2)

ONE = target_of(approvers={"people": ["ann", "bob"], "teams": ["officers"]})
APPROVED, REJECTED = Verdict.APPROVED, Verdict.REJECTED


@pytest.fixture
def world() -> Iterator[ReviewWorld]:
    with github_review_world() as made:
        yield made


def judged(
    world: ReviewWorld, promotion: Promotion, *, seen_once: dict[str, datetime] | None = None
) -> policy.Judgement:
    assert promotion.request is not None
    return policy.judge(
        promotion=replace(promotion, seen_once=seen_once or {}),
        seats=promotion.request.seats,
        state=world.read(promotion),
        allow_trainer_approval=False,
        source="github_review",
        now=world.clock.now(),
    )


def verdict(found: policy.Judgement) -> Verdict | None:
    return found.decision.verdict if found.decision else None


class Act:
    """What people do about one pull request."""

    def __init__(self, world: ReviewWorld, promotion: Promotion) -> None:
        self.world, self.people = world, world.people
        self.number, self.branch = number_of(promotion), f"champion-gate/{promotion.correlation_id}"

    def review(self, login: str, said: str | None = "APPROVE", **more: str) -> object:
        self.world.clock.move(minutes=1)
        return self.people.review(NAME, self.number, login, said, **more)

    def many_comments(self) -> None:
        for _ in range(120):
            self.people.review(NAME, self.number, "rea", "COMMENT")


def dismissed(act: Act) -> None:
    act.review("ann")
    act.people.dismiss(NAME, act.number, act.review("ann"), "bob")  # type: ignore[arg-type] # a review


def on_page_two(act: Act) -> None:
    act.many_comments()
    act.review("ann")


def revoked_on_page_two(act: Act) -> None:
    act.review("bob")
    act.many_comments()
    act.review("bob", "REQUEST_CHANGES")


def lost_access(act: Act) -> None:
    act.review("ann")
    act.people.take_away(NAME, "ann")


def renamed(act: Act) -> None:
    act.review("ann")
    act.world.there.rename_user("ann", "annabel")
    act.world.there.add_user("ann")


def impostor(act: Act) -> None:
    act.world.there.rename_user("ann", "annabel")
    act.people.give(NAME, "ann", "admin")
    act.review("ann")


def deleted(act: Act) -> None:
    act.review("ann")
    act.world.there.delete_user("ann")


def left_the_team(act: Act) -> None:
    act.review("cleo")
    act.world.there.add_team("example", "officers", [])


def merged_by_hand(act: Act) -> None:
    act.people.merge(NAME, act.number, "bob")
    act.review("ann")


def base_went_on(act: Act) -> None:
    act.review("ann")
    act.people.push(NAME, "main", "bob")


def approved_late(act: Act) -> None:
    act.world.clock.move(days=15)
    act.review("ann")


def said_late_again(verdict: str) -> Callable[[Act], None]:
    def acts(act: Act) -> None:
        act.review("ann")
        act.world.clock.move(days=15)
        act.review("ann", verdict)

    return acts


@pytest.mark.parametrize(
    ("acts", "comes_to", "says"),
    [
        (lambda act: act.review("ann"), APPROVED, "Approved by ann (review)."),
        (lambda act: act.review("cleo"), APPROVED, "Approved by cleo (review)."),
        (lambda act: (act.review("ann"), act.review("ann", "COMMENT")), APPROVED, ""),
        (on_page_two, APPROVED, ""),
        (renamed, APPROVED, "Approved by annabel (review)."),
        (merged_by_hand, APPROVED, ""),
        (said_late_again("APPROVE"), APPROVED, "Approved by ann (review)."),
        (said_late_again("REQUEST_CHANGES"), None, "Too late are the reviews of ann."),
        (base_went_on, APPROVED, ""),
        (
            lambda act: act.review("ann", "REQUEST_CHANGES", body="No."),
            REJECTED,
            "Rejected by ann (review): No.",
        ),
        (lambda act: (act.review("ann"), act.review("ann", "REQUEST_CHANGES")), REJECTED, ""),
        (revoked_on_page_two, REJECTED, ""),
        (lambda act: act.people.close(NAME, act.number, "bob"), REJECTED, "closed the pull request"),
        (lambda _: None, None, "0 of 1 approved; review is missing."),
        (
            lambda act: act.review("rea"),
            None,
            "the approval of rea does not count, who is not among the listed",
        ),
        (lambda act: act.review("rea", "REQUEST_CHANGES"), None, "0 of 1 approved"),
        (lambda act: act.review("stale-bot[bot]"), None, "who is no person"),
        (lambda act: act.review("ann", "COMMENT"), None, "0 of 1 approved"),
        (lambda act: act.review("ann", None), None, "0 of 1 approved"),
        (dismissed, None, "0 of 1 approved"),
        (lost_access, None, "the approval of ann does not count, who may not write to the repository"),
        (impostor, None, "is not among the listed"),
        (deleted, None, "0 of 1 approved"),
        (left_the_team, None, "the approval of cleo does not count, who is not among the listed"),
        (approved_late, None, "0 of 1 approved; review is missing. Too late are the reviews of ann."),
        (lambda act: act.people.comment(NAME, act.number, "ann", "/approve"), None, "0 of 1 approved"),
        (
            lambda act: act.people.close(NAME, act.number, "stale-bot[bot]"),
            None,
            "was closed by stale-bot[bot], who",
        ),
        (
            lambda act: act.people.merge(NAME, act.number, "bob"),
            None,
            "was merged by bob, without the approvals",
        ),
    ],
)
def test_what_an_act_comes_to(
    world: ReviewWorld, acts: Callable[[Act], object], comes_to: Verdict | None, says: str
) -> None:
    world.there.add_user("stale-bot[bot]", "Bot")
    promotion = world.asked(target=ONE)
    acts(Act(world, promotion))

    found = judged(world, promotion)

    assert verdict(found) is comes_to, found
    told = found.decision.reason if found.decision else found.waiting_because
    assert says in told
    assert not found.stale


def test_seats_are_filled_by_different_people(world: ReviewWorld) -> None:
    promotion = world.asked()
    act = Act(world, promotion)
    act.review("ann")
    first = judged(world, promotion)
    act.review("bob")
    both = judged(world, promotion)

    assert first.waiting_because == "1 of 2 approved; risk is missing. Approved by ann (science)."
    assert both.decision is not None
    assert [(each.login, each.seat) for each in both.decision.deciders] == [
        ("bob", "science"),
        ("ann", "risk"),
    ]


def test_a_trainer_and_the_opener_never_count(world: ReviewWorld) -> None:
    promotion = world.asked(target=ONE)
    Act(world, promotion).review("ann")
    ann = str(world.there.state.users["ann"].id)
    barred = replace(promotion, excluded=(ExcludedPerson("trainer@example.com", "job run-as", "ann", ann),))

    assert "ann does not count, who is behind this version" in judged(world, barred).waiting_because


@pytest.mark.parametrize(
    ("acts", "says"),
    [
        (lambda act: act.people.push(NAME, act.branch, "bob"), "shows commit"),
        (
            lambda act: act.people.force_push(NAME, act.branch, "bob", "promotions/p-1.md", "Better."),
            "shows commit",
        ),
        (
            lambda act: (
                act.people.make_branch(NAME, "other", "bob"),
                act.people.retarget(NAME, act.number, "bob", "other"),
            ),
            "goes into other now",
        ),
    ],
)
def test_what_was_replaced_voids_it(world: ReviewWorld, acts: Callable[[Act], object], says: str) -> None:
    promotion = world.asked(target=ONE)
    act = Act(world, promotion)
    act.review("ann")
    acts(act)
    act.review("bob")

    first = judged(world, promotion)
    world.clock.move(minutes=5)
    later = judged(world, promotion, seen_once=dict(first.seen_once))

    assert (first.decision, first.stale, later.decision, later.stale) == (None, False, None, True)
    assert says in later.waiting_because


def test_pushed_and_pushed_back_the_review_of_another_commit_does_not_count(world: ReviewWorld) -> None:
    promotion = world.asked(target=ONE)
    act = Act(world, promotion)
    ours = world.there.repository(NAME).branches[act.branch]
    act.people.push(NAME, act.branch, "bob")
    act.review("ann")
    act.people.reset_branch(NAME, act.branch, "bob", ours)

    found = judged(world, promotion)

    assert found.decision is None
    assert "the approval of ann does not count, who approved another commit" in found.waiting_because


def test_closed_by_a_passer_by_it_waits_and_reopening_heals(world: ReviewWorld) -> None:
    world.there.add_user("stale-bot[bot]", "Bot")
    promotion = world.asked(target=ONE)
    act = Act(world, promotion)
    act.review("ann")
    act.people.close(NAME, act.number, "stale-bot[bot]")
    closed = judged(world, promotion)
    act.people.reopen(NAME, act.number, "bob")

    assert (closed.decision, closed.expired, closed.stale) == (None, False, False)
    assert "Reopen it" in closed.waiting_because
    assert verdict(judged(world, promotion)) is APPROVED


@pytest.mark.part("rest")
@pytest.mark.parametrize(
    "path", ["/reviews$", "/permission$", "/pulls/[0-9]+$", "/teams/officers", "/ml-approvals$"]
)
@pytest.mark.parametrize("status", [403, 404, 500, 429])
def test_what_cannot_be_read_approves_nothing(world: ReviewWorld, path: str, status: int) -> None:
    promotion = world.asked(target=ONE)
    Act(world, promotion).review("cleo")
    world.there.faults.add(path, method="GET", status=status)

    try:
        found = judged(world, promotion)
    except VendorError:
        return
    assert found.decision is None
    assert not found.stale


@pytest.mark.part("rest")
def test_an_answer_that_lacks_something_approves_nothing(world: ReviewWorld) -> None:
    promotion = world.asked(target=ONE)
    act = Act(world, promotion)
    act.review("ann")
    there, pull = world.there.repository(NAME), world.pull(promotion)
    ann = pull.reviews[0].user
    review = pull_answers.review(world.url, there, pull, pull.reviews[0])
    shown = pull_answers.full_pull_request(world.url, there, pull)
    may = pull_answers.permission(world.url, there, ann)
    odd: list[tuple[str, object]] = [
        *(("/reviews$", [{**review, name: None}]) for name in ("user", "state", "submitted_at", "commit_id")),
        *(("/reviews$", [{**review, "state": said}]) for said in ("approved", "AUTO_APPROVED")),
        *(
            ("/reviews$", [{**review, "user": {**answers.user(world.url, ann), "type": kind}}])
            for kind in (None, "Mannequin", "user")
        ),
        ("/reviews$", [{name: value for name, value in review.items() if name != "submitted_at"}]),
        *(("/permission$", {**may, "permission": level}) for level in (None, "WRITE", "none")),
        ("/permission$", {**may, "user": None}),
        *((r"/pulls/\d+$", {**shown, name: None}) for name in ("user", "merged", "commits", "head")),
        *((r"/pulls/\d+$", {**shown, side: {**shown[side], "repo": None}}) for side in ("head", "base")),
        (r"/pulls/\d+$", {**shown, "state": "locked"}),
    ]
    for path, answer in odd:
        world.there.faults.add(path, method="GET", body=json.dumps(answer))
        with suppress(VendorError):
            assert judged(world, promotion).decision is None, answer
        world.there.faults.clear()
    assert verdict(judged(world, promotion)) is APPROVED


def test_a_team_that_another_one_replaced_lets_nobody_approve(world: ReviewWorld) -> None:
    promotion = world.asked(target=ONE)
    Act(world, promotion).review("cleo")
    del world.there.state.teams["example", "officers"]
    world.there.add_team("example", "officers", ["cleo"])

    found = judged(world, promotion)

    assert found.decision is None
    assert "Team officers is another team now" in found.waiting_because


def test_a_transferred_repository_decides_nothing(world: ReviewWorld) -> None:
    promotion = world.asked(target=ONE)
    Act(world, promotion).review("ann")
    world.people.transfer(NAME, "other-org")

    with pytest.raises(VendorError):
        judged(world, promotion)


def test_an_approval_in_time_is_read_after_the_expiry_too(world: ReviewWorld) -> None:
    promotion = world.asked(target=ONE)
    act = Act(world, promotion)
    world.clock.move(days=13)
    act.review("ann")
    world.clock.move(days=3)

    assert verdict(judged(world, promotion)) is APPROVED


def test_merged_without_enough_it_expires_and_says_so(world: ReviewWorld) -> None:
    promotion = world.asked(target=ONE)
    Act(world, promotion).people.merge(NAME, number_of(promotion), "bob")
    world.clock.at += timedelta(days=15)

    found = judged(world, promotion)

    assert found.expired
    assert "was merged by bob, without the approvals that are needed." in found.waiting_because
