"""Cursors of lists: taken as they were given, and refused in every other form."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from champion_gate.domain.rows import read_cursor, write_cursor
from champion_gate.errors import InvalidInputError
from champion_gate.store.pages import place_of

TIME = "2026-01-01T00:00:00.000000Z"


def test_a_place_comes_back_as_it_was() -> None:
    assert read_cursor(write_cursor([TIME, "p-1"]), place_of) == (datetime(2026, 1, 1, tzinfo=UTC), "p-1")


def test_a_list_that_is_being_read_goes_on_after_an_upgrade() -> None:
    assert write_cursor([TIME, "p-1"]) == "WyIyMDI2LTAxLTAxVDAwOjAwOjAwLjAwMDAwMFoiLCAicC0xIl0="
    assert write_cursor(12) == "MTI="


@pytest.mark.parametrize(
    "cursor", ["", "x", "e30=", "WzEsMl0=", "é", "WyJub3QgYSB0aW1lIiwgImlkIl0=", "W10=", "A" * 999]
)
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInputError):
        read_cursor(cursor, place_of)


@pytest.mark.parametrize(
    "made_up",
    [
        5,
        "x",
        None,
        {"a": 1},
        {TIME: 1, "n": 2},
        [TIME],
        [TIME, "n", "n"],
        [TIME, 5],
        [5, "n"],
        [TIME, ""],
        [TIME, "\ud800"],
        [TIME, "\x00"],
        [TIME, "N"],
        [TIME, "n\n"],
        [TIME, "n" * 161],
        ["2026-01-01T00:00:00.000000", "n"],
        ["2026-01-01T00:00:00.000000+00:00", "n"],
        ["2026-01-01T00:00:00Z", "n"],
        ["2026-01-01", "n"],
        ["2026-W01-4T00:00:00.000000Z", "n"],
        ["0001-01-01T00:00:00.000000+23:59", "n"],
    ],
    ids=repr,
)
def test_a_cursor_that_is_made_up_is_refused(made_up: object) -> None:
    with pytest.raises(InvalidInputError):
        read_cursor(write_cursor(made_up), place_of)


@pytest.mark.parametrize("text", [f'["{TIME}","n"]', f' ["{TIME}", "n"]', f'["{TIME}", "\\u006e"]'])
def test_a_place_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        read_cursor(base64.urlsafe_b64encode(text.encode()).decode(), place_of)


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "9" * 6000, "[" + "9" * 6000 + "]"], ids=lambda text: text[:2]
)
def test_a_cursor_that_overtaxes_the_reader_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        read_cursor(base64.urlsafe_b64encode(text.encode()).decode(), place_of)
