"""`champion-gate hooks send`: what Databricks would post, posted again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from champion_gate.cli.group import Group
from champion_gate.cli.output import print_line, tell_if_local
from champion_gate.domain.text import one_line

if TYPE_CHECKING:
    from champion_gate.domain.notifications import JobNotification


_LONGEST_TOLD = 2000
_TAKEN = range(200, 300)


@click.group(name="hooks", cls=Group)
def command() -> None:
    """Send a stored or a sample notification to a running service."""


@command.command()
@click.argument("notification_id", required=False)
@click.option("--job", "job_id", help="Sample: the job's id.")
@click.option("--run", "run_id", help="Sample: the job run's id.")
@click.option("--job-name", default="", help="Sample: the job's name, where a gate names it.")
@click.option("--workspace", "workspace_id", default="0", help="Sample: the workspace's id.")
@click.option("--url", help="The service's address; by default the one that `serve` listens on.")
def send(
    notification_id: str | None,
    *,
    job_id: str | None,
    run_id: str | None,
    job_name: str,
    workspace_id: str,
    url: str | None,
) -> None:
    """Post a job notification as Databricks does, with the hook's user name and password.

    Give the id of a stored notification to have its run looked at again, or --job and --run for a run
    that no notification told about.
    """
    from champion_gate.bootstrap.databases import open_local_store
    from champion_gate.bootstrap.local import load_local_settings
    from champion_gate.domain.notifications import JobNotification
    from champion_gate.errors import ConfigurationError

    settings = load_local_settings()
    if notification_id is not None:
        tell_if_local()
        with open_local_store() as store:
            notification = store.get_notification(notification_id).notification
    elif job_id is not None and run_id is not None:
        notification = JobNotification("jobs.on_success", workspace_id, job_id, run_id, job_name)
    else:
        raise click.UsageError("Give the id of a stored notification, or --job and --run.")
    if not settings.hook_credentials:
        raise ConfigurationError(
            ["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD: is missing; Databricks is not configured"]
        )
    pair = settings.hook_credentials[0]
    base = url or f"http://{settings.environment.host}:{settings.environment.port}"
    print_line(
        _post(f"{base}/hooks/databricks", notification, (pair.username, pair.password.get_secret_value()))
    )


def _post(url: str, notification: JobNotification, credentials: tuple[str, str]) -> str:
    import requests

    from champion_gate.adapters.http.answer import A_WEB_PAGE as WEB_PAGE
    from champion_gate.adapters.http.answer import is_web_page
    from champion_gate.errors import VendorRefusedError, VendorUnavailableError

    try:
        answer = requests.post(
            url, json=_body(notification), auth=credentials, timeout=(5, 15), allow_redirects=False
        )
    except requests.RequestException as error:
        raise VendorUnavailableError(
            "the service",
            f"no answer from {url} ({type(error).__name__})",
            hint="Is `champion-gate serve` running?",
        ) from error
    told = f"{answer.status_code} {one_line(answer.text.strip(), _LONGEST_TOLD)}"
    if is_web_page(answer.content):
        told = f"{answer.status_code} with {WEB_PAGE}"
    elif answer.status_code in _TAKEN:
        return told
    raise VendorRefusedError("the service", f"answered {told}", hint="Is this the service's address?")


def _body(notification: JobNotification) -> dict[str, object]:
    run: dict[str, object] = {"run_id": notification.run_id}
    body: dict[str, object] = {
        "event_type": notification.event_type,
        "workspace_id": notification.workspace_id,
        "run": run,
        "job": {"job_id": notification.job_id, "name": notification.job_name},
    }
    if notification.task_key is not None:
        body["task"] = {"task_key": notification.task_key}
        run["parent_run_id"] = notification.parent_run_id
    return body
