"""How the command line prints: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from champion_gate.domain.text import escaped, one_line
from champion_gate.errors import ConfigurationError, GateError

_LONGEST = 2000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """Print one JSON document, in ASCII: some terminals obey control characters beyond it."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, default=str))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns."""
    cells = [[clean(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_pairs(pairs: Sequence[tuple[str, str | None]]) -> None:
    """Print a name and a value a line, leaving out what is not there."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        if value:
            click.echo(f"{name.ljust(width)}  {clean(value)}")


def print_json_line(value: object) -> None:
    """Print one JSON document on one line, for a list that goes on."""
    click.echo(json.dumps(value, sort_keys=True, default=str))


def visible(text: str) -> str:
    """Text of several lines in which nothing is obeyed by a terminal; escapes in it stay as they are."""
    return "".join(char if char.isprintable() or char == "\n" else escaped(char) for char in text)


def told(error: GateError) -> str:
    """An error for people: on one line, but for the list of what is wrong with the configuration."""
    text = visible(str(error))
    return text if isinstance(error, ConfigurationError) else text.replace("\n", "\\n")


def when(time: datetime | None) -> str:
    """A time for people: UTC, to the second."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}Z"


def field(row: object, *path: str) -> str:
    """One value out of an answer, as text; empty where it is absent or null.

    Args:
        row: what the API answered.
        path: names, from the outside in.
    """
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return "" if row is None else str(row)


def rows_of(row: object, name: str) -> list[object]:
    """A list out of an answer; empty where it is absent or none."""
    found = row.get(name) if isinstance(row, dict) else None
    return found if isinstance(found, list) else []


def time_of(row: object, *path: str) -> str:
    """A time out of an answer (RFC 3339), for people; empty where it is absent."""
    text = field(row, *path)
    try:
        return when(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError):
        return text


def step_told(step: object) -> str:
    """A step as the API answers it, on one line without its id."""
    words = [field(step, "reason"), field(step, "last_error"), field(step, "url")]
    if field(step, "due_at"):
        words.append(f"next look {time_of(step, 'due_at')}")
    told = " ".join(filter(None, words))
    return f"{field(step, 'phase')}: {told}" if told else field(step, "phase")


def cut(text: str, length: int) -> str:
    """Text cut to `length` characters, with an ellipsis if anything is missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def print_line(text: str) -> None:
    """Print one line that holds values from outside."""
    click.echo(clean(text))


def tell_if_local() -> None:
    """Say on stderr that a command works on the local database, where a service's API seems to be meant."""
    from champion_gate.bootstrap.local import local_instead_of_api

    database = local_instead_of_api()
    if database is not None:
        told = f"this command works on the local database {database}, not on CHAMPION_GATE_API_URL."
        click.echo(f"champion-gate: {clean(told)}", err=True)


def clean(text: str) -> str:
    """Text that does not deceive a reader, nor is obeyed by a terminal; on one line."""
    return one_line(text, _LONGEST)


def version_told(row: object) -> str:
    """The version that a promotion is about, with its model."""
    return f"{field(row, 'source_model') or field(row, 'model')} v{field(row, 'version')}"


def alias_told(row: object) -> str:
    """The alias that a promotion asks for, with its model where that is another than the version's."""
    model, alias = field(row, "model"), field(row, "alias")
    return alias if field(row, "source_model") in {"", model} else f"{alias} of {model}"
