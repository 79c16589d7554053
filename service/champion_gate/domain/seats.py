"""Which approving reviews count for which seat, and which of them fill the most seats."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from champion_gate.domain.approval import RequestState, Review, Verdict
from champion_gate.domain.text import one_line

NUMERIC_ID = re.compile(r"[1-9][0-9]*", re.ASCII)


def unreleased(state: RequestState, seats: Sequence[str]) -> list[str]:
    """The seats whose gated job the vendor has not let start."""
    released = {seat.casefold() for seat in state.released_at}
    return [seat for seat in seats if seat.casefold() not in released]


def approvals(state: RequestState, seat: str) -> list[Review]:
    """All approving reviews of a seat, whoever gave them; seats are the same in any case."""
    return [
        review
        for review in state.reviews
        if review.verdict is Verdict.APPROVED and review.seat.casefold() == seat.casefold()
    ]


def valid_approvals(state: RequestState, seat: str, excluded: Mapping[str, str]) -> dict[str, Review]:
    """The approving reviews of a seat that count, by the person's id."""
    return {review.user_id: review for review in approvals(state, seat) if why_not(review, excluded) is None}


def why_not(review: Review, excluded: Mapping[str, str]) -> str | None:
    """Why this approval does not count; None if it does."""
    if not review.is_person:
        return "is no person"
    never = never_counts(review, excluded)
    if never is not None:
        return never
    if not review.is_listed:
        return "is not among the listed reviewers"
    return None


def never_counts(review: Review, excluded: Mapping[str, str]) -> str | None:
    """Why this approval does not count, whatever the vendor says of the person at another time."""
    if not NUMERIC_ID.fullmatch(review.user_id):
        return "has no numeric id"
    if review.is_opener:
        return "is the account that opened the request"
    if review.user_id in excluded:
        return f"is behind this version ({excluded[review.user_id]})"
    return None


def one_person_a_seat(options: Sequence[Mapping[str, Review]]) -> list[Review] | None:
    """One review for each seat, each by a different person; None if that cannot be."""
    found = filled(options)
    return [found[seat] for seat in range(len(options))] if len(found) == len(options) else None


def filled(options: Sequence[Mapping[str, Review]]) -> dict[int, Review]:
    """Seat -> its review, each by a different person, so that the most seats are filled (bipartite matching)."""
    seat_of: dict[str, int] = {}

    def place(seat: int, tried: set[str]) -> bool:
        for person in options[seat]:
            if person in tried:
                continue
            tried.add(person)
            if person not in seat_of or place(seat_of[person], tried):
                seat_of[person] = seat
                return True
        return False

    for seat in range(len(options)):
        place(seat, set())
    return {seat: options[seat][person] for person, seat in seat_of.items()}


def refusals(state: RequestState, seat: str, excluded: Mapping[str, str]) -> list[str]:
    """Whose approvals of a seat do not count, and why."""
    return [
        f"the approval of {one_line(review.login)} does not count, who {why}"
        for review in approvals(state, seat)
        if (why := why_not(review, excluded)) is not None
    ]
