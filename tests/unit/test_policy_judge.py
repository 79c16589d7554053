"""What a request's state comes to. A wrong approval is the worst that can happen, so this thinks like an attacker."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain import policy
from champion_gate.domain.approval import (
    ApprovalRequest,
    Decision,
    ExcludedPerson,
    RequestState,
    Review,
    Verdict,
)
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.versions import ModelVersion, VersionStatus

OPENED = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPIRES = OPENED + timedelta(days=14)
RELEASED = OPENED + timedelta(hours=5)
NOW = OPENED + timedelta(hours=6)
SEATS = ("champion",)
TWO = ("champion", "legal")

PROMOTION = Promotion(
    id="p-1",
    gate="churn",
    registry="databricks-uc",
    model="main.ml.churn",
    alias="Champion",
    version=ModelVersion("main.ml.churn", "2", "id2", "run2", None, VersionStatus.READY, OPENED, None),
    job_id="1",
    job_run_id="77",
    job_url="https://x",
    trainers=(),
    phase=Phase.PENDING_APPROVAL,
    reason="",
    requested_at=OPENED,
    updated_at=OPENED,
    due_at=None,
    excluded=(ExcludedPerson("trainer@example.com", "job run-as", "trainer", "66"),),
    request=ApprovalRequest("github", OPENED, EXPIRES, {}, "123", "https://x", OPENED),
)


def review(login: str = "alice", user_id: str = "1", seat: str = "champion") -> Review:
    return Review(
        seat, Verdict.APPROVED, user_id, login, "fine", is_person=True, is_opener=False, is_listed=True
    )


def no(each: Review) -> Review:
    return replace(each, verdict=Verdict.REJECTED, comment="drifted\n::error::")


def state(*reviews: Review, released: tuple[str, ...] = SEATS) -> RequestState:
    return RequestState((), None, reviews, dict.fromkeys(released, RELEASED), finished=False)


def judge(
    given_state: RequestState,
    *,
    seats: tuple[str, ...] = SEATS,
    promotion: Promotion = PROMOTION,
    allow: bool = False,
    now: datetime = NOW,
) -> policy.Judgement:
    return policy.judge(
        promotion=promotion,
        seats=seats,
        state=given_state,
        allow_trainer_approval=allow,
        source="github",
        now=now,
    )


def judge_twice(
    given_state: RequestState,
    *,
    seats: tuple[str, ...] = SEATS,
    promotion: Promotion = PROMOTION,
    allow: bool = False,
) -> policy.Judgement:
    """What it comes to when a no about people is the same a minute later."""
    seen = judge(given_state, seats=seats, promotion=promotion, allow=allow).seen_once
    again = replace(promotion, seen_once=seen)
    return judge(given_state, seats=seats, promotion=again, allow=allow, now=NOW + timedelta(minutes=1))


def rejected(judgement: policy.Judgement) -> Decision:
    assert judgement.decision is not None
    assert judgement.decision.verdict is Verdict.REJECTED
    assert not judgement.expired
    return judgement.decision


def is_undecided(judgement: policy.Judgement, *, expired: bool = False) -> bool:
    assert judgement.decision is None
    assert judgement.waiting_because
    return judgement.expired == expired


# --- approved ---------------------------------------------------------------------------------------------


def test_a_listed_person_who_is_not_the_trainer_approves() -> None:
    judgement = judge(state(review()))
    assert judgement.decision is not None
    decision = judgement.decision
    assert decision.verdict is Verdict.APPROVED
    assert [(each.user_id, each.login, each.seat, each.comment) for each in decision.deciders] == [
        ("1", "alice", "champion", "fine")
    ]
    assert decision.reason == "Approved by alice (champion)."
    assert decision.source == "github"
    assert decision.decided_at == RELEASED
    assert judgement == policy.Judgement(decision, expired=False, waiting_because="")


def test_seats_are_the_same_in_whatever_case() -> None:
    given_state = replace(state(review(seat="CHAMPION")), released_at={"Champion": RELEASED})
    judgement = judge(given_state, seats=("cHampion",))
    assert judgement.decision is not None
    assert judgement.decision.deciders[0].seat == "cHampion"


def test_a_job_that_failed_after_it_was_released_is_approved_all_the_same() -> None:
    judgement = judge(replace(state(review()), finished=True))
    assert judgement.decision is not None
    assert judgement.decision.verdict is Verdict.APPROVED


def test_two_seats_are_filled_by_two_people_and_decided_by_the_later_one() -> None:
    later = RELEASED + timedelta(minutes=7)
    reviews = (review("alice", "1", "champion"), review("bob", "2", "legal"))
    given_state = replace(
        state(*reviews),
        released_at={"champion": later, "legal": RELEASED, "other": EXPIRES + timedelta(days=1)},
    )
    decision = judge(given_state, seats=TWO).decision
    assert decision is not None
    assert decision.verdict is Verdict.APPROVED
    assert [(each.seat, each.login) for each in decision.deciders] == [
        ("champion", "alice"),
        ("legal", "bob"),
    ]
    assert decision.decided_at == later
    assert "alice (champion) and bob (legal)" in decision.reason


@pytest.mark.parametrize("order", list(permutations(range(5))))
def test_distinct_people_are_found_wherever_they_stand_in_the_list(order: tuple[int, ...]) -> None:
    reviews = [
        review("alice", "1", "a"),
        review("bob", "2", "a"),
        review("alice", "1", "b"),
        review("carol", "3", "b"),
        review("alice", "1", "c"),
    ]
    decision = judge(
        state(*(reviews[i] for i in order), released=("a", "b", "c")), seats=("a", "b", "c")
    ).decision
    assert decision is not None
    assert [(each.seat, each.login) for each in decision.deciders] == [
        ("a", "bob"),
        ("b", "carol"),
        ("c", "alice"),
    ]


def test_an_approval_that_does_not_count_does_not_spoil_one_that_does() -> None:
    decision = judge(state(review("trainer", "66"), review())).decision
    assert decision is not None
    assert decision.verdict is Verdict.APPROVED
    assert [each.login for each in decision.deciders] == ["alice"]


def test_where_the_gate_allows_it_the_trainer_approves() -> None:
    decision = judge(state(review("trainer", "66")), allow=True).decision
    assert decision is not None
    assert decision.verdict is Verdict.APPROVED


# --- released, but not by an approval that counts ---------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "said"),
    [
        (review("trainer", "66"), "trainer does not count, who is behind this version (job run-as)"),
        (replace(review("gate[bot]"), is_person=False), "is no person"),
        (replace(review(), is_opener=True), "opened the request"),
        (replace(review(), is_listed=False), "listed reviewers"),
        (review(user_id=""), "no numeric id"),
        (review(user_id="None"), "no numeric id"),
        (review(user_id="0"), "no numeric id"),
        (review(user_id="066"), "no numeric id"),
        (review(user_id="66\n"), "no numeric id"),
        (review(user_id=" 1"), "no numeric id"),
        (review(user_id="\u0666\u0666"), "no numeric id"),
        (review(seat="staging"), "nobody reviewed it"),
        (review(seat="champion2"), "nobody reviewed it"),
    ],
)
def test_an_approval_by_somebody_who_may_not_decide_rejects(only: Review, said: str) -> None:
    decision = rejected(judge_twice(state(only)))
    assert said in decision.reason
    assert "champion" in decision.reason
    assert decision.deciders == ()
    assert decision.decided_at == RELEASED


def test_a_release_without_any_review_is_a_bypass_and_rejects() -> None:
    assert "bypass" in rejected(judge_twice(state())).reason


@pytest.mark.parametrize(
    "spoiled",
    [
        replace(review(), is_opener=True),
        replace(review(), is_person=False),
        replace(review(), is_listed=False),
    ],
)
def test_allowing_trainers_to_approve_allows_nobody_else(spoiled: Review) -> None:
    rejected(judge_twice(state(spoiled), allow=True))


def test_one_person_does_not_fill_two_seats() -> None:
    reviews = (review("alice", "1", "champion"), review("alice-renamed", "1", "legal"))
    decision = rejected(judge(state(*reviews, released=TWO), seats=TWO))
    assert "champion and legal need a different person each" in decision.reason
    assert "alice" in decision.reason


def test_two_people_do_not_fill_three_seats() -> None:
    seats = ("a", "b", "c")
    reviews = [
        review(login, user_id, seat) for login, user_id in (("alice", "1"), ("bob", "2")) for seat in seats
    ]
    decision = rejected(judge(state(*reviews, released=seats), seats=seats))
    assert "a, b and c need a different person each, and only alice and bob approved" in decision.reason


def test_a_seat_that_stands_there_twice_takes_two_people() -> None:
    twice = ("champion", "Champion")
    rejected(judge(state(review()), seats=twice))
    assert judge(state(review(), review("bob", "2")), seats=twice).decision is not None


def test_the_trainer_in_one_of_two_seats_rejects_and_names_that_seat_only() -> None:
    reviews = (review("alice", "1", "champion"), review("trainer", "66", "legal"))
    decision = rejected(judge(state(*reviews, released=TWO), seats=TWO))
    assert "legal: the approval of trainer" in decision.reason
    assert "alice" not in decision.reason


# --- waiting ----------------------------------------------------------------------------------------------


def test_an_approval_counts_only_once_the_vendor_released_the_job() -> None:
    assert is_undecided(judge(state(review(), released=())))


def test_every_seat_has_to_be_released() -> None:
    judgement = judge(state(review(), review("bob", "2", "legal")), seats=TWO)
    assert is_undecided(judgement)
    assert "legal" in judgement.waiting_because
    assert "champion" not in judgement.waiting_because


def test_a_promotion_that_nobody_was_asked_about_is_not_decided() -> None:
    assert is_undecided(judge(state(review()), promotion=replace(PROMOTION, request=None)))
    assert is_undecided(judge(state(no(review())), promotion=replace(PROMOTION, request=None)))


@pytest.mark.parametrize("allow", [True, False])
def test_no_seats_at_all_are_not_all_of_them(allow: bool) -> None:
    assert is_undecided(judge(state(review()), seats=(), allow=allow))
    assert is_undecided(judge(state(review(), released=()), seats=(), allow=allow))


def test_problems_keep_it_waiting_and_are_all_named() -> None:
    judgement = judge(replace(state(review()), problems=("reviewers are gone", "another id"), finished=True))
    assert is_undecided(judgement)
    assert "reviewers are gone" in judgement.waiting_because
    assert "another id" in judgement.waiting_because


def test_a_void_that_cannot_be_trusted_does_not_end_it() -> None:
    assert is_undecided(judge(replace(state(), problems=("403",), void="cancelled")))


@pytest.mark.parametrize("user_id", ["", "?", "066"])
def test_a_trainer_whose_id_is_not_known_keeps_everybody_from_approving(user_id: str) -> None:
    unknown = replace(PROMOTION, excluded=(replace(PROMOTION.excluded[0], user_id=user_id),))
    judgement = judge(state(review()), promotion=unknown)
    assert is_undecided(judgement)
    assert "trainer@example.com" in judgement.waiting_because
    assert judge(state(review()), promotion=unknown, allow=True).decision is not None


# --- rejected ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "by",
    [
        review(),
        review("trainer", "66"),
        replace(review(), is_listed=False),
        replace(review(), is_person=False),
        review(seat="elsewhere"),
        review(user_id=""),
    ],
)
@pytest.mark.parametrize("released", [(), SEATS])
def test_any_rejection_rejects_with_who_and_why_on_one_line(by: Review, released: tuple[str, ...]) -> None:
    decision = rejected(judge(state(review("bob", "2"), no(by), released=released)))
    assert by.login in decision.reason
    assert "drifted" in decision.reason
    assert "\n" not in decision.reason
    assert decision.decided_at == NOW
    assert [each.comment for each in decision.deciders] == ["drifted\n::error::"]


def test_a_rejection_without_a_comment_is_a_sentence() -> None:
    decision = rejected(judge(state(replace(no(review()), comment=" "))))
    assert decision.reason == "Rejected by alice (champion)."


def test_while_the_state_cannot_be_trusted_a_listed_persons_rejection_still_counts() -> None:
    rejected(judge(replace(state(no(review())), problems=("protection removed",))))


@pytest.mark.parametrize(
    "by", [review(user_id=""), replace(review(), is_listed=False), replace(review(), is_person=False)]
)
def test_but_nobody_elses_does(by: Review) -> None:
    assert is_undecided(judge(replace(state(no(by)), problems=("protection removed",))))


def test_a_void_request_is_rejected_even_with_a_good_approval() -> None:
    decision = rejected(judge(replace(state(review()), void="the run was started a second time")))
    assert "started a second time" in decision.reason
    rejected(judge(replace(state(review()), void="")))


@pytest.mark.parametrize("released", [(), ("champion",)])
def test_a_run_that_ended_without_releasing_every_seat_is_rejected(released: tuple[str, ...]) -> None:
    given_state = replace(state(review(), review("bob", "2", "legal"), released=released), finished=True)
    assert "ended without a decision" in rejected(judge(given_state, seats=TWO)).reason


def test_a_comment_of_any_length_and_content_is_kept_within_bounds() -> None:
    decision = rejected(judge(state(replace(no(review()), comment="x\x00\ud800" * 10_000))))
    assert len(decision.reason) < 4000
    assert len(decision.deciders[0].comment) < 6000
    decision.deciders[0].comment.encode()
    assert "\x00" not in decision.deciders[0].comment


# --- expiry -----------------------------------------------------------------------------------------------

SECOND = timedelta(seconds=1)


def released_at(at: datetime) -> RequestState:
    return replace(state(review()), released_at={"champion": at})


def test_a_decision_at_the_very_moment_of_expiry_is_in_time_however_late_it_is_seen() -> None:
    decision = judge(released_at(EXPIRES), now=EXPIRES + timedelta(days=3)).decision
    assert decision is not None
    assert decision.verdict is Verdict.APPROVED
    assert decision.decided_at == EXPIRES


def test_a_decision_one_second_later_is_none() -> None:
    judgement = judge(released_at(EXPIRES + SECOND), now=EXPIRES + timedelta(days=3))
    assert is_undecided(judgement, expired=True)
    assert "expired" in judgement.waiting_because


def test_one_seat_that_was_decided_too_late_is_enough_to_expire() -> None:
    given_state = replace(
        state(review(), review("bob", "2", "legal")),
        released_at={"champion": RELEASED, "LEGAL": EXPIRES + SECOND},
    )
    assert is_undecided(judge(given_state, seats=TWO, now=EXPIRES + SECOND), expired=True)


def test_of_two_releases_of_the_same_seat_the_later_one_decides() -> None:
    given_state = replace(state(review()), released_at={"Champion": RELEASED, "champion": EXPIRES + SECOND})
    assert is_undecided(judge(given_state, now=EXPIRES + SECOND), expired=True)


@pytest.mark.parametrize(("now", "expired"), [(EXPIRES, False), (EXPIRES + SECOND, True)])
def test_what_is_undecided_after_expiry_has_expired(now: datetime, expired: bool) -> None:
    assert is_undecided(judge(state(review(), released=()), now=now), expired=expired)


@pytest.mark.parametrize(("now", "expired"), [(EXPIRES, False), (EXPIRES + SECOND, True)])
def test_problems_do_not_stop_the_clock(now: datetime, expired: bool) -> None:
    assert is_undecided(judge(replace(state(review()), problems=("500",)), now=now), expired=expired)


# --- whatever the state -----------------------------------------------------------------------------------

reviews = st.builds(
    Review,
    seat=st.sampled_from(["a", "A", "b", "c", ""]),
    verdict=st.sampled_from([Verdict.APPROVED, Verdict.APPROVED, Verdict.APPROVED, Verdict.REJECTED]),
    user_id=st.sampled_from(["1", "2", "3", "66", "066", "", "x"]),
    login=st.sampled_from(["alice", "bob"]),
    comment=st.just(""),
    is_person=st.sampled_from([True, True, True, False]),
    is_opener=st.sampled_from([False, False, False, True]),
    is_listed=st.sampled_from([True, True, True, False]),
)
times = st.sampled_from([RELEASED, EXPIRES, EXPIRES + SECOND])
states = st.builds(
    RequestState,
    problems=st.sampled_from([(), (), ("broken",)]),
    void=st.sampled_from([None, None, "void"]),
    reviews=st.lists(reviews, max_size=7).map(tuple),
    released_at=st.dictionaries(st.sampled_from(["a", "A", "b", "B", "c"]), times, max_size=4),
    finished=st.booleans(),
)


@given(states, st.sampled_from([(), ("a",), ("a", "b"), ("B", "a"), ("a", "b", "c")]), st.booleans(), times)
def test_every_approval_satisfies_every_rule(
    given_state: RequestState, seats: tuple[str, ...], allow: bool, now: datetime
) -> None:
    judgement = judge(given_state, seats=seats, allow=allow, now=now)
    decision = judgement.decision
    if decision is None:
        assert judgement.waiting_because
        return
    assert not judgement.expired
    assert decision.reason
    if decision.verdict is Verdict.REJECTED:
        return
    assert seats
    assert not given_state.problems
    assert given_state.void is None
    assert all(each.verdict is Verdict.APPROVED for each in given_state.reviews)
    assert decision.decided_at <= EXPIRES
    assert tuple(each.seat for each in decision.deciders) == seats
    assert len({each.user_id for each in decision.deciders}) == len(seats)
    released = {seat.casefold() for seat in given_state.released_at}
    for decider in decision.deciders:
        assert decider.seat.casefold() in released
        assert decider.user_id in {"1", "2", "3", "66"}
        assert allow or decider.user_id != "66"
        assert any(
            vote.user_id == decider.user_id
            and vote.seat.casefold() == decider.seat.casefold()
            and (vote.is_person, vote.is_opener, vote.is_listed) == (True, False, True)
            for vote in given_state.reviews
        )


@given(states, st.sampled_from([("a",), ("a", "b"), ("a", "b", "c")]), st.booleans())
def test_an_approval_is_found_whenever_there_is_one(
    given_state: RequestState, seats: tuple[str, ...], allow: bool
) -> None:
    clean = replace(
        given_state,
        problems=(),
        void=None,
        reviews=tuple(replace(each, verdict=Verdict.APPROVED) for each in given_state.reviews),
        released_at=dict.fromkeys(seats, RELEASED),
    )
    able = [
        {
            vote.user_id
            for vote in clean.reviews
            if vote.seat.casefold() == seat
            and vote.is_person
            and vote.is_listed
            and not vote.is_opener
            and vote.user_id in ({"1", "2", "3", "66"} if allow else {"1", "2", "3"})
        }
        for seat in seats
    ]
    possible = any(
        all(person in people for person, people in zip(chosen, able, strict=True))
        for chosen in permutations(["1", "2", "3", "66"], len(seats))
    )
    decision = judge_twice(clean, seats=seats, allow=allow).decision
    assert decision is not None
    assert (decision.verdict is Verdict.APPROVED) == possible


def test_a_review_that_is_not_listed_yet_is_waited_for() -> None:
    soon = judge(state(), now=RELEASED + timedelta(minutes=9))
    assert is_undecided(soon)
    assert "not listed yet" in soon.waiting_because
    late = judge(state(), now=RELEASED + timedelta(minutes=10))
    assert is_undecided(late)
    assert late.seen_once == {"champion: nobody": RELEASED + timedelta(minutes=10)}
    assert "bypass" in rejected(judge_twice(state())).reason


# --- a no about people is seen twice ----------------------------------------------------------------------

STRANGER = replace(review("eve", "5"), is_listed=False)
MINUTE = timedelta(minutes=1)


def test_who_does_not_count_is_looked_at_again_before_it_ends_anything() -> None:
    first = judge(state(STRANGER))
    assert is_undecided(first)
    assert "eve (champion) is not among the listed reviewers" in first.waiting_because
    assert first.seen_once == {"champion: 5": NOW}
    again = replace(PROMOTION, seen_once=first.seen_once)
    soon = judge(state(STRANGER), promotion=again, now=NOW + MINUTE - SECOND)
    assert is_undecided(soon)
    assert soon.seen_once == first.seen_once
    assert judge(state(replace(STRANGER, is_listed=True)), promotion=again).decision is not None
    assert "eve does not count" in rejected(judge(state(STRANGER), promotion=again, now=NOW + MINUTE)).reason


def test_somebody_else_who_does_not_count_gets_a_minute_too() -> None:
    again = replace(PROMOTION, seen_once={"champion: 5": NOW - MINUTE})
    both = judge(state(STRANGER, replace(STRANGER, user_id="6", login="mallory")), promotion=again)
    assert is_undecided(both)
    assert both.seen_once == {"champion: 5": NOW - MINUTE, "champion: 6": NOW}


@pytest.mark.parametrize("spoiled", [{"user_id": "66"}, {"is_opener": True}, {"user_id": ""}])
def test_what_cannot_become_a_yes_is_not_waited_for(spoiled: dict[str, object]) -> None:
    rejected(judge(state(replace(STRANGER, **spoiled))))  # type: ignore[arg-type]


def test_a_no_that_would_not_be_enough_as_a_yes_is_not_waited_for() -> None:
    reviews = (STRANGER, review("trainer", "66", "legal"))
    rejected(judge(state(*reviews, released=TWO), seats=TWO))
    reviews = (STRANGER, replace(STRANGER, seat="legal"))
    rejected(judge(state(*reviews, released=TWO), seats=TWO))


def test_nor_is_one_without_which_it_is_approved() -> None:
    decision = judge(state(STRANGER, review())).decision
    assert decision is not None
    assert decision.verdict is Verdict.APPROVED


def test_the_second_person_of_two_is_waited_for() -> None:
    reviews = (review(), replace(STRANGER, seat="champion"), review(seat="legal"))
    judgement = judge(state(*reviews, released=TWO), seats=TWO)
    assert is_undecided(judgement)
    assert judgement.seen_once == {"champion: 5": NOW}


def test_after_the_expiry_it_is_still_waited_for() -> None:
    assert is_undecided(judge(state(STRANGER), now=EXPIRES + SECOND))


# --- what is missing ends nothing at once -----------------------------------------------------------------


def lacking(given_state: RequestState) -> RequestState:
    return replace(given_state, missing={"jobs": "No job is listed."}, finished=True)


@pytest.mark.parametrize(
    "given_state", [state(released=()), replace(state(released=()), void="no job named approve")]
)
@pytest.mark.parametrize("now", [NOW, EXPIRES + SECOND])
def test_an_end_waits_for_what_is_missing(given_state: RequestState, now: datetime) -> None:
    first = judge(lacking(given_state), now=now)
    assert is_undecided(first)
    assert first.waiting_because.startswith("No job is listed. ")
    assert first.again_at == now + timedelta(seconds=15)
    again = replace(PROMOTION, seen_once=first.seen_once)
    later = judge(lacking(given_state), promotion=again, now=now + MINUTE)
    assert later.again_at == now + 2 * MINUTE
    late = judge(lacking(given_state), promotion=again, now=now + 4 * MINUTE)
    assert late.again_at == now + 5 * MINUTE
    rejected(judge(lacking(given_state), promotion=again, now=now + 5 * MINUTE))


def test_a_no_of_a_person_waits_for_nothing() -> None:
    rejected(judge(lacking(state(no(review()), released=()))))


def test_a_seat_that_nobody_reviewed_is_not_waited_for_where_another_cannot_be_filled() -> None:
    rejected(judge(state(review("trainer", "66", "legal"), released=TWO), seats=TWO))
