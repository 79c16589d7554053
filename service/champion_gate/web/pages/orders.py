"""Operators' orders, from forms that say what will happen: what the API's orders do, through the same functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from flask import Response, request, url_for
from markupsafe import escape

from champion_gate.domain.aliases import LONGEST_REASON, AliasKey, OnlyIf, Order, check_reason
from champion_gate.domain.callers import Role
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.ledger.entries import named, version_before
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import StepKind
from champion_gate.domain.text import storable
from champion_gate.errors import GateError
from champion_gate.flow.after import alias_of
from champion_gate.flow.ci_outcome import promotion_named
from champion_gate.web.api.requests import checked_id
from champion_gate.web.api.routes import Operations
from champion_gate.web.auth import caller
from champion_gate.web.pages.site import Page, Site, step_name
from champion_gate.web.throttle import ConcurrencyLimit

OPERATOR = Role.OPERATOR
_NEWEST_MOVES = 200
"""Of which the form tells where a rollback goes; the rollback itself looks at all of them."""
_NO_VERSION = "none"
"""Stands in a form for an alias that is on no version; no version is called so."""


@dataclass(frozen=True)
class Asked:
    """An order as the form shows it, before it is given.

    Attributes:
        title: what is to be done.
        told: what will happen, a paragraph each.
        button: the words of the button.
        back: the page of what is concerned.
        done: the word that this page is told afterwards.
        needs_reason: whether it is not taken without one.
        was_on: on which version the alias was when the form was made; None where that does not matter.
        overrides: the hold that has to be overridden; empty for none.
        is_dangerous: whether the button warns.
    """

    title: str
    told: tuple[str, ...]
    button: str
    back: str
    done: str
    needs_reason: bool = True
    was_on: str | None = None
    overrides: str = ""
    is_dangerous: bool = False


class Orders:
    """The views behind the forms. A GET shows what will happen, a POST does it."""

    def __init__(self, site: Site, operations: Operations, waiting: ConcurrencyLimit) -> None:
        """Set up.

        Args:
            site: puts pages together.
            operations: what carries orders out.
            waiting: those that wait for vendors, over the API too.
        """
        self._site = site
        self._operations = operations
        self._waiting = waiting

    # --- promotions ---

    @Page("/promotions/<promotion_id>/cancel", "cancelPage", OPERATOR, takes_form=True)
    def cancel(self, promotion_id: str) -> Response:
        """End a promotion."""
        found = self._promotion(promotion_id)
        asked = Asked(
            title=f"Cancel v{found.version.version} of {found.source_model}",
            told=(
                "Its decision is read once more first: if it was approved meanwhile, and that can be applied at once, it is.",
                "Else it ends, and its CI run is cancelled.",
            ),
            button="Cancel the promotion",
            back=url_for("promotion", promotion_id=found.id),
            done="cancelled",
            is_dangerous=True,
        )

        def order(reason: str) -> None:
            actor = caller().actor
            self._operations.promotion_orders.cancel(
                found.id, actor=actor, reason=f"Cancelled by {actor}: {check_reason(reason)}"
            )

        return self._answer(asked, order)

    @Page("/promotions/<promotion_id>/retry", "retryPage", OPERATOR, takes_form=True)
    def retry(self, promotion_id: str) -> Response:
        """Take a promotion up again, or ask afresh."""
        found = self._promotion(promotion_id)
        has_failed = found.phase is Phase.FAILED or found.phase.is_before_people
        what = "It goes on where it failed." if has_failed else "A new promotion asks people for approval."
        asked = Asked(
            title=f"{'Retry' if has_failed else 'Ask afresh for'} v{found.version.version} of {found.source_model}",
            told=(what, "Who may approve, and all that is checked, stays the gate's."),
            button="Retry" if has_failed else "Ask afresh",
            back=url_for("promotion", promotion_id=found.id),
            done="retried",
            needs_reason=False,
        )

        def order(reason: str) -> str:
            goes_on = self._operations.promotion_orders.retry(
                found.id, actor=caller().actor, reason=reason or None
            )
            return url_for("promotion", promotion_id=goes_on, done=asked.done)

        return self._answer(asked, order)

    def _promotion(self, promotion_id: str) -> Promotion:
        return promotion_named(self._operations.store, checked_id(promotion_id, "promotion"))

    # --- aliases ---

    @Page("/models/<model>/aliases/<alias>/rollback", "rollBackPage", OPERATOR, takes_form=True)
    def roll_back(self, model: str, alias: str) -> Response:
        """Put an alias back, and hold it there."""
        key = self._operations.managed.key(model, alias)
        store = self._operations.store
        known = store.known_alias(key)
        now = known.known_version if known is not None and known.seen else None
        moves = store.ledger_lines(key, kind=LedgerKind.ALIAS_CHANGE, limit=_NEWEST_MOVES)
        before = version_before(moves, now)
        to = f"to {named(before)}, the version before in the ledger" if before else "to the version before"
        hold = "" if known is None or known.hold is None or known.hold.by_rollback else str(known.hold)
        asked = Asked(
            title=f"Roll {key.model}@{key.alias} back",
            told=(
                f"{key.alias} goes from {named(now)} {to}.",
                "Then it is on hold: promotions wait until somebody releases it.",
                "If it has moved since this page was made, nothing is done.",
                *(() if before else ("No version before is on record, so it may be refused.",)),
            ),
            button="Roll back",
            back=self._page_of(key),
            done="rolled-back",
            was_on=now or _NO_VERSION,
            overrides=hold,
            is_dangerous=True,
        )

        def order(reason: str) -> object:
            was_on = request.form.get("was_on", "")
            return self._operations.alias_orders.roll_back(
                key.model,
                key.alias,
                Order(
                    caller=caller(),
                    reason=reason,
                    override_hold=request.form.get("override_hold") == "yes",
                    only_if=OnlyIf(versions=frozenset({was_on})),
                ),
            )

        return self._answer(asked, order)

    @Page("/models/<model>/aliases/<alias>/hold", "holdPage", OPERATOR, takes_form=True)
    def hold(self, model: str, alias: str) -> Response:
        """Keep an alias where it is."""
        key = self._operations.managed.key(model, alias)
        asked = Asked(
            title=f"Hold {key.model}@{key.alias}",
            told=("It stays where it is: promotions wait, and changes by hand must override the hold.",),
            button="Hold",
            back=self._page_of(key),
            done="held",
        )
        orders = self._operations.alias_orders
        return self._answer(
            asked, lambda reason: orders.hold(key.model, key.alias, caller=caller(), reason=reason)
        )

    @Page("/models/<model>/aliases/<alias>/release", "releasePage", OPERATOR, takes_form=True)
    def release(self, model: str, alias: str) -> Response:
        """Take the hold away."""
        key = self._operations.managed.key(model, alias)
        known = self._operations.store.known_alias(key)
        hold = f"It is {known.hold}." if known is not None and known.hold is not None else "It is on no hold."
        asked = Asked(
            title=f"Release {key.model}@{key.alias}",
            told=(hold, "Promotions that waited go on: one that is approved may move the alias at once."),
            button="Release",
            back=self._page_of(key),
            done="released",
        )
        orders = self._operations.alias_orders
        return self._answer(
            asked, lambda reason: orders.release(key.model, key.alias, caller=caller(), reason=reason)
        )

    @staticmethod
    def _page_of(key: AliasKey) -> str:
        return url_for("alias", model=key.model, alias=key.alias)

    # --- steps and notifications ---

    @Page("/steps/<step_id>/retry", "retryStepPage", OPERATOR, takes_form=True)
    def retry_step(self, step_id: str) -> Response:
        """Try a step again."""
        orders = self._operations.step_orders
        asked = self._of_step(step_id, "Retry", "It is tried again at once.", "retried", needs_reason=False)
        return self._answer(
            asked, lambda reason: orders.retry(step_id, actor=caller().actor, reason=reason or None)
        )

    @Page("/steps/<step_id>/skip", "skipStepPage", OPERATOR, takes_form=True)
    def skip_step(self, step_id: str) -> Response:
        """End a step."""
        orders = self._operations.step_orders
        asked = self._of_step(step_id, "Skip", "Nothing tries it any more.", "skipped", needs_reason=True)
        return self._answer(asked, lambda reason: orders.skip(step_id, actor=caller().actor, reason=reason))

    def _of_step(self, step_id: str, verb: str, told: str, done: str, *, needs_reason: bool) -> Asked:
        step = self._operations.store.get_step(checked_id(step_id, "step"))
        if step.promotion_id:
            found = self._promotion(step.promotion_id)
            back = url_for("promotion", promotion_id=found.id)
            about = f"v{found.version.version} of {found.source_model}"
        elif step.kind is StepKind.NOTICE:
            back, about = url_for("overview"), step.config["message"]["title"]
        else:
            key = alias_of(step)
            back, about = self._page_of(key), f"{key.model}@{key.alias}"
        title = f"{verb}: {step_name(step.kind, step.config)}"
        reason = step.reason or "Not tried yet."
        return Asked(title, (f"It is about {about}.", reason, told), verb, back, done, needs_reason)

    @Page("/notifications/<notification_id>/replay", "replayPage", OPERATOR, takes_form=True)
    def replay(self, notification_id: str) -> Response:
        """Have a notification resolved once more."""
        found = self._operations.store.get_notification(checked_id(notification_id, "notification"))
        asked = Asked(
            title=f"Look once more at run {found.notification.job_run_id}",
            told=(found.reason, "It is resolved once more. What has ended is never reopened by that."),
            button="Look once more",
            back=url_for("notifications", phase=found.phase.value),
            done="replayed",
            needs_reason=False,
        )
        return self._answer(
            asked, lambda _reason: self._operations.promotion_orders.replay(found.id), takes_reason=False
        )

    # --- all of them ---

    def _answer(self, asked: Asked, order: Callable[[str], object], *, takes_reason: bool = True) -> Response:
        """Show the form; or do what it says, and go on to the page of what is concerned.

        Args:
            asked: the order.
            order: gives it, with the reason; may return the address to go on to.
            takes_reason: whether there is a field for one.
        """
        shown = partial(
            self._site.render, "order.html", title=asked.title, asked=asked, longest=LONGEST_REASON
        )
        if request.method != "POST":
            return shown(takes_reason=takes_reason, reason="", refused=None)
        reason = storable(request.form.get("reason", "").replace("\r\n", "\n").strip(), LONGEST_REASON + 1)
        try:
            went_on = self._waiting.run(partial(order, reason))
        except GateError as refused:
            # Its own lines, which are kept as they are.
            return shown(
                status=refused.status, takes_reason=takes_reason, reason=escape(reason), refused=refused
            )
        target = (
            went_on
            if isinstance(went_on, str)
            else f"{asked.back}{'&' if '?' in asked.back else '?'}done={asked.done}"
        )
        return self._site.go_on(target)
