"""The calls to GitHub about one repository: what is sent, and the JSON that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from champion_gate.adapters.github.auth import MEMBERS, Access
from champion_gate.adapters.github.models import fields
from champion_gate.adapters.github.names import Spot
from champion_gate.adapters.http.answer import Answer, Limits
from champion_gate.adapters.http.client import ApiClient, joined
from champion_gate.adapters.http.json_fields import Record
from champion_gate.domain.ports import Person
from champion_gate.errors import VendorRefusedError, VendorUnavailableError

LIMITS: Limits = (
    # docs.github.com, "Rate limits for the REST API", and older servers' words for the same.
    (403, "rate limit"),
    (403, "abuse detection"),
    (422, "submitted too quickly"),
)
_PAGE = {"per_page": "100"}
_SEARCH_LIMIT = 1000


class RepositoryApi:
    """Calls about one repository. Errors are those of ApiClient."""

    def __init__(self, client: ApiClient, access: Access, spot: Spot) -> None:
        self.spot = spot
        self._client = client
        self._access = access
        self._auth = access.to(spot)
        self._repository = ("repos", spot.owner, spot.name)

    def own_account(self) -> Person:
        """The account that acts when we do."""
        return self._access.own_account(self.spot)

    def user(self, login: str) -> Record:
        """`GET /users/{username}`."""
        return fields.as_record(self._client.get(joined("users", login), auth=self._auth), "user")

    def repository(self) -> Record:
        """`GET /repos/{owner}/{repo}`."""
        return self._get("repository")

    def workflow(self) -> Record:
        """`GET …/actions/workflows/{file}`."""
        return self._get("workflow", "actions", "workflows", self.spot.workflow)

    def environment(self, name: str) -> Record:
        """`GET …/environments/{name}`."""
        return self._get("environment", "environments", name)

    def branch_policies(self, name: str) -> list[Record]:
        """All custom branch policies of an environment."""
        return self._all("branch_policies", "environments", name, "deployment-branch-policies")

    def branch_rules(self) -> list[Record]:
        """`GET …/rules/branches/{branch}`: of all active rulesets, the organization's too, that apply to our ref."""
        pages = self._pages("rules", "branches", self.spot.ref, params=_PAGE)
        return [rule for page in pages for rule in fields.as_records(page, "rules")]

    def check_team(self, slug: str) -> None:
        """Raise unless the team's members can be read."""
        path = joined("orgs", self.spot.owner, "teams", slug, "members")
        answer = self._client.get(path, auth=self._access.to(self.spot, MEMBERS), params={"per_page": "1"})
        fields.as_records(answer, "members")

    def membership(self, slug: str, login: str) -> Record:
        """`GET /orgs/{org}/teams/{slug}/memberships/{login}`; VendorNotFoundError for who is no member."""
        path = joined("orgs", self.spot.owner, "teams", slug, "memberships", login)
        answer = self._client.get(path, auth=self._access.to(self.spot, MEMBERS))
        return fields.as_record(answer, "membership")

    def dispatch(self, body: Mapping[str, object]) -> Answer:
        """`POST …/dispatches`; 422 is an answer here."""
        path = joined(*self._repository, "actions", "workflows", self.spot.workflow, "dispatches")
        return self._client.post(path, auth=self._auth, body=body, accept=(HTTPStatus.UNPROCESSABLE_ENTITY,))

    def run(self, run_id: str) -> Record:
        """`GET …/actions/runs/{run_id}`."""
        return self._get("run", "actions", "runs", run_id)

    def approvals(self, run_id: str) -> list[Record]:
        """All reviews of a run; GitHub does not page them, but should it ever, none is missed."""
        pages = self._pages("actions", "runs", run_id, "approvals")
        return [review for page in pages for review in fields.as_records(page, "approvals")]

    def pending_deployments(self, run_id: str) -> list[Record]:
        """What the run's jobs wait for, by environment: reviewers, timers and other rules."""
        return [
            one
            for page in self._pages("actions", "runs", run_id, "pending_deployments")
            for one in fields.as_records(page, "pending_deployments")
        ]

    def jobs(self, run_id: str) -> list[Record]:
        """All jobs of the run's latest attempt."""
        return self._all("jobs", "actions", "runs", run_id, "jobs", params={"filter": "latest"})

    def dispatched_runs(self, since: datetime, until: datetime | None = None) -> list[Record]:
        """The workflow's runs that our own account dispatched, newest first; asked conditionally.

        Args:
            since: created then or later, UTC.
            until: created then or earlier, UTC; None = until now.

        Raises:
            VendorRefusedError: more than the 1,000 that GitHub lists; none is passed over in silence.
        """
        start = f"{since:%Y-%m-%dT%H:%M:%SZ}"
        params = {
            "event": "workflow_dispatch",
            "actor": self.own_account().login,
            "created": f">={start}" if until is None else f"{start}..{until:%Y-%m-%dT%H:%M:%SZ}",
        }
        path = ("actions", "workflows", self.spot.workflow, "runs")
        return self._all("workflow_runs", *path, params=params, conditional=True)

    def newest_runs(self, since: datetime, *, most: int) -> tuple[list[Record], bool]:
        """The workflow's runs, whoever started them, newest first; asked conditionally.

        Without any filter: GitHub answers a filtered list from a search index, which lags behind at times.

        Args:
            since: created then or later, UTC; a few older ones may be among them.
            most: how many pages of 100 are read.

        Returns:
            The runs, and whether they are all of that time.
        """
        path = joined(*self._repository, "actions", "workflows", self.spot.workflow, "runs")
        runs: list[Record] = []
        for page in range(1, most + 1):
            answer = self._client.get(
                path, auth=self._auth, params={**_PAGE, "page": str(page)}, conditional=True
            )
            listed = fields.records(fields.as_record(answer, "runs"), "workflow_runs")
            runs += listed
            if len(listed) < int(_PAGE["per_page"]):
                total = fields.whole(answer, "total_count")
                if len(runs) < total:
                    raise VendorUnavailableError("GitHub", f"{path} gave {len(runs)} of {total} entries.")
                return runs, True
            if fields.time(listed[-1], "created_at") < since:
                return runs, True
        return runs, False

    def cancel(self, run_id: str) -> Answer:
        """`POST …/cancel`; 404 and 409 are answers here."""
        path = joined(*self._repository, "actions", "runs", run_id, "cancel")
        return self._client.post(
            path, auth=self._auth, accept=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT), repeatable=True
        )

    def _get(self, what: str, *parts: str) -> Record:
        return fields.as_record(self._client.get(joined(*self._repository, *parts), auth=self._auth), what)

    def _pages(
        self, *parts: str, params: Mapping[str, str] | None = None, conditional: bool = False
    ) -> list[Any]:
        """All pages of a list. GitHub's links to next pages name the repository by its number.

        docs.github.com, "Using pagination in the REST API": `/repositories/1300192/…` for `/repos/OWNER/NAME/…`.
        """
        return self._client.get_pages(
            joined(*self._repository, *parts),
            auth=self._auth,
            params=params,
            conditional=conditional,
            list_path=joined(*parts),
        )

    def _all(
        self,
        key: str,
        *parts: str,
        params: Mapping[str, str] | None = None,
        conditional: bool = False,
    ) -> list[Record]:
        pages = [
            fields.as_record(page, key)
            for page in self._pages(*parts, params={**(params or {}), **_PAGE}, conditional=conditional)
        ]
        items = [item for page in pages for item in fields.records(page, key)]
        total, path = fields.whole(pages[0], "total_count"), joined(*self._repository, *parts)
        if total > _SEARCH_LIMIT:
            raise VendorRefusedError("GitHub", f"{path} lists {total} entries, more than can be read.")
        if len(items) < total:
            raise VendorUnavailableError("GitHub", f"{path} gave {len(items)} of {total} entries.")
        return items
