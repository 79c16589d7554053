"""`/metrics`, as Prometheus reads it."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine

from champion_gate.domain.findings import Check, Checkup
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepKind, StepPhase
from champion_gate.domain.together import Together
from champion_gate.errors import VendorUnavailableError
from champion_gate.flow.doctor import Rounds
from champion_gate.meters import PREFIX, Meters
from champion_gate.store import Store, open_store
from champion_gate.store.engine import Database
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate.work.queue import HueyWakeUps
from champion_gate_standins.common.server import serve
from integration.api_world import VIEWER, ApiWorld, api_world, known
from integration.gate_world import MovableClock
from integration.store_databases import Databases, path_of
from integration.store_samples import LEASE, T0, after, notification, promotion, step

pytest_plugins = ("integration.store_fixtures",)

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
BOUNDED = {
    "phase": {*NotificationPhase, *Phase, *StepPhase},
    "kind": {*StepKind},
    "rows": {"notifications", "promotions", "steps"},
    "vendor": {"Databricks", "GitHub", "GitLab", "MLflow", "Slack", "Teams", "Webhook", "Apprise"},
    "verdict": {"approved", "rejected", "FAIL", "warning", "not known"},
    "hook": {"databricks", "ping", "github", "gitlab", "mlflow"},
}
"""What labels may be; those that are not here hold a version, a code of ours, or a number of Prometheus' own."""
FREE = {"version", "outcome", "status", "check", "le"}

Sample = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """One answer, parsed by Prometheus' own client."""

    def __init__(self, answer: requests.Response) -> None:
        assert answer.status_code == 200, answer.text
        self.text = answer.text
        is_open = answer.headers["Content-Type"].startswith("application/openmetrics-text")
        families = [*(open_metrics if is_open else plain_text)(answer.text)]
        self.described = {family.name: family.documentation for family in families}
        self.samples: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float:
        """The one value with these labels."""
        return self.samples[f"champion_gate_{name}", frozenset(labels.items())]


def scrape(url: str, token: str | None = VIEWER, accept: str = OPEN_METRICS) -> requests.Response:
    headers = {"Accept": accept, **({} if token is None else {"Authorization": f"Bearer {token}"})}
    return requests.get(f"{url}/metrics", headers=headers, timeout=20)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """One version that people approved after two hours, one that waits, one move by somebody else."""
    with api_world(tmp_path_factory.mktemp("metrics")) as made:
        gate = made.gate
        gate.notify("404")
        first = gate.ask()
        gate.clock.move(hours=2)
        gate.approve(first)
        gate.look()
        gate.ended(first, Phase.PROMOTED)
        gate.models.move_alias("1")
        gate.sweep()
        gate.ask()
        gate.clock.move(minutes=5)
        yield made


def test_the_numbers_are_those_of_what_has_happened(world: ApiWorld) -> None:
    told = Scrape(scrape(world.url))
    assert told.of("notifications", phase="resolved") == 2
    assert told.of("promotions", phase="promoted") == 1
    assert told.of("promotions", phase="pending_approval") == 1
    assert told.of("promotions", phase="failed") == 0
    assert told.of("oldest_promotion_seconds", phase="pending_approval") == 300
    assert told.of("oldest_promotion_seconds", phase="approved") == 0
    assert told.of("steps", kind="tag_version", phase="succeeded") == 1
    assert told.of("ledger_lines") == world.gate.store.ledger_head().number > 0
    assert told.of("sweep_age_seconds") == 300
    assert told.of("process_decision_seconds_count", verdict="approved") == 1
    assert 7200 <= told.of("process_decision_seconds_sum", verdict="approved") < 7300
    assert told.of("process_application_seconds_count") == 1
    assert told.of("process_drift_total") == 1
    assert told.of("process_vendor_call_seconds_count", vendor="GitHub", outcome="ok") > 10
    assert told.of("process_vendor_call_seconds_count", vendor="Databricks", outcome="ok") > 10
    assert told.of("process_vendor_call_seconds_count", vendor="Databricks", outcome="vendor_not_found") > 0


def test_labels_are_of_few_values_and_name_no_promotion_model_or_person(world: ApiWorld) -> None:
    told = Scrape(scrape(world.url))
    for name, labels in told.samples:
        for label, value in labels:
            assert label in FREE or value in BOUNDED[label], (name, label, value)
    ids = [each.id for each in world.gate.promotions()]
    assert [word for word in (*ids, "main.ml", "reviewer", "trainer", "churn") if word in told.text] == []
    assert all(told.described.values())


def test_both_of_prometheus_formats_tell_the_same(world: ApiWorld) -> None:
    plain = scrape(world.url, accept="text/plain")
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    first, second = Scrape(plain), Scrape(scrape(world.url))
    assert first.of("promotions", phase="promoted") == second.of("promotions", phase="promoted")


def test_only_who_may_read_the_api_is_told(world: ApiWorld) -> None:
    for token in (None, "", "not-a-token"):
        answer = scrape(world.url, token)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert "champion_gate_" not in answer.text


@pytest.mark.needs("promtool")
def test_prometheus_itself_finds_nothing_amiss(world: ApiWorld) -> None:
    told = scrape(world.url, accept="text/plain").content
    tool = Path(sys.executable).with_name("promtool")
    done = subprocess.run([tool, "check", "metrics"], input=told, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_webhooks_are_counted_by_what_they_were_answered(world: ApiWorld) -> None:
    for path in ("databricks", "databricks", "ping"):
        assert requests.post(f"{world.url}/hooks/{path}", b"{}", timeout=20).status_code == 401
    told = Scrape(scrape(world.url))
    assert told.of("process_hook_requests_total", hook="databricks", status="401") == 2
    assert told.of("process_hook_requests_total", hook="ping", status="401") == 1


def test_what_is_overdue_and_what_the_doctor_found_are_told(store: Store) -> None:
    clock, check = MovableClock(), Check("databricks.identity", "Who we are", "It matters.")
    clock.time = T0
    rounds = Rounds(
        [check], lambda: [Checkup(check, lambda: [check.warning("beatrix", "Ask beatrix.")])], Together()
    )
    access = Access(authenticate=known)
    app = create_app(
        store=store, wake_ups=HueyWakeUps(), clock=clock, access=access, checks=(), findings=rounds.view
    )
    with serve(app) as url:
        before = Scrape(scrape(url))
        assert before.of("overdue_seconds", rows="promotions") == before.of("sweep_age_seconds") == 0
        assert not [name for name, _ in before.samples if "doctor" in name]
        store.create_promotion(promotion())
        store.plan_step(step())
        store.record_notification("hook", notification(), T0)
        rounds.run()
        clock.move(minutes=7)
        after = Scrape(scrape(url))
    assert [after.of("overdue_seconds", rows=each) for each in sorted(BOUNDED["rows"])] == [420] * 3
    assert after.of("process_doctor_findings", check="databricks.identity", verdict="warning") == 1
    assert "beatrix" not in after.text


def test_a_database_that_cannot_be_read_is_an_error_and_no_number(databases: Databases) -> None:
    url = databases.migrated()
    with closing(Database(url)) as database, database.write() as connection:
        connection.execute(text("DROP TABLE clock"))
    access = Access(authenticate=known)
    with open_store(url) as store:
        app = create_app(store=store, wake_ups=HueyWakeUps(), clock=MovableClock(), access=access, checks=())
        with serve(app) as address:
            answer = scrape(address)
    assert answer.status_code >= 500
    assert "champion_gate_promotions" not in answer.text


def test_a_scrape_reads_of_no_table_what_has_ended(databases: Databases) -> None:
    """That grows for ever, so it is counted beside the scrapes; what one costs stands in deploy/SCALING.md."""
    asked: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    url = databases.migrated()
    with open_store(url) as opened:
        opened.count_ended(T0)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            opened.figures(T0)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    if not url.startswith("sqlite"):
        return
    with closing(sqlite3.connect(path_of(url))) as connection:
        plans = [
            detail
            for statement in asked
            for *_, detail in connection.execute(
                f"EXPLAIN QUERY PLAN {statement}", ("x",) * statement.count("?")
            )
        ]
    large = [each for each in plans if re.search("notifications|promotions|steps", each)]
    assert len(large) > 5
    only_open = re.compile(r"SEARCH .* USING .*INDEX|SCAN steps USING INDEX steps_due$")
    assert [each for each in large if not only_open.match(each)] == []


def test_what_has_ended_is_counted_anew_within_two_minutes(store: Store) -> None:
    def counted(at: datetime) -> tuple[int, int]:
        found = store.figures(at).promotions
        return found.get("requested", 0), found.get("cancelled", 0)

    assert counted(T0) == (0, 0)
    store.create_promotion(promotion())
    assert counted(T0) == (1, 0), "what is open is counted at once"
    taken = store.take_promotion("p-1", T0, LEASE)
    assert taken is not None
    store.save_promotion(replace(taken, phase=Phase.CANCELLED, ended_at=T0), T0, release=True)
    assert counted(after(119)) == (0, 0)
    assert counted(after(120)) == (0, 1)
    assert counted(T0) == (0, 1), "also where the clock was set back"


def test_calls_are_counted_by_what_became_of_them() -> None:
    meters = Meters()

    def count(outcome: str) -> float | None:
        labels = {"vendor": "GitHub", "outcome": outcome}
        return meters.registry.get_sample_value(f"{PREFIX}vendor_call_seconds_count", labels)

    with meters.call("GitHub"):
        pass
    for error in (VendorUnavailableError("GitHub", "away"), KeyError("ours")):
        with pytest.raises(type(error)), meters.call("GitHub"):
            raise error
    assert [count(each) for each in ("ok", "vendor_unavailable", "error")] == [1, 1, 1]
