"""Groups, deploy keys and roles of a protected branch, each of whom may change the file that shows the evidence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from champion_gate.errors import UnsafeTargetError
from champion_gate_standins.gitlab.groups import CustomRole, DeployKey, Group
from champion_gate_standins.gitlab.server import Who
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, NO_ONE, OWNER
from integration.gitlab_world import BOT, PROJECT, World, gitlab_world

WAYS = ["push", "merge", "unprotect"]


@pytest.fixture(params=["environment", "branch"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with gitlab_world(protection=request.param) as made:
        yield made


def let_in(world: World, way: str, *who: Who) -> None:
    """Protect the branch for Maintainers and our own account, and let these in too."""
    ways: dict[str, tuple[Who, ...]] = {"push": (MAINTAINER,), "merge": (MAINTAINER, BOT), "unprotect": ()}
    ways[way] = (*ways[way], *who)
    world.there.protect_branch(PROJECT, "main", **ways)


def group_of(world: World, *shared: tuple[str, int], most: int = OWNER) -> Group:
    """A group that our read token sees, invited to the project."""
    group = world.there.add_group("example/team", {"reader": OWNER, **dict(shared)})
    world.there.share(PROJECT, group, most)
    return group


def problem_of(world: World) -> str:
    with pytest.raises(UnsafeTargetError) as caught:
        world.here.check_place(world.target())
    return str(caught.value)


# --- groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_group_with_a_developer_makes_the_branch_unsafe(world: World, way: str) -> None:
    group = group_of(world, ("dev", DEVELOPER), ("chief", MAINTAINER))
    let_in(world, way, group)
    problem = problem_of(world)
    assert f"Branch main of project {PROJECT}" in problem
    assert (
        f"group {group.id} may push, merge or unprotect, and of its members dev are no Maintainers" in problem
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_group_of_maintainers_is_as_good_as_the_role(world: World, way: str) -> None:
    let_in(world, way, group_of(world, ("chief", MAINTAINER), ("boss", OWNER)))
    assert world.here.check_place(world.target())


def test_a_group_that_was_invited_as_developers_makes_it_unsafe(world: World) -> None:
    let_in(world, "push", group_of(world, ("chief", MAINTAINER), most=DEVELOPER))
    assert "of its members chief are no Maintainers" in problem_of(world)


def test_members_of_the_groups_above_count(world: World) -> None:
    above = world.there.add_group("example", {"dev": DEVELOPER, "reader": OWNER})
    group = world.there.add_group("example/team", {"chief": MAINTAINER}, parent=above)
    world.there.share(PROJECT, group, OWNER)
    let_in(world, "merge", group)
    assert "of its members dev are no Maintainers" in problem_of(world)


def test_who_is_in_the_group_and_not_in_the_project_makes_it_unsafe(world: World) -> None:
    let_in(world, "merge", world.there.add_group("example/team", {"reader": OWNER, "stranger": OWNER}))
    assert "of its members stranger are no Maintainers of the project" in problem_of(world)


def test_a_blocked_member_can_do_nothing(world: World) -> None:
    let_in(world, "merge", group_of(world, ("dev", DEVELOPER)))
    world.there.block_user("dev")
    assert world.here.check_place(world.target())


def test_our_own_account_may_be_let_in_by_a_group() -> None:
    with gitlab_world() as world:
        group = group_of(world, (BOT, DEVELOPER))
        world.there.protect_branch(PROJECT, "main", push=(MAINTAINER,), merge=(MAINTAINER, group))
        assert world.here.check_place(world.target())["bot_login"] == BOT


def test_an_empty_group_lets_nobody_in(world: World) -> None:
    let_in(world, "push", world.there.add_group("open", visibility="public"))
    assert world.here.check_place(world.target())


def test_a_group_that_is_not_shown_to_us_makes_it_unsafe(world: World) -> None:
    group = world.there.add_group("elsewhere/secret", {"dev": DEVELOPER})
    let_in(world, "push", group)
    problem = problem_of(world)
    assert f"group {group.id} may push, merge or unprotect, and who is in it cannot be read" in problem
    assert "Let our read token's account see the group, or take it off and allow Maintainers." in problem


def test_a_group_of_more_members_than_are_read_is_refused_with_what_to_do_about_it(world: World) -> None:
    people = {f"chief{number:04}": MAINTAINER for number in range(1001)}
    group = group_of(world, *people.items())
    let_in(world, "push", group)
    problem = problem_of(world)
    assert f"group {group.id} may push, merge or unprotect, and has, or its project has, more than" in problem
    assert "Let in a smaller group or people by name" in problem
    assert "Let our read token's account see" not in problem


def test_many_are_named_up_to_five(world: World) -> None:
    let_in(world, "push", group_of(world, *((f"dev{number}", DEVELOPER) for number in range(7))))
    assert "dev0, dev1, dev2, dev3, dev4 and 2 more are no Maintainers" in problem_of(world)


def test_a_large_group_is_read_to_its_end(world: World) -> None:
    people = {f"chief{number:03}": MAINTAINER for number in range(130)}
    let_in(world, "push", group_of(world, *people.items(), ("zoe", DEVELOPER)))
    world.there.faults.requests.clear()
    assert "of its members zoe are no Maintainers" in problem_of(world)
    assert sum("/members" in request for request in map(str, world.there.faults.requests)) < 10


def test_a_developer_who_joins_the_group_stops_what_waits(world: World) -> None:
    group = group_of(world, ("chief", MAINTAINER))
    let_in(world, "push", group)
    promotion = world.asked()
    assert world.read(promotion).problems == ()
    group.members[world.there.add_user("dev")] = DEVELOPER
    world.play(promotion)
    assert "of its members dev are no Maintainers" in " ".join(world.read(promotion).problems)


def test_a_group_is_found_in_a_rule_with_a_wildcard(world: World) -> None:
    world.there.protect_branch(PROJECT, "ma*", push=(group_of(world, ("dev", DEVELOPER)),))
    assert "of its members dev" in problem_of(world)


# --- keys and roles ---------------------------------------------------------------------------------------


def test_a_deploy_key_is_somebody_unnamed(world: World) -> None:
    let_in(world, "push", DeployKey(8))
    problem = problem_of(world)
    assert "deploy key 8 may push, with which somebody unnamed could change the CI/CD file" in problem
    assert "Take the key off." in problem


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base", [None, DEVELOPER, MAINTAINER])
def test_a_custom_role_is_named_in_the_advice(world: World, way: str, base: int | None) -> None:
    let_in(world, way, CustomRole(5, base))
    assert "the custom role 5 (member_role_id)" in problem_of(world)


@pytest.mark.parametrize("way", WAYS)
def test_developers_by_role_make_it_unsafe_in_every_way(world: World, way: str) -> None:
    let_in(world, way, DEVELOPER)
    assert "Developers may" in problem_of(world)


@pytest.mark.parametrize("way", WAYS)
def test_a_developer_by_name_makes_it_unsafe_in_every_way(world: World, way: str) -> None:
    world.there.add_member(PROJECT, "dev", DEVELOPER)
    let_in(world, way, "dev")
    assert "are no Maintainers" in problem_of(world)


@pytest.mark.parametrize("way", WAYS)
def test_no_one_and_maintainers_are_safe_in_every_way(world: World, way: str) -> None:
    let_in(world, way, NO_ONE, MAINTAINER)
    assert world.here.check_place(world.target())
