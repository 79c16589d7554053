"""The commands on the local settings and database; a running service carries out what is left to be done."""

from __future__ import annotations

from champion_gate.bootstrap.local import Local, local_caller
from champion_gate.cli.gateway import Json
from champion_gate.domain.aliases import OnlyIf, Order, check_reason
from champion_gate.domain.names import check_version
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.errors import NotFoundError
from champion_gate.flow.ci_outcome import promotion_named
from champion_gate.flow.operator_aliases import AliasNotSetError
from champion_gate.web.api.views import (
    alias_change_view,
    alias_view,
    identity_view,
    ledger_view,
    notification_view,
    promotion_detail_view,
    promotion_view,
)


class LocalGateway:
    """Fulfils `Gateway` with the core and the views of the API."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._store = local.store
        self._caller = local_caller()

    # --- aliases ----------------------------------------------------------------------------------------------

    def alias(self, model: str, alias: str) -> Json:
        """Where an alias stands now."""
        state = self._local.core.alias_orders.state(model, alias)
        if state.version is None:
            raise AliasNotSetError(f"{state.key.model} has no alias {state.key.alias}.")
        return alias_view(state)

    def put_alias(
        self, model: str, alias: str, version: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Set it; `only_if` names the version on which it must still be."""
        order = self._order(reason, only_if=only_if, override_hold=override_hold)
        return alias_change_view(self._local.core.alias_orders.put(model, alias, version, order))

    def delete_alias(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Remove it from the version that it is on."""
        order = self._order(reason, only_if=only_if, override_hold=override_hold)
        return alias_change_view(self._local.core.alias_orders.delete(model, alias, order))

    def roll_back(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Put it back on the version before, and on hold; `only_if` names the version on which it must still be."""
        order = self._order(reason, only_if=only_if, override_hold=override_hold)
        return alias_change_view(self._local.core.alias_orders.roll_back(model, alias, order))

    def hold(self, model: str, alias: str, *, reason: str) -> Json:
        """Keep it where it is."""
        return alias_view(
            self._local.core.alias_orders.hold(model, alias, caller=self._caller, reason=reason)
        )

    def release(self, model: str, alias: str, *, reason: str) -> Json:
        """End its hold."""
        return alias_view(
            self._local.core.alias_orders.release(model, alias, caller=self._caller, reason=reason)
        )

    def history(self, model: str, alias: str, *, cursor: str | None, limit: int) -> Json:
        """Its `lines` of the ledger, newest first, and a `cursor`."""
        key = self._local.managed.key(model, alias)
        before = int(cursor) if cursor else None
        lines = self._store.ledger_lines(key, before=before, limit=limit + 1)
        more = len(lines) > limit
        lines = lines[:limit]
        return {
            "lines": [ledger_view(line) for line in lines],
            "cursor": str(lines[-1].number) if more else None,
        }

    # --- promotions -------------------------------------------------------------------------------------------

    def promotions(
        self, *, cursor: str | None, limit: int, model: str | None = None, phase: str | None = None
    ) -> Json:
        """One part of the `promotions`, newest first, and a `cursor`."""
        page = self._store.list_promotions(
            model=model, phase=Phase(phase) if phase else None, cursor=cursor, limit=limit
        )
        return {"promotions": [promotion_view(each) for each in page.items], "cursor": page.cursor}

    def promotion(self, promotion_id: str) -> Json:
        """One promotion, with its `follow_ups` and its lines of the `ledger`."""
        found = promotion_named(self._store, promotion_id)
        left, lines = self._store.get_follow_ups(found.id), self._store.ledger_lines(promotion_id=found.id)
        return promotion_detail_view(found, left, lines)

    def receipt(self, promotion_id: str) -> Json:
        """What an auditor keeps of it."""
        from champion_gate.bootstrap.core import SystemClock
        from champion_gate.flow.receipts import make_receipt

        return make_receipt(self._store, self._id(promotion_id), SystemClock().now())

    def evidence(self, promotion_id: str) -> str:
        """What the reviewer was shown, as Markdown."""
        import json

        from champion_gate.domain.evidence_markdown import render_markdown

        promotion = promotion_named(self._store, promotion_id)
        if promotion.evidence_json is None or promotion.evidence_sha256 is None:
            raise NotFoundError(f"Promotion {promotion_id} has no evidence yet.", hint=promotion.reason)
        return render_markdown(json.loads(promotion.evidence_json), promotion.evidence_sha256)

    def ask(self, gate: str, version: str, *, job_run_id: str | None, reason: str) -> Json:
        """Ask for approval of a version by hand; the promotion."""
        return promotion_view(
            self._local.core.promotion_orders.ask(
                gate, version, job_run_id=job_run_id, caller=self._caller, reason=reason
            )
        )

    def cancel(self, promotion_id: str, *, reason: str) -> Json:
        """Order its end; the promotion."""
        actor = self._caller.actor
        why = f"Cancelled by {actor}: {check_reason(reason)}"
        self._local.core.promotion_orders.cancel(self._id(promotion_id), actor=actor, reason=why)
        return promotion_view(promotion_named(self._store, promotion_id))

    def retry(self, promotion_id: str, *, reason: str | None) -> Json:
        """Take it up again; the promotion that goes on, which may be a fresh one."""
        orders = self._local.core.promotion_orders
        goes_on = orders.retry(self._id(promotion_id), actor=self._caller.actor, reason=reason)
        return promotion_view(self._store.get_promotion(goes_on))

    def _id(self, text: str) -> str:
        """The id of the promotion that is named, perhaps as the name of its CI run has it."""
        return promotion_named(self._store, text).id

    # --- notifications ----------------------------------------------------------------------------------------

    def notifications(self, *, cursor: str | None, limit: int, phase: str | None = None) -> Json:
        """One part of the `notifications`, newest first, and a `cursor`."""
        page = self._store.list_notifications(
            phase=NotificationPhase(phase) if phase else None, cursor=cursor, limit=limit
        )
        return {"notifications": [notification_view(each) for each in page.items], "cursor": page.cursor}

    def notification(self, notification_id: str) -> Json:
        """One notification."""
        return notification_view(self._store.get_notification(notification_id))

    def replay(self, notification_id: str) -> Json:
        """Have its run looked at again; the notification."""
        return notification_view(self._local.core.promotion_orders.replay(notification_id))

    # --- identities -------------------------------------------------------------------------------------------

    def identities(self) -> Json:
        """Every login that is remembered, with its accounts."""
        return {"identities": [identity_view(each) for each in self._local.identities.known()]}

    def accept_identity(self, provider: str, login: str, *, reason: str, user_id: str | None) -> Json:
        """Let a login stand for the account that has it now; the login."""
        accepted = self._local.identities.accept(
            provider, login, caller=self._caller, reason=reason, user_id=user_id
        )
        return identity_view(accepted)

    def forget_identity(self, provider: str, login: str, *, reason: str) -> Json:
        """Forget what a login stood for; what was remembered."""
        return identity_view(
            self._local.identities.forget(provider, login, caller=self._caller, reason=reason)
        )

    def _order(self, reason: str, *, only_if: str | None = None, override_hold: bool) -> Order:
        condition = None if only_if is None else OnlyIf(frozenset({check_version(only_if)}))
        return Order(self._caller, reason, override_hold=override_hold, only_if=condition)
