"""Whether a workflow run is the one that we opened, and which of its gated jobs were let start.

Only the first attempt counts. Another value never heals and ends the request; a field of a form that we do not know only keeps it waiting.
Forms: GitHub's description of its REST API, `workflow-run`, `job` and `pending-deployment`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.github.models import Job, PendingDeployment, Run, github
from champion_gate.adapters.github.place import Environment
from champion_gate.adapters.github.settings import gated_job
from champion_gate.errors import VendorError

RUN_AGAIN = "The workflow run was run a second time; only the first attempt is believed."

_FILE = re.compile(
    r"(?:(?P<repository>[\w.-]+/[\w.-]+)/)?(?P<file>\.github/workflows/[^/@\s]+)(?:@(?P<at>[^@\s]+))?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,63}")
_EVENT = re.compile(r"[a-z_]+")
_WAITING = frozenset({"queued", "waiting", "requested", "pending"})
_ENDS = frozenset({"success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"})
_OTHER_RULE = "another protection rule of the environment"

_log = logging.getLogger(__name__)


def void_because(run: Run, run_id: str, pins: Mapping[str, str], problems: list[str]) -> str | None:
    """Why this run is not, or no longer, the one that we opened; such a thing never heals.

    Args:
        run: as the API has it.
        run_id: the run that was opened.
        pins: as stored with the request.
        problems: what is of a form that we do not know is added here.
    """
    if is_later_attempt(run, problems):
        return RUN_AGAIN
    branch = run.head_branch.removeprefix("refs/heads/")
    facts = {
        "run": (run.id, run_id),
        "repository": (run.repository.id, pins.get("repository_id")),
        "trigger": (run.event, "workflow_dispatch"),
        "workflow": (run.workflow_id, pins.get("workflow_id")),
        "branch": (branch, pins.get("ref")),
        "starter": (run.actor.id, pins.get("bot_id")),
    }
    forms = {"trigger": _EVENT, "branch": re.compile(r"\S+")}
    for what, (found, expected) in facts.items():
        if expected is None:
            problems.append(f"Nothing was stored about the {what} of workflow run {run_id}.")
        elif not forms.get(what, re.compile(r"[1-9][0-9]*")).fullmatch(found):
            problems.append(
                f"The {what} of workflow run {run_id} is {found!r}, which is not known to be one."
            )
        elif found != expected:
            return f"The {what} of workflow run {run_id} is {found}, and {expected} was asked for."
    return _other_file(run, run_id, pins, problems)


def is_later_attempt(of: Run | Job, problems: list[str]) -> bool:
    """Whether a run or job is of a second attempt, or a later one; attempts are counted from 1."""
    if of.run_attempt < 1:
        problems.append(f"GitHub says that {of.html_url or 'a job'} is attempt {of.run_attempt}.")
    return of.run_attempt > 1


def _other_file(run: Run, run_id: str, pins: Mapping[str, str], problems: list[str]) -> str | None:
    """Why the run's workflow file is not the one that was asked for.

    Its path may stand alone, or with the repository before it and the branch or commit behind it.
    """
    path, ref = run.path, pins.get("ref", "")
    form = _FILE.fullmatch(path)
    if form is None:
        problems.append(f"The workflow file of run {run_id} is {path!r}, which is not known to be one.")
        return None
    if form["file"] != pins.get("workflow_path"):
        return f"The workflow file of run {run_id} is {form['file']}, and {pins.get('workflow_path')} was asked for."
    own = run.repository.full_name
    if form["repository"] is not None and form["repository"].lower() != own.lower():
        # The repository's id fits, so this may be a name that it had once.
        problems.append(
            f"The workflow file of run {run_id} is that of {form['repository']}, and the run is one of {own}."
        )
        return None
    at, head = form["at"], run.head_sha.lower()
    if at is None or at.removeprefix("refs/heads/") == ref or at.lower() == head:
        return None
    if _ABBREVIATED.fullmatch(at.lower()) and not _COMMIT.fullmatch(at.lower()):
        problems.append(
            f"Whether the workflow file of run {run_id}, that of {at}, is that of {ref} is not known."
        )
        return None
    return f"The workflow file of run {run_id} is that of {at}, and {ref} was asked for."


# --- its gated jobs ---------------------------------------------------------------------------------------


def gated_jobs(jobs: Sequence[Job], run_id: str, seats: Sequence[str], problems: list[str]) -> dict[str, Job]:
    """Seat -> its gated job; absent where there is none, or where it cannot be told which.

    Args:
        jobs: all of the run.
        run_id: the run that was opened.
        seats: environments that were asked.
        problems: what cannot be told is added here.
    """
    found: dict[str, Job] = {}
    for seat in seats:
        gated = [job for job in jobs if job.name == gated_job(seat)]
        if len(gated) > 1:
            problems.append(f"Workflow run {run_id} has {len(gated)} jobs named {gated_job(seat)}.")
        elif gated and gated[0].run_id != run_id:
            problems.append(f"Job {gated_job(seat)} is listed as one of run {gated[0].run_id}.")
        elif gated:
            found[seat] = gated[0]
    return found


def released(gated: Mapping[str, Job], problems: list[str]) -> dict[str, datetime]:
    """Seat -> when its gated job started; absent where it waits, never started, or cannot be told.

    Until a job starts, its `started_at` is the time of its creation.
    """
    return {
        seat: github.told(job.started_at, "jobs.started_at")
        for seat, job in gated.items()
        if _has_started(job, problems)
    }


def not_ended(gated: Mapping[str, Job]) -> list[str]:
    """The names of the gated jobs that go on: of a run that has ended, none can."""
    return [job.name for job in gated.values() if job.status != "completed"]


def _has_started(job: Job, problems: list[str]) -> bool:
    """Whether the job was let start, however it ended: it fails where the gate was down, and is cut off when its time is up.

    A run with a skipped job succeeds, and a job that was vetoed or overslept fails: no runner took either.
    """
    name, status, conclusion = job.name, job.status, job.conclusion
    if status == "in_progress":
        return True
    if status == "completed" and conclusion in _ENDS:
        return conclusion == "success" or (conclusion != "skipped" and _ran(job))
    if status not in _WAITING:
        problems.append(f"GitHub says that job {name} is {status} ({conclusion}), which is not known.")
    return False


def _ran(job: Job) -> bool:
    """Whether a runner took the job, or a step of it began."""
    if job.runner_id or job.runner_name:
        return True
    return any(step.started_at is not None and step.conclusion != "skipped" for step in job.steps or ())


def held_by(
    api: RepositoryApi,
    run_id: str,
    waiting: Mapping[str, Job],
    environments: Iterable[Environment],
    now: datetime,
) -> dict[str, str]:
    """Seat -> what GitHub waits for before it lets an approved job start, in words that follow "held by".

    It decides nothing: what cannot be read is said to be so.
    """
    held = {seat: _words_of(job.status) for seat, job in waiting.items()}
    at_rules = [seat for seat, job in waiting.items() if job.status == "waiting"]
    if not at_rules:
        return held
    numbers = {environment.seat: environment.number for environment in environments}
    try:
        pending = {one.environment.id: _rule_of(one, now) for one in api.pending_deployments(run_id)}
    except VendorError as error:
        _log.warning("what holds workflow run %s cannot be read: %s", run_id, error)
        return held | dict.fromkeys(at_rules, f"GitHub; by what cannot be read ({error.message})")
    return held | {seat: pending.get(numbers.get(seat, ""), _OTHER_RULE) for seat in at_rules}


def _words_of(status: str) -> str:
    return "the lack of a runner: its job is queued" if status == "queued" else f"GitHub: its job is {status}"


def _rule_of(pending: PendingDeployment, now: datetime) -> str:
    minutes = pending.wait_timer or 0
    if minutes <= 0:
        return _OTHER_RULE
    if pending.wait_timer_started_at is None:
        return f"a wait timer of {minutes} minutes"
    until = pending.wait_timer_started_at + timedelta(minutes=minutes)
    return f"a wait timer until {until:%Y-%m-%d %H:%M} UTC" if until > now else _OTHER_RULE
