"""What open requests rest on and no release may change: how a gate's approval settings are hashed, stored and read back.

Were one of these values another after an upgrade, every open request would be stale, or could not be read.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from champion_gate.domain.approval import ApprovalRequest
from settings_samples import FULL, FULL_GITLAB, GITLAB, SMALLEST, gates_of, read_back

ACCOUNTS = {"a@example.com": ["5", "6"]}
TRAINERS = """
registry: sqlite:///m.db
gates:
  - name: churn
    jobs: [1]
    model: churn
    version: trusted_tag
    trainers: [zoe, {login: ann, id: 17}]
    identities: {b@example.com: {login: bob, id: 9}}
    expires_after: 90m
    approval:
      gitlab: {project: 42, approvers: [jane]}
"""
STORED = {
    "smallest at GitHub": {"repository": "example/ml-deploy", "workflow": "champion-gate.yml", "ref": "main"},
    "all of GitHub": {
        "repository": "example/ml-deploy",
        "workflow": "gate.yml",
        "ref": "release/1",
        "repository_id": "42",
        "owner_id": "7",
        "environment_id:champion": "99",
    },
    "another GitHub": {"repository": "team/deploy", "workflow": "champion-gate.yml", "ref": "main"},
    "smallest at GitLab": {
        "project": "42",
        "ref": "main",
        "job": "approve",
        "environment": "champion",
        "protection": "environment",
    },
    "all of GitLab": {
        "project": "9007199254740993",
        "ref": "release/1",
        "job": "approve: [prod]",
        "environment": "prod/eu west",
        "protection": "environment",
        "approvers": "jane.doe,_max-2:17",
        "bot": "project_42_bot_0a1b",
        "namespace_id": "7",
    },
    "a branch at GitLab": {
        "project": "42",
        "ref": "main",
        "job": "approve",
        "environment": "champion",
        "protection": "branch",
    },
    "trainers": {
        "project": "42",
        "ref": "main",
        "job": "approve",
        "environment": "champion",
        "protection": "environment",
        "approvers": "jane",
    },
}
PROVIDERS = {"another GitHub": "github:ghes.example.com:8443"}
SEATS = {
    "all of GitHub": ("champion", "second-eyes"),
    "another GitHub": ("prod",),
    "all of GitLab": ("prod/eu west (1/2)", "prod/eu west (2/2)"),
}


@pytest.mark.parametrize(
    ("file", "index", "name", "hashes"),
    [
        (
            SMALLEST,
            0,
            "smallest at GitHub",
            (
                "6673e2997187a4dd19f298291220020c0166fe05db1dc541e9d68657b67b4f89",
                "24b68ba5364da41a8dd6d61facb60e37ff65b09c92be4469e29bdabc38071e38",
            ),
        ),
        (
            FULL,
            0,
            "all of GitHub",
            (
                "415a4b699e4a69240551b4f64f7301ea4cdb8b3f7fd0ee759476a7170933d1a8",
                "ab07eb9495572a01874be72e9d366693f5642c97f32eb6b4ce1f3d0e9fe7ebf5",
            ),
        ),
        (
            FULL,
            1,
            "another GitHub",
            (
                "1ed6fef6c8ceee733f031200aebb5adaf32ffdada604270b27075104cc9f7e55",
                "d9a51cd9f98d2d13a6f5ab4e3cfc6e6959c59035e0d7740e41c6e2d6091a256a",
            ),
        ),
        (
            GITLAB,
            0,
            "smallest at GitLab",
            (
                "776cccc479b59fef6e26ab0af8990b6e64a0c369d3fda32e027bc7059bfea321",
                "1c389052aa1a0f321912097fd9c912d67185fb7204c2a54f6007522ecfc9187a",
            ),
        ),
        (
            FULL_GITLAB,
            0,
            "all of GitLab",
            (
                "e68501ec9fcc1369f85b49d4723aea49f92ffd5e8c93a7a564ae3cf0cae59a53",
                "ba045760ea68db932e8ac0ef30d4bd0d95e7cc0f62ea13c615c239ca8beabd04",
            ),
        ),
        (
            FULL_GITLAB,
            1,
            "a branch at GitLab",
            (
                "fbc898714b24dbe0ab9f357ac6dbcb62ea210d7e2bd2a67a4358ba9c5f91d99a",
                "a5a155ad18a75b709f3bf1f8c1d2646d0a81ea37256dd3ef2f1733e372370bbe",
            ),
        ),
        (
            TRAINERS,
            0,
            "trainers",
            (
                "381e9974104b4af74a09da2af6b26c97926b9e42ac3d0eab1989dee0ae91ee6d",
                "66aa2852baf91d641734f0ff1e6d12029b6286c8bfadcf880c6404dd4797d217",
            ),
        ),
    ],
)
def test_a_gates_approval_settings_are_hashed_and_stored_as_ever(
    tmp_path: Path, file: object, index: int, name: str, hashes: tuple[str, str]
) -> None:
    gate = gates_of(tmp_path, file)[index]

    assert gate.approval.words() == STORED[name]
    assert gate.approval.seats == SEATS.get(name, ("champion",))
    assert gate.approval.provider == PROVIDERS.get(name, "gitlab" if "project" in STORED[name] else "github")
    assert (gate.approval_sha256(), gate.approval_sha256(ACCOUNTS)) == hashes


def stored(provider: str, place: dict[str, str], seats: list[str]) -> ApprovalRequest:
    """A request as a row holds it."""
    row = {
        "provider": provider,
        "intent_at": "2026-01-05T09:00:00.000000Z",
        "expires_at": "2026-01-19T09:00:00.000000Z",
        "pins": {"bot_id": "5"},
        "external_id": "77",
        "url": "https://ci.example.com/77",
        "opened_at": "2026-01-05T09:00:01.000000Z",
        "place": place,
        "seats": seats,
        "asked_at": "2026-01-05T09:00:00.500000Z",
        "ledger_line": 3,
        "correlation_id": "p-1-0123456789ab",
        "starts": 1,
        "most_starts": 2,
    }
    return TypeAdapter(ApprovalRequest).validate_json(json.dumps(row))


def test_a_stored_place_at_github_is_read_back() -> None:
    assert read_back(stored("github", STORED["all of GitHub"], ["champion", "second-eyes"])) == {
        "repository": "example/ml-deploy",
        "workflow_path": ".github/workflows/gate.yml",
        "ref": "release/1",
        "seats": ("champion", "second-eyes"),
        "wanted_ids": {"repository_id": "42", "owner_id": "7", "environment_id:champion": "99"},
    }
    smallest = {"repository": "example/ml-deploy", "workflow": "champion-gate.yml", "ref": "main"}
    assert read_back(stored("github:ghes.example.com", smallest, ["champion"])) == {
        "repository": "example/ml-deploy",
        "workflow_path": ".github/workflows/champion-gate.yml",
        "ref": "main",
        "seats": ("champion",),
        "wanted_ids": {},
    }


@pytest.mark.parametrize("environment", ["x" * 255, " a", "a\u00b7b"])
def test_an_environment_that_is_refused_today_is_read_where_it_was_stored(environment: str) -> None:
    assert read_back(stored("github", STORED["smallest at GitHub"], [environment]))["seats"] == (environment,)


def test_a_stored_place_at_gitlab_is_read_back() -> None:
    seats = ("prod/eu west (1/2)", "prod/eu west (2/2)")
    assert read_back(stored("gitlab", STORED["all of GitLab"], list(seats))) == {
        "project": "9007199254740993",
        "ref": "release/1",
        "job": "approve: [prod]",
        "environment": "prod/eu west",
        "protection": "environment",
        "approvers": ["jane.doe", "_max-2:17"],
        "bot": "project_42_bot_0a1b",
        "seats": seats,
        "wanted_ids": {"namespace_id": "7"},
    }
    assert read_back(stored("gitlab", STORED["a branch at GitLab"], ["champion"])) == {
        "project": "42",
        "ref": "main",
        "job": "approve",
        "environment": "champion",
        "protection": "branch",
        "approvers": [],
        "bot": "",
        "seats": ("champion",),
        "wanted_ids": {},
    }


def test_a_request_keeps_its_place_word_by_word() -> None:
    for name, place in STORED.items():
        request = stored(
            PROVIDERS.get(name, "gitlab" if "project" in place else "github"), place, ["champion"]
        )
        assert dict(request.place) == place
        assert request.target.words() == place
