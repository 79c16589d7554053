"""What a person may change in a repository: environments, variables, a branch and a pull request (docs.github.com, REST API)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from champion_gate.adapters.ci_checks import decoded
from champion_gate.adapters.github.api import RepositoryApi, as_listed
from champion_gate.adapters.github.app import Account
from champion_gate.adapters.github.calls import P, RepositoryCalls
from champion_gate.adapters.github.models import BranchPolicy, Environment, File, Numbered, github
from champion_gate.adapters.github.settings import GitHubPlace
from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.models import Answered, NumberId
from champion_gate.domain.names import joined
from champion_gate.errors import ConflictError, VendorNotFoundError, VendorRefusedError

_NO_BYPASS_KEY = "can_admins_bypass"
"""Described nowhere, and taken by github.com since 2023 (google/go-github#2725); servers before that refuse it by name
(integrations/terraform-provider-github#1804)."""


class Home(Answered):
    """A repository, by who owns it."""

    owner: Account
    default_branch: str


class KnownPolicy(BranchPolicy):
    """A branch from which may be deployed, with its id."""

    id: NumberId


class Blob(File):
    """A file on a branch, with the id of its content."""

    sha: str


class PullRequest(Answered):
    """A pull request."""

    html_url: str


class _Commit(Answered):
    sha: str


class _Ref(Answered):
    object: _Commit


class SetupCalls(RepositoryCalls[P]):
    """Calls about one repository that change it, in whatever way people approve there. Errors are those of ApiClient."""

    def home(self) -> Home:
        """`GET /repos/{owner}/{repo}`."""
        return github.one(Home, self._get(), "repository")

    def team(self, slug: str) -> Numbered:
        """`GET /orgs/{org}/teams/{team_slug}`."""
        answer = self._client.get(joined("orgs", self.spot.owner, "teams", slug), auth=self._auth)
        return github.one(Numbered, answer, "team")

    def make_branch(self, name: str, base: str) -> None:
        """Have a branch that begins where `base` is.

        Raises:
            ConflictError: one of this name has commits of its own, which nobody would expect in a pull request of ours.
        """
        head = self.head(base)
        try:
            there = self.head(name)
        except VendorNotFoundError:
            self._send("POST", "git", "refs", body={"ref": f"refs/heads/{name}", "sha": head})
            return
        if there != head:
            raise ConflictError(
                f"{self.spot.repository} has a branch {name} with commits of its own, and no pull request of it.",
                hint="Delete it, and run this again.",
            )

    def head(self, branch: str) -> str:
        """`GET …/git/ref/heads/{branch}`: its last commit."""
        return github.one(_Ref, self._get("git", "ref", "heads", *branch.split("/")), "ref").object.sha

    def _send(
        self, method: str, *parts: str, body: Mapping[str, object] | None = None, accept: Sequence[int] = ()
    ) -> Answer:
        path = joined(*self._repository, *parts)
        try:
            return self._client.send(method, path, auth=self._auth, body=body, accept=accept)
        except VendorNotFoundError as missing:
            # Where a token may read and not write, GitHub says that there is nothing.
            raise VendorRefusedError(
                "GitHub", missing.message, hint="May your token change this?"
            ) from missing


class SetupApi(SetupCalls[GitHubPlace], RepositoryApi):
    """Calls about one repository whose workflow asks people."""

    # --- environments -------------------------------------------------------------------------------------------

    def found_environment(self, name: str) -> Environment | None:
        """The environment; None where there is none."""
        try:
            return self.environment(name)
        except VendorNotFoundError:
            return None

    def known_policies(self, name: str) -> list[KnownPolicy]:
        """All custom branch policies of an environment, with their ids."""
        parts = ("environments", name, "deployment-branch-policies")
        return self._all(self._listed(KnownPolicy, "branch_policies", parts, {}, as_listed), parts)

    def put_environment(self, name: str, body: Mapping[str, object]) -> None:
        """`PUT …/environments/{name}`: what is not in the body is gone afterwards.

        A server that cannot be told about administrators' bypass is not: the survey says so then.
        """
        answer = self._send("PUT", "environments", name, body=body, accept=(HTTPStatus.UNPROCESSABLE_ENTITY,))
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            if not answer.says(_NO_BYPASS_KEY):
                raise answer.error()
            without = {key: value for key, value in body.items() if key != _NO_BYPASS_KEY}
            self._send("PUT", "environments", name, body=without)

    def allow_only(self, name: str, branch: str) -> None:
        """Have exactly one branch policy in an environment with custom ones: this branch."""
        path = ("environments", name, "deployment-branch-policies")
        there = self.known_policies(name)
        if (branch, "branch") not in [(one.name, one.type) for one in there]:
            self._send("POST", *path, body={"name": branch, "type": "branch"})
        for one in there:
            if (one.name, one.type) != (branch, "branch"):
                self._send("DELETE", *path, one.id)

    # --- variables ----------------------------------------------------------------------------------------------

    def set_variable(self, name: str, value: str) -> None:
        """Change or make a variable of the repository's Actions."""
        body, missing = {"name": name, "value": value}, HTTPStatus.NOT_FOUND
        if self._send("PATCH", "actions", "variables", name, body=body, accept=(missing,)).status == missing:
            self._send("POST", "actions", "variables", body=body)

    # --- files --------------------------------------------------------------------------------------------------

    def file(self, path: str, branch: str) -> tuple[bytes, str] | None:
        """Content and blob of a file on a branch; None where either is missing."""
        where = joined(*self._repository, "contents", *path.split("/"))
        try:
            answer = self._client.get(where, auth=self._auth, params={"ref": branch})
        except VendorNotFoundError:
            return None
        found = github.one(Blob, answer, "file")
        return decoded(found.content, "GitHub").encode(), found.sha

    def put_file(self, path: str, content: bytes, branch: str, message: str, replaced: str | None) -> None:
        """Commit a file to a branch.

        Args:
            path: of the file.
            content: all of it.
            branch: one that exists.
            message: of the commit.
            replaced: the blob that it takes the place of, which must still be there; None for a new file.
        """
        body = {"message": message, "content": base64.b64encode(content).decode(), "branch": branch}
        if replaced is not None:
            body["sha"] = replaced
        self._send("PUT", "contents", *path.split("/"), body=body)

    def pull_request(self, branch: str, base: str) -> PullRequest | None:
        """The open pull request of a branch of this repository; None where there is none."""
        params = {"state": "open", "head": f"{self.spot.owner}:{branch}", "base": base}
        path = joined(*self._repository, "pulls")
        found = github.many(PullRequest, self._client.get(path, auth=self._auth, params=params), "pulls")
        return found[0] if found else None

    def open_pull_request(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """Ask for a branch to be merged."""
        asked = {"title": title, "head": branch, "base": base, "body": body}
        return github.one(PullRequest, self._send("POST", "pulls", body=asked).json(), "pull request")
