"""How pipelines behave on the GitLab stand-in: start, block, approve, play, retry, cancel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from champion_gate_standins.gitlab.state import (
    DEVELOPER,
    MAINTAINER,
    OWNER,
    REPORTER,
    TEMPLATE_INPUTS,
    Approval,
    ApprovalRule,
    Deployment,
    Environment,
    Job,
    Pipeline,
    Project,
    ProtectedEnvironment,
    RefusedError,
    State,
    User,
)

if TYPE_CHECKING:
    from datetime import datetime

MAX_INPUT_BYTES = 1_048_576
"""docs.gitlab.com, "CI/CD inputs": a string containing an input must be less than 1 MB."""

MAX_NAME = 255
"""Of a pipeline and of a job (app/models/ci/pipeline_metadata.rb; docs.gitlab.com, "CI/CD YAML syntax", job names)."""

_OVERRIDE_ROLES = {"developer": DEVELOPER, "maintainer": MAINTAINER, "owner": OWNER}


class Announce(Protocol):
    """Takes note of something that GitLab would send a webhook about."""

    def __call__(self, kind: str, job: Job | None, pipeline: Pipeline) -> None:
        """Queue one webhook: kind "job", "pipeline" or "deployment"."""


class Pipelines:
    """The pipelines of all projects, running deploy/gitlab/champion-gate.gitlab-ci.yml.

    Attributes:
        jobs_finish: whether a job that starts is done at once; otherwise it stays running.
        run_job: does what a played job does, instead of its being done at once.
        present_status: how the job `present` ends; unless it is "success", `approve` is skipped.
        gated_job: name of the gated job.
        allow_failure: whether the gated job is an optional manual job, as by a careless edit of the template.
        name: `workflow: name` as a format string over the inputs; empty where the file has lost it.
        cancels_manual_jobs: whether cancelling also cancels jobs that wait to be played. Older GitLab
            answers 200 and leaves them playable (gitlab-org/gitlab issues 9082 and 460256).
        shows_approvals: whether deployments show who approved them, which a replica that lags behind does not yet.
    """

    def __init__(self, state: State, announce: Announce) -> None:
        self._state = state
        self._announce = announce
        self.jobs_finish = True
        self.run_job: Callable[[Job], None] | None = None
        self.present_status = "success"
        self.gated_job = "approve"
        self.allow_failure = False
        self.name = "Champion {model} v{version} [{promotion_id}]"
        self.cancels_manual_jobs = True
        self.shows_approvals = True

    def _now(self) -> datetime:
        return self._state.clock()

    # --- start -------------------------------------------------------------------------------------------

    def start(
        self, project: Project, user: User, *, ref: str, inputs: Mapping[str, object], source: str
    ) -> Pipeline:
        """Start a pipeline.

        Raises:
            RefusedError: 400 in the form of GitLab's validation errors.
        """
        branch = ref.removeprefix("refs/heads/")
        if branch not in project.branches:
            raise _invalid("Reference not found")
        if project.level(user) < DEVELOPER:
            raise _invalid("Insufficient permissions to create a new pipeline")
        if not project.may_write(user, branch):
            raise _invalid(
                f"You do not have sufficient permission to run a pipeline on '{branch}'. "
                "Please select a different branch or contact your administrator for assistance."
            )
        checked = checked_inputs(inputs)
        name = self.name.format_map(checked)
        if len(name) > MAX_NAME:
            raise _invalid(
                f"Failed to build pipeline metadata! Name is too long (maximum is {MAX_NAME} characters)"
            )
        now = self._now()
        siblings = [each for each in self._state.pipelines if each.project is project]
        pipeline = Pipeline(
            id=self._state.new_id(),
            iid=len(siblings) + 1,
            project=project,
            ref=branch,
            sha=project.branches[branch],
            source=source,
            user=user,
            name=name,
            inputs=checked,
            created_at=now,
            updated_at=now,
        )
        self._state.pipelines.append(pipeline)
        self._add_present(pipeline)
        gated = self._add_gated(pipeline, user, "skipped" if self.present_status != "success" else "manual")
        self._touch(pipeline, gated)
        return pipeline

    def _add_present(self, pipeline: Pipeline) -> None:
        now = self._now()
        job = Job(self._state.new_id(), "present", pipeline, pipeline.user, self.present_status, now)
        job.started_at = job.finished_at = now
        pipeline.jobs.append(job)

    def _add_gated(self, pipeline: Pipeline, user: User, status: str) -> Job:
        now = self._now()
        job = Job(self._state.new_id(), self.gated_job, pipeline, user, status, now, manual=True)
        job.allow_failure = self.allow_failure
        job.environment = self._reach_environment(pipeline.project, pipeline.inputs["environment"])
        pipeline.jobs.append(job)
        rules = self.rules(job)
        blocked = bool(rules) and status == "manual"
        job.deployment = Deployment(
            id=self._state.new_id(),
            iid=len(self._state.deployments) + 1,
            environment=job.environment,
            job=job,
            user=user,
            status="blocked" if blocked else "created" if status == "manual" else "skipped",
            created_at=now,
            updated_at=now,
        )
        self._state.deployments.append(job.deployment)
        return job

    def _reach_environment(self, project: Project, name: str) -> Environment:
        """The environment; one that does not exist is made, unprotected."""
        fresh = Environment(self._state.new_id(), name, self._now())
        return project.environments.setdefault(name, fresh)

    # --- protections -------------------------------------------------------------------------------------

    def protection(self, job: Job) -> ProtectedEnvironment | None:
        """The protection of the job's environment, where the tier has any."""
        project = job.pipeline.project
        if project.tier == "free" or job.environment is None:
            return None
        return project.protected_environments.get(job.environment.name)

    def rules(self, job: Job) -> list[ApprovalRule]:
        """The approval rules of the job's environment."""
        protection = self.protection(job)
        return protection.approval_rules if protection else []

    def may_play(self, job: Job, user: User) -> bool:
        """Whether GitLab would let this account play, retry or cancel the job.

        app/policies/ci/build_policy.rb: deployers of a protected environment from Reporter on, else who
        may push or merge to the branch.
        """
        project = job.pipeline.project
        level = project.level(user)
        protection = self.protection(job)
        if job.archived:
            return False
        if protection is not None:
            return level >= REPORTER and any(
                each.admits(user, level) for each in protection.deploy_access_levels
            )
        return level >= DEVELOPER and project.may_write(user, job.pipeline.ref)

    def pending_approvals(self, deployment: Deployment) -> int:
        """How many approvals are missing."""
        return sum(
            max(rule.required_approvals - len(approvals_for(deployment, rule)), 0)
            for rule in self.rules(deployment.job)
        )

    # --- what people do ----------------------------------------------------------------------------------

    def play(self, job: Job, user: User, variables: Mapping[str, str] | None = None) -> Job:
        """Play a manual job; one that has ended is retried.

        Raises:
            RefusedError: 403 for whom GitLab does not let, 400 for a job that cannot be played.
        """
        waiting = job.deployment is not None and job.deployment.status == "blocked"
        if not job.manual or waiting or (job.status == "skipped" and not job.retried):
            raise RefusedError(400, "400 Bad request - Unplayable Job")
        if not self.may_play(job, user):
            raise RefusedError(403, "403 Forbidden")
        if variables and not self._may_set_variables(job.pipeline.project, user):
            raise RefusedError(403, "403 Forbidden")
        if job.status != "manual":
            return self.retry(job, user)
        job.user = user
        job.variables = dict(variables or {})
        self._run(job)
        return job

    def _may_set_variables(self, project: Project, user: User) -> bool:
        """The project setting `ci_pipeline_variables_minimum_override_role`, "no_one_allowed" by default, as in new projects."""
        wanted = str(project.settings.get("ci_pipeline_variables_minimum_override_role", "no_one_allowed"))
        return project.level(user) >= _OVERRIDE_ROLES.get(wanted, OWNER + 1)

    def retry(self, job: Job, user: User) -> Job:
        """Run an ended job again as a new one, which belongs to who retries.

        app/services/ci/retry_job_service.rb; where approvals are wanted, the new deployment wants them anew.

        Raises:
            RefusedError: 403 for whom GitLab does not let, or for a job that has not ended.
        """
        if not self.may_play(job, user):
            raise RefusedError(403, "403 Forbidden")
        if not job.ended or job.retried or job.status == "skipped":
            raise RefusedError(403, "403 Forbidden - Job is not retryable")
        job.retried = True
        if job.name == self.gated_job:
            fresh = self._add_gated(job.pipeline, user, "manual")
        else:
            fresh = Job(self._state.new_id(), job.name, job.pipeline, user, "manual", self._now())
            job.pipeline.jobs.append(fresh)
        if fresh.deployment is not None and fresh.deployment.status == "blocked":
            self._touch(job.pipeline, fresh)
        else:
            self._run(fresh)
        return fresh

    def _run(self, job: Job) -> None:
        job.status, job.started_at = "running", self._now()
        self._deployed(job, "running")
        self._touch(job.pipeline, job)
        if self.run_job is not None and job.name == self.gated_job:
            self.run_job(job)
        elif self.jobs_finish:
            self.end(job, "success")

    def end(self, job: Job, status: str, failure_reason: str | None = None) -> None:
        """End a job: "success", "failed" or "canceled"."""
        job.status, job.finished_at, job.failure_reason = status, self._now(), failure_reason
        self._deployed(job, status)
        self._touch(job.pipeline, job)

    def _deployed(self, job: Job, status: str) -> None:
        if job.deployment:
            job.deployment.status, job.deployment.updated_at = status, self._now()
            self._announce("deployment", job, job.pipeline)

    def approve_deployment(
        self, deployment: Deployment, user: User, status: str, comment: str = ""
    ) -> Approval:
        """Approve or reject a blocked deployment; it counts for the first rule that lets this account in.

        Args:
            deployment: which one.
            user: who decides; may not have started the pipeline, unless the project allows that.
            status: "approved" or "rejected"; a rejected job can never run.
            comment: what they write.

        Raises:
            RefusedError: 400 as ee/app/services/deployments/approval_service.rb words it.
        """
        if deployment.status != "blocked":
            raise RefusedError(400, "This deployment is not waiting for approvals.")
        settings = deployment.job.pipeline.project.settings
        if user is deployment.user and not settings.get("allow_pipeline_trigger_approve_deployment"):
            raise RefusedError(400, "You cannot approve your own deployment.")
        level = deployment.job.pipeline.project.level(user)
        mine = [rule for rule in self.rules(deployment.job) if rule.access.admits(user, level)]
        if not mine:
            raise RefusedError(
                400,
                "You don't have permission to approve this deployment. "
                "Contact the project or group owner for help.",
            )
        deployment.approvals = [each for each in deployment.approvals if each.user is not user]
        approval = Approval(user, status, comment, self._now(), mine[0])
        deployment.approvals.append(approval)
        deployment.updated_at = self._now()
        if status == "rejected":
            self.end(deployment.job, "failed", "deployment_rejected")
        elif self.pending_approvals(deployment) == 0:
            deployment.status = "created"
        return approval

    def cancel(self, pipeline: Pipeline) -> None:
        """Cancel what has not ended; nothing for a pipeline that cannot be cancelled, and no error."""
        cancelable = {"created", "pending", "running", *(["manual"] if self.cancels_manual_jobs else [])}
        for job in pipeline.latest_jobs():
            if job.status in cancelable:
                self.end(job, "canceled")

    def may_cancel(self, pipeline: Pipeline, user: User) -> bool:
        """Whether GitLab would let this account cancel (app/policies/ci/pipeline_policy.rb)."""
        project = pipeline.project
        return project.level(user) >= DEVELOPER and project.may_write(user, pipeline.ref)

    def _touch(self, pipeline: Pipeline, job: Job) -> None:
        pipeline.updated_at = self._now()
        self._announce("job", job, pipeline)
        self._announce("pipeline", None, pipeline)


def approvals_for(deployment: Deployment, rule: ApprovalRule) -> list[Approval]:
    """Who approved, as far as it counts for this rule."""
    return [each for each in deployment.approvals if each.rule is rule and each.status == "approved"]


def checked_inputs(inputs: Mapping[str, object]) -> dict[str, str]:
    """The template's inputs, checked as GitLab does (lib/gitlab/ci/config/interpolation/inputs).

    Raises:
        RefusedError: 400 for an input that is unknown, missing, no string, or not of its form.
    """
    problems = [f"unknown input arguments: {name}" for name in inputs.keys() - TEMPLATE_INPUTS.keys()]
    checked: dict[str, str] = {}
    for name, form in TEMPLATE_INPUTS.items():
        value = inputs.get(name)
        if value is None:
            problems.append(f"`{name}` input: required value has not been provided")
        elif not isinstance(value, str):
            problems.append(f"`{name}` input: provided value is not a string")
        elif not re.fullmatch(form.removeprefix("^").removesuffix("$"), value):
            problems.append(f"`{name}` input: provided value does not match required RegEx pattern")
        elif len(value.encode(errors="replace")) >= MAX_INPUT_BYTES:
            problems.append("config too large")
        else:
            checked[name] = value
    if problems:
        raise _invalid(", ".join(problems[:3]))
    return checked


def _invalid(problem: str) -> RefusedError:
    return RefusedError(400, {"base": [problem]})
