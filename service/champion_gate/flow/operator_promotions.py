"""Operators' orders about promotions: ask by hand, ask afresh, cancel, retry; and resolve a notification once more."""

from __future__ import annotations

import logging
from dataclasses import replace

from champion_gate.domain.aliases import AliasKey, check_reason
from champion_gate.domain.callers import Caller
from champion_gate.domain.gates import Gate, Source
from champion_gate.domain.names import check_version
from champion_gate.domain.notifications import StoredNotification
from champion_gate.domain.promotion import EndRequest, Phase, Promotion, Subject, requested
from champion_gate.domain.steps import WAITED_FOR, StepPhase, taken_up_again
from champion_gate.domain.versions import ModelVersion
from champion_gate.errors import ConflictError, InvalidInputError, NotFoundError
from champion_gate.flow.approval_requests import ApprovalRequests
from champion_gate.flow.context import Context
from champion_gate.flow.gate_rules import GateRules, Refusal, by_hand, not_configured
from champion_gate.flow.operator_aliases import ready_version
from champion_gate.flow.subjects import Subjects

_log = logging.getLogger(__name__)


class NotToldError(ConflictError):
    """Whether a version may be asked about cannot be told at the moment."""


class PromotionOrders:
    """Takes operators' orders. Who may approve, and all that is checked, stays the gate's."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._rules = GateRules(context)
        self._store = context.store
        self._subjects = Subjects(context)
        self._registry = context.registry
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._chance = context.chance
        self._requests = ApprovalRequests(context)

    def ask(
        self, gate_name: str, version: str, *, job_run_id: str | None, caller: Caller, reason: str
    ) -> Promotion:
        """Have a version ask for the gate's alias.

        Args:
            gate_name: which gate.
            version: of the gate's model, as decimal digits.
            job_run_id: the job run that made it, as decimal digits; needed unless the version has asked
                through this gate before, or the gate asks about versions that no watched job made.
            caller: who wants it.
            reason: why.

        Raises:
            NotFoundError: there is no such gate.
            NoSuchVersionError: there is no such version.
            InvalidInputError: the job run is not named.
            ConflictError: it asks already, is not ready, or nothing shows that this run of a job that the
                gate watches made it.
            VendorError: Databricks or the registry did not answer or refused.
        """
        check_reason(reason)
        gate = self._gates.get(gate_name)
        if gate is None:
            raise NotFoundError(f"There is no gate {gate_name!r}.")
        found = ready_version(self._registry, gate.model, check_version(version))
        known = self._known(gate, found)
        if known:
            subject = self._asked_before(known, gate, found, job_run_id, caller.actor)
        elif job_run_id is None and gate.watches_registry:
            how = by_hand(caller.actor, before=Source.REGISTRY)
            subject = _or_conflict(self._subjects.of(gate, found, "", how))
        elif job_run_id is None:
            raise InvalidInputError(
                f"v{version} of {gate.model} has not asked before.",
                hint="Name the job run that made it: job_run_id.",
            )
        else:
            subject = _or_conflict(self._subjects.of(gate, found, job_run_id, by_hand(caller.actor)))
        return self._begin(gate, subject, f"{caller.actor} asks by hand: {reason}")

    def _ask_afresh(self, ended: Promotion, *, actor: str, reason: str | None) -> Promotion:
        """Have the version of an ended promotion ask once more, through the same gate.

        Raises:
            ConflictError, VendorError: as for `ask`.
        """
        gate = self._rules.gate_of(ended)
        if gate is None:
            raise ConflictError(not_configured(ended))
        found = ready_version(self._registry, gate.model, ended.version.version)
        if not found.is_still(ended.version):
            raise ConflictError(
                f"v{found.version} of {gate.model} is another version now than the one of {ended.id}."
            )
        subject = self._asked_before(self._known(gate, found), gate, found, None, actor)
        why = f"{actor} asks afresh, after {ended.id} ended as {ended.phase.value}"
        return self._begin(gate, subject, f"{why}: {reason}" if reason else f"{why}.")

    def cancel(self, promotion_id: str, *, actor: str, reason: str) -> None:
        """Order an open promotion to end; whoever advances it re-reads the decision, or settles its write, first.

        Raises:
            NotFoundError: there is no such promotion.
            ConflictError: it has ended, or has been ordered to end.
        """
        promotion = self._store.get_promotion(promotion_id)
        if not promotion.phase.is_open:
            raise ConflictError(
                f"Promotion {promotion_id} is {promotion.phase.value}; only one that is requested or validated, waits for "
                "approval, or is approved and not applied yet can be cancelled."
            )
        end = EndRequest(phase=Phase.CANCELLED, actor=actor, reason=reason, at=self._clock.now())
        if not self._store.request_end(promotion_id, end):
            raise ConflictError(f"Promotion {promotion_id} has been ordered to end already.")
        self._wake_ups.promotion(promotion_id)

    def retry(self, promotion_id: str, *, actor: str, reason: str | None = None) -> str:
        """Take a failed promotion up again where it failed; ask afresh for a version whose promotion ended otherwise.

        One whose request was opened as often as it may be, and never appeared, is opened again.

        Returns:
            The id of the promotion that goes on: the same, or the fresh one.

        Raises:
            NotFoundError: there is no such promotion.
            ConflictError: it is open or promoted, the version asks already, or the gate may not ask for it.
            VendorError: Databricks or the registry did not answer or refused.
        """
        promotion = self._store.get_promotion(promotion_id)
        if promotion.phase in {Phase.PENDING_APPROVAL, Phase.PROMOTED} or promotion.phase.is_applied:
            raise _nothing_to_retry(promotion)
        if promotion.phase is not Phase.FAILED and not promotion.phase.is_before_people:
            return self._ask_afresh(promotion, actor=actor, reason=reason).id
        gate = self._rules.gate_of(promotion)
        if gate is None:
            raise ConflictError(not_configured(promotion))
        refused = self._rules.refusal(gate, Subject.of(promotion))
        if refused is not None:
            raise ConflictError(refused.reason)
        self._check_origin(gate, promotion)
        why = _with_reason(f"Taken up again by {actor}", reason)
        if promotion.phase.is_before_people:
            if not self._requests.allow_more(promotion_id, why):
                raise _nothing_to_retry(promotion)
            self._wake_ups.promotion(promotion_id)
            return promotion_id
        now = self._clock.now()
        afresh = [
            taken_up_again(step, why, now)
            for step in self._store.steps_of(promotion_id)
            if step.kind in WAITED_FOR and step.phase in {StepPhase.FAILED, StepPhase.OVERTAKEN}
        ]
        if not self._store.retry_promotion(promotion_id, now, why, afresh):
            raise ConflictError(f"Promotion {promotion_id} is not failed any more.")
        if promotion.failed_from is not None and promotion.failed_from.is_before_people:
            self._requests.allow_more(promotion_id, why)
        self._wake_ups.promotion(promotion_id)
        return promotion_id

    def replay(self, notification_id: str) -> StoredNotification:
        """Have a notification resolved once more; a repeated one never reopens what has ended.

        Raises:
            NotFoundError: there is no such notification.
        """
        row = self._store.get_notification(notification_id)
        self._store.record_notification(row.source, row.notification, self._clock.now())
        self._wake_ups.notification(notification_id)
        return self._store.get_notification(notification_id)

    def _known(self, gate: Gate, version: ModelVersion) -> list[Promotion]:
        """All promotions of this version for the gate's alias, newest first; also where less was told of it then."""
        every = self._store.promotions_of_version(self._key(gate), version.version, version.model)
        return [each for each in every if version.is_still(each.version)]

    def _key(self, gate: Gate) -> AliasKey:
        return AliasKey(self._registry.name, gate.destination, gate.alias)

    def _begin(self, gate: Gate, subject: Subject, why: str) -> Promotion:
        fresh = requested(
            f"p-{self._chance.token()}",
            self._key(gate),
            gate.name,
            subject,
            reason=why,
            at=self._clock.now(),
        )
        created = self._store.create_promotion(fresh)
        if created is None:
            raise ConflictError(f"v{subject.version.version} of {gate.model} asks for {gate.alias} already.")
        _log.info("promotion %s: %s", created.id, why)
        self._wake_ups.promotion(created.id)
        return created

    def _asked_before(
        self, known: list[Promotion], gate: Gate, found: ModelVersion, job_run_id: str | None, actor: str
    ) -> Subject:
        """The same question as before: whose it was, and from which run, decides who may answer."""
        newest = known[0]
        version = f"v{newest.version.version} of {newest.source_model}"
        for each in known:
            if each.phase.is_open:
                raise ConflictError(f"{version} asks for {each.alias} already: {each.id}.")
            if each.gate != gate.name:
                raise ConflictError(f"{version} belongs to gate {each.gate}.")
            if job_run_id is not None and each.job_run_id != job_run_id:
                raise ConflictError(f"{version} came from job run {each.job_run_id}, not {job_run_id}.")
        before = Subject.of(newest)
        asked = replace(before, found_by=by_hand(actor, before=before.found_by))
        whole = None if found.same_as(newest.version) else found
        subject = _or_conflict(self._subjects.again(gate, asked, whole))
        self._check(gate, subject)
        return subject

    def _check_origin(self, gate: Gate, promotion: Promotion) -> None:
        """Make sure that the version comes from its run, where an earlier release asked for less.

        Raises:
            ConflictError: nothing shows that it does.
            VendorError: Databricks or the registry did not answer or refused.
        """
        if not promotion.origin:
            _or_conflict(self._subjects.again(gate, Subject.of(promotion)))

    def _check(self, gate: Gate, subject: Subject) -> None:
        refused = self._rules.refusal(gate, subject)
        if refused is not None:
            raise ConflictError(refused.reason)


def _or_conflict(found: Subject | Refusal) -> Subject:
    if isinstance(found, Refusal):
        raise (NotToldError if found.unclear else ConflictError)(found.reason)
    return found


def _nothing_to_retry(promotion: Promotion) -> ConflictError:
    return ConflictError(
        f"Promotion {promotion.id} is {promotion.phase.value}: there is nothing to retry.",
        hint=promotion.reason,
    )


def _with_reason(what: str, reason: str | None) -> str:
    return f"{what}: {reason}" if reason else f"{what}."
