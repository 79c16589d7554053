"""Tells web pages from what an API answers: login pages, error pages of proxies, a site's front page."""

from __future__ import annotations

import re

WORDS = "a web page in place of JSON"

_BEGINNING = 1000
_PAGE = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)


def is_web_page(body: bytes | str) -> bool:
    """Whether a body is HTML, whatever its content type says; only its beginning is looked at."""
    text = body[:_BEGINNING]
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    words = words.lstrip("\ufeff \t\r\n")
    return words.startswith("<") and _PAGE.search(words) is not None
