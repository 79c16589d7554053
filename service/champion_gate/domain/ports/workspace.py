"""What flow asks of the one Databricks workspace: runs, jobs, serving endpoints, the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from champion_gate.domain.drift import AuditAnswer
from champion_gate.domain.job_runs import EndedRun, JobRun, OpenRun, TaskOutput
from champion_gate.domain.jobs import Job, RunState, StartedRun
from champion_gate.domain.serving import Endpoint


class JobRuns(Protocol):
    """The Jobs API of the one workspace."""

    def workspace_id(self) -> str | None:
        """The workspace's own id; None where it does not tell."""
        ...

    def get_run(self, run_id: str, *, probably_of: str = "") -> JobRun:
        """Re-read a whole job run (not a task run) with all that hangs below it.

        Args:
            run_id: decimal string.
            probably_of: the id of the job of which it is said to be one, so that this job is read at the same time.
        """
        ...

    def task_outputs(self, run: JobRun) -> tuple[TaskOutput, ...]:
        """What the run's `tasks` say of the version they registered; tasks that say nothing are left out."""
        ...

    def list_ended_runs(self, job_id: str, since: datetime) -> tuple[EndedRun, ...]:
        """The job's ended runs that started at `since` or later, newest first."""
        ...

    def list_open_runs(self, job_id: str) -> tuple[OpenRun, ...]:
        """The job's runs that have not ended, newest first."""
        ...

    def jobs_named(self, name: str) -> tuple[str, ...]:
        """The ids of all jobs that bear exactly this name."""
        ...


class Jobs(Protocol):
    """Jobs of the one workspace that the gate starts. Ids are decimal strings."""

    def describe(self, job_id: str) -> Job:
        """A job as it is set now."""
        ...

    def principal(self) -> str:
        """As whom runs that we start are shown, asked for once; raises VendorUnavailableError where that is not told."""
        ...

    def start(self, job_id: str, parameters: Mapping[str, str], token: str) -> StartedRun:
        """Start a run, queued where the job is busy; one call that is never repeated here.

        Args:
            job_id: the job.
            parameters: the job parameters of this run; a value has at most 10,000 characters.
            token: at most 64 characters. A run that was started with it before is returned, and none is started:
                only with the same token is it safe to call again after an unknown outcome.

        Raises:
            InvalidInputError: parameters or token are not what Databricks takes.
            VendorUnavailableError: with `outcome_unknown` where it may have been started.
            VendorRefusedError: with `of_write`; also where the run of this token has been deleted.
        """
        ...

    def read(self, run_id: str, *, with_tasks: bool = True) -> RunState:
        """What has become of a run, with what its tasks left once it has ended, if that is wanted."""
        ...

    def cancel(self, run_id: str) -> None:
        """Ask for a run to be cancelled; it goes on for a while, and one that has ended stays as it is."""
        ...


class Serving(Protocol):
    """Serving endpoints of the one workspace. Names are checked before they enter a URL."""

    def read(self, name: str) -> Endpoint:
        """An endpoint as it is now."""
        ...

    def move(self, endpoint: Endpoint, model: str, version: str) -> Mapping[str, str]:
        """Begin to move all entities of a model to one version, keeping the rest of what was read.

        One update is carried out at most; it takes minutes, and replaces what others changed since `endpoint` was read.

        Returns:
            The names that the vendor did not let entities keep, each with the one that it bears now.

        Raises:
            ConflictError: the endpoint serves no version of this model, or two entities would bear one name.
            VendorUnavailableError: also while an update is under way; with `outcome_unknown` where it may have begun.
        """
        ...


class AuditLog(Protocol):
    """What the registry's platform records of who changed what; minutes late."""

    def ask(self, model: str, since: datetime, until: datetime) -> AuditAnswer:
        """Begin to look for the changes of a model's aliases and versions in that time.

        Raises:
            VendorRefusedError: also where we may not read it.
        """
        ...

    def read(self, statement_id: str) -> AuditAnswer:
        """What has become of that; raises as `ask`."""
        ...
