"""`champion-gate setup`: make at the vendors what the service needs there, as the person who runs it."""

from __future__ import annotations

import functools
import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from champion_gate.cli.group import Group
from champion_gate.cli.output import print_line

if TYPE_CHECKING:
    from champion_gate.adapters.github.secrets import GitHubSecrets
    from champion_gate.setup.changes import Plan
    from champion_gate.setup.github import GitHubSetup

ENV_FILE = "champion-gate.env"


@dataclass(frozen=True)
class Run:
    """How a setup command was called."""

    config: Path
    env_file: Path
    dry_run: bool
    yes: bool

    def agreed(self, question: str) -> bool:
        """Whether the person says yes, here or by --yes; where nobody answers it is no."""
        try:
            return self.yes or click.confirm(question)
        except click.Abort:
            return False

    def restarted(self) -> None:
        """Let the person restart the service, where there is one to be asked."""
        if sys.stdin.isatty() and not self.yes:
            click.pause("Restart the service now, so that it takes the new secret. Then press a key.")

    def carry_out(self, plan: Plan) -> None:
        """Tell the plan, and do it unless this is a dry run."""
        from champion_gate.setup.changes import carry_out

        carry_out(plan, dry_run=self.dry_run, agreed=self.agreed, say=print_line)


def setup_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every setup command has; it is called with the `Run` that they make."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=Path("gates.yaml"),
        show_default=True,
        help="The gates.",
    )
    @click.option(
        "--env-file",
        type=click.Path(path_type=Path),
        default=Path(ENV_FILE),
        show_default=True,
        help="The service's variables.",
    )
    @click.option("--dry-run", is_flag=True, help="Only tell what would change.")
    @click.option("--yes", is_flag=True, help="Go on without asking.")
    @functools.wraps(command)
    def run(*, config: Path, env_file: Path, dry_run: bool, yes: bool, **kwargs: Any) -> None:
        command(Run(config, env_file, dry_run, yes), **kwargs)

    return run


@click.group(name="setup", cls=Group)
def command() -> None:
    """Make at Databricks, GitHub, GitLab or an MLflow server what the service needs there.

    It works with your own login, never with the service's, and keeps none of it. Each command tells the difference first,
    and run again changes nothing.
    """


@command.command("databricks")
@setup_options
@click.option("--profile", metavar="NAME", help="Your profile of ~/.databrickscfg; else what the shell says.")
@click.option("--grant", is_flag=True, help="Also grant what is missing, instead of telling it.")
@click.option(
    "--principal",
    metavar="ID",
    help="The service's application id; else DATABRICKS_CLIENT_ID of its variables.",
)
@click.option(
    "--owner",
    metavar="NAME",
    help="Who is to own the models, such as a group that the service is in; else the service.",
)
@click.option("--rotate", is_flag=True, help="Only give the webhook a new password.")
def at_databricks(
    run: Run,
    *,
    profile: str | None,
    grant: bool,
    principal: str | None,
    owner: str | None,
    rotate: bool,
) -> None:
    """Make the notification destination, attach it to the jobs that gates watch, and see to the service's rights.

    Destinations of others stay. With --rotate a new password goes into the file of variables, the old one beside it, and
    then to Databricks.
    """
    from champion_gate.bootstrap.configuration import load_gates
    from champion_gate.bootstrap.person import databricks_of_person
    from champion_gate.settings.env_file import read_env_file
    from champion_gate.setup.changes import Plan
    from champion_gate.setup.databricks import Notifications, check_person, jobs_of, webhook_of
    from champion_gate.setup.databricks_rights import Rights

    gates, service = load_gates(run.config), read_env_file(run.env_file)
    connection = databricks_of_person(profile, service)
    print_line(f"As {check_person(connection, service)}.")
    notifications, plan = Notifications(connection, webhook_of(service)), Plan()
    if rotate:
        notifications.rotate(plan, run.env_file, secrets.token_hex(32), run.restarted)
    else:
        jobs = jobs_of(connection, gates)
        notifications.add_to(plan, sorted({each for ids in jobs.values() for each in ids}, key=int))
        named = principal or service.get("DATABRICKS_CLIENT_ID")
        if named:
            Rights(connection, named, owner).add_to(plan, gates, jobs, grant=grant)
        else:
            plan.remarks.append(
                "Nothing is known of the service's principal (--principal), so its rights are not looked at."
            )
    run.carry_out(plan)


@command.command("gitlab")
@setup_options
@click.option("--rotate", is_flag=True, help="Only renew the webhook's secret and the token to read with.")
def at_gitlab(run: Run, *, rotate: bool) -> None:
    """Protect branch and environment, and make tokens and webhook, in each project in which gates ask.

    It takes your access token with the scope api in GITLAB_TOKEN; you have to be a Maintainer. Who may deploy already stays.
    Tokens and secrets go into the file of variables; with --rotate the ones before stay beside them, until all is well.
    """
    from champion_gate.adapters.gitlab.settings import GitLabPlace, GitLabServer
    from champion_gate.bootstrap.configuration import load_gates
    from champion_gate.bootstrap.core import SystemClock
    from champion_gate.bootstrap.person import token_of_person
    from champion_gate.errors import ConfigurationError
    from champion_gate.settings.env_file import read_env_file
    from champion_gate.setup.changes import Plan
    from champion_gate.setup.gitlab_calls import ProjectCalls
    from champion_gate.setup.gitlab_credentials import Credentials, Service
    from champion_gate.setup.gitlab_protections import Protections

    gates, known = load_gates(run.config), read_env_file(run.env_file)
    token = token_of_person(("GITLAB_TOKEN",), known)
    places = [gate.approval.place for gate in gates.gates if isinstance(gate.approval.place, GitLabPlace)]
    server, url = gates.servers.get("gitlab"), known.get("CHAMPION_GATE_PUBLIC_URL", "").rstrip("/")
    problems = [] if places else [f"{run.config}: no gate asks in GitLab"]
    problems += [] if url else [f"CHAMPION_GATE_PUBLIC_URL: is missing in {run.env_file}"]
    if problems or not isinstance(server, GitLabServer):
        raise ConfigurationError(problems)
    service = Service(url, run.env_file, partial(secrets.token_hex, 32), SystemClock().now())
    plan = Plan()
    projects = [
        ProjectCalls(server, token, project) for project in sorted({place.project for place in places})
    ]
    credentials = Credentials(projects, service)
    if rotate:
        credentials.rotate(plan, run.restarted)
    else:
        for calls in projects:
            Protections(calls, [place for place in places if place.project == calls.project]).add_to(plan)
        credentials.add_to(plan)
    run.carry_out(plan)


@command.command("mlflow")
@setup_options
@click.option("--rotate", is_flag=True, help="Only give the webhook a new secret.")
def at_mlflow(run: Run, *, rotate: bool) -> None:
    """Make the webhook at the MLflow server that gates name, and have it send its test ping.

    It takes MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, where the server has users. The secret
    goes into the file of variables, with --rotate beside the one before. The ping shows that the service takes it.
    """
    from champion_gate.bootstrap.configuration import load_gates
    from champion_gate.bootstrap.person import check_mlflow_login
    from champion_gate.settings.env_file import read_env_file
    from champion_gate.setup.changes import Plan
    from champion_gate.setup.mlflow import ServerWebhook, service_of

    gates = load_gates(run.config)
    check_mlflow_login(read_env_file(run.env_file))
    webhook, plan = (
        ServerWebhook(gates, service_of(gates, run.env_file, partial(secrets.token_hex, 32))),
        Plan(),
    )
    if rotate:
        webhook.rotate(plan, run.restarted)
    else:
        webhook.add_to(plan, run.restarted)
    run.carry_out(plan)
    if not run.dry_run:
        print_line(webhook.tested())


@command.command("github")
@setup_options
@click.option(
    "--reviewer",
    "reviewers",
    multiple=True,
    metavar="LOGIN|ORG/TEAM",
    help="Who may approve, besides those who may already; repeat it for more.",
)
@click.option(
    "--paste/--listen",
    default=lambda: bool(os.environ.get("SSH_CONNECTION")),
    show_default="--paste over ssh",
    help="Whether the browser runs on another machine: the address on which it ends is then pasted here.",
)
@click.option(
    "--rotate", is_flag=True, help="Only give the App a new webhook secret, or with --key a new key."
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With --rotate: the file of a new private key, which the App's settings page makes.",
)
def at_github(run: Run, *, reviewers: tuple[str, ...], paste: bool, rotate: bool, key: Path | None) -> None:
    """Make the GitHub App, and in each repository the environments, the variable and the workflow.

    It takes your token in GH_TOKEN or GITHUB_TOKEN, such as that of `gh auth token`, with the scopes repo and workflow. A
    fine-grained one needs, on the repositories: Administration, Variables, Contents, Workflows and Pull requests (all: read
    and write), and Actions: read.

    GitHub makes an App only in a browser: you press one button there, and another to install it.
    """
    if key is not None and not rotate:
        raise click.UsageError("--key goes with --rotate.")
    setup = _github(run, click.prompt if paste else None)
    if rotate:
        run.carry_out(setup.plan_rotation(key, run.restarted))
        return
    run.carry_out(setup.plan(reviewers))
    if not run.dry_run:
        for problem in setup.what_is_left():
            print_line(f"left to do: {problem}")


def _github(run: Run, ask: Callable[[str], str] | None) -> GitHubSetup:
    from champion_gate.bootstrap.core import SystemClock
    from champion_gate.bootstrap.person import given_to_service, token_of_person
    from champion_gate.settings.env_file import read_env_file
    from champion_gate.setup.github import GitHubSetup, Service, Tools

    environment, gates = given_to_service(run.config, run.env_file)
    github = cast("GitHubSecrets", environment.vendors["github"])
    token = token_of_person(("GH_TOKEN", "GITHUB_TOKEN"), read_env_file(run.env_file))
    service = Service(gates, github, environment.public_url, run.env_file)
    return GitHubSetup(
        service, token, Tools(SystemClock(), time.sleep, secrets.token_urlsafe, print_line, ask)
    )
