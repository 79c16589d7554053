"""What a gate says about GitLab, who an access rule means, and which trigger token a list shows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.adapters.gitlab.auth import is_shown_as, tokens_of
from champion_gate.adapters.gitlab.models import AccessLevel, gitlab
from champion_gate.adapters.gitlab.people import AccessRule
from champion_gate.adapters.gitlab.secrets import GitLabTokens
from champion_gate.adapters.gitlab.settings import GitLabPlace, Protection
from champion_gate.adapters.http.answer import Answer
from champion_gate.domain.gates import Account
from champion_gate.domain.vendors import StoredPlace
from champion_gate.errors import InvalidNameError, VendorUnavailableError


def place_of(**words: str) -> GitLabPlace:
    return GitLabPlace.of(StoredPlace(stored=words, names=("champion",)))


# --- places -----------------------------------------------------------------------------------------------


def test_a_place_has_defaults() -> None:
    spot = place_of(project="42")
    assert (spot.ref, spot.job, spot.environment) == ("main", "approve", "champion")
    assert (spot.protection, spot.approvers, spot.bot) == (Protection.ENVIRONMENT, (), None)


def test_a_place_is_read_whole() -> None:
    spot = place_of(
        project="42",
        ref="refs/heads/release/1.x",
        job="decide",
        environment="prod/champion",
        protection="branch",
        approvers="ann, b.ob:42,",
        bot="gate_robot",
        namespace_id="7",
    )
    assert (spot.ref, spot.job, spot.environment) == ("release/1.x", "decide", "prod/champion")
    assert spot.protection is Protection.BRANCH
    assert spot.approvers == (Account("ann"), Account("b.ob", "42"))
    assert (spot.bot, spot.wanted_ids) == ("gate_robot", {"namespace_id": "7"})


@given(project=st.text(max_size=20))
def test_a_project_is_its_number(project: str) -> None:
    if project.isascii() and project.isdecimal() and not project.startswith("0") and len(project) <= 19:
        assert place_of(project=project).project == int(project)
    else:
        with pytest.raises(InvalidNameError):
            place_of(project=project)


# --- access rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ({"access_level": 40, "user_id": None, "group_id": None}, AccessRule("role", 40)),
        ({"access_level": 40, "user_id": 5, "group_id": None}, AccessRule("user", 5)),
        ({"access_level": 40, "group_id": 6, "group_inheritance_type": 0}, AccessRule("group", 6)),
        ({"access_level": 40, "group_id": 6, "group_inheritance_type": 1}, AccessRule("group", 6, True)),
        ({"access_level": 40, "deploy_key_id": 7}, AccessRule("deploy key", 7)),
        ({"access_level": 40, "required_approvals": 2}, AccessRule("role", 40, approvals=2)),
    ],
)
def test_an_entry_names_one_person_group_key_or_role(entry: dict[str, object], rule: AccessRule) -> None:
    assert AccessRule.of(gitlab.one(AccessLevel, entry, "entry")) == rule


@pytest.mark.parametrize("entry", [{}, {"access_level": None}, {"access_level": "40"}, {"user_id": True}])
def test_an_entry_that_names_nobody_cannot_be_read(entry: dict[str, object]) -> None:
    with pytest.raises(VendorUnavailableError):
        AccessRule.of(gitlab.one(AccessLevel, entry, "entry"))


@pytest.mark.parametrize(
    ("rule", "admits"),
    [
        (AccessRule("role", 0), False),
        (AccessRule("role", 10), True),
        (AccessRule("role", 30), True),
        (AccessRule("role", 39), True),
        (AccessRule("role", 40), False),
        (AccessRule("role", 60), False),
        (AccessRule("user", 30), False),
        (AccessRule("group", 30), False),
    ],
)
def test_roles_below_maintainer_admit_developers(rule: AccessRule, admits: bool) -> None:
    assert rule.admits_developers is admits


# --- trigger tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "shown", "ours"),
    [
        ("glptt-0123456789abcdef", "glptt-0123456789abcdef", True),
        ("glptt-0123456789abcdef", "0123", True),
        ("glptt-0123456789abcdef", "glpt", True),
        ("acme-glptt-0123456789", "0123", True),
        ("0123456789abcdef", "0123", True),
        ("glptt-0123456789abcdef", "1234", False),
        ("glptt-0123456789abcdef", "", False),
        ("glptt-0123456789abcdef", "012", False),
        ("glptt-0123456789abcdef", "01234", False),
    ],
)
def test_a_trigger_token_is_known_whole_or_by_its_first_four_characters(
    token: str, shown: str, ours: bool
) -> None:
    assert is_shown_as(token, shown) is ours


def test_pipelines_are_started_by_the_trigger_token_where_there_is_one() -> None:
    both = GitLabTokens(read_token="r", trigger_token="t", api_token="a")
    assert tokens_of(both, None).source == "trigger"
    assert tokens_of(GitLabTokens(read_token="r", api_token="a"), None).source == "api"
    assert "'t'" not in repr(tokens_of(both, None))


# --- what GitLab says of errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": {"base": ["Reference not found"]}}, "Reference not found"),
        ({"message": "403 Forbidden"}, "403 Forbidden"),
        ({"error": "insufficient_scope", "error_description": "needs more"}, "needs more"),
        ({"error": "ref is missing"}, "ref is missing"),
        ({"message": None}, "null"),
        (["x"], ""),
        ("x", ""),
        ({}, ""),
    ],
)
def test_gitlabs_own_words_are_passed_on(body: object, words: str) -> None:
    answer = Answer("GitLab", "POST /x", 400, {}, json.dumps(body).encode(), may_have_acted=True)
    assert words in answer.message()


@pytest.mark.parametrize(
    "secret", ["glpat-abc.01.x_y-z", "glptt-0123456789abcdef", "glcbt-64_abc", "whsec_MfKQ9r8GKYqrTw"]
)
def test_gitlabs_secrets_are_taken_out_of_messages(secret: str) -> None:
    body = json.dumps({"message": {"base": [f"token {secret} and {secret}, {secret}"]}}).encode()
    assert secret not in Answer("GitLab", "GET /x", 400, {}, body, may_have_acted=False).message()
