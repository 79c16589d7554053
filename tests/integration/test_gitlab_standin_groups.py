"""Groups, keys and roles on the GitLab stand-in, read with an independent client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gitlab.exceptions import GitlabGetError

from champion_gate_standins.gitlab.groups import CustomRole, DeployKey
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, OWNER
from integration.gitlab_standin_world import World, standin_world


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world("premium") as made:
        yield made


def levels(members: object) -> dict[str, int]:
    assert isinstance(members, list)
    return {one.username: one.access_level for one in members}


def test_an_invited_groups_members_get_at_most_the_role_of_the_invitation(world: World) -> None:
    group = world.gitlab.add_group("team", {"ada": OWNER, "bea": DEVELOPER, "rita": DEVELOPER})
    world.gitlab.share(42, group, MAINTAINER)
    project = world.client().projects.get(42)
    found = levels(project.members_all.list(get_all=True))
    assert (found["ada"], found["bea"], found["rita"]) == (MAINTAINER, DEVELOPER, MAINTAINER)
    assert project.members_all.get(world.gitlab.add_user("ada")).access_level == MAINTAINER
    (shared,) = project.shared_with_groups
    assert (shared["group_id"], shared["group_access_level"]) == (group.id, MAINTAINER)


def test_a_groups_members_are_listed_with_and_without_those_above(world: World) -> None:
    above = world.gitlab.add_group("team", {"ada": OWNER}, visibility="public")
    group = world.gitlab.add_group("team/sub", {"bea": DEVELOPER}, parent=above, visibility="public")
    seen = world.client().groups.get(group.id)
    assert (seen.full_path, seen.parent_id) == ("team/sub", above.id)
    assert levels(seen.members.list(get_all=True)) == {"bea": DEVELOPER}
    assert levels(seen.members_all.list(get_all=True)) == {"ada": OWNER, "bea": DEVELOPER}
    ada = world.gitlab.add_user("ada")
    assert seen.members_all.get(ada).access_level == OWNER
    with pytest.raises(GitlabGetError):
        seen.members.get(ada)


def test_a_private_group_is_shown_to_its_members_and_to_those_of_its_projects(world: World) -> None:
    foreign = world.gitlab.add_group("team", {"ada": OWNER})
    with pytest.raises(GitlabGetError, match="404"):
        world.client().groups.get(foreign.id)
    assert world.client(world.gitlab.add_token("ada")).groups.get(foreign.id).id == foreign.id
    own = world.gitlab.add_group("example", {"ada": OWNER})
    assert world.client().groups.get(own.id).id == own.id


def test_a_protected_branch_tells_of_groups_keys_and_custom_roles(world: World) -> None:
    group = world.gitlab.add_group("team")
    world.gitlab.protect_branch(
        42, "main", push=(DeployKey(7), group), merge=(CustomRole(5, DEVELOPER),), unprotect=("rita",)
    )
    branch = world.client().projects.get(42).protectedbranches.get("main")
    key, team = branch.push_access_levels
    assert (key["deploy_key_id"], key["group_id"], key["access_level"]) == (7, None, 40)
    assert (team["deploy_key_id"], team["group_id"], team["user_id"]) == (None, group.id, None)
    (role,) = branch.merge_access_levels
    assert (role["member_role_id"], role["access_level"]) == (5, DEVELOPER)
    assert branch.unprotect_access_levels[0]["user_id"] == world.gitlab.add_user("rita")


@pytest.mark.parametrize("length", [255, 256])
def test_a_pipeline_has_a_name_of_at_most_255_characters(world: World, length: int) -> None:
    model = "m" * (length - len("Champion  v2 [p1]"))
    answer = world.open(model=model)
    if length > 255:
        assert answer.status_code == 400
        assert "Name is too long (maximum is 255 characters)" in answer.text
    else:
        assert len(world.gitlab.pipeline(answer.json()["id"]).name) == 255
