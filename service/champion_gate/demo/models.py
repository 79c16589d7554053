"""The demo's registries: real MLflow in a file, or Unity Catalog at the stand-in."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from champion_gate_standins.databricks.server import DatabricksStandIn

ALIAS = "Champion"
TRAINER = "trainer@example.com"
COPIER = "7c0b5f2e-0000-4000-8000-000000000002"  # a service principal
_FORMER = ({"f1": 0.871, "auc": 0.931, "log_loss": 0.318}, {"max_depth": "6", "learning_rate": "0.1"})
_FRESH = ({"f1": 0.894, "auc": 0.947, "log_loss": 0.287}, {"max_depth": "8", "learning_rate": "0.1"})
"""Metrics and parameters."""


class DemoModels(ABC):
    """A registry with one model."""

    uri: str
    name: str
    destination: str
    title: str

    @abstractmethod
    def fill(self, job_id: str, task_run_id: str) -> None:
        """Register v1, which is Champion, and v2, which the running job has just made."""

    @abstractmethod
    def champion(self) -> str:
        """The version that is Champion."""


def _tags(job_id: str, made_by: str) -> dict[str, str]:
    return {
        "mlflow.databricks.jobID": job_id,
        "mlflow.databricks.jobRunID": made_by,
        "mlflow.source.git.commit": secrets.token_hex(20),
    }


class MlflowModels(DemoModels):
    """MLflow's own registry, in a folder's file."""

    name = destination = "churn"
    title = "MLflow registry"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "mlflow.db"
        self.uri = f"sqlite:///{self._file}"

    def fill(self, job_id: str, task_run_id: str) -> None:
        """See DemoModels."""
        # Made elsewhere: the service, which looks already, must find a whole registry or none.
        making = self._file.with_name("making.db")
        self._fill(f"sqlite:///{making}", job_id, task_run_id)
        making.rename(self._file)

    def _fill(self, uri: str, job_id: str, task_run_id: str) -> None:
        from champion_gate.adapters.mlflow.client import import_mlflow

        import_mlflow(with_database=True)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.create_registered_model(self.name)
        experiment = client.create_experiment(f"job:/{job_id}", artifact_location="s3://example-bucket/churn")
        for made_by, (metrics, params) in (("1", _FORMER), (task_run_id, _FRESH)):
            tags = {"mlflow.user": TRAINER, **_tags(job_id, made_by)}
            run = client.create_run(experiment, tags=tags)
            for name, value in metrics.items():
                client.log_metric(run.info.run_id, name, value)
            for name, text in params.items():
                client.log_param(run.info.run_id, name, text)
            source = f"s3://example-bucket/churn/{run.info.run_id}/artifacts/model"
            client.create_model_version(self.name, source=source, run_id=run.info.run_id)
        client.set_registered_model_alias(self.name, ALIAS, "1")

    def champion(self) -> str:
        """See DemoModels."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return str(client.get_registered_model(self.name).aliases[ALIAS])


class CatalogModels(DemoModels):
    """Unity Catalog, as the Databricks stand-in has it: trained in staging, served in production."""

    uri = "databricks-uc"
    name = "staging.ml.churn"
    destination = "prod.ml.churn"
    title = "Unity Catalog"

    def __init__(self, databricks: DatabricksStandIn) -> None:
        self._catalog = databricks.catalog

    def fill(self, job_id: str, task_run_id: str) -> None:
        """See DemoModels."""
        for each in (self.name, self.destination):
            self._catalog.add_model(each)
        for made_by, (metrics, params) in (("1", _FORMER), (task_run_id, _FRESH)):
            run_id = self._catalog.add_mlflow_run(
                user=TRAINER, metrics=metrics, params=params, tags=_tags(job_id, made_by)
            )
            self._catalog.add_version(self.name, run_id=run_id, created_by=TRAINER)
        self.copy("1")
        self._catalog.set_alias(self.destination, ALIAS, "1")

    def copy(self, version: str) -> dict[str, object]:
        """Copy a version to production as the job does; returns what that says."""
        from champion_gate_standins.databricks.copying import CopyJob

        given = {"model_name": self.name, "model_version": version, "destination": self.destination}
        return CopyJob(self._catalog, COPIER).run(given)

    def champion(self) -> str:
        """See DemoModels."""
        return str(self._catalog.alias(self.destination, ALIAS))
