"""The GitHub stand-in lets in whom GitHub lets in, and dispatches, shows and lists as GitHub does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from integration.github_standin_world import DISPATCH, REPO, RUNS, World, inputs, standin_world


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world() as world:
        yield world


@pytest.fixture
def token(world: World) -> str:
    return world.github.add_token("svc")


# --- who calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"}]
)
def test_nothing_is_answered_without_a_good_token(world: World, header: dict[str, str]) -> None:
    for path in (REPO, f"{REPO}/environments/champion", RUNS, "/user", "/users/rita"):
        assert world.call("GET", path, headers=header).status_code == 401
    assert world.call("POST", DISPATCH, headers=header, json={"ref": "main"}).status_code == 401
    assert world.github.runs == []


def test_a_token_may_only_do_what_it_was_given(world: World) -> None:
    reader = world.github.add_token("svc", {"actions": "read"})
    assert world.call("GET", RUNS, reader).status_code == 200
    assert world.call("POST", DISPATCH, reader, json={"ref": "main", "inputs": inputs()}).status_code == 403
    nobody = world.github.add_token("svc", {})
    assert world.call("GET", REPO, nobody).status_code == 200
    assert world.call("GET", f"{REPO}/environments/champion", nobody).status_code == 403
    assert world.call("GET", "/orgs/example/teams/ml/members", nobody).status_code == 403


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def app_jwt(key: rsa.RSAPrivateKey, issuer: str, at: datetime, *, life: int = 540) -> str:
    stamp = int(at.timestamp())
    return jwt.encode({"iat": stamp - 60, "exp": stamp + life, "iss": issuer}, key, algorithm="RS256")


def test_an_app_gets_a_token_that_acts_as_its_bot_for_an_hour(world: World, key: rsa.RSAPrivateKey) -> None:
    app = world.github.add_app("champion-gate", public_pem(key))
    signed = app_jwt(key, app.client_id, world.now)
    assert world.call("GET", "/app", signed).json()["slug"] == "champion-gate"
    found = world.call("GET", f"{REPO}/installation", signed).json()
    repository_id = world.github.repository("example/ml-deploy").id
    wish = {"repository_ids": [repository_id], "permissions": {"actions": "write"}}
    made = world.call("POST", f"/app/installations/{found['id']}/access_tokens", signed, json=wish)
    assert made.status_code == 201
    token = made.json()["token"]
    assert made.json()["expires_at"] == "2026-05-04T13:00:00Z"
    assert token.startswith("ghs_")
    assert len(token) > 200, "the new tokens are long"

    body = {"ref": "main", "inputs": inputs(), "return_run_details": True}
    assert world.call("POST", DISPATCH, token, json=body).status_code == 200
    assert world.github.runs[0].actor.login == "champion-gate[bot]"
    assert world.github.runs[0].actor.type == "Bot"
    assert world.call("GET", "/user", token).status_code == 403
    assert world.call("GET", "/orgs/example/teams/ml/members", token).status_code == 403, "narrowed"

    world.now += timedelta(hours=1)
    assert world.call("GET", REPO, token).status_code == 401


def test_an_app_token_cannot_review(world: World, key: rsa.RSAPrivateKey) -> None:
    app = world.github.add_app(
        "champion-gate", public_pem(key), permissions={"actions": "write", "deployments": "write"}
    )
    signed = app_jwt(key, str(app.id), world.now)
    made = world.call("POST", f"/app/installations/{app.installation_id}/access_tokens", signed)
    run_id = world.dispatched()
    place = world.github.repository("example/ml-deploy").environments["champion"]
    body = {"environment_ids": [place.id], "state": "approved", "comment": "me"}
    answer = world.call(
        "POST", f"{REPO}/actions/runs/{run_id}/pending_deployments", made.json()["token"], json=body
    )
    assert answer.status_code == 403
    assert world.job(run_id) == "waiting"


def test_a_bad_app_jwt_is_refused(world: World, key: rsa.RSAPrivateKey) -> None:
    app = world.github.add_app("champion-gate", public_pem(key))
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    stamp = int(world.now.timestamp())
    bad = [
        app_jwt(stranger, app.client_id, world.now),
        app_jwt(key, "Iv1.other", world.now),
        app_jwt(key, app.client_id, world.now - timedelta(hours=1)),
        app_jwt(key, app.client_id, world.now + timedelta(hours=1)),
        app_jwt(key, app.client_id, world.now, life=3600),
        jwt.encode({"iat": stamp, "exp": stamp + 60, "iss": app.client_id}, "x" * 32, algorithm="HS256"),
        jwt.encode({"iat": stamp, "iss": app.client_id}, key, algorithm="RS256"),
        "not.a.jwt",
    ]
    assert [world.call("GET", "/app", one).status_code for one in bad] == [401] * len(bad)


def test_an_app_gets_no_more_than_it_was_granted(world: World, key: rsa.RSAPrivateKey) -> None:
    world.github.add_repository("example/other")
    app = world.github.add_app("gate", public_pem(key), repositories=["example/ml-deploy"])
    signed = app_jwt(key, app.client_id, world.now)
    path = f"/app/installations/{app.installation_id}/access_tokens"
    assert world.call("POST", path, signed, json={"permissions": {"actions": "admin"}}).status_code == 422
    assert world.call("POST", path, signed, json={"permissions": {"contents": "read"}}).status_code == 422
    assert world.call("POST", path, signed, json={"repositories": ["other"]}).status_code == 422
    assert world.call("POST", path, signed, json={"repository_ids": [1]}).status_code == 422
    token = world.call("POST", path, signed).json()["token"]
    assert world.call("GET", REPO, token).status_code == 200
    assert world.call("GET", "/repos/example/other", token).status_code == 404
    assert world.call("GET", "/repos/example/other/installation", signed).status_code == 404
    app.suspended = True
    assert world.call("GET", REPO, token).status_code == 403


# --- dispatch ------------------------------------------------------------------------------------------------


def test_dispatch_tells_the_run_as_its_version_has_it(world: World, token: str) -> None:
    old = {"X-GitHub-Api-Version": "2022-11-28"}
    new = {"X-GitHub-Api-Version": "2026-03-10"}
    body: dict[str, Any] = {"ref": "main", "inputs": inputs()}
    silent = world.call("POST", DISPATCH, token, headers=old, json=body)
    assert (silent.status_code, silent.content) == (204, b"")
    assert world.call("POST", DISPATCH, token, json=body).status_code == 204, "no header is the old version"
    telling = world.call("POST", DISPATCH, token, headers=old, json=body | {"return_run_details": True})
    assert telling.status_code == 200
    newest = world.call("POST", DISPATCH, token, headers=new, json=body)
    assert newest.json()["workflow_run_id"] == world.github.runs[-1].id
    assert newest.json()["html_url"].endswith(f"/example/ml-deploy/actions/runs/{world.github.runs[-1].id}")
    assert (
        world.call("POST", DISPATCH, token, headers=new, json=body | {"return_run_details": True}).status_code
        == 422
    )
    assert world.call("GET", REPO, token, headers={"X-GitHub-Api-Version": "1999-01-01"}).status_code == 400
    assert len(world.github.runs) == 4
    assert world.checks
    assert world.checks.violations == [
        "GET /repos/example/ml-deploy asked: GitHub has no API version 1999-01-01"
    ]


@pytest.mark.parametrize(("knows", "status"), [("ignored", 204), ("refused", 422)])
def test_an_older_server_knows_no_run_details(world: World, token: str, knows: str, status: int) -> None:
    world.github.api.run_details = knows
    body = {"ref": "main", "inputs": inputs(), "return_run_details": True}
    assert world.call("POST", DISPATCH, token, json=body).status_code == status
    assert len(world.github.runs) == (status == 204)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"ref": "main", "inputs": {}}, "Required input 'promotion_id' not provided"),
        ({"ref": "main", "inputs": inputs(evidence="")}, "Required input 'evidence' not provided"),
        ({"ref": "main", "inputs": inputs() | {"more": "x"}}, 'Unexpected inputs provided: ["more"]'),
        ({"ref": "main", "inputs": inputs() | {"version": 2}}, "strings are expected"),
        ({"ref": "main", "inputs": inputs(evidence="x" * 65_535)}, "inputs are too large."),
        ({"ref": "main", "inputs": {str(number): "x" for number in range(26)}}, "No more than 25 properties"),
        ({"ref": "nope", "inputs": inputs()}, "No ref found for: nope"),
        ({"inputs": inputs()}, '"ref" wasn\'t supplied'),
        ({"ref": "main", "inputs": []}, "Invalid request"),
    ],
)
def test_a_bad_dispatch_starts_nothing(world: World, token: str, body: dict[str, Any], message: str) -> None:
    answer = world.call("POST", DISPATCH, token, json=body)
    assert answer.status_code == 422
    assert message in answer.json()["message"]
    assert world.github.runs == []


def test_dispatching_what_is_not_there_or_disabled_is_refused(world: World, token: str) -> None:
    body = {"ref": "main", "inputs": inputs()}
    assert (
        world.call("POST", DISPATCH.replace("champion-gate.yml", "no.yml"), token, json=body).status_code
        == 404
    )
    assert world.call("POST", DISPATCH.replace("ml-deploy", "no"), token, json=body).status_code == 404
    assert world.call("POST", DISPATCH, token, data=b"{nonsense").status_code == 400
    world.github.repository("example/ml-deploy").workflows["champion-gate.yml"].state = "disabled_manually"
    assert world.call("POST", DISPATCH, token, json=body).status_code == 422
    assert (
        world.call("GET", f"{REPO}/actions/workflows/champion-gate.yml", token).json()["state"]
        == "disabled_manually"
    )
    assert world.github.runs == []


# --- environments and lists ----------------------------------------------------------------------------------


def test_an_environment_is_shown_with_its_rules(world: World, token: str) -> None:
    team = world.github.add_team("example", "ml", ["tom"])
    made = world.github.protect_environment("example/ml-deploy", "Prod/EU", ["rita", team], wait_timer=5)
    shown = world.call("GET", f"{REPO}/environments/prod%2Feu", token).json()
    rules = {rule["type"]: rule for rule in shown["protection_rules"]}
    assert [one["type"] for one in rules["required_reviewers"]["reviewers"]] == ["User", "Team"]
    assert rules["required_reviewers"]["prevent_self_review"] is True
    assert rules["wait_timer"]["wait_timer"] == 5
    assert shown["can_admins_bypass"] is False
    assert shown["deployment_branch_policy"] == {"protected_branches": False, "custom_branch_policies": True}
    policies = world.call("GET", f"{REPO}/environments/Prod%2FEU/deployment-branch-policies", token).json()
    assert [(one["name"], one["type"]) for one in policies["branch_policies"]] == [("main", "branch")]

    changed = world.github.protect_environment(
        "example/ml-deploy", "prod/eu", [], can_admins_bypass=None, branch_policy="protected"
    )
    assert changed.id == made.id
    shown = world.call("GET", f"{REPO}/environments/prod%2Feu", token).json()
    assert "can_admins_bypass" not in shown
    assert [rule["type"] for rule in shown["protection_rules"]] == ["branch_policy"]
    world.github.delete_environment("example/ml-deploy", "PROD/eu")
    assert world.call("GET", f"{REPO}/environments/prod%2Feu", token).status_code == 404
    assert world.github.protect_environment("example/ml-deploy", "prod/eu", []).id != made.id


def test_runs_are_listed_newest_first_in_pages(world: World, token: str) -> None:
    for number in range(5):
        world.now += timedelta(minutes=1)
        world.dispatched(promotion_id=f"p{number}")
    seen: list[str] = []
    url = f"{RUNS}?event=workflow_dispatch&actor=STARTER&per_page=2"
    pages = 0
    while url:
        answer = world.call("GET", url, token)
        assert answer.json()["total_count"] == 5
        seen += [run["display_title"] for run in answer.json()["workflow_runs"]]
        url = answer.links.get("next", {}).get("url", "").removeprefix(world.base)
        pages += 1
    assert pages == 3
    assert [title[-4:] for title in seen] == ["[p4]", "[p3]", "[p2]", "[p1]", "[p0]"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("created=>=2026-05-04T12:02:00Z", 2),
        ("created=>2026-05-04T12:02:00Z", 1),
        ("created=<2026-05-04T12:02:00Z", 1),
        ("created=<=2026-05-04T12:01:00Z", 1),
        ("created=2026-05-04", 3),
        ("created=2026-05-03", 0),
        ("created=2026-05-04T12:01:30Z..2026-05-04T12:02:30Z", 1),
        ("created=2026-05-04T12:02:00Z..*", 2),
        ("actor=somebody", 0),
        ("event=push", 0),
        ("branch=main", 3),
        ("status=waiting", 2),
        ("status=success", 1),
    ],
)
def test_the_list_of_runs_can_be_narrowed(world: World, token: str, query: str, found: int) -> None:
    for number in range(3):
        world.now += timedelta(minutes=1)
        run_id = world.dispatched(promotion_id=f"p{number}")
    world.github.review(run_id, "champion", "rita", approve=True)
    assert world.call("GET", f"{RUNS}?{query}", token).json()["total_count"] == found


def test_an_unchanged_answer_is_not_sent_again(world: World, token: str) -> None:
    run_id = world.dispatched()
    path = f"{REPO}/actions/runs/{run_id}"
    etag = world.call("GET", path, token).headers["ETag"]
    again = world.call("GET", path, token, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    world.github.review(run_id, "champion", "rita", approve=True)
    assert world.call("GET", path, token, headers={"If-None-Match": etag}).status_code == 200
