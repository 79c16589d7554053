"""Places that protect an approval at GitLab, and the many that do not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from champion_gate.adapters.gitlab.provider import GitLab
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.errors import (
    InvalidNameError,
    UnsafeTargetError,
    VendorNotFoundError,
    VendorUnavailableError,
)
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, OWNER
from integration.gitlab_world import BOT, GATE_URL, PATH, PLACE, PROJECT, World, gitlab_world


@pytest.fixture
def world() -> Iterator[World]:
    with gitlab_world() as made:
        yield made


@pytest.fixture
def free() -> Iterator[World]:
    with gitlab_world(protection="branch") as made:
        yield made


def problem_of(world: World, **place: str) -> str:
    with pytest.raises(UnsafeTargetError) as caught:
        world.here.check_place(world.target(**place))
    return str(caught.value)


# --- what is pinned ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/gitlab"])
@pytest.mark.parametrize(("opens_with", "source"), [("trigger", "trigger"), ("api", "api")])
def test_a_safe_place_is_pinned_with_ids(prefix: str, opens_with: str, source: str) -> None:
    with gitlab_world(prefix=prefix, opens_with=opens_with) as world:
        pins = world.here.check_place(world.target())
        project = world.there.project(PROJECT)
        assert pins["project_id"] == "42"
        assert pins["namespace_id"] == str(project.namespace_id)
        assert (pins["bot_id"], pins["bot_login"]) == (str(world.there.state.user(BOT).id), BOT)
        assert (pins["ref"], pins["job"], pins["environment"]) == ("main", "approve", "champion")
        assert pins["source"] == source
        host = world.url.partition("://")[2]
        assert pins["ci_config_ref_uri"] == f"{host}/{PATH}//.gitlab-ci.yml@refs/heads/main"


def test_another_configuration_file_of_the_project_is_pinned(world: World) -> None:
    world.there.project(PROJECT).settings["ci_config_path"] = "ci/champion.yml"
    assert world.here.check_place(world.target())["ci_config_ref_uri"].endswith(
        f"/{PATH}//ci/champion.yml@refs/heads/main"
    )


def test_a_protected_branch_is_enough_where_the_gate_says_so(free: World) -> None:
    assert free.here.check_place(free.target())["protection"] == "branch"


def test_approvers_are_pinned_by_their_numbers(free: World) -> None:
    pins = free.here.check_place(free.target(approvers="bob, ann"))
    ids = sorted(free.there.state.user(login).id for login in ("ann", "bob"))
    assert pins["approvers"] == ",".join(map(str, ids))


def test_ids_that_the_operator_demands_are_compared(world: World) -> None:
    namespace = str(world.there.project(PROJECT).namespace_id)
    assert world.here.check_place(world.target(namespace_id=namespace))
    assert "demands namespace_id 9" in problem_of(world, namespace_id="9")


# --- the environment --------------------------------------------------------------------------------------


def _unprotected(world: World) -> None:
    world.there.unprotect_environment(PROJECT, "champion")


def _free_tier(world: World) -> None:
    world.there.project(PROJECT).tier = "free"


def _nobody(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=())


def _no_one(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=(0,))


def _developers(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=(DEVELOPER,))


def _ann_and_developers(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=("ann", DEVELOPER))


def _bot_named(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=("ann", BOT))


def _bot_by_role(world: World) -> None:
    world.there.add_member(PROJECT, BOT, MAINTAINER)
    world.there.protect_environment(PROJECT, "champion", deployers=(MAINTAINER,))


def _developers_approve(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=("ann",), approvals={DEVELOPER: 1})


def _two_approvals(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=("ann",), approvals={MAINTAINER: 2})


def _developers_push(world: World) -> None:
    world.there.protect_branch(PROJECT, "main", push=(DEVELOPER,))


def _developers_merge(world: World) -> None:
    world.there.protect_branch(PROJECT, "main", merge=(DEVELOPER,))


def _wildcard(world: World) -> None:
    world.there.protect_branch(PROJECT, "ma*", push=(DEVELOPER,))


def _branch_free(world: World) -> None:
    world.there.unprotect_branch(PROJECT, "main")


def _archived(world: World) -> None:
    world.there.project(PROJECT).settings["archived"] = True


def _file_elsewhere(world: World) -> None:
    world.there.project(PROJECT).settings["ci_config_path"] = ".gitlab-ci.yml@other/project"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_unprotected, "Protect it"),
        (_free_tier, "protection: branch"),
        (_nobody, "nobody is allowed to deploy"),
        (_no_one, "nobody is allowed to deploy"),
        (_developers, "every Developer may deploy"),
        (_ann_and_developers, "every Developer may deploy"),
        (_bot_named, f"{BOT}, with whose token we ask"),
        (_bot_by_role, f"{BOT}, with whose token we ask"),
        (_developers_approve, "every Developer may approve"),
        (_two_approvals, "demands 2 approvals, and gates.yaml 1"),
        (_developers_push, "Developers may push"),
        (_developers_merge, "Developers may merge"),
        (_wildcard, "Developers may push"),
        (_branch_free, "it is not protected"),
        (_archived, "archived"),
        (_file_elsewhere, "outside the project"),
    ],
)
def test_a_place_that_protects_nothing_is_unsafe(
    world: World, change: Callable[[World], None], words: str
) -> None:
    change(world)
    assert words in problem_of(world)


def test_maintainers_may_deploy_where_the_bot_is_none(world: World) -> None:
    world.there.protect_environment(PROJECT, "champion", deployers=(MAINTAINER,))
    assert '["role",40,false,0]' in world.here.check_place(world.target())["rules"]


def test_several_seats_take_approval_rules(world: World) -> None:
    target = ApprovalTarget.stored("gitlab", words=world.place, seats=("one", "two"))
    with pytest.raises(UnsafeTargetError, match="there is one click"):
        world.here.check_place(target)
    world.there.protect_environment(PROJECT, "champion", deployers=("ann",), approvals={"bob": 1, "ann": 1})
    assert world.here.check_place(target)


def test_the_unified_approval_count_counts_too(world: World) -> None:
    world.spoil(f"/projects/{PROJECT}/protected_environments/champion", required_approval_count=2)
    assert "demands 2 approvals" in problem_of(world)


def test_a_group_whose_members_are_not_shown_is_unsafe(world: World) -> None:
    group = {"id": 1, "access_level": 40, "user_id": None, "group_id": 77, "group_inheritance_type": 0}
    world.spoil(f"/projects/{PROJECT}/protected_environments/champion", deploy_access_levels=[group])
    assert "who is in group 77 cannot be read" in problem_of(world)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"access_level": None, "member_role_id": 5},
            r"custom role 5 \(member_role_id\).*allow Maintainers or name",
        ),
        ({"access_level": 40, "member_role_id": 5}, r"custom role 5 \(member_role_id\)"),
        (
            {"access_level": 40, "saml_group_id": "gid://x"},
            "somebody by saml_group_id, which champion-gate does not",
        ),
        ({"access_level": 40, "user_id": 3, "group_id": 4}, "somebody by group_id and user_id, which"),
        ({"access_level": 40, "deploy_key_id": 6}, "deploy key 6 may push"),
        ({"access_level": 40, "group_id": 4, "group_inheritance_type": 2}, "group_inheritance_type 2"),
    ],
)
@pytest.mark.parametrize("key", ["deploy_access_levels", "approval_rules"])
def test_an_environment_that_lets_in_who_knows_whom_is_unsafe(
    world: World, entry: dict[str, object], words: str, key: str
) -> None:
    named = {"id": 1, "user_id": None, "group_id": None, "required_approvals": 1, **entry}
    world.spoil(f"/projects/{PROJECT}/protected_environments/champion", **{key: [named]})
    assert re.search(f"Environment champion of project 42.*: .*{words}", problem_of(world))


def test_an_access_level_that_names_nobody_cannot_be_judged(world: World) -> None:
    strange = {"id": 1, "access_level": None, "user_id": None, "group_id": None}
    world.spoil(f"/projects/{PROJECT}/protected_environments/champion", deploy_access_levels=[strange])
    with pytest.raises(VendorUnavailableError, match="access_level"):
        world.here.check_place(world.target())


@pytest.mark.parametrize("setting", [True, None, "absent"])
def test_a_project_whose_pipelines_starter_may_approve_is_unsafe(setting: object) -> None:
    with gitlab_world(approvals=("ann", "bob")) as world:
        assert world.here.check_place(world.target())
        if setting == "absent":
            shown = world.answer(f"/projects/{PROJECT}")
            assert isinstance(shown, dict)
            del shown["allow_pipeline_trigger_approve_deployment"]
            world.there.faults.add(f"/projects/{PROJECT}$", body=json.dumps(shown))
        else:
            world.there.project(PROJECT).settings["allow_pipeline_trigger_approve_deployment"] = setting
        assert "turn off `Allow pipeline triggerer to approve deployment`" in problem_of(world)


@pytest.mark.parametrize("protection", ["environment", "branch"])
def test_that_setting_means_nothing_where_nobody_approves_a_deployment(protection: str) -> None:
    with gitlab_world(protection=protection) as world:
        world.there.project(PROJECT).settings["allow_pipeline_trigger_approve_deployment"] = True
        assert world.here.check_place(world.target())


def test_another_environment_than_the_one_asked_for_is_unsafe(world: World) -> None:
    world.spoil(f"/projects/{PROJECT}/protected_environments/champion", name="Champion")
    assert "answered about Champion" in problem_of(world)


# --- the branch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_developers_merge, "Developers may merge"),
        (_developers_push, "Developers may push"),
        (_wildcard, "Developers may push"),
        (_branch_free, "it is not protected"),
        (_archived, "archived"),
    ],
)
def test_a_branch_that_protects_nothing_is_unsafe(
    free: World, change: Callable[[World], None], words: str
) -> None:
    change(free)
    assert words in problem_of(free)


def test_a_wildcard_for_other_branches_says_nothing(free: World) -> None:
    free.there.protect_branch(PROJECT, "release-*", push=(DEVELOPER,))
    free.there.protect_branch(PROJECT, "mai", push=(DEVELOPER,))
    assert free.here.check_place(free.target())


def test_approvers_that_nobody_knows_or_that_are_only_ourselves_are_unsafe(free: World) -> None:
    assert "names ghost, whom nobody knows" in problem_of(free, approvers="ann,ghost")
    assert f"names nobody but {BOT}" in problem_of(free, approvers=BOT)


# --- what our tokens are shown ----------------------------------------------------------------------------


def test_a_project_that_is_not_shown_is_unsafe(world: World) -> None:
    assert "there is no project 43" in problem_of(world, project="43")


def test_a_read_token_below_maintainer_is_told_what_it_lacks(world: World) -> None:
    world.there.add_member(PROJECT, "reader", DEVELOPER)
    assert "role Maintainer" in problem_of(world)


def test_what_is_forbidden_is_unsafe_and_names_the_call(world: World) -> None:
    world.there.faults.add(
        "/protected_environments/champion$", status=403, body='{"message": "403 Forbidden"}'
    )
    assert "403" in problem_of(world)


# --- who the bot is ---------------------------------------------------------------------------------------


def test_the_owner_of_our_trigger_token_is_found_among_several(world: World) -> None:
    world.there.add_trigger(PROJECT, "ann")
    shown = [
        {"id": 1, "token": "aaaa", "owner": {"id": 1, "username": "ann"}},
        {"id": 2, "token": (world.tokens.trigger_token or "")[6:10], "owner": {"id": 5, "username": "robot"}},
        {"id": 3, "token": "bbbb", "owner": None},
    ]
    _answer_triggers(world, shown)
    world.there.protect_branch(PROJECT, "main", merge=(MAINTAINER,))
    assert world.here.check_place(world.target())["bot_id"] == "5"


def test_a_trigger_token_that_may_be_anybodys_is_unsafe_unless_the_gate_names_the_bot(world: World) -> None:
    world.there.add_trigger(PROJECT, "ann")
    assert "2 people own trigger tokens" in problem_of(world)
    assert world.here.check_place(world.target(bot=BOT))["bot_login"] == BOT


def test_a_trigger_token_that_the_project_does_not_list_is_unsafe(world: World) -> None:
    world.there.project(PROJECT).triggers.clear()
    assert "our trigger token is none of project 42's" in problem_of(world)


def test_a_trigger_token_that_has_expired_is_unsafe(world: World) -> None:
    world.spoil(f"/projects/{PROJECT}/triggers", expires_at="2026-11-20T09:59:00.000Z")
    assert "has expired" in problem_of(world)


def test_a_trigger_token_that_expires_later_is_safe(world: World) -> None:
    world.spoil(f"/projects/{PROJECT}/triggers", expires_at="2026-11-20T10:01:00.000Z")
    assert world.here.check_place(world.target())


def _answer_triggers(world: World, shown: list[dict[str, object]]) -> None:
    world.there.faults.add("/triggers$", body=json.dumps(shown))


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        {"project": ""},
        {"project": "example/ml-deploy"},
        {"project": "0"},
        {"project": "42/../43"},
        {"ref": "../main"},
        {"ref": "a b"},
        {"job": ""},
        {"job": "a\nb"},
        {"environment": ".."},
        {"environment": "x" * 256},
        {"protection": "none"},
        {"approvers": "ann;bob"},
        {"bot": "a/b"},
        {"namespace_id": "x"},
    ],
)
def test_names_that_are_none_never_reach_gitlab(world: World, place: dict[str, str]) -> None:
    world.there.faults.requests.clear()
    with pytest.raises(InvalidNameError):
        world.here.check_place(world.target(**place))
    assert world.there.faults.requests == []


@pytest.mark.parametrize("seats", [(), ("a", "A"), ("",), ("a\n",)])
def test_seats_are_named_and_different(world: World, seats: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNameError):
        world.here.check_place(ApprovalTarget.stored("gitlab", words=PLACE, seats=seats))


# --- people -----------------------------------------------------------------------------------------------


def test_a_person_is_found_in_whatever_case(world: World) -> None:
    found = world.here.find_person(world.target(), "ANN")
    assert (found.user_id, found.login) == (str(world.there.state.user("ann").id), "ann")


def test_nobody_and_a_bot_are_no_person(world: World) -> None:
    world.there.add_user("project_42_bot", bot=True)
    for login in ("ghost", "project_42_bot"):
        with pytest.raises(VendorNotFoundError):
            world.here.find_person(world.target(), login)


def test_asking_about_people_without_permission_is_unsafe(world: World) -> None:
    world.there.faults.add("/users$", status=403)
    with pytest.raises(UnsafeTargetError):
        world.here.find_person(world.target(), "ann")


def test_owners_count_as_maintainers(free: World) -> None:
    free.there.add_member(PROJECT, "boss", OWNER)
    promotion = free.asked()
    free.play(promotion, "boss")
    assert free.read(promotion).reviews[0].is_listed


def test_the_credentials_are_checked(world: World) -> None:
    world.here.check()
    world.there.revoke_token(world.tokens.read_token)
    with pytest.raises(Exception, match="401"):
        world.here.check()


def test_a_twin_is_used_where_the_current_token_is_refused(world: World) -> None:
    stale = replace(world.tokens, read_token="glpat-revoked", api_token="glpat-revoked-too")
    twin = GitLab(
        url=world.url, credentials=stale, previous=world.tokens, clock=world.clock, gate_url=GATE_URL
    )
    try:
        twin.check()
        assert twin.check_place(world.target())["bot_login"] == BOT
    finally:
        twin.close()


@pytest.mark.parametrize("protection", ["environment", "branch"])
def test_the_api_tokens_own_account_cannot_approve(protection: str) -> None:
    with gitlab_world(protection=protection) as world:
        tokens = replace(world.tokens, api_token=world.there.add_token("ann", ("api",)))
        here = GitLab(
            url=world.url, credentials=tokens, clock=world.clock, gate_url=GATE_URL, sleep=world.pauses.append
        )
        with closing(here):
            if protection == "environment":
                with pytest.raises(UnsafeTargetError, match="ann, with whose token we ask, may deploy"):
                    here.check_place(world.target())
            else:
                ann = here.find_person(world.target(), "ann")
                assert ann.user_id in here.check_place(world.target())["openers"].split(",")


@pytest.mark.parametrize("protection", ["environment", "branch"])
@pytest.mark.parametrize("way", ["push", "merge"])
def test_a_developer_who_is_named_for_the_branch_makes_it_unsafe(protection: str, way: str) -> None:
    with gitlab_world(protection=protection) as world:
        world.there.add_member(PROJECT, "dev", DEVELOPER)
        levels: dict[str, tuple[int | str, ...]] = {"push": (MAINTAINER,), "merge": (MAINTAINER, BOT)}
        levels[way] = (*levels[way], "dev")
        world.there.protect_branch(PROJECT, "main", push=levels["push"], merge=levels["merge"])
        assert "who may push, merge or unprotect, are no Maintainers" in problem_of(world)


@pytest.mark.parametrize("role", ["developer", "maintainer", "owner", None])
def test_a_project_whose_jobs_take_variables_is_unsafe(world: World, role: str | None) -> None:
    world.there.project(PROJECT).settings["ci_pipeline_variables_minimum_override_role"] = role
    assert "`Minimum role to use pipeline variables` to `No one allowed`" in problem_of(world)
