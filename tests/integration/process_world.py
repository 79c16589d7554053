"""The gate as it is run: `champion-gate serve` as a real process between stand-ins that live in this one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import psutil
import requests

from champion_gate import gunicorn_conf
from champion_gate.bootstrap.databases import migrate_database
from champion_gate.domain.ledger.chain import LedgerLine
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.store import Store, open_store
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn, Hook
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.github.state import Run
from integration.commands import clean_environ, command_line, run_command
from integration.forked import Forked
from integration.gate_models import TRAINER, CatalogModels, MlflowModels, Models
from integration.gate_world import GATE, REPOSITORY, SECRETS
from integration.mlflow_server import MlflowServer

PATIENCE = 60.0
IMPATIENT = "impatient:create()"
WORKFLOW = Path(__file__).parents[2] / "deploy" / "github" / "champion-gate.yml"


def until(true: Callable[[], Any], what: Callable[[], object] | str, seconds: float = PATIENCE) -> Any:
    """Poll until it is true, and return what it said.

    Args:
        true: asked again and again.
        what: says what did not happen.
        seconds: how long it may take, on a busy machine.
    """
    deadline, pause = time.monotonic() + seconds, 0.005
    while not (said := true()):
        if time.monotonic() > deadline:
            raise AssertionError(what if isinstance(what, str) else what())
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return said


def free_port() -> int:
    """A port that outgoing connections of other tests cannot take meanwhile: it lies below the ephemeral ones."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def elsewhere() -> dict[str, str]:
    """The header of a request that a proxy passes on from an address of its own: strangers slow only themselves."""
    return {"X-Forwarded-For": str(IPv4Address(random.SystemRandom().randrange(10 << 24, 11 << 24)))}


class Served:
    """One `champion-gate serve`: gunicorn's master, and its worker.

    Attributes:
        patience: for how many seconds a start is waited for.
    """

    patience = PATIENCE

    def __init__(
        self,
        environ: Mapping[str, str],
        log: Path,
        *arguments: str,
        app: str = "",
        forked: bool = False,
    ) -> None:
        """Begin.

        Args:
            environ: the variables that concern us.
            log: the file of its output, in the folder where it runs.
            arguments: what follows `champion-gate serve`.
            app: what gunicorn serves, if not what the command serves: `module:factory()`, such as IMPATIENT.
            forked: see the module of this name; for where it is not the start that is looked at.
        """
        self.log = log
        self.url = f"http://127.0.0.1:{environ['CHAMPION_GATE_PORT']}"
        self.begun = time.monotonic()
        command = command_line("serve", *arguments)
        if app:
            migrate_database(environ["CHAMPION_GATE_DATABASE_URL"])
            command = gunicorn_conf.command(f"127.0.0.1:{environ['CHAMPION_GATE_PORT']}", app=app)
            paths = [*filter(None, [environ.get("PYTHONPATH")]), str(Path(__file__).parents[1])]
            environ = {**environ, "PYTHONPATH": os.pathsep.join(paths)}
        start: Callable[..., Forked | subprocess.Popen[bytes]] = Forked if forked else _started
        self.process = start(command, cwd=log.parent, env=clean_environ(environ), output=log)
        self._known: dict[int, psutil.Process] = {}

    def output(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """The master and every worker that was ever seen and is still there."""
        if self.process.poll() is None:  # its number may be another's once it has ended
            with contextlib.suppress(psutil.NoSuchProcess):
                master = psutil.Process(self.process.pid)
                self._known |= {each.pid: each for each in (master, *master.children(recursive=True))}
        return [each for each in self._known.values() if _lives(each)]

    def workers(self) -> list[psutil.Process]:
        """The worker, as a list that is empty when it is gone."""
        return [each for each in self.processes() if each.pid != self.process.pid]

    def answers(self) -> bool:
        """Whether `/livez` answers; fails the test when the process has ended."""
        assert self.process.poll() is None, self.output()
        try:
            return requests.get(f"{self.url}/livez", timeout=5).ok
        except requests.RequestException:
            return False

    def wait_until_alive(self) -> Served:
        """Return once it answers."""
        until(self.answers, self.output, self.patience)
        self.processes()
        return self

    def wait_until_working(self) -> Served:
        """Return once its workers have started."""
        self.wait_until_alive()
        until(lambda: "workers are running" in self.output(), self.output, self.patience)
        return self

    def kill(self) -> None:
        """kill -9: the master first, so that it starts no other worker."""
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait(PATIENCE)
        until(lambda: not self.processes(), "killed processes are still there")

    def stop(self, by: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to end, and return how many seconds it took."""
        self.processes()
        begun = time.monotonic()
        self.process.send_signal(by)
        self.process.wait(PATIENCE)
        return time.monotonic() - begun


def _started(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path
) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass
class ProcessWorld:
    """Everything a test acts on, and what it looks at afterwards.

    Attributes:
        impatient: whether services that are started from now on wait less, see IMPATIENT.
        forked: whether they are copies, see `Served`.
    """

    folder: Path
    databricks: DatabricksStandIn
    github: GitHubStandIn
    models: Models
    github_url: str
    job_id: str
    environ: dict[str, str]
    stack: ExitStack
    started: list[Served] = field(default_factory=list)
    gates: list[dict[str, object]] = field(default_factory=list)
    impatient: bool = False
    forked: bool = True

    # --- the process ---

    @property
    def url(self) -> str:
        """Where the service listens."""
        return f"http://127.0.0.1:{self.environ['CHAMPION_GATE_PORT']}"

    def launch(self, *arguments: str, **environ: str) -> Served:
        """Start `champion-gate serve` and do not wait for it."""
        log = self.folder / f"service-{len(self.started) + 1}.log"
        app = IMPATIENT if self.impatient else ""
        served = Served({**self.environ, **environ}, log, *arguments, app=app, forked=self.forked)
        self.started.append(served)
        return served

    def serve(self, **environ: str) -> Served:
        """Start `champion-gate serve`, and return once its workers run."""
        return self.launch(**environ).wait_until_working()

    def kill_all(self) -> None:
        """Leave no process."""
        for each in self.started:
            each.kill()

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours to its end, in this process."""
        return run_command(*arguments, environ={**self.environ, **environ}, folder=self.folder)

    def run_process(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours to its end, as a process of its own."""
        return subprocess.run(
            command_line(*arguments),
            cwd=self.folder,
            env=clean_environ({**self.environ, **environ}),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def write_gates(self, *gates: dict[str, object]) -> None:
        """Write gates.yaml; a running service has read it already."""
        self.gates = list(gates)
        file = {"registry": self.models.registry, "github": {"url": self.github_url}, "gates": list(gates)}
        (self.folder / "gates.yaml").write_text(json.dumps(file))  # YAML too, and without anchors

    def gate(self, **changes: object) -> dict[str, object]:
        """The usual gate with changes."""
        return {**GATE, "jobs": [int(self.job_id)], "model": self.models.model, **changes}

    # --- what the world does ---

    def train(self, *, notify: bool = True, f1: float = 0.91) -> str:
        """A job run that registers a version and ends well; returns the version. The hook must be answered 202."""
        run_id, version = self.begin_training(f1=f1)
        statuses = self.databricks.jobs.finish_run(run_id, notify=notify)
        assert statuses == ([202] if notify else [])
        return version

    def begin_training(self, *, f1: float = 0.91) -> tuple[str, str]:
        """A job run that has registered a version and not ended yet: (run id, version)."""
        run_id = self.databricks.jobs.start_run(self.job_id)
        task = self.databricks.jobs.task_run_id(run_id, "train")
        return run_id, self.models.train(self.job_id, task, {"f1": f1})

    def notification(self, run_id: str) -> dict[str, object]:
        """The body of a notification as Databricks posts it."""
        return {
            "event_type": "jobs.on_success",
            "workspace_id": int(self.databricks.workspace_id),
            "run": {"run_id": int(run_id)},
            "job": {"job_id": int(self.job_id), "name": "train-churn"},
        }

    @property
    def hook_credentials(self) -> tuple[str, str]:
        """User name and password of the Databricks hook."""
        return (
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
        )

    def approve(self, promotion: Promotion, login: str = "reviewer-1") -> None:
        """A person presses Approve in GitHub."""
        self.github.review(self.run_id_of(promotion), "champion", login, approve=True, comment="looks good")

    @staticmethod
    def run_id_of(promotion: Promotion) -> str:
        """The CI run of a promotion that has one."""
        assert promotion.request is not None
        assert promotion.request.external_id is not None
        return promotion.request.external_id

    # --- what the test looks at ---

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The rows, beside the running service."""
        with open_store(self.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
            yield store

    def promotions(self) -> tuple[Promotion, ...]:
        """All promotions, newest first; none before there is a database."""
        is_sqlite = self.environ["CHAMPION_GATE_DATABASE_URL"].startswith("sqlite")
        if is_sqlite and not (self.folder / "gate.db").exists():
            return ()
        with self.store() as store:
            return store.list_promotions(limit=500).items

    def wait_for(self, phase: Phase, version: str | None = None, seconds: float = PATIENCE) -> Promotion:
        """The one promotion (of this version) that is, or comes to be, in this phase."""

        def found() -> Promotion | None:
            of_version = [p for p in self.promotions() if version in {None, p.version.version}]
            assert len(of_version) <= 1, self.story()
            return next((p for p in of_version if p.phase is phase), None)

        promotion: Promotion = until(found, lambda: f"no promotion became {phase}: {self.story()}", seconds)
        return promotion

    def story(self) -> str:
        """What the rows and the log say, for whoever reads a failed test."""
        with self.store() as store:
            rows = [f"{n.phase}: {n.reason} {n.retry.last_error}" for n in store.list_notifications().items]
        rows += [f"{p.version.version} {p.phase}: {p.reason} {p.retry.last_error}" for p in self.promotions()]
        logs = "".join(served.output() for served in self.started).splitlines()[-25:]
        return "\n".join([*rows, *logs])

    def ledger(self) -> list[LedgerLine]:
        """Every line, oldest first; the chain is whole."""
        with self.store() as store:
            store.verify_ledger()
            return list(reversed(store.ledger_lines(limit=1000)))

    def moves(self) -> list[tuple[object, object, str]]:
        """(from, to, actor) of every alias change in the ledger, oldest first."""
        return [
            (line.entry.facts.get("from"), line.entry.facts.get("to"), line.entry.actor)
            for line in self.ledger()
            if line.entry.kind.value == "alias_change"
        ]

    def alias_writes(self) -> list[int | None]:
        """The versions on which the service has put Unity Catalog's alias, oldest first."""
        return [version for _, _, version in self.databricks.catalog.alias_writes]

    def open_runs(self) -> list[Run]:
        """CI runs that were not cancelled."""
        return [run for run in self.github.runs if not run.cancelled]

    def log_lines(self) -> list[dict[str, Any]]:
        """The services' logs; every line is JSON."""
        return [json.loads(line) for served in self.started for line in served.output().splitlines()]


@contextmanager
def process_world(
    folder: Path, registry: str = "uc", mlflow: MlflowServer | None = None, **environ: str
) -> Iterator[ProcessWorld]:
    """A Champion v1, a watched job with a hook, a protected environment, and everything set up for `serve`.

    Nothing that was started outlives the block.

    Args:
        folder: for the database, gates.yaml, the log and the MLflow registry.
        registry: "uc" or "mlflow".
        mlflow: where MLflow's registry is; an SQLite file if None.
        environ: more variables for the service.
    """
    databricks, github = DatabricksStandIn(), GitHubStandIn()
    port = free_port()
    with ExitStack() as stack:
        databricks_url = stack.enter_context(serve(databricks.app))
        github_url = stack.enter_context(serve(github.app))
        set_up_github(github, f"http://127.0.0.1:{port}/hooks/github")
        models: Models = CatalogModels(databricks) if registry == "uc" else MlflowModels(folder, mlflow)
        hook = Hook(
            f"http://127.0.0.1:{port}/hooks/databricks",
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
        )
        world = ProcessWorld(
            folder=folder,
            databricks=databricks,
            github=github,
            models=models,
            github_url=github_url,
            job_id=databricks.jobs.add_job("train-churn", run_as=TRAINER, creator=TRAINER, hook=hook),
            environ={
                **SECRETS,
                "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
                "CHAMPION_GATE_DATABASE_URL": f"sqlite:///{folder}/gate.db",
                "CHAMPION_GATE_GITHUB_TOKEN": github.add_token("champion-gate-bot"),
                "CHAMPION_GATE_PORT": str(port),
                "DATABRICKS_HOST": databricks_url,
                "DATABRICKS_TOKEN": "standin-token",
                **environ,
            },
            stack=stack,
        )
        models.move_alias(models.train(world.job_id, "1", {"f1": 0.9, "auc": 0.95}))
        world.write_gates(world.gate())
        # In this order: what hangs is let go, the processes end, the stand-ins stop.
        stack.callback(github.close)
        stack.callback(world.kill_all)
        stack.callback(databricks.faults.clear)
        yield world


def set_up_github(github: GitHubStandIn, hook_url: str) -> None:
    """A repository with our workflow and a protected environment, and a webhook that is signed."""
    github.add_repository(REPOSITORY)
    github.add_file(REPOSITORY, ".github/workflows/champion-gate.yml", WORKFLOW.read_text())
    github.repository(REPOSITORY).variables["CHAMPION_GATE_URL"] = hook_url.removesuffix("/hooks/github")
    github.protect_branch(REPOSITORY)
    for login in ("octo-trainer", "reviewer-1", "reviewer-2"):
        github.add_user(login)
    github.protect_environment(REPOSITORY, "champion", ["reviewer-1", "reviewer-2", "octo-trainer"])
    github.webhooks.url = hook_url
    github.webhooks.secret = SECRETS["CHAMPION_GATE_GITHUB_WEBHOOK_SECRET"]


def listening_ports(pid: int) -> set[int]:
    """The TCP ports on which a process listens."""
    return {
        connection.laddr.port
        for connection in psutil.Process(pid).net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def refuses(port: int) -> bool:
    """Whether nothing listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def port_of(url: str) -> int:
    """The port at the end of a URL."""
    found = re.search(r":(\d+)", url.removeprefix("http://"))
    assert found is not None
    return int(found.group(1))
