"""What a request at a vendor bears in its name: for which promotion it asks, and which evidence it shows.

`<promotion id>-<first 12 hex digits of the evidence's sha256>` stands where a person sees it too: in the title
of a workflow run, in the name of a pipeline, in the path to which their jobs post. So what was approved under
one evidence is never taken for an approval of another.
"""

from __future__ import annotations

import re

from champion_gate.core.promotion import Promotion
from champion_gate.core.store import Store
from champion_gate.errors import NotFoundError

_DIGITS = 12
_WITH_HASH = re.compile(rf"(.+)-([0-9a-f]{{{_DIGITS}}})", re.ASCII)
_ANY_PROMOTION = re.compile(rf"\[p-[a-z0-9]+(?:-[0-9a-f]{{{_DIGITS}}})?\]", re.ASCII)


def correlation_id(promotion_id: str, evidence_sha256: str) -> str:
    """What the request for this promotion with this evidence (64 hex digits) bears."""
    return f"{promotion_id}-{evidence_sha256[:_DIGITS]}"


def bears(title: str, promotion: Promotion) -> bool:
    """Whether a request of this name shows the evidence that the promotion stands for now."""
    return f"[{promotion.correlation_id}]" in title


def bears_promotion(title: str, promotion: Promotion) -> bool:
    """Whether a request of this name asks for this promotion, with whatever evidence."""
    either = rf"\[{re.escape(promotion.id)}(?:-[0-9a-f]{{{_DIGITS}}})?\]"
    return re.search(either, title, re.ASCII) is not None


def bears_nothing(title: str) -> bool:
    """Whether a request of this name does not say for which promotion it asks."""
    return _ANY_PROMOTION.search(title) is None


def promotion_named(store: Store, text: str) -> Promotion:
    """The promotion with this id, or this correlation id, as a request's name and the vendors' jobs have it.

    Raises:
        NotFoundError: there is none, or it stands for other evidence by now.
    """
    try:
        return store.get_promotion(text)
    except NotFoundError:
        named = _WITH_HASH.fullmatch(text)
        if named is None:
            raise
    promotion = store.get_promotion(named[1])
    if not (promotion.evidence_sha256 or "").startswith(named[2]):
        raise NotFoundError(
            f"Promotion {promotion.id} stands for other evidence than that of {text}: a request that shows "
            "earlier evidence does not count any more.",
            hint=f"Look at promotion {promotion.id}.",
        )
    return promotion
