"""What `champion-gate doctor` looks at in an MLflow registry, a server's or a file's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from champion_gate.domain.findings import AWAY, Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.errors import VendorError, VendorNotFoundError

if TYPE_CHECKING:
    from champion_gate.adapters.mlflow.registry import MlflowRegistry

_REGISTRY = Check(
    "mlflow.registry",
    "the MLflow registry answers, and takes our credentials and the name by which we call it",
    "Versions are found there, and aliases set.",
    cheap=True,
)
_MODEL = Check(
    "mlflow.model",
    "the gate's model can be read, and the run and experiment of its newest version",
    "A version is compared by its run's numbers; what cannot be read is not asked for.",
)
CHECKS = (_REGISTRY, _MODEL)


def checkups(registry: MlflowRegistry, gates: Sequence[Gate]) -> Iterator[Checkup]:
    """The checks of a registry and of the models of these gates; no call is made yet."""
    yield Checkup(_REGISTRY, lambda: _registry(registry))
    for gate in gates:
        for model in dict.fromkeys([gate.model, gate.destination]):
            yield Checkup(_MODEL, partial(_model, registry, model, gate.alias), gate.name)


def _registry(registry: MlflowRegistry) -> Iterator[Finding]:
    try:
        registry.check()
    except VendorError as error:  # also what is said to every call: it is told here
        yield _REGISTRY.fail(error.message, error.hint or AWAY)
        return
    yield _REGISTRY.ok(f"{registry.server_version() or 'it'} answers at {registry.name}")


def _model(registry: MlflowRegistry, model: str, alias: str) -> Iterator[Finding]:
    try:
        holder = registry.get_alias(model, alias)
    except VendorNotFoundError as missing:
        yield _MODEL.warning(
            f"model {model}: {missing.message}",
            f"If it has a version already: {registry.listing_needs} Else the first run of the job makes it.",
        )
        return
    stands = f"{alias} of {model} stands on {f'version {holder}' if holder else 'none'}"
    versions = registry.list_versions(model)
    run_id = versions[0].run_id if versions else None
    if run_id is None:
        yield _MODEL.ok(
            f"{stands}; {'its newest version names no run' if versions else 'it has no version yet'}"
        )
        return
    try:
        run = registry.get_training_run(run_id)
    except VendorNotFoundError as missing:
        yield _MODEL.warning(
            f"the run of version {versions[0].version} of {model}: {missing.message}",
            f"{missing.hint} Versions whose run is gone cannot be compared.",
        )
        return
    if run.experiment_id is not None:
        registry.find_training_runs(run.experiment_id, [run_id])
    yield _MODEL.ok(f"{stands}; version {versions[0].version} and its run can be read")
