"""Reads what people said about a pipeline: whose it is, who let the gated job start, who approved its deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from champion_gate.adapters.gitlab.api import ProjectApi
from champion_gate.adapters.gitlab.models import Account, Deployment, Job, Numbered, Pipeline, gitlab
from champion_gate.adapters.gitlab.people import MAINTAINER, People
from champion_gate.adapters.gitlab.place import Survey, changes, moved, survey
from champion_gate.adapters.gitlab.settings import GitLabPlace, Protection
from champion_gate.domain.approval import RequestState, Review, Verdict

ENDED = frozenset({"success", "failed", "canceled", "skipped"})
WAITING = frozenset(
    {
        "created",
        "waiting_for_resource",
        "preparing",
        "waiting_for_callback",
        "pending",
        "manual",
        "scheduled",
    }
)
CANCELLED = frozenset({"canceled", "canceling"})
_KNOWN = ENDED | WAITING | CANCELLED | {"running"}
_RELEASED = frozenset({"running", "success", "failed", *CANCELLED})
_WANT_OF_RUNNER = frozenset(
    # app/models/concerns/enums/ci/commit_status.rb: what ends a pending job, which GitLab had let somebody play.
    {"stuck_or_timeout_failure", "runner_system_failure", "no_matching_runner", "ci_quota_exceeded"}
)
_PLAYED = frozenset({"waiting_for_resource", "preparing", "waiting_for_callback", "pending"})
_NUMBER = re.compile(r"[1-9][0-9]*")
_FORMS = {"branch": re.compile(r"\S+"), "trigger": re.compile(r"[a-z_]+")}
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VERDICTS = {"approved": Verdict.APPROVED, "rejected": Verdict.REJECTED}
_CLOCK_SKEW = timedelta(minutes=5)  # between our clock and GitLab's


@dataclass(frozen=True)
class _Reading:
    """What one look works with; it adds to `problems`, `held_by` and `missing`, which are those of a RequestState."""

    api: ProjectApi
    pins: Mapping[str, str]
    looked: Survey
    people: People
    problems: list[str]
    held_by: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def state_of(
    api: ProjectApi, pipeline_id: str, pins: Mapping[str, str], asked_at: datetime, now: datetime
) -> RequestState:
    """Everything that decides, without duplicates of the pipeline.

    The pipeline is read before its jobs, so that of one that has ended the last word is read; a job says by
    itself who played it, and a retry makes another job, so that no later act changes what was read. Its deployment is
    read after it, and after the place: nobody who was let in since is taken for an approver.
    """
    people = People(api)
    (pipeline, jobs), looked = api.together.all(
        lambda: (api.pipeline(pipeline_id), api.jobs(pipeline_id)), lambda: survey(api, people, now)
    )
    reading = _Reading(api, pins, looked, people, [*looked.problems, *changes(pins, looked)])
    gated = [job for job in jobs if job.name == api.spot.job]
    status = pipeline.status
    reading.problems.extend(_unknown_status(status, f"pipeline {pipeline_id}"))
    void = _pipeline_void_because(pipeline, pipeline_id, pins, reading.problems)
    void = void or _job_void_because(reading, pipeline, pipeline_id, gated)
    reading.missing.update(_may_yet_run(gated))
    started: dict[str, datetime] = {}
    reviews: tuple[Review, ...] = ()
    if gated:
        reviews = _reviews(reading, pipeline, gated[0], asked_at)
        reading.problems.extend(_unknown_status(gated[0].status, f"job {api.spot.job}"))
        at = _let_start_at(gated[0])
        if len(gated) == 1 and at is not None:
            started = dict.fromkeys(api.spot.seats, at)
    else:
        reading.missing["jobs"] = _no_gated_job(api.spot, pipeline_id, jobs)
        if jobs and status not in ENDED | {"created"}:
            reading.problems.append(reading.missing["jobs"])
        elif status in ENDED - CANCELLED:
            void = void or reading.missing["jobs"]
    rejected = any(review.verdict is Verdict.REJECTED for review in reviews)
    if void is None and not rejected and not started and status in CANCELLED:
        void = "The pipeline was cancelled, which rejects the request; GitLab does not tell by whom."
    finished = status in ENDED
    if finished and void is None:
        reading.problems.extend(_goes_on(gated, pipeline_id))
    return RequestState(
        tuple(reading.problems),
        void,
        reviews,
        started,
        finished,
        reading.held_by,
        reading.missing,
        moved(pins, looked),
    )


def _no_gated_job(spot: GitLabPlace, pipeline_id: str, jobs: Sequence[Job]) -> str:
    """That nobody could decide there, and which jobs there are: the CI/CD file names its jobs otherwise, or a list lags."""
    if not jobs:
        return f"GitLab lists no job of pipeline {pipeline_id}."
    there = sorted(f"{job.name} ({job.status})" for job in jobs)
    return (
        f"Pipeline {pipeline_id} has no job named {spot.job}. Its jobs are: {', '.join(there)}. "
        "Write the name of the gated one as `job` in gates.yaml."
    )


def _goes_on(gated: Sequence[Job], pipeline_id: str) -> Iterator[str]:
    """What is wrong where a pipeline has ended and its gated job has not."""
    for job in gated:
        if job.status not in ENDED | CANCELLED:
            yield f"GitLab says that pipeline {pipeline_id} has ended, and that its job {job.name} is {job.status}."


def _may_yet_run(gated: Sequence[Job]) -> Iterator[tuple[str, str]]:
    """A gated job that is skipped since one before it failed: run that one again, and GitLab offers this one anew."""
    for job in gated:
        if job.status == "skipped":
            yield "skipped", f"Job {job.name} was skipped, since a job before it failed."


def _unknown_status(status: str, what: str) -> Iterator[str]:
    if status not in _KNOWN:
        yield f"GitLab says that {what} is {status!r}, which is not known."


def _pipeline_void_because(
    pipeline: Pipeline, pipeline_id: str, pins: Mapping[str, str], problems: list[str]
) -> str | None:
    """Why this pipeline is not the one that we opened; such a thing never heals.

    What is of a form that we do not know is a problem, and only keeps the request waiting.
    """
    starter = gitlab.told(pipeline.user, "pipeline.user")
    branch = pipeline.ref.removeprefix("refs/heads/")
    facts = {
        "pipeline": (pipeline.id, pipeline_id),
        "project": (pipeline.project_id, pins.get("project_id")),
        "branch": (branch, pins.get("ref")),
        "trigger": (pipeline.source, pins.get("source")),
        "starter": (starter.id, pins.get("bot_id")),
    }
    for what, (found, expected) in facts.items():
        if expected is None:
            problems.append(f"Nothing was stored about the {what} of pipeline {pipeline_id}.")
        elif not _FORMS.get(what, _NUMBER).fullmatch(found):
            problems.append(
                f"The {what} of pipeline {pipeline_id} is {found!r}, which is not known to be one."
            )
        elif found != expected:
            return f"The {what} of pipeline {pipeline_id} is {found}, and {expected} was asked for."
    return f"Pipeline {pipeline_id} runs on a tag." if pipeline.tag else None


def _job_void_because(
    reading: _Reading, pipeline: Pipeline, pipeline_id: str, gated: Sequence[Job]
) -> str | None:
    """Why the gated job cannot, or can no longer, yield a decision."""
    name = reading.api.spot.job
    if len(gated) > 1:
        return f"Job {name} was retried; only a pipeline with a single one is believed."
    for job in gated:
        if _let_start_at(job) is not None and _is_opener(reading, job.user):
            return f"Job {name} was run by our own account, which is nobody's decision."
        if job.pipeline.id != pipeline_id:
            return f"Job {name} belongs to pipeline {job.pipeline.id}."
        return _not_as_asked(job, pipeline, reading.problems) or _stopped_because(job)
    return None


def _not_as_asked(job: Job, pipeline: Pipeline, problems: list[str]) -> str | None:
    name, commits = job.name, (job.pipeline.sha, pipeline.sha)
    unknown = [commit for commit in commits if not _COMMIT.fullmatch(commit)]
    problems += [
        f"Job {name} or its pipeline runs on {each!r}, which is no whole commit id." for each in unknown
    ]
    if commits[0] != commits[1] and not unknown:
        return f"Job {name} runs on commit {commits[0]}, its pipeline on {commits[1]}."
    if job.allow_failure:
        return f"Job {name} is optional (allow_failure): its pipeline succeeds although nobody decided."
    return None


def _stopped_because(job: Job) -> str | None:
    name, status = job.name, job.status
    if status == "skipped":
        return f"Job {name} was skipped."
    if status in CANCELLED and _let_start_at(job) is None:
        return f"Job {name} was cancelled, which rejects the request; GitLab does not tell by whom."
    if job.archived is True and status in WAITING:
        return f"Job {name} is archived: GitLab lets nobody run it any more."
    return None


def _let_start_at(job: Job) -> datetime | None:
    """When people had let it start, however it ended (the gate was down, its time was up, somebody cut it off), or None.

    A job that failed for want of a runner had been let start too, by whoever played it; GitLab does not tell
    when, but not after its end. One that failed without a start for another reason was refused to who played it
    (failure_reason protected_environment_failure, deployment_rejected, …).
    """
    if job.status in _RELEASED and job.started_at is not None:
        return job.started_at
    if job.status == "failed" and job.failure_reason in _WANT_OF_RUNNER:
        return gitlab.told(job.finished_at, "jobs.finished_at")
    return None


# --- who decided ------------------------------------------------------------------------------------------


def _reviews(reading: _Reading, pipeline: Pipeline, job: Job, asked_at: datetime) -> tuple[Review, ...]:
    """Every vote: approvals of the job's deployment where the place has approval rules, else the click."""
    played = _let_start_at(job) is not None or _waits_for_a_runner(reading, pipeline, job)
    if reading.api.spot.protection is Protection.BRANCH:
        return (_click(reading, job),) if played else ()
    deployment = _deployment(reading, pipeline, job, asked_at)
    if deployment is None:
        if _let_start_at(job) is not None:
            environment = reading.api.spot.environment
            reading.problems.append(f"GitLab lists no deployment of job {job.name} to {environment}.")
        return ()
    if not reading.looked.rules.approvers:
        return (_click(reading, job),) if played else ()
    return _approvals(reading, deployment, job)


def _waits_for_a_runner(reading: _Reading, pipeline: Pipeline, job: Job) -> bool:
    """Whether somebody has played the job, which makes it theirs, and GitLab has not started it yet."""
    if job.status not in _PLAYED or job.user is None or pipeline.user is None:
        return False
    if job.user.id == pipeline.user.id:
        return False
    lack = "the lack of a runner" if job.status == "pending" else "GitLab"
    reading.held_by.update(dict.fromkeys(reading.api.spot.seats, f"{lack}: job {job.name} is {job.status}"))
    return True


def _click(reading: _Reading, job: Job) -> Review:
    """Who played the job: GitLab makes them the job's user (app/services/ci/enqueue_job_service.rb)."""
    return _review(reading, job.user, reading.api.spot.seats[0], Verdict.APPROVED, "")


def _deployment(reading: _Reading, pipeline: Pipeline, job: Job, asked_at: datetime) -> Deployment | None:
    """The deployment that this job is, which proves that the environment's rules held for it."""
    ours = [
        one
        for one in reading.api.deployments(asked_at - _CLOCK_SKEW)
        if one.deployable is not None and one.deployable.id == job.id
    ]
    if len(ours) != 1:
        return None
    found = reading.api.deployment(ours[0].id)
    same = (
        found.deployable is not None
        and found.deployable.id == job.id
        and found.environment.name == reading.api.spot.environment
        and found.sha == pipeline.sha
    )
    if not same:
        reading.problems.append(f"Deployment {found.id} is not that of job {job.id}.")
        return None
    return found


def _approvals(reading: _Reading, deployment: Deployment, job: Job) -> tuple[Review, ...]:
    """The votes on a deployment. Each may fill any seat: GitLab counts for which rule, we count people."""
    missing = gitlab.told(deployment.pending_approval_count, "deployment.pending_approval_count")
    if _let_start_at(job) is not None and missing != 0:
        reading.problems.append(f"The job has started, and GitLab still lacks {missing} approvals of it.")
    elif job.status == "manual":
        held = (
            f"GitLab, where approvals are missing ({missing})"
            if missing
            else f"job {job.name}, which somebody has to run now ({job.web_url})"
        )
        reading.held_by.update(dict.fromkeys(reading.api.spot.seats, held))
    approvals = gitlab.told(deployment.approvals, "deployment.approvals")
    unknown = [each.status for each in approvals if each.status not in _VERDICTS]
    reading.problems.extend(
        f"GitLab names an approval {status!r}, which is not known to be one." for status in unknown
    )
    seats = reading.api.spot.seats
    votes = [
        partial(_review, reading, each.user, seats[0], _VERDICTS[each.status], each.comment or "")
        for each in approvals
        if each.status in _VERDICTS
    ]
    return tuple(replace(vote, seat=seat) for vote in reading.api.together.each(votes) for seat in seats)


def _review(reading: _Reading, user: Account | None, seat: str, verdict: Verdict, comment: str) -> Review:
    if user is None:
        return Review(seat, verdict, "", "a deleted account", comment, False, False, False)
    user_id = user.id
    person, listed = reading.api.together.outcomes(
        lambda: reading.people.is_person(user_id), lambda: _is_listed(reading, user_id)
    )
    is_person = person()
    return Review(
        seat=seat,
        verdict=verdict,
        user_id=user.id,
        login=user.username,
        comment=comment,
        is_person=is_person,
        is_opener=_is_opener(reading, user),
        is_listed=is_person and listed(),
    )


def _is_opener(reading: _Reading, user: Numbered | None) -> bool:
    """Whether it is the account that asks, as it was when the request opened or as it is now."""
    if user is None:
        return False
    own = {reading.pins.get("bot_id"), reading.looked.pins.get("bot_id")}
    for pins in (reading.pins, reading.looked.pins):
        own |= set(pins.get("openers", "").split(","))
    return user.id in own - {None, ""}


def _is_listed(reading: _Reading, user_id: str) -> bool:
    """Whether this person may decide: as the protection has it, and among `approvers` where the gate names some."""
    named = reading.looked.approver_ids
    if named and user_id not in named:
        return False
    rules = reading.looked.rules
    if reading.api.spot.protection is Protection.ENVIRONMENT:
        return reading.people.fulfils(rules.approvers or rules.deployers, user_id)
    return reading.people.level(user_id) >= MAINTAINER
