"""Claims tables: what must be there and fit, claim by claim, for both vendors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.adapters.github import id_token as oidc_github
from champion_gate.adapters.gitlab import id_token as oidc_gitlab
from champion_gate.adapters.oidc.ci_jobs import ClaimsTable
from champion_gate.adapters.oidc.tokens import ClaimsError, SignedClaims
from champion_gate.domain.promotion import Phase, Promotion
from claims_samples import GITHUB_PINS, GITLAB_PINS, github, github_claims, gitlab, gitlab_claims


def refuses(table: ClaimsTable, claims: SignedClaims, promotion: Promotion) -> str:
    with pytest.raises(ClaimsError) as caught:
        table.check(claims, promotion)
    return str(caught.value)


# --- what passes ------------------------------------------------------------------------------------------


def test_githubs_own_claims_pass_and_name_the_job() -> None:
    oidc_github.TABLE.check(github_claims(), github())
    job = oidc_github.TABLE.identity(github_claims(), github())
    assert (job.run_id, job.job_id, job.attempt, job.seat) == ("9000", "31", 1, "champion")
    assert oidc_github.TABLE.unknown(github_claims()) == ()


def test_gitlabs_own_claims_pass_and_name_the_job() -> None:
    oidc_gitlab.TABLE.check(gitlab_claims(), gitlab())
    job = oidc_gitlab.TABLE.identity(gitlab_claims(), gitlab())
    assert (job.run_id, job.job_id, job.attempt, job.user_id) == ("9000", "61", 1, "31")
    assert oidc_gitlab.TABLE.unknown(gitlab_claims()) == ()


def test_github_does_not_tell_upper_from_lower_case_in_names() -> None:
    file = "Example/ML-Deploy/.github/workflows/champion-gate.yml@refs/heads/main"
    claims = github_claims(
        environment="AUDIT", repository="Example/ML-Deploy", workflow_ref=file, job_workflow_ref=file
    )
    oidc_github.TABLE.check(claims, github())
    assert oidc_github.TABLE.identity(claims, github()).seat == "Audit"


def test_without_a_check_run_id_a_job_is_known_by_run_and_environment() -> None:
    job = oidc_github.TABLE.identity(github_claims(check_run_id=...), github())
    assert job.job_id == "9000/champion"


@pytest.mark.parametrize("sub", [..., "", "anything", "repo:evil/evil:ref:refs/heads/main"])
def test_sub_is_never_looked_at(sub: object) -> None:
    oidc_github.TABLE.check(github_claims(sub=sub), github())
    oidc_gitlab.TABLE.check(gitlab_claims(sub=sub), gitlab())


# --- each claim -------------------------------------------------------------------------------------------

GITHUB_REQUIRED = [*oidc_github.TABLE.checked, *oidc_github.TABLE.demanded]
GITLAB_REQUIRED = [*oidc_gitlab.TABLE.checked, *oidc_gitlab.TABLE.demanded]


@pytest.mark.parametrize("claim", GITHUB_REQUIRED)
@pytest.mark.parametrize("value", [..., None, "", 1, True, ["x"], {}])
def test_github_a_required_claim_that_is_missing_or_no_text_refuses(claim: str, value: object) -> None:
    assert claim in refuses(oidc_github.TABLE, github_claims(**{claim: value}), github())


@pytest.mark.parametrize("claim", GITLAB_REQUIRED)
@pytest.mark.parametrize("value", [..., None, "", 42, True, ["x"], {}])
def test_gitlab_a_required_claim_that_is_missing_or_no_text_refuses(claim: str, value: object) -> None:
    assert claim in refuses(oidc_gitlab.TABLE, gitlab_claims(**{claim: value}), gitlab())


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("repository_id", "1002"),
        ("repository_id", "01001"),
        ("repository_owner_id", "78"),
        ("repository", "example/other"),
        ("event_name", "pull_request_target"),
        ("event_name", "push"),
        ("event_name", "workflow_run"),
        ("ref", "refs/heads/main2"),
        ("ref", "main"),
        ("ref", "refs/tags/main"),
        ("ref_type", "tag"),
        ("workflow_ref", "example/ml-deploy/.github/workflows/other.yml@refs/heads/main"),
        ("workflow_ref", "example/ml-deploy/.github/workflows/champion-gate.yml@refs/heads/evil"),
        ("workflow_ref", "example/ml-deploy/.github/workflows/champion-gate.yml@refs/tags/main"),
        ("workflow_ref", "evil/evil/.github/workflows/champion-gate.yml@refs/heads/main"),
        ("workflow_ref", "x/example/ml-deploy/.github/workflows/champion-gate.yml@refs/heads/main"),
        ("workflow_ref", "example/ml-deploy/.github/workflows/CHAMPION-gate.yml@refs/heads/main"),
        ("job_workflow_ref", "evil/shared/.github/workflows/champion-gate.yml@refs/heads/main"),
        ("job_workflow_ref", "example/ml-deploy/.github/workflows/reusable.yml@refs/heads/main"),
        ("environment", "staging"),
        ("environment", "champion "),
        ("run_id", "9001"),
        ("run_attempt", "2"),
        ("run_attempt", "01"),
        ("actor_id", "556"),
    ],
)
def test_github_a_claim_of_something_else_refuses(claim: str, value: str) -> None:
    assert claim in refuses(oidc_github.TABLE, github_claims(**{claim: value}), github())


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("project_id", "43"),
        ("namespace_id", "8"),
        ("job_project_id", "43"),
        ("job_namespace_id", "8"),
        ("pipeline_id", "9001"),
        ("pipeline_source", "web"),
        ("pipeline_source", "api"),
        ("pipeline_source", "merge_request_event"),
        ("job_id", "x"),
        ("ref", "evil"),
        ("ref_type", "tag"),
        ("ref_path", "refs/tags/main"),
        ("ref_path", "main"),
        ("ref_protected", "false"),
        ("environment", "Champion"),
        ("environment", "staging"),
        ("environment_protected", "false"),
        ("environment_action", "access"),
        ("ci_config_ref_uri", "gitlab.example.com/evil/evil//.gitlab-ci.yml@refs/heads/main"),
        ("ci_config_ref_uri", "gitlab.example.com/example/ml-deploy//.gitlab-ci.yml@refs/heads/evil"),
        ("ci_config_ref_uri", "gitlab.example.com/example/ml-deploy//evil.yml@refs/heads/main"),
        ("user_id", "555"),
        ("user_id", "31a"),
        ("user_id", "٣١"),
    ],
)
def test_gitlab_a_claim_of_something_else_refuses(claim: str, value: str) -> None:
    assert claim in refuses(oidc_gitlab.TABLE, gitlab_claims(**{claim: value}), gitlab())


@pytest.mark.parametrize("claim", sorted(oidc_gitlab.TABLE.optional))
def test_gitlab_what_older_versions_do_not_say_is_not_missed_but_is_never_null(claim: str) -> None:
    oidc_gitlab.TABLE.check(gitlab_claims(**{claim: ...}), gitlab())
    refuses(oidc_gitlab.TABLE, gitlab_claims(**{claim: None}), gitlab())


def test_a_merge_request_of_a_fork_cannot_lend_its_project() -> None:
    fork = {"project_id": "900", "namespace_id": "901"}
    refuses(oidc_gitlab.TABLE, gitlab_claims(**fork), gitlab())
    lent = {"job_project_id": "900", "job_namespace_id": "901"}
    refuses(oidc_gitlab.TABLE, gitlab_claims(**lent), gitlab())


# --- Free tier --------------------------------------------------------------------------------------------


def test_an_unprotected_environment_passes_only_where_the_gate_relies_on_the_branch() -> None:
    claims = gitlab_claims(environment_protected="false")
    oidc_gitlab.TABLE.check(claims, gitlab(protection="branch"))
    refuses(oidc_gitlab.TABLE, gitlab_claims(environment_protected="maybe"), gitlab(protection="branch"))
    refuses(oidc_gitlab.TABLE, claims, gitlab(protection=""))


@pytest.mark.parametrize("level", [..., "developer", "Maintainer", None, 40])
def test_with_a_branch_only_the_player_has_a_role_or_a_name(level: object) -> None:
    claims = gitlab_claims(user_access_level=level)
    refuses(oidc_gitlab.TABLE, claims, gitlab(protection="branch"))
    oidc_gitlab.TABLE.check(claims, gitlab(protection="branch", approvers="30,31"))
    oidc_gitlab.TABLE.check(claims, gitlab())


def test_with_approvers_a_role_is_not_enough() -> None:
    refuses(oidc_gitlab.TABLE, gitlab_claims(), gitlab(protection="branch", approvers="3,310"))


# --- what a promotion lacks -------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", [key for key in GITHUB_PINS if key != "bot_login"])
def test_github_nothing_fits_a_pin_that_is_missing(pin: str) -> None:
    for empty in ("", "None"):
        refuses(oidc_github.TABLE, github_claims(), github(**{pin: empty}))


@pytest.mark.parametrize("pin", [key for key in GITLAB_PINS if key not in {"job", "approvers", "protection"}])
def test_gitlab_nothing_fits_a_pin_that_is_missing(pin: str) -> None:
    refuses(oidc_gitlab.TABLE, gitlab_claims(), gitlab(**{pin: ""}))


@pytest.mark.parametrize("table", [oidc_github.TABLE, oidc_gitlab.TABLE])
def test_nothing_fits_a_promotion_without_a_request_or_one_that_ended_without_its_id(
    table: ClaimsTable,
) -> None:
    is_github = table is oidc_github.TABLE
    claims, promotion = (github_claims(), github()) if is_github else (gitlab_claims(), gitlab())
    refuses(table, claims, replace(promotion, request=None))
    assert promotion.request is not None
    untold = replace(promotion, request=replace(promotion.request, external_id=None))
    refuses(table, claims, replace(untold, phase=Phase.CANCELLED))
    table.check(claims, replace(untold, phase=Phase.REQUESTED))


@pytest.mark.parametrize("table", [oidc_github.TABLE, oidc_gitlab.TABLE])
def test_the_run_of_another_start_fits_while_it_may_be_heard(table: ClaimsTable) -> None:
    is_github = table is oidc_github.TABLE
    claims, promotion = (github_claims(), github()) if is_github else (gitlab_claims(), gitlab())
    assert promotion.request is not None
    other = replace(
        promotion, phase=Phase.PENDING_APPROVAL, request=replace(promotion.request, external_id="1")
    )
    assert other.request is not None
    refuses(table, claims, other)
    twice = replace(other, request=replace(other.request, starts=2))
    table.check(claims, twice)
    refuses(table, claims, replace(twice, phase=Phase.REJECTED))


# --- tables -----------------------------------------------------------------------------------------------


def test_an_empty_table_lets_nothing_pass() -> None:
    empty = ClaimsTable(identity=oidc_github.TABLE.identity, checked={})
    assert "nothing is known" in refuses(empty, github_claims(), github())


def test_a_new_claim_is_reported_and_does_not_refuse() -> None:
    claims = github_claims(enterprise_guard="x", a_new_one=1)
    oidc_github.TABLE.check(claims, github())
    assert oidc_github.TABLE.unknown(claims) == ("a_new_one", "enterprise_guard")


@pytest.mark.parametrize("table", [oidc_github.TABLE, oidc_gitlab.TABLE])
def test_no_claim_is_in_two_lists_and_sub_is_in_none_that_checks(table: ClaimsTable) -> None:
    lists = [set(table.checked), table.demanded, set(table.optional), table.unchecked]
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert "sub" in table.unchecked


def test_a_refusal_never_repeats_a_value() -> None:
    said = refuses(oidc_github.TABLE, github_claims(environment="do-not-repeat-me"), github())
    assert "do-not-repeat-me" not in said
    assert "champion" not in said


@given(claim=st.sampled_from(sorted(GITHUB_REQUIRED)), value=st.text(min_size=1, max_size=60))
def test_github_any_other_value_refuses(claim: str, value: str) -> None:
    good = github_claims()
    if claim == "sha" or value.casefold() in {str(good[claim]).casefold(), "audit"}:
        return
    refuses(oidc_github.TABLE, github_claims(**{claim: value}), github())


@given(claim=st.sampled_from(sorted(GITLAB_REQUIRED)), value=st.text(min_size=1, max_size=60))
def test_gitlab_any_other_value_refuses(claim: str, value: str) -> None:
    if claim in {"sha", "job_id", "user_id"} or value == gitlab_claims()[claim]:
        return
    refuses(oidc_gitlab.TABLE, gitlab_claims(**{claim: value}), gitlab())
