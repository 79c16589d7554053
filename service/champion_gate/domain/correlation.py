"""What a request at a vendor bears in its name: for which promotion it asks, and which evidence it shows.

`<promotion id>-<first 12 hex digits of the evidence's sha256>` stands where a person sees it too: in the title
of a workflow run, in the name of a pipeline, in the path to which their jobs post. So what was approved under
one evidence is never taken for an approval of another.
"""

from __future__ import annotations

import re

from champion_gate.domain.promotion import Promotion

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


def parts_of(correlation: str) -> tuple[str, str] | None:
    """The promotion's id and the beginning of the evidence's hash that a correlation id joins; None if it is none."""
    named = _WITH_HASH.fullmatch(correlation)
    return None if named is None else (named[1], named[2])
