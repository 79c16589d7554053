"""The calls to GitHub about one repository whose pull requests are reviewed."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from champion_gate.adapters.github.auth import MEMBERS
from champion_gate.adapters.github.calls import RepositoryCalls
from champion_gate.adapters.github.models import github
from champion_gate.adapters.github.review.models import (
    Comment,
    Comparison,
    File,
    ListedPull,
    Permission,
    Pull,
    Ref,
    Review,
    Team,
    TimelineEvent,
)
from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.adapters.http.answer import Answer
from champion_gate.domain.names import joined
from champion_gate.errors import VendorNotFoundError

CONTENTS = ("contents", "write")
STATUSES = ("statuses", "write")

_PAGE = {"per_page": "100"}
_HEADS = "refs/heads/"


class ReviewApi(RepositoryCalls[GitHubReviewPlace]):
    """Calls about branches, pull requests and reviews. Errors are those of ApiClient."""

    # --- branches and files -----------------------------------------------------------------------------------

    def head_of(self, branch: str) -> str | None:
        """`GET …/git/ref/heads/{branch}`: the commit at its head; None where there is no such branch."""
        try:
            return github.one(
                Ref, self._contents("git", "ref", "heads", *branch.split("/")), "ref"
            ).object.sha
        except VendorNotFoundError:
            return None

    def branches_like(self, beginning: str) -> dict[str, str]:
        """`GET …/git/matching-refs/heads/{beginning}`: branch -> the commit at its head."""
        found = self._contents("git", "matching-refs", "heads", *beginning.split("/"))
        refs = github.many(Ref, found, "matching-refs")
        return {one.ref.removeprefix(_HEADS): one.object.sha for one in refs}

    def make_branch(self, branch: str, sha: str) -> Answer:
        """`POST …/git/refs`; 422 (it is there) is an answer here."""
        body = {"ref": f"{_HEADS}{branch}", "sha": sha}
        return self._send("POST", ("git", "refs"), body, accept=(422,), permission=CONTENTS)

    def delete_branch(self, branch: str) -> None:
        """`DELETE …/git/refs/heads/{branch}`; 422 says that it is gone, or that a rule keeps it."""
        parts = ("git", "refs", "heads", *branch.split("/"))
        answer = self._send("DELETE", parts, None, accept=(404, 422), permission=CONTENTS, repeatable=True)
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and self.head_of(branch) is not None:
            raise answer.error()

    def put_file(self, path: str, body: Mapping[str, object]) -> Answer:
        """`PUT …/contents/{path}`; 409 and 422 (the branch moved, or the file is there) are answers here."""
        parts = ("contents", *path.split("/"))
        return self._send("PUT", parts, body, accept=(409, 422), permission=CONTENTS)

    def file_sha(self, path: str, branch: str) -> str | None:
        """`GET …/contents/{path}` on a branch: the hash of the file's blob; None where there is no such file."""
        address = joined(*self._repository, "contents", *path.split("/"))
        auth = self._access.to(self.spot, CONTENTS)
        try:
            return github.one(File, self._client.get(address, auth=auth, params={"ref": branch}), "file").sha
        except VendorNotFoundError:
            return None

    def compared(self, base: str, head: str) -> Comparison:
        """`GET …/compare/{base}...{head}`: what the head has that base lacks."""
        return github.one(Comparison, self._contents("compare", f"{base}...{head}"), "compare")

    # --- pull requests ----------------------------------------------------------------------------------------

    def open_pull(self, body: Mapping[str, object]) -> Answer:
        """`POST …/pulls`; 422 (there is one for this branch) is an answer here."""
        return self._send("POST", ("pulls",), body, accept=(422,))

    def pull(self, number: str) -> Pull:
        """`GET …/pulls/{number}`."""
        return github.one(Pull, self._get("pulls", number), "pull")

    def pulls_of(self, branch: str) -> list[ListedPull]:
        """All pull requests of a branch of this repository, in whatever state, newest first."""
        params = {"head": f"{self.spot.owner}:{branch}", "state": "all", **_PAGE}
        pages = self._pages(lambda page: github.many(ListedPull, page, "pulls"), "pulls", params=params)
        return [one for page in pages for one in page if one.head.ref == branch]

    def listed_pulls(self, state: str) -> list[ListedPull]:
        """The pull requests into our base; of those that are closed the hundred that changed last. Asked for by ETag."""
        params = {"state": state, "base": self.spot.base, "sort": "updated", "direction": "desc", **_PAGE}
        if state == "open":
            pages = self._client.get_kept_pages(
                joined(*self._repository, "pulls"),
                auth=self._auth,
                read=lambda page: github.many(ListedPull, page, "pulls"),
                params=params,
                list_path=joined("pulls"),
            )
            return [one for page in pages for one in page]
        answer = self._client.get(joined(*self._repository, "pulls"), auth=self._auth, params=params)
        return github.many(ListedPull, answer, "pulls")

    def close_pull(self, number: str) -> None:
        """`PATCH …/pulls/{number}`; one that is closed or merged stays so."""
        self._send("PATCH", ("pulls", number), {"state": "closed"}, repeatable=True)

    def merge_pull(self, number: str, body: Mapping[str, object]) -> Answer:
        """`PUT …/pulls/{number}/merge`; 405 (it cannot be) and 409 (its head moved) are answers here."""
        return self._send("PUT", ("pulls", number, "merge"), body, accept=(405, 409), permission=CONTENTS)

    def ask_reviewers(self, number: str, body: Mapping[str, object]) -> Answer:
        """`POST …/pulls/{number}/requested_reviewers`; 422 (one of them cannot be asked) is an answer here."""
        return self._send(
            "POST", ("pulls", number, "requested_reviewers"), body, accept=(422,), repeatable=True
        )

    # --- what people did --------------------------------------------------------------------------------------

    def reviews(self, number: str) -> list[Review]:
        """All reviews of a pull request, oldest first."""
        pages = self._pages(
            lambda page: github.many(Review, page, "reviews"), "pulls", number, "reviews", params=_PAGE
        )
        return [one for page in pages for one in page]

    def timeline(self, number: str) -> list[TimelineEvent]:
        """`GET …/issues/{number}/timeline`, oldest first."""
        pages = self._pages(
            lambda page: github.many(TimelineEvent, page, "timeline"),
            "issues",
            number,
            "timeline",
            params=_PAGE,
        )
        return [one for page in pages for one in page]

    def permission(self, login: str) -> Permission:
        """`GET …/collaborators/{login}/permission`."""
        return github.one(Permission, self._get("collaborators", login, "permission"), "permission")

    def team(self, slug: str) -> Team:
        """`GET /orgs/{org}/teams/{slug}`."""
        path = joined("orgs", self.spot.owner, "teams", slug)
        return github.one(Team, self._client.get(path, auth=self._access.to(self.spot, MEMBERS)), "team")

    # --- what people are told ---------------------------------------------------------------------------------

    def set_status(self, sha: str, body: Mapping[str, object]) -> None:
        """`POST …/statuses/{sha}`; the newest of a context counts."""
        self._send("POST", ("statuses", sha), body, permission=STATUSES, repeatable=True)

    def comments(self, number: str) -> list[Comment]:
        """All comments on a pull request."""
        pages = self._pages(
            lambda page: github.many(Comment, page, "comments"), "issues", number, "comments", params=_PAGE
        )
        return [one for page in pages for one in page]

    def comment(self, number: str, text: str) -> None:
        """`POST …/issues/{number}/comments`."""
        self._send("POST", ("issues", number, "comments"), {"body": text})

    def _contents(self, *parts: str) -> object:
        auth = self._access.to(self.spot, CONTENTS)
        return self._client.get(joined(*self._repository, *parts), auth=auth)

    def _send(
        self,
        method: str,
        parts: tuple[str, ...],
        body: Mapping[str, object] | None,
        *,
        accept: tuple[int, ...] = (),
        permission: tuple[str, str] | None = None,
        repeatable: bool = False,
    ) -> Answer:
        return self._client.send(
            method,
            joined(*self._repository, *parts),
            auth=self._access.to(self.spot, permission),
            body=body,
            accept=tuple(map(HTTPStatus, accept)),
            repeatable=repeatable,
        )
