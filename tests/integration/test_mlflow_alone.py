"""The page "MLflow alone", done as it says: a real MLflow server that sends real webhooks, and no variable of Databricks."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from champion_gate.adapters.mlflow.checks import HookFacts, checkups
from champion_gate.adapters.mlflow.registry import MlflowRegistry
from champion_gate.adapters.mlflow.webhooks import MlflowWebhooks
from champion_gate.bootstrap import build_service
from champion_gate.bootstrap.configuration import load_gates
from champion_gate.bootstrap.databases import migrate_database
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.settings.env_file import read_env_file, set_variables
from champion_gate.store import Store, open_store
from champion_gate_standins.common.server import serve
from champion_gate_standins.github.server import GitHubStandIn
from integration.commands import clean_environ, run_command
from integration.gate_models import MlflowModels
from integration.mlflow_server import MlflowServer
from integration.process_world import free_port, set_up_github, until
from integration.serving import served

pytest_plugins = ("integration.mlflow_fixtures",)
pytestmark = [pytest.mark.part("rest"), pytest.mark.timeout(300)]

PAGE = (Path(__file__).parents[2] / "service" / "docs" / "mlflow.md").read_text()
SECRET = "CHAMPION_GATE_MLFLOW_WEBHOOK_SECRET"


def on_page(language: str) -> list[str]:
    """The blocks of the page, without their indent."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return [re.sub(r"(?m)^   ", "", block) for block in blocks]


def test_a_version_from_a_laptop_becomes_champion_as_the_page_says(
    tmp_path: Path, running_mlflow: MlflowServer
) -> None:
    models, github = MlflowModels(tmp_path, running_mlflow), GitHubStandIn()
    url = f"http://127.0.0.1:{free_port()}"
    variables = tmp_path / "champion-gate.env"
    meant = {
        "https://mlflow.example.com": running_mlflow.uri,
        "https://gate.example.com": url,
        "--model churn": f"--model {models.model}",
        '"churn"': f'"{models.model}"',
    }

    def as_meant(text: str) -> str:
        for shown, real in meant.items():
            text = text.replace(shown, real)
        return text

    def command(line: str) -> str:
        environ = read_env_file(variables) if "--env-file" in line else {}
        words = shlex.split(as_meant(line))[1:]
        done = run_command(*words, environ=environ, folder=tmp_path)
        return done.stdout + done.stderr

    with ExitStack() as stack:
        github_url = stack.enter_context(serve(github.app))
        stack.callback(github.close)
        set_up_github(github, f"{url}/hooks/github")
        init, first_setup, second_setup, doctor = (
            line for block in on_page("sh") for line in block.splitlines() if line
        )
        assert "wrote" in command(f"{init} --server {github_url}")
        assert "DATABRICKS" not in " ".join(read_env_file(variables))

        told = command(first_setup)
        assert f"+ {SECRET}" in told
        assert "left to do: the MLflow server's test ping was not taken" in told
        database = f"sqlite:///{tmp_path}/gate.db"
        set_variables(
            variables,
            {
                "CHAMPION_GATE_CONFIG": f"{tmp_path}/gates.yaml",
                "CHAMPION_GATE_DATABASE_URL": database,
                "CHAMPION_GATE_GITHUB_TOKEN": github.add_token("champion-gate-bot"),
                "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET": github.webhooks.secret,
            },
        )
        migrate_database(database)
        environ = read_env_file(variables)
        stack.enter_context(served(build_service(environ), int(url.rpartition(":")[2])))
        store = stack.enter_context(open_store(database))
        assert (
            requests.post(f"{url}/hooks/databricks", json={}, timeout=30).json()["code"] == "not_configured"
        )

        told = command(second_setup)
        assert "Nothing has to change." in told
        assert "test ping has arrived with a signature that fits" in told
        assert "test" in store.webhooks_of("mlflow")
        (register,) = on_page("python")
        # The artifacts of a new experiment are kept where this server was told to, not where its database was made.
        laptop = clean_environ({"LOGNAME": "alice", "MLFLOW_EXPERIMENT_NAME": "churn"})
        subprocess.run([sys.executable, "-c", as_meant(register)], cwd=tmp_path, env=laptop, check=True)
        pending = in_phase(store, Phase.PENDING_APPROVAL)
        assert [each.name for each in pending.trainers] == ["alice", "trainers in gates.yaml"]
        assert pending.request is not None
        github.review(pending.request.external_id or "", "champion", "reviewer-1", approve=True)
        in_phase(store, Phase.PROMOTED)
        assert models.champion() == "1"
        assert {"model_version.created", "model_version_alias.created"} <= store.webhooks_of("mlflow").keys()

        told = command(f"{doctor} --json")
        verdicts = {each["check"]: each["verdict"] for each in json.loads(told)["findings"]}
        assert verdicts["mlflow.webhook"] == verdicts["mlflow.ping"] == verdicts["registry.write"] == "ok", (
            told
        )
        assert not [check for check in verdicts if check.startswith("databricks")]

        mends_what_changed(
            models, tmp_path / "gates.yaml", command, setup=second_setup, url=url, mlflow=running_mlflow.uri
        )
        rotated = command(f"{second_setup} --rotate")
        assert f"+ {SECRET}_PREVIOUS (the old one)" in rotated
        assert (
            read_env_file(variables)[f"{SECRET}_PREVIOUS"]
            == environ[SECRET]
            != read_env_file(variables)[SECRET]
        )
        assert (
            "left to do: the MLflow server's test ping was not taken (401" in rotated
        )  # it was not restarted


def in_phase(store: Store, phase: Phase) -> Promotion:
    """The only promotion, once it is in this phase."""

    def found() -> Promotion | None:
        (promotion,) = store.list_promotions().items or (None,)
        return promotion if promotion is not None and promotion.phase is phase else None

    def story() -> object:
        rows = [(each.phase, each.reason) for each in store.list_notifications().items]
        return [*rows, *((each.phase, each.reason, each.retry) for each in store.list_promotions().items)]

    promotion: Promotion = until(found, story)
    return promotion


def mends_what_changed(
    models: MlflowModels, config: Path, command: Callable[[str], str], *, setup: str, url: str, mlflow: str
) -> None:
    """Somebody has disabled the webhook and taken events away: the doctor says so, and setup mends it."""
    (webhook,) = MlflowWebhooks(mlflow).at(f"{url}/hooks/mlflow")
    models.client.update_webhook(webhook.id, events=["model_version.created"], status="DISABLED")
    facts = HookFacts(url, has_secret=True, arrived=None)
    gates = load_gates(config).gates
    (broken,) = (
        finding
        for each in checkups(MlflowRegistry(mlflow), gates, facts)
        if each.check.key == "mlflow.webhook"
        for finding in each.run()
    )
    assert "is disabled and does not send model_version_alias.created" in broken.found
    told = command(setup)
    assert "- disabled" in told
    assert "+ model_version_alias.deleted" in told
    assert "test ping has arrived" in told
