"""The command line. Command modules are imported only when they are called, so that `--help` is quick."""

from __future__ import annotations

import importlib
import os
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from champion_gate import SILENT_MLFLOW, __version__
from champion_gate.cli.group import Group
from champion_gate.errors import ConfigurationError, GateError

_INTERRUPTED = 130  # what shells say of Ctrl-C: 128 and the signal's number

_EXIT_CODES = """\b
Exit codes:
  0    done
  1    it could not be done: refused, not found, in conflict with how things stand
  2    the configuration or the command line is wrong
  3    not authenticated, or not permitted
  4    out of reach or busy (the service, its port, the database or a vendor): try again later
  130  interrupted by Ctrl-C
"""

_COMMANDS = {
    "serve": ("champion_gate.cli.serve", "Run the service."),
    "healthcheck": (
        "champion_gate.cli.serve:healthcheck",
        "Ask whether the service of this machine answers.",
    ),
    "demo": (
        "champion_gate.demo.command",
        "See a model version become Champion, on this machine, in a minute.",
    ),
    "config": (
        "champion_gate.cli.config",
        "Check gates.yaml and the settings, or print the file's JSON Schema.",
    ),
    "doctor": (
        "champion_gate.cli.doctor",
        "Look at everything that the service needs around it, and say what to mend.",
    ),
    "migrate": ("champion_gate.cli.database:migrate", "Create or upgrade the database's tables."),
    "backup": (
        "champion_gate.cli.database:backup",
        "Copy the database into one file, also beside a running service.",
    ),
    "restore": ("champion_gate.cli.database:restore", "Put a backup in the place of the database."),
    "store": ("champion_gate.cli.database:store", "Move the database to another one, such as PostgreSQL."),
    "init": ("champion_gate.cli.init", "Write the files with which an installation begins."),
    "setup": (
        "champion_gate.cli.setup",
        "Make at Databricks, GitHub or GitLab what the service needs there.",
    ),
    "promotions": (
        "champion_gate.cli.promotions",
        "List, show or watch promotions; ask for one, cancel or retry one.",
    ),
    "steps": ("champion_gate.cli.steps", "Retry or skip a step of a promotion."),
    "notifications": (
        "champion_gate.cli.notifications",
        "List, show or replay what Databricks told us, and what came of it.",
    ),
    "identities": (
        "champion_gate.cli.identities",
        "List whose logins are whose accounts; accept or forget one.",
    ),
    "alias": (
        "champion_gate.cli.alias",
        "Show where an alias stands and who moved it; set, roll back, hold or release it.",
    ),
    "ledger": ("champion_gate.cli.ledger", "Export the ledger, or verify it, an export of it or a receipt."),
    "tokens": ("champion_gate.cli.tokens", "Create, list or revoke the tokens with which the API is called."),
    "notices": ("champion_gate.cli.notices", "Try whether people are reached by a notice."),
    "hooks": ("champion_gate.cli.hooks", "Send a stored or a sample notification to a running service."),
}


class _LazyGroup(Group):
    """A group whose commands live in modules of their own, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or "command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it as shells expect, without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)

    def short_help_of(self, ctx: click.Context, name: str) -> str:
        del ctx
        return _COMMANDS[name][1]


@click.group(cls=_LazyGroup, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="champion-gate")
@click.option("--env-file", metavar="FILE", help="Take the service's variables from this file.")
@click.option(
    "--no-color", is_flag=True, help="No colours, also where NO_COLOR is set; a pipe never gets them."
)
@click.pass_context
def cli(ctx: click.Context, env_file: str | None, *, no_color: bool) -> None:
    """Human approval in CI/CD before a trained model version becomes Champion.

    Settings come from the environment (CHAMPION_GATE_…) and from gates.yaml; service/docs/configuration.md lists them. The
    commands alias, promotions, steps, notifications and identities work over the API of a running service where --api or
    CHAMPION_GATE_API_URL names one (with the token in CHAMPION_GATE_TOKEN), else on the local database.
    """
    from champion_gate import log

    if no_color or os.environ.get("NO_COLOR"):  # no-color.org
        ctx.color = False
    # Standard output is for what was asked.
    log.configure(console=True, level="WARNING", stream=sys.stderr)
    if env_file is not None:
        from champion_gate.bootstrap.person import take_env_file

        take_env_file(Path(env_file))


def exit_code(error: GateError) -> int:
    """What `champion-gate` exits with after an error, as its help says."""
    if isinstance(error, ConfigurationError):
        return 2
    if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return 3
    return 4 if error.retryable else 1


def main() -> None:
    """Run `champion-gate`; errors of ours become one message on stderr and an exit code."""
    from champion_gate.domain.text import storable

    os.environ.update(SILENT_MLFLOW)
    try:
        # Bytes that are no UTF-8 arrive as lone surrogates, which neither JSON nor a database takes.
        cli([storable(each, len(each)) for each in sys.argv[1:]], prog_name="champion-gate")
    except GateError as error:
        from champion_gate.cli.output import told

        click.echo(f"champion-gate: {told(error)}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
