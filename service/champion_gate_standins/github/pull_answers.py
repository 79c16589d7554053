"""The JSON that the GitHub stand-in answers about pull requests, in the words of GitHub's OpenAPI description."""

from __future__ import annotations

from urllib.parse import quote

from champion_gate_standins.github import history
from champion_gate_standins.github.accounts import Team, User
from champion_gate_standins.github.answers import (
    Json,
    blob_sha,
    full_repository,
    node_id,
    stamp,
    team,
    user,
)
from champion_gate_standins.github.commits import Comment, Commit, Happening, Review, Status
from champion_gate_standins.github.repositories import ROLES, PullRequest, Repository, role_of

GHOST = 10137


def _person(base: str, who: User) -> Json | None:
    """`nullable-simple-user`: an account that was deleted is null."""
    return None if who.id == GHOST else user(base, who)


def _association(repository: Repository, who: User) -> str:
    return "COLLABORATOR" if who in repository.roles else "NONE"


def pull_request(base: str, repository: Repository, one: PullRequest) -> Json:
    """`pull-request-simple`, as in lists."""
    url = f"{base}/repos/{repository.full_name}"
    api = f"{url}/pulls/{one.number}"
    html = f"{base}/{repository.full_name}/pull/{one.number}"
    links = {
        "comments": f"{url}/issues/{one.number}/comments",
        "commits": f"{api}/commits",
        "statuses": f"{url}/statuses/{one.head_sha}",
        "html": html,
        "issue": f"{url}/issues/{one.number}",
        "review_comments": f"{api}/comments",
        "review_comment": f"{url}/pulls/comments{{/number}}",
        "self": api,
    }

    def end(where: Repository, name: str, sha: str) -> Json:
        return {
            "label": f"{where.owner.login}:{name}",
            "ref": name,
            "sha": sha,
            "user": user(base, where.owner),
            "repo": full_repository(base, where),
        }

    return {
        "url": api,
        "id": one.id,
        "node_id": node_id("PullRequest", one.id),
        "html_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "issue_url": links["issue"],
        "commits_url": links["commits"],
        "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"],
        "comments_url": links["comments"],
        "statuses_url": links["statuses"],
        "number": one.number,
        "state": one.state,
        "locked": False,
        "title": one.title,
        "body": one.body or None,
        "user": user(base, one.user),
        "labels": [],
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [user(base, who) for who in one.requested if isinstance(who, User)],
        "requested_teams": [team(base, who) for who in one.requested if isinstance(who, Team)],
        "milestone": None,
        "draft": one.draft,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "closed_at": stamp(one.closed_at) if one.closed_at else None,
        "merged_at": stamp(one.merged_at) if one.merged_at else None,
        "merge_commit_sha": one.merge_sha,
        "head": end(one.origin, one.head, one.head_sha),
        "base": end(repository, one.base, one.base_sha),
        "_links": {name: {"href": link} for name, link in links.items()},
        "author_association": _association(repository, one.user),
        "auto_merge": None,
    }


def full_pull_request(base: str, repository: Repository, one: PullRequest) -> Json:
    """`pull-request`. Whether it can be merged GitHub works out later, so that is unknown, as it often is there."""
    commits = history.ahead(repository, one.base_sha, one.head_sha)
    before = history.fork_point(repository, one.base_sha, one.head_sha).files
    after = history.commit_of(repository, one.head_sha).files
    files = history.changes(before, after)
    return pull_request(base, repository, one) | {
        "additions": sum(len(after.get(path, "").splitlines()) for path in files),
        "deletions": sum(len(before.get(path, "").splitlines()) for path in files),
        "changed_files": len(files),
        "commits": len(commits),
        "comments": len(one.comments),
        "review_comments": 0,
        "mergeable": None,
        "rebaseable": None,
        "mergeable_state": "unknown",
        "merged": one.merged_at is not None,
        "merged_by": _person(base, one.merged_by) if one.merged_by else None,
        "maintainer_can_modify": False,
    }


def review(base: str, repository: Repository, pull: PullRequest, one: Review) -> Json:
    """`pull-request-review`; without a time while it is pending."""
    api = f"{base}/repos/{repository.full_name}/pulls/{pull.number}"
    html = f"{base}/{repository.full_name}/pull/{pull.number}#pullrequestreview-{one.id}"
    return {
        "id": one.id,
        "node_id": node_id("Review", one.id),
        "user": _person(base, one.user),
        "body": one.body,
        "state": one.state,
        "html_url": html,
        "pull_request_url": api,
        "author_association": _association(repository, one.user),
        "_links": {"html": {"href": html}, "pull_request": {"href": api}},
        "commit_id": one.commit_id,
        **({"submitted_at": stamp(one.submitted_at)} if one.submitted_at else {}),
    }


def comment(base: str, repository: Repository, pull: PullRequest, one: Comment) -> Json:
    """`issue-comment`."""
    issue = f"{base}/repos/{repository.full_name}/issues"
    return {
        "id": one.id,
        "node_id": node_id("Comment", one.id),
        "url": f"{issue}/comments/{one.id}",
        "html_url": f"{base}/{repository.full_name}/pull/{pull.number}#issuecomment-{one.id}",
        "issue_url": f"{issue}/{pull.number}",
        "user": _person(base, one.user),
        "body": one.body,
        "created_at": stamp(one.at),
        "updated_at": stamp(one.at),
        "author_association": _association(repository, one.user),
        "performed_via_github_app": None,
    }


def commit(base: str, repository: Repository, one: Commit) -> Json:
    """`git-commit`: who wrote it is a name and an address, no account."""
    url = f"{base}/repos/{repository.full_name}/git/commits"
    who = {
        "name": one.author.login,
        "email": f"{one.author.login}@users.noreply.example.com",
        "date": stamp(one.at),
    }
    tree = blob_sha(repr(sorted(one.files.items())))
    return {
        "sha": one.sha,
        "node_id": node_id("Commit", int(one.sha[:8], 16)),
        "url": f"{url}/{one.sha}",
        "html_url": f"{base}/{repository.full_name}/commit/{one.sha}",
        "author": who,
        "committer": who,
        "message": one.message,
        "tree": {"sha": tree, "url": f"{base}/repos/{repository.full_name}/git/trees/{tree}"},
        "parents": [
            {
                "sha": sha,
                "url": f"{url}/{sha}",
                "html_url": f"{base}/{repository.full_name}/commit/{sha}",
            }
            for sha in one.parents
        ],
        "verification": {
            "verified": False,
            "reason": "unsigned",
            "signature": None,
            "payload": None,
            "verified_at": None,
        },
    }


def full_commit(base: str, repository: Repository, one: Commit) -> Json:
    """`commit`, as in a comparison."""
    told = commit(base, repository, one)
    url = f"{base}/repos/{repository.full_name}/commits/{one.sha}"
    inner = {key: told[key] for key in ("author", "committer", "message", "tree", "verification")}
    return {
        **{key: told[key] for key in ("sha", "node_id", "html_url", "parents")},
        "url": url,
        "comments_url": f"{url}/comments",
        "commit": inner | {"url": told["url"], "comment_count": 0},
        "author": _person(base, one.author),
        "committer": _person(base, one.author),
    }


def comparison(base: str, repository: Repository, ends: str, left: str, right: str) -> Json:
    """`commit-comparison` of two commits; files are those of the newer against where both parted."""
    point = history.fork_point(repository, left, right)
    ahead, behind = (history.ahead(repository, *two) for two in ((left, right), (right, left)))
    url = f"{base}/repos/{repository.full_name}/compare/{quote(ends, safe='.')}"
    html = f"{base}/{repository.full_name}/compare/{ends}"
    status = {(True, True): "diverged", (True, False): "ahead", (False, True): "behind"}
    after = history.commit_of(repository, right).files
    return {
        "url": url,
        "html_url": html,
        "permalink_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "base_commit": full_commit(base, repository, history.commit_of(repository, left)),
        "merge_base_commit": full_commit(base, repository, point),
        "status": status.get((bool(ahead), bool(behind)), "identical"),
        "ahead_by": len(ahead),
        "behind_by": len(behind),
        "total_commits": len(ahead),
        "commits": [full_commit(base, repository, one) for one in ahead],
        "files": [
            file_change(base, repository, history.commit_of(repository, right), path, change)
            for path, change in history.changes(point.files, after).items()
        ],
    }


def file_change(base: str, repository: Repository, at: Commit, path: str, change: str) -> Json:
    """`diff-entry`."""
    text, sha = at.files.get(path, ""), at.sha
    lines, page = len(text.splitlines()), f"{base}/{repository.full_name}/blob/{sha}/{quote(path)}"
    return {
        "sha": blob_sha(text),
        "filename": path,
        "status": change,
        "additions": lines,
        "deletions": 0,
        "changes": lines,
        "blob_url": page,
        "raw_url": page,
        "contents_url": f"{base}/repos/{repository.full_name}/contents/{quote(path)}?ref={sha}",
    }


def happening(
    base: str, repository: Repository, pull: PullRequest, one: Happening | Commit | Review | Comment
) -> Json:
    """`timeline-issue-events`: each kind has its own fields, and only some name an actor."""
    if isinstance(one, Commit):
        return {"event": "committed", **commit(base, repository, one)}
    if isinstance(one, Review):
        told = review(base, repository, pull, one)
        return {**told, "event": "reviewed", "state": one.state.lower()}
    if isinstance(one, Comment):
        told = comment(base, repository, pull, one)
        return {**told, "event": "commented", "actor": told["user"]}
    url = f"{base}/repos/{repository.full_name}"
    return {
        "id": one.id,
        "node_id": node_id("Event", one.id),
        "url": f"{url}/issues/events/{one.id}",
        "actor": _person(base, one.actor),
        "event": one.event,
        "commit_id": one.commit_id,
        "commit_url": f"{url}/commits/{one.commit_id}" if one.commit_id else None,
        "created_at": stamp(one.at),
        "performed_via_github_app": None,
        **one.more,
    }


def permission(base: str, repository: Repository, who: User) -> Json:
    """`repository-collaborator-permission`: maintain is told as write and triage as read; the role is told beside."""
    role = role_of(repository, who)
    told = {"maintain": "write", "triage": "read"}
    held = repository.custom_roles.get(role, role)
    levels = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain", "admin": "admin"}
    has = {name: ROLES.index(held) >= ROLES.index(level) for name, level in levels.items()}
    return {
        "permission": told.get(held, held),
        "role_name": role,
        "user": user(base, who) | {"permissions": has, "role_name": role},
    }


def status(base: str, repository: Repository, one: Status) -> Json:
    """`status`."""
    return {
        "url": f"{base}/repos/{repository.full_name}/statuses/{one.sha}",
        "avatar_url": f"{base}/avatars/{one.creator.id}",
        "id": one.id,
        "node_id": node_id("Status", one.id),
        "state": one.state,
        "description": one.description,
        "target_url": one.target_url,
        "context": one.context,
        "created_at": stamp(one.at),
        "updated_at": stamp(one.at),
        "creator": _person(base, one.creator),
    }
