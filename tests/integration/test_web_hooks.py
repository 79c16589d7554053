"""The hooks over real HTTP, in front of a real database and a real queue."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from champion_gate.adapters.github.webhook import GitHubHook
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.store import Store, open_store
from champion_gate.store.schema import migrate
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate.web.hooks import DATABRICKS_BODY_CAP, PROVIDER_BODY_CAP
from champion_gate.work.queue import HueyWakeUps
from champion_gate_standins.common.server import serve

pytest_plugins = ("integration.store_fixtures",)

NOW = datetime(2025, 1, 31, 12, tzinfo=UTC)
PAIR = ("databricks", "pässword:with colon")
BASIC = (PAIR[0], PAIR[1].encode())
OLD_PAIR = ("databricks", "the one before")
SECRETS = ("It's a Secret to Everybody", "the one before")
NOTIFICATION = {
    "event_type": "jobs.on_success",
    "workspace_id": 1234567890,
    "run": {"run_id": 41847992357943},
    "job": {"job_id": 281874479417551, "name": "train-churn"},
}


class Clock:
    def now(self) -> datetime:
        return NOW


@dataclass
class World:
    url: str
    store: Store
    queue: Any
    database: Path

    def post(self, body: Any, auth: Any = BASIC) -> requests.Response:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(f"{self.url}/hooks/databricks", sent, auth=auth, timeout=10)

    def github(self, kind: str, body: bytes, signature: str | None) -> requests.Response:
        headers = {"X-GitHub-Event": kind, "Content-Type": "application/json"}
        if signature is not None:
            headers["X-Hub-Signature-256"] = signature
        return requests.post(f"{self.url}/hooks/github", body, headers=headers, timeout=10)

    def woken(self) -> list[tuple[str, str]]:
        """What is on the queue; the wake-up comes after the answer, so it is waited for."""
        deadline = time.monotonic() + 5
        while not (found := self._pending()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def is_quiet(self) -> bool:
        return self._pending() == []

    def _pending(self) -> list[tuple[str, str]]:
        return [tuple(task.args) for task in self.queue.pending()]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "gate.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def url(migrated: Path, tmp_path: Path) -> str:
    shutil.copy(migrated, tmp_path / "gate.db")
    return f"sqlite:///{tmp_path / 'gate.db'}"


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[World]:
    wake_ups = HueyWakeUps()
    access = Access(databricks_pairs=(PAIR, OLD_PAIR), provider_hooks={"github": GitHubHook(SECRETS)})
    with open_store(url) as store:
        app = create_app(store=store, wake_ups=wake_ups, clock=Clock(), access=access, checks=())
        with serve(app) as base:
            yield World(base, store, wake_ups.queue, tmp_path / "gate.db")


def signed(body: bytes, secret: str = SECRETS[0]) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def pending(run_id: str, promotion_id: str = "p1") -> Promotion:
    version = ModelVersion("main.ml.churn", "2", "v-2", "r", None, VersionStatus.READY, NOW, None)
    return Promotion(
        id=promotion_id,
        gate="churn",
        registry="databricks-uc",
        model="main.ml.churn",
        alias="Champion",
        version=version,
        job_id="1",
        job_run_id="2",
        job_url="https://example.com",
        trainers=(),
        phase=Phase.REQUESTED,
        reason="",
        requested_at=NOW,
        updated_at=NOW,
        due_at=NOW,
        request=ApprovalRequest(
            "github",
            NOW,
            NOW + timedelta(days=14),
            {},
            external_id=run_id,
            place={"repository": "example/ml-deploy"},
        ),
    )


def wait_for_request(store: Store, run_id: str) -> str:
    made = store.create_promotion(pending(run_id))
    assert made is not None
    taken = store.take_promotion(made.id, NOW, 60)
    assert taken is not None
    later = replace(
        taken, phase=Phase.PENDING_APPROVAL, due_at=NOW + timedelta(days=1), request=pending(run_id).request
    )
    store.save_promotion(later, NOW, release=True)
    return made.id


# --- Databricks ------------------------------------------------------------------------------------------


def test_a_notification_is_stored_before_the_answer_and_wakes_a_worker(world: World) -> None:
    answer = world.post(NOTIFICATION)
    assert answer.status_code == 202
    row = world.store.get_notification(answer.json()["notification"])
    assert (row.source, row.count, row.notification.run_id) == ("hook", 1, "41847992357943")
    assert world.woken() == [("notification", row.id)]


def test_a_repeated_notification_counts_on_its_row(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: world.post(NOTIFICATION), range(40)))
    assert {answer.status_code for answer in answers} == {202}
    (row_id,) = {answer.json()["notification"] for answer in answers}
    assert world.store.get_notification(row_id).count == 40


def test_both_pairs_are_taken_while_one_is_being_replaced(world: World) -> None:
    assert world.post(NOTIFICATION, auth=OLD_PAIR).status_code == 202


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + "A" * 3,
        "Basic ZGF0YWJyaWNrczp3cm9uZw==",  # databricks:wrong
        "Basic Og==",  # empty user name and password
        "Bearer ZGF0YWJyaWNrczp0aGUgb25lIGJlZm9yZQ==",
        "Basic ZGF0YWJyaWNrczp0aGUgb25lIGJlZm9yZQ== x",
        "Basic \xe9",
    ],
)
def test_without_the_right_pair_nothing_is_stored(world: World, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = requests.post(
        f"{world.url}/hooks/databricks", json.dumps(NOTIFICATION), headers=headers, timeout=10
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert answer.json()["code"] == "not_authenticated"
    assert world.store.list_notifications().items == ()


def test_without_any_pair_configured_nobody_gets_in(url: str) -> None:
    wake_ups = HueyWakeUps()
    with open_store(url) as store:
        app = create_app(store=store, wake_ups=wake_ups, clock=Clock(), access=Access(), checks=())
        client = app.test_client()
        assert client.post("/hooks/databricks", auth=("", ""), json=NOTIFICATION).status_code == 401
        assert (
            client.post("/hooks/github", headers={"X-Hub-Signature-256": signed(b"", "")}).status_code == 404
        )
        assert client.get("/api/v1/promotions", headers={"Authorization": "Bearer "}).status_code == 401


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", "not JSON"),
        ({**NOTIFICATION, "event_type": "jobs.on_failure"}, "jobs.on_failure"),
        ({"event": "alert_state_change", "alert": {}}, "no job notification"),
        (b"", "not JSON"),
    ],
)
def test_what_leads_to_nothing_is_answered_200_with_the_reason(world: World, body: Any, words: str) -> None:
    answer = world.post(body)
    assert answer.status_code == 200
    assert words in answer.json()["ignored"]
    assert world.store.list_notifications().items == ()
    assert world.is_quiet()


@pytest.mark.parametrize("auth", [BASIC, None])
def test_a_body_over_the_cap_is_refused_whoever_sends_it(world: World, auth: Any) -> None:
    answer = world.post(b" " * (DATABRICKS_BODY_CAP + 1), auth=auth)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_body_at_the_cap_is_read(world: World) -> None:
    body = json.dumps(NOTIFICATION).encode()
    assert world.post(body + b" " * (DATABRICKS_BODY_CAP - len(body))).status_code == 202


def test_a_declared_length_over_the_cap_is_refused_without_waiting_for_the_body(world: World) -> None:
    connection = http.client.HTTPConnection(urlsplit(world.url).netloc, timeout=10)
    connection.putrequest("POST", "/hooks/databricks")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_chunked_body_is_read_up_to_the_cap(world: World) -> None:
    pieces = [json.dumps(NOTIFICATION).encode(), b" " * 1000]
    sent = requests.post(f"{world.url}/hooks/databricks", iter(pieces), auth=OLD_PAIR, timeout=10)
    assert sent.status_code == 202


def test_a_job_that_no_gate_watches_is_stored_with_the_reason_and_wakes_nobody(url: str) -> None:
    wake_ups = HueyWakeUps()
    with open_store(url) as store:
        app = create_app(
            store=store,
            wake_ups=wake_ups,
            clock=Clock(),
            access=Access(databricks_pairs=(PAIR,)),
            checks=(),
            unwatched=lambda hint: f"No gate watches job {hint.job_id}.",
        )
        answer = app.test_client().post("/hooks/databricks", auth=PAIR, json=NOTIFICATION)
        assert answer.status_code == 202
        (row,) = store.list_notifications().items
        assert answer.json == {"notification": row.id}
        assert (row.phase, row.reason) == (
            NotificationPhase.IGNORED,
            "No gate watches job 281874479417551.",
        )
        assert wake_ups.backlog() == 0


def test_a_database_that_does_not_take_it_is_answered_503(world: World) -> None:
    with sqlite3.connect(world.database) as spoilt:
        spoilt.execute("alter table notifications rename to gone")
    spoilt.close()
    answer = world.post(NOTIFICATION)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "SELECT" not in answer.text.upper()
    assert world.is_quiet()


# --- GitHub ----------------------------------------------------------------------------------------------


def test_a_review_hints_at_the_promotion_that_waits_for_it(world: World) -> None:
    promotion_id = wait_for_request(world.store, "30433642")
    assert world.store.due(NOW).promotions == ()
    body = json.dumps({"action": "approved", "workflow_run": {"id": 30433642}}).encode()
    answer = world.github("deployment_review", body, signed(body))
    assert (answer.status_code, answer.json()) == (202, {"hinted": 1})
    assert world.store.get_promotion(promotion_id).phase is Phase.PENDING_APPROVAL
    assert world.store.due(NOW).promotions == (promotion_id,)
    assert world.woken() == [("promotion", promotion_id)]


JOB_PAGE = "https://github.com/example/ml-deploy/actions/runs/30433642/job/5"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("workflow_job", {"action": "in_progress", "workflow_job": {"id": 5, "run_id": 30433642}}),
        ("deployment_status", {"action": "created", "workflow_run": {"id": 30433642}}),
        ("deployment_status", {"action": "created", "deployment_status": {"target_url": JOB_PAGE}}),
        ("deployment_review", {"action": "approved", "workflow_job_runs": [{"html_url": JOB_PAGE}]}),
        ("deployment_review", {"action": "approved", "workflow_job_runs": [{"id": 5}]}),
        ("deployment_review", {"action": "rejected", "workflow_run": None}),
    ],
)
def test_whatever_tells_of_the_run_or_of_a_review_in_its_repository_hints(
    world: World, kind: str, told: dict[str, object]
) -> None:
    promotion_id = wait_for_request(world.store, "30433642")
    body = json.dumps({**told, "repository": {"full_name": "Example/ML-deploy"}}).encode()
    answer = world.github(kind, body, signed(body))
    assert (answer.status_code, answer.json()) == (202, {"hinted": 1})
    assert world.store.due(NOW).promotions == (promotion_id,)


def test_a_review_without_a_run_in_another_repository_hints_at_nothing(world: World) -> None:
    wait_for_request(world.store, "30433642")
    body = json.dumps({"action": "approved", "repository": {"full_name": "example/other"}}).encode()
    assert world.github("deployment_review", body, signed(body)).json() == {"hinted": 0}


def test_a_run_that_nobody_waits_for_hints_at_nothing(world: World) -> None:
    body = b'{"workflow_run": {"id": 5}}'
    assert world.github("workflow_run", body, signed(body)).json() == {"hinted": 0}


def test_the_secret_before_is_taken_too(world: World) -> None:
    assert world.github("ping", b"{}", signed(b"{}", SECRETS[1])).status_code == 200


def test_githubs_own_example_of_a_signature_is_taken(world: World) -> None:
    # docs.github.com, "Validating webhook deliveries"
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert world.github("push", b"Hello, World!", signature).status_code == 200


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        "sha1=" + hmac.new(SECRETS[0].encode(), b"{}", hashlib.sha1).hexdigest(),
        signed(b"{}").upper(),
        signed(b"{}").removeprefix("sha256="),
        signed(b"{} "),
        signed(b"{}", ""),
        signed(b"{}") + ", " + signed(b"{}"),
    ],
)
def test_without_a_right_signature_nothing_is_hinted(world: World, signature: str | None) -> None:
    answer = world.github("workflow_run", b"{}", signature)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


def test_the_old_signature_header_alone_is_refused(world: World) -> None:
    sha1 = "sha1=" + hmac.new(SECRETS[0].encode(), b"{}", hashlib.sha1).hexdigest()
    answer = requests.post(f"{world.url}/hooks/github", b"{}", headers={"X-Hub-Signature": sha1}, timeout=10)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("kind", "body"), [("ping", b'{"zen": "x"}'), ("push", b"{}"), ("workflow_run", b"[1]")]
)
def test_other_events_are_ignored_with_the_reason(world: World, kind: str, body: bytes) -> None:
    answer = world.github(kind, body, signed(body))
    assert answer.status_code == 200
    assert answer.json()["ignored"]


def test_githubs_bodies_have_a_cap_of_their_own(world: World) -> None:
    body = b'{"workflow_run": {"id": 5}, "x": "' + b"x" * (DATABRICKS_BODY_CAP * 2) + b'"}'
    assert world.github("workflow_run", body, signed(body)).status_code == 202
    assert world.github("workflow_run", b" " * (PROVIDER_BODY_CAP + 1), None).status_code == 413
