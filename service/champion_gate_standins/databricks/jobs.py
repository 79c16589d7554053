"""The Databricks stand-in's Jobs API: what tests and the demo do to it, and its routes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import requests
from flask import Flask, Response, abort, jsonify, request

from champion_gate_standins.databricks.destinations import Destinations
from champion_gate_standins.databricks.principals import caller
from champion_gate_standins.databricks.runs import Hook, Job, JobRun, Repair, Task

T = TypeVar("T")

_PAGE = 100
_MAX_RUNS_PAGE = 25
_MOST_DESTINATIONS = 3  # an event
_NOTIFY_TIMEOUT = 15.0
_PAGED = ("tasks", "job_clusters", "environments", "parameters")
_FIRST_ID = 9_100_000_000_000_001  # beyond 2**53, as real ids may be


class Jobs:
    """Jobs, their runs, and the notifications that they send.

    Ids are given and taken as strings. Every method may be called from any thread.

    Attributes:
        lose_notifications: do as if every notification were lost on its way.
        notifications: the bodies sent (or lost), in order.
    """

    def __init__(self, workspace_id: str, now: Callable[[], int], destinations: Destinations) -> None:
        self.lose_notifications = False
        self.notifications: list[dict[str, Any]] = []
        self._workspace_id = workspace_id
        self._now = now
        self._destinations = destinations
        self._jobs: dict[int, Job] = {}
        self._runs: dict[int, JobRun] = {}
        self._tasks: dict[int, tuple[JobRun, Task]] = {}
        self._next_id = _FIRST_ID
        self._lock = threading.RLock()

    # what tests and the demo do
    def add_job(
        self,
        name: str,
        *,
        job_id: int | None = None,
        creator: str | None = "trainer@example.com",
        run_as: str | None = "trainer@example.com",
        hook: Hook | None = None,
        **settings: Any,
    ) -> str:
        """Make a job and return its id; further settings are those of `Job`."""
        with self._lock:
            job = Job(job_id or self._new_id(), name, creator, run_as, hook, **settings)
            self._jobs[job.job_id] = job
            return str(job.job_id)

    def run_job_as(self, job_id: str, run_as: str | None, settings: Mapping[str, str] | None = None) -> None:
        """Have a job run as somebody else from now on.

        Args:
            job_id: a job's id.
            run_as: `run_as_user_name`; None where Databricks leaves it out.
            settings: `settings.run_as`, e.g. {"group_name": …}; None where it is left out.
        """
        with self._lock:
            job = self._jobs[int(job_id)]
            job.run_as, job.settings_run_as = run_as, settings

    def job(self, job_id: str) -> Job | None:
        """A job; None where there is none of this id."""
        return self._jobs.get(int(job_id))

    def run(self, run_id: str) -> JobRun | None:
        """A job run; None where there is none of this id."""
        return self._runs.get(int(run_id))

    def going_on(self, job_id: str) -> list[JobRun]:
        """The job's runs that have not ended, oldest first."""
        with self._lock:
            return [run for run in self._runs.values() if run.job.job_id == int(job_id) and run.code is None]

    def delete_run(self, run_id: str) -> None:
        """Delete a run, as a person may and as Databricks does after 60 days."""
        with self._lock:
            del self._runs[int(run_id)]

    def remove_job(self, job_id: str) -> None:
        """Delete a job; its runs stay readable."""
        with self._lock:
            del self._jobs[int(job_id)]

    def start_run(
        self,
        job_id: str,
        *,
        creator: str | None = "trainer@example.com",
        tasks: Sequence[str] | Mapping[str, str] = ("train",),
        run_id: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> str:
        """Start a run and return its id.

        Args:
            job_id: a job's id.
            creator: who started it; None as of a user deleted since.
            tasks: task keys, or task key -> kind ("notebook", "spark_python", "for_each", "run_job").
            run_id: the id that it gets; None for the next one.
            parameters: the values of its job parameters.
        """
        kinds = tasks if isinstance(tasks, Mapping) else dict.fromkeys(tasks, "notebook")
        with self._lock:
            now = self._now()
            made = [Task(self._new_id(), key, kind, start=now) for key, kind in kinds.items()]
            original = Repair(None, now, [task.run_id for task in made])
            number = self._new_id() if run_id is None else int(run_id)
            given = dict(parameters or {})
            run = JobRun(number, self._jobs[int(job_id)], creator, now, made, [original], parameters=given)
            self._runs[run.run_id] = run
            self._keep(run, made)
            return str(run.run_id)

    def task_run_id(self, run_id: str, task_key: str) -> str:
        """The id of a task's latest attempt."""
        with self._lock:
            return str(self._runs[int(run_id)].latest(task_key).run_id)

    def set_output(self, task_run_id: str, said: object, *, truncated: bool = False) -> None:
        """Have a notebook task say something when it ends: text as it is, anything else as JSON."""
        with self._lock:
            _, task = self._tasks[int(task_run_id)]
            task.output = said if isinstance(said, str) else json.dumps(said)
            task.truncated = truncated

    def retry_task(self, run_id: str, task_key: str, *, code: str = "RUN_EXECUTION_ERROR") -> str:
        """End a task's latest attempt with this code, start the next one, and return its id."""
        with self._lock:
            run = self._runs[int(run_id)]
            task = run.latest(task_key)
            _end_task(task, code, self._now())
            again = Task(self._new_id(), task.key, task.kind, task.attempt + 1, start=self._now())
            again.child_job_id = task.child_job_id
            run.tasks.append(again)
            run.repairs[-1].task_run_ids.append(again.run_id)
            self._keep(run, [again])
            return str(again.run_id)

    def end_task(self, run_id: str, task_key: str, *, code: str = "SUCCESS") -> None:
        """End a task's latest attempt while the run goes on."""
        with self._lock:
            _end_task(self._runs[int(run_id)].latest(task_key), code, self._now())

    def add_iteration(self, run_id: str, task_key: str, *, code: str = "SUCCESS", attempt: int = 0) -> str:
        """Add an ended iteration to a for-each task's latest attempt, and return its task run id."""
        with self._lock:
            run, now = self._runs[int(run_id)], self._now()
            task = run.latest(task_key)
            one = Task(self._new_id(), f"{task.key}_iteration", "notebook", attempt, now, now, code)
            task.iterations.append(one)
            self._keep(run, [one])
            return str(one.run_id)

    def start_child(self, run_id: str, task_key: str, child_job_id: str, **run: Any) -> str:
        """Have a run-job task start a run of another job, and return that run's id."""
        with self._lock:
            child = self.start_run(child_job_id, **run)
            task = self._runs[int(run_id)].latest(task_key)
            task.child_run_id, task.child_job_id = int(child), int(child_job_id)
            self._runs[int(child)].parent_task_run_id = task.run_id
            return child

    def finish_run(
        self,
        run_id: str,
        result: str = "SUCCESS",
        *,
        message: str = "",
        tasks: Mapping[str, str] | None = None,
        notify: bool = True,
    ) -> list[int]:
        """End a run and send the notifications that its job asks for.

        Args:
            run_id: a job run's id.
            result: termination code, also one that nobody has heard of.
            message: Databricks' words for it.
            tasks: task key -> termination code, where it is not the run's.
            notify: whether notifications are sent.

        Returns:
            The HTTP statuses with which the notifications were answered; 0 where nobody answered.
        """
        with self._lock:
            run, now = self._runs[int(run_id)], self._now()
            ended = [task for task in run.tasks if task.code is None]
            for task in ended:
                _end_task(task, (tasks or {}).get(task.key, result), now)
            run.code, run.message, run.end = result, message, now
            run.repairs[-1].end, run.repairs[-1].code = now, result
            per_task = run.job.hook is not None and run.job.hook.per_task
        if not notify:
            return []
        statuses = [
            status
            for task in ended
            if per_task
            for status in self.send_notification(run_id, task_key=task.key)
        ]
        return statuses + self.send_notification(run_id)

    def repair_run(self, run_id: str, task_keys: Sequence[str] | None = None) -> str:
        """Run tasks (all if None) again as part of the same run, and return the repair's id."""
        with self._lock:
            run, now = self._runs[int(run_id)], self._now()
            keys = dict.fromkeys(task.key for task in run.tasks) if task_keys is None else task_keys
            again = []
            for key in keys:
                task = run.latest(key)
                again.append(Task(self._new_id(), key, task.kind, task.attempt + 1, start=now))
                again[-1].child_job_id = task.child_job_id
            run.tasks += again
            self._keep(run, again)
            run.code, run.end = None, 0
            repair = Repair(self._new_id(), now, [task.run_id for task in again])
            run.repairs.append(repair)
            return str(repair.repair_id)

    def send_notification(
        self, run_id: str, *, task_key: str | None = None, event_type: str | None = None, times: int = 1
    ) -> list[int]:
        """Post the job's notification as Databricks does; see `finish_run` for what is returned.

        https://docs.databricks.com/aws/en/jobs/notifications has the body; User-Agent as seen in the field.

        Args:
            run_id: a job run's id.
            task_key: send a task-level notification of this task's latest attempt instead.
            event_type: made from the result if None.
            times: how often the same body is posted.
        """
        with self._lock:
            run = self._runs[int(run_id)]
            code = run.latest(task_key).code if task_key else run.code
            well = code in {"SUCCESS", "SUCCESS_WITH_FAILURES"}
            default = "jobs.on_start" if code is None else "jobs.on_success" if well else "jobs.on_failure"
            event = event_type or default
            hooks = self._hooks(run.job, event, of_task=task_key is not None)
            bodies = [(hook, self._notification(run, hook, task_key, event)) for hook in hooks]
        return [self._post(hook, body) for hook, body in bodies for _ in range(times)]

    def _hooks(self, job: Job, event: str, *, of_task: bool) -> list[Hook]:
        """Where a job's notifications go: what the test gave it, and the destinations that were attached to it."""
        given = [] if job.hook is None else [job.hook]
        if of_task:
            return given
        attached = job.more.get("webhook_notifications", {}).get(event.removeprefix("jobs."), [])
        webhooks = [self._destinations.by_id[each["id"]].webhook for each in attached]
        return given + [
            Hook(each["url"], each.get("username", ""), each.get("password", "")) for each in webhooks if each
        ]

    def _notification(self, run: JobRun, hook: Hook, task_key: str | None, event: str) -> dict[str, Any]:
        def shown(number: int) -> int | str:
            return str(number) if hook.ids_as_text else number

        body: dict[str, Any] = {
            "event_type": event,
            "workspace_id": shown(int(self._workspace_id)),
            "run": {"run_id": shown(run.run_id)},
            "job": {"job_id": shown(run.job.job_id), "name": run.job.name},
        }
        if task_key is not None:
            body["task"] = {"task_key": task_key}
            body["run"] = {"run_id": shown(run.latest(task_key).run_id), "parent_run_id": shown(run.run_id)}
        return body

    def _post(self, hook: Hook, body: dict[str, Any]) -> int:
        self.notifications.append(body)
        if self.lose_notifications:
            return 0
        headers = {"User-Agent": "Apache-HttpClient/4.5.13 (Java/17)", "Content-Type": "application/json"}
        try:
            answer = requests.post(
                hook.url,
                data=json.dumps(body),
                headers=headers,
                auth=(hook.username, hook.password),
                timeout=_NOTIFY_TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException:
            return 0  # Databricks documents no second try
        return answer.status_code

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _keep(self, run: JobRun, tasks: Sequence[Task]) -> None:
        self._tasks |= {task.run_id: (run, task) for task in tasks}

    # what clients see
    def attach(self, app: Flask) -> None:
        """Add the Jobs API's routes."""
        app.get("/api/2.2/jobs/get")(self._get_job)
        app.post("/api/2.2/jobs/update")(self._update_job)
        app.get("/api/2.2/jobs/list")(self._list_jobs)
        app.get("/api/2.2/jobs/runs/get")(self._get_run)
        app.get("/api/2.2/jobs/runs/get-output")(self._get_output)
        app.get("/api/2.2/jobs/runs/list")(self._list_runs)

    def _get_job(self) -> Response:
        with self._lock:
            job = self._jobs.get(_id_argument("job_id"))
            if job is None:
                abort(400, f"Job {request.args['job_id']} does not exist.")
            return jsonify(_paged(job.shown(), _page()))

    def _update_job(self) -> Response:
        """Each key of `new_settings` takes the place of what was there, whole (databricks/sdk/service/jobs.py, update)."""
        body = request.get_json(silent=True) or {}
        with self._lock:
            job = self._jobs.get(body.get("job_id", 0))
            if job is None:
                abort(400, f"Job {body.get('job_id')} does not exist.")
            if not caller().admin and caller().name != job.creator:
                abort(
                    403,
                    f"User {caller().name} does not have Manage or Owner permissions on job {job.job_id}.",
                )
            settings = dict(body.get("new_settings") or {})
            for event, attached in (settings.get("webhook_notifications") or {}).items():
                if len(attached) > _MOST_DESTINATIONS:
                    abort(400, f"{event}: at most {_MOST_DESTINATIONS} destinations are allowed.")
                for each in attached:
                    if each.get("id") not in self._destinations.by_id:
                        abort(400, f"Notification destination {each.get('id')} does not exist.")
            job.name = str(settings.pop("name", job.name))
            job.more = {**job.more, **settings}
            return jsonify({})

    def _list_jobs(self) -> Response:
        name, page, size = request.args.get("name"), _page(), int(request.args.get("limit", 20))
        with self._lock:
            jobs = [j for j in self._jobs.values() if name is None or j.name.lower() == name.lower()]
            return _listed("jobs", jobs[::-1], page, size, Job.shown)

    def _get_run(self) -> Response:
        run_id, base, page = _id_argument("run_id"), request.host_url.rstrip("/"), _page()
        history = request.args.get("include_history") == "true"
        with self._lock:
            if run_id in self._runs:
                return jsonify(self._runs[run_id].shown(base, page, _PAGE, history=history))
            run, task = self._known_task(run_id)
            return jsonify(run.shown_task(task, base, page, _PAGE))

    def _get_output(self) -> Response:
        run_id = _id_argument("run_id")
        with self._lock:
            if run_id in self._runs:
                abort(
                    400,
                    "Retrieving the output of runs with multiple tasks is not supported. Please retrieve "
                    "the output of each individual task run instead.",
                )
            run, task = self._known_task(run_id)
            return jsonify(_output(run, task, request.host_url.rstrip("/")))

    def _known_task(self, run_id: int) -> tuple[JobRun, Task]:
        if run_id not in self._tasks:
            abort(400, f"Run {run_id} does not exist.")
        return self._tasks[run_id]

    def _list_runs(self) -> Response:
        job_id, since = _id_argument("job_id"), int(request.args.get("start_time_from", 0))
        completed, active = (request.args.get(f"{each}_only") == "true" for each in ("completed", "active"))
        size, base, page = int(request.args.get("limit", 20)), request.host_url.rstrip("/"), _page()
        if not 0 < size <= _MAX_RUNS_PAGE:
            abort(400, f"Invalid limit: {size}.")
        with self._lock:
            runs = [
                run
                for run in self._runs.values()
                if run.job.job_id == job_id
                and run.start >= since
                and (run.code or not completed)
                and not (run.code and active)
            ]
            runs.sort(key=lambda run: (-run.start, -run.run_id))
            return _listed("runs", runs, page, size, lambda run: run.head(base))


def _paged(shown: dict[str, Any], page: int) -> dict[str, Any]:
    """One page of a job: at most a hundred items of each list of its settings."""
    part, settings = slice(page * _PAGE, (page + 1) * _PAGE), shown["settings"]
    more = any(len(settings.get(key) or ()) > part.stop for key in _PAGED)
    cut = {key: value[part] if key in _PAGED and value else value for key, value in settings.items()}
    return {**shown, "settings": cut, **({"next_page_token": str(page + 1)} if more else {})}


def _output(run: JobRun, task: Task, base: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"metadata": run.shown_task(task, base, 0, _PAGE)}
    if task.kind == "for_each":
        abort(400, "Retrieving the output of a for each task is not supported.")
    if task.kind == "run_job" and task.child_run_id is not None:
        answer["run_job_output"] = {"run_id": task.child_run_id}
    if task.kind == "notebook":
        said = {} if task.output is None else {"result": task.output, "truncated": task.truncated}
        answer["notebook_output"] = said
    if task.kind == "spark_python":
        answer |= {"logs": task.output or "", "logs_truncated": False}
    return answer if task.error is None else {**answer, "error": task.error}


def _end_task(task: Task, code: str, now: int) -> None:
    task.code, task.end = code, now


def _id_argument(name: str) -> int:
    given = request.args.get(name, "")
    if not re.fullmatch(r"[0-9]{1,19}", given):
        abort(400, f"Could not parse request object: {name} is no number.")
    return int(given)


def _page() -> int:
    return int(request.args.get("page_token", 0))


def _listed(key: str, items: list[T], page: int, size: int, shown: Callable[[T], dict[str, Any]]) -> Response:
    part = [shown(item) for item in items[page * size : (page + 1) * size]]
    more = {"next_page_token": str(page + 1)} if len(items) > (page + 1) * size else {}
    return jsonify({**({key: part} if part else {}), "has_more": bool(more), **more})
