"""Names with blanks and punctuation, as MLflow servers take them, through the whole gate: from the run to the alias."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from mlflow import MlflowClient

from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConfigurationError
from integration.api_world import OPERATOR, api_world
from integration.gate_world import GateWorld, gate_world
from integration.mlflow_server import MlflowServer

pytest_plugins = ("integration.mlflow_fixtures",)

pytestmark = pytest.mark.spread(2)

NAMES = {
    "blank": "Churn Model",
    "brackets": "churn (v2), weekly",
    "quote": "it's",
    "double quotes": 'the "big" one',
    "both": 'it\'s "both"',
    "query": "a&b=c;d",
    "markup": "<b>|*`x`* @reviewer-1",
    "template": "${{ secrets.X }} $[[ inputs.y ]] {0}",
    "letters": "Kündigung 離脱",
}


def promote(world: GateWorld) -> None:
    pending = world.ask()
    assert pending.model == world.models.model
    request = world.run_id_of(pending)
    world.provider.approve(request, "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == pending.version.version
    assert world.moves()[-1][:2] == ("1", pending.version.version)


@pytest.mark.part("rest", "brackets", "quote", "both", "query", "markup", "template", "letters")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_version_becomes_the_champion_on_a_server(
    running_mlflow: MlflowServer, tmp_path: Path, name: str
) -> None:
    with gate_world(tmp_path, registry="mlflow", server=running_mlflow, model=f"{name} 1") as world:
        promote(world)
        shown = world.ci_run(world.promotion(Phase.PROMOTED))
        assert shown.inputs["model"] == world.models.model
        versions = world.core.context.registry.list_versions(world.models.model)
        url = world.core.context.registry.version_url(versions[0])
        assert url == f"{running_mlflow.uri}/#/models/{quote(world.models.model, safe='')}/versions/2"
        tags = world.models.tags("2")
        assert tags["champion_gate_status"] == "promoted"


@pytest.mark.part("rest")
@pytest.mark.part("full", "brackets", "quote", "query", "template", "letters")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_version_becomes_the_champion_in_a_file_by_way_of_gitlab(tmp_path: Path, name: str) -> None:
    with gate_world(tmp_path, registry="mlflow", provider="gitlab-branch", model=name) as world:
        promote(world)


def test_other_models_of_a_like_name_are_left_alone(tmp_path: Path) -> None:
    name = 'it\'s "both"'
    with gate_world(tmp_path, registry="mlflow", model=name) as world:
        client = MlflowClient(tracking_uri=world.models.registry, registry_uri=world.models.registry)
        for other in ('it_s "both"', 'itxs "both"', 'IT\'S "BOTH"'):
            client.create_registered_model(other)
            client.create_model_version(other, "s3://bucket/other")
        assert [each.model for each in world.core.context.registry.list_versions(name)] == [name]


@pytest.mark.parametrize("name", ["a/b", "a:b", "a?b", "a\nb", "a\u202eb", "..a"])
def test_what_cannot_be_sent_is_refused_when_the_file_is_read(tmp_path: Path, name: str) -> None:
    with gate_world(tmp_path, registry="mlflow") as world, pytest.raises(ConfigurationError) as caught:
        world.reconfigure(model=name)
    assert "gates[0].model: " in str(caught.value)
    assert "is no model name" in str(caught.value)


# --- by hand ----------------------------------------------------------------------------------------------


@pytest.mark.part("rest")
@pytest.mark.part("full", "brackets", "quote", "query", "template", "letters")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_api_moves_the_alias_of_an_encoded_name(
    running_mlflow: MlflowServer, tmp_path: Path, name: str
) -> None:
    with api_world(tmp_path, registry="mlflow", server=running_mlflow, model=f"{name} 2") as api:
        api.add_versions(1)
        models = api.gate.models
        path = f"/api/v1/models/{quote(models.model, safe='')}"
        assert api.call("GET", path).json()["model"] == models.model
        alias = f"{path}/aliases/Champion"
        assert api.call("GET", alias).json()["version"] == "1"
        put = api.call("PUT", alias, {"version": "2", "reason": "by hand"})
        assert (put.status_code, put.json()["model"]) == (200, models.model)
        assert models.champion() == "2"
        assert api.call("POST", f"{alias}/rollback", {"reason": "back"}).status_code == 200
        assert models.champion() == "1"
        newest = api.call("GET", f"{alias}/history").json()["lines"][0]
        assert (newest["kind"], newest["model"]) == ("hold", models.model)
        found = api.call("GET", f"/api/v1/promotions?model={quote(models.model, safe='')}").json()
        assert found["promotions"] == []


@pytest.mark.part("rest")
def test_curl_and_the_command_line_take_a_name_with_a_blank(
    running_mlflow: MlflowServer, tmp_path: Path
) -> None:
    with api_world(tmp_path, registry="mlflow", server=running_mlflow, model="Churn Model 3") as api:
        api.add_versions(1)
        url = f"{api.url}/api/v1/models/Churn%20Model%203/aliases/Champion"
        said = run("curl", "-sS", "-H", f"Authorization: Bearer {OPERATOR}", url)
        assert '"version":"1"' in said.replace(" ", "").replace("\n", "")
        command = [sys.executable, "-m", "champion_gate", "alias"]
        environ = {**api.gate.environ, "PATH": "/usr/bin:/bin"}
        said = run(*command, "set", "Churn Model 3", "Champion", "2", "--reason", "by hand", environ=environ)
        assert "Champion of Churn Model 3" in said
        assert api.gate.models.champion() == "2"
        refused = run(*command, "get", "Churn/Model", "Champion", environ=environ, code=None)
        assert "the character /" in refused


def run(*command: str, environ: dict[str, str] | None = None, code: int | None = 0) -> str:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert code is None or done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_slash_that_was_encoded_reaches_no_model(tmp_path: Path) -> None:
    with api_world(tmp_path, registry="mlflow") as api:
        answer = requests.get(
            f"{api.url}/api/v1/models/a%2Fb/aliases/Champion",
            headers={"Authorization": f"Bearer {OPERATOR}"},
            timeout=20,
        )
        assert answer.status_code == 404
        said = api.problem(422, "invalid_name", "GET", "/api/v1/models/a%3Ab/aliases/Champion")
        assert "the character :" in said["hint"]
