"""The ID tokens of the GitHub stand-in's jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests

from champion_gate_standins.github.accounts import RefusedError
from integration.github_standin_world import START, World, standin_world


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world() as made:
        made.github.workflow_runs.jobs_finish = False
        made.call("GET", "/.well-known/jwks")  # tells the stand-in its own address
        yield made


def released(world: World) -> int:
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True)
    return run_id


def verified(world: World, token: str) -> dict[str, Any]:
    """Check a token as an independent reader of the discovery document does."""
    document = requests.get(f"{world.base}/.well-known/openid-configuration", timeout=10).json()
    key = jwt.PyJWKClient(document["jwks_uri"]).get_signing_key_from_jwt(token)
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    claims = jwt.decode(
        token, key, algorithms=["RS256"], audience="champion-gate", issuer=world.base, options=options
    )
    assert isinstance(claims, dict)
    return claims


def test_a_released_job_asks_for_a_token_with_githubs_claims(world: World) -> None:
    run = world.github.run(released(world))
    given = world.github.oidc.request_variables(run, "Champion")
    answer = requests.get(
        f"{given['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience=champion-gate",
        headers={"Authorization": f"bearer {given['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"},
        timeout=10,
    )
    claims = verified(world, answer.json()["value"])
    repository, now = run.repository, int(START.timestamp())
    file_ref = "example/ml-deploy/.github/workflows/champion-gate.yml@refs/heads/main"
    wanted = {
        "iss": world.base,
        "aud": "champion-gate",
        "iat": now,
        "nbf": now - 600,
        "exp": now + 300,
        "repository": "example/ml-deploy",
        "repository_id": str(repository.id),
        "repository_owner": "example",
        "repository_owner_id": str(repository.owner.id),
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "sha": run.head_sha,
        "event_name": "workflow_dispatch",
        "workflow_ref": file_ref,
        "job_workflow_ref": file_ref,
        "run_id": str(run.id),
        "run_attempt": "1",
        "environment": "champion",
        "actor": "starter",
        "runner_environment": "github-hosted",
    }
    assert {name: claims[name] for name in wanted} == wanted
    assert claims["jti"]
    times = {"iat", "nbf", "exp"}
    assert {type(value) for name, value in claims.items() if name not in times} == {str}


def test_who_is_no_running_job_gets_no_token(world: World) -> None:
    run_id = released(world)
    given = world.github.oidc.request_variables(run_id, "champion")
    url, token = given["ACTIONS_ID_TOKEN_REQUEST_URL"], given["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    for wrong in ({}, {"Authorization": "bearer wrong"}):
        assert requests.get(url, headers=wrong, timeout=10).status_code == 401
    world.github.end_job(run_id, "champion")
    assert requests.get(url, headers={"Authorization": f"bearer {token}"}, timeout=10).status_code == 401
    with pytest.raises(RefusedError):
        world.github.oidc.request_variables(run_id, "elsewhere")


def test_the_environment_is_claimed_by_jobs_that_name_it_only(world: World) -> None:
    run_id = released(world)
    claims = verified(world, world.github.oidc.id_token(run_id, None, "champion-gate"))
    assert "environment" not in claims
    changed = world.github.oidc.id_token(run_id, "champion", "champion-gate", run_attempt="2", jti=None)
    claims = verified(world, changed)
    assert (claims["run_attempt"], "jti" in claims) == ("2", False)


def test_a_job_that_names_no_audience_gets_its_owners(world: World) -> None:
    token = world.github.oidc.id_token(released(world), "champion")
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == "https://github.com/example"
