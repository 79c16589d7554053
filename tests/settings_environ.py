"""A working environment, and what the tests of settings do with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from champion_gate.errors import ConfigurationError
from champion_gate.settings import Settings, load_settings

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
PASSWORD, API_TOKEN, WEBHOOK_SECRET = "hook-pass-geheim", "api-token-geheim-1", "webhook-geheim-1"
GITHUB_TOKEN = "github_pat_geheim"


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
        "CHAMPION_GATE_API_TOKEN": API_TOKEN,
        "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "CHAMPION_GATE_GITHUB_TOKEN": GITHUB_TOKEN,
    }


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    assert "geheim" not in str(caught.value)
    return caught.value.problems


def loaded(environ: dict[str, str], **variables: str) -> Settings:
    return load_settings(environ | {f"CHAMPION_GATE_{name}": value for name, value in variables.items()})
