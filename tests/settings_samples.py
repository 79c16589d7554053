"""Files of gates, and what the tests of settings do with them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from champion_gate.adapters.github.settings import GitHubPlace
from champion_gate.adapters.gitlab.settings import GitLabPlace
from champion_gate.bootstrap.configuration import load_gates
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.gates import Gate
from champion_gate.errors import ConfigurationError

SMALLEST: dict[str, Any] = {
    "registry": "databricks-uc",
    "gates": [
        {
            "name": "churn",
            "jobs": [1234567890],
            "model": "main.ml.churn",
            "approval": {"github": {"repository": "example/ml-deploy", "environments": ["champion"]}},
        }
    ],
}
FULL = """
registry: databricks-uc
github: {url: "https://api.github.com", api_version: "2026-03-10"}
gates:
  - name: churn
    jobs: [9007199254740993, train-churn]
    model: Main.ML.churn
    alias: Champion
    version: tag
    accept_success_with_failures: true
    approval:
      github:
        repository: example/ml-deploy
        workflow: gate.yml
        ref: release/1
        environments: [champion, second-eyes]
        repository_id: 42
        owner_id: 7
        environment_ids: {champion: 99}
    identities:
      first.last@example.com: octo-login
      two@example.com: [one, two]
      0a1b2c3d-1111-2222-3333-444455556666: []
    allow_trainer_approval: true
    expires_after: 12h
    apply_within: 3d
    newer_version: keep
    metrics:
      f1: {better: higher, max_worse: 0.01, at_least: 0.8}
      loss: {better: lower, at_most: 1}
  - name: fraud
    jobs: [5]
    model: main.ml.fraud
    approval:
      github: {repository: team/deploy, environments: [prod], url: "https://GHES.example.com:8443/api/v3/"}
"""
GITLAB: dict[str, Any] = {
    "registry": "databricks-uc",
    "gates": [
        {
            "name": "churn",
            "jobs": [1234567890],
            "model": "main.ml.churn",
            "approval": {"gitlab": {"project": 42}},
        }
    ],
}
FULL_GITLAB = """
registry: databricks-uc
github: {oidc: {audience: "https://gate.example.com"}}
gitlab:
  url: https://GitLab.example.com/gitlab/
  ca_file: /etc/ca.pem
  oidc: {issuer: "https://Public.example.com", audience: ours}
gates:
  - name: churn
    jobs: [1]
    model: main.ml.churn
    approval:
      gitlab:
        project: 9007199254740993
        ref: release/1
        job: "approve: [prod]"
        environment: prod/eu west
        protection: environment
        approvers: [jane.doe, {login: _max-2, id: 17}]
        approvals: 2
        namespace_id: 7
        bot: project_42_bot_0a1b
    identities:
      first.last@example.com: jane.doe
      two@example.com: [one, two.x]
  - name: fraud
    jobs: [2]
    model: main.ml.fraud
    approval: {gitlab: {project: 42, protection: branch}}
  - name: hub
    jobs: [3]
    model: main.ml.hub
    approval: {github: {repository: team/deploy, environments: [prod]}}
"""


def changed(path: str, value: object, sample: dict[str, Any] = SMALLEST) -> dict[str, Any]:
    """A sample with the key at `path` (parts parted by blanks) set, or removed where value is ...."""
    file = copy.deepcopy(sample)
    *above, last = [int(part) if part.isdigit() else part for part in path.split()]
    place: Any = file
    for part in above:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return file


def written(folder: Path, content: object) -> Path:
    path = folder / "gates.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def problems_of(folder: Path, content: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_gates(written(folder, content))
    return caught.value.problems


def gates_of(folder: Path, content: object) -> tuple[Gate, ...]:
    return load_gates(written(folder, content)).gates


def read_back(request: ApprovalRequest) -> dict[str, object]:
    """What the adapter makes of the place that a request was stored with."""
    if request.provider == "gitlab":
        lab = GitLabPlace.of(request.target.place)
        return {
            **{name: getattr(lab, name) for name in ("ref", "job", "environment", "seats")},
            "project": str(lab.project),
            "bot": lab.bot or "",
            "protection": str(lab.protection),
            "approvers": [str(each) for each in lab.approvers],
            "wanted_ids": dict(lab.wanted_ids),
        }
    hub = GitHubPlace.of(request.target.place)
    names = ("repository", "workflow_path", "ref", "seats")
    return {**{name: getattr(hub, name) for name in names}, "wanted_ids": dict(hub.wanted_ids)}
