"""Branches and their commits in the GitHub stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from champion_gate_standins.github.accounts import RefusedError, User
from champion_gate_standins.github.commits import Commit, commit_sha
from champion_gate_standins.github.repositories import Repository


def commit_of(repository: Repository, sha: str) -> Commit:
    """A commit; those that branches began with are made up here.

    Raises:
        RefusedError: 422, where the repository has none.
    """
    if sha not in repository.commits:
        branch = next((name for name, head in repository.branches.items() if head == sha), None)
        if branch is None:
            raise RefusedError(422, "Object does not exist")
        files = dict(repository.files.get(branch, {}))
        made = Commit(sha, (), files, "Initial commit", repository.owner, repository.created_at)
        repository.commits[sha] = made
    return repository.commits[sha]


def ancestry(repository: Repository, sha: str) -> dict[str, Commit]:
    """The commit and all before it."""
    found, left = {}, [sha]
    while left:
        one = left.pop()
        if one not in found:
            found[one] = commit_of(repository, one)
            left += found[one].parents
    return found


def ahead(repository: Repository, base: str, head: str) -> list[Commit]:
    """The commits that `head` has and `base` lacks, oldest first."""
    known = ancestry(repository, base)
    return [one for sha, one in reversed(ancestry(repository, head).items()) if sha not in known]


def fork_point(repository: Repository, base: str, head: str) -> Commit:
    """The newest commit that both have; RefusedError 404 without one."""
    known = ancestry(repository, base)
    for sha, one in ancestry(repository, head).items():
        if sha in known:
            return one
    raise RefusedError(404, "No common ancestor between the two commits.")


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """The paths that differ, each with GitHub's word: added, removed, modified."""
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return {
        path: "added" if path not in before else "modified" if path in after else "removed" for path in paths
    }


def write_commit(
    repository: Repository,
    parents: tuple[str, ...],
    files: Mapping[str, str],
    *,
    message: str,
    author: User,
    at: datetime,
) -> Commit:
    """Make a commit that no branch has yet; the same twice is the same commit."""
    for parent in parents:
        commit_of(repository, parent)
    second = at.isoformat(timespec="seconds")
    sha = commit_sha(parents, sorted(files.items()), message, author.login, second)
    return repository.commits.setdefault(sha, Commit(sha, parents, dict(files), message, author, at))
