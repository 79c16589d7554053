"""Who, by the audit log, put an alias where it was found: better nobody than another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.drift import DELETE_ALIAS, DELETE_VERSION, SET_ALIAS, AuditedChange, mover

KEY = AliasKey("databricks-uc", "main.ml.churn", "Champion")
SEEN = datetime(2026, 12, 1, 12, tzinfo=UTC)
OURS = "gate@example.com"
Row = tuple[int, str, str, str | None]


def told(rows: list[Row], to_version: str | None) -> str | None:
    """Who moved it from v1, as it was found at SEEN; a row is seconds after that, action, who and a version."""
    changes = [
        AuditedChange(
            str(number),
            SEEN + timedelta(seconds=seconds),
            action,
            who,
            frozenset({"main.ml.churn", "champion", *([version] if version else [])}),
        )
        for number, (seconds, action, who, version) in enumerate(rows)
    ]
    found = mover(changes, KEY, from_version="1", to_version=to_version, seen_at=SEEN, ours=OURS)
    return None if found is None else found.who


@pytest.mark.parametrize(
    ("rows", "to_version", "who"),
    [
        ([(-9, SET_ALIAS, "ann", "2")], "2", "ann"),
        ([(-9, SET_ALIAS, "ann", "3")], "2", None),
        ([(-9, SET_ALIAS, "ann", "2"), (-5, SET_ALIAS, "bob", "2")], "2", "ann"),
        ([(-9, SET_ALIAS, "ann", "2"), (-7, SET_ALIAS, "eve", "3"), (-5, SET_ALIAS, "bob", "2")], "2", "bob"),
        ([(-9, SET_ALIAS, "ann", "2"), (-7, DELETE_VERSION, "eve", "1")], "2", "ann"),
        ([(-9, DELETE_ALIAS, "ann", None), (-5, DELETE_VERSION, "bob", "1")], None, "ann"),
        ([(-9, DELETE_VERSION, "ann", "1"), (-5, DELETE_VERSION, "bob", "4")], None, "ann"),
        ([(-9, SET_ALIAS, "ann", "2"), (3, SET_ALIAS, OURS, "1"), (60, SET_ALIAS, "bob", "2")], "2", "ann"),
        (
            [(3, SET_ALIAS, OURS, "1"), (60, SET_ALIAS, "bob", "2")],
            "2",
            None,
        ),  # the log does not tell of it yet
        ([(3, SET_ALIAS, "ann", "2"), (60, SET_ALIAS, "bob", "2")], "2", "ann"),  # clocks differ
        ([(-9, SET_ALIAS, OURS, "2")], "2", OURS),
        ([(-9, SET_ALIAS, OURS, "2"), (-5, SET_ALIAS, "bob", "2")], "2", "bob"),
    ],
)
def test_the_one_is_told_who_put_it_there(rows: list[Row], to_version: str | None, who: str | None) -> None:
    assert told(rows, to_version) == who
    assert told(rows[::-1], to_version) == who
