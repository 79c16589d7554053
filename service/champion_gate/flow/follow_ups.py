"""What an ended promotion leaves to be done: its request at the vendor is cancelled, its doubles too, its version is tagged.

None of it stops a decision: it is durable work of its own, tried again for a day.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.ports import ApprovalProvider
from champion_gate.domain.promotion import FollowUp, FollowUpKind
from champion_gate.domain.retry import BUDGET, next_try
from champion_gate.errors import (
    GateError,
    UnexpectedError,
    VendorError,
    VendorRefusedError,
)
from champion_gate.flow.context import Context

_log = logging.getLogger(__name__)


class FollowUps:
    """Carries follow-ups out. Stateless: everything it knows is in the rows or at the vendors'."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._registry = context.registry
        self._providers = context.providers
        self._clock = context.clock
        self._chance = context.chance
        self._waits = context.waits

    def carry_out(self, follow_up_id: str) -> None:
        """Do one piece of work that an ended promotion left: cancel its request, or tag its version.

        A refusal is tried again too, for a day, and so is a 404: a token that sees nothing for a while looks the
        same. Meanwhile `promotions show` tells what is missing.
        """
        taken = self._store.take_follow_up(follow_up_id, self._clock.now(), self._waits.lease_seconds)
        if taken is None:
            return
        try:
            self._do(taken)
        except Exception as caught:  # noqa: BLE001 - a fault of ours must not be tried for ever
            error = caught if isinstance(caught, GateError) else UnexpectedError.of(caught)
            now = self._clock.now()
            retry, due_at = next_try(
                error, taken.retry, now=now, fraction=self._chance.fraction(), budget=None
            )
            given_up = retry.failing_since is not None and retry.failing_since + BUDGET <= now
            _log.log(
                logging.ERROR if given_up else logging.WARNING,
                "%s of promotion %s %s: %s",
                taken.kind.value,
                taken.promotion_id,
                "is given up" if given_up else "failed and is tried again",
                error,
            )
            put_off = replace(taken, retry=retry, due_at=due_at or taken.due_at)
            self._store.release_follow_up(put_off, done=given_up)
        else:
            self._store.release_follow_up(taken, done=True)

    def _do(self, follow_up: FollowUp) -> None:
        promotion = self._store.get_promotion(follow_up.promotion_id)
        if follow_up.kind is FollowUpKind.TAG_VERSION:
            if promotion.registry != self._registry.name:
                raise VendorRefusedError(promotion.registry, "this registry is not configured any more")
            for key, value in follow_up.facts.items():
                self._registry.set_version_tag(promotion.model, promotion.version.version, key, value)
        elif promotion.request is not None:
            provider = self._providers.get(promotion.request.provider)
            if provider is None:
                raise VendorRefusedError(
                    promotion.request.provider, "this provider is not configured any more"
                )
            target = promotion.request.target
            if follow_up.kind is FollowUpKind.CANCEL_REQUEST:
                # A double may have been adopted since it was ordered: people are asked in it.
                if (
                    promotion.phase.is_open
                    and promotion.request.external_id == follow_up.facts["external_id"]
                ):
                    return
                provider.cancel(target, follow_up.facts["external_id"])
            else:
                _cancel_all(provider, target, provider.duplicates(target, promotion))


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
