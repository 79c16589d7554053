"""People's tokens at the API: who comes in as what, and everything that a forger, a thief or a CI job may try."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from champion_gate.adapters.oidc.jwks import IssuerKeys
from champion_gate.adapters.oidc.people import OidcRoles
from champion_gate.adapters.oidc.tokens import MAX_TOKEN_BYTES
from champion_gate.domain.callers import Role
from champion_gate.errors import NotAuthenticatedError, NotPermittedError, VendorUnavailableError
from champion_gate.settings.gates import ApiOidc
from claims_samples import github, github_claims, gitlab_claims
from integration.github_world import QUICK
from integration.oidc_world import AUDIENCE as CI_AUDIENCE
from integration.oidc_world import DISCOVERY_PATH, KEYS_PATH, oidc_world
from integration.oidc_world import World as CiWorld

AUDIENCE = "champion-gate"
SUBJECT = "248289761001"
PERSON = {
    "sub": SUBJECT,
    "aud": AUDIENCE,
    "name": "Jane Doe",
    "email": "jane@example.com",
    "email_verified": True,
    "preferred_username": "jane",
    "groups": ["everybody", "ml-readers"],
}


@dataclass
class World:
    """What a test acts on: the issuer, and a verifier of its people's tokens."""

    issuer: CiWorld
    settings: ApiOidc
    here: OidcRoles

    def token(self, *, lifetime: int = 300, **overrides: Any) -> str:
        """A viewer's token, changed in what is given; None leaves a claim out."""
        return self.issuer.there.sign(PERSON, lifetime=lifetime, not_before=0, **overrides)

    def verify(self, token: str) -> tuple[str, Role, str]:
        return self.here.verify(token)

    @contextmanager
    def told(self, **changed: Any) -> Iterator[World]:
        """The same issuer, with other settings."""
        with people(self.issuer, self.settings.model_copy(update=changed)) as other:
            yield other


@contextmanager
def people(issuer: CiWorld, settings: ApiOidc) -> Iterator[World]:
    keys = IssuerKeys(
        settings.issuer,
        clock=issuer.clock,
        ca_file=settings.ca_file,
        timeouts=QUICK,
        sleep=issuer.pauses.append,
    )
    here = OidcRoles(settings, keys, issuer.clock)
    try:
        yield World(issuer, settings, here)
    finally:
        here.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with oidc_world(tmp_path) as issuer:
        settings = ApiOidc(
            issuer=issuer.url,
            audience=AUDIENCE,
            name_claim="preferred_username",
            role_claim="groups",
            operator=(
                "ml-platform",
                "on-call",
            ),
            viewer=("ml-readers",),
            ca_file=issuer.ca_file,
        )
        with people(issuer, settings) as made:
            yield made


def refused(world: World, token: str) -> str:
    with pytest.raises(NotAuthenticatedError) as caught:
        world.verify(token)
    assert token[-40:] not in str(caught.value) or not token
    return str(caught.value)


def _raw(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _payload(world: World, **changed: object) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(world.token(), options={"verify_signature": False})
    return {**decoded, **changed}


# --- who comes in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["ml-readers"], Role.VIEWER),
        (["other", "ml-readers", "another"], Role.VIEWER),
        (["ml-platform"], Role.OPERATOR),
        (["on-call", "other"], Role.OPERATOR),
        (["ml-readers", "ml-platform"], Role.OPERATOR),
        (["ml-platform", "ml-readers"], Role.OPERATOR),
        ("ml-readers", Role.VIEWER),
        ("ml-platform", Role.OPERATOR),
    ],
)
def test_a_person_comes_in_with_the_highest_role_that_the_claim_gives(
    world: World, groups: object, role: Role
) -> None:
    assert world.verify(world.token(groups=groups)) == (
        "jane",
        role,
        f"OIDC {world.issuer.url} {SUBJECT}",
    )


@pytest.mark.parametrize(
    "groups",
    [
        None,
        [],
        "",
        ["ml-readers2"],
        ["ML-Readers"],
        [" ml-readers"],
        ["/ml-readers"],
        "ml-readers ml-platform",
        "ml-readers,ml-platform",
        {"ml-platform": True},
        {"groups": ["ml-platform"]},
        [["ml-platform"]],
        [{"name": "ml-platform"}],
        ["ml-platform", 5],
        ["ml-platform", None],
        ["ml-platform", ["ml-readers"]],
        5,
        True,
    ],
)
def test_a_claim_that_does_not_name_a_role_gives_none(world: World, groups: object) -> None:
    with pytest.raises(NotPermittedError, match=r"gives no role.*claim groups") as caught:
        world.verify(world.token(groups=groups))
    assert caught.value.status == 403
    assert "api.oidc" in caught.value.hint


def test_an_empty_list_of_operators_makes_nobody_one(world: World) -> None:
    with world.told(operator=frozenset()) as readers:
        assert readers.verify(world.token(groups=["ml-readers", "ml-platform"]))[1] is Role.VIEWER
        with pytest.raises(NotPermittedError):
            readers.verify(world.token(groups=["ml-platform"]))


@pytest.mark.parametrize("claim", ["https://example.com/roles", "cognito:groups", "roles"])
def test_the_role_may_be_in_a_claim_of_any_name(world: World, claim: str) -> None:
    with world.told(role_claim=claim) as other:
        changed: dict[str, Any] = {"groups": ["ml-readers"], claim: ["ml-platform"]}
        assert other.verify(world.token(**changed))[1] is Role.OPERATOR
        with pytest.raises(NotPermittedError):
            other.verify(world.token(groups=["ml-platform"]))


def test_no_path_leads_into_a_nested_claim(world: World) -> None:
    with world.told(role_claim="realm_access.roles") as other, pytest.raises(NotPermittedError):
        other.verify(world.token(realm_access={"roles": ["ml-platform"]}))


# --- the name in the ledger -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "actor"), [("sub", SUBJECT), ("email", "jane@example.com"), ("name", "Jane Doe")]
)
def test_the_ledger_names_a_person_by_the_claim_that_was_chosen(world: World, claim: str, actor: str) -> None:
    with world.told(name_claim=claim) as other:
        assert other.verify(world.token())[0] == actor


@pytest.mark.parametrize(
    "name",
    [None, "", " ", " jane", "jane ", "x" * 201, "a\nb", "a\x00b", "\u202eenaj", "a\u200bb", 5, ["jane"], {}],
)
def test_a_name_that_is_no_name_is_refused(world: World, name: object) -> None:
    said = refused(world, world.token(preferred_username=name))
    assert "claim preferred_username is no name of 1 to 200 printable characters" in said


UNSEEN = ["\u3164", "\u2800", "\uffa0 \u3164", "\u0301", "jane\u0301\u0301\u0301", "a\\u200bb", "\u2800jane"]
POSING = [
    "champion-gate",
    "Champion-Gate sweep",
    "outside champion-gate",
    "Outside",
    "\uff43hampion-gate",
    "champion\u2010gate",
]


@pytest.mark.parametrize("name", UNSEEN)
def test_a_name_in_which_something_hides_is_refused(world: World, name: str) -> None:
    assert "claim preferred_username is no name" in refused(world, world.token(preferred_username=name))
    assert "claim sub is no id" in refused(world, world.token(sub=name))


@pytest.mark.parametrize("name", POSING)
def test_nobody_bears_the_gates_own_name(world: World, name: str) -> None:
    said = refused(world, world.token(preferred_username=name, groups=["ml-platform"]))
    assert "claim preferred_username looks like the gate itself" in said
    assert "claim sub is no id" in refused(world, world.token(sub=name))


@pytest.mark.parametrize("name", ["x", "x" * 200, "Jöhn O'Döe <b>", "名前"])
def test_a_printable_name_is_kept_as_it_is(world: World, name: str) -> None:
    assert world.verify(world.token(preferred_username=name))[0] == name


@pytest.mark.parametrize("verified", [None, False, "true", "false", 1, 0, {}, []])
def test_an_email_that_is_not_verified_names_nobody_and_gives_no_role(world: World, verified: object) -> None:
    token = world.token(email_verified=verified)
    with world.told(name_claim="email") as named:
        assert "not verified" in refused(named, token)
    with (
        world.told(role_claim="email", operator=("jane@example.com",)) as by_email,
        pytest.raises(NotPermittedError),
    ):
        by_email.verify(token)
    assert world.verify(token)[0] == "jane"


def test_an_email_counts_where_it_is_verified(world: World) -> None:
    token = world.token(email_verified=True)
    with world.told(name_claim="email", role_claim="email", operator=("jane@example.com",)) as other:
        assert other.verify(token)[:2] == ("jane@example.com", Role.OPERATOR)


@pytest.mark.parametrize("sub", [None, "", 5, ["x"], "x" * 256, "a\nb", " x"])
def test_a_token_without_a_subject_is_refused(world: World, sub: object) -> None:
    assert "sub" in refused(world, world.token(sub=sub))


# --- whose token, and for whom ----------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["{}/", "{}//", " {}", "{}#", "https://evil.example.com", "HTTPS{}"])
def test_another_issuer_is_refused_unasked(world: World, change: str) -> None:
    assert "not one that is configured" in refused(world, world.token(iss=change.format(world.issuer.url)))
    assert world.issuer.asked == 0


def test_an_issuer_that_ends_with_a_slash_is_taken_as_it_is_written(world: World) -> None:
    world.issuer.there.url = f"{world.issuer.url}/"
    with world.told(issuer=f"{world.issuer.url}/") as other:
        assert other.verify(world.token())[2] == f"OIDC {world.issuer.url}/ {SUBJECT}"
    refused(world, world.token())


@pytest.mark.parametrize("iss", [None, 5, ["https://x"]])
def test_an_issuer_that_is_no_text_is_refused(world: World, iss: object) -> None:
    header = {"alg": "RS256", "kid": world.issuer.there.signing.kid}
    refused(world, f"{_raw(header)}.{_raw(_payload(world, iss=iss))}.{_raw(b'x')}")
    assert world.issuer.asked == 0


@pytest.mark.parametrize(
    ("audience", "azp"),
    [
        (AUDIENCE, None),
        (AUDIENCE, "a-command-line"),
        ([AUDIENCE], None),
        ([AUDIENCE, "account"], AUDIENCE),
        (["account", AUDIENCE], AUDIENCE),
    ],
)
def test_a_token_that_was_made_for_us_is_taken(world: World, audience: object, azp: object) -> None:
    assert world.verify(world.token(aud=audience, azp=azp))[1] is Role.VIEWER


@pytest.mark.parametrize(
    ("audience", "azp"),
    [
        ("other", AUDIENCE),
        (["other"], AUDIENCE),
        ([AUDIENCE, "other"], None),
        ([AUDIENCE, "other"], "other"),
        ([AUDIENCE, "other"], [AUDIENCE]),
        ([AUDIENCE, AUDIENCE], None),
        ([AUDIENCE, 5], AUDIENCE),
        ([], AUDIENCE),
        ([[AUDIENCE]], AUDIENCE),
        ({AUDIENCE: 1}, AUDIENCE),
        (f"{AUDIENCE}/", None),
        (AUDIENCE.upper(), None),
        (AUDIENCE[:-1], None),
        ("", None),
        (5, None),
        (None, AUDIENCE),
    ],
)
def test_a_token_that_was_made_for_others_is_refused(world: World, audience: object, azp: object) -> None:
    assert "aud" in refused(world, world.token(aud=audience, azp=azp))


# --- times ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_times_are_wanted(world: World, claim: str) -> None:
    without: dict[str, Any] = {claim: None}
    assert f"there is no claim {claim}" in refused(world, world.token(**without))


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1", True, 1.5, -1, 0, [1], 10**20, float("inf")])
def test_times_are_whole_numbers(world: World, claim: str, value: Any) -> None:
    assert refused(world, world.token(**{claim: value}))


def test_an_issuer_need_not_say_from_when_a_token_counts_nor_number_it(world: World) -> None:
    assert world.verify(world.token(nbf=None, jti=None))[1] is Role.VIEWER


def test_a_token_ends_half_a_minute_after_it_expires(world: World) -> None:
    token = world.token(lifetime=300)
    world.issuer.clock.move(seconds=329)
    assert world.verify(token)[0] == "jane"
    world.issuer.clock.move(seconds=1)
    assert "has expired" in refused(world, token)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_the_future_is_not_valid_yet(world: World, claim: str) -> None:
    now = int(world.issuer.clock.now().timestamp())
    later: dict[str, Any] = {claim: now + 30}
    assert world.verify(world.token(**later))[0] == "jane"
    assert "not valid yet" in refused(world, world.token(**{claim: now + 31}))


# --- signatures -------------------------------------------------------------------------------------------


def test_a_strangers_signature_under_a_known_key_id_is_refused(world: World) -> None:
    header = {"kid": world.issuer.there.signing.kid}
    stranger = rsa.generate_private_key(65537, 2048)
    forged = jwt.encode(_payload(world), stranger, algorithm="RS256", headers=header)
    assert "signature is wrong" in refused(world, forged)


def test_a_viewer_cannot_write_itself_into_the_operators(world: World) -> None:
    header, _, signature = world.token().split(".")
    changed = _raw(_payload(world, groups=["ml-platform"]))
    assert "signature is wrong" in refused(world, f"{header}.{changed}.{signature}")


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256"])
def test_another_algorithm_with_the_issuers_own_key_is_refused(world: World, alg: str) -> None:
    signing = world.issuer.there.signing
    token = jwt.encode(_payload(world), signing.private, algorithm=alg, headers={"kid": signing.kid})
    assert "not signed with RS256" in refused(world, token)


@pytest.mark.parametrize("alg", ["none", "None", "", "HS256", "ES256", "rs256"])
def test_a_token_without_a_signature_of_the_issuer_is_refused(world: World, alg: str) -> None:
    header = {"alg": alg, "typ": "JWT", "kid": world.issuer.there.signing.kid}
    bare = f"{_raw(header)}.{_raw(_payload(world))}"
    assert refused(world, f"{bare}.")
    assert refused(world, f"{bare}.{world.token().rpartition('.')[2]}")


def test_the_public_key_is_no_shared_secret(world: World) -> None:
    signing = world.issuer.there.signing
    pem = signing.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    bare = f"{_raw({'alg': 'HS256', 'typ': 'JWT', 'kid': signing.kid})}.{_raw(_payload(world))}"
    mac = hmac.new(pem, bare.encode(), hashlib.sha256).digest()
    assert "not signed with RS256" in refused(world, f"{bare}.{_raw(mac)}")


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c", "crit", "b64"])
def test_a_token_that_brings_its_key_along_is_refused_unasked(world: World, header: str) -> None:
    signing = world.issuer.there.signing
    whole = {"alg": "RS256", "typ": "JWT", "kid": signing.kid, header: f"{world.issuer.url}/evil"}
    bare = f"{_raw(whole)}.{_raw(_payload(world))}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(
        bare.encode(), signing.private
    )
    assert refused(world, f"{bare}.{_raw(signature)}")
    assert world.issuer.asked == 0


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "ünïcödé.b.c", "x" * (MAX_TOKEN_BYTES + 1), "cgt_t-abc_secret", "\ud800", "a b"],
)
def test_what_is_no_token_is_refused_unasked(world: World, token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        world.verify(token)
    assert world.issuer.asked == 0


def test_a_token_that_is_too_long_is_refused_although_it_is_good(world: World) -> None:
    assert world.verify(world.token(more="x" * 8000))[0] == "jane"
    assert "too long" in refused(world, world.token(more="x" * 16000))


# --- CI jobs are no people --------------------------------------------------------------------------------


def _roles_of_a_job(claims: Callable[..., Any]) -> dict[str, Any]:
    """What a CI job may bring to look like an operator of this API."""
    return {**claims(), "aud": AUDIENCE, "groups": ["ml-platform"], "preferred_username": "jane"}


@pytest.mark.parametrize("claims", [github_claims, gitlab_claims])
def test_a_ci_jobs_token_is_refused_because_its_issuer_is_another(
    world: World, tmp_path: Path, claims: Callable[..., Any]
) -> None:
    (tmp_path / "ci").mkdir()
    with oidc_world(tmp_path / "ci") as ci:
        token = ci.there.sign(_roles_of_a_job(claims), lifetime=300, not_before=0)
        assert "not one that is configured" in refused(world, token)
        # One that the service takes for what it is: still nobody's who may call the API.
        genuine = ci.token()
        assert ci.verify(genuine).run_id == "9000"
        assert "not one that is configured" in refused(world, genuine)
        lying = ci.there.sign(_roles_of_a_job(claims), lifetime=300, not_before=0, iss=world.issuer.url)
        assert "no such key" in refused(world, lying)


@pytest.mark.parametrize("claims", [github_claims, gitlab_claims])
def test_a_ci_jobs_token_is_refused_even_where_its_issuer_also_signs_people_in(
    world: World, claims: Callable[..., Any]
) -> None:
    token = world.issuer.there.sign(_roles_of_a_job(claims), lifetime=300, not_before=0)
    assert "a CI job's, not a person's" in refused(world, token)


def test_a_persons_token_is_no_ci_jobs(world: World) -> None:
    for audience in (AUDIENCE, CI_AUDIENCE):
        with pytest.raises(NotAuthenticatedError):
            world.issuer.here.verify(world.token(aud=audience, groups=["ml-platform"]), github())


# --- keys -------------------------------------------------------------------------------------------------


def test_keys_are_asked_for_once_by_many_callers(world: World) -> None:
    tokens = [world.token(sub=f"s-{number}") for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        known = {how for _, _, how in pool.map(world.verify, tokens)}
    assert known == {f"OIDC {world.issuer.url} s-{number}" for number in range(16)}
    assert world.issuer.asked == 2


def test_a_rotated_key_is_found_and_a_withdrawn_one_forgotten(world: World) -> None:
    old = world.token(lifetime=3600)
    world.verify(old)
    world.issuer.there.rotate()
    assert "no such key" in refused(world, world.token())
    world.issuer.clock.move(seconds=61)
    assert world.verify(world.token())[0] == "jane"
    assert world.verify(old)[0] == "jane"
    del world.issuer.there.published[0]
    world.issuer.clock.move(minutes=11)
    assert "no such key" in refused(world, old)


@pytest.mark.part("rest", "fault2-", f"fault3-{DISCOVERY_PATH}")
@pytest.mark.parametrize("path", [DISCOVERY_PATH, KEYS_PATH])
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 404}, {"drop": True}, {"hang": 2.0}, {"body": "{}"}]
)
def test_an_issuer_that_is_down_is_503_and_admits_nobody(
    world: World, path: str, fault: dict[str, object]
) -> None:
    found = world.issuer.faults.add(f"{path}$", **fault)
    for _ in range(2):
        with pytest.raises(VendorUnavailableError) as caught:
            world.verify(world.token(groups=["ml-platform"]))
        assert (caught.value.status, caught.value.retryable) == (503, True)
    found.released.set()
    world.issuer.faults.clear()
    world.issuer.clock.move(seconds=6)
    assert world.verify(world.token())[1] is Role.VIEWER


def test_a_discovery_document_cannot_lead_astray(world: World) -> None:
    document = {"issuer": world.issuer.url, "jwks_uri": "https://evil.example.com/jwks"}
    world.issuer.faults.add(f"{DISCOVERY_PATH}$", body=json.dumps(document))
    with pytest.raises(VendorUnavailableError, match="own host"):
        world.verify(world.token())


# --- what is told -----------------------------------------------------------------------------------------


def test_refusals_are_logged_without_the_token_or_what_it_says(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = world.token(aud="somebody-else")
    without_role = world.token(groups=["a-secret-group"])
    with caplog.at_level(logging.WARNING):
        refused(world, wrong)
        with pytest.raises(NotPermittedError) as caught:
            world.verify(without_role)
    assert "made for another audience" in caplog.text
    assert "gives no role" in caplog.text
    told = caplog.text + str(caught.value)
    for value in ("somebody-else", "a-secret-group", "jane", *wrong.split("."), *without_role.split(".")):
        assert value not in told
