"""What is around the jobs and models of a workspace, as the doctor and setup read it: each thing once, whoever asks.

Fields: databricks/sdk/service/{jobs,compute,settings,iam,catalog}.py, and mlflow's Unity Catalog registry service.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import Field

from champion_gate.adapters.databricks.connection import ME, DatabricksConnection
from champion_gate.adapters.databricks.jobs_api import JOB, RUN, checked_id
from champion_gate.adapters.databricks.models import (
    Job,
    Listed,
    Me,
    Nested,
    OptionalDigits,
    Page,
    RunList,
    Word,
    at,
    list_at,
)
from champion_gate.adapters.http.models import Answered
from champion_gate.domain.names import check_endpoint
from champion_gate.errors import ForbiddenError, GateError

T = TypeVar("T")
Granted = Mapping[str, Mapping[str, set[tuple[str, str]]]]
"""Principal -> privilege -> where it was granted: level and name."""

_SCIM = "/api/2.0/preview/scim/v2"
_WORKSPACE_USERS = "users"  # the group that everybody of a workspace is in
EVERYBODY = "account users"
"""The group that everybody of the account is in, whether or not it is told."""


# --- what is taken of the answers -------------------------------------------------------------------------


class _Found(Answered):
    resources: Listed[Me] = Field(default_factory=list, alias="Resources")


class Cluster(Answered):
    """A cluster, or what a job's is made of."""

    data_security_mode: object = None
    single_user_name: Word = None
    policy_id: Word = None


class _RunJob(Answered):
    job_id: OptionalDigits = None


class JobTask(Answered):
    """A task of a job, as far as it says where it runs."""

    task_key: Word = None
    environment_key: Word = None
    job_cluster_key: Word = None
    existing_cluster_id: Word = None
    new_cluster: Cluster | None = None
    notebook_task: object = None
    for_each_task: _ForEach | None = None
    run_job_task: _RunJob | None = None


class _ForEach(Answered):
    task: JobTask | None = None


class _Webhook(Answered):
    id: Word = None


class _JobCluster(Answered):
    job_cluster_key: Word = None
    new_cluster: Cluster | None = None


class WholeJob(Job, Page):
    """A job, with what its tasks run on and whom it notifies."""

    tasks: Listed[JobTask] = list_at("settings", "tasks")
    job_clusters: Listed[_JobCluster] = list_at("settings", "job_clusters")
    on_success: Listed[_Webhook] = list_at("settings", "webhook_notifications", "on_success")


class _RanTask(Nested):
    task_key: Word = None
    cluster_id: Word = at("cluster_instance", "cluster_id")


class _RanOn(Page):
    tasks: Listed[_RanTask] = Field(default_factory=list)


class Destination(Answered):
    """A notification destination; its address is never told."""

    id: Word = None
    destination_type: Word = None
    display_name: Word = None


class _Destinations(Page):
    results: Listed[Destination] = Field(default_factory=list)


class _Level(Answered):
    permission_level: Word = None


class _Access(Answered):
    user_name: Word = None
    group_name: Word = None
    service_principal_name: Word = None
    all_permissions: Listed[_Level] = Field(default_factory=list)


class _AccessList(Answered):
    access_control_list: Listed[_Access] = Field(default_factory=list)


class _Policy(Answered):
    definition: Word = None


class _Owned(Answered):
    owner: Word = None


class _Privilege(Answered):
    privilege: Word = None
    inherited_from_type: Word = None
    inherited_from_name: Word = None


class _Assignment(Answered):
    principal: Word = None
    privileges: Listed[_Privilege] = Field(default_factory=list)


class _Assignments(Page):
    privilege_assignments: Listed[_Assignment] = Field(default_factory=list)


class ShownRights(Answered):
    """A serving endpoint, as far as it says what we may do with it."""

    creator: Word = None
    permission_level: Word = None


class _Registered(Nested):
    deployment_job_id: OptionalDigits = at("registered_model", "deployment_job_id")


# --- reading ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Who:
    """A principal by all the names under which something may be granted to it.

    Attributes:
        groups: those that it is in; None where that is not told.
    """

    name: str
    groups: frozenset[str] | None

    @property
    def names(self) -> frozenset[str]:
        """Its own name and those of its groups, as far as they are known, without regard to case."""
        return frozenset(each.casefold() for each in (self.name, *(self.groups or ()), EVERYBODY) if each)


@dataclass
class Surroundings:
    """Reads each thing at most once, whichever thread asks first; what it came to is told to all that ask."""

    connection: DatabricksConnection
    _known: dict[Hashable, tuple[bool, Any]] = field(default_factory=dict)
    _locks: dict[Hashable, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def me(self) -> Who:
        """Who we are."""
        return self._once("me", lambda: _who(self.connection.begin().get(Me, ME)))

    def who(self, name: str, *, is_group: bool = False) -> Who:
        """Another principal, with its groups where we may see them."""
        if is_group:  # which may be in another group
            return Who(name, None)
        return self._once(("who", name), lambda: self._look_up(name))

    def _look_up(self, name: str) -> Who:
        kind, attribute = ("Users", "userName") if "@" in name else ("ServicePrincipals", "applicationId")
        if '"' in name or "\\" in name:
            return Who(name, None)
        query = {"filter": f'{attribute} eq "{name}"'}
        try:
            found = self.connection.begin().get(_Found, f"{_SCIM}/{kind}", query).resources
        except ForbiddenError:
            return Who(name, None)
        return Who(name, _who(found[0]).groups) if len(found) == 1 else Who(name, None)

    def job(self, job_id: str) -> WholeJob:
        """A job, its pages put together."""
        return self._once(("job", job_id), lambda: self._read_job(checked_id(job_id)))

    def _read_job(self, job_id: str) -> WholeJob:
        pages = list(self.connection.begin().pages(WholeJob, JOB, {"job_id": job_id}))
        lists = {
            name: [each for page in pages for each in getattr(page, name)]
            for name in ("tasks", "job_clusters", "parameters")
        }
        return pages[0].model_copy(update=lists)

    def last_run(self, job_id: str) -> RunList:
        """The latest run of a job that has ended, in a list of one; empty where there is none."""
        query = {"job_id": checked_id(job_id), "completed_only": True, "limit": 1}
        return self._once(
            ("last run", job_id),
            lambda: self.connection.begin().get(RunList, "/api/2.2/jobs/runs/list", query),
        )

    def ran_on(self, run_id: str) -> dict[str, str]:
        """Which cluster each task of a run ran on; those on serverless compute are left out."""
        pages = self.connection.begin().pages(_RanOn, RUN, {"run_id": run_id})
        tasks = [task for page in pages for task in page.tasks]
        return {task.task_key: task.cluster_id for task in tasks if task.task_key and task.cluster_id}

    def cluster(self, cluster_id: str) -> Cluster:
        """A cluster, also one that has ended not too long ago."""
        query = {"cluster_id": cluster_id}
        return self._once(
            ("cluster", cluster_id),
            lambda: self.connection.begin().get(Cluster, "/api/2.1/clusters/get", query),
        )

    def fixed_by_policy(self, policy_id: str) -> object:
        """The access mode that a policy fixes; None where it fixes none."""
        query = {"policy_id": policy_id}
        answer = self.connection.begin().get(_Policy, "/api/2.0/policies/clusters/get", query)
        try:
            rules = json.loads(answer.definition or "{}")
        except ValueError:
            return None
        rule = rules.get("data_security_mode") if isinstance(rules, dict) else None
        return rule.get("value") if isinstance(rule, dict) and rule.get("type") == "fixed" else None

    def destinations(self) -> tuple[Destination, ...]:
        """All notification destinations."""
        return self._once(
            "destinations", lambda: tuple(self._listed(_Destinations, "/api/2.0/notification-destinations"))
        )

    def _listed(self, model: type[_Destinations], path: str) -> Iterator[Destination]:
        for page in self.connection.begin().pages(model, path, {}):
            yield from page.results

    def access(self, object_id: str, kind: str = "jobs") -> dict[str, frozenset[str]]:
        """Who may do what with a job or one of `experiments`: name without regard to case -> permission levels."""
        path = f"/api/2.0/permissions/{kind}/{checked_id(object_id)}"
        entries = self.connection.begin().get(_AccessList, path).access_control_list
        return {
            (each.user_name or each.group_name or each.service_principal_name or "").casefold(): frozenset(
                level.permission_level or "" for level in each.all_permissions
            )
            for each in entries
        }

    def rights_on(self, job_id: str) -> frozenset[str]:
        """The permission levels that we, or groups of ours, are seen to have on a job.

        Raises:
            ForbiddenError: they are not shown to us.
        """
        access = self.access(job_id)
        ours = (*self.me().names, _WORKSPACE_USERS)
        return frozenset().union(*(access.get(name, frozenset()) for name in ours))

    def permission(self, job_id: str, level: str) -> str:
        """How a person gives us a permission on a job."""
        page = self.connection.page(f"jobs/{job_id}")
        return f"At {page}, Job details → Permissions, give {self.me().name} {level}."

    def endpoint(self, name: str) -> ShownRights:
        """What we may do with a serving endpoint, and who created it."""
        return self.connection.begin().get(ShownRights, f"/api/2.0/serving-endpoints/{check_endpoint(name)}")

    def owner(self, kind: str, name: str) -> str | None:
        """Who owns a catalog, schema or model; None where that is not told."""
        path = f"/api/2.1/unity-catalog/{kind}/{quote(name, safe='')}"
        return self._once((kind, name), lambda: self.connection.begin().get(_Owned, path).owner)

    def granted(self, level: str, name: str, principal: str | None = None) -> Granted:
        """Effective privileges on a securable that we are shown.

        Pages may be empty and not be the last. Groups are not expanded, owners and admins not shown.
        """
        path = f"/api/2.1/unity-catalog/effective-permissions/{level}/{quote(name, safe='')}"
        query = {"max_results": 0, **({} if principal is None else {"principal": principal})}
        return self._once((level, name, principal), lambda: self._read_grants(path, query, (level, name)))

    def _read_grants(self, path: str, query: dict[str, object], here: tuple[str, str]) -> Granted:
        found: dict[str, dict[str, set[tuple[str, str]]]] = {}
        for page in self.connection.begin().pages(_Assignments, path, query):
            for each in page.privilege_assignments:
                given = found.setdefault(each.principal or "", {})
                for one in each.privileges:
                    if one.privilege:
                        above = one.inherited_from_type, one.inherited_from_name
                        where = (above[0], above[1]) if above[0] and above[1] else here
                        given.setdefault(one.privilege.replace(" ", "_"), set()).add(where)
        return found

    def deployment_job(self, model: str) -> str | None:
        """The job that Databricks itself starts for each new version of a model."""
        path = "/api/2.0/mlflow/unity-catalog/registered-models/get"
        return self.connection.begin().get(_Registered, path, {"name": model}).deployment_job_id

    def _once(self, key: Hashable, read: Callable[[], T]) -> T:
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._known:
                try:
                    self._known[key] = (True, read())
                except GateError as error:
                    self._known[key] = (False, error)
        is_well, known = self._known[key]
        if not is_well:
            raise known
        result: T = known
        return result


def _who(me: Me) -> Who:
    groups = frozenset(group.display for group in me.groups if group.display)
    return Who(me.name or "", groups if "groups" in me.model_fields_set else None)
