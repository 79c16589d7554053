"""What a request's state comes to: approved, rejected, expired, or still waiting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from champion_gate.domain.approval import Decider, Decision, ExcludedPerson, RequestState, Review, Verdict
from champion_gate.domain.job_runs import LISTED_ROLE
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.seats import (
    NUMERIC_ID,
    Standing,
    approvals,
    never_counts,
    one_person_a_seat,
    refusals,
    unreleased,
    valid_approvals,
    why_not,
)
from champion_gate.domain.text import enumerated, one_line, storable

_REVIEWS_APPEAR_WITHIN = timedelta(minutes=10)  # of the release that they made possible
_SEEN_AGAIN_AFTER = timedelta(minutes=1)
"""Vendors' reads of who is a member lag behind what was written: a no is believed when it is said twice."""

_MISSING_FOR = timedelta(minutes=5)
"""What a vendor's list lacks is looked for again that long, less and less often, before it ends anything."""

_LOOK_SOON = timedelta(seconds=15)  # vendors' lists are usually right again by then


@dataclass(frozen=True)
class Judgement:
    """What a request's state comes to.

    Attributes:
        decision: None while nothing is decided.
        expired: nothing was decided and let start in time, and nothing can be any more.
        waiting_because: why there is no decision; empty where there is one. Where it has expired: what came of
            it until then.
        outstanding: the seats that have not been released, where only people are waited for.
        unreviewed: whether nobody has approved anything yet, so that people are all that is waited for.
        soon: whether the vendor is about to show more, so that looking again in a moment is worth it.
        seen_once: what would end the request if it is still so at a later look, to be kept on the promotion
            until then: who does not count or what is missing, and since when that is known.
        again_at: when to look again for that; None where nothing was seen once.
        stale: whether the place is another's by now, so that nothing there counts any more.
        unread: whether something was let start in time, and whether rightly cannot be told at the moment.
    """

    decision: Decision | None
    expired: bool
    waiting_because: str
    outstanding: tuple[str, ...] = ()
    unreviewed: bool = False
    soon: bool = False
    seen_once: Mapping[str, datetime] = field(default_factory=dict)
    again_at: datetime | None = None
    stale: bool = False
    unread: bool = False

    @property
    def ends(self) -> bool:
        """Whether nothing is approved and nothing is waited for."""
        return (
            self.expired
            or self.stale
            or (self.decision is not None and self.decision.verdict is Verdict.REJECTED)
        )


def judge(
    *,
    promotion: Promotion,
    seats: tuple[str, ...],
    state: RequestState,
    allow_trainer_approval: bool,
    source: str,
    now: datetime,
) -> Judgement:
    """Say what the reviewers decided: the one place where an approval comes from.

    Approved is only what the vendor released for every seat in time, with an approving review by a
    different person for each: a listed reviewer, not the opener, nobody behind the version; where approvals
    alone decide, they are given in time, and too few of them wait for more. A rejection counts whoever gave it;
    while the state cannot be trusted, and where approvals alone decide, only that of a listed reviewer. Whatever is
    released otherwise can never become a decision, and is rejected with the reason; where that rests on
    somebody being no listed person, or on nobody, only when it has been seen twice, a minute apart. No end
    rests on what an answer lacked before that has been looked for again for some minutes.

    Args:
        promotion: with its request and the people who are excluded.
        seats: the approvals that are needed, compared in any case.
        state: as just re-read through the vendor's API.
        allow_trainer_approval: whether excluded people may approve all the same, but for those whom the gate
            lists.
        source: goes into the decision: which provider said so.
        now: aware, UTC; the time of a rejection, for which vendors give none.
    """
    request, before = promotion.request, promotion.seen_once
    if request is None:
        return Judgement(None, expired=False, waiting_because="Nobody has been asked yet.")
    problems = (*state.problems, *_unjudgeable(promotion, seats, allow_trainer_approval))
    rejection = _rejection(state, listed_only=bool(problems) or state.by_review)
    if rejection is not None:
        return _rejected(_rejection_in_words(rejection), source, now, rejection)
    if state.moved is not None:
        why = f"{state.moved} To ask afresh: champion-gate promotions retry {promotion.id}"
        stale = Judgement(None, expired=False, waiting_because=why, stale=True)
        return _not_missing(stale, {"place": state.moved}, before, now)
    if problems:
        return _unjudged(problems, state, request.expires_at, now)
    excluded = {each.user_id: each.role for each in _kept_out(promotion, allow_trainer_approval)}
    times = {"expires_at": request.expires_at, "now": now}
    if state.by_review:
        judged = _judge_reviews(seats, state, excluded, source=source, **times)
    else:
        undecided = _undecided(state, seats, excluded, source=source, **times)
        if undecided is not None:
            return _not_missing(undecided, state.missing, before, now)
        judged = _judge_released(seats, state, excluded, source, request.expires_at)
    is_last = judged.ends or (judged.decision is None and promotion.end_request is not None)
    return _seen_twice(judged, _doubts(seats, state, excluded), before, now, is_last=is_last)


def _unjudged(problems: Sequence[str], state: RequestState, expires_at: datetime, now: datetime) -> Judgement:
    late = now > expires_at
    until = f"No decision could be believed before {expires_at:%Y-%m-%d %H:%M} UTC. " if late else ""
    released_at = state.released_at.values()
    given_at = [one.at for one in state.reviews if one.at is not None and one.verdict is Verdict.APPROVED]
    return Judgement(
        None,
        expired=late,
        waiting_because=f"{until}The request cannot be judged: {'; '.join(problems)}",
        soon=any(now - at < _REVIEWS_APPEAR_WITHIN for at in released_at),
        unread=any(at <= expires_at for at in (*released_at, *given_at)),
    )


def _judge_reviews(
    seats: tuple[str, ...],
    state: RequestState,
    excluded: Mapping[str, str],
    *,
    source: str,
    expires_at: datetime,
    now: datetime,
) -> Judgement:
    """What approvals alone come to: a different person's for each seat, or it waits for more of them."""
    chosen = one_person_a_seat([valid_approvals(state, seat, excluded) for seat in seats])
    if chosen is not None:
        given = [review.at for review in chosen if review.at is not None]
        return _approved(seats, chosen, source, max(given, default=now))
    standing, late = Standing.of(state, seats, excluded), now > expires_at
    words = f"{standing.by_review()} {state.remark}".rstrip()
    if late:
        words = f"Not approved by as many as are needed before {expires_at:%Y-%m-%d %H:%M} UTC: {words}"
    unreviewed = not any(approvals(state, seat) for seat in seats)
    return Judgement(
        None, expired=late, waiting_because=words, outstanding=tuple(standing.open), unreviewed=unreviewed
    )


def _approved(seats: Sequence[str], chosen: Sequence[Review], source: str, at: datetime) -> Judgement:
    deciders = tuple(_decider(review, seat) for seat, review in zip(seats, chosen, strict=True))
    words = enumerated([f"{one_line(decider.login)} ({decider.seat})" for decider in deciders])
    decision = Decision(Verdict.APPROVED, deciders, f"Approved by {words}.", source, at)
    return Judgement(decision, expired=False, waiting_because="")


def _undecided(
    state: RequestState,
    seats: Sequence[str],
    excluded: Mapping[str, str],
    *,
    source: str,
    expires_at: datetime,
    now: datetime,
) -> Judgement | None:
    """What a request comes to that was not released for every seat, or without any review; else None."""
    standing, left = Standing.of(state, seats, excluded), unreleased(state, seats)
    dead = _dead_because(state, standing)
    if dead is not None:
        return _rejected(dead, source, now)
    if left:
        late = now > expires_at
        reason = standing.at_expiry(expires_at) if late else standing.while_waiting()
        unreviewed = not any(approvals(state, seat) for seat in seats)
        return Judgement(
            None, expired=late, waiting_because=reason, outstanding=tuple(left), unreviewed=unreviewed
        )
    unlisted = _without_review_yet(seats, state, now)
    if unlisted:
        reason = f"{enumerated(unlisted)} was released; its review is not listed yet."
        return Judgement(None, expired=False, waiting_because=reason, soon=True)
    return None


def _judge_released(
    seats: tuple[str, ...],
    state: RequestState,
    excluded: Mapping[str, str],
    source: str,
    expires_at: datetime,
) -> Judgement:
    """The vendor let every seat's job start: was that by people who may decide, and in time?"""
    wanted = {seat.casefold() for seat in seats}
    decided_at = max(at for seat, at in state.released_at.items() if seat.casefold() in wanted)
    if decided_at > expires_at:
        people = sorted({one_line(each.login) for seat in seats for each in approvals(state, seat)})
        late = (
            f"Approved by {enumerated(people or ['nobody'])}, and let start on {decided_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"after the request had expired on {expires_at:%Y-%m-%d %H:%M} UTC."
        )
        return Judgement(None, expired=True, waiting_because=late)
    options = [valid_approvals(state, seat, excluded) for seat in seats]
    chosen = one_person_a_seat(options)
    if chosen is None:
        return _rejected(_why_nobody(state, seats, options, excluded), source, decided_at)
    return _approved(seats, chosen, source, decided_at)


def _doubts(
    seats: Sequence[str], state: RequestState, excluded: Mapping[str, str]
) -> Mapping[tuple[str, str], str]:
    """(seat, user id) -> why this approval does not count, where that may change and would then be enough.

    Where a seat has no review at all, the user id is empty: the list of reviews may lag behind.
    """
    unreviewed = [seat for seat in seats if not approvals(state, seat)]
    if unreviewed and state.by_review:
        return {}  # there is nothing to doubt: more are waited for
    reviewed = [seat for seat in seats if seat not in unreviewed]
    perhaps = [
        {each.user_id: each for each in approvals(state, seat) if never_counts(each, excluded) is None}
        for seat in reviewed
    ]
    if one_person_a_seat(perhaps) is None:
        return {}
    found = [
        (seat, review) for seat, reviews in zip(reviewed, perhaps, strict=True) for review in reviews.values()
    ]
    return {(seat, ""): f"nobody has reviewed {seat}" for seat in unreviewed} | {
        (seat, review.user_id): f"{one_line(review.login)} ({seat}) {why}"
        for seat, review in found
        if (why := why_not(review, excluded)) is not None
    }


def _seen_twice(
    judged: Judgement,
    doubts: Mapping[tuple[str, str], str],
    before: Mapping[str, datetime],
    now: datetime,
    *,
    is_last: bool,
) -> Judgement:
    """The judgement; still undecided where it rests on a no about people that was not said a minute ago too.

    The last one is that with which the promotion ends, by itself or as it was ordered.
    """
    rests = is_last and (judged.decision is not None or bool(judged.outstanding))
    since = {(key := f"{seat}: {user_id or 'nobody'}"): before.get(key, now) for seat, user_id in doubts}
    if not rests or all(now - first >= _SEEN_AGAIN_AFTER for first in since.values()):
        return judged
    said = "; ".join(doubts.values())
    how = "Released" if judged.decision is not None else "Approved in time"
    waiting = (
        f"{how}, and as it looks not by people who may decide: {said}. That is looked at again in a minute."
    )
    again_at = max(since.values()) + _SEEN_AGAIN_AFTER
    return Judgement(None, expired=False, waiting_because=waiting, seen_once=since, again_at=again_at)


def _not_missing(
    judged: Judgement, missing: Mapping[str, str], before: Mapping[str, datetime], now: datetime
) -> Judgement:
    """The judgement; still undecided where it is an end, and something has not been missing for long."""
    since = {what: before.get(what, now) for what in missing}
    if not judged.ends or all(now - first >= _MISSING_FOR for first in since.values()):
        return judged
    latest = max(since.values())
    again_at = min(latest + _MISSING_FOR, now + max(now - latest, _LOOK_SOON))
    waiting = (
        f"{' '.join(missing.values())} That is looked at again until {latest + _MISSING_FOR:%H:%M:%S} UTC."
    )
    return Judgement(None, expired=False, waiting_because=waiting, seen_once=since, again_at=again_at)


def _without_review_yet(seats: Sequence[str], state: RequestState, now: datetime) -> list[str]:
    """Seats released just now that nobody seems to have reviewed.

    Reviews and jobs are two reads: a review given between them, or listed late, must not pass for a bypass.
    """
    started = {seat.casefold(): at for seat, at in state.released_at.items()}
    return [
        seat
        for seat in seats
        if not approvals(state, seat) and now - started[seat.casefold()] < _REVIEWS_APPEAR_WITHIN
    ]


def _unjudgeable(promotion: Promotion, seats: tuple[str, ...], allow_trainer_approval: bool) -> Iterable[str]:
    if not seats:
        yield "the gate names no seat in which people would approve"
    for person in _kept_out(promotion, allow_trainer_approval):
        if not NUMERIC_ID.fullmatch(person.user_id):
            yield f"the numeric id of {one_line(person.name)}, who must not decide, is not known"


def _kept_out(promotion: Promotion, allow_trainer_approval: bool) -> list[ExcludedPerson]:
    """Who must not decide: everybody who is excluded, or only those whom the gate lists by login."""
    return [each for each in promotion.excluded if each.role == LISTED_ROLE or not allow_trainer_approval]


def _rejection(state: RequestState, *, listed_only: bool) -> Review | None:
    for review in state.reviews:
        if review.verdict is Verdict.REJECTED and (not listed_only or _is_listed_person(review)):
            return review
    return None


def _dead_because(state: RequestState, standing: Standing) -> str | None:
    """Why this request can never yield a decision any more; None if it still can, or has."""
    if state.void is not None:
        return f"The request can no longer be decided: {one_line(state.void, 1000)}"
    return standing.at_end() if state.finished else None


def _rejected(reason: str, source: str, at: datetime, review: Review | None = None) -> Judgement:
    deciders = () if review is None else (_decider(review, review.seat),)
    return Judgement(
        Decision(Verdict.REJECTED, deciders, reason, source, at), expired=False, waiting_because=""
    )


def _rejection_in_words(review: Review) -> str:
    comment = f": {one_line(review.comment, 500)}" if review.comment.strip() else "."
    return f"Rejected by {one_line(review.login)} ({one_line(review.seat)}){comment}"


def _decider(review: Review, seat: str) -> Decider:
    return Decider(review.user_id, storable(review.login, 200), seat, storable(review.comment, 5000))


def _is_listed_person(review: Review) -> bool:
    return review.is_person and review.is_listed and NUMERIC_ID.fullmatch(review.user_id) is not None


def _why_nobody(
    state: RequestState,
    seats: Sequence[str],
    options: Sequence[Mapping[str, Review]],
    excluded: Mapping[str, str],
) -> str:
    reasons: list[str] = []
    for seat, valid in zip(seats, options, strict=True):
        if valid:
            continue
        why = (
            "; ".join(refusals(state, seat, excluded))
            or "nobody reviewed it (an administrator's bypass, or rules that were off)"
        )
        reasons.append(f"{seat}: {why}")
    if not reasons:
        people = sorted({one_line(review.login) for valid in options for review in valid.values()})
        reasons = [
            f"{enumerated(list(seats))} need a different person each, and only {enumerated(people)} approved"
        ]
    return "Released, but not by an approval that counts: " + "; ".join(reasons) + "."
