"""From `requested` to `pending_approval`: is the version eligible, is the place safe, then ask people once.

Here the evidence is frozen; `Opening` asks.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from champion_gate.domain import evidence, policy
from champion_gate.domain.aliases import Hold
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.correlation import correlation_id
from champion_gate.domain.gates import Gate, NewerVersion
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.promotion import Phase, Promotion, Subject, about
from champion_gate.domain.versions import VersionDetails
from champion_gate.errors import (
    UnsafeTargetError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate.flow.alias_writer import AliasWriter
from champion_gate.flow.apply_approval import Approvals
from champion_gate.flow.context import Context
from champion_gate.flow.gate_rules import GateRules, Refusal, not_configured
from champion_gate.flow.lease import Lease
from champion_gate.flow.opening import MOST_STARTS, Opening
from champion_gate.flow.subjects import Subjects, is_somebody_unknown

_log = logging.getLogger(__name__)


class Requesting:
    """Prepares approval requests, and decides whether one whose fate is not known is asked again."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._rules = GateRules(context)
        self._store = context.store
        self._registry = context.registry
        self._providers = context.providers
        self._subjects = Subjects(context)
        self._approvals = Approvals(context)
        self._alias_writer = AliasWriter(context)
        self._identities = context.identities
        self._clock = context.clock
        self._lease = Lease(context)
        self._opening = Opening(context)
        self._waits = context.waits

    def request(self, taken: Promotion) -> None:
        """Take a requested promotion as far as an open request, an end, or the reason why it waits."""
        found = self._opening.search(taken)
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
        elif (changed := self._approvals.version_changed(taken)) is not None:
            self._lease.end(taken, Phase.STALE, changed)
        elif (refused := self._rules.refusal(gate, Subject.of(taken))) is not None:
            self._refused(taken, refused)
        elif (hold := self._hold(taken)) is not None:
            self._lease.wait(taken, f"{taken.alias} of {taken.model} is {hold}.", self._waits.recheck_seldom)
        elif self._opening.may_ask(taken):
            self._freeze_and_ask(taken, gate)
        else:
            self._opening.wait_for_operator(taken, found)

    def allow_more_starts(self, promotion_id: str, why: str) -> bool:
        """Let an operator have a request opened again that was opened as often as it may be; whether it waits for that."""
        return self._opening.allow_more(promotion_id, why)

    def newer_request(self, taken: Promotion, gate: Gate) -> Promotion | None:
        """A higher version that people are asked about for the same alias, where the gate lets it supersede."""
        if gate.newer_version is not NewerVersion.SUPERSEDE:
            return None
        asked = {Phase.PENDING_APPROVAL, Phase.APPROVED}
        for other in self._store.open_promotions(taken.alias_key):
            if other.phase in asked and other.version.number > taken.version.number:
                return other
        return None

    def _refused(self, taken: Promotion, refused: Refusal) -> None:
        if refused.unclear:
            self._lease.wait(taken, refused.reason, self._waits.recheck)
        else:
            self._lease.end(taken, Phase.STALE, refused.reason)

    def _hold(self, taken: Promotion) -> Hold | None:
        """A hold on the alias: nobody is asked for what would have to wait; a release wakes those that wait."""
        known = self._store.known_alias(taken.alias_key)
        return None if known is None else known.hold

    def _freeze_and_ask(self, taken: Promotion, gate: Gate) -> None:
        """Freeze the evidence, make sure that the approval will be protected, and open the request."""
        # Read before the alias is, so that no move of the alias from then on is missed.
        ledger_line = self._store.ledger_head().number
        subject = self._subjects.again(gate, Subject.of(taken))
        if isinstance(subject, Refusal):
            why = f"{subject.reason} To withdraw the request: champion-gate promotions cancel {taken.id}"
            self._lease.wait(taken, why, self._waits.recheck_seldom)
            return
        taken = about(taken, subject)
        self._lease.keep(taken)
        candidate = self._registry.get_details(taken.version)
        champion_version = self._alias_writer.stands(taken.alias_key)
        champion = self._champion(taken, champion_version)
        unread = policy.unread_because(gate, candidate, champion)
        if unread and (
            taken.failing_since is None or self._clock.now() < taken.failing_since + self._waits.numbers
        ):
            raise VendorUnavailableError(self._registry.name, f"{unread}.")
        reason = policy.ineligible_because(gate, candidate, champion)
        if reason is not None:
            self._lease.end(replace(taken, champion_version=champion_version), Phase.INELIGIBLE, reason)
            return
        identities = policy.identify(gate, taken.trainers)
        if identities.missing:
            unknown = is_somebody_unknown(taken.trainers)
            again = self._waits.recheck_seldom if unknown else self._waits.recheck
            self._lease.wait(taken, " ".join(identities.missing), again)
            return
        provider = self._providers[gate.approval.provider]
        self._lease.keep(taken)
        try:
            excluded = self._identities.excluded(
                gate, taken.trainers, lambda login: provider.find_person(gate.approval, login)
            )
            if excluded.problems:
                self._lease.wait(taken, " ".join(excluded.problems), self._waits.recheck)
                return
            self._lease.keep(taken)
            pins = provider.check_place(gate.approval, gate.expires_after)
        except UnsafeTargetError as unsafe:
            self._lease.wait(taken, f"The place for approval is not safe: {unsafe}", self._waits.recheck)
            return
        before = taken.request
        settings_sha256 = gate.approval_sha256(excluded.accounts)
        asked = (champion_version, settings_sha256, excluded.people, dict(pins))
        if before is not None and asked == _asked_before(taken, before) and not self._is_outdated(taken):
            self._opening.ask(taken, before)
            return
        now = self._clock.now()
        document = evidence.collect(
            gate=gate,
            registry=taken.registry,
            promotion_id=taken.id,
            job_id=taken.job_id,
            job_run_id=taken.job_run_id,
            job_url=taken.job_url,
            found_by=taken.found_by,
            origin=taken.origin,
            trainers=taken.trainers,
            excluded=excluded.people,
            nobody=excluded.without_accounts(identities.nobody),
            candidate=candidate,
            champion=champion,
            champion_since=self._champion_since(taken, champion_version),
            version_url=self._registry.version_url(taken.version),
            frozen_at=now,
            gone_version=champion_version if champion is None else None,
        )
        text = evidence.canonical_json(document)
        digest = evidence.sha256_of(text)
        request = ApprovalRequest(
            provider=gate.approval.provider,
            intent_at=now,
            expires_at=now + gate.expires_after,
            pins=pins,
            place=gate.approval.words(),
            seats=gate.approval.seats,
            ledger_line=ledger_line,
            correlation_id=correlation_id(taken.id, digest),
            starts=before.starts if before is not None else 0,
            most_starts=before.most_starts if before is not None else MOST_STARTS,
        )
        frozen = replace(
            taken,
            champion_version=champion_version,
            evidence_json=text,
            evidence_sha256=digest,
            approval_sha256=settings_sha256,
            excluded=excluded.people,
        )
        self._opening.ask(frozen, request)

    def _is_outdated(self, taken: Promotion) -> bool:
        """Whether people must see fresh evidence although Champion and settings are those that were frozen."""
        unhashed = taken.request is not None and not taken.request.correlation_id
        return unhashed or self._approvals.moved_and_back(taken) is not None

    def _champion(self, taken: Promotion, version: str | None) -> VersionDetails | None:
        """The Champion to compare with; None also where the alias stands on a version that is gone.

        Its MLflow run may be long deleted, or in another workspace: then what that alone says is shown as
        missing, and the reviewer judges without it.
        """
        if version is None:
            return None
        try:
            champion = self._registry.get_version(taken.model, version)
        except VendorNotFoundError as error:
            self._approvals.check_gone(taken, version, error)
            return None
        try:
            return self._registry.get_details(champion)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            _log.warning("the MLflow run of Champion %s v%s cannot be read: %s", taken.model, version, error)
            return self._without_run(VersionDetails(champion, {}, None, unread_because=str(error)))

    def _without_run(self, details: VersionDetails) -> VersionDetails:
        """With the logged model, which may be there although the run is not."""
        if details.version.logged_model_id is None:
            return details
        try:
            model = self._registry.get_logged_model(details.version.logged_model_id)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return replace(details, unread_because=str(error))
        return replace(details, logged_model=model)

    def _champion_since(self, taken: Promotion, champion_version: str | None) -> datetime | None:
        for line in self._store.ledger_lines(taken.alias_key):
            if line.entry.kind is LedgerKind.ALIAS_CHANGE:
                return line.entry.at if line.entry.facts.get("to") == champion_version else None
        return None


def _asked_before(taken: Promotion, request: ApprovalRequest) -> tuple[object, ...]:
    """On what the frozen evidence rests, besides the version: as long as that stays, it is shown again."""
    return (taken.champion_version, taken.approval_sha256, taken.excluded, dict(request.pins))


def _never_seen(request: ApprovalRequest) -> str:
    return (
        f"Approval was asked for, and until {request.expires_at:%Y-%m-%d %H:%M} UTC no request has appeared "
        f"at {request.provider}."
    )
