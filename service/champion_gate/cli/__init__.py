"""The command line. Command modules are imported only when they are called, so that `--help` is quick."""

from __future__ import annotations

import importlib
import sys

import click

from champion_gate import __version__
from champion_gate.errors import ConfigurationError, GateError

_COMMANDS = {
    "serve": ("serve", "Run the service."),
    "demo": ("demo", "See a model version become Champion, on this machine, in a minute."),
    "config": ("config", "Check gates.yaml and the settings, or print the file's JSON Schema."),
    "migrate": ("migrate", "Create or upgrade the database's tables."),
    "promotions": ("promotions", "List, show, cancel or retry promotions."),
    "notifications": ("notifications", "List or show what Databricks told us, and what came of it."),
    "alias": ("alias", "Show where an alias stands and who moved it."),
    "hooks": ("hooks", "Send a stored or a sample notification to a running service."),
}


class _LazyGroup(click.Group):
    """A group whose commands live in modules of their own, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"champion_gate.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="champion-gate")
def cli() -> None:
    """Human approval in CI/CD before a trained model version becomes Champion.

    Settings come from the environment (CHAMPION_GATE_…) and from gates.yaml; the README lists them.

    Exit codes: 0 done, 1 it could not be done, 2 the configuration or the command line is wrong.
    """


def main() -> None:
    """Run `champion-gate`; errors of ours become one message on stderr and an exit code."""
    try:
        cli(prog_name="champion-gate")
    except GateError as error:
        from champion_gate.cli.output import visible

        click.echo(f"champion-gate: {visible(str(error))}", err=True)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
