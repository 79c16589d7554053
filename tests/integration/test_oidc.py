"""ID tokens of CI jobs over TLS: the good one, and everything that a forger or a thief may try."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from champion_gate.adapters.github.id_token import TABLE as GITHUB
from champion_gate.adapters.gitlab.id_token import TABLE as GITLAB
from champion_gate.adapters.oidc.ci_jobs import ClaimsTable, Issuer, OidcVerifier
from champion_gate.adapters.oidc.tokens import MAX_TOKEN_BYTES
from champion_gate.errors import NotAuthenticatedError
from champion_gate_standins.gitlab.state import Job
from claims_samples import github, github_claims, gitlab
from integration.github_world import START, github_world, run_of
from integration.gitlab_world import gitlab_world, pipeline_of
from integration.oidc_world import AUDIENCE, World, oidc_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with oidc_world(tmp_path) as made:
        yield made


def refused(world: World, token: str) -> str:
    with pytest.raises(NotAuthenticatedError) as caught:
        world.verify(token)
    assert token[-40:] not in str(caught.value)
    return str(caught.value)


def _one(claim: str, value: object) -> dict[str, Any]:
    return {claim: value}


def _raw(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _payload(world: World, **changed: object) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(world.token(), options={"verify_signature": False})
    return {**decoded, **changed}


def _signed_by(world: World, key: rsa.RSAPrivateKey, payload: object = None, **header: object) -> str:
    """A token with this key's signature and whatever header."""
    whole = {"alg": "RS256", "typ": "JWT", "kid": world.there.signing.kid, **header}
    kept = {name: value for name, value in whole.items() if value is not None}
    signing_input = f"{_raw(kept)}.{_raw(payload or _payload(world))}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(
        signing_input.encode(), key
    )
    return f"{signing_input}.{_raw(signature)}"


def _stranger() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


# --- the good token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/enterprise"])
def test_a_good_token_is_verified_through_discovery_over_tls(tmp_path: Path, path: str) -> None:
    with oidc_world(tmp_path, path=path) as world:
        token = world.verify(world.token(jti="one"))
        assert (token.provider, token.issuer, token.token_id) == ("github", world.url, "one")
        assert token.expires_at == START + timedelta(seconds=300)
        assert (token.run_id, token.job_id, token.attempt, token.seat) == ("9000", "31", 1, "champion")
        assert token.unknown_claims == ()
        assert world.verify(world.token(jti="two")).key != token.key
        assert world.asked == 2


def test_a_new_claim_is_reported_and_logged_and_does_not_refuse(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        token = world.verify(world.token(a_new_one="its-value"))
    assert token.unknown_claims == ("a_new_one",)
    assert "a_new_one" in caplog.text
    assert "its-value" not in caplog.text


def test_a_refusal_is_logged_with_the_promotion_and_without_the_token(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    token = world.token(environment="staging-value")
    with caplog.at_level(logging.WARNING):
        assert "claim environment" in refused(world, token)
    assert "p-1" in caplog.text
    assert "claim environment" in caplog.text
    assert "staging-value" not in caplog.text
    assert not any(part in caplog.text for part in token.split("."))


def test_the_token_of_a_job_that_github_released_is_verified() -> None:
    with github_world() as there:
        there.there.workflow_runs.jobs_finish = False
        promotion = there.asked()
        there.there.review(run_of(promotion), "champion", "ann", approve=True)
        token = there.there.oidc.id_token(run_of(promotion), "champion", AUDIENCE)
        verifier = OidcVerifier({"github": Issuer(there.url, AUDIENCE, GITHUB)}, clock=there.clock)
        try:
            verified = verifier.verify(token, promotion)
            assert (verified.run_id, verified.seat) == (run_of(promotion), "champion")
            assert verified.unknown_claims == ()
            other = there.asked("p-2")
            with pytest.raises(NotAuthenticatedError, match="run_id"):
                verifier.verify(token, other)
        finally:
            verifier.close()


@pytest.mark.parametrize("protection", ["environment", "branch"])
@pytest.mark.parametrize("prefix", ["", "/gitlab"])
def test_the_token_of_a_job_that_somebody_played_at_gitlab_is_verified(protection: str, prefix: str) -> None:
    with gitlab_world(protection=protection, prefix=prefix) as there:
        there.there.ci.jobs_finish = False
        promotion = there.asked()

        def token_of(job: Job) -> str:
            return there.there.id_tokens.id_token(job, AUDIENCE)

        verifier = OidcVerifier({"gitlab": Issuer(there.url, AUDIENCE, GITLAB)}, clock=there.clock)
        try:
            # Before anybody plays it, the job is our own account's.
            with pytest.raises(NotAuthenticatedError, match="user_id"):
                verifier.verify(token_of(there.job(promotion)), promotion)
            job = there.play(promotion)
            verified = verifier.verify(token_of(job), promotion)
            assert (verified.run_id, verified.job_id) == (pipeline_of(promotion), str(job.id))
            assert verified.user_id == str(there.there.state.user("ann").id)
            assert verified.unknown_claims == ()
        finally:
            verifier.close()


# --- whose token it is ------------------------------------------------------------------------------------


def test_an_issuer_that_is_not_configured_is_refused_unasked(world: World) -> None:
    assert "not one that is configured" in refused(world, world.token(iss="https://evil.example.com"))
    assert world.asked == 0


def test_an_evil_issuers_own_key_is_no_help(world: World) -> None:
    evil = _signed_by(world, _stranger(), _payload(world, iss="https://evil.example.com"), kid="evil")
    assert "not one that is configured" in refused(world, evil)


@pytest.mark.parametrize("change", ["{}/", "{}//", " {}", "{}#", "{}?x=1", "{}/."])
def test_an_issuer_is_compared_as_it_is_written(world: World, change: str) -> None:
    assert "not one that is configured" in refused(world, world.token(iss=change.format(world.url)))


def test_an_issuer_with_other_letters_is_another(world: World) -> None:
    assert "not one that is configured" in refused(
        world, world.token(iss=world.url.replace("https", "HTTPS"))
    )


@pytest.mark.parametrize("iss", [None, 5, ["https://x"], {"a": 1}, True])
def test_an_issuer_that_is_no_text_is_refused(world: World, iss: object) -> None:
    payload = _payload(world)
    payload["iss"] = iss
    assert refused(world, _signed_by(world, world.there.signing.private, payload))
    assert world.asked == 0


def test_the_issuer_of_another_provider_is_refused(world: World) -> None:
    with pytest.raises(NotAuthenticatedError, match="not that of this promotion's provider"):
        world.here.verify(world.token(), gitlab())
    assert "not that of this promotion's provider" in refused(
        world, world.token(iss="https://gitlab.invalid")
    )
    assert world.asked == 0


def test_a_promotion_without_a_request_takes_no_token(world: World) -> None:
    with pytest.raises(NotAuthenticatedError):
        world.here.verify(world.token(), replace(github(), request=None))


# --- audience ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "audience",
    [
        [AUDIENCE],
        [AUDIENCE, "other"],
        [],
        "other",
        AUDIENCE[:-1],
        f"{AUDIENCE}.evil.example.com",
        f"{AUDIENCE}/",
        AUDIENCE.upper(),
        "",
        None,
        5,
    ],
)
def test_only_the_one_audience_as_a_text_is_taken(world: World, audience: object) -> None:
    assert refused(world, world.token(aud=audience))


# --- times and ids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "nbf", "iat", "jti"])
def test_each_registered_claim_is_wanted(world: World, claim: str) -> None:
    assert refused(world, world.token(**_one(claim, None)))


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1", True, 1.5, -1, 0, [1], 10**20, float("inf")])
def test_times_are_whole_numbers(world: World, claim: str, value: object) -> None:
    assert refused(world, world.token(**_one(claim, value)))


@pytest.mark.parametrize("jti", ["", 5, ["x"], "x" * 256])
def test_a_token_id_is_a_text(world: World, jti: object) -> None:
    assert refused(world, world.token(jti=jti))


def test_a_token_ends_half_a_minute_after_it_expires(world: World) -> None:
    token = world.token(lifetime=300)
    world.clock.move(seconds=329)
    assert world.verify(token).run_id == "9000"
    world.clock.move(seconds=1)
    assert "has expired" in refused(world, token)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_the_future_is_not_valid_yet(world: World, claim: str) -> None:
    now = int(world.clock.now().timestamp())
    assert world.verify(world.token(**{claim: now + 30})).run_id == "9000"
    assert "not valid yet" in refused(world, world.token(**{claim: now + 31}))


# --- signatures -------------------------------------------------------------------------------------------


def test_a_strangers_signature_under_a_known_key_id_is_refused(world: World) -> None:
    assert "signature is wrong" in refused(world, _signed_by(world, _stranger()))


def test_a_changed_payload_is_refused(world: World) -> None:
    header, _, signature = world.token().split(".")
    assert "signature is wrong" in refused(
        world, f"{header}.{_raw(_payload(world, run_attempt='1 '))}.{signature}"
    )


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "", None, "HS256", "RS384", "PS256", "ES256", "rs256", 5]
)
def test_only_rs256_is_taken(world: World, alg: object) -> None:
    header = {"alg": alg, "typ": "JWT", "kid": world.there.signing.kid}
    bare = f"{_raw(header)}.{_raw(_payload(world))}"
    assert refused(world, f"{bare}.")
    assert refused(world, f"{bare}.{world.token().rpartition('.')[2]}")


@pytest.mark.parametrize("published_as", ["pem", "der"])
def test_the_public_key_is_no_shared_secret(world: World, published_as: str) -> None:
    public = world.there.signing.private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": world.there.signing.kid}
    bare = f"{_raw(header)}.{_raw(_payload(world))}"
    secret = pem if published_as == "pem" else der
    mac = hmac.new(secret, bare.encode(), hashlib.sha256).digest()
    assert "not signed with RS256" in refused(world, f"{bare}.{_raw(mac)}")


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c", "crit", "b64"])
def test_a_token_that_brings_its_key_along_is_refused_unasked(world: World, header: str) -> None:
    key = _stranger()
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    values: dict[str, object] = {
        "jku": f"{world.url}/evil",
        "x5u": f"{world.url}/evil",
        "jwk": public,
        "x5c": ["MII"],
        "crit": ["exp"],
        "b64": False,
    }
    assert refused(world, _signed_by(world, key, **{header: values[header]}))
    assert refused(world, _signed_by(world, world.there.signing.private, **{header: values[header]}))
    assert world.asked == 0


@pytest.mark.parametrize("kid", [None, "", 5, ["x"], "x" * 256])
def test_a_token_without_a_key_id_is_refused_unasked(world: World, kid: object) -> None:
    assert refused(world, _signed_by(world, world.there.signing.private, kid=kid))
    assert world.asked == 0


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d",
        "ünïcödé.b.c",
        "x" * (MAX_TOKEN_BYTES + 1),
        "bm8.bm8.bm8",
        f"{_raw({'alg': 'RS256', 'kid': 'k'})}.{_raw([])}.{_raw(b'x')}",
        f"{_raw([])}.{_raw({})}.{_raw(b'x')}",
        f"{_raw({'alg': 'RS256', 'kid': 'k'})}.{_raw(b'[' * 9000)}.x",
        "\ud800",
    ],
)
def test_what_is_no_token_is_refused_unasked(world: World, token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        world.verify(token)
    assert world.asked == 0


def test_a_token_that_is_too_long_is_refused(world: World) -> None:
    assert world.verify(world.token(workflow="x" * 8000)).run_id == "9000"
    assert "too long" in refused(world, world.token(workflow="x" * 16000))


# --- claims -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "claim"),
    [
        ({"event_name": "pull_request_target"}, "event_name"),
        ({"run_attempt": "2"}, "run_attempt"),
        ({"environment": "staging"}, "environment"),
        ({"environment": None}, "environment"),
        ({"ref": "refs/tags/main"}, "ref"),
        ({"ref_type": "tag"}, "ref_type"),
        ({"job_workflow_ref": "evil/shared/.github/workflows/x.yml@refs/heads/main"}, "job_workflow_ref"),
        ({"repository_id": "9"}, "repository_id"),
        ({"run_id": "9001"}, "run_id"),
    ],
)
def test_claims_that_do_not_fit_refuse_a_well_signed_token(
    world: World, changed: dict[str, Any], claim: str
) -> None:
    assert claim in refused(world, world.token(**changed))


def test_an_empty_table_refuses_everything(world: World) -> None:
    nothing = ClaimsTable(identity=GITHUB.identity, checked={})
    verifier = OidcVerifier(
        {"github": Issuer(world.url, AUDIENCE, nothing, world.ca_file)}, clock=world.clock
    )
    try:
        with pytest.raises(NotAuthenticatedError, match="nothing is known"):
            verifier.verify(world.token(), github())
    finally:
        verifier.close()


def test_a_customised_sub_changes_nothing(world: World) -> None:
    for sub in ("repo:example/ml-deploy:ref:refs/heads/evil", "anything at all", 5, None):
        assert world.verify(world.token(sub=sub)).run_id == "9000"
    assert "sub" in github_claims()
