"""`champion-gate setup databricks`: the notification destination, and its place in the jobs that gates watch.

Routes and fields: databricks/sdk/service/settings.py (NotificationDestinationsAPI) and jobs.py (JobsAPI); docs.databricks.com,
"Manage notification destinations" (only workspace admins make them) and "Add notifications on a job" (at most three an event).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from champion_gate.adapters.databricks.checks import destination_of
from champion_gate.adapters.databricks.connection import ME, DatabricksConnection
from champion_gate.adapters.databricks.errors import unreadable
from champion_gate.adapters.databricks.job_runs import DatabricksJobRuns
from champion_gate.adapters.databricks.jobs_api import JOB
from champion_gate.adapters.databricks.models import Me, databricks
from champion_gate.adapters.databricks.surroundings import Destination, Surroundings
from champion_gate.domain.addresses import web_address
from champion_gate.domain.vendors import PREFIX
from champion_gate.errors import ConfigurationError, ConflictError
from champion_gate.settings.env_file import rotate_variable
from champion_gate.settings.gates import Gates
from champion_gate.setup.changes import Change, Plan, needing

PASSWORD = f"{PREFIX}DATABRICKS_HOOK_PASSWORD"
_USERNAME, _PUBLIC_URL = f"{PREFIX}DATABRICKS_HOOK_USERNAME", f"{PREFIX}PUBLIC_URL"

_DESTINATIONS = "/api/2.0/notification-destinations"
_UPDATE = "/api/2.2/jobs/update"
_EVENT = "on_success"
_MOST = 3  # destinations an event
_ADMIN = "Only a workspace admin may: let one run this."
_MANAGER = "It takes CAN MANAGE on the job: let somebody who has it run this."


@dataclass(frozen=True)
class Webhook:
    """Where Databricks posts, what it shows there, and the name of the destination that does."""

    name: str
    url: str
    username: str
    password: str = field(repr=False)

    def config(self) -> dict[str, Any]:
        """As Databricks takes it; it tells none of it again."""
        given = {"url": self.url, "username": self.username, "password": self.password}
        return {"generic_webhook": given}


def webhook_of(service: Mapping[str, str]) -> Webhook:
    """Where the service takes notifications, out of its variables.

    Raises:
        ConfigurationError: naming those that are missing, or an address that is none.
    """
    missing = [name for name in (_PUBLIC_URL, _USERNAME, PASSWORD) if not service.get(name)]
    if missing:
        raise ConfigurationError([f"{name}: is missing in the env file" for name in missing])
    try:
        address = web_address(service[_PUBLIC_URL])
    except ValueError as error:
        raise ConfigurationError([f"{_PUBLIC_URL}: expected {error}"]) from None
    return Webhook(
        destination_of(address), f"{address}/hooks/databricks", service[_USERNAME], service[PASSWORD]
    )


def check_person(connection: DatabricksConnection, service: Mapping[str, str]) -> str:
    """Who runs this, in words.

    Raises:
        ConfigurationError: it is the service itself, or the workspace is another than the service's.
    """
    me = connection.begin().get(Me, ME)
    problems = []
    if me.name and me.name == service.get("DATABRICKS_CLIENT_ID"):
        problems.append(f"the login is that of the service ({me.name}); setup runs as you (give --profile)")
    host = service.get("DATABRICKS_HOST", "").rstrip("/")
    if host and connection.host and host.casefold() != connection.host.rstrip("/").casefold():
        problems.append(f"the login is for {connection.host}, and the service's workspace is {host}")
    if problems:
        raise ConfigurationError(problems)
    return f"{me.name} at {connection.host}"


def jobs_of(connection: DatabricksConnection, gates: Gates) -> dict[str, list[str]]:
    """The ids of the jobs that each gate watches, by its name.

    Raises:
        ConflictError: a job's name means no job that the person may see, or several.
    """
    jobs = DatabricksJobRuns(connection)
    found: dict[str, list[str]] = {}
    for gate in gates.gates:
        ids = set(gate.job_ids)
        for name in sorted(gate.job_names):
            named = jobs.jobs_named(name)
            if len(named) != 1:
                raise ConflictError(
                    f"{len(named)} jobs that you may see bear the name {name!r}; expected one."
                )
            ids.update(named)
        found[gate.name] = sorted(ids, key=int)
    return found


class Notifications:
    """The destination, and the jobs that are to use it."""

    def __init__(self, connection: DatabricksConnection, webhook: Webhook) -> None:
        """Nothing is called yet."""
        self._connection = connection
        self._webhook = webhook
        self._id: str | None = None

    def add_to(self, plan: Plan, job_ids: Iterable[str]) -> None:
        """Add what has to change, and say what cannot be seen or done.

        Raises:
            ConflictError: several destinations bear the name, or one of another kind.
            VendorError: something cannot be read.
        """
        self._id = self._find()
        if self._id is None:
            plan.changes.append(
                Change(
                    f"notification destination {self._webhook.name}",
                    (f"+ posts to {self._webhook.url} as {self._webhook.username}",),
                    self._create,
                )
            )
        else:
            plan.remarks.append(
                f"The notification destination {self._webhook.name} is there. Databricks does not tell its address and password; "
                "if they may be others, `--rotate` writes them anew."
            )
        for job_id in job_ids:
            self._add_job(plan, job_id)

    def rotate(self, plan: Plan, env_file: Path, new: str, restarted: Callable[[], object]) -> None:
        """Add what gives the webhook a new password, which the service takes beside the old one.

        Raises:
            ConflictError: there is no such destination.
        """
        self._id = self._find()
        if self._id is None:
            raise ConflictError(
                f"There is no notification destination {self._webhook.name}.",
                hint="Run this without --rotate first.",
            )

        def keep() -> None:
            """First Databricks gets what the file has, also where an earlier rotation broke off; so one of the two always fits."""
            self._write(self._webhook)
            rotate_variable(env_file, PASSWORD, new)
            restarted()

        send = partial(self._write, replace(self._webhook, password=new))
        told = f"+ posts to {self._webhook.url} as {self._webhook.username}, with the new password"
        plan.changes += [
            Change(
                f"password in {env_file}", (f"+ {PASSWORD}", f"+ {PASSWORD}_PREVIOUS (the old one)"), keep
            ),
            Change(f"notification destination {self._webhook.name}", (told,), send),
        ]
        plan.remarks.append(
            f"When a notification has come with the new password, take {PASSWORD}_PREVIOUS out, and restart the service."
        )

    # --- the destination --------------------------------------------------------------------------------------

    def _find(self) -> str | None:
        found = [
            each
            for each in Surroundings(self._connection).destinations()
            if (each.display_name or "").casefold() == self._webhook.name.casefold()
        ]
        if len(found) > 1:
            raise ConflictError(
                f"{len(found)} notification destinations bear the name {self._webhook.name}.",
                hint="Rename or delete all but one.",
            )
        if found and found[0].destination_type != "WEBHOOK":
            raise ConflictError(
                f"The notification destination {self._webhook.name} is of type {found[0].destination_type}, and no webhook.",
                hint="Let its owner rename it.",
            )
        return found[0].id if found else None

    def _create(self) -> None:
        body = {"display_name": self._webhook.name, "config": self._webhook.config()}
        with needing(_ADMIN):
            made = self._connection.begin().post(Destination, _DESTINATIONS, body)
        self._id = databricks.told(made.id, f"{_DESTINATIONS}.id")

    def _write(self, webhook: Webhook) -> None:
        body = {"display_name": webhook.name, "config": webhook.config()}
        with needing(_ADMIN):
            self._connection.begin().write("PATCH", f"{_DESTINATIONS}/{quote(str(self._id), safe='')}", body)

    # --- its place in jobs ------------------------------------------------------------------------------------

    def _add_job(self, plan: Plan, job_id: str) -> None:
        job = self._read(job_id)
        if self._id is not None and self._id in job.attached:
            return
        if len(job.attached) >= _MOST:
            plan.remarks.append(
                f"{job.title} has {_MOST} destinations for {_EVENT} already, and Databricks takes no more: remove one of "
                "them, and run this again."
            )
            return
        if job.owner:
            plan.remarks.append(
                f"{job.title} is deployed by {job.owner}, whose next deployment takes this away again. Add the destination "
                f"there too: webhook_notifications: {{{_EVENT}: [{{id: …}}]}}, with the id that "
                "`databricks notification-destinations list` tells."
            )
        others = f"{len(job.attached)} of others stay" if job.attached else "the only one"
        what = f"{_EVENT} of {job.title}"
        plan.changes.append(
            Change(what, (f"+ {self._webhook.name} ({others})",), lambda: self._attach(job_id))
        )

    def _attach(self, job_id: str) -> None:
        """Databricks replaces the key as a whole, so all that stands there now goes back with it."""
        job = self._read(job_id)
        if self._id in job.attached:
            return
        if self._id is None or len(job.attached) >= _MOST:
            raise ConflictError(f"{job.title} got further destinations meanwhile.", hint="Run this again.")
        listed = [*job.notifications.get(_EVENT, []), {"id": self._id}]
        changed = {"webhook_notifications": {**job.notifications, _EVENT: listed}}
        with needing(_MANAGER):
            self._connection.begin().write("POST", _UPDATE, {"job_id": int(job_id), "new_settings": changed})
        if not {*job.attached, self._id} <= set(self._read(job_id).attached):
            raise ConflictError(
                f"{job.title} does not show the destination.",
                hint="Look at its notifications, and run this again.",
            )

    def _read(self, job_id: str) -> _Job:
        settings = self._connection.begin().read(JOB, {"job_id": job_id}).get("settings") or {}
        notifications = settings.get("webhook_notifications") or {}
        attached = notifications.get(_EVENT) or []
        if not all(isinstance(each, dict) and isinstance(each.get("id"), str) for each in attached):
            raise unreadable(JOB)
        ids = tuple(each["id"] for each in attached)
        return _Job(f"job {settings.get('name')} ({job_id})", notifications, ids, _owner(settings))


@dataclass(frozen=True)
class _Job:
    """A job as it is set now.

    Attributes:
        notifications: `webhook_notifications`, whole.
        attached: the ids of the destinations that hear of its successes.
        owner: what deploys it, in words; empty where nothing is known to.
    """

    title: str
    notifications: Mapping[str, Any]
    attached: tuple[str, ...]
    owner: str


def _owner(settings: Mapping[str, Any]) -> str:
    """Nothing marks a job as Terraform's but tags that people give it."""
    deployment = settings.get("deployment") or {}
    if deployment.get("kind") == "BUNDLE":
        return "an asset bundle"
    tags = " ".join(f"{key} {value}" for key, value in (settings.get("tags") or {}).items()).casefold()
    if "terraform" in tags:
        return "Terraform"
    return "something else than its page" if deployment or settings.get("edit_mode") == "UI_LOCKED" else ""
