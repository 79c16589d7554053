"""What must be so at GitHub before anybody is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from champion_gate.adapters.github.provider import GitHub
from champion_gate.errors import (
    InvalidNameError,
    UnsafeTargetError,
    VendorNotFoundError,
    VendorUnavailableError,
)
from integration.github_world import REPOSITORY, World, credentials_of, github_world, target_of
from integration.journal import Journal
from integration.process_world import until


@pytest.fixture
def world() -> Iterator[World]:
    with github_world() as made:
        yield made


@pytest.mark.parametrize("credentials", ["app", "token"])
@pytest.mark.parametrize("api_version", ["2022-11-28", "2026-03-10"])
def test_a_protected_environment_is_safe_and_its_ids_are_pinned(credentials: str, api_version: str) -> None:
    with github_world(credentials=credentials, api_version=api_version) as world:
        there, team = world.there, world.there.add_team("example", "mlops", ["bob"])
        champion = there.protect_environment(REPOSITORY, "Champion", ["ann", team])
        pins = world.here.check_place(target_of())
        repository = there.repository(REPOSITORY)
        bot = "champion-gate[bot]" if credentials == "app" else "gate-robot"
        assert pins["repository_id"] == str(repository.id)
        assert pins["owner_id"] == str(repository.owner.id)
        assert (pins["bot_login"], pins["bot_id"]) == (bot, str(there.state.user(bot).id))
        assert pins["workflow_path"] == ".github/workflows/champion-gate.yml"
        assert pins["workflow_id"] == str(repository.workflows["champion-gate.yml"].id)
        assert json.loads(pins["environments"]) == {
            "champion": {
                "id": str(champion.id),
                "users": [str(there.state.user("ann").id)],
                "teams": [str(team.id)],
                "rules": ["branch_policy", "branches: main", "required_reviewers"],
            }
        }
        assert all(isinstance(pin, str) for pin in pins.values())


def _unreviewed(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", [])


def _bypassed(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], can_admins_bypass=True)


def _bypass_not_told(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], can_admins_bypass=None)


def _self_reviewed(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], prevent_self_review=False)


def _any_branch(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], branch_policy=None)


def _other_branch(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], branch_policy="*")


def _branch_unprotected(world: World) -> None:
    world.there.unprotect_branch(REPOSITORY)


def _other_branch_protected(world: World) -> None:
    world.there.unprotect_branch(REPOSITORY)
    world.there.protect_branch(REPOSITORY, "release/1")


def _branch_pushed_to(world: World) -> None:
    world.there.protect_branch(REPOSITORY, approvals=None)


def _branch_merged_alone(world: World) -> None:
    world.there.protect_branch(REPOSITORY, approvals=0)


def _branch_made_anew(world: World) -> None:
    world.there.protect_branch(REPOSITORY, deletion=False)


def _branch_rules_forbidden(world: World) -> None:
    world.there.faults.add("/rules/branches/main$", status=403)


def _branch_rules_absent(world: World) -> None:
    world.there.faults.add("/rules/branches/main$", status=404)


def _only_the_bot(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["champion-gate[bot]"])


def _absent(world: World) -> None:
    world.there.delete_environment(REPOSITORY, "champion")


def _no_workflow(world: World) -> None:
    world.there.repository(REPOSITORY).workflows.clear()


def _workflow_off(world: World) -> None:
    world.there.repository(REPOSITORY).workflows["champion-gate.yml"].state = "disabled_manually"


def _no_repository(world: World) -> None:
    world.there.state.repositories.clear()


def _environment_forbidden(world: World) -> None:
    world.there.faults.add("/environments/champion$", status=403)


def _app_without_permission(world: World) -> None:
    world.there.state.apps[0].permissions = {"deployments": "read"}


def _suspended(world: World) -> None:
    world.there.state.apps[0].suspended = True


def _team_unreadable(world: World) -> None:
    world.there.state.apps[0].permissions = {"actions": "write"}
    team = world.there.add_team("example", "mlops", ["bob"])
    world.there.protect_environment(REPOSITORY, "champion", [team])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_unreviewed, "no required reviewers"),
        (_bypassed, "Allow administrators to bypass"),
        (_bypass_not_told, "Allow administrators to bypass"),
        (_self_reviewed, "Prevent self-review"),
        (_any_branch, "exactly the branch main"),
        (_other_branch, "exactly the branch main"),
        (_branch_unprotected, "Branch main of example/ml-deploy .*Require a pull request"),
        (_other_branch_protected, "Require a pull request"),
        (_branch_pushed_to, "Require a pull request"),
        (_branch_merged_alone, "Require a pull request"),
        (_branch_made_anew, "Restrict deletions"),
        (_branch_rules_forbidden, "lack a permission"),
        (_branch_rules_absent, "Branch main of example/ml-deploy .* cannot be read"),
        (_only_the_bot, "nobody but champion-gate"),
        (_absent, "has no environment champion"),
        (_no_workflow, "copy deploy/github/champion-gate.yml"),
        (_workflow_off, "enable it"),
        (_no_repository, "not installed on example/ml-deploy"),
        (_environment_forbidden, "lack a permission"),
        (_app_without_permission, "permissions requested are not granted"),
        (_suspended, "suspended"),
        (_team_unreadable, "Members: read"),
    ],
)
def test_an_unsafe_place_is_refused_with_what_to_change(
    world: World, spoil: Callable[[World], None], says: str
) -> None:
    spoil(world)
    with pytest.raises(UnsafeTargetError, match=says):
        world.here.check_place(target_of())
    assert world.there.runs == []


def test_all_that_is_wrong_is_said_at_once(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", [])
    world.there.protect_environment(REPOSITORY, "audit", ["ann"], can_admins_bypass=True)
    with pytest.raises(UnsafeTargetError) as caught:
        world.here.check_place(target_of("champion", "audit", "legal"))
    said = str(caught.value)
    assert "champion" in said
    assert "audit" in said
    assert "no environment legal" in said


def test_an_environment_that_a_workflow_made_by_naming_it_is_unsafe(world: World) -> None:
    inputs = dict.fromkeys(("promotion_id", "model", "version", "alias", "evidence"), "x")
    world.there.dispatch(REPOSITORY, {**inputs, "environments": '["fresh"]'}, login="mallory")
    with pytest.raises(UnsafeTargetError, match="no required reviewers"):
        world.here.check_place(target_of("fresh"))


def test_ids_that_the_operator_pins_are_demanded(world: World) -> None:
    repository = world.there.repository(REPOSITORY)
    right = {"repository_id": str(repository.id), "owner_id": str(repository.owner.id)}
    assert world.here.check_place(target_of(**right))["owner_id"] == right["owner_id"]
    with pytest.raises(UnsafeTargetError, match="demands owner_id 7, and GitHub says"):
        world.here.check_place(target_of(**{**right, "owner_id": "7"}))


@pytest.mark.parametrize("archived", ["true", "null"])
def test_an_archived_repository_is_unsafe(world: World, archived: str) -> None:
    body = f'{{"id": 1, "owner": {{"id": 2}}, "full_name": "{REPOSITORY}", "archived": {archived}, "disabled": false}}'
    world.there.faults.add(f"/repos/{REPOSITORY}$", body=body)
    with pytest.raises(UnsafeTargetError, match="archived"):
        world.here.check_place(target_of())


def test_a_renamed_repository_is_unsafe_and_its_redirect_is_not_followed(world: World) -> None:
    world.there.add_repository("evil/ml-deploy")
    elsewhere = {"Location": f"{world.url}/repos/evil/ml-deploy"}
    world.there.faults.add(f"/repos/{REPOSITORY}$", status=301, headers=elsewhere)
    with pytest.raises(UnsafeTargetError, match="renamed or moved"):
        world.here.check_place(target_of())
    assert all("evil" not in path for _, path in world.there.faults.requests)


@pytest.mark.parametrize("reviewers", ['[{"type": "Robot", "reviewer": {"id": 1}}]', "[]", "null"])
def test_reviewers_of_a_kind_that_we_do_not_know_are_none(world: World, reviewers: str) -> None:
    body = (
        '{"id": 5, "name": "champion", "can_admins_bypass": false, "deployment_branch_policy":'
        ' {"protected_branches": true, "custom_branch_policies": false}, "protection_rules":'
        f' [{{"type": "required_reviewers", "prevent_self_review": true, "reviewers": {reviewers}}}]}}'
    )
    world.there.faults.add("/environments/champion$", body=body)
    with pytest.raises(UnsafeTargetError):
        world.here.check_place(target_of())


@pytest.mark.parametrize("ways", [{"approvals": 2}, {"approvals": None, "updates": True}])
def test_a_branch_that_nobody_changes_alone_is_safe(world: World, ways: dict[str, Any]) -> None:
    world.there.protect_branch(REPOSITORY, **ways)
    assert world.here.check_place(target_of())


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "pull_request"},
        {"type": "pull_request", "parameters": {"required_approving_review_count": "1"}},
        {"type": "a_new_one"},
        {"parameters": {}},
    ],
)
def test_rules_of_a_form_that_we_do_not_know_protect_nothing(world: World, rule: dict[str, Any]) -> None:
    world.there.faults.add("/rules/branches/main$", body=json.dumps([{"type": "deletion"}, rule]))
    with pytest.raises((UnsafeTargetError, VendorUnavailableError)):
        world.here.check_place(target_of())


def test_rules_that_cannot_be_read_now_are_waited_for(world: World) -> None:
    world.there.faults.add("/rules/branches/main$", status=500, times=20)
    with pytest.raises(VendorUnavailableError):
        world.here.check_place(target_of())


def test_the_rules_of_all_pages_count(world: World) -> None:
    world.there.protect_branch(REPOSITORY)
    rules = world.there.repository(REPOSITORY).branch_rules["main"]
    world.there.repository(REPOSITORY).branch_rules["main"] = {f"other_{n}": {} for n in range(120)} | rules
    assert world.here.check_place(target_of())


def test_protected_branches_are_a_restriction_too(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], branch_policy="protected")
    assert "branches: protected" in world.here.check_place(target_of())["environments"]


def test_an_environments_name_is_encoded(world: World) -> None:
    name = "prod/eu 100% ü?#"
    world.there.protect_environment(REPOSITORY, name, ["ann"])
    assert name in json.loads(world.here.check_place(target_of(name))["environments"])


@pytest.mark.parametrize(
    ("place", "seats"),
    [
        ({"repository": "ml-deploy"}, ("champion",)),
        ({"repository": "a/b/c"}, ("champion",)),
        ({"repository": "a/.."}, ("champion",)),
        ({"repository": "a/b?x"}, ("champion",)),
        ({"workflow": "../x.yml"}, ("champion",)),
        ({"workflow": "gate.txt"}, ("champion",)),
        ({"ref": "main?x"}, ("champion",)),
        ({"ref": "a..b"}, ("champion",)),
        ({"owner_id": "x"}, ("champion",)),
        ({}, ("..",)),
        ({}, (" ",)),
        ({}, ("champion", "Champion")),
        ({}, ("a\nb",)),
    ],
)
def test_names_are_checked_before_they_enter_a_url(
    world: World, place: dict[str, str], seats: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidNameError):
        world.here.check_place(target_of(*seats, **place))
    assert world.there.faults.requests == []


def test_an_unreachable_github_is_no_unsafe_place(world: World) -> None:
    world.there.faults.add("/environments/", status=502)
    with pytest.raises(VendorUnavailableError):
        world.here.check_place(target_of())


def test_a_login_becomes_its_number_in_whatever_case(world: World) -> None:
    person = world.here.find_person(target_of(), "ANN")
    assert (person.login, person.user_id) == ("ann", str(world.there.state.user("ann").id))


@pytest.mark.parametrize("login", ["nobody", "example", "champion-gate[bot]"])
def test_nobody_an_organization_and_a_bot_are_no_persons(world: World, login: str) -> None:
    with pytest.raises(VendorNotFoundError):
        world.here.find_person(target_of(), login)


@pytest.mark.parametrize("login", ["", "a/b", "../user", "a b", "ann?x"])
def test_what_is_no_login_is_not_asked_for(world: World, login: str) -> None:
    with pytest.raises(InvalidNameError):
        world.here.find_person(target_of(), login)
    assert world.there.faults.requests == []


def test_an_app_that_is_not_installed_does_not_make_a_person_unknown(world: World) -> None:
    world.there.state.apps[0].repositories = {"example/other"}
    with pytest.raises(UnsafeTargetError, match="not installed"):
        world.here.find_person(target_of(), "ann")


def test_a_pinned_environment_that_was_made_anew_is_unsafe(world: World) -> None:
    pinned = str(world.there.state.repository(REPOSITORY).environments["champion"].id)
    target = target_of(**{"environment_id:champion": pinned})
    world.here.check_place(target)
    world.there.delete_environment(REPOSITORY, "champion")
    world.there.protect_environment(REPOSITORY, "champion", ["ann"])
    with pytest.raises(UnsafeTargetError, match="made anew"):
        world.here.check_place(target)


@pytest.mark.parametrize("kind", ["app", "token"])
def test_the_previous_serve_until_the_new_ones_are_taken(kind: str) -> None:
    with github_world(credentials=kind) as world:
        good, bad = credentials_of(world, kind)
        here = GitHub(
            url=world.url, credentials=bad, previous=good, clock=world.clock, sleep=world.pauses.append
        )
        here.check_place(target_of())
        here.close()
        alone = GitHub(url=world.url, credentials=bad, clock=world.clock, sleep=world.pauses.append)
        with pytest.raises(UnsafeTargetError):
            alone.check_place(target_of())
        alone.close()


def test_what_has_not_changed_of_a_place_is_not_told_again_and_every_change_is(world: World) -> None:
    journal = Journal()
    journal.listen(world.there.app)
    pins = world.here.check_place(target_of())
    assert journal.counted
    journal.calls.clear()
    assert world.here.check_place(target_of()) == pins
    assert (len(journal.calls), journal.counted) == (5, 0)
    journal.calls.clear()
    world.clock.move(hours=1)  # the App makes itself another token
    assert world.here.check_place(target_of()) == pins
    assert sum(REPOSITORY in call.line and "installation" not in call.line for call in journal.calls) == 5
    assert journal.counted == len(journal.calls)
    world.there.protect_environment(REPOSITORY, "champion", ["ann"], branch_policy="*")
    with pytest.raises(UnsafeTargetError, match="restrict its deployment branches"):
        world.here.check_place(target_of())
    world.there.delete_environment(REPOSITORY, "champion")
    with pytest.raises(UnsafeTargetError, match="has no environment"):
        world.here.check_place(target_of())


def test_two_places_whose_calls_are_refused_together_go_on_with_the_previous_key(world: World) -> None:
    """Each makes a token of its own, and the second refusal must not lead back to the first key."""
    world.there.add_repository("example/other")
    world.there.protect_branch("example/other")
    world.there.protect_environment("example/other", "champion", ["ann"])
    good, bad = credentials_of(world, "app")
    here = GitHub(url=world.url, credentials=bad, previous=good, clock=world.clock, sleep=world.pauses.append)
    held_up = world.there.faults.add("/installation$", hang=30, times=2)
    places = [target_of(), target_of(repository="example/other")]
    with ThreadPoolExecutor(2) as pool:
        checked = [pool.submit(here.check_place, place) for place in places]
        until(lambda: held_up.hits == 2, "both were signed with the new key")
        held_up.released.set()
        pins = [each.result()["repository_id"] for each in checked]
    here.close()
    assert len(set(pins)) == 2
