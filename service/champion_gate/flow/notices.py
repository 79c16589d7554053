"""Notices to people: planned with what they tell about, sent later, never in anybody's way."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from champion_gate.domain.aliases import AliasKey, ChangeSource
from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.ledger.entries import OUTSIDE
from champion_gate.domain.notice_messages import event_of
from champion_gate.domain.notices import Message, NoticeEvent, NoticeKind, notice_step
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step, StepKind, StepPhase, ended
from champion_gate.errors import NeverTakenError, VendorUnavailableError
from champion_gate.flow.context import Context

_REST = timedelta(seconds=10)
"""So long a receiver that does not answer is left alone."""
MOST_UNKNOWN = 10
"""So often a message is sent of which nobody knows whether it has arrived: over a quarter of an hour."""
_SENT = "sent"
_ASKING = {NoticeEvent.REQUESTED, NoticeEvent.WAITING}


class NoticePlans:
    """Says which messages something makes necessary; whoever stores that something stores them with it."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._notices = context.notices
        self._messages = context.messages
        self._managed = context.managed
        self._store = context.store
        self._clock = context.clock

    def of_promotion(self, promotion: Promotion) -> list[Step]:
        """What is told of a promotion that is about to be stored, where that brings it into another phase."""
        event = event_of(promotion.phase)
        if event is None or not self._told_by(event, [promotion.gate]):
            return []
        if self._store.get_promotion(promotion.id).phase is promotion.phase:
            return []
        message = self._messages.of_promotion(event, promotion)
        # A promotion that was taken up again may fail again, and that is news; nothing else happens twice.
        again = f"-{int(message.at.timestamp())}" if promotion.phase is Phase.FAILED else ""
        return self._steps(message, [promotion.gate], f"{promotion.id}{again}", promotion.id)

    def of_moves(self, entries: Iterable[LedgerEntry]) -> list[Step]:
        """What is told of lines that are about to be put on record."""
        found = []
        for entry in entries:
            event = _event_of(entry)
            gates = self._gates_of(AliasKey(entry.registry, entry.model, entry.alias))
            if event is not None and self._told_by(event, gates):
                move = sha256_of(canonical([entry.registry, entry.model, entry.alias, entry.at.isoformat()]))
                message = self._messages.of_move(event, entry, gates)
                found += self._steps(message, gates, f"move-{move[:16]}", entry.promotion_id or "")
        return found

    def of_step(self, step: Step) -> list[Step]:
        """What is told of a step that is about to be stored; nothing where it has not failed."""
        if step.phase is not StepPhase.FAILED or step.kind is StepKind.NOTICE or not self._notices:
            return []
        promotion = self._store.get_promotion(step.promotion_id) if step.promotion_id else None
        if promotion is not None:
            gates = [promotion.gate]
        else:
            gates = self._gates_of(AliasKey(*(step.config[key] for key in ("registry", "model", "alias"))))
        message = self._messages.of_step(step, promotion, gates)
        subject = f"{step.id}-{int(message.at.timestamp())}"
        return self._steps(message, gates, subject, step.promotion_id)

    def plan_waiting(self, pending: Iterable[Promotion]) -> None:
        """Plan what is told, once, of requests that nobody has decided for as long as a notice says."""
        now = self._clock.now()
        wanted = [each for each in self._notices if each.waiting is not None]
        late: list[Step] = []
        for promotion in pending if wanted else ():
            message = self._messages.of_promotion(NoticeEvent.WAITING, promotion)
            late += [
                notice_step(notice, message, promotion.id, promotion.id, now)
                for notice in wanted
                if notice.tells(NoticeEvent.WAITING, [promotion.gate])
                and now >= message.at + (notice.waiting or now - message.at)
            ]
        known = {step.id for step in self._store.steps_named([step.id for step in late])}
        for step in late:
            if step.id not in known:
                self._store.plan_step(step)

    def _steps(self, message: Message, gates: Sequence[str], subject: str, promotion_id: str) -> list[Step]:
        now = self._clock.now()
        return [
            notice_step(notice, message, subject, promotion_id, now)
            for notice in self._notices
            if notice.tells(message.event, gates)
        ]

    def _told_by(self, event: NoticeEvent, gates: Sequence[str]) -> bool:
        return any(notice.tells(event, gates) for notice in self._notices)

    def _gates_of(self, key: AliasKey) -> list[str]:
        """The names of the gates that ask for an alias."""
        return [
            gate.name
            for gate in self._gates.values()
            if self._managed.key(gate.destination, gate.alias) == key
        ]


def _event_of(entry: LedgerEntry) -> NoticeEvent | None:
    if entry.kind is not LedgerKind.ALIAS_CHANGE:
        return None
    if entry.facts.get("source") == ChangeSource.ROLLBACK.value:
        return NoticeEvent.ROLLED_BACK
    is_first_look = entry.facts.get("source") != "outside"
    return NoticeEvent.DRIFT if entry.actor == OUTSIDE and not is_first_look else None


class NoticesSent:
    """Sends what was planned, one message after the other to each receiver.

    How fast is known to this process alone: with replicas beside it a receiver may get more, and says 429 then.
    """

    def __init__(self, context: Context) -> None:
        self._senders = context.notice_senders
        self._kinds = {each.name: each.kind for each in context.notices}
        self._meters = context.meters
        self._store = context.store
        self._clock = context.clock
        self._pace = _Pace(context.waits.notice_pace)

    def send(self, taken: Step) -> Step:
        """Send one, if it is its turn, and still of use."""
        name, message = taken.config["notice"], Message.thawed(taken.config["message"])
        sender = self._senders.get(name)
        if sender is None:
            return self._ended(taken, StepPhase.SKIPPED, f"No notice {name} is configured any more.")
        if message.event in _ASKING and not self._is_asked(taken.promotion_id):
            return self._ended(taken, StepPhase.SKIPPED, "Nobody is asked any more.")
        now = self._clock.now()
        turn = self._pace.turn(name, taken.id, now)
        if turn > now:
            return replace(taken, due_at=turn)
        try:
            with self._meters.call(self._kinds[name].capitalize()):
                said = sender.send(message, taken.id)
        except NeverTakenError as error:
            why = f"{error} Then: champion-gate steps retry {taken.id}"
            return self._ended(taken, StepPhase.FAILED, why)
        except VendorUnavailableError as error:
            # While it is away, the others' messages do not wait behind all of its own.
            rest = _REST if error.retry_after is None else timedelta(seconds=error.retry_after)
            # From now on: the call itself may have taken as long as the rest.
            self._pace.rest(name, self._clock.now() + rest)
            # A webhook's receiver knows a message by its id; a chat would show it anew each time.
            if not error.outcome_unknown or self._kinds[name] is NoticeKind.WEBHOOK:
                raise
            sent = taken.known.get(_SENT, 0) + 1
            if sent >= MOST_UNKNOWN:
                why = f"It was sent {sent} times, and may have arrived each time: {error}"
                return self._ended(taken, StepPhase.FAILED, why)
            self._store.save_step(replace(taken, known={**taken.known, _SENT: sent}))
            raise
        return self._ended(taken, StepPhase.SUCCEEDED, said)

    def _is_asked(self, promotion_id: str) -> bool:
        return self._store.get_promotion(promotion_id).phase is Phase.PENDING_APPROVAL

    def _ended(self, step: Step, phase: StepPhase, reason: str) -> Step:
        return ended(step, phase, reason, self._clock.now())


_LONGEST_REST = timedelta(hours=2)
"""What is free only later than that was said before the clock was set back."""


class _Pace:
    """Whose turn it is at each receiver, and when."""

    def __init__(self, pause: timedelta) -> None:
        self._pause = pause
        self._free_at: dict[str, datetime] = {}
        self._booked: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def turn(self, receiver: str, step_id: str, now: datetime) -> datetime:
        """When it is this step's turn; nobody else gets the same."""
        with self._lock:
            self._forget_those_before(now - _LONGEST_REST)
            _, booked = self._booked.get(step_id, (receiver, None))
            if booked is None:
                free_at = self._free_at.get(receiver, now)
                booked = max(free_at, now) if free_at <= now + _LONGEST_REST else now
                self._free_at[receiver] = booked + self._pause
            self._booked[step_id] = (receiver, booked)
            if booked <= now:
                del self._booked[step_id]
            return booked

    def _forget_those_before(self, then: datetime) -> None:
        """Their steps never came for them: another replica has sent them, or an operator skipped them."""
        while self._booked and (oldest := next(iter(self._booked.items())))[1][1] < then:
            del self._booked[oldest[0]]

    def rest(self, receiver: str, until: datetime) -> None:
        """Give nobody a turn before then; those that had one book anew."""
        with self._lock:
            self._free_at[receiver] = until
            self._booked = {step: turn for step, turn in self._booked.items() if turn[0] != receiver}
