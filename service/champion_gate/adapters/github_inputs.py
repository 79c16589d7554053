"""What the workflow is given: at most 25 inputs of together 65,535 characters (docs.github.com, dispatch event)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from champion_gate.core.promotion import Promotion

_MAX_CHARACTERS = 65_535
_MARGIN = 535


def inputs_of(promotion: Promotion, seats: Sequence[str], evidence: str) -> dict[str, str]:
    """The inputs of deploy/github/champion-gate.yml; evidence that is too long is cut, with a note.

    Args:
        promotion: its id is the correlation id that ends up in the run's title.
        seats: environments; one gated job is made of each.
        evidence: Markdown.
    """
    inputs = {
        "promotion_id": promotion.id,
        "model": promotion.model,
        "version": promotion.version.version,
        "alias": promotion.alias,
        "environments": json.dumps(list(seats)),
        "evidence": "",
    }
    room = _MAX_CHARACTERS - _MARGIN - _size(inputs)
    return inputs | {"evidence": _cut(evidence or "No evidence.", room, promotion)}


def _cut(evidence: str, room: int, promotion: Promotion) -> str:
    if _size(evidence) <= room:
        return evidence
    digest = f", sha256 {promotion.evidence_sha256}" if promotion.evidence_sha256 else ""
    note = (
        f"\n\n*Cut here: GitHub takes no more. The whole evidence is on promotion {promotion.id}{digest}.*\n"
    )
    low, high = 0, len(evidence)
    while low < high:
        middle = (low + high + 1) // 2
        if _size(evidence[:middle] + note) <= room:
            low = middle
        else:
            high = middle - 1
    kept = evidence[:low]
    # At a line's end where there is one near: half a row would break the table.
    line_end = kept.rfind("\n", low // 2)
    return (kept[:line_end] if line_end > 0 else kept) + note


def _size(value: object) -> int:
    """Counted as it is sent, escapes included: which characters GitHub counts is not documented."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
