"""Pages and filters of the GitHub stand-in's lists, and fields of what it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, g, request

from champion_gate_standins.github.accounts import RefusedError

T = TypeVar("T")


def page_of(items: Sequence[T], repository_id: int | None = None) -> tuple[Sequence[T], str]:
    """The asked-for page (at most 100 a page) and the Link header's value.

    Args:
        items: all of the list.
        repository_id: whose list it is; links name the repository by this number (docs.github.com, "Using
            pagination in the REST API").
    """
    try:
        size = min(max(int(request.args.get("per_page", "30")), 1), 100)
        number = max(int(request.args.get("page", "1")), 1)
    except ValueError:
        size, number = 30, 1
    last = max((len(items) + size - 1) // size, 1)
    links = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
    useful = {
        rel: page
        for rel, page in links.items()
        if 1 <= page <= last and (rel in {"prev", "next"} or (rel == "last") == (number < last))
    }
    path = request.path
    if repository_id is not None:
        path = re.sub(r"^/repos/[^/]+/[^/]+", f"/repositories/{repository_id}", path)
    asked = {key: value for key, value in request.args.items() if key != "page"}
    link = ", ".join(
        f'<{g.own_address}{path}?{urlencode({**asked, "page": page})}>; rel="{rel}"'
        for rel, page in useful.items()
    )
    return items[(number - 1) * size : number * size], link if last > 1 else ""


def linked(answer: Response, link: str) -> Response:
    """The answer with a Link header, if there is one."""
    if link:
        answer.headers["Link"] = link
    return answer


def text_of(body: Mapping[str, Any], name: str) -> str:
    """A text that has to be in the body; RefusedError 422 without it."""
    found = body.get(name)
    if not isinstance(found, str):
        raise RefusedError(422, f'Invalid request.\n\n"{name}" wasn\'t supplied.')
    return found


def created_filter(wanted: str) -> Callable[[datetime], bool]:
    """The filter that `created` asks for, in GitHub's search syntax for dates; RefusedError 422 for none."""
    if not wanted:
        return lambda _at: True
    try:
        if ".." in wanted:
            start, end = map(_date, wanted.split("..", 1))
            return lambda at: (start is None or at >= start) and (end is None or at <= end)
        bound = wanted.lstrip("<>=")
        edge = _date(bound)
    except ValueError:
        raise RefusedError(422, "Invalid search query") from None
    if edge is None:
        return lambda _at: True
    compare: dict[str, Callable[[datetime], bool]] = {
        ">=": lambda at: at >= edge,
        ">": lambda at: at > edge,
        "<=": lambda at: at <= edge,
        "<": lambda at: at < edge,
    }
    return compare.get(wanted.removesuffix(bound), lambda at: at.date() == edge.date())


def _date(text: str) -> datetime | None:
    if text in {"", "*"}:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
