"""What people do in the GitHub stand-in's repositories, outside the API: as on GitHub's pages, or with git."""

from __future__ import annotations

from dataclasses import replace

from champion_gate_standins.github import history
from champion_gate_standins.github.accounts import RefusedError, Team, User
from champion_gate_standins.github.api_of_pulls import pull_of, review_of
from champion_gate_standins.github.commits import Commit, Review
from champion_gate_standins.github.pulls import Pulls
from champion_gate_standins.github.repositories import PullRequest, Repository, may
from champion_gate_standins.github.state import State


class People:
    """Acts of accounts by login. Each is RefusedError 403 for who lacks the role that GitHub asks for.

    Everybody who can read a repository may review there, and a review says so whoever it is; only the author's own is
    refused. Repositories are named in full.
    """

    def __init__(self, state: State, pulls: Pulls) -> None:
        self._state = state
        self._pulls = pulls

    def _who(
        self, repository: Repository, login: str, level: str, *, is_own: PullRequest | None = None
    ) -> User:
        who = self._state.user(login)
        own = is_own is not None and is_own.user is who
        if not own and who.type == "User" and not may(repository, who, level):
            raise RefusedError(403, f"{login} may not do this in {repository.full_name}.")
        return who

    def _at(self, repository: str, number: int) -> tuple[Repository, PullRequest]:
        found = self._state.repository(repository)
        return found, pull_of(found, number)

    # --- access ------------------------------------------------------------------------------------------------

    def give(self, repository: str, who: str | Team, role: str) -> None:
        """Give an account, made where there is none, or a team a role: one of ROLES, or a custom one of the repository."""
        with self._state.lock:
            one = who if isinstance(who, Team) else self._state.account(who, kind="User")
            self._state.repository(repository).roles[one] = role

    def take_away(self, repository: str, who: str | Team) -> None:
        """Remove the account's or team's access."""
        with self._state.lock:
            one = who if isinstance(who, Team) else self._state.user(who)
            self._state.repository(repository).roles.pop(one, None)

    # --- pull requests -----------------------------------------------------------------------------------------

    def pull(self, repository: str, number: int) -> PullRequest:
        """A pull request."""
        with self._state.lock:
            return self._at(repository, number)[1]

    def open(
        self, repository: str, login: str, head: str, base: str = "main", title: str = "A change"
    ) -> int:
        """Open a pull request by hand, of a branch or of a fork's `owner:branch`, and return its number."""
        with self._state.lock:
            found = self._state.repository(repository)
            account, _, branch = head.rpartition(":")
            origin = next(
                (
                    one
                    for one in self._state.repositories.values()
                    if one.commits is found.commits and one.owner.login == account
                ),
                found,
            )
            who = self._who(found, login, "read")
            return self._pulls.open(found, branch, base, who, title=title, origin=origin).number

    def review(
        self,
        repository: str,
        number: int,
        login: str,
        verdict: str | None = "APPROVE",
        body: str = "",
        *,
        commit: str | None = None,
    ) -> Review:
        """Review.

        Args:
            repository: in full.
            number: of the pull request.
            login: who; "name[bot]" for an App.
            verdict: "APPROVE", "REQUEST_CHANGES", "COMMENT", or None for one that is not submitted yet.
            body: what the reviewer writes.
            commit: that the review is bound to, by default the latest.
        """
        with self._state.lock:
            found, pull = self._at(repository, number)
            who = self._who(found, login, "read")
            text = body or ("" if verdict in {None, "APPROVE"} else "See above.")
            return self._pulls.review(found, pull, who, verdict, body=text, commit_id=commit)

    def submit(self, repository: str, number: int, review: Review, verdict: str) -> None:
        """Submit a pending review."""
        with self._state.lock:
            self._pulls.submit(*self._at(repository, number), review, verdict)

    def dismiss(
        self, repository: str, number: int, review: Review | int, login: str, message: str = "Outdated."
    ) -> None:
        """Void a review."""
        with self._state.lock:
            found, pull = self._at(repository, number)
            one = review if isinstance(review, Review) else review_of(pull, review)
            self._pulls.dismiss(found, pull, one, message, self._who(found, login, "write"))

    def comment(self, repository: str, number: int, login: str, body: str) -> None:
        """Write a comment, which is no review."""
        with self._state.lock:
            found, pull = self._at(repository, number)
            self._pulls.comment(pull, body, self._who(found, login, "read"))

    def close(self, repository: str, number: int, login: str) -> None:
        """Close it unmerged, as its author or with triage; so does an App that is made for stale ones."""
        with self._state.lock:
            found, pull = self._at(repository, number)
            self._pulls.close(found, pull, self._who(found, login, "triage", is_own=pull))

    def reopen(self, repository: str, number: int, login: str) -> None:
        """Open it again."""
        with self._state.lock:
            found, pull = self._at(repository, number)
            self._pulls.reopen(found, pull, self._who(found, login, "triage", is_own=pull))

    def edit(
        self, repository: str, number: int, login: str, *, title: str | None = None, body: str | None = None
    ) -> None:
        """Change its title or text."""
        with self._state.lock:
            found, pull = self._at(repository, number)
            who = self._who(found, login, "write", is_own=pull)
            self._pulls.edit(found, pull, who, title=title, body=body)

    def retarget(self, repository: str, number: int, login: str, base: str) -> None:
        """Give it another base branch."""
        with self._state.lock:
            found, pull = self._at(repository, number)
            self._pulls.edit(found, pull, self._who(found, login, "write", is_own=pull), base=base)

    def merge(
        self, repository: str, number: int, login: str, method: str = "merge", *, bypass: bool = False
    ) -> str:
        """Merge it, with `bypass` past the rules of its base branch, and return the commit."""
        with self._state.lock:
            found, pull = self._at(repository, number)
            who = self._who(found, login, "admin" if bypass else "write")
            return self._pulls.merge(found, pull, who, method=method, bypass=bypass)

    # --- branches ----------------------------------------------------------------------------------------------

    def make_branch(self, repository: str, branch: str, login: str, origin: str = "main") -> str:
        """Make a branch at the head of another and return its commit."""
        with self._state.lock:
            found = self._state.repository(repository)
            sha = found.branches[origin]
            self._pulls.branches.create(found, branch, sha, self._who(found, login, "write"))
            return sha

    def push(
        self, repository: str, branch: str, login: str, path: str = "README.md", text: str | None = "More.\n"
    ) -> str:
        """Commit a file on a branch, with None without it, and return the commit."""
        with self._state.lock:
            found = self._state.repository(repository)
            who = self._who(found, login, "write")
            return self._pulls.branches.write(found, branch, {path: text}, f"Change {path}", who).sha

    def force_push(
        self, repository: str, branch: str, login: str, path: str = "README.md", text: str = "Other.\n"
    ) -> str:
        """Put another commit in the place of a branch's last one, with this file beside the same others; return it."""
        with self._state.lock:
            found = self._state.repository(repository)
            who = self._who(found, login, "write")
            old = history.commit_of(found, found.branches[branch])
            made = self._rewritten(found, old, {path: text}, who)
            self._pulls.branches.move(found, branch, made.sha, who, forced=True)
            return made.sha

    def _rewritten(self, repository: Repository, old: Commit, files: dict[str, str], who: User) -> Commit:
        now = self._state.clock()
        return history.write_commit(
            repository, old.parents, {**old.files, **files}, message=old.message, author=who, at=now
        )

    def reset_branch(self, repository: str, branch: str, login: str, sha: str) -> None:
        """Force a branch to a commit that is there."""
        with self._state.lock:
            found = self._state.repository(repository)
            self._pulls.branches.move(found, branch, sha, self._who(found, login, "write"), forced=True)

    def delete_branch(self, repository: str, branch: str, login: str) -> None:
        """Delete a branch; what is open of it is closed."""
        with self._state.lock:
            found = self._state.repository(repository)
            self._pulls.branches.delete(found, branch, self._who(found, login, "write"))

    # --- repositories ------------------------------------------------------------------------------------------

    def fork(self, repository: str, login: str) -> str:
        """Fork a repository to an account, all branches with it, and return its full name."""
        with self._state.lock:
            found = self._state.repository(repository)
            owner = self._state.account(login, kind="User")
            copy = replace(
                found,
                id=self._state.new_id(),
                owner=owner,
                branches=dict(found.branches),
                files={branch: dict(files) for branch, files in found.files.items()},
                branch_rules={},
                environments={},
                pulls=[],
                statuses=[],
                roles={owner: "admin"},
                created_at=self._state.clock(),
            )
            self._state.repositories[copy.full_name.lower()] = copy
            return copy.full_name

    def rename(self, repository: str, new: str) -> None:
        """Rename a repository; its old name leads to the new one until somebody takes it."""
        with self._state.lock:
            found = self._state.repository(repository)
            self._move(found, found.owner, new)

    def transfer(self, repository: str, owner: str) -> None:
        """Give a repository to another organization; who reached it through its former one no longer does."""
        with self._state.lock:
            found = self._state.repository(repository)
            self._move(found, self._state.account(owner, kind="Organization"), found.name)
            found.roles = {who: role for who, role in found.roles.items() if isinstance(who, User)}

    def _move(self, repository: Repository, owner: User, name: str) -> None:
        state, old = self._state, repository.full_name.lower()
        stays = owner is repository.owner
        del state.repositories[old]
        repository.owner, repository.name = owner, name
        state.repositories[repository.full_name.lower()] = state.moved[old] = repository
        new = repository.full_name
        for app in state.apps:
            names = {one.lower(): one for one in app.repositories or ()}
            if app.repositories is not None and names.pop(old, None) is not None:
                app.repositories = set(names.values()) | ({new} if stays else set())
        for token, held in state.credentials.items():
            if held.repositories is not None and old in held.repositories:
                kept = held.repositories - {old} | ({new.lower()} if stays else set())
                state.credentials[token] = replace(held, repositories=kept)

    def set_private(self, repository: str, *, private: bool) -> None:
        """Turn a repository private or public."""
        with self._state.lock:
            self._state.repository(repository).private = private
