"""Which approving reviews count for which seat, which of them fill the most seats, and how far the rest have come."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from champion_gate.domain.approval import RequestState, Review, Verdict
from champion_gate.domain.text import enumerated, one_line

T = TypeVar("T")

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
    return review.lacks or None


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


def filled(options: Sequence[Mapping[str, T]]) -> dict[int, T]:
    """Seat -> what somebody gave to it, each a different person, so that the most seats are filled (bipartite matching)."""
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


def progress(seats: int, missing: Sequence[str]) -> str:
    """How far a request has come, e.g. `1 of 2 approved; risk is missing`."""
    words = f"{seats - len(missing)} of {seats} approved"
    if not missing:
        return words
    return (
        f"{words}; {enumerated(list(map(one_line, missing)))} {'is' if len(missing) == 1 else 'are'} missing"
    )


def _nobody_yet(_: int, missing: Sequence[str]) -> str:
    return f"Waiting for people to decide in {enumerated(list(map(one_line, missing)))}"


@dataclass(frozen=True)
class Standing:
    """The seats that were not released.

    Attributes:
        seats: how many there are in all.
        open: those in which no approval counts yet; each with whose does not and why, if anybody gave one.
        approved: those that somebody who may decide has approved: seat -> login.
        held_by: what the vendor waits for there, where that is known.
    """

    seats: int
    open: Mapping[str, str]
    approved: Mapping[str, str]
    held_by: Mapping[str, str]

    @classmethod
    def of(cls, state: RequestState, seats: Sequence[str], excluded: Mapping[str, str]) -> Standing:
        """Sort the seats.

        Args:
            state: as just re-read.
            seats: the approvals that are needed.
            excluded: who may not decide: user id -> why.
        """
        left = unreleased(state, seats)
        chosen = filled([valid_approvals(state, seat, excluded) for seat in seats])
        approved = {
            seat: one_line(chosen[place].login)
            for place, seat in enumerate(seats)
            if place in chosen and seat in left
        }
        undecided = [seat for seat in left if seat not in approved]
        held = {seat.casefold(): one_line(words, 500) for seat, words in state.held_by.items()}
        return cls(
            seats=len(seats),
            open={seat: "; ".join(refusals(state, seat, excluded)) for seat in undecided},
            approved=approved,
            held_by={seat: held[seat.casefold()] for seat in left if seat.casefold() in held},
        )

    def while_waiting(self) -> str:
        """What is waited for."""
        where = progress if self.seats > 1 else _nobody_yet
        waiting = [f"{where(self.seats, list(self.open))}."] if self.open else []
        held = [f"{self._approved_in(seat)}, and held by {self._holder(seat)}." for seat in self.approved]
        return " ".join([*waiting, *self._refused(), *held])

    def by_review(self) -> str:
        """How far it has come where approvals alone decide, seat by seat."""
        approved = [f"{self._approved_in(seat)}." for seat in self.approved]
        return " ".join([f"{progress(self.seats, list(self.open))}.", *approved, *self._refused()])

    def at_expiry(self, expires_at: datetime) -> str:
        """What there was of a decision when the request expired."""
        when = f"{expires_at:%Y-%m-%d %H:%M} UTC"
        where = f" in {self._open()}" if 0 < len(self.open) < self.seats else ""
        nobody = [f"Nobody decided{where} before {when}."] if self.open else []
        held = [
            f"{self._approved_in(seat)}, and still held by {self._holder(seat)} when the request expired on {when}."
            for seat in self.approved
        ]
        return " ".join([*nobody, *self._refused(), *held])

    def at_end(self) -> str | None:
        """What there was of a decision when the vendor ended the request; None where nothing was left to release."""
        left = [*self.open, *self.approved]
        if not left:
            return None
        ended = f"The request ended without a decision for {enumerated(left)}."
        held = [f"{self._approved_in(seat)}, and its job was never let start." for seat in self.approved]
        return " ".join([ended, *self._refused(), *held])

    def _open(self) -> str:
        return enumerated([one_line(seat) for seat in self.open])

    def _approved_in(self, seat: str) -> str:
        return f"Approved by {self.approved[seat]} ({one_line(seat)})"

    def _holder(self, seat: str) -> str:
        return self.held_by.get(seat, "the vendor, which has not let its job start")

    def _refused(self) -> list[str]:
        return [f"{one_line(seat)}: {why}." for seat, why in self.open.items() if why]
