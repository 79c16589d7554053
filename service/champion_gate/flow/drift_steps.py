"""What follows a move of an alias that somebody made outside the gate: who it was, asking again, putting it back.

Asking again follows too where more is told of a version than when people were asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, ChangeSource
from champion_gate.domain.drift import (
    DRIFT,
    MOST_RESTORES,
    AuditAnswer,
    AuditedChange,
    is_contested,
    mover,
    version_to_restore,
)
from champion_gate.domain.gates import Drift
from champion_gate.domain.ledger.chain import LedgerKind, LedgerLine
from champion_gate.domain.ledger.entries import OURS, VERSION_ID, named
from champion_gate.domain.ports.workspace import AuditLog
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step, StepPhase, ended
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
)
from champion_gate.flow.after import alias_of
from champion_gate.flow.alias_writer import AliasWriter
from champion_gate.flow.context import Context
from champion_gate.flow.operator_promotions import NotToldError, PromotionOrders

_MOVES = 200  # so many moves back it is looked where the alias stood before others moved it
_WHO_REOPENS = "champion-gate (drift: reopen)"
_WHO_ASKS_WHOLE = "champion-gate (told more)"


class DriftSteps:
    """Carries these steps out. Stateless: the ledger says what has been done about a move."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._registry = context.registry
        self._managed = context.managed
        self._audit = context.audit
        self._jobs = context.jobs
        self._writer = AliasWriter(context)
        self._orders = PromotionOrders(context)
        self._clock = context.clock
        self._waits = context.waits

    # --- who it was ---

    def look_up(self, taken: Step) -> Step:
        """Look into the audit log for who it was, again and again for two hours. No answer of it stops anything."""
        seen = replace(taken, phase=StepPhase.RUNNING, known={**taken.known, **self._line(taken)})
        if self._audit is None:
            why = "databricks.warehouse is not configured any more"
            return self._end(seen, StepPhase.SKIPPED, f"Who moved it is not known: {why}.")
        try:
            answer = self._answer(self._audit, seen)
            if answer.changes is None:
                waiting = replace(
                    seen, external_id=answer.statement_id, reason="The audit log is being read."
                )
                return self._again(waiting, due_at=self._clock.now() + self._waits.audit_answer)
            found = self._mover(seen, answer)
        except VendorError as error:
            return self._again(replace(seen, external_id=None, reason=error.message))
        if found is None:
            why = "system.access.audit does not tell of it"
            return self._again(replace(seen, external_id=None, reason=f"{why} (yet)."))
        change, ours = found
        known = {
            **seen.known,
            "who": change.who,
            "action": change.action,
            "event_id": change.id,
            "event_time": change.at.isoformat(),
            "own_account": change.who.casefold() == ours.casefold(),
        }
        whose = (
            " (the account of champion-gate itself, which somebody else uses too)"
            if known["own_account"]
            else ""
        )
        when = f"{change.at:%Y-%m-%d %H:%M:%S} UTC"
        reason = f"{change.who}{whose} made the move outside, on {when} ({change.action})"
        return self._end(replace(seen, known=known), StepPhase.SUCCEEDED, reason)

    def _answer(self, audit: AuditLog, taken: Step) -> AuditAnswer:
        """What has been asked is read; one that an answer was never read to is asked anew, which costs a query."""
        if taken.external_id is not None:
            return audit.read(taken.external_id)
        since, until = (datetime.fromisoformat(taken.config[name]) for name in ("since", "until"))
        return audit.ask(taken.config["model"], since, until)

    def _mover(self, taken: Step, answer: AuditAnswer) -> tuple[AuditedChange, str] | None:
        ours, about = self._jobs.principal(), taken.config
        found = mover(
            answer.changes or (),
            alias_of(taken),
            from_version=about["from"],
            to_version=about["to"],
            seen_at=datetime.fromisoformat(about["until"]),
            ours=ours,
        )
        return None if found is None else (found, ours)

    def _again(self, seen: Step, due_at: datetime | None = None) -> Step:
        now = self._clock.now()
        if now >= seen.planned_at + self._waits.audit:
            return self._end(
                seen, StepPhase.FAILED, f"Who moved it was not found within two hours: {seen.reason}"
            )
        return replace(seen, due_at=due_at or now + self._waits.audit_look)

    def _line(self, taken: Step) -> Mapping[str, Any]:
        """The number of the move's line."""
        for move in self._moves(alias_of(taken)):
            if move.entry.facts.get(DRIFT) == taken.config[DRIFT]:
                return {"line": move.number}
        return {}

    # --- asking again ---

    def reopen(self, taken: Step) -> Step:
        """Have versions asked about again whose promotions this has made stale; each of them once.

        Raises:
            NotToldError: whether one may be asked about cannot be told at the moment.
            VendorError: Databricks or the registry did not answer or refused.
        """
        told: dict[str, str] = dict(taken.known.get("asked", {}))
        promotions = [self._store.get_promotion(each) for each in taken.config["promotions"]]
        untold: NotToldError | None = None
        for promotion in promotions:
            if promotion.phase is Phase.STALE and promotion.id not in told:
                try:
                    told[promotion.id] = self._asked_again(taken, promotion)
                except NotToldError as error:
                    untold = error  # the others do not wait for it
                    continue
                taken = self._store.save_step(replace(taken, known={**taken.known, "asked": told}))
        waits = [each.id for each in promotions if each.phase.is_open]
        if waits:
            why = f"Waits until {', '.join(waits)} has ended."
            return replace(taken, reason=why, due_at=self._clock.now() + self._waits.look_soon)
        if untold is not None:
            raise untold
        asked = "; ".join(f"{old}: {new}" for old, new in told.items())
        return self._end(taken, StepPhase.SUCCEEDED, f"Asked again: {asked or 'nothing'}.")

    def _asked_again(self, taken: Step, stale: Promotion) -> str:
        """The promotion that asks now, or why none does."""
        who, why = _WHO_REOPENS, f"{stale.alias} was moved outside champion-gate"
        if taken.promotion_id:
            who, why = _WHO_ASKS_WHOLE, "the registry tells more of it"
        every = self._store.promotions_of_version(stale.alias_key, stale.version.version, stale.version.model)
        if any(who in each.found_by for each in every if each.version.is_still(stale.version)):
            return "it was asked again once before"
        try:
            return self._orders.retry(stale.id, actor=who, reason=why)
        except NotToldError:
            raise
        except (ConflictError, InvalidInputError, NotFoundError) as error:
            return error.message

    # --- putting it back ---

    def restore(self, taken: Step) -> Step:
        """Put the alias back where it stood, if that is still what everybody wants, through the one writer.

        Raises:
            AliasBusyError: another writer is at work.
            LeaseLostError: it took too long.
            VendorError: the registry did not answer or refused.
        """
        key = alias_of(taken)
        if key.registry != self._registry.name:
            raise VendorRefusedError(key.registry, "this registry is not configured any more")
        with self._writer.taken(key) as row:
            lock = self._writer.settle(row).lock
            taken = replace(taken, known={**taken.known, **self._line(taken)})
            moves = self._moves(key)
            if (over := self._is_over(taken, lock, moves)) is not None:
                return over
            version, why = self._target(lock, moves)
            if version is None:
                return self._end(taken, StepPhase.FAILED, f"Not put back: {why}")
            if lock.known_version == version.version:
                why = f"{key.alias} stands there again already, on v{version.version}."
                return self._end(taken, StepPhase.SKIPPED, f"Not put back: {why}")
            return self._put_back(taken, lock, version)

    def _is_over(self, taken: Step, lock: AliasLock, moves: tuple[LedgerLine, ...]) -> Step | None:
        """The step as it ends where there is nothing to put back, or it must not be; None where it is to be."""
        latest, drift = moves[0].entry.facts, taken.config[DRIFT]
        if (
            latest.get("source") == ChangeSource.RESTORE.value and latest.get(DRIFT) == drift
        ):  # before a crash
            return self._restored(taken, lock)
        stands = f"{lock.key.alias} stands on {named(lock.known_version)}"
        if latest.get(DRIFT) != drift:
            return self._end(taken, StepPhase.OVERTAKEN, f"Not put back: it has moved again, and {stands}.")
        setting = self._managed.drift(lock.key)
        if setting is not Drift.RESTORE:
            return self._end(taken, StepPhase.SKIPPED, f"Not put back: drift is set to {setting} now.")
        if lock.hold is not None:
            return self._end(taken, StepPhase.SKIPPED, f"Not put back: it is {lock.hold}.")
        if is_contested(moves, self._clock.now()):
            why = f"contested: it was put back {MOST_RESTORES} times within a day, and is left; {stands}."
            return self._end(taken, StepPhase.FAILED, f"Not put back: {why}")
        return None

    def _target(self, lock: AliasLock, moves: tuple[LedgerLine, ...]) -> tuple[ModelVersion | None, str]:
        """The version on which it stood, or why it cannot be put there."""
        number, known = version_to_restore(moves)
        if number is None:
            return None, "it stood on no version before."
        try:
            found = self._registry.get_version(lock.key.model, number)
        except VendorNotFoundError:
            return None, f"v{number} is gone from the registry, or hidden from us."
        if known is None or found.version_id != known:
            return (
                None,
                f"what bears the number {number} now cannot be told to be the version that it stood on.",
            )
        if found.status is not VersionStatus.READY:
            return None, f"v{number} is {found.status.value}."
        return found, ""

    def _put_back(self, taken: Step, lock: AliasLock, version: ModelVersion) -> Step:
        moved = f"from {named(taken.config['from'])} to {named(taken.config['to'])}"
        intent = AliasIntent(
            from_version=lock.known_version,
            to_version=version.version,
            fence=lock.fence,
            actor=OURS,
            reason=f"put back on v{version.version}, after somebody outside champion-gate moved it {moved} (drift: restore)",
            promotion_id=None,
            at=self._clock.now(),
            source=ChangeSource.RESTORE,
            facts={DRIFT: taken.config[DRIFT], VERSION_ID: version.version_id},
        )
        written = self._writer.write(lock, intent)
        if written.known_version != version.version:
            why = f"somebody else put it on {named(written.known_version)} at the same moment."
            return self._end(taken, StepPhase.FAILED, f"Not put back: {why}")
        return self._restored(taken, written)

    def _restored(self, taken: Step, lock: AliasLock) -> Step:
        done = replace(taken, known={**taken.known, "moved": True})
        for promotion in self._store.open_promotions(lock.key):
            self._store.hint_promotion(promotion.id, self._clock.now())
        return self._end(
            done, StepPhase.SUCCEEDED, f"{lock.key.alias} stands on {named(lock.known_version)} again."
        )

    # --- all ---

    def _moves(self, key: AliasKey) -> tuple[LedgerLine, ...]:
        return self._store.ledger_lines(key, kind=LedgerKind.ALIAS_CHANGE, limit=_MOVES)

    def _end(self, taken: Step, phase: StepPhase, reason: str) -> Step:
        return ended(taken, phase, reason, self._clock.now())
