"""A no about a person, which vendors' reads may say too early, ends nothing before it has been said twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import MAINTAINER
from integration.gate_providers import EVERY_KIND, PROJECT, REPOSITORY
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.part("rest", "gitlab")

NEWCOMER = "newcomer"

everywhere = pytest.mark.parametrize("world", EVERY_KIND, indirect=True)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        if request.param == "github":
            team = made.github.add_team("example", "owners", ["reviewer-1"])
            made.github.protect_environment(REPOSITORY, "champion", [team])
        elif request.param == "gitlab-environment":
            there(made).protect_environment(PROJECT, "champion", deployers=(MAINTAINER,))
        yield made


def there(world: GateWorld) -> GitLabStandIn:
    standin = world.provider.standin  # type: ignore[attr-defined] # both have one
    assert isinstance(standin, GitLabStandIn)
    return standin


def lag(world: GateWorld) -> Callable[[], None]:
    """Reads of members lag behind from now on; returns what lets them catch up."""
    standin = world.provider.standin  # type: ignore[attr-defined]
    standin.lag_memberships()
    return lambda: standin.lag_memberships(lag=False)


def join(world: GateWorld, *people: str) -> None:
    """Only these people may approve from now on."""
    if world.provider.key == "github":
        world.github.add_team("example", "owners", people)
        return
    for login in ("reviewer-1", NEWCOMER):
        there(world).add_member(PROJECT, login, MAINTAINER if login in people else 0)


def approved_by_a_newcomer(world: GateWorld) -> tuple[Promotion, Callable[[], None]]:
    pending = world.ask()
    catch_up = lag(world)
    join(world, "reviewer-1", NEWCOMER)
    world.provider.approve(world.run_id_of(pending), NEWCOMER)
    world.look()
    return pending, catch_up


@everywhere
def test_an_approval_by_somebody_who_joined_just_before_is_not_lost(world: GateWorld) -> None:
    pending, catch_up = approved_by_a_newcomer(world)
    said = world.ended(pending, Phase.PENDING_APPROVAL)
    assert f"{NEWCOMER} (champion) is not among the listed reviewers" in said
    assert "looked at again in a minute" in said
    assert world.ledger() == []
    catch_up()
    world.wait(seconds=61)
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[-1] == ("1", "2", NEWCOMER)


@everywhere
def test_what_is_seen_a_minute_later_again_ends_it(world: GateWorld) -> None:
    pending, _ = approved_by_a_newcomer(world)
    for _ in range(3):
        world.clock.move(seconds=19)
        world.look()
        world.ended(pending, Phase.PENDING_APPROVAL)
    world.wait(seconds=4)
    reason = world.ended(pending, Phase.REJECTED)
    assert f"{NEWCOMER} does not count, who is not among the listed reviewers" in reason
    assert world.models.champion() == "1"


@everywhere
def test_what_was_seen_once_is_remembered_across_a_restart_and_a_vendor_that_is_away(
    world: GateWorld,
) -> None:
    pending, _ = approved_by_a_newcomer(world)
    first = world.again(pending).seen_once
    assert set(first.values()) == {world.clock.now()}
    world.crash()
    world.provider.faults.add(world.provider.reading(world.run_id_of(pending)), status=500)
    world.wait(seconds=61)
    world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.again(pending).seen_once == first
    world.provider.faults.clear()
    world.live(minutes=2)
    world.ended(pending, Phase.REJECTED)


@everywhere
def test_the_expiry_does_not_take_the_minute_away(world: GateWorld) -> None:
    pending = world.ask()
    catch_up = lag(world)
    join(world, "reviewer-1", NEWCOMER)
    request = world.again(pending).request
    assert request is not None
    world.clock.time = request.expires_at - timedelta(seconds=20)
    world.provider.approve(world.run_id_of(pending), NEWCOMER)
    world.look()
    world.wait(seconds=30)
    world.ended(pending, Phase.PENDING_APPROVAL)
    catch_up()
    world.live(minutes=2)
    world.ended(pending, Phase.PROMOTED)


@everywhere
def test_nor_does_the_order_to_make_way_for_a_newer_version(world: GateWorld) -> None:
    pending, catch_up = approved_by_a_newcomer(world)
    end = EndRequest(Phase.SUPERSEDED, "champion-gate", "A newer one asks.", world.clock.now())
    assert world.store.request_end(pending.id, end)
    world.settle()
    world.ended(pending, Phase.PENDING_APPROVAL)
    catch_up()
    world.wait(seconds=61)
    world.ended(pending, Phase.PROMOTED)


@everywhere
def test_the_trainer_is_rejected_at_the_first_look(world: GateWorld) -> None:
    if world.provider.key == "github":
        world.github.add_team("example", "owners", ["reviewer-1", "octo-trainer"])
    pending = world.ask()
    world.provider.approve(world.run_id_of(pending), "octo-trainer")
    lag(world)
    join(world, "reviewer-1")
    world.look()
    assert "octo-trainer does not count, who is behind this version" in world.ended(pending, Phase.REJECTED)


def missed_at_first(world: GateWorld, path: str) -> None:
    """Approved by a reviewer about whom this call answers 404 at the first look."""
    pending = world.ask()
    world.provider.faults.add(path, status=404)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    assert "looked at again in a minute" in world.ended(pending, Phase.PENDING_APPROVAL)
    world.provider.faults.clear()
    world.wait(seconds=61)
    world.ended(pending, Phase.PROMOTED)


@pytest.mark.parametrize("world", EVERY_KIND[1:], indirect=True)
def test_an_account_that_is_not_found_at_once_is_looked_up_twice(world: GateWorld) -> None:
    missed_at_first(world, rf"/users/{there(world).state.user('reviewer-1').id}$")


@pytest.mark.parametrize("world", ["gitlab-environment"], indirect=True)
def test_a_member_of_a_group_who_is_not_found_at_once_is_looked_up_twice(world: GateWorld) -> None:
    group = there(world).add_group("example", {"reviewer-1": MAINTAINER, "reader": MAINTAINER})
    there(world).protect_environment(PROJECT, "champion", deployers=(group,))
    missed_at_first(world, rf"/groups/{group.id}/members/.*[0-9]$")
