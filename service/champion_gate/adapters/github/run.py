"""Whether a workflow run is the one that we opened, and only its first attempt.

Another value never heals and ends the request; a field of a form that we do not know only keeps it waiting.
Forms: GitHub's description of its REST API, `workflow-run` and `job`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from champion_gate.adapters.github.models import Job, Run

RUN_AGAIN = "The workflow run was run a second time; only the first attempt is believed."

_FILE = re.compile(
    r"(?:(?P<repository>[\w.-]+/[\w.-]+)/)?(?P<file>\.github/workflows/[^/@\s]+)(?:@(?P<at>[^@\s]+))?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,63}")
_EVENT = re.compile(r"[a-z_]+")


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
