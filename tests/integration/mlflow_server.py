"""MLflow's own server, as its users run it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from flask import Response, request


@dataclass(frozen=True)
class MlflowServer:
    """Where it listens, and the SQLite file that it keeps everything in."""

    uri: str
    database: Path


@contextmanager
def mlflow_server(folder: Path, replica: Path | None = None) -> Iterator[str]:
    """MLflow's own server as its users run it, on a port that is bound before it starts.

    Args:
        folder: where its database is, `mlflow.db`.
        replica: a database that all reads go to, as with its option `--read-replica-backend-store-uri`.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.set_inheritable(True)
    environment = {
        **os.environ,
        # What `mlflow server` itself sets; that command is no part of the skinny package's test set-up.
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": f"{folder}/artifacts",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_REQUEST_MAX_RETRIES": "0",  # which would keep the server from stopping
        # base64 of 32 bytes, as a Fernet key is.
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "HOME": str(folder),
        "PYTHONWARNINGS": "ignore",
    }
    if replica is not None:
        environment["_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE"] = f"sqlite:///{replica}"
    # A client of a test that pauses must not find its connection gone.
    options = ["--workers=1", "--threads=4", "--keep-alive=60", "--log-level=error"]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                *options,
                f"--bind=fd://{listener.fileno()}",
                "mlflow.server:app",
            ],
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
    uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=110) as answer:
            assert answer.read() == b"OK", (folder / "server.log").read_text()
        yield uri
    finally:
        server.terminate()
        server.wait(timeout=60)
        listener.close()


def handed_on(uri: str) -> Response:
    """What the server answers to the request that Flask is at."""
    answer = requests.request(
        request.method,
        f"{uri}{request.full_path}",
        data=request.get_data(),
        headers={"Content-Type": request.content_type or "application/json"},
        timeout=60,
    )
    return Response(answer.content, answer.status_code, content_type=answer.headers.get("Content-Type"))
