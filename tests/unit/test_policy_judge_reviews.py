"""What approvals alone come to, where no job is let start: each seat by a different person, or it waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from champion_gate.domain import policy
from champion_gate.domain.approval import ExcludedPerson, RequestState, Review, Verdict
from unit.test_policy_judge import EXPIRES, NOW, OPENED, PROMOTION

LATE = EXPIRES + timedelta(minutes=1)
GIVEN = OPENED + timedelta(hours=2)


def by(login: str, seat: str, at: datetime = GIVEN, **fields: object) -> Review:
    number = str(sum(map(ord, login)))
    review = Review(
        seat,
        Verdict.APPROVED,
        number,
        login,
        "",
        is_person=True,
        is_opener=False,
        is_listed=True,
        at=at,
    )
    return replace(review, **fields)  # type: ignore[arg-type] # fields of a Review


def judged(
    *reviews: Review,
    seats: tuple[str, ...] = ("data-science", "risk"),
    now: datetime = NOW,
    seen_once: dict[str, datetime] | None = None,
    **fields: object,
) -> policy.Judgement:
    state = replace(
        RequestState((), None, reviews, {}, finished=False, by_review=True),
        **fields,  # type: ignore[arg-type] # fields of a RequestState
    )
    return policy.judge(
        promotion=replace(PROMOTION, seen_once=seen_once or {}),
        seats=seats,
        state=state,
        allow_trainer_approval=False,
        source="github_review",
        now=now,
    )


@pytest.mark.parametrize(
    ("reviews", "missing", "says"),
    [
        ([], ["data-science", "risk"], "0 of 2 approved; data-science and risk are missing."),
        (
            [by("ann", "risk")],
            ["data-science"],
            "1 of 2 approved; data-science is missing. Approved by ann (risk).",
        ),
        (
            [by("ann", "risk"), by("ann", "data-science")],
            ["risk"],
            "1 of 2 approved; risk is missing. Approved by ann (data-science).",
        ),
        (
            [by("ann", "risk"), by("bob", "data-science", lacks="may not write there")],
            ["data-science"],
            "data-science: the approval of bob does not count, who may not write there.",
        ),
        (
            [by("ann", "risk"), by("bot", "data-science", is_person=False)],
            ["data-science"],
            "data-science: the approval of bot does not count, who is no person.",
        ),
        (
            [by("ann", "risk"), by("us", "data-science", is_opener=True)],
            ["data-science"],
            "who is the account that opened the request.",
        ),
        ([by("ann", "risk"), by("eve", "data-science", is_listed=False)], ["data-science"], "is not among"),
        (
            [by("ann", "risk"), by("x", "data-science", user_id="66")],
            ["data-science"],
            "is behind this version",
        ),
        ([by("ann", "risk"), by("x", "data-science", user_id="")], ["data-science"], "has no numeric id"),
    ],
)
def test_too_few_wait(reviews: list[Review], missing: list[str], says: str) -> None:
    found = judged(*reviews)

    assert (found.decision, found.expired, list(found.outstanding)) == (None, False, missing)
    assert says in found.waiting_because
    assert found.unreviewed is not bool(reviews)


@pytest.mark.parametrize("turned", [False, True])
def test_the_most_seats_are_filled(turned: bool) -> None:
    """The one who may fill both gives way to the other, in whichever order they approved."""
    reviews = [by("ann", "risk"), by("ann", "data-science"), by("bob", "risk", GIVEN + timedelta(hours=1))]

    found = judged(*(reversed(reviews) if turned else reviews))

    assert found.decision is not None
    assert found.decision.verdict is Verdict.APPROVED
    assert [(each.login, each.seat) for each in found.decision.deciders] == [
        ("ann", "data-science"),
        ("bob", "risk"),
    ]
    assert found.decision.decided_at == GIVEN + timedelta(hours=1)


def test_what_was_given_in_time_counts_also_when_it_is_read_late() -> None:
    found = judged(by("ann", "review"), seats=("review",), now=LATE)

    assert found.decision is not None
    assert found.decision.verdict is Verdict.APPROVED


def test_it_expires_with_what_there_was() -> None:
    found = judged(by("ann", "risk"), now=LATE, remark="Merged without the approvals that are needed.")

    assert found.expired
    assert found.waiting_because == (
        "Not approved by as many as are needed before 2026-03-15 12:00 UTC: 1 of 2 approved; data-science is missing. "
        "Approved by ann (risk). Merged without the approvals that are needed."
    )


def test_an_end_by_a_no_about_somebody_is_seen_twice() -> None:
    reviews = [by("ann", "risk"), by("bob", "data-science", lacks="may not write there")]

    first = judged(*reviews, now=LATE)
    soon = judged(*reviews, now=LATE + timedelta(seconds=30), seen_once=dict(first.seen_once))
    again = judged(*reviews, now=LATE + timedelta(minutes=1), seen_once=dict(first.seen_once))

    assert (first.expired, first.again_at) == (False, LATE + timedelta(minutes=1))
    assert "Approved in time, and as it looks not by people who may decide: bob" in first.waiting_because
    assert not soon.expired
    assert again.expired


@pytest.mark.parametrize(
    ("review", "rejects"),
    [
        (by("ann", "risk", verdict=Verdict.REJECTED), True),
        (by("eve", "risk", verdict=Verdict.REJECTED, is_listed=False), False),
        (by("bot", "risk", verdict=Verdict.REJECTED, is_person=False), False),
    ],
)
def test_only_a_listed_person_rejects(review: Review, rejects: bool) -> None:
    found = judged(review, by("bob", "data-science"), by("carl", "risk"))

    assert found.decision is not None
    assert found.decision.verdict is (Verdict.REJECTED if rejects else Verdict.APPROVED)


def test_nothing_counts_on_what_was_replaced_or_cannot_be_trusted() -> None:
    enough = (by("ann", "data-science"), by("bob", "risk"))

    doubted = judged(*enough, problems=("closed by a passer-by",))
    first = judged(*enough, moved="Another commit.")
    later = judged(
        *enough, moved="Another commit.", now=NOW + timedelta(minutes=5), seen_once=dict(first.seen_once)
    )

    assert (doubted.decision, first.decision, later.decision) == (None, None, None)
    assert not first.stale
    assert later.stale


def test_one_listed_as_a_trainer_never_counts() -> None:
    excluded = ExcludedPerson("trainers", "trainers of the gate", "ann", by("ann", "risk").user_id)
    state = RequestState((), None, (by("ann", "review"),), {}, finished=False, by_review=True)

    found = policy.judge(
        promotion=replace(PROMOTION, excluded=(excluded,)),
        seats=("review",),
        state=state,
        allow_trainer_approval=False,
        source="github_review",
        now=NOW,
    )

    assert found.decision is None
    assert "ann does not count, who is behind this version" in found.waiting_because
