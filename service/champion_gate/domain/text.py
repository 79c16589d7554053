"""Text from outside made fit to be stored, and to be shown on one line without deceiving anybody."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

_LONGEST_ROW_OF_MARKS = 2  # Vietnamese letters bear two
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_OURS = ("champion-gate", "outside")

# Letters and marks that Unicode lists as shown by nothing at all (Default_Ignorable_Code_Point, and the
# blank Braille cell); str.isprintable() lets them pass because their category is a letter's or a mark's.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
_TWO_DIGITS, _FOUR_DIGITS = 0xFF, 0xFFFF  # the most that so many hexadecimal digits hold
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def storable(text: str, limit: int | None = None) -> str:
    """The text as every database and JSON reader can hold it, at most about `limit` characters long.

    NUL and lone surrogates become U+FFFD; what is cut off is counted at the end.
    """
    if limit is not None and len(text) > limit:
        text = f"{text[:limit]}… ({len(text) - limit} more characters)"
    return _UNSTORABLE.sub("\ufffd", text)


def one_line(text: str, limit: int = 200) -> str:
    r"""The text on one line, with everything invisible or misleading written out as an escape.

    Line ends, control, zero-width and bidirectional characters, blanks other than the space, and piled-up
    marks come out as `\n`, `\x1b`, `\u202e` and the like; a backslash is doubled, so that no text can
    pretend to be an escape.

    Args:
        text: anything from outside.
        limit: how many characters of the input are shown, at most.
    """
    beginning = text[:limit]
    is_plain = beginning.isascii() and beginning.isprintable() and "\\" not in beginning
    shown = beginning if is_plain else "".join(_shown(beginning))
    return f"{shown}… (+{len(text) - limit})" if len(text) > limit else shown


def is_visible(text: str) -> bool:
    """Whether anything of it can be seen: not only blanks, marks and what is shown by nothing at all."""
    return any(
        char.isprintable()
        and not char.isspace()
        and char not in _BLANK
        and unicodedata.category(char) not in {"Mn", "Me", "Mc"}
        for char in text
    )


def pretends_to_be_us(name: str) -> bool:
    """Whether a name looks like those that the ledger gives to the gate itself and to moves made outside it."""
    folded = unicodedata.normalize("NFKC", name).strip().casefold()
    dashed = "".join("-" if unicodedata.category(char) == "Pd" else char for char in folded)
    return dashed.startswith(_OURS)


def is_plain_name(name: str, longest: int) -> bool:
    """Whether it is a name in which nothing hides: 1 to `longest` visible characters, no backslash, no blank at an end."""
    return (
        1 <= len(name) <= longest
        and name == name.strip()
        and is_visible(name)
        and one_line(name, longest) == name
    )


def escaped(char: str) -> str:
    r"""One character as an escape: `\x60`, `\u202e` or `\U000e0001`."""
    code = ord(char)
    if code <= _TWO_DIGITS:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _FOUR_DIGITS else f"\\U{code:08x}"


def _shown(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in {"Mn", "Me"} else 0
        if char in _SHORT_ESCAPES:
            yield _SHORT_ESCAPES[char]
        elif not char.isprintable() or char in _BLANK or marks > _LONGEST_ROW_OF_MARKS:
            yield escaped(char)
        else:
            yield char


def counted(number: int, name: str) -> str:
    """So many, in words: `1 line`, `2 lines`."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def enumerated(words: Sequence[str]) -> str:
    """At least one word, or several with commas and an "and" between."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
