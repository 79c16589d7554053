"""What flow asks of a model registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from champion_gate.domain.versions import (
    LoggedModel,
    ModelVersion,
    TaggedVersion,
    TrainingRun,
    VersionDetails,
)


class ModelRegistry(Protocol):
    """Unity Catalog, or an MLflow registry.

    Model names given here have been checked and, where the registry folds case, are lower-case.
    """

    @property
    def name(self) -> str:
        """Which registry: `databricks-uc`, or its URI without credentials."""
        ...

    @property
    def folds_case(self) -> bool:
        """Whether model names and aliases that differ only in case are the same."""
        ...

    @property
    def records_creators(self) -> bool:
        """Whether versions say who created them; where they should and one does not, nobody is excused."""
        ...

    @property
    def lists_tags(self) -> bool:
        """Whether `with_tag` costs one list; else it costs a call a version."""
        ...

    @property
    def listing_needs(self) -> str:
        """What may be missing where a model that can be read lists no version; a sentence for people."""
        ...

    def list_versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All versions, newest (highest number) first."""
        ...

    def get_version(self, model: str, version: str) -> ModelVersion:
        """One version.

        Raises:
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def get_details(self, version: ModelVersion, tags: Mapping[str, str] | None = None) -> VersionDetails:
        """The version, its tags, its MLflow run and its logged model, as they are now.

        Args:
            version: as it was read before.
            tags: its tags, where both have just been read, and need not be again.

        Raises:
            VendorNotFoundError: one of them is not there, or the number belongs to another version by now.
        """
        ...

    def get_training_run(self, run_id: str) -> TrainingRun:
        """One MLflow run.

        Raises:
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def find_training_runs(self, experiment_id: str, run_ids: Sequence[str]) -> Mapping[str, TrainingRun]:
        """Those of these MLflow runs that are in one experiment, in few calls; those that are left out may exist."""
        ...

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """One logged model (MLflow 3).

        Raises:
            InvalidNameError: it cannot be the id of one.
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def find_logged_models(self, experiment_id: str, model_ids: Sequence[str]) -> Mapping[str, LoggedModel]:
        """Those of these logged models that are in one experiment, in few calls; those that are left out may exist.

        What tells whose they are counts, not their numbers.
        """
        ...

    def with_tag(self, versions: Sequence[ModelVersion], key: str, value: str) -> tuple[ModelVersion, ...]:
        """Those of these versions of one model whose tag `key` is exactly `value`, in their order."""
        ...

    def get_alias(self, model: str, alias: str) -> str | None:
        """The version that holds the alias; None only after a successful read of the model itself."""
        ...

    def get_holder(self, model: str, alias: str, known: Sequence[ModelVersion] = ()) -> TaggedVersion | None:
        """The version that holds the alias; where it tells of none, only `get_alias` can say that none does.

        Args:
            model: the model.
            alias: the alias.
            known: versions as they were read before: one of these takes no further call to be told whole.
        """
        ...

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Put the alias on a version: one write, last writer wins, nothing read back."""
        ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Take the alias away; no error where there is none."""
        ...

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        """Write one tag of a version."""
        ...

    def copy_version(self, source: ModelVersion, model: str, tags: Mapping[str, str]) -> ModelVersion:
        """Make a version of another model out of this one: one write, which makes another one when it is repeated.

        Args:
            source: the version.
            model: which exists.
            tags: of the new version.

        Raises:
            VendorUnavailableError: with `outcome_unknown` where it may have been carried out.
            VendorRefusedError: also where this registry copies nothing by itself.
        """
        ...

    def check(self) -> None:
        """A cheap call that shows that the registry answers us."""
        ...

    def version_url(self, version: ModelVersion) -> str | None:
        """A page for people, where there is one. No call is made."""
        ...
