"""How far the seats have come that the vendor has not released: undecided, or approved and still held; in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from champion_gate.domain.approval import RequestState
from champion_gate.domain.seats import filled, refusals, unreleased, valid_approvals
from champion_gate.domain.text import enumerated, one_line


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
        waiting = [f"Waiting for people to decide in {self._open()}."] if self.open else []
        held = [f"{self._approved_in(seat)}, and held by {self._holder(seat)}." for seat in self.approved]
        return " ".join([*waiting, *self._refused(), *held])

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
