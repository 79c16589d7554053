"""From `requested` to `pending_approval`: is the version eligible, is the place safe, is it valid; then ask people once.

Here the evidence is frozen; `ApprovalRequests` asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from champion_gate.domain import evidence, policy
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.copies import job_shown, unfit_because
from champion_gate.domain.gates import Gate, NewerVersion, Rights
from champion_gate.domain.jobs import Job
from champion_gate.domain.promotion import Phase, Promotion, Subject, about, correlation_id
from champion_gate.domain.validation import job_facts
from champion_gate.domain.versions import ModelVersion
from champion_gate.errors import (
    UnsafeTargetError,
    VendorError,
    VendorNotFoundError,
    VendorUnavailableError,
)
from champion_gate.flow.apply_approval import Approvals
from champion_gate.flow.approval_requests import MOST_STARTS, ApprovalRequests
from champion_gate.flow.comparison import Compared, Comparison
from champion_gate.flow.context import Context
from champion_gate.flow.copy_runs import parameters_of
from champion_gate.flow.gate_rules import GateRules, Refusal, not_configured
from champion_gate.flow.identities import Excluded
from champion_gate.flow.lease import Lease
from champion_gate.flow.subjects import Subjects, is_somebody_unknown
from champion_gate.flow.validations import Validations

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where people decide, found safe, and who of them may not.

    Attributes:
        asked: the promotion, with what an earlier release did not ask for.
        copier: the job that is to copy what people approve; None where none does.
    """

    asked: Promotion
    excluded: Excluded
    nobody: tuple[str, ...]
    pins: Mapping[str, str]
    settings_sha256: str
    copier: Job | None


@dataclass(frozen=True)
class _NotYet:
    """Why people cannot be asked at the moment, of a promotion with what is known of it by now."""

    asked: Promotion
    reason: str
    again: timedelta


class RequestOpener:
    """Brings a requested promotion before people, or says why not."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._rules = GateRules(context)
        self._store = context.store
        self._registry = context.registry
        self._providers = context.providers
        self._subjects = Subjects(context)
        self._approvals = Approvals(context)
        self._comparison = Comparison(context)
        self._identities = context.identities
        self._jobs = context.jobs
        self._clock = context.clock
        self._lease = Lease(context)
        self._requests = ApprovalRequests(context)
        self._validations = Validations(context)
        self._together = context.together
        self._waits = context.waits

    def open(self, taken: Promotion) -> None:
        """Take a requested promotion as far as an open request, an end, or the reason why it waits."""
        found = self._requests.search(taken)
        if found is None:
            return
        gate = policy.gate_of(taken, self._gates, self._registry.name)
        if taken.end_request is not None:
            self._lease.end(taken, taken.end_request.phase, taken.end_request.reason)
        elif gate is None:
            self._lease.end(taken, Phase.STALE, not_configured(taken))
        elif taken.request is not None and self._clock.now() > taken.request.expires_at:
            self._lease.end(taken, Phase.EXPIRED, _never_seen(taken.request))
        elif (newer := self.newer_request(taken, gate)) is not None:
            self._lease.end(
                taken, Phase.SUPERSEDED, f"v{newer.version.version} asks for {taken.alias} already."
            )
        elif taken.phase is Phase.VALIDATING and not self._validations.has_passed(taken, gate):
            pass
        elif (held_up := self._held_up(taken, gate)) is None and self._requests.may_ask(taken):
            self._freeze_and_ask(taken, gate)
        elif self._is_over(
            taken, gate, lambda: self._approvals.version_changed(taken), lambda: self._refused(taken, gate)
        ):
            pass
        elif held_up is not None:
            self._lease.wait(taken, held_up.reason, held_up.again)
        else:
            self._requests.wait_for_operator(taken, found)

    def newer_request(self, taken: Promotion, gate: Gate) -> Promotion | None:
        """A higher version that people are asked about for the same alias, where the gate lets it supersede."""
        if gate.newer_version is not NewerVersion.SUPERSEDE:
            return None
        for other in self._store.open_promotions(taken.alias_key):
            if not other.phase.is_before_people and taken.is_overtaken_by(other):
                return other
        return None

    def _refused(self, taken: Promotion, gate: Gate) -> Refusal | None:
        """Why the gate does not ask for it any more."""
        return self._rules.refusal(gate, Subject.of(taken))

    def _changed(self, taken: Promotion, read: Callable[[], Compared]) -> str | None:
        """Why it is another version by now; what was read to compare it shows that, or it is read by itself."""
        try:
            shown = read().candidate.version
        except VendorError:
            shown = None
        return self._approvals.version_changed(taken, shown)

    def _is_over(
        self,
        taken: Promotion,
        gate: Gate,
        changed: Callable[[], str | None],
        refused: Callable[[], Refusal | None],
    ) -> bool:
        """Whether the turn is over, as it is another version by now, or the gate does not ask for it."""
        if (why := changed()) is None:
            refusal = refused()
        elif (whole := self._told_whole(taken)) is None:
            self._lease.end(taken, Phase.STALE, why)
            return True
        else:
            before = Subject.of(taken)
            subject = self._subjects.again(gate, before, whole)
            if not isinstance(subject, Refusal):
                known = replace(about(taken, subject), version=whole)
                self._lease.wait(known, "The registry tells more of it by now.", self._waits.look_soon)
                return True
            # Only the gate's rules end it: what is read of run and people may be otherwise a moment later.
            rule = self._rules.refusal(gate, replace(before, version=whole))
            refusal = rule or Refusal(_unread(taken, subject), unclear=True)
        if refusal is None:
            return False
        if refusal.unclear:
            self._lease.wait(taken, refusal.reason, self._waits.recheck)
        else:
            self._lease.end(taken, Phase.STALE, refusal.reason)
        return True

    def _told_whole(self, taken: Promotion) -> ModelVersion | None:
        """The same version, of which less was told when it was found, and about which nobody has been asked yet."""
        try:
            shown = self._registry.get_version(taken.version.model, taken.version.version)
        except VendorNotFoundError:
            return None
        return shown if taken.request is None and shown.completes(taken.version) else None

    def _held_up(self, taken: Promotion, gate: Gate) -> _NotYet | None:
        """Nobody is asked for what would have to wait: for a hold's release, or for the right to move the alias."""
        known = self._store.known_alias(taken.alias_key)
        if known is None:
            return None
        if known.hold is not None:
            why = f"{taken.alias} of {taken.model} is {known.hold}."
            return _NotYet(taken, why, self._waits.recheck_seldom)
        if known.refused is not None and gate.rights is Rights.CHECK:
            return _NotYet(taken, _may_not_move(taken, known.refused), self._waits.recheck)
        return None

    def _freeze_and_ask(self, taken: Promotion, gate: Gate) -> None:
        """Freeze the evidence, make sure that the approval will be protected, and open the request."""
        # Read before the alias is, so that no move of the alias from then on is missed.
        ledger_line = self._store.ledger_head().number
        if taken.request is not None:  # it has been looked for
            self._lease.keep(taken)
        keep = self._lease.keeper(taken)
        refused, read, looked = self._together.outcomes(
            lambda: self._refused(taken, gate),
            lambda: self._comparison.read(taken, keep),
            lambda: self._look_at_place(taken, gate, keep),
        )
        if self._is_over(taken, gate, lambda: self._changed(taken, read), refused):
            return
        compared = self._compared(taken, gate, read())
        if compared is None:
            return
        place = looked()
        if isinstance(place, _NotYet):
            self._lease.wait(place.asked, place.reason, place.again)
            return
        known = place.asked
        if gate.validation is not None and known.phase is Phase.REQUESTED:
            self._validations.begin(known, gate.validation)
            return
        before = known.request
        if before is not None and self._shows_the_same(known, before, compared, place):
            self._requests.open(known, before)
            return
        now = self._clock.now()
        frozen = self._frozen(known, gate, compared, place, now)
        request = ApprovalRequest(
            provider=gate.approval.provider,
            intent_at=now,
            expires_at=now + gate.expires_after,
            pins=place.pins,
            place=gate.approval.words(),
            seats=gate.approval.seats,
            ledger_line=ledger_line,
            correlation_id=correlation_id(known.id, frozen.evidence_sha256 or ""),
            starts=before.starts if before is not None else 0,
            most_starts=before.most_starts if before is not None else MOST_STARTS,
        )
        self._requests.open(frozen, request)

    def _compared(self, taken: Promotion, gate: Gate, read: Compared) -> Compared | None:
        """The same; None where the gate's rules forbid to ask: then it has ended."""
        unread = policy.unread_because(gate, read.candidate, read.champion)
        since = taken.retry.failing_since
        if unread and (since is None or self._clock.now() < since + self._waits.numbers):
            raise VendorUnavailableError(self._registry.name, f"{unread}.")
        reason = policy.ineligible_because(
            gate,
            read.candidate,
            read.champion,
            None if read.validated is None else read.validated.reported,
            is_validated=gate.validation is None or taken.phase is Phase.VALIDATING,
            made_of=read.made_of,
        )
        if reason is not None:
            ended = replace(taken, champion_version=read.champion_version)
            self._lease.end(ended, Phase.INELIGIBLE, reason)
            return None
        return read

    def _look_at_place(self, taken: Promotion, gate: Gate, keep: Callable[[], None]) -> _Place | _NotYet:
        """Who may not decide, and what protects the decision; or what is not as it must be."""
        subject = self._subjects.again(gate, Subject.of(taken))
        if isinstance(subject, Refusal):
            return _NotYet(taken, _unread(taken, subject), self._waits.recheck_seldom)
        asked = about(taken, subject)
        identities = policy.identify(gate, asked.trainers)
        if identities.missing:
            unknown = is_somebody_unknown(asked.trainers)
            again = self._waits.recheck_seldom if unknown else self._waits.recheck
            return _NotYet(asked, " ".join(identities.missing), again)
        keep()
        copier = self._copier(asked, gate)
        if isinstance(copier, str):
            return _NotYet(asked, copier, self._waits.recheck)
        provider = self._providers[gate.approval.provider]
        looked_up, checked = self._together.outcomes(
            lambda: self._identities.excluded(
                gate, asked.trainers, lambda login: provider.find_person(gate.approval, login)
            ),
            lambda: provider.check_place(gate.approval, gate.expires_after),
        )
        try:
            excluded = looked_up()
            if excluded.problems:
                return _NotYet(asked, " ".join(excluded.problems), self._waits.recheck)
            pins = checked()
        except UnsafeTargetError as unsafe:
            return _NotYet(asked, f"The place for approval is not safe: {unsafe}", self._waits.recheck)
        nobody = excluded.without_accounts(identities.nobody)
        return _Place(asked, excluded, nobody, pins, gate.approval_sha256(excluded.accounts), copier)

    def _copier(self, asked: Promotion, gate: Gate) -> Job | str | None:
        """The job that is to copy what people approve, or why it may not; None where none does."""
        if gate.promote_to is None or gate.promote_to.job_id is None:
            return None
        job = self._jobs.describe(gate.promote_to.job_id)
        return unfit_because(job, parameters_of(asked), asked.trainers) or job

    def _frozen(
        self, taken: Promotion, gate: Gate, compared: Compared, place: _Place, at: datetime
    ) -> Promotion:
        """With the evidence that people are to see."""
        champion_version, champion = compared.champion_version, compared.champion
        asked = replace(taken, champion_version=champion_version, excluded=place.excluded.people)
        document = evidence.collect(
            asked,
            gate,
            compared.candidate,
            champion,
            nobody=place.nobody,
            champion_since=self._comparison.champion_since(taken, champion_version),
            version_url=self._registry.version_url(taken.version),
            frozen_at=at,
            gone_version=champion_version if champion is None else None,
            validated=compared.validated,
            copied=_copied(asked, compared, place),
        )
        text = evidence.canonical_json(document)
        return replace(
            asked,
            evidence_json=text,
            evidence_sha256=evidence.sha256_of(text),
            approval_sha256=place.settings_sha256,
        )

    def _shows_the_same(
        self, taken: Promotion, before: ApprovalRequest, compared: Compared, place: _Place
    ) -> bool:
        """Whether all that the frozen evidence rests on, besides the version, is as it was: it is shown again."""
        frozen = (taken.champion_version, taken.approval_sha256, taken.excluded, dict(before.pins))
        now = (compared.champion_version, place.settings_sha256, place.excluded.people, dict(place.pins))
        unhashed = not before.correlation_id
        sha256 = None if compared.validated is None else compared.validated.sha256
        validated_alike = evidence.validation_sha256(taken.evidence_json) == sha256
        copier = None if place.copier is None else job_facts(place.copier)
        return (
            frozen == now
            and validated_alike
            and job_shown(taken.evidence_json) == copier
            and not unhashed
            and self._approvals.moved_and_back(taken) is None
        )


def _copied(asked: Promotion, compared: Compared, place: _Place) -> dict[str, Any] | None:
    """What people are shown of the copy that would get the alias; None where the version itself would."""
    if not asked.is_copied:
        return None
    return {
        "source_model": asked.source_model,
        "job": None if place.copier is None else job_facts(place.copier),
        "champion_made_of": compared.made_of and asdict(compared.made_of),
    }


def _unread(taken: Promotion, refusal: Refusal) -> str:
    return f"{refusal.reason} To withdraw the request: champion-gate promotions cancel {taken.id}"


def _may_not_move(taken: Promotion, refused: str) -> str:
    return (
        f"Nobody is asked, as the registry does not let the service move {taken.alias} of {taken.model}: {refused} Then: "
        f"champion-gate doctor --write-probe --gate {taken.gate} (rights: assume on the gate asks all the same)."
    )


def _never_seen(request: ApprovalRequest) -> str:
    return (
        f"Approval was asked for, and until {request.expires_at:%Y-%m-%d %H:%M} UTC no request has appeared "
        f"at {request.provider}."
    )
