"""mlflow's client, set up to be silent, to call nobody else, and to keep our budgets."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from champion_gate import SILENT_MLFLOW
from champion_gate.adapters.http.answer import why_not_sent
from champion_gate.adapters.http.deadline import BoundedCalls, Timed, Timeouts, untimed
from champion_gate.adapters.mlflow.errors import VENDOR, translated
from champion_gate.errors import GateError, VendorUnavailableError

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
_SQLITE = "sqlite:///"
_setting_up = threading.Lock()


class MlflowCalls:
    """Makes calls through one MlflowClient; may be shared between threads.

    Each is bounded as a whole, sent once, and follows no redirect; `flow` repeats what may be repeated.

    Args:
        uri: `http(s)://…` of an MLflow server, or `sqlite:///path`.
        timeouts: seconds; `read` is rounded up to whole ones, which is all that mlflow takes.
        timed: takes the time of each piece of work.
    """

    def __init__(self, uri: str, timeouts: Timeouts, timed: Timed = untimed) -> None:
        self._uri = uri
        self._timeouts = timeouts
        self._bounded = BoundedCalls(VENDOR, timed=timed)
        self._client: MlflowClient | None = None

    def run(self, work: Callable[[MlflowClient], T], *, writes: bool = False) -> T:
        """Call `work` with the client, and translate what it raises."""

        def bounded(stop_if_abandoned: Callable[[], None]) -> T:
            self._refuse_absent()
            client = self._connected()
            stop_if_abandoned()
            try:
                return work(client)
            except GateError:
                raise
            except Exception as error:
                raise translated(error, writes=writes, host=urlsplit(self._uri).netloc) from error

        return self._bounded.run(bounded, seconds=self._timeouts.total, writes=writes)

    def _refuse_absent(self) -> None:
        """Fail fast and for sure before anything is sent.

        mlflow has one time-out for connecting and reading, so a host that swallows packets would cost the
        longer one. And it makes an SQLite file where there is none: a mistyped path would look like a
        registry without models.
        """
        if self._uri.startswith(_SQLITE):
            path = Path(self._uri.removeprefix(_SQLITE))
            if not path.is_file():
                raise VendorUnavailableError(
                    VENDOR, f"there is no registry file {path} (yet).", hint="Check `registry` in gates.yaml."
                )
            return
        parts = urlsplit(self._uri)
        if _goes_through_proxy(self._uri):
            return
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=self._timeouts.connect).close()
        except OSError as error:
            _, hint = why_not_sent(error) or ("", "")
            raise VendorUnavailableError(
                VENDOR, f"cannot connect to {self._uri} ({error}).", hint=hint
            ) from error

    def _connected(self) -> MlflowClient:
        if self._client is None:
            # Two threads that opened a fresh SQLite registry at once would both create its tables.
            with _setting_up:
                if self._client is None:
                    self._client = _new_client(self._uri, self._timeouts)
        return self._client


def _goes_through_proxy(uri: str) -> bool:
    import requests.utils  # noqa: PLC0415 - as late as mlflow, which needs it too

    return bool(requests.utils.select_proxy(uri, requests.utils.get_environ_proxies(uri)))


def import_mlflow(*, with_database: bool) -> None:
    """Import mlflow, silent and without telemetry; later calls cost nothing.

    Args:
        with_database: also what opens SQLite files.
    """
    os.environ.update(SILENT_MLFLOW)
    import mlflow  # noqa: PLC0415 - takes seconds

    if with_database:
        import mlflow.store.model_registry.sqlalchemy_store  # noqa: PLC0415
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401, PLC0415

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _new_client(uri: str, timeouts: Timeouts) -> MlflowClient:
    """A client whose stores are open.

    mlflow takes its budgets from environment variables alone, read at each call
    (mlflow/utils/rest_utils.py, http_request). They are mlflow's own and hold for this process.
    """
    os.environ.update(
        {
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(timeouts.read)),
            # It repeats POSTs as well as GETs (allowed_methods=None in mlflow/utils/request_utils.py).
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
        }
    )
    import_mlflow(with_database=uri.startswith(_SQLITE))
    from mlflow import MlflowClient  # noqa: PLC0415 - as above

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if uri.startswith(_SQLITE):
            # Each half makes what the file lacks when it is first used: let one thread do it.
            client.search_registered_models(max_results=1)
            client.search_experiments(max_results=1)
    except Exception as error:
        raise translated(error, writes=False, host=urlsplit(uri).netloc) from error
    return client
