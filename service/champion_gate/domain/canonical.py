"""Texts that are hashed or compared, and so must be the same for the same content: JSON, its hash, and times."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime


def canonical(value: object, *, ascii_only: bool = True, spaced: bool = False) -> str:
    """A value as JSON with sorted keys and no line ends.

    What was hashed in one form stays in it: the ledger, receipts and pins are ASCII without blanks, the evidence
    is UTF-8 without blanks, and a gate's approval settings and requests that may be repeated are ASCII with blanks.

    Args:
        value: of what JSON knows.
        ascii_only: whether every other character becomes an escape.
        spaced: whether a blank follows each comma and colon.

    Raises:
        ValueError: a number is not finite, or there is a lone surrogate and no escape for it.
        TypeError: there is something that JSON does not know.
    """
    separators = (", ", ": ") if spaced else (",", ":")
    text = json.dumps(value, sort_keys=True, separators=separators, ensure_ascii=ascii_only, allow_nan=False)
    text.encode()
    return text


def sha256_of(text: str) -> str:
    """The sha256 of the text in UTF-8, in lower-case hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def utc_text(at: datetime, timespec: str = "microseconds", zone: str = "Z") -> str:
    """An aware time in UTC, of one width, so that it sorts as text: `2025-01-31T23:59:59.000001Z`.

    Args:
        at: the time.
        timespec: to which part of a second, as `isoformat` takes it.
        zone: how UTC is written: `Z`, or `+00:00` as the ledger always did.

    Raises:
        ValueError: the time is naive.
    """
    if at.tzinfo is None:
        raise ValueError("only aware times are written down")
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + zone
