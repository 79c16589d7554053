"""What the job of `deploy/databricks/copy_version.py` does and says, at the Databricks stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from champion_gate_standins.databricks.catalog import Catalog

PARAMETERS = ("model_name", "model_version", "destination", "registry_uri")
COPIED_FROM = "champion_gate_copied_from"


def copy_version(catalog: Catalog, given: Mapping[str, str], created_by: str) -> dict[str, Any]:
    """Copy a version, or find the copy that is there already; returns what the notebook says at its end.

    Args:
        catalog: where both models are.
        given: the run's job parameters.
        created_by: whom the job runs as.
    """
    model, number, destination = given["model_name"], given["model_version"], given["destination"]
    source = catalog.version(model, number)
    copied_from = f"{model}/{number}/{source.version_id}"
    there = catalog.versions(destination)
    found = [one for one in there if catalog.tags(destination, one).get(COPIED_FROM) == copied_from]
    copy = found[0] if found else _copied(catalog, given, copied_from, created_by)
    files = [
        {"path": path, "size": 1000, "sha256": sha256(f"{path} {copied_from}".encode()).hexdigest()}
        for path in ("MLmodel", "model.pkl")
    ]
    contents = {"model_uuid": f"of {copied_from}", "signature": {"inputs": "[]"}, "files": files}
    return {
        "champion_gate": {"model": destination, "version": copy},
        "champion_gate_copy": {
            "copied_from": copied_from,
            "reused": bool(found),
            "source": {"model": model, "version": number, **contents},
            "destination": {"model": destination, "version": copy, **contents},
        },
    }


def _copied(catalog: Catalog, given: Mapping[str, str], copied_from: str, created_by: str) -> str:
    model, number = given["model_name"], given["model_version"]
    return catalog.add_version(
        given["destination"],
        run_id=catalog.version(model, number).run_id,
        created_by=created_by,
        source=f"models:/{model}/{number}",
        tags={COPIED_FROM: copied_from},
    )
