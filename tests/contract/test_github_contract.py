"""The checks against GitHub's description find what is wrong, and the stand-in serves all that it lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from flask import Flask, Response

from champion_gate_standins.common.server import serve
from champion_gate_standins.github.server import GitHubStandIn
from contract.validating import HERE, VERSIONS, ValidatingApp

Call = Callable[..., requests.Response]
REPO = "/repos/example/ml-deploy"
ACTIONS = f"{REPO}/actions"
INPUTS = {
    "promotion_id": "p1",
    "model": "m",
    "version": "2",
    "alias": "Champion",
    "evidence": "e",
    "environments": '["champion", "second", "third"]',
}
NOT_SERVED = {"deployment_protection_rule"}
"""Operations of the trimmed description that champion-gate has no use for."""


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    standin = GitHubStandIn()
    standin.add_repository("example/ml-deploy")
    standin.protect_branch("example/ml-deploy")
    standin.add_file("example/ml-deploy", ".github/workflows/champion-gate.yml", "name: champion-gate")
    standin.repository("example/ml-deploy").variables["CHAMPION_GATE_URL"] = "https://gate.example.com"
    standin.state.org_variables["example"] = {"CHAMPION_GATE_URL": "https://gate.example.com"}
    standin.add_user("rita")
    team = standin.add_team("example", "ml", ["tom"])
    standin.protect_environment("example/ml-deploy", "champion", ["rita", team])
    standin.protect_environment(
        "example/ml-deploy", "second", [team], branch_policy="protected", wait_timer=3
    )
    yield standin
    standin.close()


@pytest.fixture
def checks(github: GitHubStandIn) -> ValidatingApp:
    checks = ValidatingApp(github.app.wsgi_app)
    github.app.wsgi_app = checks  # type: ignore[method-assign]
    return checks


@pytest.fixture
def call(github: GitHubStandIn, checks: ValidatingApp) -> Iterator[Call]:
    token = github.add_token("svc")
    with serve(github.app) as base:

        def ask(
            method: str, path: str, version: str = VERSIONS[0], as_token: str = token, **options: Any
        ) -> requests.Response:
            headers = {"Authorization": f"Bearer {as_token}", "X-GitHub-Api-Version": version}
            headers |= options.pop("headers", {})
            return requests.request(method, base + path, headers=headers, timeout=10, **options)

        yield ask


@pytest.mark.parametrize("version", VERSIONS)
def test_every_answer_about_a_run_is_as_github_describes_it(
    github: GitHubStandIn, checks: ValidatingApp, call: Call, version: str
) -> None:
    call(
        "POST",
        f"{ACTIONS}/workflows/champion-gate.yml/dispatches",
        version,
        json={"ref": "main", "inputs": INPUTS},
    )
    run_id = github.runs[0].id
    one_run = f"{ACTIONS}/runs/{run_id}"
    reads = [
        f"{REPO}/environments/champion",
        f"{REPO}/environments/second",
        f"{REPO}/environments/third",
        f"{REPO}/contents/.github/workflows/champion-gate.yml?ref=main",
        f"{ACTIONS}/variables/CHAMPION_GATE_URL",
        f"{ACTIONS}/organization-variables?per_page=30",
        f"{ACTIONS}/workflows/champion-gate.yml/runs?event=workflow_dispatch&created=>=2020-01-01T00:00:00Z&per_page=100",
        *(f"{one_run}{part}" for part in ("", "/approvals", "/jobs", "/pending_deployments")),
    ]

    def read_all() -> None:
        assert {call("GET", path, version).status_code for path in reads} == {200}

    read_all()
    reviewer = github.add_token("tom")
    place = github.repository("example/ml-deploy").environments["champion"]
    review = {"environment_ids": [place.id], "state": "approved", "comment": "good"}
    assert call("POST", f"{one_run}/pending_deployments", version, reviewer, json=review).status_code == 200
    read_all()
    assert call("POST", f"{one_run}/cancel", version).status_code == 202
    assert call("POST", f"{one_run}/cancel", version).status_code == 409
    read_all()
    github.rerun(run_id, "rita")
    read_all()
    assert call("GET", one_run, version, headers={"If-None-Match": "x"}).status_code == 200
    assert checks.violations == []

    description = json.loads((HERE / f"github.{version}.json").read_text())
    served = {
        f"{method.upper()} {path}"
        for path, operations in description["paths"].items()
        for method in operations
        if path.startswith("/repos/{owner}/{repo}/")
        and path.rpartition("/")[2] not in NOT_SERVED | {"installation"}
    }
    assert {key.rpartition(" ")[0] for key in checks.checked} == served


def test_answers_that_the_description_lacks_are_checked_against_our_own_schemas(
    checks: ValidatingApp, call: Call
) -> None:
    paths = [
        "/user",
        "/users/rita",
        REPO,
        f"{ACTIONS}/workflows/champion-gate.yml",
        f"{REPO}/rules/branches/main",
        "/orgs/example/teams/ml/members",
        "/orgs/example/teams/ml/memberships/tom",
    ]
    assert {call("GET", path).status_code for path in paths} == {200}
    assert call("GET", "/users/nobody").status_code == 404
    assert checks.violations == []
    assert len(checks.unlisted) == len(paths) + 1
    own = json.loads((HERE / "github.unlisted.json").read_text())
    operations = [operation for each in own["paths"].values() for operation in each.values()]
    assert all(
        one["externalDocs"]["url"].startswith("https://docs.github.com/en/rest/") for one in operations
    )


@pytest.mark.parametrize(
    ("method", "path", "violation"),
    [
        ("GET", f"{REPO}/secrets", "lists this operation"),
        ("DELETE", REPO, "lists this operation"),
        ("GET", f"{ACTIONS}/runs/abc", "run_id"),
        ("GET", f"{ACTIONS}/workflows/champion-gate.yml/runs?per_page=many", "per_page"),
    ],
)
def test_a_request_that_github_does_not_describe_is_found(
    checks: ValidatingApp, call: Call, method: str, path: str, violation: str
) -> None:
    call(method, path)
    assert any(violation in line for line in checks.violations), checks.violations


def test_a_request_of_the_wrong_form_is_found_even_if_a_fault_answers_it(
    github: GitHubStandIn, checks: ValidatingApp, call: Call
) -> None:
    github.faults.add("/dispatches$", status=503)
    call("POST", f"{ACTIONS}/workflows/x.yml/dispatches", json={"inputs": {}})
    assert len(checks.violations) == 1
    assert "'ref' is a required property" in checks.violations[0]


@pytest.mark.parametrize(
    ("body", "status", "violation"),
    [
        ({"total_count": 0}, 200, "'jobs' is a required property"),
        ({"total_count": "none", "jobs": []}, 200, "total_count: 'none' is not of type 'integer'"),
        ({"total_count": 0, "jobs": []}, 201, "this status is not listed"),
        ({}, 500, "an error without a message"),
    ],
)
def test_an_answer_of_the_wrong_form_is_found(body: dict[str, Any], status: int, violation: str) -> None:
    app = Flask("wrong")
    app.add_url_rule(
        f"{ACTIONS}/runs/1/jobs",
        view_func=lambda: Response(json.dumps(body), status, mimetype="application/json"),
    )
    checks = ValidatingApp(app.wsgi_app)
    app.wsgi_app = checks  # type: ignore[method-assign]
    app.test_client().get(f"{ACTIONS}/runs/1/jobs")
    assert len(checks.violations) == 1
    assert violation in checks.violations[0]


def test_a_204_is_only_right_under_the_old_version(
    github: GitHubStandIn, checks: ValidatingApp, call: Call
) -> None:
    path = f"{ACTIONS}/workflows/champion-gate.yml/dispatches"
    for version in VERSIONS:
        assert call("POST", path, version, json={"ref": "main", "inputs": INPUTS}).status_code in {200, 204}
    assert checks.violations == []
    assert checks.checked == {
        f"POST /repos/{{owner}}/{{repo}}/actions/workflows/{{workflow_id}}/dispatches {status}": 1
        for status in (200, 204)
    }


def test_what_a_fault_makes_up_is_not_held_against_the_stand_in(
    github: GitHubStandIn, checks: ValidatingApp, call: Call
) -> None:
    github.faults.add("/user$", body="{broken")
    assert call("GET", "/user").text == "{broken"
    assert checks.violations == []
