"""What the workflow is given: at most 25 inputs of together 65,535 characters (docs.github.com, dispatch event)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from champion_gate.adapters import evidence_input
from champion_gate.domain.promotion import Promotion

_MAX_CHARACTERS = 65_535
_MARGIN = 535


def inputs_of(promotion: Promotion, seats: Sequence[str], evidence: str) -> dict[str, str]:
    """The inputs of deploy/github/champion-gate.yml; evidence that is too long is cut, with a note.

    Args:
        promotion: its correlation id ends up in the run's title.
        seats: environments; one gated job is made of each.
        evidence: Markdown.
    """
    return evidence_input.inputs_of(
        promotion,
        evidence,
        more={"environments": json.dumps(list(seats))},
        most=_MAX_CHARACTERS - _MARGIN,
        vendor="GitHub",
    )
