"""The JSON that the GitHub stand-in answers: every field that GitHub's own OpenAPI description requires."""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from champion_gate_standins.github.accounts import Team, User
from champion_gate_standins.github.repositories import Environment, Repository
from champion_gate_standins.github.state import GitHubApp

Json = dict[str, Any]

_REPOSITORY_LINKS = (
    "archive",
    "assignees",
    "blobs",
    "branches",
    "collaborators",
    "comments",
    "commits",
    "compare",
    "contents",
    "contributors",
    "deployments",
    "downloads",
    "events",
    "forks",
    "git_commits",
    "git_refs",
    "git_tags",
    "hooks",
    "issue_comment",
    "issue_events",
    "issues",
    "keys",
    "labels",
    "languages",
    "merges",
    "milestones",
    "notifications",
    "pulls",
    "releases",
    "stargazers",
    "statuses",
    "subscribers",
    "subscription",
    "tags",
    "teams",
    "trees",
)


_YEARS_OLD = {"created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z"}


def stamp(at: datetime) -> str:
    """A time as GitHub writes it: UTC, whole seconds."""
    return f"{at.isoformat(timespec='seconds')[:19]}Z"


def node_id(kind: str, number: int) -> str:
    """An opaque id."""
    return base64.urlsafe_b64encode(f"{kind}:{number}".encode()).decode()


def user(base: str, who: User) -> Json:
    """`simple-user`; `base` is the stand-in's URL without a trailing slash, here and below."""
    return _user(base, who.id, who.login, who.type)


@lru_cache
def _user(base: str, number: int, login: str, kind: str) -> Json:
    quoted = quote(login, safe="")
    url = f"{base}/users/{quoted}"
    links = {
        f"{name}_url": f"{url}/{name}"
        for name in (
            "followers",
            "following",
            "gists",
            "starred",
            "subscriptions",
            "repos",
            "events",
            "received_events",
        )
    }
    return {
        "login": login,
        "id": number,
        "node_id": node_id("User", number),
        "avatar_url": f"{base}/avatars/{number}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{base}/{quoted}",
        "organizations_url": f"{url}/orgs",
        "type": kind,
        "user_view_type": "public",
        "site_admin": False,
        **links,
    }


def public_user(base: str, who: User) -> Json:
    """`public-user` of `GET /users/{username}` and `GET /user`."""
    return user(base, who) | {
        "name": who.login,
        "company": None,
        "blog": "",
        "location": None,
        "email": None,
        "hireable": None,
        "bio": None,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        **_YEARS_OLD,
    }


def team(base: str, which: Team) -> Json:
    """`team`."""
    url = f"{base}/orgs/{which.org}/teams/{which.slug}"
    return {
        "id": which.id,
        "node_id": node_id("Team", which.id),
        "name": which.slug,
        "slug": which.slug,
        "description": None,
        "privacy": "closed",
        "notification_setting": "notifications_enabled",
        "permission": "pull",
        "type": "organization",
        "url": url,
        "html_url": f"{base}/orgs/{which.org}/teams/{which.slug}",
        "members_url": f"{url}/members{{/member}}",
        "repositories_url": f"{url}/repos",
        "parent": None,
    }


def full_team(base: str, which: Team, owner: User) -> Json:
    """`team-full`, as of a team that is asked for by itself."""
    org = f"{base}/orgs/{which.org}"
    links = ("repos", "events", "hooks", "issues", "members", "public_members")
    counts = ("public_repos", "public_gists", "followers", "following")
    organization = {
        "login": owner.login,
        "id": owner.id,
        "node_id": node_id("Organization", owner.id),
        "url": org,
        "html_url": f"{base}/{which.org}",
        "avatar_url": f"{base}/avatars/{owner.id}",
        "description": None,
        "has_organization_projects": True,
        "has_repository_projects": True,
        "type": "Organization",
        "archived_at": None,
        **{f"{name}_url": f"{org}/{name}" for name in links},
        **dict.fromkeys(counts, 0),
        **_YEARS_OLD,
    }
    numbers = {"members_count": len(which.members), "repos_count": 0}
    return team(base, which) | numbers | _YEARS_OLD | {"organization": organization}


def reviewers(base: str, environment: Environment) -> list[Json]:
    """The reviewers of an environment, as rules and pending deployments list them."""
    return [
        {"type": "Team", "reviewer": team(base, reviewer)}
        if isinstance(reviewer, Team)
        else {"type": "User", "reviewer": user(base, reviewer)}
        for reviewer in environment.reviewers
    ]


def minimal_repository(base: str, repository: Repository) -> Json:
    """`minimal-repository`, as inside a workflow run."""
    return {
        **_repository_links(base, repository.id, repository.full_name),
        "name": repository.name,
        "private": repository.private,
        "owner": user(base, repository.owner),
        "description": None,
        "fork": False,
    }


@lru_cache
def _repository_links(base: str, number: int, full_name: str) -> Json:
    url = f"{base}/repos/{full_name}"
    return {
        "id": number,
        "node_id": node_id("Repository", number),
        "full_name": full_name,
        "html_url": f"{base}/{full_name}",
        "url": url,
        **{f"{name}_url": f"{url}/{name}" for name in _REPOSITORY_LINKS},
    }


def full_repository(base: str, repository: Repository) -> Json:
    """`full-repository`, as of `GET /repos/{owner}/{repo}`."""
    html = f"{base}/{repository.full_name}"
    counts = ("forks", "forks_count", "open_issues", "open_issues_count", "stargazers_count", "watchers")
    numbers = (*counts, "watchers_count", "size", "network_count", "subscribers_count")
    switches = {
        f"has_{name}": False for name in ("downloads", "issues", "pages", "projects", "wiki", "discussions")
    }
    return minimal_repository(base, repository) | {
        "default_branch": repository.default_branch,
        "visibility": "private" if repository.private else "public",
        "archived": False,
        "disabled": False,
        "allow_merge_commit": "merge" in repository.merge_methods,
        "allow_squash_merge": "squash" in repository.merge_methods,
        "allow_rebase_merge": "rebase" in repository.merge_methods,
        "clone_url": f"{html}.git",
        "git_url": f"{html}.git",
        "ssh_url": f"git@localhost:{repository.full_name}.git",
        "svn_url": html,
        "homepage": None,
        "language": None,
        "license": None,
        "mirror_url": None,
        "topics": [],
        "created_at": stamp(repository.created_at),
        "pushed_at": stamp(repository.created_at),
        "updated_at": stamp(repository.created_at),
        **dict.fromkeys(numbers, 0),
        **switches,
    }


def environment(base: str, repository: Repository, place: Environment) -> Json:
    """`environment`, plus `can_admins_bypass`, which the description lacks but GitHub returns."""
    rules: list[Json] = []
    if place.wait_timer:
        rules.append({"type": "wait_timer", "wait_timer": place.wait_timer})
    if place.reviewers:
        rules.append(
            {
                "type": "required_reviewers",
                "prevent_self_review": place.prevent_self_review,
                "reviewers": reviewers(base, place),
            }
        )
    if place.branch_policy is not None:
        rules.append({"type": "branch_policy"})
    for number, rule in enumerate(rules):
        rule["id"] = place.id * 10 + number
        rule["node_id"] = node_id("Gate", rule["id"])
    custom = place.branches is not None
    policy = (
        None
        if place.branch_policy is None
        else {"protected_branches": not custom, "custom_branch_policies": custom}
    )
    answer = environment_link(base, repository, place) | {
        "created_at": stamp(place.created_at),
        "updated_at": stamp(place.updated_at),
        "protection_rules": rules,
        "deployment_branch_policy": policy,
    }
    return (
        answer if place.can_admins_bypass is None else answer | {"can_admins_bypass": place.can_admins_bypass}
    )


def environment_link(base: str, repository: Repository, place: Environment) -> Json:
    """The fields that every mention of an environment has."""
    name = quote(place.name, safe="")
    return {
        "id": place.id,
        "node_id": node_id("Environment", place.id),
        "name": place.name,
        "url": f"{base}/repos/{repository.full_name}/environments/{name}",
        "html_url": f"{base}/{repository.full_name}/deployments/activity_log?environments_filter={name}",
    }


def branch_policies(place: Environment) -> Json:
    """The list of custom deployment branch policies; empty with "protected" or without a policy."""
    policies = [branch_policy(place, name) for name in place.branches or ()]
    return {"total_count": len(policies), "branch_policies": policies}


def branch_policy(place: Environment, name: str) -> Json:
    """`deployment-branch-policy`."""
    number = place.id * 10_000 + zlib.crc32(name.encode()) % 10_000
    return {"id": number, "node_id": node_id("Policy", number), "name": name, "type": "branch"}


def branch_rules(repository: Repository, branch: str) -> list[Json]:
    """The active rules of all rulesets that apply to a branch of this name."""
    return [
        {
            "type": kind,
            **({"parameters": parameters} if parameters else {}),
            "ruleset_source_type": "Repository",
            "ruleset_source": repository.full_name,
            "ruleset_id": repository.id,
        }
        for kind, parameters in repository.branch_rules.get(branch, {}).items()
    ]


def app(base: str, which: GitHubApp) -> Json:
    """`integration`, as of `GET /app`."""
    return {
        "id": which.id,
        "slug": which.slug,
        "client_id": which.client_id,
        "node_id": node_id("App", which.id),
        "owner": user(base, which.owner),
        "name": which.slug,
        "description": "",
        "external_url": f"{base}/apps/{which.slug}",
        "html_url": f"{base}/apps/{which.slug}",
        "created_at": stamp(which.created_at),
        "updated_at": stamp(which.created_at),
        "permissions": {"metadata": "read", **which.permissions},
        "events": list(which.events),
    }


def installation(base: str, which: GitHubApp) -> Json:
    """`installation`."""
    url = f"{base}/app/installations/{which.installation_id}"
    return {
        "id": which.installation_id,
        "account": user(base, which.owner),
        "client_id": which.client_id,
        "access_tokens_url": f"{url}/access_tokens",
        "repositories_url": f"{base}/installation/repositories",
        "html_url": f"{base}/organizations/{which.owner.login}/settings/installations/{which.installation_id}",
        "app_id": which.id,
        "app_slug": which.slug,
        "target_id": which.owner.id,
        "target_type": which.owner.type,
        "permissions": {"metadata": "read", **which.permissions},
        "events": list(which.events),
        "created_at": stamp(which.created_at),
        "updated_at": stamp(which.created_at),
        "single_file_name": None,
        "repository_selection": "all" if which.repositories is None else "selected",
        "suspended_at": stamp(which.created_at) if which.suspended else None,
        "suspended_by": user(base, which.owner) if which.suspended else None,
    }


def blob_sha(text: str) -> str:
    """Git's id of a file."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def content(base: str, repository: Repository, ref: str, path: str, text: str) -> Json:
    """`content-file` of a file at a branch or commit."""
    sha, url = blob_sha(text), f"{base}/repos/{repository.full_name}"
    here = f"{url}/contents/{quote(path)}?ref={quote(ref)}"
    page = f"{base}/{repository.full_name}/blob/{ref}/{quote(path)}"
    git = f"{url}/git/blobs/{sha}"
    return {
        "type": "file",
        "encoding": "base64",
        "size": len(text.encode()),
        "name": path.rpartition("/")[2],
        "path": path,
        "content": base64.encodebytes(text.encode()).decode(),
        "sha": sha,
        "url": here,
        "git_url": git,
        "html_url": page,
        "download_url": page,
        "_links": {"git": git, "self": here, "html": page},
    }
