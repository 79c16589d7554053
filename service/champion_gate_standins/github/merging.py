"""Whether and how a pull request of the GitHub stand-in can be merged."""

from __future__ import annotations

from champion_gate_standins.github import history
from champion_gate_standins.github.repositories import PullRequest, Repository, may


def is_mergeable(repository: Repository, pull: PullRequest) -> bool:
    """Whether no file was changed on both sides, each time otherwise."""
    tip = repository.branches[pull.base]
    base, head = (history.commit_of(repository, sha).files for sha in (tip, pull.head_sha))
    point = history.fork_point(repository, tip, pull.head_sha).files
    both = history.changes(point, base).keys() & history.changes(point, head).keys()
    return all(base.get(path) == head.get(path) for path in both)


def broken_rule(repository: Repository, pull: PullRequest) -> str | None:
    """What a rule of the base branch has against merging; None = nothing."""
    rules = repository.branch_rules.get(pull.base, {})
    if "update" in rules:
        return "Cannot update this protected ref."
    if "pull_request" not in rules:
        return None
    needed = rules["pull_request"]["required_approving_review_count"]
    latest = {
        one.user: one.state
        for one in pull.reviews
        if one.state not in {"COMMENTED", "PENDING"} and may(repository, one.user, "write")
    }
    if "CHANGES_REQUESTED" in latest.values():
        return "Changes have been requested by reviewers with write access."
    if isinstance(needed, int) and list(latest.values()).count("APPROVED") < needed:
        return f"At least {needed} approving review is required by reviewers with write access."
    return None


def merged_files(repository: Repository, pull: PullRequest) -> dict[str, str]:
    """The base branch's files with what the pull request changes."""
    tip = repository.branches[pull.base]
    before = history.fork_point(repository, tip, pull.head_sha).files
    ours = history.commit_of(repository, pull.head_sha).files
    files = dict(history.commit_of(repository, tip).files)
    for path, change in history.changes(before, ours).items():
        if change == "removed":
            files.pop(path, None)
        else:
            files[path] = ours[path]
    return files
