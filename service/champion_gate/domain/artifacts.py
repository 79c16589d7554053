"""Whose files a version's source names."""

from __future__ import annotations

import re
from urllib.parse import unquote

from champion_gate.domain.versions import LoggedModel, logged_model_uri


def is_of_logged_model(source: str, logged: LoggedModel) -> bool:
    """Whether a version's source is this logged model, or a folder of its."""
    return logged_model_uri(source) == logged.model_id or lies_under(source, logged.artifact_uri)


def lies_under(source: str, root: str | None) -> bool:
    """Whether a URI or path is in a folder, or is it; one that climbs out again in any spelling is not."""
    inside, folder = source.removeprefix("file://"), (root or "").removeprefix("file://").rstrip("/")
    if not folder or not inside.startswith(folder):
        return False
    rest = inside.removeprefix(folder)
    plain = rest
    while (unquoted := unquote(plain)) != plain:
        plain = unquoted
    steps = re.split(r"[/\\]", plain)
    return rest[:1] in {"", "/"} and ".." not in steps and not re.search(r"[?#\x00-\x1f]", plain)
