"""The evidence on GitHub's page, with GitHub's own stylesheet in a real browser: nothing is cut off."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from champion_gate.domain.evidence_markdown import render_markdown
from unit.evidence_samples import SAMPLES

pytestmark = [pytest.mark.part("rest"), pytest.mark.needs("chromium")]

WIDTHS = (900, 390)
"""Pixels: a window beside GitHub's list of jobs, and a phone."""
STYLE = Path(sys.executable).with_name("github-markdown.css")  # tests/install_tools.sh
BODY = "body {margin: 0} .markdown-body {box-sizing: border-box; padding: 15px}"  # the stylesheet's own advice for phones
WIDE = (
    "|"
    + "|".join(["a column of a table"] * 6)
    + "|\n"
    + "|---" * 6
    + "|\n"
    + "|`2026-03-01T12:00:00Z`" * 6
    + "|"
)
"""A table of which GitHub's page cuts columns off on a phone."""

MEASURE = """
const found = {};
for (const frame of document.querySelectorAll('iframe')) {
  const page = frame.contentDocument, body = page.querySelector('article');
  const edge = body.getBoundingClientRect().right - parseFloat(getComputedStyle(body).paddingRight) + 0.5;
  const outside = [...body.querySelectorAll('*')].filter(each => each.getBoundingClientRect().right > edge);
  found[frame.name] = outside.map(each => each.tagName + ' ' + each.textContent.slice(0, 60));
}
document.body.textContent = JSON.stringify(found);
"""


def outside(pages: dict[str, str], folder: Path) -> dict[str, list[str]]:
    """By name and width: what of each page of Markdown sticks out of it."""
    render = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render
    head = f"<!doctype html><style>{STYLE.read_text()}{BODY}</style><article class=markdown-body>"
    frames = "".join(
        f'<iframe name="{name} {width}" width={width} height=2000 frameborder=0 scrolling=no srcdoc="{html.escape(head + render(text))}"></iframe>'
        for name, text in pages.items()
        for width in WIDTHS
    )
    page = folder / "page.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><body>{frames}<script>onload = () => {{{MEASURE}}}</script>"
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:], "--dump-dom", page.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = re.search(r"<body>(.*)</body>", done.stdout, re.DOTALL)
    assert answer, done.stdout
    found: dict[str, list[str]] = json.loads(html.unescape(answer[1]))
    assert len(found) == len(pages) * len(WIDTHS)
    return found


def test_every_column_is_inside_the_page_on_a_screen_and_on_a_phone(tmp_path: Path) -> None:
    if not STYLE.is_file():
        pytest.skip("NOT TESTED: github-markdown-css is not installed on this machine")
    pages = {name: render_markdown(document, "ab" * 32) for name, document in SAMPLES.items()}
    found = outside({**pages, "cut": WIDE}, tmp_path)
    assert found.pop("cut 390"), "it would not have noticed"
    found.pop("cut 900")
    assert {where: what for where, what in found.items() if what} == {}
