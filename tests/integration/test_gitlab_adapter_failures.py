"""GitLab down, slow, over its limit or talking nonsense; redirects; private CAs; secrets that must not be told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from champion_gate.adapters.gitlab.provider import GitLab, GitLabTokens
from champion_gate.errors import (
    ConfigurationError,
    GateError,
    VendorRefusedError,
    VendorUnavailableError,
)
from integration.github_world import EVIDENCE, MovableClock
from integration.gitlab_world import GATE_URL, PROJECT, World, gitlab_world, pipeline_of
from integration.oidc_world import serve_tls

pytestmark = pytest.mark.spread(2)

DECIDING = [
    "/pipelines/[0-9]+$",
    "/jobs$",
    "/deployments$",
    "/deployments/[0-9]+$",
    "/protected_branches$",
    "/protected_environments/champion$",
    f"/projects/{PROJECT}$",
    "/triggers$",
    "/users/[0-9]+$",
]
SECRETS = ("glpat-secret-read", "glptt-secret-trigger", "glpat-secret-api")


@pytest.fixture
def world() -> Iterator[World]:
    with gitlab_world() as made:
        yield made


@pytest.mark.parametrize("path", DECIDING)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503, "headers": {"Retry-After": "3"}},
        {"status": 429},
        {"body": "<html>all is well</html>"},
        {"body": '{"id": true}'},
        {"drop": True},
    ],
)
def test_whatever_decides_and_cannot_be_read_is_an_error_and_no_approval(
    world: World, path: str, fault: dict[str, object]
) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.there.faults.add(path, **fault)
    with pytest.raises(VendorUnavailableError):
        world.read(promotion)


@pytest.mark.part("rest")
@pytest.mark.parametrize("path", DECIDING)
@pytest.mark.parametrize("status", [401, 403, 404, 301])
def test_whatever_decides_and_is_refused_is_no_approval(world: World, path: str, status: int) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.there.faults.add(path, status=status, body='{"message": "no"}', headers={"Location": "/elsewhere"})
    try:
        state = world.read(promotion)
    except VendorRefusedError:
        return
    counting = [review for review in state.reviews if review.is_person and review.is_listed]
    assert state.problems or not counting


def test_reads_are_tried_again_and_writes_are_not(world: World) -> None:
    promotion = world.asked()
    world.there.faults.add("/jobs$", status=502, times=2)
    assert world.read(promotion).problems == ()
    assert len(world.pauses) == 2
    fault = world.there.faults.add("/trigger/pipeline$", status=502)
    with pytest.raises(VendorUnavailableError):
        world.here.open(world.target(), promotion, EVIDENCE)
    assert fault.hits == 1


def test_a_list_that_shifts_while_it_is_paged_is_an_error(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    path = f"/projects/{PROJECT}/pipelines/{pipeline_of(promotion)}/jobs"
    found = world.answer(path)
    assert isinstance(found, list)
    world.there.faults.add(f"{path}$", body=json.dumps([found[0], found[0]]))
    with pytest.raises(VendorUnavailableError, match="changed while it was read"):
        world.read(promotion)


@pytest.mark.parametrize(
    "external_url",
    ["https://gitlab.example.com", "http://gitlab.internal:8080/gitlab", "https://127.0.0.1:1"],
)
def test_later_pages_are_read_although_gitlab_calls_itself_otherwise(world: World, external_url: str) -> None:
    world.there.state.external_url = external_url
    world.there.ci.jobs_finish = False
    promotion = world.asked()
    world.there.end_job(world.play(promotion), "failed")
    for _ in range(110):
        world.there.end_job(world.there.retry(world.job(promotion), "ann"), "failed")
    assert "retried" in (world.read(promotion).void or "")


def test_a_next_page_of_another_list_is_not_followed(world: World) -> None:
    promotion = world.asked()
    elsewhere = {"Link": '<https://evil.example.com/api/v4/x>; rel="next"'}
    world.there.faults.add("/jobs$", body="[]", headers=elsewhere)
    with pytest.raises(VendorRefusedError, match="next page"):
        world.read(promotion)


def test_retried_jobs_on_a_later_page_are_seen(world: World) -> None:
    world.there.ci.jobs_finish = False
    promotion = world.asked()
    world.there.end_job(world.play(promotion), "failed")
    for _ in range(110):
        world.there.end_job(world.there.retry(world.job(promotion), "ann"), "failed")
    assert "retried" in (world.read(promotion).void or "")


# --- credentials and addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokens",
    [
        GitLabTokens(read_token="r"),
        GitLabTokens(read_token="", trigger_token="t"),
        GitLabTokens(read_token="r", trigger_token="a b"),
        GitLabTokens(read_token="r\n", trigger_token="t"),
        GitLabTokens(read_token="r", api_token=""),
    ],
)
def test_credentials_that_cannot_work_are_refused_at_once(tokens: GitLabTokens) -> None:
    with pytest.raises(ConfigurationError):
        GitLab(url="https://gitlab.com", credentials=tokens, clock=MovableClock(), gate_url=GATE_URL)


@pytest.mark.parametrize("url", ["gitlab.com", "https://user:pw@gitlab.com", "https://gitlab.com/?a=b"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    tokens = GitLabTokens(read_token="r", trigger_token="t")
    with pytest.raises(ConfigurationError):
        GitLab(url=url, credentials=tokens, clock=MovableClock(), gate_url=GATE_URL)


def test_tokens_are_in_no_error_and_no_representation(world: World) -> None:
    read, trigger, api = SECRETS
    tokens = GitLabTokens(read_token=read, trigger_token=trigger, api_token=api)
    here = GitLab(url=world.url, credentials=tokens, clock=world.clock, gate_url=GATE_URL)
    promotion = world.with_pipeline(world.promotion(), 7)
    echo = json.dumps({"message": f"bad tokens: {' '.join(SECRETS)} whsec_abc"})
    world.there.faults.add("/", status=400, body=echo)
    said = [repr(tokens), repr(here)]
    calls: tuple[Callable[[], object], ...] = (
        here.check,
        lambda: here.check_place(world.target()),
        lambda: here.open(world.target(), promotion, EVIDENCE),
        lambda: here.cancel(world.target(), "7"),
        lambda: here.find_person(world.target(), "ann"),
    )
    for call in calls:
        with pytest.raises(GateError) as caught:
            call()
        said += [str(caught.value), repr(caught.value)]
    here.close()
    assert not any(secret in text for secret in (*SECRETS, "whsec_abc") for text in said)


def test_a_self_managed_instance_with_a_private_ca(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with gitlab_world(prefix="/gitlab") as world, serve_tls(world.there.app, authority) as origin:
        url = f"{origin}/gitlab"
        trusting = GitLab(
            url=url, credentials=world.tokens, clock=world.clock, gate_url=GATE_URL, ca_file=str(ca_file)
        )
        wary = GitLab(
            url=url,
            credentials=world.tokens,
            clock=world.clock,
            gate_url=GATE_URL,
            sleep=world.pauses.append,
        )
        try:
            trusting.check()
            assert trusting.check_place(world.target())["ci_config_ref_uri"].startswith("127.0.0.1:")
            with pytest.raises(VendorUnavailableError, match="certificate"):
                wary.check()
        finally:
            trusting.close()
            wary.close()
