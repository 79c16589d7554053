"""A promotion's receipt, out of the store."""

from __future__ import annotations

from datetime import datetime

from champion_gate.domain.ledger.receipt import receipt_of
from champion_gate.store import Store


def make_receipt(store: Store, promotion_id: str, at: datetime) -> dict[str, object]:
    """The receipt of a promotion as the store has it.

    Args:
        store: with the promotion and the ledger.
        promotion_id: which one.
        at: aware; now.

    Raises:
        NotFoundError: there is no such promotion.
        NotEndedError: it has not ended.
    """
    # In this order: whatever ended the promotion was in the ledger before the head was read.
    promotion = store.get_promotion(promotion_id)
    head = store.ledger_head()
    return receipt_of(promotion, store.ledger_lines(promotion_id=promotion_id, limit=None), head, at)
