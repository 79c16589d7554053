"""What Databricks and GitHub post to us: parsed at the door, stored or hinted, answered at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from flask import Response, jsonify, request

from champion_gate.core.ports import Clock, Store, WakeUps
from champion_gate.core.promotion import JobNotification
from champion_gate.errors import GateError
from champion_gate.log import get_logger
from champion_gate.web.auth import Auth, body, guarded
from champion_gate.web.problems import StoreUnavailableError

log = get_logger(__name__)

DATABRICKS_BODY_CAP = 64 * 1024
GITHUB_BODY_CAP = 2 * 1024 * 1024
MAX_NAME = 4096

T = TypeVar("T")

_ID = re.compile(r"[0-9]{1,19}")
_MAX_ID = 10**19 - 1
_SUCCESS = "jobs.on_success"
_RUN_PATHS = {
    "deployment_review": ("workflow_run", "id"),
    "deployment_status": ("workflow_run", "id"),
    "workflow_job": ("workflow_job", "run_id"),
    "workflow_run": ("workflow_run", "id"),
}


@dataclass(frozen=True)
class Ignored:
    """A body that leads to nothing, and why."""

    reason: str


class _UnusableError(ValueError):
    """A body of another shape; its message is the reason."""


def parse_databricks(sent: bytes) -> JobNotification | Ignored:
    """Read a job or task notification (docs.databricks.com, "Add notifications on a job").

    Args:
        sent: the body, at most 64 KiB.

    Returns:
        The notification with its ids as decimal strings, or why there is none; nothing is raised.
    """
    try:
        return _job_notification(_json_object(sent))
    except _UnusableError as error:
        return Ignored(str(error))


def parse_github(kind: str, sent: bytes) -> str | Ignored:
    """Read the workflow run's id out of a webhook (docs.github.com, "Webhook events and payloads").

    Args:
        kind: the header `X-GitHub-Event`.
        sent: the body, at most 2 MiB.

    Returns:
        The run's id as a decimal string, or why there is none; nothing is raised.
    """
    if kind not in _RUN_PATHS:
        return Ignored(f"{_shown(kind)} tells nothing about an approval")
    outer, inner = _RUN_PATHS[kind]
    try:
        return _id(_object(_json_object(sent), outer).get(inner), f"{outer}.{inner}")
    except _UnusableError as error:
        return Ignored(str(error))


class Hooks:
    """The views behind `/hooks/…`."""

    def __init__(self, store: Store, wake_ups: WakeUps, clock: Clock) -> None:
        self._store = store
        self._wake_ups = wake_ups
        self._clock = clock

    @guarded(Auth.BASIC, body_cap=DATABRICKS_BODY_CAP)
    def databricks(self) -> tuple[Response, int]:
        """Store a job notification: 202 means that it is committed."""
        parsed = parse_databricks(body())
        if isinstance(parsed, Ignored):
            return _ignore("databricks", parsed)
        notification_id = _stored(lambda: self._store.record_notification("hook", parsed, self._clock.now()))
        log.info(
            "notification stored", notification=notification_id, job_id=parsed.job_id, run_id=parsed.run_id
        )
        response = jsonify({"notification": notification_id})
        # A queue may be slow or away: the sender has its answer first.
        response.call_on_close(partial(self._wake, self._wake_ups.notification, notification_id))
        return response, 202

    @guarded(Auth.HMAC, body_cap=GITHUB_BODY_CAP)
    def github(self) -> tuple[Response, int]:
        """Take a webhook as a hint to look again; what it says is never believed."""
        run_id = parse_github(request.headers.get("X-GitHub-Event", ""), body())
        if isinstance(run_id, Ignored):
            return _ignore("github", run_id)
        hinted = _stored(lambda: self._hint(run_id))
        response = jsonify({"hinted": len(hinted)})
        for promotion_id in hinted:
            response.call_on_close(partial(self._wake, self._wake_ups.promotion, promotion_id))
        return response, 202

    def _hint(self, run_id: str) -> tuple[str, ...]:
        waiting = self._store.promotions_with_request(run_id)
        for promotion in waiting:
            self._store.hint_promotion(promotion.id, self._clock.now())
            log.info("promotion hinted", promotion=promotion.id, run_id=run_id)
        return tuple(promotion.id for promotion in waiting)

    def _wake(self, wake: Callable[[str], None], row_id: str) -> None:
        try:
            wake(row_id)
        except Exception:  # the row is stored: the sweep finds it
            log.exception("wake-up failed; the sweep will find the row")


def _stored(write: Callable[[], T]) -> T:
    try:
        return write()
    except GateError:
        raise
    except Exception as error:  # whatever the driver raises, nothing was acknowledged
        log.exception("the database did not answer")
        raise StoreUnavailableError("The database did not take it.", hint="Send it again later.") from error


def _ignore(source: str, ignored: Ignored) -> tuple[Response, int]:
    log.info("hook ignored", kind=source, reason=ignored.reason)
    return jsonify({"ignored": ignored.reason}), 200


def _job_notification(sent: dict[str, Any]) -> JobNotification:
    event_type = sent.get("event_type")
    if not isinstance(event_type, str):
        raise _UnusableError("it is no job notification: event_type is missing")
    if event_type != _SUCCESS:
        raise _UnusableError(f"{_shown(event_type)} starts nothing: only {_SUCCESS} does")
    run, job = _object(sent, "run"), _object(sent, "job")
    task_key = parent_run_id = None
    if sent.get("task") is not None:
        task_key = _text(_object(sent, "task").get("task_key"), "task.task_key")
        # Without it the run id is a task run's, and there is no job run to re-read.
        parent_run_id = _id(run.get("parent_run_id"), "run.parent_run_id")
    return JobNotification(
        event_type=event_type,
        workspace_id=_id(sent.get("workspace_id"), "workspace_id"),
        job_id=_id(job.get("job_id"), "job.job_id"),
        run_id=_id(run.get("run_id"), "run.run_id"),
        job_name=_text(job.get("name", ""), "job.name", may_be_empty=True),
        task_key=task_key,
        parent_run_id=parent_run_id,
    )


def _json_object(sent: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(sent.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _UnusableError("the body is not UTF-8") from None
    except RecursionError:
        raise _UnusableError("the body is nested too deeply") from None
    except _UnusableError:
        raise
    except ValueError:
        raise _UnusableError("the body is not JSON; the content type must be application/json") from None
    if not isinstance(loaded, dict):
        raise _UnusableError("the body is no JSON object")
    return loaded


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers disagree on which of two equal keys counts.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _UnusableError("the body holds a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise _UnusableError(f"{name} is not JSON")


def _object(outer: dict[str, Any], key: str) -> dict[str, Any]:
    value = outer.get(key)
    if not isinstance(value, dict):
        raise _UnusableError(f"{key} is missing or no object")
    return value


def _id(value: Any, where: str) -> str:
    # Databricks documents strings and sends numbers; True is an int to Python.
    if isinstance(value, str) and _ID.fullmatch(value):
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_ID:
        return str(value)
    raise _UnusableError(f"{where} is missing or no id")


def _text(value: Any, where: str, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise _UnusableError(f"{where} is missing or no text")
    if len(value) > MAX_NAME:
        raise _UnusableError(f"{where} is longer than {MAX_NAME} characters")
    # NUL and lone surrogates cannot be stored in every database.
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise _UnusableError(f"{where} holds characters that are no text")
    return value


def _shown(value: str) -> str:
    return ascii(value[:100])
