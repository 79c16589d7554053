"""What the pipeline is given: the `spec:inputs` of deploy/gitlab/champion-gate.gitlab-ci.yml, strings all."""

from __future__ import annotations

import base64
import re

from champion_gate.adapters import evidence_input
from champion_gate.domain.promotion import Promotion

_PLAIN = re.compile(r"[A-Za-z0-9_.@+=~-]")
_MAX_BYTES = 65_000
"""As base64 it stays below the 128 KiB that Linux allows one environment variable of a job."""


def inputs_of(promotion: Promotion, *, environment: str, gate_url: str, evidence: str) -> dict[str, str]:
    """The inputs; evidence that is too long is cut, with a note.

    It travels as base64, because GitLab puts inputs into the file's text before reading that as YAML
    (lib/gitlab/ci/config/interpolation/text_template.rb).

    Args:
        promotion: its correlation id ends up in the pipeline's name.
        environment: the one that the gated job names.
        gate_url: where the gated job calls the gate.
        evidence: Markdown.
    """
    inputs = evidence_input.inputs_of(
        promotion,
        evidence,
        more={"environment": environment, "gate_url": gate_url},
        most=_MAX_BYTES,
        vendor="GitLab",
    )
    shown = inputs.pop("evidence").encode(errors="replace")
    return inputs | {
        "model": evidence_input.in_titles(spelled(promotion.model)),
        "evidence_base64": base64.b64encode(shown).decode(),
    }


def spelled(model: str) -> str:
    """The model's name as the pipeline's name and button show it; the evidence has the name itself.

    GitLab puts it into the text of the CI file, whose expression lets no blank and little punctuation in: what is
    not of that form is written as `=20` (RFC 2045, section 6.7), so that two names never look alike.
    """
    if all(_PLAIN.fullmatch(char) for char in model):
        return model
    return "".join(char if _PLAIN.fullmatch(char) and char != "=" else _quoted(char) for char in model)


def _quoted(char: str) -> str:
    return "".join(f"={byte:02X}" for byte in char.encode())
