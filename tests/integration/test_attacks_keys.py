"""The attack list, 11: tokens signed with no key, a wrong key, a key brought along, and issuers without keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization

from integration.attack_tokens import claims_of, evil_issuer, own_key, signed
from integration.attack_world import AttackWorld, at_once
from integration.attacked_gate import AttackedGate
from integration.posted_world import PostedWorld, posted_world
from integration.process_world import until

pytestmark = [pytest.mark.part("rest", "gitlab"), pytest.mark.spread(4)]

pytest_plugins = ("integration.attack_fixtures",)

BOTH = ("github", "gitlab")
KEYS = "/(.well-known/jwks|oauth/discovery/keys)$"
DISCOVERY = "/.well-known/openid-configuration$"


def public_pem(gate: AttackedGate) -> bytes:
    """The issuer's public key, which everybody knows."""
    return gate.issuer.signing.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def unsigned(claims: dict[str, Any], algorithm: object, signature: str = "") -> str:
    """A token put together by hand."""
    parts = [json.dumps({"alg": algorithm, "typ": "JWT", "kid": "x"}), json.dumps(claims)]
    encoded = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, signature])


@pytest.mark.part("rest", "gitlab", "NONE", "'None'", "''")
@pytest.mark.part("full", "gitlab-'N", "gitlab-''")
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, ["RS256"]], ids=repr)
@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_no_algorithm(attacked: AttackWorld, kind: str, algorithm: object) -> None:
    gate, asked = attacked.asked(kind)
    claims = claims_of(gate.token(asked))
    for signature in ("", "AAAA"):
        gate.refused_post(asked, unsigned(claims, algorithm, signature), "ID token was refused")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_hs256_with_the_public_key_as_the_secret(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    for secret in (public_pem(gate), public_pem(gate).strip()):
        whole = unsigned(claims_of(gate.token(asked)), "HS256").rstrip(".")
        digest = hmac.new(secret, whole.encode(), hashlib.sha256).digest()
        token = f"{whole}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
        gate.refused_post(asked, token, "it is not signed with RS256")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_another_rsa_algorithm_with_the_right_key(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    key = gate.issuer.signing
    for algorithm in ("PS256", "RS512"):
        token = signed(
            claims_of(gate.token(asked)), key.private, algorithm=algorithm, headers={"kid": key.kid}
        )
        gate.refused_post(asked, token, "it is not signed with RS256")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_keys_brought_along_or_pointed_to(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    kid, claims = gate.issuer.signing.kid, claims_of(gate.token(asked))
    with evil_issuer() as (evil, requests_seen):
        there = f"{evil.issuer}/.well-known/jwks"
        own = evil.signing
        brought: list[dict[str, Any]] = [
            {"jku": there},
            {"x5u": there},
            {"jwk": own.public()},
            {"x5c": ["MIIB"]},
            {"crit": ["exp"]},
        ]
        for header in brought:
            for name in (kid, own.kid):
                token = signed(claims, own.private, headers={"kid": name, **header})
                gate.refused_post(asked, token, "ID token was refused: it")
        assert requests_seen == []


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_a_key_of_ones_own_under_the_issuers_name(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    claims, kid = claims_of(gate.token(asked)), gate.issuer.signing.kid
    gate.refused_post(asked, signed(claims, own_key(), headers={"kid": kid}), "its signature is wrong")
    head, body, _ = gate.token(asked).split(".")
    gate.refused_post(asked, f"{head}.{body}.AAAA", "its signature is wrong")
    changed = unsigned({**claims, "jti": str(uuid.uuid4())}, "x").split(".")[1]
    gate.refused_post(asked, f"{head}.{changed}.{gate.token(asked).split('.')[2]}", "its signature is wrong")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_a_flood_of_unknown_key_ids_causes_no_flood_of_calls(
    attacked: AttackWorld, kind: str
) -> None:
    gate, asked = attacked.asked(kind)
    claims = claims_of(gate.token(asked))

    def asked_for_keys() -> int:
        return sum(re.search(KEYS, path) is not None for _, path in gate.faults.requests)

    before = asked_for_keys()
    flood = [signed(claims, own_key(), headers={"kid": uuid.uuid4().hex}) for _ in range(40)]
    answers = at_once([partial(gate.post, asked, token) for token in flood])
    assert {answer.status_code for answer in answers} == {401}
    assert asked_for_keys() - before <= 2
    gate.refused_post(asked, signed(claims, own_key(), headers={}), "does not say with which key")
    gate.waits(asked, "Waiting for people to decide")


@pytest.mark.parametrize("rubbish", ["x", "a.b.c", "..", "eyJ.eyJ.", "é" * 10, "A" * 20_000, "{}"])
def test_attack_11_what_is_no_token_at_all(attacked: AttackWorld, rubbish: str) -> None:
    gate, asked = attacked.asked("github")
    answer = gate.post(asked, rubbish.encode().decode("latin-1"))
    assert answer.status_code == 401
    gate.waits(asked, "Waiting for people to decide")


# --- issuers without keys ---------------------------------------------------------------------------------

OTHER_KEYS = json.dumps({"keys": [{"kty": "RSA", "kid": "x", "n": "AQAB", "e": "AQAB"}]})
BROKEN: dict[str, tuple[Callable[[str, str], tuple[str, dict[str, Any]]], str]] = {
    "outage": (lambda _ours, _evil: (DISCOVERY, {"status": 500}), "500"),
    "empty key set": (lambda _ours, _evil: (KEYS, {"body": '{"keys": []}'}), "holds no key"),
    "no usable key": (lambda _ours, _evil: (KEYS, {"body": OTHER_KEYS}), "holds no key"),
    "redirect to other keys": (
        lambda _ours, evil: (KEYS, {"status": 302, "headers": {"Location": f"{evil}/.well-known/jwks"}}),
        "302",
    ),
    "document of another issuer": (lambda _ours, evil: (DISCOVERY, document(evil, evil)), "names another"),
    "keys on another host": (lambda ours, evil: (DISCOVERY, document(ours, evil)), "not on its own host"),
}


def document(issuer: str, keys_at: str) -> dict[str, Any]:
    """A discovery document, as an answer."""
    return {"body": json.dumps({"issuer": issuer, "jwks_uri": f"{keys_at}/.well-known/jwks"})}


@pytest.fixture(params=["github", "gitlab-environment"])
def unread(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostedWorld]:
    """A service that has not read any keys yet."""
    with posted_world(tmp_path, request.param) as made:
        yield made


@pytest.mark.part("rest", "gitlab", "empty key set", "no usable key", "another issuer")
@pytest.mark.part(
    "full", "environment-empty", "environment-no", "environment-redirect", "environment-document"
)
@pytest.mark.parametrize(("fault", "words"), BROKEN.values(), ids=BROKEN)
def test_attack_11_an_issuer_whose_keys_cannot_be_read_is_no_acceptance(
    unread: PostedWorld, fault: Callable[[str, str], tuple[str, dict[str, Any]]], words: str
) -> None:
    unread.approve()
    with evil_issuer() as (evil, requests_seen):
        path, wrong = fault(unread.there.issuer.issuer, evil.issuer)
        unread.there.faults.add(path, **wrong)
        claims, own = claims_of(unread.token()), evil.signing
        answers = [
            unread.post(token)
            for token in (signed(claims, own.private, headers={"kid": own.kid}), unread.token())
        ]
        assert requests_seen == []
    assert {(each.status_code, each.json()["code"]) for each in answers} == {(503, "vendor_unavailable")}
    assert words in answers[0].json()["detail"], answers[0].text
    assert "Post the same token again" in answers[0].json()["hint"]
    assert "a moment ago" in answers[1].text
    unread.unmoved()


def test_attack_11_once_the_issuer_is_back_the_same_token_is_accepted(unread: PostedWorld) -> None:
    unread.approve()
    fault, token = unread.there.faults.add(DISCOVERY, status=500), unread.token()
    assert unread.post(token).status_code == 503
    assert fault.hits
    unread.unmoved()
    unread.there.faults.clear()
    unread.gate.clock.move(seconds=6)
    answer = unread.post(token)
    assert (answer.status_code, answer.json()["phase"]) == (200, "promoted"), answer.text
    assert (unread.gate.models.champion(), unread.writes()) == ("2", [2])


def test_attack_11_strangers_tokens_do_not_stop_the_service_while_an_issuer_hangs(
    unread: PostedWorld,
) -> None:
    unread.approve()
    faults = unread.there.faults
    faults.add(DISCOVERY, hang=30.0)
    claims = claims_of(unread.token())
    flood = [signed(claims, own_key(), headers={"kid": uuid.uuid4().hex}) for _ in range(40)]
    posts = [unread.post_beside(token) for token in flood]
    until(lambda: any("well-known" in path for _, path in faults.requests), "nobody asks the issuer")
    begun = time.monotonic()
    assert requests.get(f"{unread.url}/livez", timeout=20).ok
    assert time.monotonic() - begun < 3
    answers = [each.result(60) for each in posts]
    assert {(each.status_code, each.json()["code"]) for each in answers} == {(503, "vendor_unavailable")}
    assert all(int(each.headers["Retry-After"]) > 0 for each in answers)
    assert sum("well-known" in path for _, path in faults.requests) == 1
    unread.unmoved()
