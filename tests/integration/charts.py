"""Renders the Helm chart of deploy/kubernetes, in a process that has Helm and Kubernetes' schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

CHART = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "champion-gate"
TOOLS, SCHEMAS = (Path(sys.prefix) / name for name in ("deploy", "schemas"))
"""Where `make .venv/.deploy .venv/.schemas` puts the tools that check deploy/, and Kubernetes' schemas."""


def needs_folder(folder: Path) -> pytest.MarkDecorator:
    """Skip a test where a folder of tools is not there; in CI that is a failure."""
    return pytest.mark.skipif(not folder.is_dir(), reason=f"NOT TESTED: {folder} is not there: make lists it")


RELEASE = "gate"
GATES = """\
registry: databricks-uc
gates:
  - name: churn
    jobs: [1234567890]
    model: main.ml.churn
    approval: {github: {repository: example/ml-deploy, environments: [champion]}}
"""
VALUES: dict[str, Any] = {
    "gates": GATES,
    "existingSecret": "champion-gate",
    "databricks": {
        "host": "https://adb-1234567890123456.7.azuredatabricks.net",
        "clientId": "7c0b5f2e-0000-4000-8000-000000000001",
        "audience": "an-account-id",
    },
}
"""The least that the chart takes."""

Manifests = list[dict[str, Any]]

_RENDER = """
import json, sys
import yaml
from helm_python import Chart, HelmError, chart

path, name, *many = sys.argv[1:]
answers = []
with Chart.load(path) as loaded:
    for values in map(json.loads, many):
        try:
            texts = loaded.render(values=values, name=name)
        except HelmError as error:
            answers.append({"refused": str(error)})
            continue
        manifests = [each for text in texts.values() for each in yaml.safe_load_all(text) if each]
        messages = chart.lint(path, values=values)["messages"]
        problems = [each["error"] for each in messages if each["severity"] > 1]
        answers.append({"manifests": manifests, "problems": problems})
print(json.dumps(answers))
"""
_VALIDATE = """
import json, sys
from kubernetes_validate import validate

problems = []
for manifest in json.load(sys.stdin):
    try:
        validate(manifest, "1.32", strict=True)
    except Exception as error:
        problems.append(f"{manifest['kind']}: {type(error).__name__}: {error}")
print(json.dumps(problems))
"""


def changed(**values: Any) -> dict[str, Any]:
    """The least values, with these on top; a mapping is merged with what is there."""
    merged = {
        name: {**VALUES[name], **value} if isinstance(value, dict) and name in VALUES else value
        for name, value in values.items()
    }
    return {**VALUES, **merged}


def render(many: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Render the chart once for each values, as `helm template` does.

    Returns:
        For each either `refused`, Helm's words, or `manifests` and the `problems` that `helm lint` finds.
    """
    answers: list[dict[str, Any]] = _asked(_RENDER, TOOLS, CHART, RELEASE, *map(json.dumps, many))
    return answers


def problems_of(manifests: Manifests) -> list[str]:
    """What Kubernetes' schemas, held strictly, have against these."""
    found: list[str] = _asked(_VALIDATE, SCHEMAS, sent=json.dumps(manifests))
    return found


def _asked(program: str, packages: Path, *arguments: str | Path, sent: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(packages)},
        input=sent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def one(manifests: Manifests, kind: str) -> dict[str, Any]:
    """The only manifest of this kind."""
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found
