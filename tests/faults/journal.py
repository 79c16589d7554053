"""What has happened at the far ends, written there as it happens: JSON lines on disk, which the judge reads.

A stand-in keeps a list of each kind of effect. `watch_…` puts lists in their place that also write a line, at the moment
of the effect and under the stand-in's own lock.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from champion_gate.domain.serving import versions_of
from champion_gate_standins.databricks.job_starts import Started
from champion_gate_standins.databricks.server import DatabricksStandIn
from champion_gate_standins.databricks.serving import Update
from champion_gate_standins.github.repositories import PullRequest, Repository
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.github.state import Run
from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import Pipeline
from champion_gate_standins.notices.server import NoticeReceivers, Received

T = TypeVar("T")

Line = Mapping[str, Any]
"""`what` happened, its number `n` in the order of the journal, when (`at`, seconds), and its facts."""


_TITLE = re.compile(r"(?P<alias>\S+) (?P<model>\S+) v(?P<version>[0-9]+) \[")
"""Of a pull request of ours."""


class Journal:
    """Appends lines to a file; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Begin an empty one."""
        self.path = path
        self._file = path.open("w")
        self._lock = threading.Lock()
        self._next = 1

    def write(self, what: str, **facts: Any) -> None:
        """Append a line, which is on disk when this returns."""
        with self._lock:
            line = {"n": self._next, "at": time.time(), "what": what, **facts}
            self._next += 1
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Write no more."""
        self._file.close()


def read_journal(path: Path) -> list[Line]:
    """All lines, oldest first."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class _Told(list[T]):
    """A list of effects that tells of each."""

    def __init__(self, so_far: Iterable[T], tell: Callable[[T], None]) -> None:
        super().__init__(so_far)
        self._tell = tell

    def append(self, one: T) -> None:
        super().append(one)
        self._tell(one)


def watch_databricks(there: DatabricksStandIn, journal: Journal) -> None:
    """Write of `alias`es that the service has moved, `run`s that it has started, `endpoint`s that it has updated."""

    def alias(write: tuple[str, str, int | None]) -> None:
        model, name, version = write
        journal.write("alias", model=model, alias=name, version=None if version is None else str(version))

    def run(one: Started) -> None:
        journal.write("run", run=one.run_id, job=one.job_id, token=one.token, parameters=dict(one.parameters))

    def endpoint(one: Update) -> None:
        models = {str(each.get("entity_name")) for each in one.config["served_entities"]}
        versions = sorted(version for model in models for version in versions_of(one.config, model))
        journal.write("endpoint", endpoint=one.endpoint, by=one.by, versions=versions)

    there.catalog.alias_writes = _Told(there.catalog.alias_writes, alias)
    there.starts.started = _Told(there.starts.started, run)
    there.serving.updates = _Told(there.serving.updates, endpoint)


def watch_github(there: GitHubStandIn, journal: Journal) -> None:
    """Write of `request`s to people: workflow runs, and pull requests in the repositories that there are now."""

    def run(one: Run) -> None:
        journal.write(
            "request",
            request=str(one.id),
            by=one.actor.login,
            correlation=one.promotion_id,
            **_asked(one.inputs),
        )

    def pull(home: Repository, one: PullRequest) -> None:
        journal.write(
            "request",
            request=f"{home.id}-{one.number}",
            by=one.user.login,
            correlation=one.head.rpartition("/")[2],
            **(found.groupdict() if (found := _TITLE.match(one.title)) else {}),
        )

    there.state.runs = _Told(there.state.runs, run)
    for home in there.state.repositories.values():
        home.pulls = _Told(home.pulls, lambda one, home=home: pull(home, one))  # type: ignore[misc]


def watch_gitlab(there: GitLabStandIn, journal: Journal) -> None:
    """Write of `request`s to people: pipelines."""

    def pipeline(one: Pipeline) -> None:
        correlation = one.inputs.get("promotion_id", "")
        journal.write(
            "request",
            request=str(one.id),
            by=one.user.username,
            correlation=correlation,
            **_asked(one.inputs),
        )

    there.state.pipelines = _Told(there.state.pipelines, pipeline)


def watch_notices(there: NoticeReceivers, journal: Journal) -> None:
    """Write of `notice`s that a receiver took."""

    def notice(one: Received) -> None:
        about = one.body if one.kind == "webhook" else {}
        journal.write(
            "notice", kind=one.kind, id=one.message_id, type=about.get("type"), about=about.get("data")
        )

    there.taken = _Told(there.taken, notice)


def _asked(inputs: Mapping[str, str]) -> dict[str, str]:
    return {name: inputs.get(name, "") for name in ("model", "version", "alias")}
