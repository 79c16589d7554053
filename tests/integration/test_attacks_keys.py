"""The attack list, 11: tokens signed with no key, a wrong key, a key brought along, and issuers without keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization

from champion_gate_standins.common.faults import Faults
from integration.attack_tokens import OWN_KEY, claims_of, evil_issuer, signed
from integration.attack_world import AttackWorld, at_once, attack_world
from integration.attacked_gate import AttackedGate
from integration.process_world import until

pytestmark = pytest.mark.part("rest", "gitlab")

pytest_plugins = ("integration.attack_fixtures",)

BOTH = ("github", "gitlab")
KEY_PATHS = {"github": "/.well-known/jwks$", "gitlab": "/oauth/discovery/keys$"}
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


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, ["RS256"]], ids=repr)
@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_no_algorithm(attacked: AttackWorld, kind: str, algorithm: object) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    claims = claims_of(gate.token(asked))
    for signature in ("", "AAAA"):
        gate.refused_post(asked, unsigned(claims, algorithm, signature), "ID token was refused")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_hs256_with_the_public_key_as_the_secret(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    for secret in (public_pem(gate), public_pem(gate).strip()):
        whole = unsigned(claims_of(gate.token(asked)), "HS256").rstrip(".")
        digest = hmac.new(secret, whole.encode(), hashlib.sha256).digest()
        token = f"{whole}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
        gate.refused_post(asked, token, "it is not signed with RS256")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_another_rsa_algorithm_with_the_right_key(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    key = gate.issuer.signing
    for algorithm in ("PS256", "RS512"):
        token = signed(
            claims_of(gate.token(asked)), key.private, algorithm=algorithm, headers={"kid": key.kid}
        )
        gate.refused_post(asked, token, "it is not signed with RS256")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_keys_brought_along_or_pointed_to(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
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
    gate = attacked.gate(kind)
    asked = gate.ask()
    claims, kid = claims_of(gate.token(asked)), gate.issuer.signing.kid
    gate.refused_post(asked, signed(claims, OWN_KEY, headers={"kid": kid}), "its signature is wrong")
    head, body, _ = gate.token(asked).split(".")
    gate.refused_post(asked, f"{head}.{body}.AAAA", "its signature is wrong")
    changed = unsigned({**claims, "jti": str(uuid.uuid4())}, "x").split(".")[1]
    gate.refused_post(asked, f"{head}.{changed}.{gate.token(asked).split('.')[2]}", "its signature is wrong")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_a_flood_of_unknown_key_ids_causes_no_flood_of_calls(
    attacked: AttackWorld, kind: str
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    claims = claims_of(gate.token(asked))

    def asked_for_keys() -> int:
        return sum(path.endswith(KEY_PATHS[kind].rstrip("$")) for _, path in gate.faults.requests)

    before = asked_for_keys()
    flood = [signed(claims, OWN_KEY, headers={"kid": uuid.uuid4().hex}) for _ in range(40)]
    answers = at_once([partial(gate.post, asked, token) for token in flood])
    assert {answer.status_code for answer in answers} == {401}
    assert asked_for_keys() - before <= 2
    gate.refused_post(asked, signed(claims, OWN_KEY, headers={}), "does not say with which key")
    gate.waits(asked, "Waiting for people to decide")


@pytest.mark.parametrize("rubbish", ["x", "a.b.c", "..", "eyJ.eyJ.", "é" * 10, "A" * 20_000, "{}"])
def test_attack_11_what_is_no_token_at_all(attacked: AttackWorld, rubbish: str) -> None:
    gate = attacked.gate("github")
    asked = gate.ask()
    answer = gate.post(asked, rubbish.encode().decode("latin-1"))
    # A header beyond 8 KiB is refused by the server, before any code of ours.
    assert answer.status_code in ({400, 401, 431} if len(rubbish) > 8_190 else {401})
    gate.waits(asked, "Waiting for people to decide")


# --- issuers without keys ---------------------------------------------------------------------------------

OTHER_KEYS = json.dumps({"keys": [{"kty": "RSA", "kid": "x", "n": "AQAB", "e": "AQAB"}]})
BROKEN: dict[str, Callable[[Faults, str, str], object]] = {
    "outage": lambda faults, _keys, _evil: faults.add(DISCOVERY, status=500),
    "empty key set": lambda faults, keys, _evil: faults.add(keys, body='{"keys": []}'),
    "no usable key": lambda faults, keys, _evil: faults.add(keys, body=OTHER_KEYS),
    "redirect to other keys": lambda faults, keys, evil: faults.add(
        keys, status=302, body="", headers={"Location": f"{evil}/.well-known/jwks"}
    ),
    "document of another issuer": lambda faults, _keys, evil: faults.add(
        DISCOVERY, body=json.dumps({"issuer": evil, "jwks_uri": f"{evil}/.well-known/jwks"})
    ),
    "keys on another host": lambda faults, _keys, evil: faults.add(
        DISCOVERY, body='{"issuer": "ISSUER", "jwks_uri": "EVIL/.well-known/jwks"}'.replace("EVIL", evil)
    ),
}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[AttackWorld]:
    """A service that has not read any keys yet."""
    with attack_world(tmp_path, github=1, gitlab=1) as made:
        yield made


@pytest.mark.parametrize("broken", BROKEN)
def test_attack_11_an_issuer_whose_keys_cannot_be_read_is_no_acceptance(
    fresh: AttackWorld, broken: str
) -> None:
    gates = [fresh.gate(kind) for kind in BOTH]
    with evil_issuer() as (evil, requests_seen):
        for kind, gate in zip(BOTH, gates, strict=True):
            asked = gate.ask()
            BROKEN[broken](gate.faults, KEY_PATHS[kind], evil.issuer)
            own = signed(
                claims_of(gate.token(asked)), evil.signing.private, headers={"kid": evil.signing.kid}
            )
            for token in (own, gate.token(asked)):
                answer = gate.post(asked, token)
                assert (answer.status_code, answer.json()["code"]) == (503, "vendor_unavailable"), answer.text
                assert "Post the same token again" in answer.json()["hint"] or "a moment ago" in answer.text
            gate.waits(asked, "Waiting for people to decide")
        assert requests_seen == []


@pytest.mark.parametrize("kind", BOTH)
def test_attack_11_strangers_tokens_do_not_stop_the_service_while_an_issuer_hangs(
    fresh: AttackWorld, kind: str
) -> None:
    gate = fresh.gate(kind)
    asked = gate.ask()
    gate.faults.add(DISCOVERY, hang=30.0)
    claims = claims_of(gate.token(asked))
    flood = [signed(claims, OWN_KEY, headers={"kid": uuid.uuid4().hex}) for _ in range(40)]
    with ThreadPoolExecutor(len(flood)) as pool:
        posts = [pool.submit(gate.post, asked, token) for token in flood]
        until(lambda: any("well-known" in path for _, path in gate.faults.requests), "nobody asks the issuer")
        took = []
        for _ in range(5):
            begun = time.monotonic()
            assert requests.get(f"{fresh.url}/livez", timeout=20).ok
            took.append(time.monotonic() - begun)
        answers = [each.result(60) for each in posts]
    assert max(took) < 3, took
    assert {(each.status_code, each.json()["code"]) for each in answers} == {(503, "vendor_unavailable")}
    assert all(int(each.headers["Retry-After"]) > 0 for each in answers)
    assert sum("well-known" in path for _, path in gate.faults.requests) == 1
    gate.waits(asked, "Waiting for people to decide")


def test_attack_11_once_the_issuer_is_back_the_same_token_is_accepted(fresh: AttackWorld) -> None:
    gate = fresh.gate("github")
    asked = gate.ask()
    fault = gate.faults.add(DISCOVERY, status=500)
    token = gate.token(asked)
    assert gate.post(asked, token).status_code == 503
    gate.faults.clear()
    assert fault.hits
    gate.approve(asked)
    end = time.monotonic() + 30
    while (answer := gate.post(asked, token)).status_code == 503 and time.monotonic() < end:
        time.sleep(0.5)
    assert answer.status_code == 200, answer.text
    gate.promotes(asked)
