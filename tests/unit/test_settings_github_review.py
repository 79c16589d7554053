"""`approval.github_review` in gates.yaml: its keys, what is wrong with them, and a request's row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.bootstrap.configuration import load_gates, load_settings
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.errors import ConfigurationError, InvalidNameError
from champion_gate.settings.explaining import explain
from settings_environ import environ
from settings_samples import changed, problems_of, written

__all__ = ["environ"]

ONE = {"repository": "example/approvals", "approvers": {"people": ["reviewer-1"]}}
ROLES = {
    "repository": "example/approvals",
    "base": "release/1",
    "path": "log/of",
    "merge": True,
    "roles": {
        "data-science": {"people": ["reviewer-1", {"login": "reviewer-2", "id": 42}]},
        "risk": {"people": ["reviewer-3"], "teams": ["risk-officers"], "approvals": 2},
    },
}
PLACE = "gates[0].approval.github_review"


def gate_file(place: dict[str, Any]) -> dict[str, Any]:
    return changed("gates 0 approval", {"github_review": place})


def test_the_least_that_has_to_be_written(tmp_path: Path) -> None:
    gates = load_gates(written(tmp_path, gate_file(ONE)))

    target = gates.gates[0].approval
    assert (target.provider, target.seats) == ("github_review", ("review",))
    assert gates.servers["github_review"].url == "https://api.github.com"
    place = target.place
    assert isinstance(place, GitHubReviewPlace)
    assert (place.base, place.path, place.merge) == ("main", "promotions", False)
    told = " ".join(explain(gates).split())
    assert "reviewing a pull request into main of the GitHub repository example/approvals" in told
    assert "One of reviewer-1 must approve." in told
    assert "ID token" not in told
    assert "with a token of" not in told


def test_numbered_seats_and_roles(tmp_path: Path) -> None:
    three = {"people": ["reviewer-1", "reviewer-2", "reviewer-3"]}
    numbered = load_gates(written(tmp_path, gate_file({**ONE, "approvers": three, "approvals": 2})))
    by_role = load_gates(written(tmp_path, gate_file(ROLES)))

    assert numbered.gates[0].approval.seats == ("review (1/2)", "review (2/2)")
    assert by_role.gates[0].approval.seats == ("data-science", "risk (1/2)", "risk (2/2)")
    told = " ".join(explain(by_role).split())
    assert "One of reviewer-1 and reviewer-2 (account 42) must approve as data-science." in told
    assert "2 of reviewer-3 and team risk-officers must approve as risk." in told
    assert (
        "These 3 approvals are by different people. Once the alias has moved, the pull request is merged."
        in told
    )


@pytest.mark.parametrize("place", [ONE, ROLES, {**ONE, "repository_id": 7, "owner_id": 8}])
def test_a_request_keeps_all_of_it(tmp_path: Path, place: dict[str, Any]) -> None:
    target = load_gates(written(tmp_path, gate_file(place))).gates[0].approval
    stored = ApprovalTarget.stored(target.provider, target.words(), target.seats)

    read = GitHubReviewPlace.of(stored.place)

    assert (read.words(), read.seats) == (target.words(), target.seats)
    assert read.people == target.place.people  # type: ignore[attr-defined] # a GitHubReviewPlace
    assert read.merge is target.place.merge  # type: ignore[attr-defined] # as above


@pytest.mark.parametrize(
    "change",
    [
        {"who": ""},
        {"who": "[1]"},
        {"who": '[{"role":"","people":["../x"],"teams":[],"approvals":1}]'},
        {"who": '[{"role":"","people":["a"],"teams":["x/y"],"approvals":1}]'},
        {"who": '[{"role":"a b/c","people":["a"],"teams":[],"approvals":1}]'},
        {"who": '[{"role":"","people":["a","b"],"teams":[],"approvals":2}]'},
        {"base": "../x"},
        {"path": ".github/workflows"},
        {"repository": "x"},
        {"repository_id": "x"},
    ],
)
def test_a_row_of_another_form_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    target = load_gates(written(tmp_path, gate_file(ONE))).gates[0].approval
    stored = ApprovalTarget.stored(target.provider, {**target.words(), **change}, target.seats)

    with pytest.raises(InvalidNameError):
        GitHubReviewPlace.of(stored.place)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"repository": "example/approvals"}, f"{PLACE}.approvers: is missing; expected people or teams"),
        ({**ONE, "roles": ROLES["roles"]}, f"{PLACE}.roles: stands beside approvers; expected roles, or"),
        (
            {"repository": "example/approvals", "approvals": 2, "roles": ROLES["roles"]},
            f"{PLACE}.roles: stands beside approvals; expected roles, or",
        ),
        ({**ONE, "approvers": None}, f"{PLACE}.approvers: "),
        ({**ONE, "approvers": {}}, f"{PLACE}.approvers.people: found nobody, and no teams"),
        ({**ONE, "approvals": 2}, f"{PLACE}.approvals: need 2 different people, and reviewer-1 cannot give"),
        ({**ONE, "approvals": 0}, f"{PLACE}.approvals: "),
        ({**ONE, "approvals": 11}, f"{PLACE}.approvals: "),
        ({**ONE, "approvers": {"people": ["a", "A"]}}, f"{PLACE}.approvers.people[1]: found 'A' a second"),
        ({**ONE, "approvers": {"people": ["gate[bot]"]}}, f"{PLACE}.approvers.people[0]: "),
        ({**ONE, "approvers": {"teams": ["example/leads"]}}, f"{PLACE}.approvers.teams[0]: "),
        ({**ONE, "path": "a/../b"}, f"{PLACE}.path: "),
        ({**ONE, "path": ".github/workflows"}, f"{PLACE}.path: "),
        ({**ONE, "path": "/promotions"}, f"{PLACE}.path: "),
        ({**ONE, "ca_file": "x.pem"}, f"{PLACE}.ca_file: stands without url"),
        (
            {
                "repository": "example/approvals",
                "roles": {"risk": {"people": ["a"]}, "Risk": {"people": ["b"]}},
            },
            f"{PLACE}.roles.Risk: is the same as",
        ),
        (
            {
                "repository": "example/approvals",
                "roles": {"risk": {"people": ["a"]}, "science": {"people": ["a"]}},
            },
            f"{PLACE}.roles: need 2 different people, and a cannot give as many",
        ),
        (
            {
                "repository": "example/approvals",
                "roles": {f"r{each}": {"teams": ["t"], "approvals": 6} for each in range(2)},
            },
            f"{PLACE}.roles: need 12 approvals together; expected at most 10",
        ),
    ],
)
def test_each_wrong_key_is_named_with_its_path(tmp_path: Path, place: dict[str, Any], says: str) -> None:
    found = problems_of(tmp_path, gate_file(place))

    assert [line for line in found if line.startswith(says)], found


def test_a_team_may_fill_what_named_people_cannot(tmp_path: Path) -> None:
    place = {**ONE, "approvers": {"people": ["a"], "teams": ["leads"]}, "approvals": 3}

    assert len(load_gates(written(tmp_path, gate_file(place))).gates[0].approval.seats) == 3


def test_it_shares_githubs_server_and_credentials(tmp_path: Path, environ: dict[str, str]) -> None:
    both = gate_file(ONE)
    other = {**both["gates"][0], "name": "fraud", "model": "main.ml.fraud"}
    other["approval"] = {"github": {"repository": "example/ml-deploy", "environments": ["champion"]}}
    both["gates"] = [both["gates"][0], other]

    settings = load_settings({**environ, "CHAMPION_GATE_CONFIG": str(written(tmp_path, both))})

    assert settings.hosts.keys() == {"github_review", "github"}
    assert settings.hosts["github_review"].credentials == settings.hosts["github"].credentials


def test_without_githubs_secrets_it_does_not_start(tmp_path: Path, environ: dict[str, str]) -> None:
    without = {name: value for name, value in environ.items() if "GITHUB" not in name}

    with pytest.raises(ConfigurationError) as refused:
        load_settings({**without, "CHAMPION_GATE_CONFIG": str(written(tmp_path, gate_file(ONE)))})

    told = " ".join(refused.value.problems)
    assert "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET: is missing" in told
    assert "CHAMPION_GATE_GITHUB_TOKEN" in told


def test_another_github_is_a_provider_of_its_own(tmp_path: Path) -> None:
    place = {**ONE, "url": "https://ghes.example.com/api/v3"}

    gates = load_gates(written(tmp_path, gate_file(place)))

    assert gates.gates[0].approval.provider == "github_review:ghes.example.com"
    assert gates.servers["github_review:ghes.example.com"].url == "https://ghes.example.com/api/v3"


def test_two_addresses_of_one_host_are_refused(tmp_path: Path) -> None:
    found = problems_of(tmp_path, gate_file({**ONE, "url": "https://api.github.com/other"}))

    assert any("approval.github_review.url: found https://api.github.com/other" in line for line in found), (
        found
    )
