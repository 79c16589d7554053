"""Promotions whose request is open at GitHub or GitLab, and the claims of their gated job's ID token."""

from __future__ import annotations

from typing import Any

from champion_gate.adapters.oidc.tokens import SignedClaims
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.promotion import Promotion
from integration.github_world import START, promotion_of

GITHUB_PINS = {
    "repository_id": "1001",
    "owner_id": "77",
    "workflow_path": ".github/workflows/champion-gate.yml",
    "ref": "main",
    "bot_id": "555",
}
GITHUB_PLACE = {"repository": "example/ml-deploy", "workflow": "champion-gate.yml", "ref": "main"}
GITLAB_PINS = {
    "project_id": "42",
    "namespace_id": "7",
    "ref": "main",
    "job": "approve",
    "environment": "champion",
    "protection": "environment",
    "source": "trigger",
    "bot_id": "555",
    "approvers": "",
    "ci_config_ref_uri": "gitlab.example.com/example/ml-deploy//.gitlab-ci.yml@refs/heads/main",
}


def _promotion(provider: str, pins: dict[str, str], place: dict[str, str], *seats: str) -> Promotion:
    request = ApprovalRequest(
        provider=provider,
        intent_at=START,
        expires_at=START.replace(year=2027),
        pins=pins,
        external_id="9000",
        place=place,
        seats=seats,
    )
    return promotion_of("p-1", START, request)


def github(**pins: str) -> Promotion:
    return _promotion("github", {**GITHUB_PINS, **pins}, GITHUB_PLACE, "champion", "Audit")


def gitlab(**pins: str) -> Promotion:
    return _promotion("gitlab", {**GITLAB_PINS, **pins}, {}, "champion")


def github_claims(**changed: object) -> SignedClaims:
    file = "example/ml-deploy/.github/workflows/champion-gate.yml@refs/heads/main"
    claims: dict[str, Any] = {
        "sub": "repo:example/ml-deploy:environment:champion",
        "repository": "example/ml-deploy",
        "repository_id": "1001",
        "repository_owner": "example",
        "repository_owner_id": "77",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "sha": "a" * 40,
        "event_name": "workflow_dispatch",
        "environment": "champion",
        "workflow_ref": file,
        "job_workflow_ref": file,
        "run_id": "9000",
        "run_attempt": "1",
        "actor": "gate[bot]",
        "actor_id": "555",
        "check_run_id": "31",
    }
    return SignedClaims({key: value for key, value in {**claims, **changed}.items() if value is not ...})


def gitlab_claims(**changed: object) -> SignedClaims:
    claims: dict[str, Any] = {
        "sub": "project_path:example/ml-deploy:ref_type:branch:ref:main",
        "project_id": "42",
        "project_path": "example/ml-deploy",
        "namespace_id": "7",
        "job_project_id": "42",
        "job_namespace_id": "7",
        "user_id": "31",
        "user_access_level": "maintainer",
        "pipeline_id": "9000",
        "pipeline_source": "trigger",
        "job_id": "61",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "environment": "champion",
        "environment_protected": "true",
        "environment_action": "start",
        "runner_id": 1,
        "sha": "a" * 40,
        "ci_config_ref_uri": GITLAB_PINS["ci_config_ref_uri"],
    }
    return SignedClaims({key: value for key, value in {**claims, **changed}.items() if value is not ...})
