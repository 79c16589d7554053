"""The demo's world: stand-ins for Databricks and a CI/CD system, a real MLflow registry, and the real service."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
import requests
import yaml

from champion_gate import gunicorn_conf
from champion_gate.bootstrap.databases import migrate_database
from champion_gate.bootstrap.starting import listening
from champion_gate.cli.output import clean
from champion_gate.demo.around import gate_around
from champion_gate.demo.ci import TRAINER_LOGIN, DemoCi, serving
from champion_gate.demo.impatient import APP
from champion_gate.demo.models import TRAINER, CatalogModels, DemoModels, MlflowModels
from champion_gate.errors import VendorUnavailableError

if TYPE_CHECKING:
    from champion_gate_standins.databricks.server import DatabricksStandIn

JOB_NAME = "train-churn"
_START_SECONDS = 30.0  # on a slow machine imports alone take ten
_STOP_SECONDS = 35.0  # several times what the service takes at the most


class Interrupts:
    """Raises KeyboardInterrupt for the first signal; a second must not stop the stopping, which is bounded."""

    def __init__(self) -> None:
        self._held = False
        self._came = False
        self._told = False

    def install(self) -> None:
        """Take the signals; only in the main thread."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._take)

    def _take(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True
        if not self._held:
            self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Tell of a signal only when the block ends: what it starts is then known to whoever has to stop it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._came:
                self._tell()


@dataclass
class DemoWorld:
    """What runs while the demo lasts."""

    url: str
    token: str
    models: DemoModels
    environ: dict[str, str]
    databricks: DatabricksStandIn
    ci: DemoCi
    job_run_id: str


@contextmanager
def demo_world(
    folder: Path,
    port: int,
    say: Callable[[str], None],
    ci_kind: type[DemoCi],
    interrupts: Interrupts,
    *,
    full: bool,
) -> Iterator[DemoWorld]:
    """Start everything on loopback; when the block ends nothing is left of it.

    Args:
        folder: for the registry, the database and gates.yaml; empty.
        port: of the service; 0 takes a free one.
        say: tells a person how far it is.
        ci_kind: which CI/CD system.
        interrupts: held back while the service's process is being made.
        full: on Unity Catalog, with jobs and an endpoint around the promotion, instead of on MLflow.

    Raises:
        PortInUseError: another process listens on the service's port.
    """
    from champion_gate_standins.common.server import serve
    from champion_gate_standins.databricks.server import DatabricksStandIn, Hook

    hook = ("databricks", secrets.token_urlsafe(24))
    databricks = DatabricksStandIn()
    with ExitStack() as stack:
        # Whoever only looks for a free port may find it taken by the time the service listens.
        listener = stack.enter_context(listening("127.0.0.1", port))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        databricks_url = stack.enter_context(serve(databricks.app))
        ci = stack.enter_context(serving(ci_kind, url))
        say(f"Databricks stand-in at {databricks_url}, {ci.name} stand-in at {ci.url}")
        job_id = databricks.jobs.add_job(
            JOB_NAME, creator=TRAINER, run_as=TRAINER, hook=Hook(f"{url}/hooks/databricks", *hook)
        )
        job_run_id = databricks.jobs.start_run(job_id, creator=TRAINER)
        models: DemoModels = MlflowModels(folder)
        around: dict[str, object] = {}
        if full:
            models = catalog = CatalogModels(databricks)
            around = gate_around(databricks, catalog)
        environ = {
            "CHAMPION_GATE_CONFIG": str(_write_gates(folder, models, ci, job_id, around)),
            "CHAMPION_GATE_DATABASE_URL": f"sqlite:///{folder}/champion-gate.db",
            "CHAMPION_GATE_DATABRICKS_HOOK_USERNAME": hook[0],
            "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD": hook[1],
            **ci.environ(),
            "DATABRICKS_HOST": databricks_url,
            "DATABRICKS_TOKEN": "standin-token",
        }
        # The service starts while the registry is made: both take seconds, of one core each.
        log = folder / "service.log"
        process = stack.enter_context(started_service(environ, listener, log, interrupts, full=full))
        models.fill(job_id, databricks.jobs.task_run_id(job_run_id, "train"))
        say(f"{models.title} with {models.destination} v1 (Champion) and a freshly trained {models.name} v2")
        _wait_until_alive(process, url, log)
        say(f"champion-gate at {url}")
        token = _operator_token(environ["CHAMPION_GATE_DATABASE_URL"])
        yield DemoWorld(url, token, models, environ, databricks, ci, job_run_id)


def _operator_token(database_url: str) -> str:
    """Make one as `champion-gate tokens create` does."""
    from champion_gate.bootstrap.core import SystemChance, SystemClock
    from champion_gate.domain.callers import Role
    from champion_gate.flow.api_tokens import ApiTokens
    from champion_gate.store import open_store

    with open_store(database_url) as store:
        tokens = ApiTokens(store, SystemClock(), SystemChance())
        _, text = tokens.create("demo-operator", Role.OPERATOR, expires_at=None, created_by="demo")
    return text


@contextmanager
def started_service(
    environ: dict[str, str], listener: socket.socket, log: Path, interrupts: Interrupts, *, full: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """What `champion-gate serve` becomes as a process of its own, stopped when the block ends; the listener is its alone."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CHAMPION_GATE_", "DATABRICKS_"))}
    migrate_database(environ["CHAMPION_GATE_DATABASE_URL"])
    there = f"fd://{listener.fileno()}"
    command = gunicorn_conf.command(there, app=APP) if full else gunicorn_conf.command(there)
    process = None
    try:
        # A group of its own: Ctrl-C reaches the demo, which then stops the service in an orderly way.
        with log.open("wb") as output, interrupts.held():
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                env={**inherited, **environ},
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[listener.fileno()],
            )
        listener.close()
        yield process
    finally:
        if process is not None:
            _stop(process)


def _wait_until_alive(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/livez", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.05)
    for line in log.read_text(errors="replace").splitlines()[-10:]:
        click.echo(clean(line), err=True)
    raise VendorUnavailableError("the service", "did not start; its last lines stand above.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except BaseException as error:  # Ctrl-C once more, too
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def _write_gates(
    folder: Path, models: DemoModels, ci: DemoCi, job_id: str, around: dict[str, object]
) -> Path:
    gate = {
        "name": "churn",
        "jobs": [int(job_id)],
        "model": models.name,
        "approval": ci.approval(),
        "identities": {TRAINER: TRAINER_LOGIN},
        "metrics": {
            "f1": {"better": "higher", "max_worse": 0.01, "at_least": 0.8},
            "log_loss": {"better": "lower", "max_worse": 0.02},
        },
        **around,
    }
    path = folder / "gates.yaml"
    path.write_text(
        yaml.safe_dump({"registry": models.uri, **ci.top_level(), "gates": [gate]}, sort_keys=False)
    )
    return path
