"""What a shell's Tab offers beside commands and options: ids and phases. Whatever goes wrong, it offers nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Any

import click
from click.shell_completion import CompletionItem

from champion_gate.cli.client import Client, Json
from champion_gate.cli.options import open_client
from champion_gate.cli.output import clean, field, version_told
from champion_gate.errors import GateError

_MOST = 50
_SECONDS = 3.0  # somebody has pressed Tab
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def phases(of: Callable[[], type[StrEnum]]) -> Completion:
    """The values of an enum of phases.

    Args:
        of: imports the enum, when it is needed.
    """
    return lambda _ctx, _param, begun: [CompletionItem(each) for each in of() if each.startswith(begun)]


def ids(listed: Callable[[Client], Iterator[Json]], told: Callable[[Json], str]) -> Completion:
    """The newest ids, each with a few words."""

    def complete(ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
        access = open_client(ctx.params.get("api"), seconds=_SECONDS)
        with contextlib.suppress(GateError), access as client:
            rows = (row for row in listed(client) if field(row, "id").startswith(begun))
            return [CompletionItem(field(row, "id"), help=clean(told(row))) for row in islice(rows, _MOST)]
        return []

    return complete


def promotion_argument(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument PROMOTION_ID."""
    complete = ids(
        lambda client: client.promotions(), lambda row: f"{version_told(row)} {field(row, 'phase')}"
    )
    return click.argument("promotion_id", shell_complete=complete, **options)


def notification_argument(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument NOTIFICATION_ID."""
    complete = ids(
        lambda client: client.notifications(), lambda row: f"{field(row, 'job_name')} {field(row, 'phase')}"
    )
    return click.argument("notification_id", shell_complete=complete, **options)
