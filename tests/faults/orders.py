"""An operator's orders over the API of a service that may die meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import requests

from champion_gate.domain.callers import Role
from faults.storm import Storm
from integration.gate_world import api_token

MODEL = "prod.ml.m0"
PATH = f"/api/v1/models/{MODEL}/aliases/Champion"
PATIENCE_SECONDS = 60.0


def credentials(made: Storm) -> dict[str, str]:
    """The headers of an operator."""
    return {"Authorization": f"Bearer {api_token(made.store, Role.OPERATOR)}"}


def order(made: Storm, headers: Mapping[str, str], version: str | None) -> int:
    """Put the alias there, or take it away, as far as the service lives to do it.

    Returns:
        the answer's status; 0 where none came.
    """
    made.far.note("ordered", model=MODEL, version=version)
    url, why = made.started[-1].url + PATH, {"reason": "it answers nonsense"}
    with suppress(requests.RequestException):
        if version is None:
            answer = requests.delete(url, params=why, headers=headers, timeout=PATIENCE_SECONDS)
        else:
            body = {**why, "version": version}
            answer = requests.put(url, json=body, headers=headers, timeout=PATIENCE_SECONDS)
        if answer.status_code in range(400, 500):
            made.far.note("refused", model=MODEL, version=version)
        return answer.status_code
    return 0
