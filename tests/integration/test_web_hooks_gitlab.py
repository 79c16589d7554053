"""GitLab's webhooks over real HTTP: signed or with a plain token, repeated, forged, and of no use."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from champion_gate.adapters.gitlab.webhook import GitLabHook
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.store import Store
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate.web.hooks import PROVIDER_BODY_CAP
from champion_gate_standins.common.server import serve
from champion_gate_standins.gitlab.webhooks import signature
from integration.gate_providers import GitLabProvider
from integration.posted_world import posted_world
from integration.process_world import until
from integration.store_databases import sqlite_store

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
SIGNING = f"whsec_{base64.b64encode(b'signing-key-of-these-tests-32byt').decode()}"
BEFORE = f"whsec_{base64.b64encode(b'signing-key-before-these-tests-0').decode()}"
PLAIN, PLAIN_BEFORE = "a-plain-token-of-these-tests", "the plain one before, pässword"
PIPELINE = 1234567
JOB_HOOK = json.dumps({"object_kind": "build", "pipeline_id": PIPELINE, "build_status": "running"}).encode()


class Clock:
    def now(self) -> datetime:
        return NOW


class Told:
    """Notes what workers are told."""

    def __init__(self) -> None:
        self.promotions: list[str] = []

    def notification(self, notification_id: str) -> None: ...
    def step(self, step_id: str) -> None: ...
    def promotion(self, promotion_id: str) -> None:
        self.promotions.append(promotion_id)


@dataclass
class World:
    url: str
    store: Store
    told: Told
    promotion_id: str

    def post(
        self, headers: Mapping[str, str], body: bytes = JOB_HOOK, kind: str = "Job Hook"
    ) -> requests.Response:
        every = {"Content-Type": "application/json", "X-Gitlab-Event": kind, **headers}
        return requests.post(f"{self.url}/hooks/gitlab", body, headers=every, timeout=10)

    def hints(self) -> int:
        return self.store.get_promotion(self.promotion_id).hints


def pending(store: Store) -> str:
    version = ModelVersion("main.ml.churn", "2", "v-2", "r", None, VersionStatus.READY, NOW, None)
    request = ApprovalRequest(
        "gitlab", NOW, NOW + timedelta(days=14), {}, external_id=str(PIPELINE), place={"project": "42"}
    )
    made = store.create_promotion(
        Promotion(
            id="p1",
            gate="churn",
            registry="databricks-uc",
            model="main.ml.churn",
            alias="Champion",
            version=version,
            job_id="1",
            job_run_id="2",
            job_url="https://example.com",
            trainers=(),
            phase=Phase.REQUESTED,
            reason="",
            requested_at=NOW,
            updated_at=NOW,
            due_at=NOW,
            request=request,
        )
    )
    assert made is not None
    taken = store.take_promotion(made.id, NOW, 60)
    assert taken is not None
    due_at = NOW + timedelta(days=1)
    store.save_promotion(
        replace(taken, phase=Phase.PENDING_APPROVAL, due_at=due_at, request=request), NOW, release=True
    )
    return made.id


@contextmanager
def hooks(*, signing: Sequence[str] = (), tokens: Sequence[str] = ()) -> Iterator[World]:
    told = Told()
    hook = GitLabHook(signing_tokens=signing, tokens=tokens, clock=Clock())
    with sqlite_store() as (_, store):
        access = Access(databricks_pairs=(), provider_hooks={"gitlab": hook})
        app = create_app(store=store, wake_ups=told, clock=Clock(), access=access, checks=())
        with serve(app) as url:
            yield World(url, store, told, pending(store))


@pytest.fixture
def signed_only() -> Iterator[World]:
    with hooks(signing=(SIGNING, BEFORE), tokens=(PLAIN,)) as world:
        yield world


@pytest.fixture
def plain_only() -> Iterator[World]:
    with hooks(tokens=(PLAIN, PLAIN_BEFORE)) as world:
        yield world


def signed(
    body: bytes = JOB_HOOK, *, key: str = "m-1", at: int | str = AT, token: str = SIGNING
) -> dict[str, str]:
    """The headers of a delivery that is signed as the Standard Webhooks specification says."""
    signed_at = int(at) if str(at).strip("-").isascii() and str(at).strip("-").isdecimal() else AT
    return {
        "Idempotency-Key": key,
        "webhook-id": key,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(token, key, signed_at, body),
    }


def is_refused(world: World, answer: requests.Response) -> bool:
    """401 as a problem, and nothing was hinted or woken."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"]
    assert (world.hints(), world.told.promotions) == (0, [])
    return answer.status_code == 401


# --- taken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [SIGNING, BEFORE])
def test_a_signed_delivery_hints_at_the_promotion_during_a_rotation_too(
    signed_only: World, token: str
) -> None:
    answer = signed_only.post(signed(token=token))
    assert (answer.status_code, answer.json()) == (202, {"hinted": 1})
    assert signed_only.store.due(NOW).promotions == (signed_only.promotion_id,)
    until(lambda: signed_only.told.promotions == [signed_only.promotion_id], "nobody was woken", 5)
    assert signed_only.store.get_promotion(signed_only.promotion_id).phase is Phase.PENDING_APPROVAL


def test_one_right_signature_among_several_is_enough(signed_only: World) -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1a,AAAA v1,AAAA {headers['webhook-signature']}"
    assert signed_only.post(headers).json() == {"hinted": 1}


@pytest.mark.parametrize("seconds", [-299, 299])
def test_a_clock_that_is_nearly_right_will_do(signed_only: World, seconds: int) -> None:
    assert signed_only.post(signed(at=AT + seconds)).status_code == 202


@pytest.mark.parametrize("token", [PLAIN, PLAIN_BEFORE])
def test_a_plain_token_will_do_where_no_signing_token_is_set(plain_only: World, token: str) -> None:
    headers = {"X-Gitlab-Token": token.encode("utf-8").decode("latin-1")}
    assert plain_only.post(headers).json() == {"hinted": 1}


def test_a_pipeline_hook_hints_too(plain_only: World) -> None:
    body = json.dumps({"object_attributes": {"id": PIPELINE, "status": "running"}}).encode()
    assert plain_only.post({"X-Gitlab-Token": PLAIN}, body, "Pipeline Hook").json() == {"hinted": 1}


# --- repeated --------------------------------------------------------------------------------------------


def test_a_delivery_that_is_repeated_is_taken_once(signed_only: World) -> None:
    assert signed_only.post(signed(key="same")).json() == {"hinted": 1}
    again = signed_only.post(signed(key="same", at=AT + 60))
    assert again.status_code == 200
    assert "taken before" in again.json()["ignored"]
    assert signed_only.hints() == 1
    assert signed_only.post(signed(key="another")).json() == {"hinted": 1}
    assert signed_only.hints() == 2


def test_a_forged_delivery_does_not_use_up_the_key_of_the_genuine_one(signed_only: World) -> None:
    forged = {**signed(key="same"), "webhook-signature": "v1,AAAA"}
    assert is_refused(signed_only, signed_only.post(forged))
    assert signed_only.post(signed(key="same")).json() == {"hinted": 1}


# --- of no use: 2xx, or GitLab would switch the hook off ---------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("Push Hook", b"{}", "Push Hook"),
        ("Deployment Hook", b'{"deployment_id": 5}', "project"),
        ("", JOB_HOOK, "nothing about an approval"),
        ("Job Hook", b"not json", "not JSON"),
        ("Job Hook", b"[1]", ""),
        ("Job Hook", b"{}", "pipeline_id"),
        ("Job Hook", b'{"pipeline_id": "1; drop table"}', "pipeline_id"),
        ("Job Hook", b'{"pipeline_id": true}', "pipeline_id"),
        ("Pipeline Hook", b'{"object_attributes": []}', "object_attributes"),
        ("Pipeline Hook", b'{"object_attributes": {"id": -1}}', "object_attributes.id"),
        ("Job Hook", b"[" * 100_000, ""),
    ],
)
def test_what_leads_to_nothing_is_answered_200_with_the_reason(
    signed_only: World, kind: str, body: bytes, words: str
) -> None:
    answer = signed_only.post(signed(body), body, kind)
    assert answer.status_code == 200, answer.text
    assert words in answer.json()["ignored"]
    assert answer.json()["ignored"]
    assert signed_only.hints() == 0


@pytest.mark.parametrize(("project", "hinted"), [(42, 1), (43, 0)])
def test_a_deployment_hints_at_what_is_asked_in_its_project(
    signed_only: World, project: int, hinted: int
) -> None:
    body = json.dumps({"object_kind": "deployment", "project": {"id": project}}).encode()
    answer = signed_only.post(signed(body), body, "Deployment Hook")
    assert (answer.status_code, answer.json()) == (202, {"hinted": hinted})
    assert signed_only.hints() == hinted


def test_a_pipeline_that_nobody_waits_for_hints_at_nothing(signed_only: World) -> None:
    body = b'{"pipeline_id": 7}'
    answer = signed_only.post(signed(body), body)
    assert (answer.status_code, answer.json()) == (202, {"hinted": 0})
    assert signed_only.hints() == 0


# --- forged ----------------------------------------------------------------------------------------------

FORGED: dict[str, dict[str, str]] = {
    "nothing": {},
    "the plain token, though webhooks are signed": {"X-Gitlab-Token": PLAIN},
    "the signing token as a plain one": {"X-Gitlab-Token": SIGNING},
    "another key": signed(token=f"whsec_{base64.b64encode(b'a-key-of-somebody-else-entirely!').decode()}"),
    "another body": signed(JOB_HOOK + b" "),
    "another id": {**signed(), "webhook-id": "m-2"},
    "no id": {name: value for name, value in signed().items() if name != "webhook-id"},
    "another time": {**signed(), "webhook-timestamp": str(AT + 1)},
    "no time": {name: value for name, value in signed().items() if name != "webhook-timestamp"},
    "too old": signed(at=AT - 301),
    "from the future": signed(at=AT + 301),
    "a time with a sign": signed(at=f"-{AT}"),
    "no number for a time": {**signed(), "webhook-timestamp": "now"},
    "an endless time": {**signed(), "webhook-timestamp": "9" * 5000},
    "another version": {**signed(), "webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")},
    "without its version": {
        **signed(),
        "webhook-signature": signed()["webhook-signature"].removeprefix("v1,"),
    },
    "an empty signature": {**signed(), "webhook-signature": ""},
    "a right one beyond eight wrong ones": {
        **signed(),
        "webhook-signature": "v1,AAAA " * 8 + signed()["webhook-signature"],
    },
    "both, the signature wrong": {**signed(JOB_HOOK + b" "), "X-Gitlab-Token": PLAIN},
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_a_forged_signature_is_refused_whatever_the_plain_token(
    signed_only: World, headers: dict[str, str]
) -> None:
    assert is_refused(signed_only, signed_only.post(headers))


@pytest.mark.parametrize("token", [None, "", "wrong", PLAIN.upper(), PLAIN[:-1], f"{PLAIN}x", "\xff"])
def test_a_wrong_plain_token_is_refused(plain_only: World, token: str | None) -> None:
    assert is_refused(plain_only, plain_only.post({} if token is None else {"X-Gitlab-Token": token}))


def test_an_oversized_body_is_refused_unread(signed_only: World) -> None:
    body = b" " * (PROVIDER_BODY_CAP + 1)
    assert signed_only.post(signed(body), body).status_code == 413


# --- from GitLab to the alias ------------------------------------------------------------------------------


def test_gitlabs_own_webhooks_lead_to_champion_and_none_is_refused(tmp_path: Path) -> None:
    with posted_world(tmp_path, "gitlab-environment") as world:
        assert isinstance(world.there, GitLabProvider)
        sent = world.there.standin.webhooks
        sent.url = f"{world.url}/hooks/gitlab"
        sent.signing_token = world.gate.environ["CHAMPION_GATE_GITLAB_SIGNING_TOKEN"]
        world.approve()
        until(lambda: world.gate.again(world.promotion).phase is Phase.PROMOTED, "the hook led to nothing")
        sent.drain()
        assert world.gate.models.champion() == "2"
        first = sent.deliveries[0]
        sent.redeliver(first)
        sent.drain()
        assert first.sent == 2
        assert {delivery.result for delivery in sent.deliveries} <= {"200", "202"}
        assert world.writes() == [2]
