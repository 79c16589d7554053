"""From `requested` to `pending_approval`: is the version eligible, is the place safe, then ask people once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from champion_gate.core import evidence, policy
from champion_gate.core.aliases import Hold
from champion_gate.core.approval import ApprovalRequest, ExcludedPerson
from champion_gate.core.gates import Gate, NewerVersion
from champion_gate.core.ledger import LedgerKind
from champion_gate.core.ports import ApprovalProvider, Clock, ModelRegistry, OpenedRequest, WakeUps
from champion_gate.core.promotion import EndRequest, Phase, Promotion
from champion_gate.core.spending import Spending
from champion_gate.core.store import Store
from champion_gate.core.turn import Turn
from champion_gate.core.versions import VersionDetails
from champion_gate.errors import UnsafeTargetError, VendorNotFoundError, VendorRefusedError

_RECHECK_UNSAFE = timedelta(minutes=2)
_RECHECK_HOLD = timedelta(minutes=10)
_RUN_APPEARS_WITHIN = timedelta(minutes=2)
_SEARCH_AGAIN = timedelta(seconds=5)

_log = logging.getLogger(__name__)


class Requesting:
    """Opens approval requests: the intent is stored before the vendor is called, and found again after a crash."""

    def __init__(
        self,
        *,
        gates: Mapping[str, Gate],
        store: Store,
        registry: ModelRegistry,
        providers: Mapping[str, ApprovalProvider],
        spending: Spending,
        wake_ups: WakeUps,
        clock: Clock,
        turn: Turn,
    ) -> None:
        self._gates = gates
        self._store = store
        self._registry = registry
        self._providers = providers
        self._spending = spending
        self._wake_ups = wake_ups
        self._clock = clock
        self._turn = turn

    def request(self, taken: Promotion) -> None:
        """Take a requested promotion as far as an open request, an end, or the reason why it waits."""
        if taken.request is not None:
            self._find_request(taken, taken.request)
            return
        gate = policy.gate_of(taken, self._gates, self._registry.name)
        if taken.end_request is not None:
            self._turn.end(taken, taken.end_request.phase, taken.end_request.reason)
        elif gate is None:
            self._turn.end(taken, Phase.STALE, f"Gate {taken.gate} is not configured any more.")
        elif (newer := self.newer_request(taken, gate)) is not None:
            self._turn.end(
                taken, Phase.SUPERSEDED, f"v{newer.version.version} asks for {taken.alias} already."
            )
        elif (changed := self._spending.version_changed(taken)) is not None:
            self._turn.end(taken, Phase.STALE, changed)
        elif (hold := self._hold(taken)) is not None:
            self._turn.wait(taken, f"{taken.alias} of {taken.model} is {hold}.", _RECHECK_HOLD)
        else:
            self._freeze_and_ask(taken, gate)

    def newer_request(self, taken: Promotion, gate: Gate) -> Promotion | None:
        """A higher version that people are asked about for the same alias, where the gate lets it supersede."""
        if gate.newer_version is not NewerVersion.SUPERSEDE:
            return None
        asked = {Phase.PENDING_APPROVAL, Phase.APPROVED}
        for other in self._store.open_promotions(taken.alias_key):
            if other.phase in asked and other.version.number > taken.version.number:
                return other
        return None

    def _hold(self, taken: Promotion) -> Hold | None:
        """A hold on the alias: nobody is asked for what would have to wait; a release wakes those that wait."""
        known = self._store.known_alias(taken.alias_key)
        return None if known is None else known.hold

    def _freeze_and_ask(self, taken: Promotion, gate: Gate) -> None:
        """Freeze the evidence, make sure that the approval will be protected, and open the request."""
        # Read before the alias is, so that no move of the alias from then on is missed.
        ledger_line = self._store.ledger_head().number
        candidate = self._registry.get_details(taken.version)
        champion_version = self._registry.get_alias(taken.model, taken.alias)
        champion = self._champion(taken.model, champion_version)
        reason = policy.ineligible_because(gate, candidate, champion)
        if reason is not None:
            self._turn.end(replace(taken, champion_version=champion_version), Phase.INELIGIBLE, reason)
            return
        identities = policy.identify(gate, taken.trainers)
        if identities.missing:
            self._turn.wait(taken, " ".join(identities.missing), _RECHECK_UNSAFE)
            return
        provider = self._providers[gate.approval.provider]
        try:
            excluded = self._excluded(provider, gate, identities)
            pins = provider.check_place(gate.approval)
        except UnsafeTargetError as unsafe:
            self._turn.wait(taken, f"The place for approval is not safe: {unsafe}", _RECHECK_UNSAFE)
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
            trainers=taken.trainers,
            excluded=excluded,
            nobody=identities.nobody,
            candidate=candidate,
            champion=champion,
            champion_since=self._champion_since(taken, champion_version),
            version_url=self._registry.version_url(taken.version),
            frozen_at=now,
        )
        text = evidence.canonical_json(document)
        request = ApprovalRequest(
            provider=gate.approval.provider,
            intent_at=now,
            asked_at=now,
            expires_at=now + gate.expires_after,
            pins=pins,
            place=dict(gate.approval.place),
            seats=gate.approval.seats,
            ledger_line=ledger_line,
        )
        intended = replace(
            taken,
            champion_version=champion_version,
            evidence_json=text,
            evidence_sha256=evidence.sha256_of(text),
            approval_sha256=gate.approval_sha256(),
            excluded=excluded,
            request=request,
            reason="Asking for approval.",
        )
        self._ask(self._turn.save(intended), gate)

    def _champion(self, model: str, version: str | None) -> VersionDetails | None:
        """The Champion to compare with. Its MLflow run may be long deleted, or in another workspace.

        Then its metrics are shown as missing, and the reviewer judges without them.
        """
        if version is None:
            return None
        champion = self._registry.get_version(model, version)
        try:
            return self._registry.get_details(champion)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            _log.warning("the MLflow run of Champion %s v%s cannot be read: %s", model, version, error)
            return VersionDetails(champion, {}, None)

    def _excluded(
        self, provider: ApprovalProvider, gate: Gate, identities: policy.TrainerIdentities
    ) -> tuple[ExcludedPerson, ...]:
        people = []
        for trainer, login in identities.logins:
            try:
                person = provider.find_person(gate.approval, login)
            except VendorNotFoundError as error:
                raise UnsafeTargetError(
                    f"`identities` of gate {gate.name} maps {trainer.name} to {login}, whom nobody knows there.",
                    hint="Correct the login in gates.yaml.",
                ) from error
            people.append(ExcludedPerson(trainer.name or "", trainer.role, person.login, person.user_id))
        return tuple(people)

    def _champion_since(self, taken: Promotion, champion_version: str | None) -> datetime | None:
        for line in self._store.ledger_lines(taken.alias_key):
            if line.entry.kind is LedgerKind.ALIAS_CHANGE:
                return line.entry.at if line.entry.facts.get("to") == champion_version else None
        return None

    def _ask(self, intended: Promotion, gate: Gate) -> None:
        """Open the request. Whatever becomes of the call, the stored intent lets the next turn find it."""
        provider = self._providers[gate.approval.provider]
        markdown = evidence.render_markdown(
            json.loads(intended.evidence_json or "{}"), intended.evidence_sha256 or ""
        )
        try:
            opened = provider.open(gate.approval, intended, markdown)
        except VendorRefusedError:
            # Refused is certain: nothing was opened, so a retry starts from the beginning.
            self._turn.save(replace(intended, request=None))
            raise
        if opened is not None:
            self._opened(intended, (opened,))
        else:
            self._find_request(intended, intended.request)

    def _find_request(self, taken: Promotion, request: ApprovalRequest | None) -> None:
        """A request was about to be opened and its id is not known: find it before anything is repeated."""
        if request is None:
            return
        provider = self._providers.get(request.provider)
        found = provider.find(request.target, taken) if provider is not None else ()
        now = self._clock.now()
        if found:
            self._opened(taken, found)
        elif now - (request.asked_at or request.intent_at) < _RUN_APPEARS_WITHIN:
            why = "Asked for approval; waiting for the request to appear."
            self._turn.wait(taken, why, _SEARCH_AGAIN, mended=False)
        else:
            self.request(self._turn.save(replace(taken, request=None)))

    def _opened(self, taken: Promotion, found: tuple[OpenedRequest, ...]) -> None:
        first, *doubles = found
        if taken.request is None:
            return
        now = self._clock.now()
        request = replace(taken.request, external_id=first.external_id, url=first.url, opened_at=now)
        pending = replace(
            taken,
            phase=Phase.PENDING_APPROVAL,
            request=request,
            reason="Waiting for approval.",
            due_at=now if taken.end_request else now + _SEARCH_AGAIN,
            attempts=0,
            failing_since=None,
            last_error=None,
        )
        cancels = [self._turn.cancel_follow_up(taken, double.external_id) for double in doubles]
        self._turn.save(pending, release=True, follow_ups=cancels)
        _log.info("promotion %s waits for approval at %s", taken.id, first.url)
        self._supersede_older(pending)

    def _supersede_older(self, opened: Promotion) -> None:
        gate = self._gates.get(opened.gate)
        if gate is None or gate.newer_version is not NewerVersion.SUPERSEDE:
            return
        for other in self._store.open_promotions(opened.alias_key):
            if other.version.number < opened.version.number and other.phase is not Phase.APPROVED:
                end = EndRequest(
                    phase=Phase.SUPERSEDED,
                    actor="champion-gate",
                    reason=f"The newer v{opened.version.version} asks for {opened.alias} now ({opened.id}).",
                    at=self._clock.now(),
                )
                if self._store.request_end(other.id, end):
                    self._wake_ups.promotion(other.id)
