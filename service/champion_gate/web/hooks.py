"""What Databricks and CI/CD systems post to us: parsed at the door, stored or hinted, answered at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from flask import Response, jsonify

from champion_gate.domain import ping
from champion_gate.domain.json_body import (
    Ignored,
    UnusableBodyError,
    id_of,
    json_object,
    object_at,
    shown,
    text_of,
)
from champion_gate.domain.notifications import JobNotification
from champion_gate.domain.ports.approval import EveryRequestAt
from champion_gate.domain.ports.runtime import Clock, WakeUps
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.registry_news import RegistryNews
from champion_gate.errors import GateError, StoreUnavailableError
from champion_gate.log import get_logger
from champion_gate.store import Store
from champion_gate.web.auth import Access, Auth, body, guarded, header
from champion_gate.web.problems import problem

log = get_logger(__name__)

DATABRICKS_BODY_CAP = 64 * 1024
PROVIDER_BODY_CAP = 2 * 1024 * 1024
TakesNews: TypeAlias = Callable[[RegistryNews], Callable[[], None] | Ignored]
NOT_WANTED = Ignored("nobody wants it")
T = TypeVar("T")

_MOST_DELIVERIES = 4096  # remembered; a bound for memory
_LONGEST_DELIVERY_ID = 200
_SUCCESS = "jobs.on_success"


def parse_databricks(sent: bytes) -> JobNotification | Ignored:
    """Read a job or task notification (docs.databricks.com, "Add notifications on a job").

    Args:
        sent: the body, at most 64 KiB.

    Returns:
        The notification with its ids as decimal strings, or why there is none; nothing is raised.
    """
    try:
        return _job_notification(json_object(sent))
    except UnusableBodyError as error:
        return Ignored(str(error))


class Hooks:
    """The views behind `/hooks/…`."""

    def __init__(
        self,
        store: Store,
        wake_ups: WakeUps,
        clock: Clock,
        access: Access,
        *,
        unwatched: Callable[[JobNotification], str | None] = lambda _: None,
        registry_news: TakesNews = lambda _: NOT_WANTED,
    ) -> None:
        """Set up.

        Args:
            store: the rows.
            wake_ups: tells workers that a row is due.
            clock: where the time comes from.
            access: how webhooks are checked and read.
            unwatched: tells without a call why no gate can want a notification; None where one may.
            registry_news: what is to be done about a registry's news once that has its answer, or why nothing is.
        """
        self._unwatched = unwatched
        self._registry_news = registry_news
        self._pinged = access.pinged
        self._provider_hooks = access.provider_hooks
        self._registry_hooks = access.registry_hooks
        self._seen = _Deliveries()
        self._store = store
        self._wake_ups = wake_ups
        self._clock = clock

    @guarded(Auth.BASIC, body_cap=DATABRICKS_BODY_CAP)
    def databricks(self) -> tuple[Response, int]:
        """Store a job notification: 202 means that it is committed."""
        parsed = parse_databricks(body())
        if isinstance(parsed, Ignored):
            return _ignore("databricks", parsed)
        unwatched = _stored(lambda: self._unwatched(parsed))
        notification_id = _stored(
            lambda: self._store.record_notification("hook", parsed, self._clock.now(), ignored=unwatched)
        )
        log.info(
            "notification stored" if unwatched is None else "notification stored and ignored",
            notification=notification_id,
            job_id=parsed.job_id,
            run_id=parsed.run_id,
        )
        response = jsonify({"notification": notification_id})
        if unwatched is None:
            # The sender has its answer before the work begins.
            response.call_on_close(partial(self._wake_ups.notification, notification_id))
        return response, 202

    @guarded(Auth.NONE)
    def not_configured(self) -> Response:
        """Say that no gate has to do with Databricks; whoever posts here is not asked who it is."""
        return problem(
            404,
            code="not_configured",
            detail="Databricks is not configured here: no gate has to do with it.",
            hint="Name a job in gates.yaml, and set DATABRICKS_HOST and the hook's user name and password.",
        )

    @guarded(Auth.SIGNATURE, body_cap=PROVIDER_BODY_CAP)
    def provider(self, sender: str) -> tuple[Response, int]:
        """Take a CI/CD system's webhook as a hint to look again; what it says is never believed."""
        hook = self._provider_hooks[sender]
        external_id = hook.request_id(header, body())
        if isinstance(external_id, Ignored):
            return _ignore(sender, external_id)
        delivery = (sender, hook.delivery_id(header))
        if self._seen.has(delivery):
            return _ignore(sender, Ignored("this delivery was taken before"))
        hinted = _stored(lambda: self._hint(sender, external_id))
        self._seen.add(delivery)
        response = jsonify({"hinted": len(hinted)})
        for promotion_id in hinted:
            response.call_on_close(partial(self._wake_ups.promotion, promotion_id))
        return response, 202

    @guarded(Auth.SIGNATURE, body_cap=PROVIDER_BODY_CAP)
    def registry(self, sender: str) -> tuple[Response, int]:
        """Take a registry's webhook as a hint to look; that it came is noted, which is how the doctor sees a test."""
        told = self._registry_hooks[sender].read(header, body())
        delivery = (sender, told.id)
        if self._seen.has(delivery):
            return _ignore(sender, Ignored("this delivery was taken before"))
        _stored(lambda: self._store.note_webhook(sender, told.kind, self._clock.now()))
        news = told.news
        follows = news if isinstance(news, Ignored) else _stored(lambda: self._registry_news(news))
        self._seen.add(delivery)
        if isinstance(follows, Ignored):
            return _ignore(sender, follows)
        response = jsonify({"looked_at": told.kind})
        response.call_on_close(follows)
        return response, 202

    @guarded(Auth.PING, body_cap=ping.LONGEST)
    def ping(self) -> Response:
        """Show the doctor that our public address leads to this installation."""
        return Response(self._pinged.answer(body(), header(ping.SIGNATURE)), mimetype="text/plain")

    def _hint(self, provider: str, told: str | EveryRequestAt) -> tuple[str, ...]:
        now = self._clock.now()
        if isinstance(told, str):
            hinted = self._store.hint_request(told, now)
        else:
            hinted = tuple(
                each.id for each in self._store.pending_promotions() if _asked_at(each, provider, told)
            )
            for promotion_id in hinted:
                self._store.hint_promotion(promotion_id, now)
        for promotion_id in hinted:
            log.info("promotion hinted", promotion=promotion_id, told=str(told))
        return hinted


def _asked_at(promotion: Promotion, provider: str, told: EveryRequestAt) -> bool:
    request = promotion.request
    if request is None or request.provider != provider:
        return False
    return request.place.get(told.key, "").lower() == told.value.lower()


class _Deliveries:
    """The deliveries of late, so that a repeated one costs nothing; forgotten at a restart, which costs a look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], None] = {}

    def has(self, delivery: tuple[str, str]) -> bool:
        with self._lock:
            return (delivery[0], delivery[1][:_LONGEST_DELIVERY_ID]) in self._seen

    def add(self, delivery: tuple[str, str]) -> None:
        if not delivery[1]:
            return
        with self._lock:
            self._seen[delivery[0], delivery[1][:_LONGEST_DELIVERY_ID]] = None
            if len(self._seen) > _MOST_DELIVERIES:
                del self._seen[next(iter(self._seen))]


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
        raise UnusableBodyError("it is no job notification: event_type is missing")
    if event_type != _SUCCESS:
        raise UnusableBodyError(f"{shown(event_type)} starts nothing: only {_SUCCESS} does")
    run, job = object_at(sent, "run"), object_at(sent, "job")
    task_key = parent_run_id = None
    if sent.get("task") is not None:
        task_key = text_of(object_at(sent, "task").get("task_key"), "task.task_key")
        # Without it the run id is a task run's, and there is no job run to re-read.
        parent_run_id = id_of(run.get("parent_run_id"), "run.parent_run_id")
    return JobNotification(
        event_type=event_type,
        workspace_id=id_of(sent.get("workspace_id"), "workspace_id"),
        job_id=id_of(job.get("job_id"), "job.job_id"),
        run_id=id_of(run.get("run_id"), "run.run_id"),
        job_name=text_of(job.get("name", ""), "job.name", may_be_empty=True),
        task_key=task_key,
        parent_run_id=parent_run_id,
    )
