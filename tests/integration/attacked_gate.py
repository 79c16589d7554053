"""A gate under attack: what happens to it, what an operator sees of it, and what must be so in the end."""

from __future__ import annotations

import base64
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
import requests

from champion_gate.domain.ledger.chain import LedgerLine
from champion_gate.domain.promotion import Promotion
from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.issuer import Issuer
from champion_gate_standins.databricks.server import Hook
from integration.gate_models import TRAINER
from integration.process_world import elsewhere, until

if TYPE_CHECKING:
    from integration.attack_world import AttackWorld

AUDIENCE = "champion-gate"
ROBOT = "gate-robot"
PEOPLE = ("reviewer-1", "reviewer-2", "octo-trainer")
HOOK = ("databricks", "hook-password-for-attack-tests")
GITHUB_SECRET = "github-webhook-secret-for-attack-tests"
SIGNING_TOKEN = f"whsec_{base64.b64encode(b'signing-key-for-attack-tests-123').decode()}"
PLAIN_TOKEN = "gitlab-webhook-token-for-attack-tests"
KINDS = ("github", "gitlab", "gitlab-free")
"""GitHub; GitLab with a protected environment; GitLab with nothing but a protected branch."""
EACH_KIND = ("github", "gitlab", pytest.param("gitlab-free", marks=pytest.mark.part("full")))
"""The same as parameters of a test."""

OPEN_OR_LOST = {
    "requested",
    "pending_approval",
    "rejected",
    "expired",
    "cancelled",
    "superseded",
    "stale",
    "failed",
}
"""All phases of a promotion that nobody approved."""


@dataclass(frozen=True)
class Asked:
    """A promotion that waits for people."""

    id: str
    version: str
    external_id: str


@dataclass
class AttackedGate(ABC):
    """One gate with its job, its model (Champion v1) and the place where its people approve."""

    world: AttackWorld
    number: int

    vendor = ""

    # --- what differs from vendor to vendor ---

    @property
    @abstractmethod
    def issuer(self) -> Issuer:
        """Who signs the tokens of the vendor's jobs."""

    @property
    @abstractmethod
    def faults(self) -> Faults:
        """How to make the vendor misbehave; its paths hold `path`."""

    @property
    @abstractmethod
    def path(self) -> str:
        """What the paths of all the API's calls about this place hold, as a regular expression."""

    @property
    @abstractmethod
    def approval(self) -> dict[str, object]:
        """The gate's `approval` in gates.yaml."""

    @abstractmethod
    def approve(self, asked: Asked, login: str = "reviewer-1") -> None:
        """A person lets the gated job start; it goes on running."""

    @abstractmethod
    def cancel(self, asked: Asked) -> None:
        """Somebody cancels the run."""

    @abstractmethod
    def open_runs(self) -> list[str]:
        """Ids of all runs that were started for this gate and not cancelled, oldest first."""

    @abstractmethod
    def start(self, inputs_of: Asked, login: str) -> str:
        """Start another run by hand with the same inputs; returns its id."""

    @abstractmethod
    def inputs(self, asked: Asked) -> Mapping[str, str]:
        """What the run was started with."""

    @abstractmethod
    def token(self, asked: Asked, **claims: Any) -> str:
        """The ID token of the gated job, with these claims changed; None leaves one out."""

    @abstractmethod
    def hook_body(self, external_id: str) -> bytes:
        """The least that a webhook about this run has to hold."""

    @abstractmethod
    def hook_headers(self, body: bytes, **changes: str) -> dict[str, str]:
        """The headers of a genuine delivery, of its own id."""

    # --- what happens ---

    @property
    def name(self) -> str:
        """The gate's name."""
        return f"gate-{self.number}"

    @property
    def model(self) -> str:
        """The registered model."""
        return f"main.ml.m{self.number}"

    @cached_property
    def job_id(self) -> str:
        """The watched Databricks job."""
        url = f"{self.world.url}/hooks/databricks"
        return self.world.databricks.jobs.add_job(
            self.name, run_as=TRAINER, creator=TRAINER, hook=Hook(url, *HOOK)
        )

    def settings(self) -> dict[str, object]:
        """The gate's entry in gates.yaml."""
        return {
            "name": self.name,
            "jobs": [int(self.job_id)],
            "model": self.model,
            "approval": self.approval,
            "identities": {TRAINER: "octo-trainer"},
        }

    def add_version(self, run_id: str, **mlflow: Any) -> str:
        """What the job run trains: an MLflow run of it, and a version of the model."""
        task = self.world.databricks.jobs.task_run_id(run_id, "train")
        made_by = {"mlflow.databricks.jobID": self.job_id, "mlflow.databricks.jobRunID": task}
        run = {"metrics": {"f1": 0.91}, **mlflow, "tags": {**mlflow.get("tags", {}), **made_by}}
        catalog = self.world.databricks.catalog
        return catalog.add_version(self.model, run_id=catalog.add_mlflow_run(**run))

    def train(self, *, notify: bool = True, **mlflow: Any) -> str:
        """A job run ends well and says so; returns the version that it made."""
        run_id = self.world.databricks.jobs.start_run(self.job_id)
        version = self.add_version(run_id, **mlflow)
        statuses = self.world.databricks.jobs.finish_run(run_id, notify=notify)
        assert statuses == ([202] if notify else [])
        return version

    def ask(self, **mlflow: Any) -> Asked:
        """Train a version, and return once people are asked about it."""
        version = self.train(**mlflow)
        view = self.wait(lambda found: found["phase"] == "pending_approval", version)
        return Asked(view["id"], version, view["request"]["external_id"])

    def hint(self, external_id: str) -> requests.Response:
        """A genuine webhook about this run."""
        body = self.hook_body(external_id)
        return self.world.post_hook(self.vendor, body, self.hook_headers(body))

    def post(self, asked: Asked | str, token: str, timeout: float = 60) -> requests.Response:
        """Post a token as the gated job does: once more where it is told that this cannot be answered now.

        On a busy machine the issuer's keys may be read for longer than the others who post wait for them.
        """
        promotion_id = asked if isinstance(asked, str) else asked.id
        answers: list[requests.Response] = []

        def answered() -> bool:
            answers[:] = [
                requests.post(
                    f"{self.world.url}/api/v1/promotions/{promotion_id}/decision",
                    json={},
                    headers={"Authorization": f"Bearer {token}", **elsewhere()},
                    timeout=timeout,
                )
            ]
            return answers[0].status_code != HTTPStatus.SERVICE_UNAVAILABLE

        until(answered, lambda: answers[0].text)
        return answers[0]

    # --- what an operator sees ---

    def views(self) -> list[dict[str, Any]]:
        """All promotions of this gate, as the API shows them, newest first."""
        found: list[dict[str, Any]] = self.world.get(f"/promotions?model={self.model}")["promotions"]
        return found

    def view(self, asked: Asked) -> dict[str, Any]:
        """The promotion as the API shows it."""
        found: dict[str, Any] = self.world.get(f"/promotions/{asked.id}")
        return found

    def rows(self) -> tuple[Promotion, ...]:
        """The same as they are stored: who polls these asks the API only when something has changed."""
        return self.world.store.list_promotions(model=self.model).items

    def wait(self, wanted: Callable[[dict[str, Any]], object], version: str | None = None) -> dict[str, Any]:
        """Return the promotion (of this version) once it is as wanted."""
        seen: list[tuple[Promotion, ...]] = [()]

        def found() -> dict[str, Any] | None:
            before, seen[0] = seen[0], self.rows()
            if seen[0] == before:
                return None
            mine = [each for each in self.views() if version in {None, each["version"]}]
            return next((each for each in mine if wanted(each)), None)

        view: dict[str, Any] = until(found, lambda: f"{self.views()}\n{self.world.last_lines()}")
        return view

    def look(self, asked: Asked) -> dict[str, Any]:
        """Have the service look again, from now on, and return what it shows then."""

        def row() -> Promotion:
            return self.world.store.get_promotion(asked.id)

        def told() -> str:
            return f"nobody looked: {row()}\n{self.world.last_lines()}"

        # A look that is under way already may have read what is changed now.
        until(lambda: not row().lease, told)
        before = row()
        if before.phase.is_open:
            assert self.hint(asked.external_id).status_code == 202
            until(lambda: row().updated_at > before.updated_at and not row().lease, told)
        return self.view(asked)

    # --- what must be so in the end ---

    @property
    def champion(self) -> str | None:
        """The version with the alias."""
        return self.world.databricks.catalog.alias(self.model, "Champion")

    def alias_writes(self) -> list[int | None]:
        """The versions on which the service has put the alias."""
        return [to for model, _, to in self.world.databricks.catalog.alias_writes if model == self.model]

    def ledger(self) -> list[LedgerLine]:
        """The lines about this model, oldest first; the whole chain holds."""
        self.world.store.verify_ledger()
        lines = self.world.store.ledger_lines(limit=10_000)
        return [line for line in reversed(lines) if line.entry.model == self.model]

    def approvals(self) -> list[LedgerLine]:
        """The ledger's approving decisions about this model."""
        return [line for line in self.ledger() if line.entry.facts.get("verdict") == "approved"]

    def assert_unharmed(self, champion: str | None = "1") -> None:
        """The alias did not move, nobody approved anything, and every promotion says why it stands as it does."""
        assert self.champion == champion
        assert self.alias_writes() == []
        assert self.approvals() == []
        for view in self.views():
            assert view["phase"] in OPEN_OR_LOST, view
            assert view["reason"] or view["last_error"], view

    def waits(self, asked: Asked, words: str = "") -> None:
        """Have it looked at, and assert that it still waits, and says these words."""
        view = self.look(asked)
        assert view["phase"] == "pending_approval", view
        assert words in f"{view['reason']} {view['last_error']}", view
        self.assert_unharmed()

    def time_passes(self, asked: Asked, *, minutes: int = 1) -> None:
        """What was seen once, it saw so long ago."""
        with closing(sqlite3.connect(self.world.database, timeout=30)) as rows, rows:
            (text,) = rows.execute("SELECT details FROM promotions WHERE id = ?", [asked.id]).fetchone()
            details = json.loads(text)
            ago = {key: _before(at, minutes) for key, at in details["seen_once"].items()}
            missing = {
                key: _before(details[key], minutes)
                for key in ("missing_since", "version_missing_since")
                if details.get(key)
            }
            changed = json.dumps({**details, "seen_once": ago, **missing})
            rows.execute("UPDATE promotions SET details = ? WHERE id = ?", [changed, asked.id])

    def ends_when_seen_twice(self, asked: Asked, phase: str, words: str = "") -> None:
        """Have it looked at twice, a minute apart, and assert that only the second look ends it so."""
        self.waits(asked, "looked at again in a minute")
        self.time_passes(asked)
        self.ends(asked, phase, words)

    def ends_when_still_missing(self, asked: Asked, phase: str, words: str = "") -> None:
        """Have it looked at, and again minutes later, and assert that only the second look ends it so."""
        self.waits(asked, "That is looked at again until")
        self.time_passes(asked, minutes=5)
        self.ends(asked, phase, words)

    def ends(self, asked: Asked, phase: str, words: str = "") -> None:
        """Have it looked at, and assert that it ends so, and says these words."""
        self.hint(asked.external_id)
        view = self.wait(lambda found: found["id"] == asked.id and found["ended_at"])
        assert view["phase"] == phase, view
        assert words in view["reason"], view
        self.assert_unharmed(self.champion)

    def promotes(self, asked: Asked) -> None:
        """It is promoted, with one write and one line each."""
        self.hint(asked.external_id)
        view = self.wait(lambda found: found["id"] == asked.id and found["ended_at"])
        assert view["phase"] == "promoted", view
        assert self.champion == asked.version
        assert self.alias_writes() == [int(asked.version)]
        assert [line.entry.promotion_id for line in self.approvals()] == [asked.id]

    def refused_post(self, asked: Asked | str, token: str, words: str) -> None:
        """Post a token, and assert that it is refused without effect, and that answer and log say why."""
        seen = len(self.world.log())
        answer = self.post(asked, token)
        assert answer.status_code == 401, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert words in answer.json()["detail"], answer.text
        promotion_id = asked if isinstance(asked, str) else asked.id
        logged = self.world.log()[seen:]
        assert promotion_id in logged, logged
        assert words in logged, logged
        self.assert_unharmed()


def _before(at: str, minutes: int) -> str:
    return (datetime.fromisoformat(at) - timedelta(minutes=minutes)).isoformat()
