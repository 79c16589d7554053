"""Who may change the file that shows the evidence, in the whole gate on GitLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.gitlab.groups import CustomRole, DeployKey, Group
from champion_gate_standins.gitlab.server import GitLabStandIn, Who
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER
from integration.gate_providers import BOT, PROJECT, GitLabProvider
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.spread(2)


@pytest.fixture(
    params=[
        "gitlab-rules",
        pytest.param("gitlab-environment", marks=pytest.mark.part("rest")),
        pytest.param("gitlab-branch", marks=pytest.mark.part("rest")),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


@pytest.fixture
def gitlab(world: GateWorld) -> GitLabStandIn:
    assert isinstance(world.provider, GitLabProvider)
    return world.provider.standin


def team(gitlab: GitLabStandIn) -> Group:
    group = gitlab.add_group(
        "example/team", {"reader": MAINTAINER, "reviewer-1": MAINTAINER, "dev": DEVELOPER}
    )
    gitlab.share(PROJECT, group, MAINTAINER)
    return group


def promoted(world: GateWorld, pending: Promotion) -> None:
    """The approval leads to the alias."""
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


@pytest.mark.parametrize("way", ["push", "merge", "unprotect"])
def test_nobody_is_asked_while_a_group_with_a_developer_may_change_the_branch(
    world: GateWorld, gitlab: GitLabStandIn, way: str
) -> None:
    group = team(gitlab)
    ways: dict[str, tuple[Who, ...]] = {"merge": (MAINTAINER, BOT), way: (MAINTAINER, BOT, group)}
    gitlab.protect_branch(PROJECT, "main", **ways)
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert (
        f"group {group.id} may push, merge or unprotect, and of its members dev are no Maint"
        in waiting.reason
    )
    assert world.provider.requests() == {}
    gitlab.add_member(PROJECT, "dev", MAINTAINER)
    world.wait(minutes=3)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    promoted(world, pending)


def test_an_approval_waits_while_a_developer_is_in_the_group(world: GateWorld, gitlab: GitLabStandIn) -> None:
    group = team(gitlab)
    dev = gitlab.add_user("dev")
    del group.members[dev]
    gitlab.protect_branch(PROJECT, "main", push=(MAINTAINER, group), merge=(MAINTAINER, BOT))
    pending = world.ask()
    group.members[dev] = DEVELOPER
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    assert "of its members dev are no Maintainers" in world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.models.champion() == "1"
    del group.members[dev]
    world.look()
    promoted(world, pending)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (DeployKey(8), "deploy key 8 may push"),
        (CustomRole(5, MAINTAINER), "the custom role 5 (member_role_id)"),
    ],
)
def test_an_approval_waits_while_nobody_can_say_who_may_push(
    world: GateWorld, gitlab: GitLabStandIn, who: Who, words: str
) -> None:
    pending = world.ask()
    branches = gitlab.project(PROJECT).protected_branches
    before = dict(branches)
    gitlab.protect_branch(PROJECT, "main", push=(MAINTAINER, who), merge=(MAINTAINER, BOT))
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    assert words in world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.models.champion() == "1"
    branches.update(before)
    world.look()
    promoted(world, pending)


def test_lists_of_more_than_a_page_are_read_behind_a_proxy(world: GateWorld, gitlab: GitLabStandIn) -> None:
    gitlab.state.external_url = "https://gitlab.example.com"
    for number in range(120):
        gitlab.protect_branch(PROJECT, f"release-{number}")
    world.provider.protect()
    pending = world.ask()
    gitlab.protect_branch(PROJECT, "ma*", push=(DEVELOPER,))
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    assert "Developers may push" in world.ended(pending, Phase.PENDING_APPROVAL)
    gitlab.unprotect_branch(PROJECT, "ma*")
    world.look()
    promoted(world, pending)
