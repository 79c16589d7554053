"""What the stand-ins' pages for people have in common."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, render_template, request

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_foreign_form() -> bool:
    """Whether another site posted the form in hand: who plays with the demo should see the real pages' care."""
    return request.headers.get("Origin") not in {None, request.host_url.rstrip("/")}


def page(template: str, status: int, **shown: Any) -> Response:
    """A page that loads and runs nothing.

    Args:
        template: file name in `templates`.
        status: of the answer.
        shown: what the template shows.
    """
    answer = make_response(render_template(template, **shown), status)
    answer.headers.update(HEADERS)
    return answer
