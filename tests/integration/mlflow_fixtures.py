"""MLflow's server for every test of a process.

A test file takes it with `pytest_plugins = ("integration.mlflow_fixtures",)`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.gate_models import empty_mlflow_database
from integration.mlflow_server import MlflowServer, mlflow_server


@pytest.fixture(scope="session")
def running_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server for every test of the process; each has a model of its own name."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    (folder / "mlflow.db").write_bytes(empty_mlflow_database())
    with mlflow_server(folder) as uri:
        yield MlflowServer(uri, folder / "mlflow.db")
