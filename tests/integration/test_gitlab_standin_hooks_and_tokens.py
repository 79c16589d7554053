"""The GitLab stand-in's webhooks, and the ID tokens of its jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests
import standardwebhooks
from flask import Flask, Response, request

from champion_gate_standins.common.server import serve
from champion_gate_standins.gitlab.state import MAINTAINER
from champion_gate_standins.gitlab.webhooks import signature
from integration.gitlab_standin_world import START, World, standin_world

SIGNING_TOKEN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world("premium") as made:
        made.gitlab.protect_environment(42, "champion")
        made.gitlab.ci.jobs_finish = False
        yield made


# --- webhooks --------------------------------------------------------------------------------------------


class Receiver:
    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.app = Flask("receiver")
        self.app.add_url_rule("/", view_func=self.take, methods=["POST"])

    def take(self) -> Response:
        self.received.append((dict(request.headers), request.get_data()))
        return Response(status=204)


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    made = Receiver()
    with serve(made.app) as base:
        world.gitlab.webhooks.url = f"{base}/"
        yield made
        world.gitlab.webhooks.drain()


def test_the_signature_is_the_one_of_the_standards_own_example() -> None:
    made = signature(SIGNING_TOKEN, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_happens_to_a_job_is_told_signed_and_under_a_key_of_its_own(
    world: World, receiver: Receiver
) -> None:
    world.gitlab.webhooks.signing_token = SIGNING_TOKEN
    pipeline = world.opened()
    played = world.gitlab.play(world.gitlab.job(pipeline.id), "rita")
    world.gitlab.webhooks.drain()
    names = [headers["X-Gitlab-Event"] for headers, _ in receiver.received]
    hooks = ["Job Hook", "Pipeline Hook"]
    assert names == [*hooks, "Deployment Hook", *hooks]
    for headers, body in receiver.received:
        lower = {name.lower(): value for name, value in headers.items()}
        at = lower["webhook-timestamp"]
        assert int(at) == START.timestamp()
        assert lower["webhook-signature"] == standardwebhooks.Webhook(SIGNING_TOKEN).sign(
            lower["webhook-id"], START, body.decode()
        )
        assert lower["idempotency-key"] == lower["webhook-id"]
        assert "x-gitlab-token" not in lower
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.received}) == 5
    told = [json.loads(body) for _, body in receiver.received]
    assert (told[3]["build_id"], told[3]["build_status"], told[3]["user"]["username"]) == (
        played.id,
        "running",
        "rita",
    )
    assert told[3]["commit"]["id"] == pipeline.id
    assert told[4]["object_attributes"]["status"] == "running"
    assert [one["name"] for one in told[4]["builds"]] == ["present", "approve"]
    assert (told[2]["deployable_id"], told[2]["status"]) == (played.id, "running")


def test_a_secret_token_is_sent_as_it_is_and_a_redelivery_keeps_its_key(
    world: World, receiver: Receiver
) -> None:
    world.gitlab.webhooks.secret_token = "s3cret"
    world.opened()
    world.gitlab.webhooks.drain()
    delivery = world.gitlab.webhooks.deliveries[0]
    world.gitlab.webhooks.redeliver(delivery)
    world.gitlab.webhooks.drain()
    (first, body), (again, same) = receiver.received[0], receiver.received[-1]
    assert (first["X-Gitlab-Token"], body) == ("s3cret", same)
    assert first["Idempotency-Key"] == again["Idempotency-Key"]
    assert first["X-Gitlab-Event-Uuid"] != again["X-Gitlab-Event-Uuid"]
    assert (delivery.sent, delivery.result) == (2, "204")


def test_webhooks_get_lost(world: World, receiver: Receiver) -> None:
    world.gitlab.webhooks.lost = True
    world.opened()
    world.gitlab.webhooks.drain()
    assert receiver.received == []
    assert {one.result for one in world.gitlab.webhooks.deliveries} == {"lost"}


# --- ID tokens -------------------------------------------------------------------------------------------


def verified(world: World, token: str, audience: str = "champion-gate") -> dict[str, Any]:
    """Check a token as an independent reader of the discovery document does."""
    document = requests.get(f"{world.base}/.well-known/openid-configuration", timeout=10).json()
    assert document["issuer"] == world.base
    key = jwt.PyJWKClient(document["jwks_uri"]).get_signing_key_from_jwt(token)
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    claims = jwt.decode(
        token, key, algorithms=["RS256"], audience=audience, issuer=document["issuer"], options=options
    )
    assert isinstance(claims, dict)
    return claims


def test_a_played_job_gets_a_token_that_says_who_played_it(world: World) -> None:
    pipeline = world.opened()
    played = world.gitlab.play(world.gitlab.job(pipeline.id), "rita")
    claims = verified(world, world.gitlab.id_tokens.id_token(played, "champion-gate"))
    now = int(START.timestamp())
    rita = world.gitlab.add_user("rita")
    project = world.gitlab.project(42)
    netloc = world.base.removeprefix("http://")
    assert {claims.pop("sub"), bool(claims.pop("jti"))} == {
        "project_path:example/ml-deploy:ref_type:branch:ref:main",
        True,
    }
    assert claims == {
        "iss": world.base,
        "aud": "champion-gate",
        "iat": now,
        "nbf": now - 5,
        "exp": now + 300,
        "project_id": "42",
        "project_path": "example/ml-deploy",
        "namespace_id": str(project.namespace_id),
        "namespace_path": "example",
        "job_project_id": "42",
        "job_project_path": "example/ml-deploy",
        "job_namespace_id": str(project.namespace_id),
        "job_namespace_path": "example",
        "user_id": str(rita),
        "user_login": "rita",
        "user_email": "rita@example.com",
        "user_access_level": "maintainer",
        "pipeline_id": str(pipeline.id),
        "pipeline_source": "trigger",
        "job_id": str(played.id),
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "environment": "champion",
        "environment_protected": "true",
        "deployment_tier": "production",
        "environment_action": "start",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": pipeline.sha,
        "project_visibility": "private",
        "ci_config_ref_uri": f"{netloc}/example/ml-deploy//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": pipeline.sha,
    }


def test_tokens_tell_what_is_not_protected(world: World) -> None:
    waiting = world.gitlab.job(world.opened().id)
    world.gitlab.unprotect_environment(42, "champion")
    world.gitlab.unprotect_branch(42, "main")
    claims = verified(world, world.gitlab.id_tokens.id_token(waiting.id, "champion-gate"))
    assert (claims["environment_protected"], claims["ref_protected"]) == ("false", "false")
    assert claims["user_login"] == "svc"


def test_claims_can_be_forged_left_out_and_signed_by_a_key_that_nobody_knows(world: World) -> None:
    tokens, waiting = world.gitlab.id_tokens, world.gitlab.job(world.opened().id)
    changed = verified(world, tokens.id_token(waiting, "champion-gate", ref="evil", jti=None, new="x"))
    assert (changed["ref"], changed["new"], "jti" in changed) == ("evil", "x", False)
    tokens.job_timeout = 3600
    long = verified(world, tokens.id_token(waiting, "champion-gate"))
    assert long["exp"] - long["iat"] == 3600
    tokens.issuer.rotate()
    assert verified(world, tokens.id_token(waiting, "champion-gate"))
    tokens.issuer.rotate(publish=False)
    with pytest.raises(jwt.PyJWKClientError):
        verified(world, tokens.id_token(waiting, "champion-gate"))
    tokens.issuer.url = "https://gitlab.example.com"
    forged = jwt.decode(tokens.id_token(waiting, ["a", "b"]), options={"verify_signature": False})
    assert (forged["iss"], forged["aud"]) == ("https://gitlab.example.com", ["a", "b"])


def test_a_role_that_changes_shows_in_the_next_token(world: World) -> None:
    waiting = world.gitlab.job(world.opened().id)
    world.gitlab.add_member(42, "svc", 0)
    claims = verified(world, world.gitlab.id_tokens.id_token(waiting, "champion-gate"))
    assert claims["user_access_level"] is None
    world.gitlab.add_member(42, "svc", MAINTAINER)
    claims = verified(world, world.gitlab.id_tokens.id_token(waiting, "champion-gate"))
    assert claims["user_access_level"] == "maintainer"
