"""The calls to GitHub about a repository whose workflow asks people: what is sent, and what comes back, read into models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar

from champion_gate.adapters.github.auth import CONTENTS, VARIABLES
from champion_gate.adapters.github.calls import PAGE, M, RepositoryCalls, T
from champion_gate.adapters.github.models import (
    Approval,
    BranchPolicy,
    BranchRule,
    Environment,
    File,
    Job,
    ListedRun,
    PendingDeployment,
    Run,
    Variable,
    Workflow,
    github,
)
from champion_gate.adapters.github.settings import GitHubPlace
from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.starts import SeenRun
from champion_gate.domain.names import joined
from champion_gate.errors import (
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

R = TypeVar("R", ListedRun, SeenRun)

_SEARCH_LIMIT = 1000  # GitHub lists no more, however many there are


class RepositoryApi(RepositoryCalls[GitHubPlace]):
    """Calls about a repository whose workflow asks people."""

    def workflow(self) -> Workflow:
        """`GET …/actions/workflows/{file}`."""
        return self._place(Workflow, "workflow", "actions", "workflows", self.spot.workflow)

    def workflow_file(self) -> File:
        """`GET …/contents/{path}` on our ref; of a repository that is not public it takes Contents: read."""
        auth = self._auth if self.repository().private is False else self._access.to(self.spot, CONTENTS)
        path = joined(*self._repository, "contents", *self.spot.workflow_path.split("/"))
        return github.one(File, self._client.get(path, auth=auth, params={"ref": self.spot.ref}), "file")

    def variable(self, name: str) -> str | None:
        """A variable of Actions as the repository's jobs see it, its environments' aside; takes Variables: read."""
        auth, actions = self._access.to(self.spot, VARIABLES), (*self._repository, "actions")
        try:
            found = self._client.get(joined(*actions, "variables", name), auth=auth)
            return github.one(Variable, found, "variable").value
        except VendorNotFoundError:
            pages = self._client.get_pages(
                joined(*actions, "organization-variables"),
                auth=auth,
                read=lambda page: github.page(Variable, page, "variables")[0],
                params={"per_page": "30"},
                list_path=joined("actions", "organization-variables"),
            )
            return next((one.value for page in pages for one in page if one.name == name), None)

    def environment(self, name: str) -> Environment:
        """`GET …/environments/{name}`."""
        return self._place(Environment, "environment", "environments", name)

    def branch_policies(self, name: str) -> list[BranchPolicy]:
        """All custom branch policies of an environment."""
        path = ("environments", name, "deployment-branch-policies")
        pages = self._place_pages(lambda page: github.page(BranchPolicy, page, "branch_policies"), *path)
        return self._all(pages, path)

    def branch_rules(self) -> list[BranchRule]:
        """`GET …/rules/branches/{branch}`: of all active rulesets, the organization's too, that apply to our ref."""
        pages = self._place_pages(
            lambda page: github.many(BranchRule, page, "rules"), "rules", "branches", self.spot.ref
        )
        return [rule for page in pages for rule in page]

    def dispatch(self, body: Mapping[str, object]) -> Answer:
        """`POST …/dispatches`; 422 is an answer here."""
        path = joined(*self._repository, "actions", "workflows", self.spot.workflow, "dispatches")
        return self._client.post(path, auth=self._auth, body=body, accept=(HTTPStatus.UNPROCESSABLE_ENTITY,))

    def run(self, run_id: str) -> Run:
        """`GET …/actions/runs/{run_id}`."""
        return github.one(Run, self._get("actions", "runs", run_id), "run")

    def approvals(self, run_id: str) -> list[Approval]:
        """All reviews of a run; GitHub does not page them, but should it ever, none is missed."""
        return self._every(Approval, "approvals", "actions", "runs", run_id, "approvals")

    def pending_deployments(self, run_id: str) -> list[PendingDeployment]:
        """What the run's jobs wait for, by environment: reviewers, timers and other rules."""
        return self._every(
            PendingDeployment, "pending_deployments", "actions", "runs", run_id, "pending_deployments"
        )

    def jobs(self, run_id: str) -> list[Job]:
        """All jobs of the run's latest attempt."""
        path = ("actions", "runs", run_id, "jobs")
        return self._all(self._listed(Job, "jobs", path, {"filter": "latest"}, as_listed), path)

    def dispatched_runs(
        self, since: datetime, until: datetime | None, take: Callable[[ListedRun], R]
    ) -> list[R]:
        """The workflow's runs that our own account dispatched, newest first.

        Args:
            since: created then or later, UTC.
            until: created then or earlier, UTC; None = until now.
            take: what is kept of each, of which there may be thousands.

        Raises:
            VendorRefusedError: more were created in one second than GitHub lists; none is passed over in silence.
        """
        found: dict[str, R] = {}
        end = until
        while True:
            created = f">={_time(since)}" if end is None else f"{_time(since)}..{_time(end)}"
            params = {**self._ours, "created": created}
            pages = self._listed(ListedRun, "workflow_runs", self._runs_path, params, take)
            runs, total = self._whole(pages, self._runs_path)
            found |= {run.id: run for run in runs}
            if total <= _SEARCH_LIMIT:
                return list(found.values())
            end = self._oldest(runs, end)

    def waiting_runs(self, status: str = "waiting") -> list[SeenRun]:
        """The workflow's runs that our own account dispatched and that wait for people, newest first.

        As many pages as hundreds of them wait, however many were ever started. One that leaves the list while it is
        paged may hide another. What is kept of a page is read again only where it has changed.

        Args:
            status: `pending` gives those that wait for another run of their concurrency group.
        """
        found: dict[str, SeenRun] = {}
        params = {**self._ours, "status": status}
        end: datetime | None = None
        while True:
            pages = self._client.get_kept_pages(
                joined(*self._repository, *self._runs_path),
                auth=self._auth,
                read=self._read_seen,
                params={**params, **({} if end is None else {"created": f"<={_time(end)}"}), **PAGE},
                list_path=joined(*self._runs_path),
            )
            runs = [run for page, _ in pages for run in page]
            found |= {run.id: run for run in runs}
            if pages[0][1] <= _SEARCH_LIMIT:
                return list(found.values())
            end = self._oldest(runs, end)

    @property
    def _runs_path(self) -> tuple[str, ...]:
        return ("actions", "workflows", self.spot.workflow, "runs")

    @property
    def _ours(self) -> Mapping[str, str]:
        return {"event": "workflow_dispatch", "actor": self.own_account().login}

    def _read_seen(self, answer: object) -> tuple[tuple[SeenRun, ...], int]:
        listed, total = github.page(ListedRun, answer, "workflow_runs")
        own = self.own_account().user_id
        ours = (run for run in listed if run.actor is not None and run.actor.id == own)
        return tuple(SeenRun.of(run) for run in ours), total

    def _oldest(self, runs: Sequence[SeenRun | ListedRun], before: datetime | None) -> datetime:
        """From when on backwards the rest of a list is asked for of which GitHub gives the newest only."""
        oldest = min((run.created_at for run in runs), default=before)
        if oldest is None or oldest == before:
            raise VendorRefusedError("GitHub", "more runs were created in one second than it lists.")
        return oldest

    def newest_runs(
        self, since: datetime, take: Callable[[ListedRun], R], *, most: int
    ) -> tuple[list[R], bool]:
        """The workflow's runs, whoever started them, newest first.

        Without any filter: GitHub answers a filtered list from a search index, which lags behind at times.

        Args:
            since: created then or later, UTC; a few older ones may be among them.
            take: what is kept of each.
            most: how many pages of 100 are read.

        Returns:
            The runs, and whether they are all of that time.
        """
        path = joined(*self._repository, "actions", "workflows", self.spot.workflow, "runs")
        runs: list[R] = []
        for page in range(1, most + 1):
            answer = self._client.get(path, auth=self._auth, params={**PAGE, "page": str(page)})
            listed, total = github.page(ListedRun, answer, "workflow_runs")
            runs += map(take, listed)
            if len(listed) < int(PAGE["per_page"]):
                if len(runs) < total:
                    raise VendorUnavailableError("GitHub", f"{path} gave {len(runs)} of {total} entries.")
                return runs, True
            if listed[-1].created_at < since:
                return runs, True
        return runs, False

    def cancel(self, run_id: str) -> Answer:
        """`POST …/cancel`; 404 and 409 are answers here."""
        path = joined(*self._repository, "actions", "runs", run_id, "cancel")
        return self._client.post(
            path, auth=self._auth, accept=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT), repeatable=True
        )

    def _all(self, pages: Sequence[tuple[list[T], int]], parts: Sequence[str]) -> list[T]:
        """All of a list that is no search.

        Raises:
            VendorRefusedError: it has more entries than we read.
        """
        items, total = self._whole(pages, parts)
        if total > _SEARCH_LIMIT:
            path = joined(*self._repository, *parts)
            raise VendorRefusedError("GitHub", f"{path} lists {total} entries, more than can be read.")
        return items

    def _listed(
        self,
        model: type[M],
        key: str,
        parts: Sequence[str],
        params: Mapping[str, str],
        take: Callable[[M], T],
    ) -> list[tuple[list[T], int]]:
        """The pages of a list, each with how many entries there are in all."""

        def read(page: object) -> tuple[list[T], int]:
            listed, total = github.page(model, page, key)
            return [take(one) for one in listed], total

        return self._pages(read, *parts, params={**params, **PAGE})

    def _whole(self, pages: Sequence[tuple[list[T], int]], parts: Sequence[str]) -> tuple[list[T], int]:
        """The first 1,000 entries of a list, and how many there are."""
        items, total = [item for page, _ in pages for item in page], pages[0][1]
        if len(items) < min(total, _SEARCH_LIMIT):
            path = joined(*self._repository, *parts)
            raise VendorUnavailableError("GitHub", f"{path} gave {len(items)} of {total} entries.")
        return items, total


def as_listed(one: T) -> T:
    """All that was read of an entry."""
    return one


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
