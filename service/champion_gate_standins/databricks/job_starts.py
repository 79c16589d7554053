"""The Databricks stand-in's runs that clients start: run-now, cancel, and what becomes of them as time passes.

As in https://docs.databricks.com/api/workspace/jobs/runnow and databricks/sdk/service/jobs.py (JobsAPI).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, abort, jsonify, request

from champion_gate_standins.databricks.jobs import Jobs
from champion_gate_standins.databricks.runs import Job, JobRun

_MAX_TOKEN = 64
_MAX_VALUE = 10_000


@dataclass(frozen=True)
class Course:
    """What becomes of the runs of a job.

    Attributes:
        seconds: how long one takes by the stand-in's clock; None for one that goes on until `Jobs.finish_run`.
        code: the termination code, also one that nobody has heard of.
        message: Databricks' words for it.
        tasks: task key -> its termination code.
        said: what its notebooks say, by task key; made of the run's job parameters.
        truncated: whether what they say is cut.
        errors: task key -> the error that `get-output` shows.
        state: the life-cycle state in which it is while it goes on.
        kinds: task key -> what it is where it is no notebook, as `Jobs.start_run` takes it.
    """

    seconds: float | None = 0.0
    code: str = "SUCCESS"
    message: str = ""
    tasks: Mapping[str, str] = field(default_factory=lambda: {"main": "SUCCESS"})
    said: Callable[[Mapping[str, str]], Mapping[str, object]] = lambda _: {}
    truncated: bool = False
    errors: Mapping[str, str] = field(default_factory=dict)
    state: str = "RUNNING"
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Started:
    """A run that a client started.

    Attributes:
        begins: when it left the queue, in the clock's milliseconds; None while it is in it.
        cancelled: when cancelling it was asked for.
    """

    run_id: str
    job_id: str
    token: str | None
    parameters: Mapping[str, str]
    course: Course
    begins: int | None
    cancelled: int | None = None


class JobStarts:
    """Starts and cancels runs, and ends them when their time has passed; that is looked at before every request.

    Attributes:
        started: the runs that were made, oldest first: a repeated call with the same token makes none.
        queue_is_full: whether a run that would be queued is skipped instead.
        takes_undefined_parameters: whether parameters are taken that the job does not define; what Databricks
            does is documented nowhere.
        cancel_seconds: how long a cancelled run goes on.
    """

    def __init__(self, jobs: Jobs, user: str, now: Callable[[], int]) -> None:
        self.started: list[Started] = []
        self.queue_is_full = False
        self.takes_undefined_parameters = False
        self.cancel_seconds = 0.0
        self._jobs = jobs
        self._user = user
        self._now = now
        self._courses: dict[str, Course] = {}
        self._by_token: dict[str, str] = {}
        self._lock = threading.RLock()

    def set_course(self, job_id: str, **course: Any) -> None:
        """Have runs of a job that are started from now on take this `Course`."""
        self._courses[job_id] = Course(**course)

    def runs_of(self, job_id: str) -> list[Started]:
        """The runs of a job that clients started, oldest first."""
        return [each for each in self.started if each.job_id == job_id]

    def attach(self, app: Flask) -> None:
        """Add the routes, and let time pass before every request."""
        app.before_request(self.let_time_pass)
        app.post("/api/2.2/jobs/run-now")(self._run_now)
        app.post("/api/2.2/jobs/runs/cancel")(self._cancel)

    def _run_now(self) -> Response:
        body = _body()
        token, given = body.get("idempotency_token"), body.get("job_parameters") or {}
        if token is not None and len(token) > _MAX_TOKEN:
            abort(400, f"The idempotency token must have at most {_MAX_TOKEN} characters.")
        with self._lock:
            if token in self._by_token:
                return self._again(self._by_token[token])
            job = self._jobs.job(str(body.get("job_id", 0)))
            if job is None:
                abort(400, f"Job {body.get('job_id')} does not exist.")
            self._check(job, given)
            run_id = self._start(job, given, token, queue=body.get("queue"))
            return _made(run_id)

    def _again(self, run_id: str) -> Response:
        """One run a token, of whichever job."""
        if self._jobs.run(run_id) is None:
            abort(400, f"The run {run_id} of this idempotency token was deleted.")
        return _made(run_id)

    def _check(self, job: Job, given: Mapping[str, Any]) -> None:
        if any(not isinstance(value, str) or len(value) > _MAX_VALUE for value in given.values()):
            abort(400, f"A job parameter is a text of at most {_MAX_VALUE} characters.")
        undefined = sorted(given.keys() - job.parameters.keys())
        if undefined and not self.takes_undefined_parameters:
            abort(400, f"Job {job.job_id} does not define the parameters {undefined}.")

    def _start(self, job: Job, given: Mapping[str, str], token: str | None, *, queue: Any) -> str:
        job_id, now = str(job.job_id), self._now()
        course = self._courses.get(job_id, Course())
        is_busy = len(self._jobs.going_on(job_id)) >= job.most_runs
        may_wait = bool(queue["enabled"]) if queue else bool(job.queue)
        values = {**job.parameters, **given}
        tasks = {key: course.kinds.get(key, "notebook") for key in course.tasks}
        run_id = self._jobs.start_run(job_id, creator=self._user, tasks=tasks, parameters=values)
        made = Started(run_id, job_id, token, values, course, begins=None if is_busy else now)
        self.started.append(made)
        if token is not None:
            self._by_token[token] = run_id
        self._run_of(made).state = "QUEUED" if is_busy else course.state
        if is_busy and not may_wait:
            self._end(made, "MAX_CONCURRENT_RUNS_EXCEEDED", dict.fromkeys(course.tasks, "SKIPPED"))
        elif is_busy and self.queue_is_full:
            self._end(made, "MAX_JOB_QUEUE_SIZE_EXCEEDED", dict.fromkeys(course.tasks, "SKIPPED"))
        return run_id

    def _cancel(self) -> Response:
        run_id = str(_body().get("run_id", 0))
        if self._jobs.run(run_id) is None:
            abort(400, f"Run {run_id} does not exist.")
        with self._lock:
            for each in self._going_on():
                if each.run_id == run_id and each.cancelled is None:
                    each.cancelled = self._now()
                    self._run_of(each).state = "TERMINATING"
        return jsonify({})

    def let_time_pass(self) -> None:
        """End the runs whose time is over."""
        with self._lock:
            for each in self._going_on():
                self._advance(each)

    def _advance(self, each: Started) -> None:
        now, course = self._now(), each.course
        if each.cancelled is not None:
            if now >= each.cancelled + self.cancel_seconds * 1000:
                self._end(each, "USER_CANCELED", dict.fromkeys(course.tasks, "USER_CANCELED"))
            return
        if each.begins is None:
            run, others = self._run_of(each), self._jobs.going_on(each.job_id)
            if len([one for one in others if one.run_id < run.run_id]) >= run.job.most_runs:
                return
            each.begins, run.state = now, course.state
        if course.seconds is not None and now >= each.begins + course.seconds * 1000:
            self._leave_words(each)
            self._end(each, course.code, course.tasks, course.message)

    def _leave_words(self, each: Started) -> None:
        run = self._run_of(each)
        for key, said in each.course.said(each.parameters).items():
            self._jobs.set_output(str(run.latest(key).run_id), said, truncated=each.course.truncated)
        for key, error in each.course.errors.items():
            run.latest(key).error = error

    def _end(self, each: Started, code: str, tasks: Mapping[str, str], message: str = "") -> None:
        self._jobs.finish_run(each.run_id, code, message=message, tasks=tasks)

    def _going_on(self) -> list[Started]:
        found = ((each, self._jobs.run(each.run_id)) for each in self.started)
        return [each for each, run in found if run is not None and run.code is None]

    def _run_of(self, each: Started) -> JobRun:
        run = self._jobs.run(each.run_id)
        if run is None:
            raise KeyError(each.run_id)
        return run


def _body() -> dict[str, Any]:
    sent = request.get_json(silent=True)
    if not isinstance(sent, dict):
        abort(400, "Could not parse request object.")
    return sent


def _made(run_id: str) -> Response:
    return jsonify(run_id=int(run_id), number_in_job=int(run_id))
