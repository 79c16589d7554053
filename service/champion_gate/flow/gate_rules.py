"""What the gates, as they are configured now, say of a version: may it ask, and does its approval still count?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from champion_gate.domain import policy
from champion_gate.domain.copies import job_shown
from champion_gate.domain.evidence import validation_of
from champion_gate.domain.frozen_numbers import judge_again
from champion_gate.domain.gates import Gate, Source, VersionSource
from champion_gate.domain.job_runs import JobRun, RunFacts
from champion_gate.domain.ports.workspace import JobRuns
from champion_gate.domain.promotion import Promotion, Subject
from champion_gate.domain.text import one_line
from champion_gate.errors import GateError, VendorRefusedError
from champion_gate.flow.context import Context
from champion_gate.flow.made_elsewhere import Elsewhere

BY_HAND = "operator "
"""How `found_by` begins where somebody asked by hand."""
_AT_FIRST = "; at first: "

_ALSO_FOUND_BY: Mapping[VersionSource, frozenset[str]] = {
    VersionSource.AUTO: frozenset({VersionSource.TASK_OUTPUT, VersionSource.TAG, VersionSource.MLFLOW_RUN}),
    # A tag that was not simply believed is worth more than one that is.
    VersionSource.TRUSTED_TAG: frozenset({VersionSource.TRUSTED_TAG, VersionSource.TAG}),
}
"""What a gate would find as well, besides what it finds by its own way alone."""


class UnclearError(GateError):
    """It cannot be told at the moment whether a gate may ask for a version; it waits for that."""

    code = "unclear"
    status = 409


@dataclass(frozen=True)
class Refusal:
    """Why a gate does not ask for a version.

    Attributes:
        unclear: it cannot be told at the moment; what has been asked already waits.
    """

    reason: str
    unclear: bool = False


class GateRules:
    """Decides by the gates of now, whoever asks: a notification, an operator, or an approval to be applied."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._identities = context.identities
        self._job_runs = context.job_runs
        self._registry = context.registry
        self._elsewhere = Elsewhere(context)

    def gate_of(self, promotion: Promotion) -> Gate | None:
        """The gate that asked; None if it is not configured any more, or asks for something else by now."""
        return policy.gate_of(promotion, self._gates, self._registry.name)

    def refusal_of_run(self, gate: Gate, job_id: str, run: RunFacts) -> Refusal | None:
        """Why the gate takes no version of this job run; None if it does.

        Raises:
            VendorError: the jobs cannot be listed by their names.
        """
        if not gate.watches_jobs:
            return _takes_only(gate, "versions that no watched job made")
        watched = self._unwatched(gate, job_id, run.job_name)
        if watched is not None:
            return watched
        ignored = policy.ignored_because(run, gate)
        return None if ignored is None else Refusal(ignored)

    def refusal(self, gate: Gate, subject: Subject) -> Refusal | None:
        """Why the gate may not ask for this version; None if it may. The one answer for every way of asking.

        Raises:
            VendorError: the jobs cannot be listed by their names, or the registry did not answer.
        """
        if first_found_by(subject.found_by) == Source.REGISTRY:
            return None if gate.watches_registry else _takes_only(gate, "versions of its jobs")
        return (
            self.refusal_of_run(gate, subject.job_id, subject.run)
            or self._made_by_rivals(gate, subject)
            or _found_otherwise(gate, subject)
        )

    def stale_because(self, promotion: Promotion) -> str | None:
        """Why the gate of now does not stand by this approval; None if it does.

        Raises:
            UnclearError: that cannot be told at the moment.
            VendorError: the jobs cannot be listed by their names, or the registry did not answer.
        """
        gate = self.gate_of(promotion)
        changed = self.settings_changed(promotion)
        if gate is None or changed is not None:
            return changed
        if (unshown := _unvalidated(gate, promotion) or _copied_otherwise(gate, promotion)) is not None:
            return unshown
        again = judge_again(gate.metrics, promotion.evidence_json)
        if again.broken:
            return (
                f"The rules of gate {gate.name} are stricter now than when approval was asked for: "
                f"{'; '.join(again.broken)}."
            )
        if again.unclear:
            raise UnclearError(_not_kept(gate, promotion, again.unclear))
        refused = self.refusal(gate, Subject.of(promotion))
        if refused is not None and refused.unclear:
            raise UnclearError(f"It waits, although it is approved: {refused.reason}")
        if refused is not None:
            return refused.reason
        is_elsewheres = first_found_by(promotion.found_by) == Source.REGISTRY
        return self._elsewhere.left_because(gate, promotion.version) if is_elsewheres else None

    def settings_changed(self, promotion: Promotion) -> str | None:
        """Why nobody may decide on this promotion any more as it was asked; None while that is as it was."""
        gate = self.gate_of(promotion)
        if gate is None:
            return not_configured(promotion)
        if not self._identities.settings_are_those_of(promotion, gate):
            return f"The approval settings of gate {gate.name} have changed since approval was asked for."
        return None

    def _unwatched(self, gate: Gate, job_id: str, job_name: str) -> Refusal | None:
        """Why the gate does not watch this job, or not it alone: anybody may give a second one the same name."""
        if job_id in gate.job_ids:
            return None
        job = f"job {job_id} ({one_line(job_name)})" if job_name else f"job {job_id}"
        for rival in policy.rivals(gate, self._gates.values()):
            if job_id in rival.job_ids:
                return Refusal(
                    f"Gate {gate.name} does not watch {job}, which gate {rival.name} names by its id."
                )
        if job_name not in gate.job_names and (job_name or not gate.job_names):
            return Refusal(f"Gate {gate.name} does not watch {job}.")
        return self._unsure_name(gate, job_id, job_name)

    def _unsure_name(self, gate: Gate, job_id: str, job_name: str) -> Refusal | None:
        """Why the names that the gate gives do not mean this job alone; a renamed one keeps the name that its run had."""
        # Promotions of earlier releases do not say what their job was called.
        for name in [job_name] if job_name else sorted(gate.job_names):
            ids = self._job_runs.jobs_named(name)
            if set(ids) - {job_id} and (job_name or job_id in ids):
                return Refusal(
                    f"{len(ids)} jobs bear the name {name!r} ({', '.join(ids)}), so gate {gate.name} does not say "
                    "which it means. Put the job's id into gates.yaml.",
                    unclear=True,
                )
            if job_name or job_id in ids:
                return None
        return Refusal(
            f"Gate {gate.name} watches jobs by their names, and none of these is the name of job {job_id} now. "
            "Put the job's id into gates.yaml.",
            unclear=True,
        )

    def _made_by_rivals(self, gate: Gate, subject: Subject) -> Refusal | None:
        """Why the version is another gate's, although a job of this one started the job that made it."""
        gates = self._gates.values()
        theirs = [job for job in subject.run.child_jobs if is_rivals(job, gate, gates, self._job_runs)]
        if not theirs:
            return None
        maker = self._maker(subject)
        if maker is not None and maker not in theirs:
            return None
        which = ", ".join(theirs)
        return Refusal(
            f"Job run {subject.job_run_id} started job {which}, which another gate to {gate.alias} watches"
            + (", and it is not known whether that one made the version." if maker is None else "."),
            unclear=maker is None,
        )

    def _maker(self, subject: Subject) -> str | None:
        """The job that the version's MLflow run names; None where that is not told."""
        if subject.version.run_id is None:
            return None
        try:
            return self._registry.get_training_run(subject.version.run_id).job_id
        except VendorRefusedError:
            return None


def without_rivals_tasks(run: JobRun, gate: Gate, gates: Iterable[Gate], job_runs: JobRuns) -> JobRun:
    """The run without the child jobs' tasks whose versions are for another gate to the same alias.

    Whoever may edit a job may have it start another one, and must not choose that one's approvers so.

    Raises:
        VendorError: the jobs cannot be listed by their names.
    """
    children = {task.job_id for task in run.tasks} - {run.job_id}
    if not children:
        return run
    theirs: set[str] = set()
    for rival in policy.rivals(gate, gates):
        theirs |= rival.job_ids
        theirs |= {job_id for name in rival.job_names for job_id in job_runs.jobs_named(name)}
    return replace(run, tasks=tuple(task for task in run.tasks if task.job_id not in children & theirs))


def is_rivals(job_id: str, gate: Gate, gates: Iterable[Gate], job_runs: JobRuns) -> bool:
    """Whether the job's versions are for another gate to the same alias, and not for this one.

    Raises:
        VendorError: the jobs cannot be listed by their names.
    """
    if job_id in gate.job_ids:
        return False
    rivals = policy.rivals(gate, gates)
    return any(
        job_id in rival.job_ids or any(job_id in job_runs.jobs_named(name) for name in rival.job_names)
        for rival in rivals
    )


def _takes_only(gate: Gate, what: str) -> Refusal:
    return Refusal(f"Gate {gate.name} asks only about {what} (source: {gate.source}).")


def _unvalidated(gate: Gate, promotion: Promotion) -> str | None:
    """Why the gate of now does not take what people were shown of a validation; None if it does."""
    if gate.validation is None:
        return None
    shown = validation_of(promotion.evidence_json)
    if shown is not None and gate.validation.is_that_of({**shown["job"], "job": shown["job"]["id"]}):
        return None
    return (
        f"Gate {gate.name} asks for a validation now that people were not shown. To ask afresh: champion-gate "
        f"promotions retry {promotion.id}"
    )


def _copied_otherwise(gate: Gate, promotion: Promotion) -> str | None:
    """Why the gate of now does not have it copied as people were shown; None if it does."""
    if gate.promote_to is None or gate.promote_to.job_id == (job_shown(promotion.evidence_json) or {}).get(
        "id"
    ):
        return None
    return (
        f"Gate {gate.name} names another copying job now than people were shown. To ask afresh: champion-gate "
        f"promotions retry {promotion.id}"
    )


def by_hand(actor: str, *, before: str = "") -> str:
    """What `found_by` says where an operator names the version, and how it was found at first."""
    found = first_found_by(before)
    return f"{BY_HAND}{actor}{_AT_FIRST}{found}" if found else f"{BY_HAND}{actor}"


def first_found_by(found_by: str) -> str:
    """How a version was found at first, whoever has asked for it by hand since."""
    _, again, first = found_by.partition(_AT_FIRST)
    return first if again else found_by


def not_configured(promotion: Promotion) -> str:
    """Why a promotion comes to nothing whose gate is gone, or asks for something else by now."""
    return f"Gate {promotion.gate} is not configured any more."


def _not_kept(gate: Gate, promotion: Promotion, unclear: Iterable[str]) -> str:
    return (
        f"It waits, although it is approved: gate {gate.name} has rules now that cannot be judged by what people were "
        f"shown: {'; '.join(unclear)}. Take them back; or have it asked anew with them: champion-gate promotions "
        f"cancel {promotion.id}, then: champion-gate promotions retry {promotion.id}"
    )


def _found_otherwise(gate: Gate, subject: Subject) -> Refusal | None:
    """Why the gate would not find this version; those that an operator named need not be found."""
    how, version = subject.found_by, subject.version
    takes_any = gate.version is VersionSource.AUTO
    if how.startswith(BY_HAND) or how in _ALSO_FOUND_BY.get(gate.version, {gate.version}):
        return None
    if takes_any and not how:
        return None
    return Refusal(
        f"v{version.version} of {version.model} was found by {how or 'something unknown'}, and gate {gate.name} finds "
        f"versions by {gate.version} now. To ask for it by hand: champion-gate promotions ask"
    )
