"""GitLab's webhooks: signature, plain token, and the pipeline they tell about."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.adapters.gitlab.webhook import GitLabHook
from champion_gate.domain.json_body import Ignored
from champion_gate.domain.ports.approval import EveryRequestAt

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another key of thirty-two bytes!").decode()
# The test vector of the Standard Webhooks libraries.
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
VECTOR_TIME = datetime.fromtimestamp(1614265330, UTC)


class Clock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def hook(*signing: str, tokens: tuple[str, ...] = (), at: datetime = VECTOR_TIME) -> GitLabHook:
    return GitLabHook(signing_tokens=signing, tokens=tokens, clock=Clock(at))


def is_authentic(checked: GitLabHook, headers: dict[str, str], body: bytes = VECTOR_BODY) -> bool:
    return checked.is_authentic(lambda name: headers.get(name, ""), body)


def signature(key: str, body: bytes, timestamp: str = VECTOR["webhook-timestamp"]) -> str:
    signed = f"{VECTOR['webhook-id']}.{timestamp}.".encode() + body
    digest = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def test_the_vector_of_the_specification_is_taken() -> None:
    assert is_authentic(hook(KEY), VECTOR)


@pytest.mark.parametrize("away", [timedelta(minutes=5), timedelta(minutes=-5)])
def test_a_signature_is_good_for_five_minutes_either_way(away: timedelta) -> None:
    assert is_authentic(hook(KEY, at=VECTOR_TIME + away), VECTOR)
    second = timedelta(seconds=1 if away > timedelta() else -1)
    assert not is_authentic(hook(KEY, at=VECTOR_TIME + away + second), VECTOR)


def test_two_keys_during_rotation_and_several_signatures() -> None:
    assert is_authentic(hook(OTHER, KEY), VECTOR)
    both = {**VECTOR, "webhook-signature": f"{signature(OTHER, VECTOR_BODY)} {VECTOR['webhook-signature']}"}
    assert is_authentic(hook(KEY), both)
    assert not is_authentic(hook(OTHER), VECTOR)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": VECTOR["webhook-signature"].removeprefix("v1,")},
        {"webhook-id": ""},
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "1614265331"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "٣"},
        {"webhook-timestamp": "9" * 400},
    ],
)
def test_anything_else_is_refused(change: dict[str, str]) -> None:
    assert not is_authentic(hook(KEY), {**VECTOR, **change})


def test_a_body_that_was_serialised_again_is_refused() -> None:
    assert not is_authentic(hook(KEY), VECTOR, json.dumps(json.loads(VECTOR_BODY), indent=1).encode())


def test_with_a_signing_token_the_plain_token_alone_is_worth_nothing() -> None:
    both = hook(KEY, tokens=("a-right-plain-token",))
    assert not is_authentic(both, {"X-Gitlab-Token": "a-right-plain-token"})
    assert is_authentic(both, VECTOR)


def test_without_a_signing_token_the_plain_token_counts() -> None:
    plain = hook(tokens=("old-token", "new-token"))
    assert is_authentic(plain, {"X-Gitlab-Token": "new-token"})
    assert is_authentic(plain, {"X-Gitlab-Token": "old-token"})
    for wrong in ("", "new-toke", "new-token2"):
        assert not is_authentic(plain, {"X-Gitlab-Token": wrong})


@pytest.mark.parametrize(("signing", "tokens"), [((), ()), ((), ("",)), (("whsec_!",), ())])
def test_a_hook_without_a_usable_secret_cannot_be_made(
    signing: tuple[str, ...], tokens: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=r"secret|token"):
        hook(*signing, tokens=tokens)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("Job Hook", {"object_kind": "build", "pipeline_id": 4711, "build_id": 1}),
        ("Pipeline Hook", {"object_attributes": {"id": 4711, "status": "success"}}),
    ],
)
def test_the_pipeline_is_found(kind: str, payload: object) -> None:
    sent = json.dumps(payload).encode()
    assert hook(KEY).request_id({"X-Gitlab-Event": kind}.__getitem__, sent) == "4711"


def test_a_deployment_tells_of_its_project_alone() -> None:
    sent = json.dumps({"object_kind": "deployment", "deployable_id": 796, "project": {"id": 30}}).encode()
    found = hook(KEY).request_id({"X-Gitlab-Event": "Deployment Hook"}.__getitem__, sent)
    assert found == EveryRequestAt("project", "30")


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("Push Hook", b"{}"),
        ("Deployment Hook", b'{"deployable_id": 1}'),
        ("Deployment Hook", b'{"project": {"id": "x"}}'),
        ("Job Hook", b'{"reshaped": "by a template"}'),
        ("Job Hook", b'{"pipeline_id": true}'),
        ("Pipeline Hook", b'{"object_attributes": []}'),
        ("Pipeline Hook", b"\xff"),
        ("Job Hook", b"not json"),
    ],
)
def test_what_tells_nothing_is_ignored(kind: str, sent: bytes) -> None:
    assert isinstance(hook(KEY).request_id({"X-Gitlab-Event": kind}.__getitem__, sent), Ignored)


@given(st.sampled_from(["Job Hook", "Pipeline Hook", "Deployment Hook", ""]), st.binary(max_size=200))
def test_no_bytes_make_it_fail(kind: str, sent: bytes) -> None:
    assert isinstance(hook(KEY).request_id({"X-Gitlab-Event": kind}.__getitem__, sent), Ignored)
