"""How workflow runs behave on the GitHub stand-in: dispatch, wait, review, cancel, run again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from champion_gate_standins.github.accounts import RefusedError, User
from champion_gate_standins.github.commits import commit_sha
from champion_gate_standins.github.repositories import Environment, Repository, Workflow
from champion_gate_standins.github.state import Approval, Job, Run, State

if TYPE_CHECKING:
    from datetime import datetime

MAX_INPUTS = 25
MAX_INPUT_CHARACTERS = 65_535
LONGEST_JOB_NAME = 100
REVIEW_LIMIT = timedelta(days=30)


class Announce(Protocol):
    """Takes note of something that GitHub would send a webhook about."""

    def __call__(
        self, name: str, action: str, run: Run, *, jobs: Sequence[Job] = (), approval: Approval | None = None
    ) -> None:
        """Queue one webhook: name and action as in GitHub's list of webhook events and payloads."""


class Runs:
    """The workflow runs of all repositories, running deploy/github/champion-gate.yml.

    Attributes:
        jobs_finish: whether a job that starts is done at once; otherwise it stays in_progress.
        run_job: does what a released job does, instead of its being done at once.
        runners: whether a runner is free for a job that may start; it stays queued otherwise.
        present_conclusion: how the job `present` ends; unless it is "success" the gated jobs are skipped.
    """

    def __init__(self, state: State, announce: Announce) -> None:
        self._state = state
        self._announce = announce
        self.jobs_finish = True
        self.run_job: Callable[[Run, Job], None] | None = None
        self.runners = True
        self.present_conclusion = "success"
        self._to_go_on: list[Run] = []

    def _now(self) -> datetime:
        return self._state.clock()

    def dispatch(
        self,
        repository: Repository,
        workflow: Workflow,
        *,
        ref: str,
        inputs: Mapping[str, object],
        actor: User,
    ) -> Run:
        """Start a run, as `POST …/dispatches` does.

        Raises:
            RefusedError: 422 as GitHub words it (PyGithub's recordings, docs "Create a workflow dispatch").
        """
        branch = ref.removeprefix("refs/heads/")
        if branch not in repository.branches:
            raise RefusedError(422, f"No ref found for: {ref}")
        if workflow.state != "active":
            raise RefusedError(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
        checked = _checked_inputs(workflow, inputs)
        now = self._now()
        workflow.started += 1
        run = Run(
            id=self._state.new_id(),
            run_number=workflow.started,
            repository=repository,
            workflow=workflow,
            event="workflow_dispatch",
            actor=actor,
            triggering_actor=actor,
            head_branch=branch,
            head_sha=repository.branches[branch],
            display_title=workflow.run_name.format_map(checked),
            inputs=checked,
            created_at=now,
            updated_at=now,
        )
        self._state.runs.append(run)
        self._announce("workflow_run", "requested", run)
        self._enter_group(run)
        return run

    def _group(self, run: Run) -> list[Run]:
        """The unfinished runs of the run's concurrency group, oldest first."""
        group = run.promotion_id
        return [
            other
            for other in self._state.runs
            if other.workflow is run.workflow and other.promotion_id == group and other.status != "completed"
        ]

    def _enter_group(self, run: Run) -> None:
        """Start it, or leave it pending; at most one may be pending, an older one is cancelled.

        docs.github.com, "Control the concurrency of workflows and jobs".
        """
        others = [other for other in self._group(run) if other is not run]
        for other in others:
            if other.status == "pending":
                self._finish_all(other, "cancelled")
        if not others:
            self._start(run)

    def _start(self, run: Run) -> None:
        now = self._now()
        present = Job(self._state.new_id(), "present", run.run_attempt, now, "queued")
        run.jobs.append(present)
        self._tell(run, present)
        present.status, present.started_at = "in_progress", now
        self._tell(run, present)
        self._end(run, present, self.present_conclusion)
        names = _environment_names(run.inputs["environments"])
        if not names:
            self._end(run, self._gated_job(run, "approve", None), "failure")
        for name in names:
            self._start_gated(run, name)
        run.updated_at = now
        self._settle(run)

    def _gated_job(self, run: Run, name: str, environment: Environment | None) -> Job:
        job = Job(
            self._state.new_id(), _listed_name(name), run.run_attempt, self._now(), "waiting", environment
        )
        run.jobs.append(job)
        return job

    def _start_gated(self, run: Run, name: str) -> None:
        job = self._gated_job(run, f"approve ({name})", None)
        if self.present_conclusion != "success":
            self._end(run, job, "skipped")
            return
        job.environment = environment = self._reach_environment(run.repository, name)
        if not environment.admits(run.head_branch):
            self._end(run, job, "failure")
        elif environment.reviewers and not run.repository.rules_ignored:
            self._tell(run, job)
            self._announce("deployment_review", "requested", run, jobs=[job])
        else:
            self._let_through(run, job)

    def _reach_environment(self, repository: Repository, name: str) -> Environment:
        """The environment; one that does not exist is made, unprotected.

        docs.github.com, "Managing environments for deployment".
        """
        now = self._now()
        fresh = Environment(self._state.new_id(), name, now, now)
        return repository.environments.setdefault(name.lower(), fresh)

    def _tell(self, run: Run, job: Job) -> None:
        """Announce the state that a job has come to; that of a gated one is its deployment's too."""
        self._announce("workflow_job", job.status, run, jobs=[job])
        if job.environment is not None:
            self._announce("deployment_status", "created", run, jobs=[job])

    def _end(self, run: Run, job: Job, conclusion: str) -> None:
        job.end(conclusion, self._now())
        self._tell(run, job)

    def _let_through(self, run: Run, job: Job) -> None:
        """The reviewers, if there are any, have let the job through; it starts once no other rule holds it."""
        job.reviewed_at = job.reviewed_at or self._now()
        if not run.repository.rules_ignored and self._is_held(job):
            self._to_go_on.append(run)
            return
        job.status = "queued"
        self._tell(run, job)
        self._take_up(run, job)

    def _is_held(self, job: Job) -> bool:
        """docs.github.com, "Deployments and environments": the timer runs from when the job was triggered."""
        place = job.environment
        if place is None:
            return False
        return place.other_rule_holds or self._now() < job.created_at + timedelta(minutes=place.wait_timer)

    def _take_up(self, run: Run, job: Job) -> None:
        if not self.runners:
            self._to_go_on.append(run)
            return
        job.status, job.started_at = "in_progress", self._now()
        self._tell(run, job)
        if self.run_job is not None:
            self.run_job(run, job)
        elif self.jobs_finish:
            self._end(run, job, "success")

    def go_on(self) -> None:
        """Start what no rule holds any more, or what a runner is free for."""
        waiting = [run for run in dict.fromkeys(self._to_go_on) if run in self._state.runs]
        self._to_go_on = []
        for run in waiting:
            held = [job for job in run.held_jobs() if job.reviewed_at is not None]
            queued = [job for job in run.latest_jobs() if job.status == "queued"]
            for job in held:
                self._let_through(run, job)
            for job in queued:
                self._take_up(run, job)
            if held or queued:
                self._settle(run)

    def may_review(self, run: Run, environment: Environment, user: User) -> bool:
        """Whether GitHub would let this account review."""
        own = environment.prevent_self_review and user is run.triggering_actor
        return user in environment.people() and not own

    def review(
        self,
        run: Run,
        environments: Sequence[str],
        user: User,
        *,
        approve: bool,
        comment: str,
        force: bool = False,
    ) -> list[Job]:
        """Approve or reject the waiting jobs of these environments in one review.

        Args:
            run: the run under review.
            environments: names.
            user: who reviews.
            approve: False rejects: the job fails, and with it (fail-fast) the other waiting ones end.
            comment: what the reviewer writes.
            force: skip the check of who may review, as an administrator's bypass does.

        Returns:
            The jobs that were decided.

        Raises:
            RefusedError: 422 where nothing waits there or this account may not review.
        """
        wanted = {name.lower() for name in environments}
        jobs = [
            job for job in run.waiting_jobs() if job.environment and job.environment.name.lower() in wanted
        ]
        places = tuple(job.environment for job in jobs if job.environment)
        if not jobs or {place.name.lower() for place in places} != wanted:
            raise RefusedError(422, "No pending deployment requests to approve or reject")
        if not force and not all(self.may_review(run, place, user) for place in places):
            raise RefusedError(422, "You are not one of the required reviewers of this environment")
        state = "approved" if approve else "rejected"
        approval = Approval(places, state, user, comment, self._now())
        run.approvals.append(approval)
        run.updated_at = self._now()
        self._announce("deployment_review", state, run, jobs=jobs, approval=approval)
        for job in jobs:
            if approve:
                self._let_through(run, job)
            else:
                self._end(run, job, "failure")
        self._settle(run)
        return jobs

    def end_job(self, run: Run, environment: str, conclusion: str) -> None:
        """Complete a gated job in whatever way, e.g. "skipped", "failure" or "timed_out"."""
        if run.status == "completed":
            return
        for job in run.latest_jobs():
            if job.status != "completed" and job.name.lower() == f"approve ({environment.lower()})":
                self._end(run, job, conclusion)
        self._settle(run)

    def cancel(self, run: Run) -> None:
        """Cancel a run that has not ended; RefusedError 409 otherwise."""
        if run.status == "completed":
            raise RefusedError(409, "Cannot cancel a workflow run that is completed.")
        self._finish_all(run, "cancelled")
        self._start_next(run)

    def _finish_all(self, run: Run, conclusion: str) -> None:
        run.cancelled = conclusion == "cancelled"
        run.updated_at = self._now()
        for job in run.latest_jobs():
            if job.status != "completed":
                self._end(run, job, conclusion)
        self._announce("workflow_run", "completed", run)

    def rerun(self, run: Run, user: User) -> None:
        """Run it again under the same id; the list of approvals keeps the earlier attempts' entries."""
        if run.status != "completed":
            raise RefusedError(403, "This workflow is already running")
        run.run_attempt += 1
        run.triggering_actor, run.cancelled = user, False
        self._announce("workflow_run", "requested", run)
        self._start(run)

    def fail_overdue(self) -> None:
        """End the jobs that nobody reviewed for 30 days (docs.github.com, "Control deployments")."""
        now = self._now()
        for run in takewhile(lambda run: now - run.created_at >= REVIEW_LIMIT, self._state.runs):
            overdue = [job for job in run.waiting_jobs() if now - job.created_at >= REVIEW_LIMIT]
            for job in overdue:
                self._end(run, job, "failure")
            if overdue:
                self._settle(run)

    def _settle(self, run: Run) -> None:
        if run.status == "completed":
            run.updated_at = self._now()
            self._announce("workflow_run", "completed", run)
            self._start_next(run)

    def _start_next(self, ended: Run) -> None:
        for run in self._group(ended)[:1]:
            if run.status == "pending":
                self._start(run)


def _checked_inputs(workflow: Workflow, inputs: Mapping[str, object]) -> dict[str, str]:
    if len(inputs) > MAX_INPUTS:
        raise RefusedError(
            422,
            f"Invalid request.\n\nNo more than {MAX_INPUTS} properties are allowed; {len(inputs)} were supplied.",
        )
    unexpected = [name for name in inputs if name not in workflow.inputs]
    if unexpected:
        raise RefusedError(422, f"Unexpected inputs provided: {json.dumps(unexpected)}")
    for name in workflow.inputs:
        if inputs.get(name) in {None, ""}:
            raise RefusedError(422, f"Required input '{name}' not provided")
    checked = {name: value for name, value in inputs.items() if isinstance(value, str)}
    if len(checked) != len(inputs):
        raise RefusedError(422, "Invalid value for input: strings are expected")
    if sum(len(value) for value in checked.values()) > MAX_INPUT_CHARACTERS:
        raise RefusedError(422, "inputs are too large.")
    return checked


def _listed_name(name: str) -> str:
    """A job's name as the API lists it: cut at 100 characters, the last three of them dots."""
    return name if len(name) <= LONGEST_JOB_NAME else f"{name[: LONGEST_JOB_NAME - 3]}..."


def _environment_names(text: str) -> list[str]:
    """The matrix that the template makes of its input; empty where `fromJSON` would fail the job."""
    try:
        names = json.loads(text)
    except ValueError:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return []
    return list(dict.fromkeys(names))


def new_branch(repository: Repository, name: str) -> None:
    """Add a branch with a made-up head commit."""
    repository.branches[name] = commit_sha(repository.full_name, name)
