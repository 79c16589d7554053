"""Reads JSON that others post to us: bounded, without surprises, and never raising anything but one error."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from champion_gate.domain.names import vendor_id
from champion_gate.domain.secrets import cut_words

MAX_TEXT = 4096
"""Characters of a name."""


@dataclass(frozen=True)
class Ignored:
    """A body that leads to nothing, and why."""

    reason: str


class UnusableBodyError(ValueError):
    """A body of another shape; its message is the reason."""


def json_object(sent: bytes, what: str = "the body") -> dict[str, Any]:
    """A JSON object out of its text.

    Raises:
        UnusableBodyError: it is none.
    """
    try:
        loaded = json.loads(
            sent.decode(),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise UnusableBodyError(f"{what} is not UTF-8") from None
    except RecursionError:
        raise UnusableBodyError(f"{what} is nested too deeply") from None
    except _DuplicateKeyError:
        raise UnusableBodyError(f"{what} holds a key twice") from None
    except UnusableBodyError:
        raise
    except ValueError:
        raise UnusableBodyError(f"{what} is not JSON") from None
    if not isinstance(loaded, dict):
        raise UnusableBodyError(f"{what} is no JSON object")
    return loaded


class _DuplicateKeyError(ValueError):
    """Readers disagree on which of two equal keys counts."""


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def _no_constant(name: str) -> Any:
    raise UnusableBodyError(f"{name} is not JSON")


def _finite(written: str) -> float:
    number = float(written)
    if math.isinf(number):
        raise UnusableBodyError(f"{written[:40]} is too large, and so no number")
    return number


def object_at(outer: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under a key; raises UnusableBodyError."""
    value = outer.get(key)
    if not isinstance(value, dict):
        raise UnusableBodyError(f"{key} is missing or no object")
    return value


def id_of(value: Any, where: str) -> str:
    """An id, sent as a number or as text, as decimal text; raises UnusableBodyError."""
    found = vendor_id(value)  # Databricks documents strings and sends numbers
    if found is None:
        raise UnusableBodyError(f"{where} is missing or no id")
    return found


def text_of(value: Any, where: str, *, may_be_empty: bool = False) -> str:
    """A text of at most MAX_TEXT storable characters; raises UnusableBodyError."""
    if not isinstance(value, str) or not (value or may_be_empty):
        raise UnusableBodyError(f"{where} is missing or no text")
    if len(value) > MAX_TEXT:
        raise UnusableBodyError(f"{where} is longer than {MAX_TEXT} characters")
    # NUL and lone surrogates cannot be stored in every database.
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise UnusableBodyError(f"{where} holds characters that are no text")
    return value


def shown(value: str) -> str:
    """A text from outside as it may be shown in a reason."""
    return ascii(cut_words(value, 100))
