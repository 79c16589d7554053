"""Pages and filters of the GitLab stand-in's lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, g, jsonify, request

from champion_gate_standins.gitlab.state import RefusedError

T = TypeVar("T")

_DEFAULT_SIZE, _MAX_SIZE = 20, 100


def page_of(items: Sequence[T]) -> tuple[Sequence[T], dict[str, str]]:
    """The asked-for page and its headers (docs.gitlab.com, "REST API": offset-based pagination).

    The links begin with the address that the instance believes to have.
    """
    size = min(max(_whole("per_page", _DEFAULT_SIZE), 1), _MAX_SIZE)
    number = max(_whole("page", 1), 1)
    last = max((len(items) + size - 1) // size, 1)
    pages = {"prev": number - 1, "next": number + 1, "first": 1, "last": last}
    asked = {key: value for key, value in request.args.items() if key not in {"page", "per_page"}}
    links = [
        f'<{g.own_address}{request.path}?{urlencode({**asked, "page": page, "per_page": size})}>; rel="{rel}"'
        for rel, page in pages.items()
        if 1 <= page <= last
    ]
    headers = {
        "Link": ", ".join(links),
        "X-Page": str(number),
        "X-Per-Page": str(size),
        "X-Prev-Page": str(number - 1) if 1 < number <= last + 1 else "",
        "X-Next-Page": str(number + 1) if number < last else "",
        "X-Total": str(len(items)),
        "X-Total-Pages": str(last),
    }
    return items[(number - 1) * size : number * size], headers


def listed(answers: list[Any], headers: dict[str, str]) -> Response:
    """A page as an answer."""
    answer = jsonify(answers)
    answer.headers.update(headers)
    return answer


def _whole(name: str, default: int) -> int:
    try:
        return int(request.args.get(name, default))
    except ValueError:
        raise RefusedError(400, f"{name} is invalid", key="error") from None


def time_of(name: str) -> datetime | None:
    """A time in the query; RefusedError 400 for something else."""
    text = request.args.get(name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, f"{name} is invalid", key="error") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def choice(name: str, allowed: set[str], default: str) -> str:
    """One of a few words in the query; RefusedError 400 for another."""
    value = request.args.get(name, default)
    if value not in allowed:
        raise RefusedError(400, f"{name} does not have a valid value", key="error")
    return value
