"""The attack list, 5 to 13, 21 and 22, as far as it is about ID tokens: forged, replayed, another's, redirected.

Every token is posted to the running service over HTTP. A token is only ever a hint, so that even one that is
accepted approves nothing; most of these are refused, and answer and log say why.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests

from champion_gate_standins.gitlab.state import RefusedError
from integration.attack_tokens import claims_of, evil_issuer, forged
from integration.attack_world import AttackWorld, at_once
from integration.attacked_gate import AUDIENCE, EACH_KIND
from integration.attacked_places import OnGitHub, OnGitLab

pytestmark = [
    pytest.mark.part("full", "gitlab-free"),
    pytest.mark.part("rest", "gitlab"),
    pytest.mark.spread(4),
]

pytest_plugins = ("integration.attack_fixtures",)

BOTH = ("github", "gitlab")
TEMPLATES = Path(__file__).parents[2] / "deploy"


# --- 8: replayed ------------------------------------------------------------------------------------------


@pytest.mark.part("full", "gitlab")
@pytest.mark.parametrize("kind", BOTH)
def test_attack_08_one_token_posted_fifty_times_at_once_has_one_effect(
    attacked: AttackWorld, kind: str
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    gate.approve(asked)
    token = gate.token(asked)
    answers = at_once([lambda: gate.post(asked, token)] * 50)
    assert {answer.status_code for answer in answers} <= {200, 202}
    gate.promotes(asked)
    changes = [line for line in gate.ledger() if line.entry.facts.get("to") == asked.version]
    assert len(changes) == 1
    again = at_once([lambda: gate.post(asked, token)] * 20)
    assert {(answer.status_code, answer.json()["phase"]) for answer in again} == {(200, "promoted")}
    gate.promotes(asked)


@pytest.mark.parametrize("kind", BOTH)
def test_attack_08_a_token_raced_to_another_promotion(attacked: AttackWorld, kind: str) -> None:
    gate, (other, victim) = attacked.gate(kind), attacked.asked(kind)
    asked = gate.ask()
    gate.approve(asked)
    token = gate.token(asked)
    answers = at_once([lambda: other.post(victim, token), lambda: gate.post(asked, token)] * 12)
    assert {answer.status_code for answer in answers[::2]} == {401}
    assert {answer.status_code for answer in answers[1::2]} <= {200, 202}
    gate.promotes(asked)
    other.refused_post(victim, token, "does not fit this promotion")
    other.waits(victim, "Waiting for people to decide")


@pytest.mark.parametrize("kind", EACH_KIND)
def test_attack_08_a_long_lived_token_after_the_end_and_at_the_next_request(
    attacked: AttackWorld, kind: str
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    gate.approve(asked, "octo-trainer")
    token = forged(gate, gate.token(asked), exp=2_000_000_000 * 2)
    gate.ends(asked, "rejected", "is behind this version")
    answers = at_once([lambda: gate.post(asked, token)] * 20)
    assert {answer.status_code for answer in answers} == {409}
    assert {answer.json()["code"] for answer in answers} == {"promotion_ended"}
    following = gate.ask()
    gate.refused_post(following, token, "does not fit this promotion")
    gate.waits(following, "Waiting for people to decide")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_08_a_right_token_before_anybody_approved_decides_nothing(
    attacked: AttackWorld, kind: str
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    token = gate.token(asked)
    with pytest.raises(requests.ReadTimeout):
        gate.post(asked, token, timeout=1)
    answers = at_once([lambda: gate.post(asked, token)] * 20)
    assert {(answer.status_code, answer.json()["phase"]) for answer in answers} == {(202, "pending_approval")}
    gate.waits(asked, "Waiting for people to decide")


TIMES: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": 1_700_000_000}, "it has expired"),
    "not valid yet": ({"nbf": 4_000_000_000}, "it is not valid yet"),
    "issued in the future": ({"iat": 4_000_000_000}, "it is not valid yet"),
    "no expiry": ({"exp": None}, "there is no claim exp"),
    "no id": ({"jti": None}, "there is no claim jti"),
    "an empty id": ({"jti": ""}, "claim jti is no id"),
    "an endless id": ({"jti": "x" * 300}, "claim jti is no id"),
}


@pytest.mark.part("rest", "gitlab", "not valid", "issued in", "no expiry", "an empty", "an endless")
@pytest.mark.parametrize(("claims", "words"), TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("kind", BOTH)
def test_attack_08_a_token_that_is_too_old_or_cannot_be_told_from_others(
    attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str
) -> None:
    gate, asked = attacked.asked(kind)
    gate.refused_post(asked, gate.token(asked, **claims), words)


# --- 9, 10: made for others, by others --------------------------------------------------------------------

AUDIENCES: dict[str, object] = {
    "a list": [AUDIENCE],
    "a list with ours": ["https://other.example.com", AUDIENCE],
    "another service": "https://vault.example.com",
    "one that begins like ours": f"{AUDIENCE}.evil.example.com",
    "a beginning of ours": AUDIENCE[:-1],
    "in another case": AUDIENCE.upper(),
}


@pytest.mark.part("rest", "gitlab", "with ours", "another service", "a beginning", "in another case")
@pytest.mark.parametrize("audience", AUDIENCES.values(), ids=AUDIENCES)
@pytest.mark.parametrize("kind", BOTH)
def test_attack_09_a_token_for_another_audience(attacked: AttackWorld, kind: str, audience: object) -> None:
    gate, asked = attacked.asked(kind)
    gate.refused_post(asked, forged(gate, gate.token(asked), aud=audience), "audience")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_09_a_token_for_no_audience(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    gate.refused_post(asked, forged(gate, gate.token(asked), aud=None), "there is no claim aud")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_10_an_issuer_spelt_otherwise(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    ours = gate.issuer.issuer
    spellings = [
        f"{ours}/",
        ours.replace("127.0.0.1", "localhost"),
        ours.upper(),
        f"{ours}#",
        f"{ours}/enterprise",
    ]
    for issuer in [*spellings, "", [ours], None]:
        token = forged(gate, gate.token(asked), iss=issuer)
        gate.refused_post(asked, token, "its issuer is not one that is configured")


@pytest.mark.parametrize("kind", BOTH)
def test_attack_10_an_issuer_of_the_attackers_own(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    with evil_issuer() as (evil, requests_seen):
        token = evil.sign(claims_of(gate.token(asked)) | {"iss": evil.issuer}, lifetime=300, not_before=5)
        gate.refused_post(asked, token, "its issuer is not one that is configured")
        token = evil.sign(claims_of(gate.token(asked)), lifetime=300, not_before=5)
        gate.refused_post(asked, token, "its issuer has no such key")
        assert requests_seen == [], "an issuer that nobody configured is not even asked"


@pytest.mark.parametrize("kind", BOTH)
def test_attack_10_the_other_vendors_issuer_signs_for_this_one(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    other = attacked.gate("gitlab" if kind == "github" else "github")
    claims = claims_of(gate.token(asked))
    token = other.issuer.sign(
        claims_of(gate.token(asked)) | {"iss": other.issuer.issuer}, lifetime=300, not_before=5
    )
    gate.refused_post(asked, token, "its issuer is not that of this promotion's provider")
    token = other.issuer.sign(claims | {"iss": gate.issuer.issuer}, lifetime=300, not_before=5)
    gate.refused_post(asked, token, "its issuer has no such key")


# --- 5, 6, 12, 13, 21: claims of something else -----------------------------------------------------------

WORKFLOW = "/.github/workflows/champion-gate.yml@refs/heads/main"
CLAIMS: list[tuple[str, str, dict[str, Any], str]] = [
    ("05_other_branch", "github", {"ref": "refs/heads/feature"}, "ref"),
    ("05_tag", "github", {"ref": "refs/tags/main", "ref_type": "tag"}, "ref"),
    ("05_tag_type", "github", {"ref_type": "tag"}, "ref_type"),
    ("05_other_workflow", "github", {"workflow_ref": "example/x/.github/workflows/other.yml@refs/heads/main"}, "workflow_ref"),
    ("05_file_named_like_a_ref", "github", {"workflow_ref": f"example/x{WORKFLOW}/evil.yml@refs/heads/main"}, "workflow_ref"),
    ("05_other_environment", "github", {"environment": "champion-2"}, "environment"),
    ("05_no_environment", "github", {"environment": None}, "environment"),
    ("05_other_actor", "github", {"actor_id": "4711"}, "actor_id"),
    ("05_other_branch", "gitlab", {"ref": "feature", "ref_path": "refs/heads/feature"}, "ref"),
    ("05_tag", "gitlab", {"ref_type": "tag", "ref_path": "refs/tags/main"}, "ref_type"),
    ("05_unprotected_ref", "gitlab", {"ref_protected": "false"}, "ref_protected"),
    ("05_other_environment", "gitlab", {"environment": "Champion"}, "environment"),
    ("05_unprotected_environment", "gitlab", {"environment_protected": "false"}, "environment_protected"),
    ("05_no_environment", "gitlab", {"environment": None}, "environment"),
    ("05_other_action", "gitlab", {"environment_action": "prepare"}, "environment_action"),
    ("06_reusable_workflow_of_others", "github", {"job_workflow_ref": f"evil/shared{WORKFLOW}"}, "job_workflow_ref"),
    ("06_called_by_another_workflow", "github", {"workflow_ref": f"example/caller{WORKFLOW}"}, "workflow_ref"),
    ("06_no_job_workflow", "github", {"job_workflow_ref": None}, "job_workflow_ref"),
    ("06_other_config", "gitlab", {"ci_config_ref_uri": "gitlab.com/evil/x//.gitlab-ci.yml@refs/heads/main"}, "ci_config_ref_uri"),
    ("06_no_config", "gitlab", {"ci_config_ref_uri": None}, "ci_config_ref_uri"),
    ("07_second_attempt", "github", {"run_attempt": "2"}, "run_attempt"),
    ("07_number_for_text", "github", {"run_attempt": 1}, "run_attempt"),
    ("12_resurrected_repository", "github", {"repository_id": "4711"}, "repository_id"),
    ("12_resurrected_owner", "github", {"repository_owner_id": "4711"}, "repository_owner_id"),
    ("12_renamed_repository", "github", {"repository": "example/renamed"}, "repository"),
    ("12_no_repository_id", "github", {"repository_id": None}, "repository_id"),
    ("12_resurrected_project", "gitlab", {"project_id": "4711", "job_project_id": "4711"}, "project_id"),
    ("12_resurrected_namespace", "gitlab", {"namespace_id": "4711"}, "namespace_id"),
    ("12_no_namespace", "gitlab", {"namespace_id": None}, "namespace_id"),
    ("13_push", "github", {"event_name": "push"}, "event_name"),
    ("13_pull_request_target", "github", {"event_name": "pull_request_target"}, "event_name"),
    ("13_schedule", "github", {"event_name": "schedule"}, "event_name"),
    ("13_no_event", "github", {"event_name": None}, "event_name"),
    ("13_push", "gitlab", {"pipeline_source": "push"}, "pipeline_source"),
    ("13_merge_request", "gitlab", {"pipeline_source": "merge_request_event"}, "pipeline_source"),
    ("13_by_hand", "gitlab", {"pipeline_source": "web"}, "pipeline_source"),
    ("21_fork_runs_elsewhere", "gitlab", {"job_project_id": "4711"}, "job_project_id"),
    ("21_fork_namespace", "gitlab", {"job_namespace_id": "4711"}, "job_namespace_id"),
    ("21_fork_claims_runs_here", "gitlab", {"project_id": "4711", "namespace_id": "4712"}, "id"),
    ("21_fork_merge_request", "gitlab", {"pipeline_source": "merge_request_event", "ref_type": "merge_request"}, "pipeline_source"),
]  # fmt: skip


def of_entry(number: str) -> pytest.MarkDecorator:
    """The cases of one entry of the attack list; all but the first two are left to `make test-all`."""
    cases = [each for each in CLAIMS if each[0].startswith(number)]
    named = [
        pytest.param(
            *each[1:],
            id=f"{each[0]}-{each[1]}",
            marks=pytest.mark.part("quick" if at < 2 else "rest"),
        )
        for at, each in enumerate(cases)
    ]
    return pytest.mark.parametrize(("kind", "claims", "words"), named)


def refused_claims(attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str) -> None:
    gate, asked = attacked.asked(kind)
    gate.refused_post(asked, forged(gate, gate.token(asked), **claims), words)
    gate.waits(asked, "Waiting for people to decide")


@of_entry("05")
def test_attack_05_the_token_of_another_workflow_branch_tag_or_environment(
    attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str
) -> None:
    refused_claims(attacked, kind, claims, words)


@of_entry("06")
def test_attack_06_the_token_of_a_reusable_workflow_or_included_file(
    attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str
) -> None:
    refused_claims(attacked, kind, claims, words)


@of_entry("07")
def test_attack_07_the_token_of_another_attempt(
    attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str
) -> None:
    refused_claims(attacked, kind, claims, words)


@of_entry("12")
def test_attack_12_the_token_of_a_resurrected_repository_or_account(
    attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str
) -> None:
    refused_claims(attacked, kind, claims, words)


@of_entry("13")
def test_attack_13_the_token_of_another_trigger(
    attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str
) -> None:
    refused_claims(attacked, kind, claims, words)


@of_entry("21")
def test_attack_21_the_token_of_a_fork(
    attacked: AttackWorld, kind: str, claims: dict[str, Any], words: str
) -> None:
    refused_claims(attacked, kind, claims, words)


SUBJECTS = {
    "immutable": "repo:example@17000000007/gate@17000000008:environment:champion",
    "customised": "anything:at:all",
    "absent": None,
}


@pytest.mark.part("rest", "gitlab", "customised", "absent")
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_attack_12_sub_is_never_looked_at(attacked: AttackWorld, kind: str, subject: str | None) -> None:
    """Neither a new form of it refuses an honest job, nor does a right one help a dishonest one."""
    gate, (other, victim) = attacked.gate(kind), attacked.asked(kind)
    asked = gate.ask()
    other.refused_post(victim, gate.token(asked, sub=claims_of(other.token(victim))["sub"]), "does not fit")
    gate.approve(asked)
    assert gate.post(asked, gate.token(asked, sub=subject)).status_code == 200
    gate.promotes(asked)


def test_attack_12_github_repository_deleted_and_made_anew_under_its_name(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.approve(asked)
    gate.there.repository(gate.repository).id += 5_000_000
    gate.refused_post(asked, gate.token(asked), "claim repository_id does not fit this promotion")
    gate.waits(asked, "repository_id was")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_12_gitlab_project_moved_to_another_namespace(attacked: AttackWorld, kind: str) -> None:
    gate: OnGitLab = attacked.gate(kind)
    asked = gate.ask()
    gate.approve(asked)
    gate.project.namespace_id += 5_000_000
    gate.refused_post(asked, gate.token(asked), "claim namespace_id does not fit this promotion")
    gate.waits(asked, "was in namespace")


# --- 22: variables given when the job is played -----------------------------------------------------------


def test_attack_22_gitlab_variables_of_who_plays_the_job_do_not_lead_the_token_elsewhere() -> None:
    """Nothing in the shipped script that says where the token goes, or which token it is, is anybody's variable."""
    text = (TEMPLATES / "gitlab" / "champion-gate.gitlab-ci.yml").read_text()
    script = text[text.index("\napprove:") :]
    (url,) = re.findall(r"^ *url=(.*)$", script, re.MULTILINE)
    assert url == "'$[[ inputs.gate_url ]]/api/v1/promotions/$[[ inputs.promotion_id ]]/decision'"
    assert set(re.findall(r"\$([A-Z_]{3,})", script)) == {"GATE_TOKEN"}


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_22_gitlab_a_token_that_was_led_elsewhere_is_worth_nothing(
    attacked: AttackWorld, kind: str
) -> None:
    gate, (other, victim) = attacked.gate(kind), attacked.asked(kind)
    asked = gate.ask()
    stolen = gate.token(asked)
    variables = {"GATE_URL": "https://evil.example.com", "GATE_TOKEN": stolen, "PROMOTION": victim.id}
    with pytest.raises(RefusedError, match="403"):
        gate.there.play(gate.job(asked), "octo-trainer", variables)
    gate.there.play(gate.job(asked), "octo-trainer")
    stolen = gate.token(asked)
    other.refused_post(victim, stolen, "does not fit this promotion")
    other.waits(victim, "Waiting for people to decide")
    gate.ends(asked, "rejected", "octo-trainer does not count, who is behind this version")
    assert gate.post(asked, stolen).status_code == 409


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_22_gitlab_a_token_that_names_another_player(attacked: AttackWorld, kind: str) -> None:
    gate: OnGitLab = attacked.gate(kind)
    asked = gate.ask()
    gate.approve(asked, "octo-trainer")
    reviewer = gate.there.add_user("reviewer-1")
    answer = gate.post(asked, gate.token(asked, user_id=str(reviewer), user_login="reviewer-1"))
    assert answer.status_code == 409
    gate.ends(asked, "rejected", "octo-trainer does not count, who is behind this version")
