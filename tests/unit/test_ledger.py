from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain.ledger.chain import (
    ChainedText,
    LedgerEntry,
    LedgerKind,
    break_in_chain,
    read_body,
    write_body,
)
from ledger_samples import ENTRIES, chained

ENTRY = LedgerEntry(
    kind=LedgerKind.DECISION,
    registry="databricks-uc",
    model="main.ml.churn",
    alias="Champion",
    actor="ann",
    reason="looks good",
    at=datetime(2025, 3, 1, 12, 0, tzinfo=UTC),
    promotion_id="p-1",
    facts={"version": "2"},
)


def first_break(lines: list[ChainedText]) -> str | None:
    previous = None
    for line in lines:
        problem = break_in_chain(previous, line)
        if problem is not None:
            return problem
        previous = line
    return None


def test_the_text_is_canonical() -> None:
    body = write_body(7, ENTRY)
    assert body == (
        '{"actor":"ann","alias":"Champion","at":"2025-03-01T12:00:00.000000+00:00","facts":{"version":"2"},'
        '"kind":"decision","model":"main.ml.churn","number":7,"promotion_id":"p-1","reason":"looks good",'
        '"registry":"databricks-uc"}'
    )


def test_the_order_of_facts_and_the_zone_of_the_time_change_nothing() -> None:
    east = ENTRY.at.astimezone(timezone(timedelta(hours=2)))
    one = replace(ENTRY, facts={"a": 1, "b": (1, MappingProxyType({"c": 2}))})
    other = replace(ENTRY, at=east, facts={"b": [1, {"c": 2}], "a": 1})
    assert write_body(1, one) == write_body(1, other)


@given(ENTRIES)
def test_an_entry_comes_back_as_it_was(entry: LedgerEntry) -> None:
    assert read_body(write_body(1, entry)) == entry


@given(st.lists(ENTRIES, min_size=1, max_size=5))
def test_a_chain_as_it_was_written_has_no_break(entries: list[LedgerEntry]) -> None:
    assert first_break(chained(*entries)) is None


@given(st.lists(ENTRIES, min_size=1, max_size=5), st.data())
def test_an_edited_line_is_named(entries: list[LedgerEntry], data: st.DataObject) -> None:
    lines = chained(*entries)
    index = data.draw(st.integers(0, len(lines) - 1))
    field = data.draw(st.sampled_from(["body", "hash", "previous_hash"]))
    lines[index] = replace(lines[index], **{field: getattr(lines[index], field) + " "})
    assert str(first_break(lines)).startswith(f"Line {index + 1} ")


@given(st.lists(ENTRIES, min_size=2, max_size=5), st.data())
def test_a_removed_line_is_named(entries: list[LedgerEntry], data: st.DataObject) -> None:
    lines = chained(*entries)
    index = data.draw(st.integers(0, len(lines) - 2))
    del lines[index]
    assert first_break(lines) == f"Line {index + 1} of the ledger is missing."


def test_a_removed_line_is_named_even_after_renumbering() -> None:
    first, _, third = chained(ENTRY, ENTRY, ENTRY)
    assert first_break([first, replace(third, number=2)]) == (
        "Line 2 of the ledger does not follow the line before it."
    )


def test_a_line_cannot_be_swapped_with_its_like() -> None:
    first, second = chained(ENTRY, ENTRY)
    assert first.hash != second.hash
    assert json.loads(second.body)["number"] == 2


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": object()}, {1: "x"}, {"x": {2: "y"}}])
def test_facts_that_are_no_json_are_refused(facts: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        write_body(1, replace(ENTRY, facts=facts))


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        write_body(1, replace(ENTRY, at=datetime(2025, 3, 1)))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"kind": "other"}', "null"])
def test_a_text_that_is_no_line_is_refused(body: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever words
        read_body(body)
