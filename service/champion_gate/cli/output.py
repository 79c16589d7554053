"""How the command line prints: tables for people, as wide as their terminal, and JSON for machines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from champion_gate.domain.screen import columns, padded, wrapped
from champion_gate.domain.text import escaped, one_line
from champion_gate.errors import ConfigurationError, GateError

_LONGEST = 2000
_LONGEST_CELL = 80  # where nothing says how wide the page is
_NARROWEST = 40
_COLOURS = {
    "green": ("promoted", "resolved", "succeeded", "active"),
    "red": ("failed", "rejected", "unresolved"),
    "yellow": ("requested", "validating", "pending_approval", "approved", "copying", "waiting", "running"),
}
_COLOUR_OF = {word: colour for colour, words in _COLOURS.items() for word in words}
"""Colours of phases and states: well, a person has to look, and still open."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """Print one JSON document, in ASCII: some terminals obey control characters beyond it."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, default=str))


def screen_width() -> int | None:
    """The columns of the terminal that standard output is; None where it is none."""
    if not sys.stdout.isatty():
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def print_table(rows: Iterable[Any], **columns: str | Callable[[Any], str]) -> None:
    """Print rows in columns, so that each fits the terminal.

    Args:
        rows: of an answer, or anything else.
        columns: heading, `_` for a blank -> the name of a field, or what a row shows there.
    """
    cells = [[of(row) if callable(of) else field(row, of) for of in columns.values()] for row in rows]
    for line in table_lines([name.replace("_", " ") for name in columns], cells, screen_width()):
        click.echo(line)


def print_answer(answer: object, said: str, *, as_json: bool) -> None:
    """Print an answer as JSON, or what is said of it for people."""
    print_json(answer) if as_json else print_line(said)


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Lay rows out in columns. While they are too wide, the widest column but the first moves below its row.

    Args:
        headings: one a column.
        rows: as many cells each; anything.
        width: columns of the terminal; None for none, where long cells are cut.
    """
    most = _LONGEST if width else _LONGEST_CELL
    cells = [[one_line(cell, most) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(headings, *cells, strict=True)]
    kept, below = list(range(len(headings))), list[int]()
    while width and len(kept) > 1 and sum(widths[at] + 2 for at in kept) - 2 > width:
        widest = max(kept[1:], key=widths.__getitem__)
        kept.remove(widest)
        below.append(widest)
    lines = [_row(headings, kept, widths)]
    for row in cells:
        lines.append(_row(row, kept, widths))
        for at in filter(row.__getitem__, sorted(below)):
            told = wrapped(f"{headings[at].lower()}: {row[at]}", (width or _LONGEST) - 2, "  ")
            lines += [f"  {line}" for line in told]
    return lines


def _row(cells: Sequence[str], kept: Sequence[int], widths: Sequence[int]) -> str:
    last = kept[-1]
    return "  ".join(
        _coloured(cells[at], cells[at] if at == last else padded(cells[at], widths[at])) for at in kept
    ).rstrip()


def _coloured(word: str, text: str) -> str:
    """Text in the colour of a phase or state, where the word is one; only terminals are shown it."""
    colour = _COLOUR_OF.get(word.partition(",")[0])
    return text if colour is None else click.style(text, fg=colour)


def print_pairs(pairs: Sequence[tuple[str, str | None]]) -> None:
    """Print a name and a value a line, leaving out what is not there."""
    width, screen = max(len(name) for name, _ in pairs), screen_width()
    for name, value in pairs:
        if value:
            shown = clean(value)
            lines = [shown] if screen is None else wrapped(shown, screen - width - 2)
            for at, line in enumerate(lines):
                click.echo(f"{('' if at else name).ljust(width)}  {_coloured(value, line)}")


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


def ago(time: datetime | None, now: datetime) -> str:
    """A time as people say it: "5 min ago", "in 3 h", or the day where it is more than a week away."""
    if time is None:
        return ""
    apart = abs(now - time)
    if apart >= timedelta(days=7):
        return f"{time:%Y-%m-%d}"
    for length, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if apart >= length:
            told = f"{apart // length} {unit}"
            return f"in {told}" if time > now else f"{told} ago"
    return "now"


def field(row: object, *path: str) -> str:
    """One value out of an answer, as text; empty where it is absent or null."""
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return "" if row is None else str(row)


def rows_of(row: object, name: str) -> list[object]:
    """A list out of an answer; empty where it is absent or none."""
    found = row.get(name) if isinstance(row, dict) else None
    return found if isinstance(found, list) else []


def time_of(row: object, *path: str) -> str:
    """A time out of an answer (RFC 3339), for people; empty where it is absent."""
    time = _time(row, *path)
    return field(row, *path) if time is None else when(time)


def shown_in_table(time: datetime | None, now: datetime) -> str:
    """A time in a table: as people say it on a terminal, and exact in a pipe, where what reads it may come later."""
    return when(time) if screen_width() is None else ago(time, now)


def ago_of(row: object, *path: str) -> str:
    """The same of an answer."""
    time = _time(row, *path)
    return field(row, *path) if time is None else shown_in_table(time, datetime.now(UTC))


def time_and_ago_of(row: object, *path: str) -> str:
    """A time exactly, and on a terminal as people say it too where it is not far away."""
    exact, told = time_of(row, *path), ago_of(row, *path)
    return exact if exact.startswith(told) else f"{exact} ({told})"


def _time(row: object, *path: str) -> datetime | None:
    try:
        return datetime.fromisoformat(field(row, *path)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def step_told(step: object) -> str:
    """A step as the API answers it, on one line without its id."""
    words = [field(step, "reason"), field(step, "last_error"), field(step, "url")]
    if field(step, "due_at"):
        words.append(f"next look {time_of(step, 'due_at')}")
    told = " ".join(filter(None, words))
    return f"{field(step, 'phase')}: {told}" if told else field(step, "phase")


def print_line(text: str) -> None:
    """Print one line that holds values from outside; a terminal may show it on several."""
    shown, screen = clean(text), screen_width()
    for line in [shown] if screen is None else wrapped(shown, screen, "  "):
        click.echo(line)


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
