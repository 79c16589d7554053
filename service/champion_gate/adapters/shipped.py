"""The CI files of deploy/, which packages carry along."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

_PACKAGED = files("champion_gate") / "setup"
_IN_THE_REPOSITORY = Path(__file__).parents[3] / "deploy"


def shipped(path: str) -> bytes:
    """A file of deploy/.

    Args:
        path: below deploy/, such as `github/champion-gate.yml`.
    """
    packaged = _PACKAGED / path.rpartition("/")[2]
    return (packaged if packaged.is_file() else _IN_THE_REPOSITORY / path).read_bytes()
