"""From a notification to promotions: re-read the job run, find the version that it registered, ask for the alias.

Each gate that watches the job is resolved on its own: what one waits for or fails at stops no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from champion_gate.domain import policy
from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.gates import Gate
from champion_gate.domain.job_runs import JobRun, RunResult
from champion_gate.domain.notifications import (
    JobNotification,
    NotificationPhase,
    Resolution,
    StoredNotification,
)
from champion_gate.domain.promotion import Promotion, Subject, requested
from champion_gate.domain.retry import BUDGET, Retry, next_try
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import (
    ConflictError,
    GateError,
    LeaseLostError,
    UnexpectedError,
    VendorNotFoundError,
)
from champion_gate.flow import candidates
from champion_gate.flow.context import Context
from champion_gate.flow.gate_rules import GateRules, without_rivals_tasks
from champion_gate.flow.lease import now_and_then
from champion_gate.flow.made_elsewhere import Declined, Elsewhere
from champion_gate.flow.sought import LISTED_WITHIN, READY_WITHIN, Found, NotFound, Read, Sought
from champion_gate.flow.subjects import Subjects

_MOST_KEPT = 100
"""Searches whose readings are kept at a time."""
_NOT_COMPARED = "(The notification's workspace was not compared with ours, which does not tell its id: set DATABRICKS_WORKSPACE_ID.)"

_log = logging.getLogger(__name__)


class VersionBusyError(ConflictError):
    """Another version that bore the same number has an open promotion, which is about to end as stale."""

    code = "version_busy"
    retryable = True


@dataclass(frozen=True)
class _Outcome:
    """What one gate came to, and when to look again if it is still open."""

    resolution: Resolution
    due_at: datetime | None = None


class Resolver:
    """Resolves notifications. What it knows is in the rows or at the vendors'; it remembers what failed attempts have read."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._every_gate = tuple(context.gates.values())
        self._has_names = any(gate.job_names for gate in self._every_gate)
        self._rules = GateRules(context)
        self._subjects = Subjects(context)
        self._elsewhere = Elsewhere(context)
        self._store = context.store
        self._job_runs = context.job_runs
        self._registry = context.registry
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._chance = context.chance
        self._together = context.together
        self._waits = context.waits
        self._replicas_differ = context.replicas_differ
        self._read: dict[tuple[str, str], Read] = {}

    def resolve(self, notification_id: str) -> None:
        """Take the notification as far as the world allows. Safe to call at any time, any number of times."""
        taken = self._store.take_notification(notification_id, self._clock.now(), self._waits.lease_seconds)
        if taken is None:
            return
        try:
            told = taken.notification.told_version
            resolved = self._resolve(taken) if told is None else self._resolve_version(taken, *told)
        except LeaseLostError:
            _log.warning("notification %s is in another worker's hands now", notification_id)
            return
        except GateError as error:
            resolved = self._put_off(taken, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not strand a run
            _log.exception("notification %s met an error of our own", notification_id)
            resolved = self._put_off(taken, UnexpectedError.of(error))
        try:
            stored = self._store.release_notification(resolved, self._clock.now())
        except LeaseLostError:
            _log.warning("notification %s is in another worker's hands now", notification_id)
            return
        _log.info("notification %s is %s: %s", stored.id, stored.phase.value, stored.reason)
        if stored.phase is NotificationPhase.RECEIVED:
            self._wake_ups.notification(stored.id)

    def unwatched(self, hint: JobNotification) -> str | None:
        """Why no gate can want this notification, as far as that can be told without a call; else None.

        What it says of the job's name is a hint too, so where gates name jobs the run has to be read.
        """
        if self._has_names or policy.gates_of_job(self._every_gate, hint.job_id, ""):
            return None
        if self._replicas_differ() is not None:  # another replica's may want it
            return None
        return f"No gate watches job {hint.job_id} ({hint.job_name})."

    def _resolve(self, taken: StoredNotification) -> StoredNotification:
        hint = taken.notification
        if (unwatched := self.unwatched(hint)) is not None:
            return _closed(taken, NotificationPhase.IGNORED, unwatched)
        keep = now_and_then(
            lambda: self._store.keep_notification(taken, self._clock.now(), self._waits.lease_seconds),
            self._clock,
            self._waits,
        )
        ours = self._job_runs.workspace_id()
        # The sweep's own notifications bear no id where it was not known: they come from our own lists.
        if ours is not None and hint.workspace_id not in {ours, ""}:
            reason = f"It is from workspace {hint.workspace_id}; this service watches {ours}."
            return _closed(taken, NotificationPhase.IGNORED, reason)
        run = self._job_runs.get_run(hint.job_run_id, probably_of=hint.job_id)
        taken = replace(taken, job_run=run)
        gates = policy.gates_of_job(self._every_gate, run.job_id, run.job_name)
        if (untold := self._untold(taken, run, gates)) is not None:
            return self._look_again(taken, untold)
        if not gates:
            reason = f"Run {run.run_id} belongs to job {run.job_id} ({run.job_name}), which no gate watches."
            return _closed(taken, NotificationPhase.IGNORED, reason)
        unended = self._waits_for_end(taken, run)
        if unended is not None:
            return self._look_again(taken, unended)
        outcomes = [
            self._resolve_gate(taken, gate, partial(self._ask_for_alias, taken, run, gate, keep))
            for gate in gates
        ]
        summed_up = _summed_up(taken, outcomes)
        return (
            summed_up
            if ours is not None
            else replace(summed_up, reason=f"{summed_up.reason} {_NOT_COMPARED}")
        )

    def _untold(self, taken: StoredNotification, run: JobRun, gates: Sequence[Gate]) -> str | None:
        """Why it cannot be told yet which gates watch the job; None where it can."""
        # Asked once the run has ended: a replica says what it reads before it notes since when it watches.
        if (differ := self._replicas_differ()) is not None:
            return differ
        if not gates and not run.job_name and self._has_names and self._may_appear(taken, run):
            return f"Databricks does not tell the name of job {run.job_id} at the moment."
        return None

    def _waits_for_end(self, taken: StoredNotification, run: JobRun) -> str | None:
        """Why it cannot be told yet how the run ended; None where it can, or is not expected to be any more."""
        if run.result is RunResult.RUNNING or run.end is None:
            return f"Run {run.run_id} has not ended yet ({run.result_detail})."
        if run.result is RunResult.UNKNOWN and self._may_appear(taken, run):
            return f"How run {run.run_id} ended is not known ({run.result_detail})."
        return None

    def _may_appear(self, taken: StoredNotification, run: JobRun) -> bool:
        """Whether what is missing of a run may only be late; also where we were told of it late."""
        return run.end is None or self._clock.now() < max(run.end, taken.last_received_at) + READY_WITHIN

    def _resolve_version(self, taken: StoredNotification, model: str, number: str) -> StoredNotification:
        """For a version that appeared in the registry."""
        if (differ := self._replicas_differ()) is not None:
            return self._look_again(taken, differ)
        gates = self._elsewhere.gates_of(model)
        if not gates:
            reason = f"No gate asks about versions of {model} that no watched job made."
            return _closed(taken, NotificationPhase.IGNORED, reason)
        try:
            version = self._registry.get_version(model, number)
        except VendorNotFoundError as missing:
            reason = f"v{number} of {model} is not there: {missing.message}"
            if self._clock.now() < taken.last_received_at + LISTED_WITHIN:
                return self._look_again(taken, reason)
            return _closed(taken, NotificationPhase.UNRESOLVED, reason)
        outcomes = [
            self._resolve_gate(taken, gate, partial(self._ask_for_version, taken, gate, version))
            for gate in gates
        ]
        return _summed_up(taken, outcomes)

    def _ask_for_version(
        self, taken: StoredNotification, gate: Gate, version: ModelVersion, fresh: Resolution
    ) -> _Outcome:
        """Ask about a version that no watched job made."""
        fresh = replace(fresh, retry=Retry())
        named = f"v{version.version} of {version.model}"
        made, since = version.created_at, self._elsewhere.first_seen(gate)
        if made is None:
            return _unresolved(fresh, f"The registry does not tell when {named} was made.")
        if made < since:
            reason = (
                f"{named} was made before gate {gate.name} began to look, at {since:%Y-%m-%d %H:%M:%S} UTC."
            )
            return _Outcome(replace(fresh, phase=NotificationPhase.IGNORED, reason=reason))
        if version.status is not VersionStatus.READY:
            return self._not_ready(fresh, made, version, "Register it again.")
        subject = self._elsewhere.subject(gate, version)
        if isinstance(subject, Declined):
            declined = replace(fresh, phase=subject.phase, reason=subject.reason)
            now = self._clock.now()
            again = now + self._interval(now - taken.last_received_at) if subject.phase.is_open else None
            return _Outcome(declined, again)
        return self._resolved(fresh, self._promotion(gate, subject))

    def _resolve_gate(
        self, taken: StoredNotification, gate: Gate, ask: Callable[[Resolution], _Outcome]
    ) -> _Outcome:
        before = next((r for r in taken.resolutions if r.gate == gate.name), None)
        if before is not None and not before.phase.is_open and before.count == taken.count:
            return _Outcome(before)
        fresh = Resolution(gate=gate.name, count=taken.count, phase=NotificationPhase.WAITING, reason="")
        if before is not None and before.count == taken.count:
            fresh = replace(fresh, retry=replace(before.retry, last_error=None))
        try:
            outcome = ask(fresh)
        except LeaseLostError:
            raise
        except GateError as error:
            outcome = self._put_off_gate(taken, fresh, error)
        if outcome.resolution.retry.attempts == 0 or len(self._read) > _MOST_KEPT:
            self._read.pop((taken.id, gate.name), None)  # only what failed goes on where it was
        self._store.save_resolution(taken, outcome.resolution)
        return outcome

    def _ask_for_alias(
        self,
        taken: StoredNotification,
        run: JobRun,
        gate: Gate,
        keep: Callable[[], None],
        fresh: Resolution,
    ) -> _Outcome:
        keep()
        # What failed began another row of errors; what was missing has been so since.
        missing_since = fresh.retry.failing_since if fresh.retry.attempts == 0 else None
        fresh = replace(fresh, retry=Retry())
        if gate.watches_registry and (run.tells_of_versions or not gate.watches_jobs):
            self._elsewhere.look(gate.model)
            told = f"Run {run.run_id} tells that {gate.model} has changed; new versions of it are looked at by themselves."
            return _Outcome(replace(fresh, phase=NotificationPhase.IGNORED, reason=told))
        refused = self._rules.refusal_of_run(gate, run.job_id, run.facts())
        if refused is not None:
            phase = NotificationPhase.UNRESOLVED if refused.unclear else NotificationPhase.IGNORED
            return _Outcome(replace(fresh, phase=phase, reason=refused.reason))
        own = without_rivals_tasks(run, gate, self._gates.values(), self._job_runs)
        found = self._find(taken, own, gate, keep)
        if isinstance(found, NotFound):
            unlisted = candidates.why_nothing_is_listed(self._registry, gate.model, gate.alias)
            reason = f"{found.reason} {unlisted}".strip()
            if not found.may_appear:
                return _unresolved(fresh, reason)
            return self._missing(fresh, reason, missing_since, taken.last_received_at)
        if found.version.status is not VersionStatus.READY:
            return self._not_ready(fresh, run.end, found.version, "Run the job again.")
        subject = self._subjects.behind(found.linked, run, own, found.by.value)
        return self._resolved(fresh, self._promotion(gate, subject))

    def _resolved(self, fresh: Resolution, promotion: Promotion) -> _Outcome:
        resolved = replace(
            fresh,
            phase=NotificationPhase.RESOLVED,
            reason=f"{promotion.source_model} v{promotion.version.version} asks for {promotion.alias}: {promotion.id}.",
            promotion_id=promotion.id,
        )
        return _Outcome(resolved)

    def _find(
        self, taken: StoredNotification, own: JobRun, gate: Gate, keep: Callable[[], None]
    ) -> Found | NotFound:
        return candidates.find_version(
            Sought(
                gate,
                own,
                self._every_gate,
                self._job_runs,
                self._registry,
                self._clock.now(),
                read=self._read.setdefault((taken.id, gate.name), Read()),
                go_on=keep,
                together=self._together,
            )
        )

    def _missing(
        self, fresh: Resolution, reason: str, missing_since: datetime | None, received_at: datetime
    ) -> _Outcome:
        """Unresolved once it has been looked for again for minutes: the registry's list may lag behind, or be cut short."""
        now = self._clock.now()
        since = missing_since or now
        # A registry that fails in between begins that anew, but not for ever.
        until = min(since + LISTED_WITHIN, received_at + BUDGET)
        if now >= until:
            return _unresolved(fresh, reason)
        why = f"{reason} It is looked for again until {until:%H:%M:%S} UTC."
        waiting = replace(
            fresh, phase=NotificationPhase.WAITING, reason=why, retry=Retry(failing_since=since)
        )
        return _Outcome(waiting, min(now + self._interval(now - since), until))

    def _not_ready(
        self, fresh: Resolution, made_until: datetime | None, version: ModelVersion, again: str
    ) -> _Outcome:
        now = self._clock.now()
        named = f"{version.model} v{version.version} is {version.status.value}"
        ended = made_until or now
        may_heal = version.status in {VersionStatus.PENDING, VersionStatus.UNKNOWN}
        if may_heal and now < ended + READY_WITHIN:
            waiting = replace(
                fresh, phase=NotificationPhase.WAITING, reason=f"{named}; waiting until it is ready."
            )
            return _Outcome(waiting, now + self._interval(now - ended))
        return _unresolved(fresh, f"{named}, not ready. Was the upload cut short? {again}")

    def _promotion(self, gate: Gate, subject: Subject) -> Promotion:
        """The promotion of this version for this alias: the one there is, open or ended, or a new one.

        The one there is also where less was told of the version then: whoever advances it takes up what is told now.

        Raises:
            VendorUnavailableError: the registry tells less than before, so it may be the one there is.
        """
        key, version = AliasKey(self._registry.name, gate.destination, gate.alias), subject.version
        for known in self._store.promotions_of_version(key, version.version, version.model):
            if version.is_still(known.version):
                if known.phase.is_before_people:  # what kept it waiting may have been mended
                    self._store.hint_promotion(known.id, self._clock.now())
                    self._wake_ups.promotion(known.id)
                return known
            version.check_told(known.version, self._registry.name)
        fresh = requested(
            f"p-{self._chance.token()}",
            key,
            gate.name,
            subject,
            reason="Newly found.",
            at=self._clock.now(),
        )
        created = self._store.create_promotion(fresh)
        if created is None:
            return self._promotion_made_meanwhile(key, version)
        self._wake_ups.promotion(created.id)
        return created

    def _promotion_made_meanwhile(self, key: AliasKey, version: ModelVersion) -> Promotion:
        """The open one of this version that another worker has just made; raises VersionBusyError where there is none."""
        known = self._store.promotions_of_version(key, version.version, version.model)
        for promotion in known:
            if version.is_still(promotion.version):
                return promotion
        for promotion in known:
            if promotion.phase.is_open:
                self._store.hint_promotion(promotion.id, self._clock.now())
                self._wake_ups.promotion(promotion.id)
        raise VersionBusyError(
            f"An earlier version with the number {version.version} still asks for {key.alias} of {key.model}."
        )

    def _look_again(self, taken: StoredNotification, why: str) -> StoredNotification:
        now = self._clock.now()
        return replace(
            taken,
            phase=NotificationPhase.WAITING,
            reason=why,
            due_at=now + self._interval(now - taken.last_received_at),
            retry=Retry(),
        )

    def _interval(self, waited: timedelta) -> timedelta:
        """How long until the next look: as long as has been waited already, within bounds."""
        return min(max(waited, self._waits.run_look), self._waits.run_look_longest)

    def _put_off(self, taken: StoredNotification, error: GateError) -> StoredNotification:
        retry, due_at = self._next_try(error, taken.retry)
        if due_at is None:
            failed = _closed(taken, NotificationPhase.FAILED, _failed(taken, error))
            return replace(failed, retry=Retry(last_error=retry.last_error))
        why = f"Trying again: {error}"
        return replace(taken, phase=NotificationPhase.WAITING, reason=why, due_at=due_at, retry=retry)

    def _put_off_gate(self, taken: StoredNotification, fresh: Resolution, error: GateError) -> _Outcome:
        retry, due_at = self._next_try(error, fresh.retry)
        tried = replace(fresh, retry=retry)
        if due_at is None:
            return _Outcome(replace(tried, phase=NotificationPhase.FAILED, reason=_failed(taken, error)))
        waiting = replace(tried, phase=NotificationPhase.WAITING, reason=f"Trying again: {error}")
        return _Outcome(waiting, due_at)

    def _next_try(self, error: GateError, before: Retry) -> tuple[Retry, datetime | None]:
        return next_try(error, before, now=self._clock.now(), fraction=self._chance.fraction())


def _unresolved(fresh: Resolution, reason: str) -> _Outcome:
    return _Outcome(replace(fresh, phase=NotificationPhase.UNRESOLVED, reason=reason))


def _failed(taken: StoredNotification, error: GateError) -> str:
    return f"{error} Mend the cause, then: champion-gate notifications replay {taken.id}"


def _closed(taken: StoredNotification, phase: NotificationPhase, reason: str) -> StoredNotification:
    return replace(taken, phase=phase, reason=reason, due_at=None, retry=Retry())


def _summed_up(taken: StoredNotification, outcomes: list[_Outcome]) -> StoredNotification:
    """The notification stands where the gate stands that most needs somebody's attention."""
    worst_first = [
        NotificationPhase.WAITING,
        NotificationPhase.FAILED,
        NotificationPhase.UNRESOLVED,
        NotificationPhase.RESOLVED,
        NotificationPhase.IGNORED,
    ]
    phases = {outcome.resolution.phase for outcome in outcomes}
    phase = next(phase for phase in worst_first if phase in phases)
    reason = " ".join(f"{outcome.resolution.gate}: {outcome.resolution.reason}" for outcome in outcomes)
    due = [outcome.due_at for outcome in outcomes if outcome.due_at is not None]
    closed = _closed(taken, phase, reason)
    return replace(closed, due_at=min(due) if due else None)
