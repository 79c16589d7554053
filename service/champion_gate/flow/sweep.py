"""What finds the work that no message told about: lost webhooks, dead workers, moves made by hand.

`run` only reads rows and wakes workers. What calls a vendor is a *look*, which a worker carries out, so that
a vendor that hangs holds up its own looks and nothing else. Everything here may run twice at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.gates import ApprovalTarget, Gate
from champion_gate.domain.ledger.chain import head_view
from champion_gate.domain.notifications import JobNotification
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import NotFoundError, VendorError, VendorUnavailableError
from champion_gate.flow.approval_requests import ApprovalRequests
from champion_gate.flow.context import Context
from champion_gate.flow.drift import DriftWatch
from champion_gate.flow.gate_rules import GateRules
from champion_gate.flow.lease import Lease
from champion_gate.flow.made_elsewhere import Elsewhere
from champion_gate.flow.notices import NoticePlans
from champion_gate.store import Store

_log = logging.getLogger(__name__)
_LOOK_BACK = timedelta(days=7)  # so long the service may have been down, and no run is missed

RUNS = "runs"
DECISIONS = "decisions"
ALIAS = "alias"
VERSIONS = "versions"


class Sweep:
    """Looks at every row and at every vendor's list, one after the other."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._store = context.store
        self._notices = NoticePlans(context)
        self._job_runs = context.job_runs
        self._providers = context.providers
        self._drift = DriftWatch(context)
        self._elsewhere = Elsewhere(context)
        self._rules = GateRules(context)
        self._requests = ApprovalRequests(context)
        self._lease = Lease(context)
        self._settings_are_compared = False
        self._managed = context.managed
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._waits = context.waits
        self._replicas_differ = context.replicas_differ

    def run(self) -> tuple[str, ...]:
        """Wake a worker for every row that is due, and say which looks are to be made.

        Returns:
            Names for `look`: `runs:<gate>`, `decisions:<provider>`, `alias:<model>@<alias>`, `versions:<model>`.
        """
        if set_back := self._store.note_time(self._clock.now):
            _log.warning("The clock was set back by %s: everything that is open is looked at now.", set_back)
        self.note_gates()
        pending = self._store.pending_promotions()
        self._order_ends(pending)
        self._notices.plan_waiting(pending)
        self.wake_due()
        looks = [f"{RUNS}:{gate.name}" for gate in self._gates.values() if gate.jobs]
        looks += [f"{DECISIONS}:{name}" for name in {p.request.provider for p in pending if p.request}]
        looks += map(alias_look, self._managed.all())
        looks += [f"{VERSIONS}:{model}" for model in self._elsewhere.models]
        return tuple(looks)

    def _order_ends(self, pending: Sequence[Promotion]) -> None:
        """End what the rows and the gates alone show to be over: each is looked at by itself only every hour or two.

        Whoever opened the newer request may have died before that ended the older one. Gates are others than before
        only after a start; but nothing ends by that as long as another replica reads others.
        """
        newest: dict[tuple[AliasKey, str], Promotion] = {}
        for promotion in pending:
            newer = newest.setdefault(_asks_as(promotion), promotion)
            if newer.is_overtaken_by(promotion):
                newest[_asks_as(promotion)] = promotion
        overtaken = {_asks_as(p) for p in pending if p.end_request is None and p is not newest[_asks_as(p)]}
        for asks_as in overtaken:
            self._requests.supersede_older(newest[asks_as])
        if not self._settings_are_compared:
            self._settings_are_compared = self._replicas_differ() is None
            for promotion in pending:
                if self._rules.settings_changed(promotion) is not None:
                    self._store.hint_promotion(promotion.id, self._clock.now())

    def note_gates(self) -> None:
        """Note when each gate was first seen: job runs that ended earlier are none of its business."""
        now = self._clock.now()
        for gate in self._gates.values():
            self._store.gate_first_seen(gate.name, now)
        self._elsewhere.note_gates()

    def wake_due(self) -> None:
        """Wake a worker for every row that is due and that nobody holds."""
        due = self._store.due(self._clock.now())
        for notification_id in due.notifications:
            self._wake_ups.notification(notification_id)
        for promotion_id in due.promotions:
            self._wake_ups.promotion(promotion_id)
        for step_id in due.steps:
            self._wake_ups.step(step_id)

    def look(self, name: str) -> None:
        """Make one look. Where it failed and succeeds again, what failed at that vendor meanwhile is tried again.

        Raises:
            VendorError: the vendor did not answer; the next sweep looks again.
        """
        try:
            self._look(name)
        except VendorError as error:
            self._store.look_failed(name, error.vendor)
            raise
        self._store.look_succeeded(name, self._clock.now())

    def _look(self, name: str) -> None:
        kind, _, subject = name.partition(":")
        if kind == RUNS and subject in self._gates:
            self._look_for_runs(self._gates[subject])
        elif kind == DECISIONS and subject in self._providers:
            self._look_for_decisions(subject)
        elif kind == VERSIONS and subject in self._elsewhere.models:
            self._elsewhere.look(subject)
        elif kind == ALIAS:
            for key in self._managed.all():
                if name == alias_look(key):
                    self._drift.look(key)

    def _look_for_runs(self, gate: Gate) -> None:
        """Find ended runs that no notification told about; a repaired run ends anew under the same id."""
        now = self._clock.now()
        first_seen = self._store.gate_first_seen(gate.name, now)
        for job_id in self._job_ids(gate):
            for run in self._job_runs.list_ended_runs(job_id, now - _LOOK_BACK):
                if run.end < first_seen or self._store.run_is_known(run.run_id, run.end):
                    continue
                notification = JobNotification(
                    event_type="jobs.on_success",
                    workspace_id=run.workspace_id,
                    job_id=run.job_id,
                    run_id=run.run_id,
                    job_name=run.job_name,
                )
                self._wake_ups.notification(self._store.record_notification("sweep", notification, now))

    def _job_ids(self, gate: Gate) -> set[str]:
        named = {job_id for name in gate.job_names for job_id in self._job_runs.jobs_named(name)}
        return set(gate.job_ids) | named

    def _look_for_decisions(self, provider: str) -> None:
        """Find requests that have news, by one list a place."""
        pending = [
            p for p in self._store.pending_promotions() if p.request and p.request.provider == provider
        ]
        targets: dict[str, ApprovalTarget] = {p.gate: p.request.target for p in pending if p.request}
        try:
            news = self._providers[provider].with_news(pending, targets)
        except VendorUnavailableError:
            self._hint_unread(pending)
            raise
        self._hint_unread([each for each in pending if each.id in news.unlisted])
        for promotion_id in news.promotions:
            self._store.hint_promotion(promotion_id, self._clock.now())
            self._wake_ups.promotion(promotion_id)
        for promotion_id, external_ids in news.asking.items():
            self._cancel_doubles(promotion_id, external_ids, provider)

    def _hint_unread(self, unlisted: Iterable[Promotion]) -> None:
        """Have those read by themselves every ten minutes of which no list tells; it may be the list alone that fails."""
        now = self._clock.now()
        for promotion in unlisted:
            if now >= promotion.updated_at + self._waits.recheck_seldom:
                self._store.hint_promotion(promotion.id, now)

    def _cancel_doubles(self, promotion_id: str, external_ids: Iterable[str], provider: str) -> None:
        """Have requests cancelled for which nobody waits; every sweep that sees one orders that under the same id."""
        try:
            promotion = self._store.get_promotion(promotion_id)
        except NotFoundError:
            return  # another installation's
        request = promotion.request
        # Of one that is being opened its own request is not known yet.
        if request is None or request.external_id is None or request.provider != provider:
            return
        for external_id in set(external_ids) - {request.external_id}:
            step = self._lease.cancel_step(promotion, external_id)
            self._store.plan_step(step)
            self._wake_ups.step(step.id)


def alias_look(key: AliasKey) -> str:
    """The look at where an alias stands."""
    return f"{ALIAS}:{key.model}@{key.alias}"


def _asks_as(promotion: Promotion) -> tuple[AliasKey, str]:
    """What promotions have in common of which the newest supersedes the others."""
    return promotion.alias_key, promotion.source_model


def log_ledger_head(store: Store) -> None:
    """Put the head into the log, which is kept where whoever edits the database does not get at it."""
    head = store.ledger_head()
    _log.info("the ledger ends with line %d, hash %s", head.number, head.hash, extra=head_view(head))
