"""How texts, times and nested values stand in columns, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Dialect, Text, TypeDecorator

from champion_gate.domain.canonical import utc_text
from champion_gate.domain.text import storable

T = TypeVar("T")


class Words(TypeDecorator[str]):
    """Text from outside. What PostgreSQL (NUL) or UTF-8 (lone surrogates) cannot hold becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Make it storable."""
        return None if value is None else storable(value)


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept as `2025-01-31T23:59:59.000001Z`: of one width, so that it sorts as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Write it in UTC with microseconds."""
        return None if value is None else utc_text(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read it back as an aware time in UTC."""
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def to_json(value: object) -> str:
    """A dataclass, mapping or sequence of plain values as JSON text."""
    return json.dumps(plain(value), separators=(",", ":"))


def from_json(kind: type[T], found: str) -> T:
    """The value that `to_json` was given.

    Raises:
        pydantic.ValidationError: the text does not describe one.
    """
    return from_plain(kind, json.loads(found))


def from_plain(kind: type[T], found: Mapping[str, Any]) -> T:
    """A dataclass out of its fields, nested ones as `plain` makes them."""
    found_value: T = _adapter(kind).validate_python(found)  # type: ignore[arg-type] # classes are hashable
    return found_value


def plain(value: object) -> Any:  # noqa: PLR0911 - one line a type
    """The value out of strings, numbers, lists and dicts only; sets are sorted so that they repeat."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
