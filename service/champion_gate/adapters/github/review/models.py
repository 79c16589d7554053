"""What we take of GitHub's answers about branches, pull requests and their reviews.

Fields, and which may be null or absent: GitHub's description of its REST API.
"""

from __future__ import annotations

from pydantic import Field

from champion_gate.adapters.github.models import Numbered, User
from champion_gate.adapters.http.models import Answered, NumberId, Time


class Named(Answered):
    """A git object or commit, of which the hash is all that we need."""

    sha: str


class Ref(Answered):
    """A branch, as `refs/heads/NAME`, and what it points to."""

    ref: str
    object: Named


class ChangedFile(Answered):
    """A file that a commit changed; `sha` is that of its blob."""

    filename: str
    status: str
    sha: str | None = None


class Comparison(Answered):
    """What one commit has that another lacks; files are those of the difference to where both parted."""

    ahead_by: int
    files: list[ChangedFile]

    def shows(self, path: str, blob_sha: str) -> bool:
        """Whether all that it has is this one file."""
        return self.ahead_by == 1 and [(one.filename, one.sha) for one in self.files] == [(path, blob_sha)]


class File(Answered):
    """A file that is there; the hash is its blob's."""

    sha: str


class MadeFile(Answered):
    """The answer to a file that was made: the commit that did."""

    commit: Named


class Team(Answered):
    """A team; its slug may change, its id may not."""

    id: NumberId
    slug: str


class _Side(Answered):
    """One of the two branches of a pull request; the repository is gone where a fork was deleted."""

    ref: str
    sha: str
    repo: Numbered | None = None


class ListedPull(Answered):
    """A pull request in a list."""

    number: NumberId
    html_url: str
    title: str
    state: str
    user: User | None
    created_at: Time
    updated_at: Time
    head: _Side
    base: _Side


class Pull(ListedPull):
    """A pull request."""

    merged: bool
    commits: int
    merged_by: User | None = None


class Review(Answered):
    """A review; nobody is told where the account was deleted. One that is not submitted yet has no time."""

    id: NumberId
    user: User | None
    state: str
    body: str = ""
    submitted_at: Time | None = None
    commit_id: str | None = None


class Permission(Answered):
    """What somebody may do in the repository; `maintain` is told as write here, and `triage` as read."""

    permission: str
    user: User | None = None


class TimelineEvent(Answered):
    """Something that happened to a pull request; which fields it has depends on its kind."""

    event: str | None = None
    actor: User | None = None
    created_at: Time | None = None


class Comment(Answered):
    """A comment on a pull request."""

    user: User | None
    body: str = Field(default="")
