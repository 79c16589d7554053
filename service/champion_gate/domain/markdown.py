r"""Markdown in which every value from outside is data and stays data.

Values stand in code spans, where CI/CD systems know no markup, links, mentions, emoji, HTML, mermaid or
mathematics. What could end a span, a table cell or a line, or start a command of the runner that prints
it (`::name::` at a line's start, `##[name]` anywhere: actions/runner src/Runner.Common/ActionCommand.cs),
is written as an escape such as `\x60`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from champion_gate.domain.text import escaped, one_line

Document = Mapping[str, Any]

_LONGEST = 120
_ALWAYS_ESCAPED = re.compile(r"[`|<]|(?<=:):|(?<=#)#|\$(?=\{)|^ | $")
_SAFE_URL = re.compile(
    r"https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:[/?#][A-Za-z0-9._~/?#=&%@!+,:-]*)?"
)
_WORD = re.compile(r"[^ ]{12,}")
CHARACTER = r"(?:\\(?:x..|u.{4}|U.{8}|.)|.)"
"""Matches a character as `one_line` writes it, an escape as a whole."""
# Four columns fit a phone on GitHub's page where the first has words of eleven characters.
_PIECE = re.compile(rf"{CHARACTER}{{1,11}}$|{CHARACTER}{{0,10}}[_./:=-]|{CHARACTER}{{1,11}}")
_WHOLE, _LARGE = 1e5, 1e15
"""From which size on a number is shown without decimals, and from which with an exponent."""


def code(value: object, most: int = _LONGEST) -> str:
    """A value from outside as a code span on one line, unable to be anything else.

    Args:
        value: shown through `str`; None and an empty text are said in words.
        most: how many characters of it are shown, at most.
    """
    if value is None:
        return "—"
    shown = one_line(str(value), most)
    if not shown:
        return "(empty)"
    return f"`{_ALWAYS_ESCAPED.sub(lambda match: escaped(match.group()), shown)}`"


def cell(value: object) -> str:
    """The same for a cell of a table: a long word becomes several spans, so that a phone can break it."""
    span = code(value)
    if not span.startswith("`"):
        return span
    return f"`{_WORD.sub(lambda word: '` `'.join(_PIECE.findall(word.group())), span[1:-1])}`"


def number(value: object, *, signed: bool = False) -> str:
    """A number to five digits, a difference to three and with its sign; anything else as data."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return cell(value)
    if _WHOLE <= abs(value) < _LARGE:
        return f"{value:+.0f}" if signed else f"{value:.0f}"
    return f"{value:+.3g}" if signed else f"{value:.5g}"


def version(value: object) -> str:
    """A version, without a code span where it is the number that it should be."""
    text = f"v{value}"
    return text if re.fullmatch(r"v[0-9]{1,18}", text, re.ASCII) else code(text)


def link(label: object, url: str | None) -> str:
    """A link where the URL has nothing in it that Markdown could read otherwise; else both as text."""
    if url is None:
        return code(label)
    if _SAFE_URL.fullmatch(url) and "::" not in url and "##" not in url:
        return f"[{code(label)}]({url})"
    return f"{code(label)} ({code(url, 500)})"


def table(headings: Sequence[str], sides: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table, where it has rows.

    Args:
        headings: one a column.
        sides: `---`, or `---:` for numbers.
        rows: as many cells each as there are columns.
    """
    every = list(rows)
    for row in (headings, sides, *every) if every else ():
        yield f"| {' | '.join(row)} |"
    if every:
        yield ""


def section(title: str) -> Iterator[str]:
    """Begin a part of the page."""
    yield from ("", f"### {title}", "")


def left_out(rows: Document) -> Iterator[str]:
    """Say how many rows the document itself lacks."""
    if rows["left_out"]:
        yield ""
        yield f"… and {int(rows['left_out'])} more, left out here."
