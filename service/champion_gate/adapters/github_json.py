"""Takes fields out of GitHub's answers; one that is absent or of another type makes the answer unreadable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from champion_gate.errors import VendorUnavailableError

Record = Mapping[str, Any]


def as_record(value: Any, what: str) -> Record:
    """A JSON object.

    Args:
        value: what was answered.
        what: its name, for the message.

    Raises:
        VendorUnavailableError: it is none; likewise in all functions here.
    """
    if not isinstance(value, dict):
        raise _unreadable(what, "an object")
    return value


def as_records(value: Any, what: str) -> list[Record]:
    """A JSON array of objects."""
    if not isinstance(value, list):
        raise _unreadable(what, "a list")
    return [as_record(item, what) for item in value]


def record(of: Record, key: str) -> Record:
    """An object inside an object."""
    return as_record(of.get(key), key)


def records(of: Record, key: str) -> list[Record]:
    """A list of objects inside an object."""
    return as_records(of.get(key), key)


def text(of: Record, key: str) -> str:
    """A string."""
    value = of.get(key)
    if not isinstance(value, str):
        raise _unreadable(key, "a text")
    return value


def whole(of: Record, key: str) -> int:
    """An integer; JSON's true and 1.0 are none."""
    value = of.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unreadable(key, "a whole number")
    return value


def number_id(of: Record, key: str = "id") -> str:
    """An int64 id, as the decimal string that we keep."""
    return str(whole(of, key))


def time(of: Record, key: str) -> datetime:
    """An ISO 8601 time with its offset, in UTC."""
    try:
        at = datetime.fromisoformat(text(of, key))
    except ValueError:
        raise _unreadable(key, "a time") from None
    if at.tzinfo is None:
        raise _unreadable(key, "a time with an offset")
    return at.astimezone(UTC)


def _unreadable(what: str, expected: str) -> VendorUnavailableError:
    return VendorUnavailableError(
        "GitHub", f"an answer cannot be read: `{what}` is absent or not {expected}."
    )
