"""Takes fields out of a vendor's JSON; one that is absent or of another type makes the answer unreadable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from champion_gate.errors import VendorUnavailableError

Record = Mapping[str, Any]


class JsonFields:
    """Reads the answers of one vendor. Every method raises VendorUnavailableError where it cannot."""

    def __init__(self, vendor: str) -> None:
        """Nothing is read yet.

        Args:
            vendor: its name in words, for messages.
        """
        self._vendor = vendor

    def as_record(self, value: Any, what: str) -> Record:
        """A JSON object.

        Args:
            value: what was answered.
            what: its name, for the message.
        """
        if not isinstance(value, dict):
            raise self._unreadable(what, "an object")
        return value

    def as_records(self, value: Any, what: str) -> list[Record]:
        """A JSON array of objects."""
        if not isinstance(value, list):
            raise self._unreadable(what, "a list")
        return [self.as_record(item, what) for item in value]

    def record(self, of: Record, key: str) -> Record:
        """An object inside an object."""
        return self.as_record(of.get(key), key)

    def records(self, of: Record, key: str) -> list[Record]:
        """A list of objects inside an object."""
        return self.as_records(of.get(key), key)

    def text(self, of: Record, key: str) -> str:
        """A string."""
        value = of.get(key)
        if not isinstance(value, str):
            raise self._unreadable(key, "a text")
        return value

    def text_or_none(self, of: Record, key: str) -> str | None:
        """A string, or None where it is null or absent."""
        return None if of.get(key) is None else self.text(of, key)

    def whole(self, of: Record, key: str) -> int:
        """An integer; JSON's true and 1.0 are none."""
        value = of.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._unreadable(key, "a whole number")
        return value

    def flag(self, of: Record, key: str) -> bool:
        """True or false."""
        value = of.get(key)
        if not isinstance(value, bool):
            raise self._unreadable(key, "true or false")
        return value

    def number_id(self, of: Record, key: str = "id") -> str:
        """An int64 id, as the decimal string that we keep."""
        return str(self.whole(of, key))

    def time(self, of: Record, key: str) -> datetime:
        """An ISO 8601 time with its offset, in UTC."""
        try:
            at = datetime.fromisoformat(self.text(of, key))
        except ValueError:
            raise self._unreadable(key, "a time") from None
        if at.tzinfo is None:
            raise self._unreadable(key, "a time with an offset")
        return at.astimezone(UTC)

    def _unreadable(self, what: str, expected: str) -> VendorUnavailableError:
        return VendorUnavailableError(
            self._vendor, f"an answer cannot be read: `{what}` is absent or not {expected}."
        )
