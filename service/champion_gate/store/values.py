"""Nested values as JSON text, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from champion_gate.store.tables import storable, write_time

T = TypeVar("T")


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
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, datetime):
        return write_time(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
