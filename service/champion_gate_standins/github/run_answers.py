"""The JSON that the GitHub stand-in answers about workflow runs, their jobs and reviews."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from champion_gate_standins.github.answers import (
    Json,
    environment_link,
    minimal_repository,
    node_id,
    reviewers,
    stamp,
    user,
)
from champion_gate_standins.github.repositories import Environment, Repository, Workflow
from champion_gate_standins.github.state import Approval, Job, Run


def _maybe(at: datetime | None) -> str | None:
    return stamp(at) if at else None


def workflow(base: str, repository: Repository, file: Workflow) -> Json:
    """`workflow`."""
    return {
        "id": file.id,
        "node_id": node_id("Workflow", file.id),
        "name": file.name,
        "path": file.path,
        "state": file.state,
        "created_at": stamp(file.created_at),
        "updated_at": stamp(file.created_at),
        "url": f"{base}/repos/{repository.full_name}/actions/workflows/{file.id}",
        "html_url": f"{base}/{repository.full_name}/blob/{repository.default_branch}/{file.path}",
        "badge_url": f"{base}/{repository.full_name}/workflows/{quote(file.name)}/badge.svg",
    }


def run_links(base: str, run: Run) -> tuple[str, str]:
    """The run's API URL and its page for people."""
    return (
        f"{base}/repos/{run.repository.full_name}/actions/runs/{run.id}",
        f"{base}/{run.repository.full_name}/actions/runs/{run.id}",
    )


def run(base: str, which: Run) -> Json:
    """`workflow-run`."""
    url, html_url = run_links(base, which)
    names = ("artifacts", "cancel", "jobs", "logs", "rerun")
    author = {"name": which.repository.owner.login, "email": "noreply@example.com"}
    return {
        "id": which.id,
        "name": which.workflow.name,
        "node_id": node_id("WorkflowRun", which.id),
        "check_suite_id": which.id + 1,
        "check_suite_node_id": node_id("CheckSuite", which.id + 1),
        "check_suite_url": f"{base}/repos/{which.repository.full_name}/check-suites/{which.id + 1}",
        "head_branch": which.head_branch,
        "head_sha": which.head_sha,
        "path": which.workflow.path,
        "display_title": which.display_title,
        "run_number": which.run_number,
        "run_attempt": which.run_attempt,
        "event": which.event,
        "status": which.status,
        "conclusion": which.conclusion,
        "workflow_id": which.workflow.id,
        "workflow_url": f"{base}/repos/{which.repository.full_name}/actions/workflows/{which.workflow.id}",
        "url": url,
        "html_url": html_url,
        **{f"{name}_url": f"{url}/{name}" for name in names},
        "previous_attempt_url": None,
        "pull_requests": [],
        "referenced_workflows": [],
        "actor": user(base, which.actor),
        "triggering_actor": user(base, which.triggering_actor),
        "created_at": stamp(which.created_at),
        "updated_at": stamp(which.updated_at),
        "run_started_at": stamp(which.created_at),
        "head_commit": {
            "id": which.head_sha,
            "tree_id": which.head_sha[::-1],
            "message": "Add the approval workflow",
            "timestamp": stamp(which.repository.created_at),
            "author": author,
            "committer": author,
        },
        "repository": minimal_repository(base, which.repository),
        "head_repository": minimal_repository(base, which.repository),
    }


def job(base: str, which: Run, one: Job) -> Json:
    """`job`. GitHub gives a job that waits its creation as `started_at`."""
    url, html_url = run_links(base, which)
    api = f"{base}/repos/{which.repository.full_name}"
    ran = one.started_at is not None
    return {
        "id": one.id,
        "node_id": node_id("Job", one.id),
        "run_id": which.id,
        "run_url": url,
        "run_attempt": one.run_attempt,
        "workflow_name": which.workflow.name,
        "head_branch": which.head_branch,
        "head_sha": which.head_sha,
        "name": one.name,
        "status": one.status,
        "conclusion": one.conclusion,
        "created_at": stamp(one.created_at),
        "started_at": stamp(one.started_at or one.created_at),
        "completed_at": _maybe(one.completed_at),
        "url": f"{api}/actions/jobs/{one.id}",
        "html_url": f"{html_url}/job/{one.id}",
        "check_run_url": f"{api}/check-runs/{one.id}",
        "labels": ["ubuntu-latest"],
        "steps": _steps(one),
        "runner_id": 1 if ran else None,
        "runner_name": "stand-in" if ran else None,
        "runner_group_id": 1 if ran else None,
        "runner_group_name": "stand-in" if ran else None,
    }


def _steps(one: Job) -> list[Json]:
    """What a runner did; a job that no runner took has no steps."""
    if one.started_at is None:
        return []
    done: Json = {"status": "completed", "conclusion": "success", "completed_at": stamp(one.started_at)}
    ran: Json = {"status": one.status, "conclusion": one.conclusion, "completed_at": _maybe(one.completed_at)}
    return [
        {"name": name, "number": number, "started_at": stamp(one.started_at), **how}
        for number, (name, how) in enumerate((("Set up job", done), ("Run", ran)), 1)
    ]


def approval(base: str, which: Run, review: Approval) -> Json:
    """`environment-approvals`: no time, no attempt."""
    return {
        "environments": [
            environment_link(base, which.repository, place)
            | {"created_at": stamp(place.created_at), "updated_at": stamp(place.updated_at)}
            for place in review.environments
        ],
        "state": review.state,
        "user": user(base, review.user),
        "comment": review.comment,
    }


def pending_deployment(base: str, which: Run, place: Environment, *, can_approve: bool) -> Json:
    """`pending-deployment`."""
    return {
        "environment": environment_link(base, which.repository, place),
        "wait_timer": place.wait_timer,
        "wait_timer_started_at": stamp(which.created_at) if place.wait_timer else None,
        "current_user_can_approve": can_approve,
        "reviewers": reviewers(base, place),
    }


def deployment_status(base: str, which: Run, one: Job) -> Json:
    """`deployment_status` of a webhook: the state of the job that deploys."""
    made, job_page = deployment(base, which, one), job(base, which, one)["html_url"]
    ended = "success" if one.conclusion == "success" else "failure"
    at = stamp(one.completed_at or one.started_at or one.created_at)
    return {
        "url": f"{made['statuses_url']}/{one.id}",
        "id": one.id,
        "node_id": node_id("DeploymentStatus", one.id),
        "state": ended if one.status == "completed" else one.status,
        "creator": user(base, which.actor),
        "description": "",
        "environment": made["environment"],
        "target_url": job_page,
        "log_url": job_page,
        "environment_url": "",
        "created_at": at,
        "updated_at": at,
        "deployment_url": made["url"],
        "repository_url": made["repository_url"],
    }


def deployment(base: str, which: Run, one: Job) -> Json:
    """`deployment`, as the answer to a review."""
    url = f"{base}/repos/{which.repository.full_name}/deployments/{one.id}"
    at = stamp(one.created_at)
    return {
        "url": url,
        "id": one.id,
        "node_id": node_id("Deployment", one.id),
        "sha": which.head_sha,
        "ref": which.head_branch,
        "task": "deploy",
        "payload": {},
        "original_environment": one.environment.name if one.environment else "",
        "environment": one.environment.name if one.environment else "",
        "description": None,
        "creator": user(base, which.actor),
        "created_at": at,
        "updated_at": at,
        "statuses_url": f"{url}/statuses",
        "repository_url": f"{base}/repos/{which.repository.full_name}",
    }
