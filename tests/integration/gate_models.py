"""What a test does to a registry: Unity Catalog at the stand-in, or a real embedded MLflow registry."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

from champion_gate.standins.databricks import DatabricksStandIn

TRAINER = "trainer@example.com"


class Models(Protocol):
    """What a test does to a registry, whichever it is."""

    registry: str
    model: str

    def train(
        self,
        job_id: str,
        task_run_id: str,
        metrics: Mapping[str, float],
        *,
        user: str | None = TRAINER,
    ) -> str: ...
    def move_alias(self, version: str | None) -> None: ...
    def champion(self) -> str | None: ...
    def tags(self, version: str) -> Mapping[str, str]: ...
    def remove(self, version: str) -> None: ...


class CatalogModels:
    """Unity Catalog, as the Databricks stand-in has it."""

    registry = "databricks-uc"
    model = "main.ml.churn"

    def __init__(self, databricks: DatabricksStandIn) -> None:
        self.catalog = databricks.catalog
        self.catalog.add_model(self.model)

    def train(
        self,
        job_id: str,
        task_run_id: str,
        metrics: Mapping[str, float],
        *,
        user: str | None = TRAINER,
    ) -> str:
        tags = {"mlflow.databricks.jobID": job_id, "mlflow.databricks.jobRunID": task_run_id}
        run_id = self.catalog.add_mlflow_run(metrics=dict(metrics), user=user, tags=tags)
        return self.catalog.add_version(self.model, run_id=run_id, created_by=user)

    def move_alias(self, version: str | None) -> None:
        if version is None:
            self.catalog.drop_alias(self.model, "Champion")
        else:
            self.catalog.set_alias(self.model, "Champion", version)

    def champion(self) -> str | None:
        return self.catalog.alias(self.model, "Champion")

    def tags(self, version: str) -> Mapping[str, str]:
        return self.catalog.tags(self.model, version)

    def remove(self, version: str) -> None:
        self.catalog.remove_version(self.model, version)


@cache
def _empty_mlflow_database() -> bytes:
    """A registry with its tables made, which takes seconds; tests get copies."""
    from mlflow import MlflowClient  # noqa: PLC0415 - as below

    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_registered_models()
        return (Path(folder) / "mlflow.db").read_bytes()


class MlflowModels:
    """A real embedded MLflow registry in an SQLite file."""

    model = "churn"

    def __init__(self, folder: Path) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415 - slow, and only one of the two registries needs it

        (folder / "mlflow.db").write_bytes(_empty_mlflow_database())
        self.registry = f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(tracking_uri=self.registry, registry_uri=self.registry)
        self.client.create_registered_model(self.model)
        self.experiment = self.client.create_experiment("train-churn", artifact_location="s3://bucket/churn")

    def train(
        self,
        job_id: str,
        task_run_id: str,
        metrics: Mapping[str, float],
        *,
        user: str | None = TRAINER,
    ) -> str:
        tags = {"mlflow.databricks.jobID": job_id, "mlflow.databricks.jobRunID": task_run_id}
        run = self.client.create_run(self.experiment, tags={**tags, "mlflow.user": user or ""})
        for name, value in metrics.items():
            self.client.log_metric(run.info.run_id, name, value)
        made = self.client.create_model_version(
            self.model, source=f"s3://bucket/churn/{run.info.run_id}", run_id=run.info.run_id
        )
        return str(made.version)

    def move_alias(self, version: str | None) -> None:
        if version is None:
            self.client.delete_registered_model_alias(self.model, "Champion")
        else:
            self.client.set_registered_model_alias(self.model, "Champion", version)

    def champion(self) -> str | None:
        aliases = self.client.get_registered_model(self.model).aliases
        return str(aliases["Champion"]) if "Champion" in aliases else None

    def tags(self, version: str) -> Mapping[str, str]:
        return dict(self.client.get_model_version(self.model, version).tags)

    def remove(self, version: str) -> None:
        self.client.delete_model_version(self.model, version)
