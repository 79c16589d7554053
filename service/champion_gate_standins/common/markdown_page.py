"""A little Markdown shown as HTML in which nothing of the text is ever active: no links, images or tags."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

from markupsafe import Markup, escape

_LONGEST = 600
_TOKEN = re.compile(
    rf"(?<!`)(?P<ticks>`{{1,3}})(?!`)(?P<code>.{{1,{_LONGEST}}}?)(?P=ticks)(?!`)"
    r"|\\(?P<literal>[!-/:-@\[-`{-~])"
    rf"|\*\*(?P<bold>.{{1,{_LONGEST}}}?)\*\*"
    rf"|\[(?P<label>[^\[\]]{{1,{_LONGEST}}})\]\((?P<target>[^()\s]{{1,{_LONGEST}}})\)"
)
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_ITEM = re.compile(r"\s*[-*+]\s+(.*)")
_CELL_END = re.compile(r"(?<!\\)\|")


def render(text: str) -> Markup:
    """Show headings, tables, lists, quotes, code and bold; everything else as plain text.

    Args:
        text: Markdown from anybody.

    Returns:
        HTML whose only tags are ours; every character of the text is escaped.
    """
    return Markup("\n").join(_blocks(text.replace("\r\n", "\n").split("\n")))


def _blocks(lines: list[str]) -> Iterator[Markup]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.lstrip().startswith("```"):
            end = _run_end(lines, at + 1, lambda one: not one.lstrip().startswith("```"))
            yield Markup("<pre>{}</pre>").format("\n".join(lines[at + 1 : end]))
            at = end + 1
        elif heading := _HEADING.fullmatch(line):
            level = min(len(heading[1]) + 2, 6)
            yield Markup("<h{0}>{1}</h{0}>").format(level, _inline(heading[2]))
            at += 1
        elif "|" in line and at + 1 < len(lines) and _is_rule(lines[at + 1]):
            end = _run_end(lines, at + 2, lambda one: "|" in one)
            yield _table(line, lines[at + 2 : end])
            at = end
        elif _ITEM.fullmatch(line):
            end = _run_end(lines, at, lambda one: _ITEM.fullmatch(one) is not None)
            items = (_inline(_ITEM.sub(r"\1", one)) for one in lines[at:end])
            yield Markup("<ul>{}</ul>").format(
                Markup("").join(Markup("<li>{}</li>").format(item) for item in items)
            )
            at = end
        else:
            if line.strip():
                yield Markup("<p>{}</p>").format(_inline(line.strip().removeprefix("> ")))
            at += 1


def _is_rule(line: str) -> bool:
    """Whether this is the line between a table's head and body."""
    return {"|", "-"} <= set(line) <= set("|-: \t")


def _run_end(lines: list[str], start: int, belongs: Callable[[str], bool]) -> int:
    return next((at for at in range(start, len(lines)) if not belongs(lines[at])), len(lines))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL_END.split(re.sub(r"^\||(?<!\\)\|$", "", line.strip()))]


def _table(head: str, rows: list[str]) -> Markup:
    def row(line: str, tag: str) -> Markup:
        cells = (Markup("<{0}>{1}</{0}>").format(tag, _inline(cell)) for cell in _cells(line))
        return Markup("<tr>{}</tr>").format(Markup("").join(cells))

    body = Markup("").join(row(line, "td") for line in rows)
    return Markup("<div class=wide><table>{}{}</table></div>").format(row(head, "th"), body)


def _plain(text: str) -> Markup:
    """Text with its character references decoded, as Markdown has it, and then escaped."""
    return escape(html.unescape(text))


def _inline(text: str) -> Markup:
    shown, at = Markup(""), 0
    for token in _TOKEN.finditer(text):
        shown += _plain(text[at : token.start()])
        if token["code"] is not None:
            shown += Markup("<code>{}</code>").format(token["code"].strip())
        elif token["bold"] is not None:
            shown += Markup("<b>{}</b>").format(_inline(token["bold"]))
        elif token["label"] is not None:
            shown += _inline(token["label"]) + escape(f" ({token['target']})")
        else:
            shown += escape(token["literal"])
        at = token.end()
    return shown + _plain(text[at:])
