"""What a CI run is given besides its ids: the evidence, cut where the vendor takes no more."""

from __future__ import annotations

import json
from collections.abc import Mapping

from champion_gate.domain.promotion import Promotion

_MODEL = 140
"""With it the title of a run, `Champion MODEL vVERSION [ID]`, stays below 255 characters: GitLab refuses or cuts longer
names of pipelines, and with its end the id would be lost by which the run is found."""


def inputs_of(
    promotion: Promotion, evidence: str, *, more: Mapping[str, str], most: int, vendor: str
) -> dict[str, str]:
    """The inputs of the shipped CI templates; evidence that is too long is cut, with a note.

    Args:
        promotion: its correlation id ends up in the run's title, and in the path to which its jobs post.
        evidence: Markdown.
        more: inputs that this vendor's template takes besides.
        most: how many characters all inputs may have together, counted as JSON.
        vendor: its name in words, for the note.
    """
    inputs = {
        "promotion_id": promotion.correlation_id,
        "model": in_titles(promotion.model),
        "version": promotion.version.version,
        "alias": promotion.alias,
        **more,
        "evidence": "",
    }
    room = most - _size(inputs)
    return inputs | {"evidence": _cut(evidence or "No evidence.", room, promotion, vendor)}


def in_titles(model: str) -> str:
    """The model's name as it stands in titles; of a long one the middle is left out, and the evidence has it whole."""
    if len(model) <= _MODEL:
        return model
    half = (_MODEL - 3) // 2
    return f"{model[:half]}...{model[-half:]}"


def _cut(evidence: str, room: int, promotion: Promotion, vendor: str) -> str:
    if _size(evidence) <= room:
        return evidence
    digest = f", sha256 {promotion.evidence_sha256}" if promotion.evidence_sha256 else ""
    note = f"\n\n*Cut here: {vendor} takes no more. The whole evidence is on promotion {promotion.id}{digest}.*\n"
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
    """Counted as it is sent, escapes included: which characters the vendors count is not documented."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
