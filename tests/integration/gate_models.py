"""What a test does to a registry: Unity Catalog at the stand-in, or a real embedded MLflow registry."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from champion_gate_standins.databricks.server import DatabricksStandIn
from integration.mlflow_server import MlflowServer
from integration.store_databases import one_at_a_time

TRAINER = "trainer@example.com"

_names = count(1)

Row = tuple[str, float] | tuple[str, float, int] | tuple[str, float, int, str | None]
"""Name, value, step (0) and dataset (none) of one number."""


def whole(row: Row) -> tuple[str, float, int, str | None]:
    """A row with all that it leaves out."""
    if len(row) == 4:
        return row
    return row[0], row[1], row[2] if len(row) == 3 else 0, None


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
    def run(self, job_id: str, task_run_id: str, metrics: Mapping[str, float] | None = None) -> str: ...
    def log_model(self, run_id: str, params: Mapping[str, str] | None = None) -> str: ...
    def measure(self, model_id: str, *rows: Row) -> None: ...
    def register(self, model_id: str) -> str: ...
    def forget(self, model_id: str) -> None: ...
    def move_alias(self, version: str | None) -> None: ...
    def champion(self) -> str | None: ...
    def tags(self, version: str) -> Mapping[str, str]: ...
    def remove(self, version: str) -> None: ...
    def remove_beneath(self, version: str) -> None: ...


class CatalogModels:
    """Unity Catalog, as the Databricks stand-in has it."""

    registry = "databricks-uc"

    def __init__(self, databricks: DatabricksStandIn, model: str = "main.ml.churn") -> None:
        self.model = model
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
        run_id = self.run(job_id, task_run_id, metrics, user=user)
        return self.catalog.add_version(self.model, run_id=run_id, created_by=TRAINER)

    def run(
        self,
        job_id: str,
        task_run_id: str,
        metrics: Mapping[str, float] | None = None,
        *,
        user: str | None = TRAINER,
    ) -> str:
        tags = {"mlflow.databricks.jobID": job_id, "mlflow.databricks.jobRunID": task_run_id}
        return self.catalog.add_mlflow_run(metrics=metrics, user=user, tags=tags)

    def log_model(self, run_id: str, params: Mapping[str, str] | None = None) -> str:
        return self.catalog.mlflow.log_model(run_id, params=params)

    def measure(self, model_id: str, *rows: Row) -> None:
        for name, value, step, dataset in map(whole, rows):
            self.catalog.mlflow.log_metric(model_id, name, value, step=step, dataset=dataset)

    def register(self, model_id: str) -> str:
        return self.catalog.add_version(self.model, logged_model=model_id)

    def forget(self, model_id: str) -> None:
        self.catalog.mlflow.remove_model(model_id)

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

    def remove_beneath(self, version: str) -> None:
        self.catalog.remove_version(self.model, version, keep_aliases=True)


@cache
def empty_mlflow_database() -> bytes:
    """A registry with its tables made, which takes seconds: one worker makes it for all, and tests get copies."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(os.environ.get("TESTS_SHARED_FOLDER", own))
        file, making = folder / "mlflow.db", folder / "making.db"
        with one_at_a_time(folder / "mlflow.lock"):
            if not file.exists():
                making.unlink(missing_ok=True)
                _make_mlflow_database(f"sqlite:///{making}")
                making.rename(file)
            return file.read_bytes()


def _make_mlflow_database(uri: str) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415 - as below

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_registered_models()
    client.search_experiments()


_unused: list[MlflowServer] = []


@contextmanager
def mlflow_file() -> Iterator[MlflowServer]:
    """An embedded registry without models, whose file one test after the other has for itself.

    MLflow's client keeps an engine for each file, and compiles its statements for each engine, which takes longer
    than what most tests do with it.
    """
    while not _is_emptied(found := _unused.pop() if _unused else _new_file()):
        pass  # somebody whom an earlier test has left behind still uses it, and it is given to no other test
    yield found
    _unused.append(found)


def _is_emptied(server: MlflowServer) -> bool:
    """Empty it by SQLite's own means, for connections to the file stay open; false where one of them is at work."""
    with closing(sqlite3.connect(":memory:")) as empty, closing(sqlite3.connect(server.database)) as used:
        empty.deserialize(empty_mlflow_database())
        try:
            empty.backup(used, progress=_go_on_unless_locked)
        except BlockingIOError:
            return False
    return True


def _go_on_unless_locked(status: int, *_pages: int) -> None:
    """Called between two tries, of which there is no end by itself."""
    if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        raise BlockingIOError


def _new_file() -> MlflowServer:
    folder = tempfile.mkdtemp(prefix="mlflow-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
    atexit.register(shutil.rmtree, folder)
    file = Path(folder) / "mlflow.db"
    return MlflowServer(f"sqlite:///{file}", file)


class MlflowModels:
    """A real MLflow registry: embedded in an SQLite file, or on a server that others use too.

    Args:
        folder: for the file.
        server: None embeds.
        model: the registered model's name; one that nobody else has by default.
    """

    def __init__(self, folder: Path, server: MlflowServer | None = None, model: str | None = None) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415 - slow, and only one of the two registries needs it

        if server is None:
            self.model = model or "churn"
            self.database = folder / "mlflow.db"
            self.database.write_bytes(empty_mlflow_database())
            self.registry = f"sqlite:///{self.database}"
        else:
            self.model = model or f"churn-{next(_names)}"
            self.database, self.registry = server.database, server.uri
        self.client = MlflowClient(tracking_uri=self.registry, registry_uri=self.registry)
        self._runs: dict[str, str] = {}
        self.client.create_registered_model(self.model)
        self.experiment = self.client.create_experiment(
            f"train-{self.model}", artifact_location="s3://bucket/churn"
        )

    def train(
        self,
        job_id: str,
        task_run_id: str,
        metrics: Mapping[str, float],
        *,
        user: str | None = TRAINER,
    ) -> str:
        run_id = self.run(job_id, task_run_id, metrics, user=user)
        made = self.client.create_model_version(
            self.model, source=f"{self.client.get_run(run_id).info.artifact_uri}/model", run_id=run_id
        )
        return str(made.version)

    def run(
        self,
        job_id: str,
        task_run_id: str,
        metrics: Mapping[str, float] | None = None,
        *,
        user: str | None = TRAINER,
    ) -> str:
        tags = {"mlflow.databricks.jobID": job_id, "mlflow.databricks.jobRunID": task_run_id}
        run = self.client.create_run(self.experiment, tags={**tags, "mlflow.user": user or ""})
        for name, value in (metrics or {}).items():
            self.client.log_metric(run.info.run_id, name, value)
        return str(run.info.run_id)

    def log_model(self, run_id: str, params: Mapping[str, str] | None = None) -> str:
        from mlflow.entities import LoggedModelOutput  # noqa: PLC0415 - as above

        made = self.client.create_logged_model(
            self.experiment, name="model", source_run_id=run_id, params=dict(params or {})
        )
        self.client.finalize_logged_model(made.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
        self._runs[made.model_id] = run_id
        return str(made.model_id)

    def measure(self, model_id: str, *rows: Row) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 - as above

        now = int(time.time() * 1000)
        # The store keeps one number of each metric, step and moment, whatever the dataset.
        metrics = [
            Metric(name, value, now + later, step, model_id, dataset, "0f1e2d" if dataset else None)
            for later, (name, value, step, dataset) in enumerate(map(whole, rows))
        ]
        self.client.log_batch(self._runs[model_id], metrics=metrics)

    def register(self, model_id: str) -> str:
        # The store looks the logged model up where the process tracks, as a training job's variable says.
        with pytest.MonkeyPatch.context() as process:
            process.setenv("MLFLOW_TRACKING_URI", self.registry)
            made = self.client.create_model_version(
                self.model, f"models:/{model_id}", self._runs[model_id], model_id=model_id
            )
        return str(made.version)

    def forget(self, model_id: str) -> None:
        self.client.delete_logged_model(model_id)

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

    def remove_beneath(self, version: str) -> None:
        """Delete a version while its alias stays, as where one is deleted and the other set at the same moment."""
        self.remove(version)
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            connection.execute(
                "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, 'Champion', ?)",
                (self.model, int(version)),
            )
