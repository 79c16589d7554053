"""What the job of `deploy/databricks/copy_version.py` does and says, at the Databricks stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from champion_gate_standins.databricks.catalog import Catalog

PARAMETERS = ("model_name", "model_version", "destination", "registry_uri")
COPIED_FROM = "champion_gate_copied_from"
FILES = [
    {"path": "MLmodel", "size": 10, "sha256": "a" * 64},
    {"path": "model.pkl", "size": 9, "sha256": "b" * 64},
]
"""What both sides are said to hold."""
_OURS = "champion_gate_"


@dataclass
class CopyJob:
    """Copies a version, or finds the whole copy of it that is there.

    Attributes:
        catalog: where both models are.
        created_by: whom the job runs as.
        tells_source: whether the registry tells where a copy came from.
        dies: whether a run is killed after it has created the copy, and before that is ready: it says nothing then.
        made: changes to what the job registers, as `Catalog.add_version` takes them.
        made_at: so many milliseconds later than now.
        said: changes to what the job says of the copy.
        sides: the same of the "source" and the "destination" that it has read back.
    """

    catalog: Catalog
    created_by: str
    tells_source: bool = True
    dies: bool = False
    made: Mapping[str, Any] = field(default_factory=dict)
    made_at: int = 0
    said: Mapping[str, Any] = field(default_factory=dict)
    sides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def run(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Make the copy, or find it; returns what the notebook says at its end, nothing where it dies.

        Args:
            given: the run's job parameters.
        """
        model, number, destination = given["model_name"], given["model_version"], given["destination"]
        copied_from = f"{model}/{number}/{self.catalog.version(model, number).version_id}"
        source = f"models:/{model}/{number}"
        there = self.catalog.versions(destination)
        earlier = next((one for one in there if self._is_copy(destination, one, source, copied_from)), None)
        copy = earlier or self._create(given, source, copied_from)
        if self.dies:
            return {}
        contents = {"model_uuid": f"of {copied_from}", "signature": {"inputs": "[]"}, "files": FILES}
        sides = {"source": (model, number), "destination": (destination, copy)}
        read = {
            side: {"model": name, "version": version, **contents, **self.sides.get(side, {})}
            for side, (name, version) in sides.items()
        }
        told = {"copied_from": copied_from, "reused": earlier is not None, **read, **self.said}
        return {"champion_gate": {"model": destination, "version": copy}, "champion_gate_copy": told}

    def _is_copy(self, destination: str, number: str, source: str, copied_from: str) -> bool:
        found = self.catalog.version(destination, number)
        if found.status != "READY" or found.source not in {source, ""} or found.created_by != self.created_by:
            return False
        return found.tags.get(COPIED_FROM) == copied_from

    def _create(self, given: Mapping[str, str], source: str, copied_from: str) -> str:
        """All tags of the source go along, but for ours."""
        found = self.catalog.version(given["model_name"], given["model_version"])
        theirs = {key: value for key, value in found.tags.items() if not key.startswith(_OURS)}
        how = {
            "run_id": found.run_id,
            "created_by": self.created_by,
            "source": source,
            "tags": {**theirs, COPIED_FROM: copied_from},
            "model_id": found.model_id,
            "status": "PENDING_REGISTRATION" if self.dies else "READY",
            **self.made,
        }
        number = self.catalog.add_version(given["destination"], **how)
        made = self.catalog.version(given["destination"], number)
        made.created_at += self.made_at
        if not self.tells_source:
            made.source = ""
        return number
