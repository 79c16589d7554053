"""How tables, times and help look: what a person sees in a terminal of 80 columns, or of 40."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from champion_gate.cli import cli
from champion_gate.cli.output import ago, shown_in_table, table_lines
from champion_gate.domain.screen import columns

HEADINGS = ("ID", "VERSION", "PHASE", "CHANGED", "WHY")
WHY = (
    "Waiting for people to decide at https://github.com/example/ml-deploy/actions/runs/1234567890, since 3 h."
)
ROWS = [
    ("p-vwyxv5lxgks94lm7", "main.ml.churn v12", "pending_approval", "3 h ago", WHY),
    ("p-00000000000000aa", "main.ml.churn v11", "promoted", "2026-03-01", ""),
]
NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)


def plain(lines: list[str]) -> list[str]:
    return [click.unstyle(line) for line in lines]


def test_a_table_that_is_too_wide_says_the_widest_below_each_row() -> None:
    assert plain(table_lines(HEADINGS, ROWS, 80)) == [
        "ID                  VERSION            PHASE             CHANGED",
        "p-vwyxv5lxgks94lm7  main.ml.churn v12  pending_approval  3 h ago",
        "  why: Waiting for people to decide at",
        "    https://github.com/example/ml-deploy/actions/runs/1234567890, since 3 h.",
        "p-00000000000000aa  main.ml.churn v11  promoted          2026-03-01",
    ]


def test_on_a_narrow_terminal_it_still_fits() -> None:
    lines = plain(table_lines(HEADINGS, ROWS, 40))
    assert lines[:3] == [
        "ID                  CHANGED",
        "p-vwyxv5lxgks94lm7  3 h ago",
        "  version: main.ml.churn v12",
    ]
    assert all(columns(line) <= 40 or line.strip().startswith("https://") for line in lines)


def test_in_a_pipe_a_row_is_a_line() -> None:
    lines = plain(table_lines(HEADINGS, ROWS, None))
    assert len(lines) == 3
    assert lines[1].endswith(f"{WHY[:80]}… (+{len(WHY) - 80})")


def test_wide_characters_keep_their_columns() -> None:
    lines = plain(table_lines(("ID", "JOB", "RUN"), [("1", "学習\x1b", "77"), ("2", "train", "78")], 80))
    assert lines == ["ID  JOB       RUN", "1   学習\\x1b  77", "2   train     78"]


def test_phases_have_colours() -> None:
    (_, waits, promoted) = table_lines(("PHASE",), [("waiting",), ("promoted, 1 failed after",)], 80)
    assert (waits, promoted) == ("\x1b[33mwaiting\x1b[0m", "\x1b[32mpromoted, 1 failed after\x1b[0m")


@pytest.mark.parametrize(
    ("apart", "past", "to_come"),
    [
        (timedelta(seconds=59), "now", "now"),
        (timedelta(minutes=1), "1 min ago", "in 1 min"),
        (timedelta(hours=23, minutes=59), "23 h ago", "in 23 h"),
        (timedelta(days=6), "6 d ago", "in 6 d"),
        (timedelta(days=7), "2026-03-01", "2026-03-15"),
    ],
)
def test_times_are_told_as_people_do(apart: timedelta, past: str, to_come: str) -> None:
    assert (ago(NOW - apart, NOW), ago(NOW + apart, NOW)) == (past, to_come)
    assert ago(None, NOW) == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_times_in_tables_are_exact_in_a_pipe_and_peoples_words_on_a_terminal() -> None:
    told = {}
    for out in (io.StringIO(), Terminal()):
        with redirect_stdout(out):
            told[out.isatty()] = shown_in_table(NOW - timedelta(minutes=5), NOW), shown_in_table(None, NOW)
    assert told == {False: ("2026-03-08 11:55:00Z", ""), True: ("5 min ago", "")}


def test_every_group_tells_its_commands_in_whole_sentences() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        group = cli.get_command(context, name)
        if not isinstance(group, click.Group):
            continue
        told = " ".join(CliRunner().invoke(cli, [name, "--help"], env={"COLUMNS": "60"}).output.split())
        for command in group.commands.values():
            whole = command.get_short_help_str(1000)
            assert whole in told, (name, command.name)
            assert "..." not in whole


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["promotion"], "promotions"), (["promotions", "lits"], "list"), (["srve"], "serve")],
)
def test_a_slip_of_the_keys_is_understood(arguments: list[str], meant: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.output
    assert "Did you mean" not in CliRunner().invoke(cli, ["xyz"]).output
