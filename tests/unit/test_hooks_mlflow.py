from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest

from champion_gate.adapters.mlflow.webhook import MlflowHook
from champion_gate.domain.json_body import Ignored
from champion_gate.domain.registry_news import AliasMoved, RegistryDelivery, VersionMade

SECRET, FORMER = "a-secret-shared-with-mlflow", "the-one-before-that-one"
ALIAS = {"name": "churn", "alias": "Champion", "version": "2"}


def body(entity: str, action: str, data: object) -> bytes:
    return json.dumps({"entity": entity, "action": action, "timestamp": "…", "data": data}).encode()


SENT = body("model_version_alias", "created", ALIAS)


def signed(
    sent: bytes, secret: str = SECRET, *, age: float = 0, scheme: str = "v1", delivery: str = "d-1"
) -> dict[str, str]:
    """The headers of MLflow's delivery.py, made without the library that checks them."""
    at = str(int(time.time() - age))
    digest = hmac.new(secret.encode(), f"{delivery}.{at}.".encode() + sent, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": at,
        "X-MLflow-Signature": f"{scheme},{base64.b64encode(digest).decode()}",
    }


def is_authentic(sent: bytes, headers: dict[str, str]) -> bool:
    return MlflowHook([SECRET, FORMER]).is_authentic(lambda name: headers.get(name, ""), sent)


def read(sent: bytes) -> RegistryDelivery:
    return MlflowHook([SECRET]).read(signed(sent).__getitem__, sent)


def test_what_is_signed_with_either_secret_is_taken() -> None:
    assert is_authentic(SENT, signed(SENT))
    assert is_authentic(SENT, signed(SENT, FORMER))
    assert is_authentic(SENT, signed(SENT, age=240))


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        (SENT, {}),
        (SENT, signed(SENT, "another-secret-altogether")),
        (SENT + b" ", signed(SENT)),
        (SENT, signed(SENT, age=900)),
        (SENT, signed(SENT, age=-900)),
        (SENT, signed(SENT, scheme="v2")),
        (SENT, {**signed(SENT), "X-MLflow-Delivery-Id": "d-2"}),
        (SENT, {**signed(SENT), "X-MLflow-Signature": "v1"}),
        (SENT, {**signed(SENT), "X-MLflow-Signature": "v1,a,b"}),
        (SENT, {**signed(SENT), "X-MLflow-Signature": "v1,é"}),
        (SENT, {**signed(SENT), "X-MLflow-Timestamp": "nan"}),
        (SENT, {**signed(SENT), "X-MLflow-Timestamp": "1" * 400}),
        (b"\xff", signed(b"\xff")),
    ],
)
def test_what_is_unsigned_changed_old_or_malformed_is_not(sent: bytes, headers: dict[str, str]) -> None:
    assert not is_authentic(sent, headers)


@pytest.mark.parametrize("action", ["created", "deleted"])
def test_an_alias_that_was_set_or_taken_away_is_told(action: str) -> None:
    told = read(body("model_version_alias", action, ALIAS))
    assert told == RegistryDelivery(f"model_version_alias.{action}", "d-1", AliasMoved("churn", "Champion"))


def test_a_version_that_was_made_is_told() -> None:
    told = read(body("model_version", "created", {"name": "churn", "version": "7", "source": "s3://b"}))
    assert told == RegistryDelivery("model_version.created", "d-1", VersionMade("churn", "7"))


def test_a_test_ping_is_known_by_its_example() -> None:
    told = read(body("model_version_alias", "created", {**ALIAS, "name": "example_model"}))
    assert told.kind == "test"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"[]",
        b'{"entity": "model_version_alias"}',
        body("registered_model", "created", {"name": "churn"}),
        body("prompt_alias", "created", ALIAS),
        body("model_version_alias", "created", None),
        body("model_version_alias", "created", {**ALIAS, "alias": 5}),
        body("model_version", "created", {"name": "churn", "version": 7}),
    ],
)
def test_anything_else_leads_to_nothing(sent: bytes) -> None:
    told = read(sent)
    assert (told.kind, type(told.news)) == ("other", Ignored)
