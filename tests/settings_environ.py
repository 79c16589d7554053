"""A working environment, and what the tests of settings do with it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from champion_gate.bootstrap.configuration import load_settings
from champion_gate.errors import ConfigurationError
from champion_gate.settings.loading import Settings

GATES = {
    "registry": "databricks-uc",
    "gates": [
        {
            "name": "churn",
            "jobs": [1],
            "model": "main.ml.churn",
            "approval": {"github": {"repository": "example/ml-deploy", "environments": ["champion"]}},
        }
    ],
}
PASSWORD, WEBHOOK_SECRET = "hook-pass-geheim", "webhook-geheim-1"
GITHUB_TOKEN = "github_pat_geheim"
READ_TOKEN, TRIGGER_TOKEN = "glpat-geheim-read", "glptt-geheim-trigger"
SIGNING_TOKEN = f"whsec_{base64.b64encode(b'geheim-' * 4).decode()}"


def gates_file(folder: Path, **github: str) -> str:
    file = json.loads(json.dumps(GATES))
    file["gates"][0]["approval"]["github"].update(github)
    path = folder / "gates.yaml"
    path.write_text(json.dumps(file))
    return str(path)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The least that is needed, and variables of others."""
    return {
        "PATH": "/usr/bin",
        "DATABRICKS_HOST": "https://dbc.example.com",
        "CHAMPION_GATE_CONFIG": gates_file(tmp_path),
        "CHAMPION_GATE_DATABRICKS_HOOK_USERNAME": "gate",
        "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD": PASSWORD,
        "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "CHAMPION_GATE_GITHUB_TOKEN": GITHUB_TOKEN,
    }


@pytest.fixture
def gitlab_environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The least that is needed where people approve in GitLab and nowhere else."""
    use_gitlab(tmp_path, {"project": 42})
    del environ["CHAMPION_GATE_GITHUB_WEBHOOK_SECRET"], environ["CHAMPION_GATE_GITHUB_TOKEN"]
    return environ | {
        "CHAMPION_GATE_PUBLIC_URL": "https://gate.example.com",
        "CHAMPION_GATE_GITLAB_READ_TOKEN": READ_TOKEN,
        "CHAMPION_GATE_GITLAB_TRIGGER_TOKEN": TRIGGER_TOKEN,
        "CHAMPION_GATE_GITLAB_SIGNING_TOKEN": SIGNING_TOKEN,
    }


def use_gitlab(folder: Path, *places: dict[str, object], **top: object) -> None:
    """Write gates.yaml with one gate for each place in GitLab, and more keys at the top."""
    gates = [
        {
            "name": f"gate-{index}",
            "jobs": [index + 1],
            "model": "main.ml.churn",
            "approval": {"gitlab": place},
        }
        for index, place in enumerate(places)
    ]
    (folder / "gates.yaml").write_text(json.dumps({"registry": "databricks-uc", "gates": gates} | top))


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    assert "geheim" not in str(caught.value)
    return caught.value.problems


def loaded(environ: dict[str, str], **variables: str) -> Settings:
    return load_settings(environ | {f"CHAMPION_GATE_{name}": value for name, value in variables.items()})
