"""A gate's `challenger`: an alias that stands on the candidate while people decide, set and taken away by the one writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, ChangeSource
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.ledger.entries import CANDIDATE_OF, OURS, VERSION_ID, named
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import Step, StepPhase, ended
from champion_gate.errors import NotFoundError, VendorRefusedError
from champion_gate.flow.alias_writer import AliasWriter
from champion_gate.flow.context import Context


class Challengers:
    """Carries these steps out. Stateless: the ledger says which promotion put the alias where it stands."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._registry = context.registry
        self._managed = context.managed
        self._writer = AliasWriter(context)
        self._clock = context.clock

    def set(self, taken: Step) -> Step:
        """Put the alias on the version that people are asked about, where it is free or ours.

        Raises:
            AliasBusyError: another writer is at work.
            LeaseLostError: it took too long.
            VendorError: the registry did not answer or refused.
        """
        with self._settled(taken) as (lock, _):
            promotion = self._store.get_promotion(
                taken.promotion_id
            )  # under the lock: its end comes after us
            alias, version = f"{lock.key.model}@{lock.key.alias}", promotion.version
            holder = self._put_there_for(lock)
            if not promotion.phase.is_open:
                return self._end(taken, StepPhase.OVERTAKEN, _is_over(promotion))
            if self._managed.names(lock.key.model, lock.key.alias):
                why = f"{alias} is an alias that gates.yaml names now: it is not set without approval."
                return self._end(taken, StepPhase.FAILED, why)
            if holder is not None and holder.phase.is_open and holder.version.number > version.number:
                why = f"{alias} stands on {named(lock.known_version)}, for promotion {holder.id}."
                return self._end(taken, StepPhase.OVERTAKEN, why)
            if lock.known_version is not None and holder is None:
                why = (
                    f"{alias} stands on {named(lock.known_version)}, where champion-gate did not put it, and is left there. "
                    f"Take it away, then: champion-gate steps retry {taken.id}"
                )
                return self._end(taken, StepPhase.FAILED, why)
            if holder is not None and holder.id == promotion.id:  # before a crash
                return self._end(
                    taken, StepPhase.SUCCEEDED, f"{alias} stands on {named(lock.known_version)}."
                )
            reason = f"v{version.version} asks for {promotion.alias} (promotion {promotion.id})"
            return self._moved(taken, lock, promotion, version.version, reason)

    def remove(self, taken: Step) -> Step:
        """Take the alias away, where it still stands for this promotion or for another one that is over.

        Raises:
            AliasBusyError: another writer is at work.
            LeaseLostError: it took too long.
            VendorError: the registry did not answer or refused.
        """
        with self._settled(taken) as (lock, promotion):
            alias, stands = f"{lock.key.model}@{lock.key.alias}", named(lock.known_version)
            if late := [each.arrives_before for each in lock.dropped if each.to_version is not None]:
                why = f"{alias} was being set: it is looked at again once that cannot come to pass any more."
                return replace(taken, reason=why, due_at=max(late))
            holder = self._put_there_for(lock)
            if lock.known_version is None:
                return self._end(taken, StepPhase.SUCCEEDED, f"{alias} stands on no version.")
            if holder is None:
                why = f"{alias} stands on {stands}, where champion-gate did not put it, and is left there."
                return self._end(taken, StepPhase.SUCCEEDED, why)
            if holder.phase.is_open:
                why = f"{alias} stands on {stands}, for promotion {holder.id}."
                return self._end(taken, StepPhase.SUCCEEDED, why)
            return self._moved(taken, lock, promotion, None, _is_over(holder))

    @contextmanager
    def _settled(self, taken: Step) -> Iterator[tuple[AliasLock, Promotion]]:
        """Hold the alias, with everything that was begun there finished or dropped."""
        promotion = self._store.get_promotion(taken.promotion_id)
        if promotion.registry != self._registry.name:
            raise VendorRefusedError(promotion.registry, "this registry is not configured any more")
        key = AliasKey(promotion.registry, promotion.version.model, taken.config["challenger"])
        with self._writer.taken(key) as lock:
            yield self._writer.settle(lock).lock, promotion

    def _put_there_for(self, lock: AliasLock) -> Promotion | None:
        """The promotion for whose sake we put the alias where it stands; None where that was not our doing."""
        for line in self._store.ledger_lines(lock.key):
            facts = line.entry.facts
            if line.entry.kind is not LedgerKind.ALIAS_CHANGE:
                continue
            promotion_id = facts.get(CANDIDATE_OF)
            if facts.get("to") != lock.known_version or not isinstance(promotion_id, str):
                return None
            try:
                return self._store.get_promotion(promotion_id)
            except NotFoundError:
                return None
        return None

    def _moved(
        self, taken: Step, lock: AliasLock, promotion: Promotion, to_version: str | None, reason: str
    ) -> Step:
        intent = AliasIntent(
            from_version=lock.known_version,
            to_version=to_version,
            fence=lock.fence,
            actor=OURS,
            reason=reason,
            promotion_id=None,
            at=self._clock.now(),
            source=ChangeSource.CHALLENGER,
            facts={
                CANDIDATE_OF: promotion.id,
                VERSION_ID: None if to_version is None else promotion.version.version_id,
            },
        )
        stands = self._writer.write(lock, intent).known_version
        told = f"{lock.key.model}@{lock.key.alias} stands on {named(stands)}."
        if stands != to_version:
            return self._end(taken, StepPhase.FAILED, f"{told} Somebody else moved it meanwhile.")
        return self._end(taken, StepPhase.SUCCEEDED, told)

    def _end(self, taken: Step, phase: StepPhase, reason: str) -> Step:
        return ended(taken, phase, reason, self._clock.now())


def _is_over(promotion: Promotion) -> str:
    return f"promotion {promotion.id} is {promotion.phase.value}"
