"""The API and the form of every error, over real HTTP on a real database."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from champion_gate.domain.approval import ApprovalRequest, Decider, Decision, ExcludedPerson, Verdict
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.evidence import canonical_json, collect
from champion_gate.domain.gates import ApprovalTarget, Gate
from champion_gate.domain.job_runs import Trainer
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate.domain.retry import Retry
from champion_gate.domain.steps import StepKind, planned
from champion_gate.domain.versions import ModelVersion, VersionDetails, VersionStatus
from champion_gate.store import Store
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access, undeclared_routes
from champion_gate.work.queue import HueyWakeUps
from champion_gate_standins.common.server import serve
from integration.store_databases import path_of, sqlite_store

NOW = datetime(2025, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TOKEN = "viewer-token"
CALLERS = {TOKEN: Caller("viewer", Role.VIEWER, "API token v")}
VERSION = ModelVersion("main.ml.churn", "2", "v-2", "r", None, VersionStatus.READY, NOW, None)


class Clock:
    def now(self) -> datetime:
        return NOW


@dataclass
class World:
    store: Store
    app: Flask
    url: str
    database: Path

    def get(self, path: str, token: str | None = TOKEN, method: str = "GET") -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.request(method, self.url + path, headers=headers, timeout=20)


@pytest.fixture
def world() -> Iterator[World]:
    access = Access(databricks_pairs=(("d", "p"),), authenticate=lambda text, _address: CALLERS.get(text))
    with sqlite_store() as (url, store):
        app = create_app(store=store, wake_ups=HueyWakeUps(), clock=Clock(), access=access, checks=())
        with serve(app) as base:
            yield World(store, app, base, path_of(url))


def promotion(promotion_id: str, **fields: Any) -> Promotion:
    base = Promotion(
        id=promotion_id,
        gate="churn",
        registry="databricks-uc",
        model="main.ml.churn",
        alias="Champion",
        version=VERSION,
        job_id="9007199254740993",
        job_run_id="41847992357943",
        job_url="https://example.com/run",
        trainers=(Trainer("job run creator", "first.last@example.com"),),
        phase=Phase.REQUESTED,
        reason="found",
        requested_at=NOW,
        updated_at=NOW,
        due_at=NOW,
    )
    return replace(base, **fields)


def make(store: Store, promotion_id: str, **fields: Any) -> None:
    assert store.create_promotion(promotion(promotion_id, **fields)) is not None


def approved(store: Store) -> str:
    """A promotion with everything in it; returns its evidence."""
    make(store, "full")
    taken = store.take_promotion("full", NOW, 60)
    assert taken is not None
    target = ApprovalTarget.stored("github", {"repository": "example/ml-deploy"}, ("champion",))
    frozen = collect(
        replace(taken, trainers=(Trainer("job run creator", "jürgen@example.com"),)),
        Gate(name="churn", jobs=(1,), model="main.ml.churn", alias="Champion", approval=target),
        VersionDetails(VERSION, {"owner": "ml"}, None),
        None,
        nobody=(),
        champion_since=None,
        version_url=None,
        frozen_at=NOW,
    )
    evidence = canonical_json(frozen)
    opened = replace(
        taken,
        phase=Phase.PENDING_APPROVAL,
        evidence_json=evidence,
        evidence_sha256=hashlib.sha256(evidence.encode()).hexdigest(),
        approval_sha256="a",
        excluded=(ExcludedPerson("first.last@example.com", "job run creator", "octo", "5"),),
        request=ApprovalRequest(
            "github",
            NOW,
            NOW + timedelta(days=14),
            {"repository": "9"},
            "30433642",
            "https://example.com/a",
            NOW,
        ),
    )
    opened = store.save_promotion(opened, NOW)
    decision = Decision(
        Verdict.APPROVED, (Decider("583231", "octocat", "champion", "ok"),), "approved", "github", NOW
    )
    end = EndRequest(Phase.CANCELLED, "operator", "no more", NOW)
    store.request_end("full", end)
    store.save_promotion(replace(opened, phase=Phase.APPROVED, decision=decision), NOW, release=True)
    return evidence


# --- the API ---------------------------------------------------------------------------------------------


def test_promotions_are_listed_newest_first_in_parts(world: World) -> None:
    for number in range(3):
        make(world.store, f"p{number}", alias=f"A{number}", requested_at=NOW + timedelta(seconds=number))
    first = world.get("/api/v1/promotions?limit=2").json()
    assert [each["id"] for each in first["promotions"]] == ["p2", "p1"]
    second = world.get(f"/api/v1/promotions?limit=2&cursor={first['cursor']}").json()
    assert [each["id"] for each in second["promotions"]] == ["p0"]
    assert second["cursor"] is None


def test_the_list_is_narrowed_by_model_and_phase(world: World) -> None:
    make(world.store, "ours")
    make(world.store, "other", model="main.ml.other", version=replace(VERSION, model="main.ml.other"))

    def ids(query: str) -> list[str]:
        return [each["id"] for each in world.get(f"/api/v1/promotions?{query}").json()["promotions"]]

    assert ids("model=main.ml.churn") == ["ours"]
    assert sorted(ids("phase=requested")) == ["other", "ours"]
    assert ids("phase=promoted") == []


@pytest.mark.parametrize(
    "query",
    ["phase=done", "limit=0", "limit=201", "limit=x", "limit=-1", "cursor=nonsense", "phse=requested"],
)
def test_a_query_that_means_nothing_is_refused(world: World, query: str) -> None:
    answer = world.get(f"/api/v1/promotions?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_a_promotion_is_shown_with_these_fields_and_no_others(world: World) -> None:
    evidence = approved(world.store)
    time = "2025-01-31T12:00:00.123Z"
    assert world.get("/api/v1/promotions/full").json() == {
        "id": "full",
        "gate": "churn",
        "registry": "databricks-uc",
        "model": "main.ml.churn",
        "source_model": "main.ml.churn",
        "copied_version": None,
        "version": "2",
        "alias": "Champion",
        "found_by": "",
        "origin": [],
        "champion_version": None,
        "phase": "approved",
        "reason": "found",
        "job": {"id": "9007199254740993", "run_id": "41847992357943", "url": "https://example.com/run"},
        "trainers": [{"role": "job run creator", "name": "first.last@example.com"}],
        "excluded": [{"name": "first.last@example.com", "login": "octo"}],
        "request": {
            "provider": "github",
            "external_id": "30433642",
            "url": "https://example.com/a",
            "seats": [],
            "opened_at": time,
            "expires_at": "2025-02-14T12:00:00.123Z",
        },
        "outstanding": [],
        "decision": {
            "verdict": "approved",
            "reason": "approved",
            "source": "github",
            "decided_at": time,
            "deciders": [{"user_id": "583231", "login": "octocat", "seat": "champion", "comment": "ok"}],
        },
        "end_request": {"phase": "cancelled", "actor": "operator", "reason": "no more", "at": time},
        "evidence_sha256": hashlib.sha256(evidence.encode()).hexdigest(),
        "requested_at": time,
        "updated_at": time,
        "ended_at": None,
        "due_at": time,
        "attempts": 0,
        "failing_since": None,
        "failed_from": None,
        "failed_after": 0,
        "last_error": None,
        "steps": [],
        "ledger": [],
    }


def test_one_that_has_ended_shows_what_is_left_to_be_done_and_its_lines_of_the_ledger(world: World) -> None:
    make(world.store, "ended")
    taken = world.store.take_promotion("ended", NOW, 60)
    assert taken is not None
    said = [
        LedgerEntry(kind, "databricks-uc", "main.ml.churn", "Champion", "octocat", "r", NOW, "ended")
        for kind in (LedgerKind.DECISION, LedgerKind.ALIAS_CHANGE)
    ]
    left = replace(
        planned("ended", StepKind.TAG_VERSION, {"a": "b"}, NOW), retry=Retry(2, NOW, "the registry is away")
    )
    world.store.save_promotion(
        replace(taken, phase=Phase.CANCELLED, ended_at=NOW), NOW, release=True, ledger=said, steps=[left]
    )
    shown = world.get("/api/v1/promotions/ended").json()
    time = "2025-01-31T12:00:00.123Z"
    assert shown["steps"] == [
        {
            "id": "ended-tag-version",
            "kind": "tag_version",
            "phase": "planned",
            "reason": "",
            "external_id": None,
            "url": None,
            "starts": 0,
            "result": None,
            "result_sha256": None,
            "planned_at": time,
            "ended_at": None,
            "due_at": time,
            "attempts": 2,
            "last_error": "the registry is away",
        }
    ]
    assert world.get("/api/v1/promotions/ended/steps").json() == {"steps": shown["steps"]}
    assert [(line["number"], line["kind"]) for line in shown["ledger"]] == [
        (2, "alias_change"),
        (1, "decision"),
    ]
    (listed,) = world.get("/api/v1/promotions").json()["promotions"]
    assert shown.keys() - listed.keys() == {"steps", "ledger"}


def test_evidence_comes_byte_for_byte_as_it_was_frozen(world: World) -> None:
    evidence = approved(world.store)
    answer = world.get("/api/v1/promotions/full/evidence")
    assert answer.content == evidence.encode()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'


def test_evidence_comes_as_the_reviewer_sees_it(world: World) -> None:
    evidence = approved(world.store)
    answer = world.get("/api/v1/promotions/full/evidence.md")
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert hashlib.sha256(evidence.encode()).hexdigest() in answer.text
    assert "jürgen@example.com" in answer.content.decode()


@pytest.mark.parametrize(
    "path", ["x", "p1/evidence", "p1/evidence.md", "P1", "p%00", "..%2f..", "p1/nothing", "x" * 161]
)
def test_what_does_not_exist_is_404(world: World, path: str) -> None:
    make(world.store, "p1")
    answer = world.get(f"/api/v1/promotions/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], TOKEN.upper()])
@pytest.mark.parametrize("path", ["", "/p1", "/p1/evidence", "/p1/evidence.md"])
def test_without_a_right_token_nothing_is_shown(world: World, path: str, token: str | None) -> None:
    make(world.store, "p1")
    answer = world.get(f"/api/v1/promotions{path}", token)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_password_is_no_bearer_token(world: World) -> None:
    assert requests.get(f"{world.url}/api/v1/promotions", auth=("d", TOKEN), timeout=10).status_code == 401


# --- every route -----------------------------------------------------------------------------------------


def test_every_route_declares_its_authentication(world: World) -> None:
    assert undeclared_routes(world.app) == ()
    world.app.add_url_rule("/forgotten", view_func=lambda: "open")
    assert undeclared_routes(world.app) == ("/forgotten",)


def test_a_route_that_declares_none_admits_nobody(world: World) -> None:
    world.app.view_functions["livez"] = lambda: "open"
    assert world.get("/livez").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "//livez", 404, "not_found"),
        ("GET", "///api/v1/promotions", 404, "not_found"),
        ("GET", "/%2Fapi/v1/promotions", 404, "not_found"),
        ("GET", "/hooks/databricks", 405, "method_not_allowed"),
        ("PUT", "/livez", 405, "method_not_allowed"),
        ("GET", "/api//v1/promotions", 404, "not_found"),
        ("GET", "/livez/", 404, "not_found"),
        ("POST", "/hooks/gitlab", 404, "not_found"),
        ("GET", "/static/x", 404, "not_found"),
        ("BREW", "/livez", 405, "method_not_allowed"),
    ],
)
def test_every_error_has_the_same_form(world: World, method: str, path: str, status: int, code: str) -> None:
    answer = world.get(path, method=method)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == code
    assert set(body) == {"type", "title", "status", "detail", "code", "hint"}
    assert ("Allow" in answer.headers) == (status == 405)


def test_a_fault_of_ours_shows_no_trace(world: World) -> None:
    with sqlite3.connect(world.database) as spoilt:
        spoilt.execute("alter table promotions rename to gone")
    spoilt.close()
    answer = world.get("/api/v1/promotions")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "gone" not in answer.text
    assert "Traceback" not in answer.text


def test_a_database_that_cannot_be_read_is_away_not_broken(world: World) -> None:
    world.store.close()
    world.database.unlink()
    world.database.mkdir()
    answer = world.get("/api/v1/promotions")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/livez", "/api/v1/promotions", "/nowhere"])
def test_every_answer_forbids_caching_and_sniffing(world: World, path: str) -> None:
    headers = world.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_head_is_get_without_a_body_and_options_names_the_methods(world: World) -> None:
    head = world.get("/api/v1/promotions", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert world.get("/api/v1/promotions", None, method="HEAD").status_code == 401
    assert world.get("/livez", None, method="OPTIONS").headers["Allow"].count("GET") == 1
    assert world.get("/api/v1/promotions", None, method="OPTIONS").status_code == 401
