"""An issuer's keys: rotation, floods of unknown ids, outages, and discovery documents that lead astray."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from champion_gate.adapters.github.id_token import TABLE as GITHUB
from champion_gate.adapters.oidc.ci_jobs import Issuer, OidcVerifier
from champion_gate.domain.approval import VerifiedToken
from champion_gate.errors import ConfigurationError, NotAuthenticatedError, VendorUnavailableError
from champion_gate_standins.common.faults import Fault
from champion_gate_standins.common.issuer import SigningKey
from claims_samples import github
from integration.github_world import MovableClock
from integration.oidc_world import AUDIENCE, DISCOVERY_PATH, KEYS_PATH, World, oidc_world
from integration.process_world import until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with oidc_world(tmp_path) as made:
        yield made


def unavailable(world: World) -> VendorUnavailableError:
    with pytest.raises(VendorUnavailableError) as caught:
        world.verify(world.token())
    assert (caught.value.status, caught.value.retryable) == (503, True)
    return caught.value


# --- how often it is asked --------------------------------------------------------------------------------


def test_keys_are_asked_for_once_and_again_when_they_are_old(world: World) -> None:
    for _ in range(5):
        world.verify(world.token())
    assert world.asked == 2
    world.clock.move(minutes=9)
    world.verify(world.token())
    assert world.asked == 2
    world.clock.move(minutes=2)
    world.verify(world.token())
    assert world.asked == 4


def test_a_rotated_key_is_found_after_the_cool_down(world: World) -> None:
    world.verify(world.token())
    world.there.rotate()
    with pytest.raises(NotAuthenticatedError, match="no such key"):
        world.verify(world.token())
    assert world.asked == 2
    world.clock.move(seconds=61)
    assert world.verify(world.token()).run_id == "9000"
    assert world.asked == 4


def test_a_flood_of_unknown_key_ids_causes_no_flood_of_calls(world: World) -> None:
    world.verify(world.token())
    world.there.rotate(publish=False)
    for second in range(130):
        with pytest.raises(NotAuthenticatedError):
            world.verify(world.token())
        if second % 2:
            world.clock.move(seconds=1)
    assert world.asked == 4


def test_many_at_once_ask_once(world: World) -> None:
    tokens = [world.token() for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        verified = list(pool.map(world.verify, tokens))
    assert len({token.key for token in verified}) == 16
    assert world.asked == 2


def test_a_withdrawn_key_is_not_believed_for_long(world: World) -> None:
    token = world.token(lifetime=3600)
    world.verify(token)
    world.there.rotate()
    del world.there.published[0]
    world.clock.move(minutes=11)
    with pytest.raises(NotAuthenticatedError, match="no such key"):
        world.verify(token)


# --- an issuer that hangs ---------------------------------------------------------------------------------


@pytest.fixture
def slow(world: World) -> Iterator[OidcVerifier]:
    """One that is as patient with the issuer as the product is."""
    verifier = OidcVerifier({"github": Issuer(world.url, AUDIENCE, GITHUB, world.ca_file)}, clock=world.clock)
    yield verifier
    verifier.close()


@contextmanager
def one_asks(world: World, slow: OidcVerifier) -> Iterator[tuple[Future[VerifiedToken], Fault]]:
    """Somebody is asking an issuer that hangs, and has been for longer than others wait with them."""
    before = world.asked
    fault = world.faults.add(f"{DISCOVERY_PATH}$", hang=30.0)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(slow.verify, world.token(), github())
        until(lambda: world.asked > before, "nobody asks")
        try:
            with pytest.raises(VendorUnavailableError, match="does not answer yet"):
                slow.verify(world.token(), github())
            yield asking, fault
        finally:
            fault.times = 0
            fault.released.set()


def test_nobody_waits_for_long_with_the_one_who_asks(world: World, slow: OidcVerifier) -> None:
    with one_asks(world, slow) as (asking, fault):
        begun = time.monotonic()
        for _ in range(50):
            with pytest.raises(VendorUnavailableError, match="does not answer yet") as caught:
                slow.verify(world.token(), github())
            assert (caught.value.status, caught.value.retryable) == (503, True)
        assert time.monotonic() - begun < 1
        assert not asking.done()
        fault.times = 0
        fault.released.set()
        assert asking.result(10).run_id == "9000"
    assert slow.verify(world.token(), github()).run_id == "9000"
    assert world.asked == 2


def test_known_keys_are_used_while_somebody_asks_for_others(world: World, slow: OidcVerifier) -> None:
    known = world.token(lifetime=3600)
    slow.verify(known, github())
    world.clock.move(seconds=61)
    world.there.rotate()
    with one_asks(world, slow) as (asking, _):
        begun = time.monotonic()
        assert slow.verify(known, github()).run_id == "9000"
        assert time.monotonic() - begun < 1
        assert not asking.done()
    assert asking.result(10).run_id == "9000"


# --- outages ----------------------------------------------------------------------------------------------


@pytest.mark.part("rest", f"fault4-{DISCOVERY_PATH}", f"fault5-{KEYS_PATH}")
@pytest.mark.parametrize("path", [DISCOVERY_PATH, KEYS_PATH])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 404},
        {"status": 403},
        {"status": 429},
        {"drop": True},
        {"hang": 2.0},
        {"body": "<html>"},
        {"body": "[]"},
        {"body": "null"},
        {"body": "{}"},
        {"body": '{"keys": {}}'},
        {"body": "x" * 300_000},
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"status": 301, "headers": {"Location": "https://evil.example.com/jwks"}},
        {"status": 204},
    ],
)
def test_an_outage_is_503_and_never_an_acceptance(world: World, path: str, fault: dict[str, object]) -> None:
    found = world.faults.add(f"{path}$", **fault)
    unavailable(world)
    found.released.set()


def test_a_redirect_is_not_followed(world: World) -> None:
    world.faults.add(f"{KEYS_PATH}$", status=302, headers={"Location": f"{world.url}/elsewhere"})
    unavailable(world)
    assert not any(path == "/elsewhere" for _, path in world.faults.requests)


def test_after_an_outage_it_is_not_asked_at_once_and_then_all_is_well(world: World) -> None:
    world.faults.add(f"{DISCOVERY_PATH}$", status=404)
    unavailable(world)
    asked = world.asked
    for _ in range(10):
        unavailable(world)
    assert world.asked == asked
    world.faults.clear()
    world.clock.move(seconds=6)
    assert world.verify(world.token()).run_id == "9000"


def test_known_keys_outlive_a_short_outage_and_no_longer_one(world: World) -> None:
    world.verify(world.token())
    world.faults.add("/", status=500)
    world.clock.move(minutes=9)
    assert world.verify(world.token()).run_id == "9000"
    world.clock.move(minutes=2)
    unavailable(world)


def test_an_unknown_key_during_an_outage_is_503(world: World) -> None:
    world.verify(world.token())
    world.there.rotate()
    world.clock.move(seconds=61)
    world.faults.add("/", status=500)
    unavailable(world)


def test_an_empty_key_set_never_replaces_known_keys(world: World) -> None:
    known = world.token(lifetime=3600)
    world.verify(known)
    kept, world.there.published = list(world.there.published), []
    world.clock.move(seconds=61)
    # Signed with a key that nobody knows: makes the verifier ask for keys, of which there are none.
    signing = SigningKey("unknown", rsa.generate_private_key(65537, 2048))
    payload = jwt.decode(known, options={"verify_signature": False})
    stranger = jwt.encode(payload, signing.private, algorithm="RS256", headers={"kid": "unknown"})
    with pytest.raises(VendorUnavailableError):
        world.verify(stranger)
    assert world.verify(known).run_id == "9000"
    world.clock.move(minutes=10)
    with pytest.raises(VendorUnavailableError):
        world.verify(known)
    world.there.published = kept
    world.clock.move(seconds=6)
    assert world.verify(known).run_id == "9000"


# --- discovery --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example.com"},
        {"issuer": "{url}/"},
        {"issuer": None},
        {"jwks_uri": "https://evil.example.com/jwks"},
        {"jwks_uri": "http://{host}/.well-known/jwks"},
        {"jwks_uri": "https://{host}@evil.example.com/jwks"},
        {"jwks_uri": "https://x@{host}/.well-known/jwks"},
        {"jwks_uri": "//{host}/.well-known/jwks"},
        {"jwks_uri": "/.well-known/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "{url}/.well-known/jwks?x=1"},
        {"jwks_uri": "{url}.evil.example.com/jwks"},
        {"jwks_uri": ""},
        {"jwks_uri": 5},
        {"jwks_uri": None},
        {"jwks_uri": "https://[::1"},
    ],
)
def test_a_discovery_document_cannot_lead_astray(world: World, changed: dict[str, object]) -> None:
    document: dict[str, object] = {"issuer": world.url, "jwks_uri": f"{world.url}{KEYS_PATH}"}
    host = world.url.removeprefix("https://")
    for name, value in changed.items():
        document[name] = value.format(url=world.url, host=host) if isinstance(value, str) else value
    world.faults.add(f"{DISCOVERY_PATH}$", body=json.dumps(document))
    unavailable(world)
    assert not any(path.endswith("jwks") for _, path in world.faults.requests)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_slash_at_the_end_of_an_issuer_is_part_of_its_name(world: World, slash: str) -> None:
    world.there.url = f"{world.url}{slash}"
    verifier = OidcVerifier(
        {"github": Issuer(f"{world.url}/", AUDIENCE, GITHUB, world.ca_file)}, clock=world.clock
    )
    try:
        if slash:
            assert verifier.verify(world.token(), github()).issuer == f"{world.url}/"
        else:
            with pytest.raises(NotAuthenticatedError, match="not one that is configured"):
                verifier.verify(world.token(), github())
    finally:
        verifier.close()


# --- keys -------------------------------------------------------------------------------------------------


def _published(world: World) -> dict[str, str]:
    return world.there.signing.public()


def test_only_rsa_signing_keys_of_2048_bits_are_used(world: World) -> None:
    good = _published(world)
    small = SigningKey("small", rsa.generate_private_key(65537, 1024)).public()
    elliptic = jwt.algorithms.ECAlgorithm.to_jwk(
        ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True
    )
    private = jwt.algorithms.RSAAlgorithm.to_jwk(world.there.signing.private, as_dict=True)
    unusable: list[object] = [
        {**small, "kid": good["kid"]},
        {**elliptic, "kid": good["kid"]},
        {**private, "kid": good["kid"]},
        {**good, "use": "enc"},
        {**good, "alg": "RS512"},
        {**good, "kid": 5},
        {**good, "kid": ""},
        {**good, "n": "!"},
        {key: value for key, value in good.items() if key != "n"},
        {"kty": "oct", "kid": good["kid"], "k": "c2VjcmV0"},
        "x",
        None,
    ]
    for key in unusable:
        fault = world.faults.add(f"{KEYS_PATH}$", body=json.dumps({"keys": [key]}))
        unavailable(world)
        fault.times = 0
        world.clock.move(seconds=6)
    world.faults.add(f"{KEYS_PATH}$", body=json.dumps({"keys": [*unusable, good]}))
    assert world.verify(world.token()).run_id == "9000"


def test_a_key_set_with_strange_neighbours_still_serves(world: World) -> None:
    good = {key: value for key, value in _published(world).items() if key not in {"use", "alg"}}
    world.faults.add(f"{KEYS_PATH}$", body=json.dumps({"keys": [None, {"kty": "OKP"}, good], "more": 1}))
    assert world.verify(world.token()).run_id == "9000"


# --- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example.com",
        "ftp://issuer.example.com",
        "issuer.example.com",
        "https://",
        "https://user@issuer.example.com",
        "https://issuer.example.com?x=1",
        "https://issuer.example.com#x",
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_no_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError):
        OidcVerifier({"github": Issuer(url, AUDIENCE, GITHUB)}, clock=MovableClock())


@pytest.mark.parametrize("url", ["http://127.0.0.1:5", "http://localhost:5", "http://[::1]:5"])
def test_a_loopback_issuer_may_speak_plain_http(url: str) -> None:
    OidcVerifier({"github": Issuer(url, AUDIENCE, GITHUB)}, clock=MovableClock()).close()


def test_a_certificate_of_another_authority_is_an_outage(world: World) -> None:
    verifier = OidcVerifier(
        {"github": Issuer(world.url, AUDIENCE, GITHUB)}, clock=world.clock, sleep=world.pauses.append
    )
    try:
        with pytest.raises(VendorUnavailableError, match="certificate"):
            verifier.verify(world.token(), github())
    finally:
        verifier.close()


def test_two_providers_of_one_vendor_have_issuers_of_their_own(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with oidc_world(tmp_path / "other") as other:
        verifier = OidcVerifier(
            {
                "github": Issuer(world.url, AUDIENCE, GITHUB, world.ca_file),
                "github:ghes.example.com": Issuer(other.url, AUDIENCE, GITHUB, other.ca_file),
            },
            clock=world.clock,
        )
        promotion = github()
        assert promotion.request is not None
        elsewhere = replace(promotion, request=replace(promotion.request, provider="github:ghes.example.com"))
        try:
            assert verifier.verify(other.token(), elsewhere).provider == "github:ghes.example.com"
            # A compromised private instance must not speak for github.com.
            with pytest.raises(NotAuthenticatedError):
                verifier.verify(other.token(), promotion)
            with pytest.raises(NotAuthenticatedError):
                verifier.verify(other.token(iss=world.url), promotion)
        finally:
            verifier.close()


def test_many_at_once_during_an_outage_make_one_call(world: World) -> None:
    hanging = world.faults.add(f"{DISCOVERY_PATH}$", hang=True)
    tokens = [world.token() for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(world.verify, token) for token in tokens]
        errors = [answer.exception(timeout=60) for answer in answers]
    assert all(isinstance(error, VendorUnavailableError) for error in errors), errors
    assert hanging.hits <= 3, "one call with its bounded retries, not one a caller"
    hanging.released.set()
