"""How branches of the GitHub stand-in are made, moved and deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from champion_gate_standins.github import history
from champion_gate_standins.github.accounts import RefusedError, User
from champion_gate_standins.github.commits import Commit
from champion_gate_standins.github.repositories import Repository, Workflow
from champion_gate_standins.github.state import State

Moved = Callable[[Repository, str, User, bool], None]
"""Told after a branch has moved: where, which, by whom, and whether history was replaced."""


class Branches:
    """The branches, over the state; who may do what is the caller's to ask."""

    def __init__(self, state: State, moved: Moved) -> None:
        self._state = state
        self._moved = moved

    def create(self, repository: Repository, name: str, sha: str, who: User) -> None:
        """Add a branch at a commit; RefusedError 422 where either is wrong."""
        files = history.commit_of(repository, sha).files
        if name in repository.branches:
            raise RefusedError(422, "Reference already exists")
        repository.branches[name] = sha
        repository.files[name] = dict(files)
        self._moved(repository, name, who, False)

    def delete(self, repository: Repository, name: str, who: User) -> None:
        """Remove a branch; RefusedError 422 where there is none, or where a rule or its role keeps it."""
        if name not in repository.branches:
            raise RefusedError(422, "Reference does not exist")
        if name == repository.default_branch or "deletion" in repository.branch_rules.get(name, {}):
            raise RefusedError(422, "Repository rule violations found\n\nCannot delete this branch")
        history.commit_of(repository, repository.branches[name])
        del repository.branches[name]
        repository.files.pop(name, None)
        self._moved(repository, name, who, False)

    def write(
        self, repository: Repository, branch: str, changes: Mapping[str, str | None], message: str, who: User
    ) -> Commit:
        """Commit files on a branch, path -> text; None removes one."""
        both = {**repository.files.get(branch, {}), **changes}
        files = {path: text for path, text in both.items() if text is not None}
        parents = (repository.branches[branch],)
        now = self._state.clock()
        made = history.write_commit(repository, parents, files, message=message, author=who, at=now)
        self.move(repository, branch, made.sha, who)
        return made

    def move(self, repository: Repository, branch: str, sha: str, who: User, *, forced: bool = False) -> None:
        """Have the branch end at this commit."""
        history.commit_of(repository, repository.branches[branch])
        repository.files[branch] = dict(history.commit_of(repository, sha).files)
        repository.branches[branch] = sha
        if branch == repository.default_branch:
            self._learn_workflows(repository)
        self._moved(repository, branch, who, forced)

    def _learn_workflows(self, repository: Repository) -> None:
        """GitHub knows the workflows that are on the default branch."""
        for path in repository.files[repository.default_branch]:
            folder, _, file = path.rpartition("/")
            if folder == ".github/workflows":
                fresh = Workflow(self._state.new_id(), file, "champion-gate", self._state.clock())
                repository.workflows.setdefault(file, fresh)
