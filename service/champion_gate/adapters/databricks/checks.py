"""What `champion-gate doctor` looks at in the Databricks workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from champion_gate.adapters.databricks.connection import ME, DatabricksConnection
from champion_gate.adapters.databricks.errors import CREDENTIALS
from champion_gate.adapters.databricks.models import Me
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import Gate

_IDENTITY = Check(
    "databricks.identity",
    "the workspace answers, and takes our credentials",
    "Every promotion begins and ends with calls to Databricks.",
    cheap=True,
)
CHECKS = (_IDENTITY,)


def checkups(connection: DatabricksConnection, gates: Sequence[Gate]) -> Iterator[Checkup]:
    """The checks of a workspace and of these gates; no call is made yet."""
    del gates
    yield Checkup(_IDENTITY, lambda: _identity(connection))


def _identity(connection: DatabricksConnection) -> Iterator[Finding]:
    me = connection.begin().get(Me, ME)
    if not me.name:
        yield _IDENTITY.not_known(f"{connection.host} does not say who we are.", CREDENTIALS)
        return
    yield _IDENTITY.ok(f"we are {me.name} at {connection.host} (workspace {connection.workspace_id})")
