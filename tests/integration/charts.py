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
TOOLS = Path(sys.prefix) / "deploy"
"""Where `make .venv/.deploy` puts the tools that check deploy/."""
needs_tools = pytest.mark.skipif(
    not TOOLS.is_dir(), reason=f"NOT TESTED: {TOOLS} is not there: make .venv/.deploy"
)
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
from kubernetes_validate import SchemaNotFoundError, validate

def problems_of(manifest):
    try:
        validate(manifest, "1.32", strict=True)
    except SchemaNotFoundError:
        return [] if manifest["apiVersion"].startswith("monitoring.coreos.com/") else ["no schema"]
    except Exception as error:
        return [str(error)]
    return []

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
        problems = {each["kind"]: found for each in manifests if (found := problems_of(each))}
        lint = chart.lint(path, values=values)
        problems |= {str(each["path"]): each["error"] for each in lint["messages"] if each["severity"] > 1}
        answers.append({"manifests": manifests, "problems": problems})
print(json.dumps(answers))
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
        For each either `refused`, Helm's words, or `manifests` and their `problems` under Kubernetes' strict schemas and
        `helm lint`.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RENDER, CHART, RELEASE, *map(json.dumps, many)],
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def one(manifests: Manifests, kind: str) -> dict[str, Any]:
    """The only manifest of this kind."""
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found
