"""GitHub down, slow, over its limit or talking nonsense; tokens that end; secrets that must not be told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from champion_gate.adapters.github.provider import GitHub, GitHubApp, GitHubToken
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.errors import (
    ConfigurationError,
    GateError,
    VendorRefusedError,
    VendorUnavailableError,
)
from integration.github_world import (
    EVIDENCE,
    QUICK,
    REPOSITORY,
    MovableClock,
    World,
    app_keys,
    github_world,
    run_of,
    target_of,
)

pytestmark = pytest.mark.spread(2)

DECIDING = ["/runs/[0-9]+$", "/approvals$", "/jobs$", "/environments/champion$"]


@pytest.fixture
def world() -> Iterator[World]:
    with github_world() as made:
        yield made


@pytest.mark.parametrize("path", DECIDING)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503, "headers": {"Retry-After": "3"}},
        {"status": 429},
        {"body": "<html>all is well</html>"},
        {"body": "{}"},
        {"drop": True},
    ],
)
def test_whatever_decides_and_cannot_be_read_is_an_error_and_no_approval(
    world: World, path: str, fault: dict[str, object]
) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.there.faults.add(path, **fault)
    with pytest.raises(VendorUnavailableError) as caught:
        world.read(promotion)
    assert caught.value.outcome_unknown is False


@pytest.mark.parametrize("path", DECIDING)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_whatever_decides_and_is_refused_is_an_error_or_a_problem(
    world: World, path: str, status: int
) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.there.faults.add(path, status=status)
    try:
        state = world.read(promotion)
    except VendorRefusedError:
        return
    assert state.problems


def test_a_short_failure_is_bridged(world: World) -> None:
    promotion = world.asked()
    world.there.faults.add("/approvals$", status=502, times=2)
    assert world.read(promotion).problems == ()
    assert world.pauses == [0.5, 1.0]


def test_a_github_that_hangs_is_given_up() -> None:
    with github_world(timeouts=QUICK) as world:
        promotion = world.asked()
        world.there.faults.add("/approvals$", hang=60.0)
        began = time.monotonic()
        with pytest.raises(VendorUnavailableError, match=r"no answer within 0\.5 s"):
            world.read(promotion)
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "17"}, 17.0),
        (403, {"Retry-After": "17"}, 17.0),
        (403, {"X-RateLimit-Remaining": "0"}, 60.0),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0),
    ],
)
def test_a_rate_limit_says_when_to_come_back_and_is_not_pressed(
    world: World, status: int, headers: dict[str, str], seconds: float
) -> None:
    promotion = world.asked()
    fault = world.there.faults.add("/approvals$", status=status, headers=headers)
    with pytest.raises(VendorUnavailableError) as caught:
        world.read(promotion)
    assert caught.value.retry_after == seconds
    assert fault.hits == 1


def test_a_secondary_limit_is_known_by_its_message(world: World) -> None:
    promotion = world.asked()
    message = json.dumps({"message": "You have exceeded a secondary rate limit."})
    world.there.faults.add("/approvals$", status=403, body=message)
    with pytest.raises(VendorUnavailableError) as caught:
        world.read(promotion)
    assert caught.value.retry_after == 60.0


# --- tokens -----------------------------------------------------------------------------------------------


def _tokens_made(world: World) -> int:
    return sum(path.endswith("/access_tokens") for _, path in world.there.faults.requests)


def test_one_installation_token_serves_until_shortly_before_its_end(world: World) -> None:
    promotion = world.asked()
    world.clock.move(minutes=54)
    world.read(promotion)
    assert _tokens_made(world) == 1
    world.clock.move(minutes=1)
    world.read(promotion)
    assert _tokens_made(world) == 2


def test_the_token_is_narrowed_to_the_repository_and_to_actions(world: World) -> None:
    world.there.add_repository("example/other")
    world.here.check_place(target_of())
    (credential,) = world.there.state.credentials.values()
    assert credential.permissions == {"actions": "write"}
    assert credential.repositories == frozenset({REPOSITORY})


def test_a_revoked_token_is_renewed_once(world: World) -> None:
    promotion = world.asked()
    world.there.revoke_tokens()
    assert world.read(promotion).problems == ()
    assert _tokens_made(world) == 2


def test_a_dispatch_with_a_revoked_token_starts_one_run(world: World) -> None:
    promotion = world.promotion()
    world.there.revoke_tokens()
    assert world.here.open(target_of(), promotion, EVIDENCE) is not None
    assert len(world.there.runs) == 1


def test_a_renewed_token_that_is_refused_too_ends_it(world: World) -> None:
    promotion = world.asked()
    fault = world.there.faults.add("/approvals$", status=401)
    with pytest.raises(VendorRefusedError, match="401"):
        world.read(promotion)
    assert fault.hits == 2


def test_an_access_token_without_an_end_is_not_used(world: World) -> None:
    world.there.faults.add("/access_tokens$", body='{"token": "ghs_1_x"}')
    with pytest.raises(VendorUnavailableError, match="expires_at"):
        world.here.check_place(target_of())


def test_many_threads_share_one_adapter(world: World) -> None:
    promotions = [world.asked(f"p-{number}") for number in range(8)]
    world.there.review(run_of(promotions[3]), "champion", "ann", approve=True)
    with ThreadPoolExecutor(8) as threads:
        states = list(threads.map(world.read, promotions))
    assert [bool(state.reviews) for state in states] == [number == 3 for number in range(8)]


# --- secrets and settings ---------------------------------------------------------------------------------


def test_no_error_and_no_repr_tells_a_secret(world: World) -> None:
    private, _ = app_keys()
    token = world.there.add_token("gate-robot")
    assert private[60:100] not in repr(GitHubApp("client", private))
    assert token not in repr(GitHubToken(token))
    promotion = world.asked()
    told = " ".join(world.there.state.credentials)
    world.there.faults.add(
        "/approvals$", status=403, body=json.dumps({"message": f"Bearer {told} is no good"})
    )
    with pytest.raises(GateError) as caught:
        world.read(promotion)
    assert not any(secret in str(caught.value) for secret in world.there.state.credentials)


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("api.github.com", GitHubToken("github_pat_x")),
        ("ftp://api.github.com", GitHubToken("github_pat_x")),
        ("https://user:pass@api.github.com", GitHubToken("github_pat_x")),
        ("https://api.github.com", GitHubToken("github_pat_x\n")),
        ("https://api.github.com", GitHubApp("client", "no key")),
    ],
)
def test_settings_that_cannot_be_used_are_refused_without_telling_them(
    url: str, credentials: GitHubApp | GitHubToken
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        GitHub(url=url, credentials=credentials, clock=MovableClock(), timeouts=Timeouts())
    assert "pat_x" not in str(caught.value)
    assert "pass" not in str(caught.value).replace("password", "")
