"""`champion-gate setup`: make at the vendors what the service needs there, as the person who runs it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from champion_gate.cli.output import print_line

if TYPE_CHECKING:
    from champion_gate.setup.changes import Plan

ENV_FILE = "champion-gate.env"


@dataclass(frozen=True)
class Run:
    """How a setup command was called.

    Attributes:
        config: gates.yaml.
        env_file: the service's variables.
        yes: whether to go on without asking.
    """

    config: Path
    env_file: Path
    dry_run: bool
    yes: bool

    def agreed(self, question: str) -> bool:
        """Whether the person says yes, here or by --yes; nobody is asked without a terminal."""
        return self.yes or (sys.stdin.isatty() and click.confirm(question))

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


@click.group(name="setup")
def command() -> None:
    """Make at Databricks, GitHub or GitLab what the service needs there.

    It works with your own login, never with the service's, and keeps none of it. Each command tells the difference first,
    and run again changes nothing.
    """
