"""Drift: an alias that somebody else has moved is found by looking, and put on record."""

from __future__ import annotations

from champion_gate.domain.aliases import AliasIntent, AliasKey
from champion_gate.domain.retry import BUDGET
from champion_gate.flow.alias_writer import AliasBusyError, AliasWriter
from champion_gate.flow.context import Context


class DriftWatch:
    """Compares aliases in the registry with where they were last seen."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._registry = context.registry
        self._alias_writer = AliasWriter(context)
        self._clock = context.clock

    def look(self, key: AliasKey) -> None:
        """Put a move made by others into the ledger, and have the promotions that it concerns looked at.

        An unfinished write of ours is left to the promotion that began it, until that has given up.

        Raises:
            VendorError: the registry did not answer or refused.
        """
        known = self._store.known_alias(key)
        current = self._registry.get_alias(key.model, key.alias)
        if known is not None and (known.is_settled_at(current) or self._is_awaited(known.intent, current)):
            return
        try:
            with self._alias_writer.taken(key) as lock:
                if self._is_awaited(lock.intent, current):
                    return
                settled = self._alias_writer.settle(lock).lock
        except AliasBusyError:
            return  # whoever holds it records what it finds
        if not lock.seen or settled.known_version == lock.known_version:
            return
        for promotion in self._store.open_promotions(key):
            self._store.hint_promotion(promotion.id, self._clock.now())

    def _is_awaited(self, intent: AliasIntent | None, current: str | None) -> bool:
        """Whether a write is left to its writer, or may show yet: an operator was told that its outcome is unknown."""
        if intent is None or self._alias_writer.is_tried_again(intent):
            return intent is not None
        return intent.is_still_at_start(current) and self._clock.now() < intent.at + BUDGET
