"""Steps: the durable work around a promotion, carried out one by one.

Each is stored before anything is called, and may be done twice. None of it stops a decision.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from champion_gate.domain.drift import drift_line
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.ledger.entries import OURS, step_entry
from champion_gate.domain.ports.approval import ApprovalProvider
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.retry import BUDGET, next_try
from champion_gate.domain.steps import (
    MOST_STARTS,
    WAITED_FOR,
    Step,
    StepKind,
    StepPhase,
    ended,
    taken_up_again,
)
from champion_gate.errors import (
    ForbiddenError,
    GateError,
    LeaseLostError,
    UnexpectedError,
    VendorError,
    VendorRefusedError,
)
from champion_gate.flow.after import AfterMoves
from champion_gate.flow.challengers import Challengers
from champion_gate.flow.context import Context
from champion_gate.flow.copy_runs import CopyRuns
from champion_gate.flow.drift_steps import DriftSteps
from champion_gate.flow.notices import NoticePlans, NoticesSent
from champion_gate.flow.request_ends import RequestEnds
from champion_gate.flow.validation_runs import ValidationRuns

_BY_GATES = frozenset(
    {
        *(StepKind.CHALLENGER, StepKind.COPY, StepKind.NOTICE),
        *(StepKind.DRIFT_LOOKUP, StepKind.REOPEN, StepKind.RESTORE),
    }
)
"""Steps that may come to nothing by what gates.yaml says now."""
_log = logging.getLogger(__name__)


class Steps:
    """Carries steps out. Stateless: everything it knows is in the rows or at the vendors'."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._notices = NoticePlans(context)
        self._registry = context.registry
        self._providers = context.providers
        self._clock = context.clock
        self._chance = context.chance
        self._wake_ups = context.wake_ups
        self._waits = context.waits
        self._replicas_differ = context.replicas_differ
        after, drift = AfterMoves(context), DriftSteps(context)
        challengers = Challengers(context)
        told = RequestEnds(context)
        self._kinds: Mapping[StepKind, Callable[[Step], Step]] = {
            StepKind.CANCEL_REQUEST: self._cancel_request,
            StepKind.CANCEL_DOUBLES: self._cancel_doubles,
            StepKind.TAG_VERSION: self._tag_version,
            StepKind.JOB: after.run_job,
            StepKind.ENDPOINT: after.move_endpoint,
            StepKind.VALIDATE: ValidationRuns(context).carry_out,
            StepKind.COPY: CopyRuns(context).carry_out,
            StepKind.DRIFT_LOOKUP: drift.look_up,
            StepKind.REOPEN: drift.reopen,
            StepKind.RESTORE: drift.restore,
            StepKind.CHALLENGER: challengers.set,
            StepKind.CHALLENGER_REMOVAL: challengers.remove,
            StepKind.STATUS: told.show_status,
            StepKind.COMMENT: told.comment,
            StepKind.MERGE: told.merge,
            StepKind.NOTICE: NoticesSent(context).send,
        }

    def carry_out(self, step_id: str) -> None:
        """Take one step as far as it goes now. Safe to call at any time, any number of times."""
        taken = self._store.take_step(step_id, self._clock.now(), self._waits.lease_seconds)
        if taken is None:
            return
        was_wanted = self._is_waited_for(taken)
        try:
            try:
                self._give_back(taken, self._come_to(taken), was_wanted=was_wanted)
            except LeaseLostError:
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours must not be tried for ever
                self._give_back(taken, self._put_off(taken, error), was_wanted=was_wanted)
        except LeaseLostError:
            _log.warning("step %s is in another worker's hands now", step_id)

    def _come_to(self, taken: Step) -> Step:
        differ = self._replicas_differ() if taken.kind in _BY_GATES else None
        if differ is not None:
            return replace(taken, reason=differ, due_at=self._clock.now() + self._waits.same_gates)
        return self._kinds[taken.kind](taken)

    def _give_back(self, taken: Step, come_to: Step, *, was_wanted: bool) -> None:
        """Store what it has come to, with the ledger's line of an end, and tell a promotion that waits for it."""
        now, line = self._clock.now(), step_entry(come_to, OURS) or drift_line(come_to, OURS)
        kept = come_to
        if come_to.phase is StepPhase.FAILED and 0 < come_to.starts < MOST_STARTS.get(come_to.kind, 0):
            why = f"{come_to.reason} It is started once more."
            kept = taken_up_again(come_to, why, now, starts=come_to.starts)
        told = self._notices.of_step(kept)
        self._store.save_step(kept, release=True, ledger=[] if line is None else [line], steps=told)
        # Ended at once where its promotion has ended while a worker was at it, also where that look failed.
        if kept.phase.is_open and was_wanted and not self._is_waited_for(kept):
            self._store.hasten_steps(kept.promotion_id, now)
            self._wake_ups.step(kept.id)
        stood, stands = (taken.phase, taken.reason), (kept.phase, kept.reason)
        if (stands != stood or kept.retry.attempts == 1) and come_to.kind in WAITED_FOR:
            self._store.hint_promotion(come_to.promotion_id, now)
            self._wake_ups.promotion(come_to.promotion_id)

    def _is_waited_for(self, step: Step) -> bool:
        phase = WAITED_FOR.get(step.kind)
        return phase is not None and self._store.get_promotion(step.promotion_id).phase is phase

    def _put_off(self, begun: Step, caught: Exception) -> Step:
        """The step as it waits for another try, or is given up.

        A refusal is tried again too, for a day, and so is a 404: a token that sees nothing for a while looks the
        same. Meanwhile `promotions show` tells what is missing.
        """
        error = caught if isinstance(caught, GateError) else UnexpectedError.of(caught)
        now = self._clock.now()
        # What it has stored since it was taken is kept.
        taken = replace(self._store.get_step(begun.id), lease=begun.lease)
        retry, due_at = next_try(error, taken.retry, now=now, fraction=self._chance.fraction(), budget=None)
        given_up = retry.has_failed_for(BUDGET, now)
        _log.log(
            logging.ERROR if given_up else logging.WARNING,
            "step %s %s: %s",
            taken.id,
            "is given up" if given_up else "failed and is tried again",
            error,
        )
        put_off = replace(taken, retry=retry, due_at=due_at or taken.due_at)
        if not given_up:
            return put_off
        if isinstance(error, VendorRefusedError) and error.of_write and not _concerns_us(error):
            # Refused for a day it finds no run, as where that was deleted: whoever begins anew takes another.
            put_off = replace(put_off, token="")
        return ended(put_off, StepPhase.FAILED, f"Given up after a day: {error}", now)

    def _succeeded(self, taken: Step, reason: str) -> Step:
        return ended(taken, StepPhase.SUCCEEDED, reason, self._clock.now())

    def _tag_version(self, taken: Step) -> Step:
        promotion = self._store.get_promotion(taken.promotion_id)
        if promotion.registry != self._registry.name:
            raise VendorRefusedError(promotion.registry, "this registry is not configured any more")
        tagged = [promotion.version, *([promotion.copied] if promotion.copied else [])]
        for version in tagged:
            for key, value in taken.config.items():
                self._registry.set_version_tag(version.model, version.version, key, value)
        told = " and ".join(f"v{version.version} of {version.model}" for version in tagged)
        return self._succeeded(taken, f"{told} bear{'' if tagged[1:] else 's'} the tags.")

    def _cancel_request(self, taken: Step) -> Step:
        promotion = self._store.get_promotion(taken.promotion_id)
        request, external_id = promotion.request, taken.config["external_id"]
        # A double may have been adopted since it was ordered: people are asked in it.
        if promotion.phase.is_open and request is not None and request.external_id == external_id:
            return ended(taken, StepPhase.OVERTAKEN, "People are asked in it now.", self._clock.now())
        found = self._request_of(promotion)
        if found is not None:
            provider, target = found
            provider.cancel(target, external_id)
        return self._succeeded(taken, f"Request {external_id} is cancelled, or had ended.")

    def _cancel_doubles(self, taken: Step) -> Step:
        promotion = self._store.get_promotion(taken.promotion_id)
        found = self._request_of(promotion)
        doubles: Sequence[str] = ()
        if found is not None:
            provider, target = found
            doubles = provider.duplicates(target, promotion)
            _cancel_all(provider, target, doubles)
        told = (
            f"Other requests for it are cancelled: {', '.join(doubles)}." if doubles else "There were none."
        )
        return self._succeeded(taken, told)

    def _request_of(self, promotion: Promotion) -> tuple[ApprovalProvider, ApprovalTarget] | None:
        """Where its request is; None where it has none."""
        request = promotion.request
        if request is None:
            return None
        provider = self._providers.get(request.provider)
        if provider is None:
            raise VendorRefusedError(request.provider, "this provider is not configured any more")
        return provider, request.target


def _concerns_us(error: VendorRefusedError) -> bool:
    """Whether it says what we may do, and so nothing of what was asked for before."""
    return error.concerns_all or isinstance(error, ForbiddenError)


def _cancel_all(provider: ApprovalProvider, target: ApprovalTarget, external_ids: Sequence[str]) -> None:
    """Cancel each of them, whatever becomes of the others; the first error is raised at the end."""
    failed: list[VendorError] = []
    for external_id in external_ids:
        try:
            provider.cancel(target, external_id)
        except VendorError as error:
            failed.append(error)
    if failed:
        raise failed[0]
