"""The attack list, 15, 16, 19, 20 and 23 to 25: green runs, orphans, late approvals, people who leave, bad answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from champion_gate_standins.gitlab.state import MAINTAINER
from champion_gate_standins.gitlab.state import Job as GitLabJob
from integration.attack_world import AttackWorld, at_once
from integration.attacked_gate import EACH_KIND, PEOPLE, ROBOT, Asked, AttackedGate
from integration.attacked_places import OnGitHub, OnGitLab
from integration.commands import run_command
from integration.process_world import until

pytestmark = [
    pytest.mark.part("full", "gitlab-free"),
    pytest.mark.part("rest", "gitlab"),
    pytest.mark.spread(4),
]

pytest_plugins = ("integration.attack_fixtures",)


# --- 15: green without an approval ------------------------------------------------------------------------


def test_attack_15_github_green_run_whose_gated_job_was_skipped(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.there.end_job(asked.external_id, "champion", "skipped")
    assert gate.there.run(asked.external_id).conclusion == "success"
    gate.ends(asked, "rejected", "ended without a decision for champion")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_15_gitlab_green_pipeline_whose_manual_job_is_optional(
    attacked: AttackWorld, kind: str
) -> None:
    gate: OnGitLab = attacked.gate(kind)
    gate.there.ci.allow_failure = True
    version = gate.train()
    view = gate.wait(lambda found: found["ended_at"], version)
    asked = Asked(view["id"], version, view["request"]["external_id"])
    gate.ends(asked, "rejected", "is optional (allow_failure)")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_15_gitlab_gated_job_that_was_skipped(attacked: AttackWorld, kind: str) -> None:
    gate: OnGitLab = attacked.gate(kind)
    gate.there.ci.present_status = "failed"
    version = gate.train()
    view = gate.wait(lambda found: found["phase"] == "pending_approval", version)
    asked = Asked(view["id"], version, view["request"]["external_id"])
    gate.ends_when_still_missing(asked, "rejected", "was skipped")


# --- 16: two runs -----------------------------------------------------------------------------------------

OPENING = {"github": "/dispatches$", "gitlab": "/pipeline$", "gitlab-free": "/pipeline$"}


@pytest.mark.parametrize("kind", EACH_KIND)
def test_attack_16_an_answer_that_is_lost_while_notifications_race_opens_one_run(
    attacked: AttackWorld, kind: str
) -> None:
    gate = attacked.gate(kind)
    gate.faults.add(f"{gate.path}.*{OPENING[kind]}", drop=True, carry_out=True, times=1)
    run_id = attacked.databricks.jobs.start_run(gate.job_id)
    version = gate.add_version(run_id)
    attacked.databricks.jobs.finish_run(run_id, notify=False)
    at_once([lambda: attacked.databricks.jobs.send_notification(run_id)] * 20)
    view = gate.wait(lambda found: found["phase"] == "pending_approval", version)
    asked = Asked(view["id"], version, view["request"]["external_id"])
    assert gate.open_runs() == [asked.external_id]
    assert len(gate.views()) == 1
    gate.waits(asked, "Waiting for people to decide")
    gate.approve(asked)
    gate.promotes(asked)


@pytest.mark.part("rest")
def test_attack_16_github_approval_while_the_dispatch_that_has_timed_out_is_retried(
    attacked: AttackWorld,
) -> None:
    """The answer takes longer than the service waits, and the reviewer is quicker than its second try."""
    gate: OnGitHub = attacked.gate("github")
    fault = gate.faults.add(f"{gate.path}.*/dispatches$", hang=60, carry_out=True, times=1, status=500)
    version = gate.train()
    run = until(gate.open_runs, "no run was started")[0]
    asked = Asked(gate.views()[0]["id"], version, run)
    others = [lambda: gate.hint(run)] * 10 + [lambda: gate.post(asked, "x.y.z")] * 10
    at_once([lambda: gate.approve(asked, "octo-trainer"), *others])
    view = gate.wait(lambda found: found["ended_at"], version)
    fault.released.set()
    assert (view["phase"], view["request"]["external_id"]) == ("rejected", run)
    assert gate.open_runs() in ([run], [])
    gate.ends(asked, "rejected", "octo-trainer does not count, who is behind this version")


@pytest.mark.parametrize("kind", EACH_KIND)
def test_attack_16_the_approval_of_an_orphan_that_we_started_ourselves(
    attacked: AttackWorld, kind: str
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    robot = "champion-gate[bot]" if kind == "github" else ROBOT
    orphan = replace(asked, external_id=gate.start(asked, robot))
    if kind == "github":
        gate.cancel(asked)  # else its concurrency group keeps the orphan from starting
    words = [lambda: gate.hint(orphan.external_id), lambda: gate.hint(asked.external_id)] * 8
    at_once([lambda: gate.approve(orphan), *words])
    claim = "run_id" if kind == "github" else "pipeline_id"
    gate.refused_post(asked, gate.token(orphan), f"claim {claim} does not fit this promotion")
    if kind == "github":
        gate.ends(asked, "rejected", "cancelled before every gated job was let start")
    else:
        gate.waits(asked, "Waiting for people to decide")


# --- 19: what changes meanwhile ---------------------------------------------------------------------------


def delete_version(gate: AttackedGate, asked: Asked) -> str:
    gate.world.databricks.catalog.remove_version(gate.model, asked.version)
    return "v2"


def replace_version(gate: AttackedGate, asked: Asked) -> str:
    catalog = gate.world.databricks.catalog
    catalog.remove_version(gate.model, asked.version)
    assert catalog.add_version(gate.model) == asked.version
    return "v2"


def move_champion(gate: AttackedGate, _asked: Asked) -> str:
    catalog = gate.world.databricks.catalog
    catalog.set_alias(gate.model, "Champion", catalog.add_version(gate.model))
    return "v3"


def drop_champion(gate: AttackedGate, _asked: Asked) -> str:
    gate.world.databricks.catalog.drop_alias(gate.model, "Champion")
    return "Champion"


MEANWHILE = [delete_version, replace_version, move_champion, drop_champion]


@pytest.mark.part("rest", "gitlab", "delete_version", "drop_champion")
@pytest.mark.part("full", "gitlab-delete", "gitlab-move", "gitlab-drop")
@pytest.mark.parametrize("change", MEANWHILE, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_attack_19_the_approved_thing_changed_before_the_approval(
    attacked: AttackWorld, kind: str, change: Callable[[AttackedGate, Asked], str]
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    words = change(gate, asked)
    gate.approve(asked)
    champion = gate.champion
    gate.hint(asked.external_id)
    if change is delete_version:
        gate.wait(lambda found: "is not there" in (found["last_error"] or ""), asked.version)
        gate.time_passes(asked, minutes=10)
        gate.hint(asked.external_id)
    view = gate.wait(lambda found: found["ended_at"], asked.version)
    assert view["phase"] in {"stale", "failed"}, view
    assert words in view["reason"]
    assert (gate.champion, gate.alias_writes()) == (champion, [])


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_attack_19_a_tag_written_meanwhile_does_not_redirect_the_approval(
    attacked: AttackWorld, kind: str
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    run_id = gate.view(asked)["job"]["run_id"]
    tags = {"databricks_job_run_id": run_id, "champion_gate_status": "promoted"}
    attacked.databricks.catalog.add_version(gate.model, tags=tags)
    gate.approve(asked)
    gate.promotes(asked)


# --- 20: too late -----------------------------------------------------------------------------------------


def cancel_promotion(gate: AttackedGate, asked: Asked) -> None:
    """The operator does, on the command line."""
    done = run_command(
        *("promotions", "cancel", asked.id, "--reason", "not this one"),
        environ=gate.world.environ,
        folder=gate.world.folder,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.part("rest", "gitlab", "superseded")
@pytest.mark.part("full", "gitlab-free")
@pytest.mark.parametrize("kind", EACH_KIND)
@pytest.mark.parametrize("end", ["cancelled", "superseded"])
def test_attack_20_an_approval_after_the_end(attacked: AttackWorld, kind: str, end: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    gate.faults.add(f"{gate.path}.*/cancel$", status=500)  # so that the run can still be approved
    if end == "cancelled":
        cancel_promotion(gate, asked)
    else:
        gate.ask()
    view = gate.wait(lambda found: found["ended_at"], asked.version)
    assert (view["phase"], bool(view["reason"])) == (end, True)
    gate.approve(asked)
    answers = at_once([lambda: gate.post(asked, gate.token(asked))] * 10)
    assert {answer.status_code for answer in answers} == {409}
    gate.ends(asked, end)


def test_attack_20_github_an_approval_after_a_rejection(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.there.review(asked.external_id, "champion", "reviewer-1", approve=False, comment="not yet")
    gate.there.rerun(asked.external_id, "stranger")
    gate.approve(asked, "reviewer-2")
    gate.ends(asked, "rejected", "Rejected by reviewer-1 (champion): not yet")


def test_attack_20_gitlab_a_deployment_that_is_approved_after_its_rejection(attacked: AttackWorld) -> None:
    gate: OnGitLab = attacked.gate("gitlab")
    gate.protect(approvals={MAINTAINER: 1})
    asked = gate.ask()
    first = gate.there.deployment(asked.external_id)
    gate.there.approve_deployment(first, "reviewer-1", "rejected", "not yet")
    gate.there.retry(first.job, "octo-trainer")
    gate.there.approve_deployment(gate.there.deployment(asked.external_id), "reviewer-2")
    gate.approve(asked, "reviewer-2")
    gate.ends(asked, "rejected")


# --- 23: people who leave ---------------------------------------------------------------------------------


def test_attack_23_github_who_approved_has_left_the_team(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    slug = f"owners-{gate.number}"
    team = gate.there.add_team("example", slug, ["reviewer-1", "leaver"])
    gate.protect(reviewers=[team])
    asked = gate.ask()
    gate.approve(asked, "leaver")
    gate.there.add_team("example", slug, ["reviewer-1"])
    gate.ends_when_seen_twice(
        asked, "rejected", "leaver does not count, who is not among the listed reviewers"
    )


@pytest.mark.part("rest")
def test_attack_23_github_who_approved_has_been_deleted(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    gate.protect(reviewers=["reviewer-1", "gone"])
    asked = gate.ask()
    gate.approve(asked, "gone")
    gate.there.delete_user("gone")
    gate.waits(asked, "its users changed since approval was asked for")


def test_attack_23_github_a_review_by_nobody(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    place = gate.there.repository(gate.repository).environments["champion"]
    gate.faults.add(
        f"{gate.path}.*/approvals$",
        body=f'[{{"environments": [{{"id": {place.id}, "name": "champion"}}], "state": "approved", '
        '"user": null, "comment": ""}]',
    )
    gate.approve(asked)
    view = gate.look(asked)
    assert view["phase"] in {"pending_approval", "rejected"}, view
    gate.assert_unharmed()


@pytest.mark.parametrize("how", ["blocked", "no member any more"])
@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_23_gitlab_who_played_the_job_has_left(attacked: AttackWorld, kind: str, how: str) -> None:
    gate: OnGitLab = attacked.gate(kind)
    who = f"leaver-{gate.number}"
    gate.there.add_member(gate.project, who, MAINTAINER)
    gate.protect((MAINTAINER,))
    asked = gate.ask()
    gate.approve(asked, who)
    if how == "blocked":
        gate.there.block_user(who)
    else:
        gate.there.add_member(gate.project, who, 0)
    gate.ends_when_seen_twice(asked, "rejected", f"{who} does not count")


# --- 24: answers that fail --------------------------------------------------------------------------------

ANSWERS: dict[str, dict[str, Any]] = {
    "404": {"status": 404},
    "401": {"status": 401},
    "403": {"status": 403},
    "500": {"status": 500},
    "rate limit": {"status": 403, "headers": {"X-RateLimit-Remaining": "0", "Retry-After": "1"}},
    "secondary limit": {"status": 429, "headers": {"Retry-After": "1"}},
    "redirect": {"status": 302, "headers": {"Location": "https://evil.example.com/"}},
    "malformed": {"body": "{"},
    "HTML": {"body": "<html>approved</html>"},
    "no fields": {"body": "{}"},
    "null": {"body": "null"},
    "dropped": {"drop": True},
}
OTHERS = ("403", "500", "secondary", "redirect", "HTML", "null")
"""Those that every call is answered alike with; the adapters' tests show each."""
DECISIVE = {"github": "/approvals$", "gitlab": "/protected_environments/champion$", "gitlab-free": "/jobs$"}


@pytest.mark.part("rest", "gitlab", "401", "rate limit")
@pytest.mark.part("full", "gitlab-free", "gitlab-401", "gitlab-no", "gitlab-dropped", *OTHERS)
@pytest.mark.parametrize("wrong", ANSWERS)
@pytest.mark.parametrize("kind", EACH_KIND)
def test_attack_24_an_answer_that_fails_keeps_it_waiting(
    attacked: AttackWorld, kind: str, wrong: str
) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    gate.faults.add(f"{gate.path}.*{DECISIVE[kind]}", **ANSWERS[wrong])
    gate.approve(asked)
    vendor = "GitHub" if kind == "github" else "project"
    view = gate.look(asked)
    assert view["phase"] == "pending_approval", view
    told = f"{view['reason']} {view['last_error']}"
    assert vendor in told or "GitLab" in told or "protected" in told, view
    gate.assert_unharmed()
    gate.faults.clear()
    gate.promotes(asked)


# --- 25: more than a page ---------------------------------------------------------------------------------


@pytest.mark.part("rest")
def test_attack_25_github_a_rejection_behind_many_approvals(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    gate.there.protect_environment(gate.repository, "other", PEOPLE)
    asked = gate.ask()
    run = gate.there.run(asked.external_id)
    gate.there.review(asked.external_id, "champion", "reviewer-1", approve=False)
    rejection = run.approvals.pop()
    other = gate.there.repository(gate.repository).environments["other"]
    noise = type(rejection)((other,), "approved", rejection.user, "", rejection.at)
    run.approvals += [noise] * 250 + [rejection]
    gate.ends(asked, "rejected", "Rejected by reviewer-1")


def test_attack_25_github_a_job_of_a_later_attempt_on_the_last_page(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    run = gate.there.run(asked.external_id)
    gated = run.jobs[-1]
    run.jobs[-1:-1] = [
        replace(run.jobs[0], id=90_000_000 + number, name=f"x{number}") for number in range(230)
    ]
    gate.there.end_job(asked.external_id, "champion", "skipped")
    assert gated is run.jobs[-1]
    gate.ends(asked, "rejected", "ended without a decision for champion")


@pytest.mark.parametrize("kind", ["gitlab", "gitlab-free"])
def test_attack_25_gitlab_the_job_that_was_retried_is_on_the_last_page(
    attacked: AttackWorld, kind: str
) -> None:
    gate: OnGitLab = attacked.gate(kind)
    asked = gate.ask()
    first = gate.job(asked)
    gate.approve(asked, "octo-trainer")
    gate.there.end_job(first, "failed")
    pipeline = gate.there.pipeline(asked.external_id)
    for number in range(230):
        pipeline.jobs.append(
            GitLabJob(90_000_000 + number, f"x{number}", pipeline, pipeline.user, "success", first.created_at)
        )
    gate.there.retry(first, "reviewer-1")
    gate.ends(asked, "rejected", "was retried")


@pytest.mark.part("rest")
def test_attack_25_github_a_list_that_is_shorter_than_it_says(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    gate.faults.add(f"{gate.path}.*/jobs$", body='{"total_count": 2, "jobs": []}')
    gate.approve(asked)
    gate.waits(asked, "gave 0 of 2 entries")
