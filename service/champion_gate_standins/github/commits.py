"""What the GitHub stand-in remembers of commits, and of what is said about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from champion_gate_standins.github.accounts import User


@dataclass(frozen=True, eq=False)
class Commit:
    """A commit: all files as they are with it, path -> text."""

    sha: str
    parents: tuple[str, ...]
    files: Mapping[str, str]
    message: str
    author: User
    at: datetime


@dataclass(eq=False)
class Review:
    """A review; `state` is upper case. One that is PENDING has no time, and nobody but its author sees it."""

    id: int
    user: User
    state: str
    body: str
    commit_id: str
    submitted_at: datetime | None


@dataclass(frozen=True, eq=False)
class Comment:
    """A comment below a pull request."""

    id: int
    user: User
    body: str
    at: datetime


@dataclass(frozen=True, eq=False)
class Happening:
    """What the timeline tells beside commits, reviews and comments; `more` are further fields of its answer."""

    id: int
    event: str
    actor: User
    at: datetime
    commit_id: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Status:
    """A commit's status; the newest of a context counts."""

    id: int
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    creator: User
    at: datetime


def commit_sha(*parts: object) -> str:
    """A stable made-up commit id of 40 hex digits."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]
