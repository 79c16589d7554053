"""Text laid out for a screen of so many columns, such as a job's log or a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from champion_gate.domain.markdown import CHARACTER

_SIDES = re.compile(r"\|(?: -{3,}:? \|)+")
_WORD = re.compile(r"[^\s`]*(?:`[^`]*`[^\s`]*)+|\S+")
_CHARACTER = re.compile(CHARACTER)
_HEADING = re.compile(r"#{2,3} ")


def as_text(markdown: str, width: int) -> str:
    """Our Markdown for such a screen: columns aligned, long lines broken, headings underlined; it stays Markdown.

    Args:
        markdown: what `render_markdown` made.
        width: columns. A table that is wider becomes a list; a word that is longer stands alone on its line.
    """
    # Cells have their long words in pieces for the sake of phones.
    lines = markdown.replace("` `", "").split("\n")
    shown: list[str] = []
    at = 0
    while at < len(lines):
        if at + 1 < len(lines) and _SIDES.fullmatch(lines[at + 1]):
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("|")), len(lines))
            shown += _table(lines[at:end], width)
            at = end
        else:
            shown += _line(lines[at], width)
            at += 1
    return "\n".join(shown)


def columns(text: str) -> int:
    """How many columns of a terminal the text takes (Unicode Standard Annex 11)."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.combining(char) else 1
        for char in text
    )


def padded(text: str, width: int) -> str:
    """Text filled up with blanks to so many columns."""
    return text + " " * (width - columns(text))


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Text broken into lines between words and code spans, those after the first indented.

    A span that is too long for a line becomes several: what stands in it never begins a line of its own.
    """
    if columns(text) <= width:
        return [text]
    lines, line = [], ""
    for word in _words(text, width - len(indent)):
        if line and columns(line) + 1 + columns(word) > width:
            lines.append(line)
            line = indent + word
        else:
            line += f" {word}" if line else word
    return [*lines, line]


def _words(text: str, width: int) -> Iterator[str]:
    for word in _WORD.findall(text):
        before, tick, rest = word.partition("`")
        span, _, after = rest.partition("`")
        pieces = _pieces(span, width - 2) if tick and columns(word) > width else [span]
        for piece in pieces[:-1]:
            yield f"{before}`{piece}`"
            before = ""
        yield f"{before}`{pieces[-1]}`{after}" if tick else word


def _pieces(span: str, width: int) -> list[str]:
    """What stands in a code span, in parts that fit a line, between words where it has any; no escape is torn apart."""
    pieces = [""]
    for char in _CHARACTER.findall(span):
        if columns(pieces[-1] + char) > width:
            between = pieces[-1].rfind(" ") + 1 or len(pieces[-1])
            pieces[-1:] = [pieces[-1][:between], pieces[-1][between:]]
        pieces[-1] += char
    return pieces


def _line(line: str, width: int) -> list[str]:
    heading = _HEADING.match(line)
    if heading is None:
        return wrapped(line, width, "  " if line.startswith("- ") else "")
    lines = wrapped(line[heading.end() :], width)
    return [*lines, ("=" if heading.group() == "## " else "-") * max(map(columns, lines))]


def _table(lines: list[str], width: int) -> Iterator[str]:
    head, sides, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    widths = [max(3, *(columns(row[at]) for row in (head, *rows))) for at in range(len(head))]
    if sum(widths) + 3 * len(widths) + 1 > width:
        for row in rows:
            told = [f"{name} {cell}".strip() for name, cell in zip(head[1:], row[1:], strict=True)]
            yield from wrapped(f"- {row[0]}: {'; '.join(told)}", width, "  ")
        return
    yield _row(head, widths)
    dashes = ("-" * (room - side.count(":")) for side, room in zip(sides, widths, strict=True))
    yield _row([dash + side.lstrip("-") for dash, side in zip(dashes, sides, strict=True)], widths)
    for row in rows:
        yield _row(row, widths)


def _row(cells: list[str], widths: list[int]) -> str:
    return f"| {' | '.join(padded(cell, room) for cell, room in zip(cells, widths, strict=True))} |"
