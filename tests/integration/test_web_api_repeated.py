"""A request that is sent twice under one key does its work once, and nobody gets another's answer."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.rows import RepeatableRequest
from champion_gate.web.api.idempotency import request_key
from integration.api_world import ALIAS, OPERATOR, OTHER, ApiWorld, api_world

ROLLBACK = f"{ALIAS}/rollback"
PROMOTIONS = "/api/v1/promotions"
WHY = {"reason": "it is bad", "override_hold": True}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path) as world:
        world.add_versions(3)
        for version in ("2", "3", "4"):
            world.call("PUT", ALIAS, {"version": version, "reason": "next"})
        yield world


def roll_back(api: ApiWorld, key: str, token: str = OPERATOR) -> requests.Response:
    return api.call("POST", ROLLBACK, WHY, token=token, Idempotency_Key=key)


def same(first: requests.Response, second: requests.Response) -> None:
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    for name in ("ETag", "Location", "Content-Type"):
        assert first.headers.get(name) == second.headers.get(name)


def test_a_rollback_that_is_sent_twice_rolls_back_once(api: ApiWorld) -> None:
    first = roll_back(api, "night-1")
    assert api.gate.models.champion() == "3"
    same(first, roll_back(api, "night-1"))
    assert api.gate.models.champion() == "3"
    roll_back(api, "night-2")
    assert api.gate.models.champion() == "2"


def test_without_a_key_every_request_counts(api: ApiWorld) -> None:
    api.call("POST", ROLLBACK, WHY)
    api.call("POST", ROLLBACK, WHY)
    assert api.gate.models.champion() == "2"


def test_keys_are_each_callers_and_each_paths_own(api: ApiWorld) -> None:
    roll_back(api, "k")
    assert "Idempotency-Replayed" not in roll_back(api, "k", OTHER).headers
    assert api.gate.models.champion() == "2"
    body = {"gate": "churn", "version": "4", "reason": "it is bad"}
    assert "Idempotency-Replayed" not in api.call("POST", PROMOTIONS, body, Idempotency_Key="k").headers


def test_a_promotion_is_asked_for_once(api: ApiWorld) -> None:
    run_id, version = api.gate.train_run()
    body = {"gate": "churn", "version": version, "job_run_id": run_id, "reason": "x"}
    first = api.call("POST", PROMOTIONS, body, Idempotency_Key="ask")
    assert first.status_code == 201
    reordered = dict(reversed(body.items()))
    same(first, api.call("POST", PROMOTIONS, reordered, Idempotency_Key="ask"))
    assert len(api.gate.promotions()) == 1


def test_a_definite_refusal_is_kept_too(api: ApiWorld) -> None:
    body = {"gate": "other", "version": "2", "reason": "x"}
    first = api.call("POST", PROMOTIONS, body, Idempotency_Key="k")
    assert first.status_code == 404
    same(first, api.call("POST", PROMOTIONS, body, Idempotency_Key="k"))


def test_one_key_stands_for_one_request(api: ApiWorld) -> None:
    roll_back(api, "k")
    said = api.problem(
        422, "idempotency_key_reused", "POST", ROLLBACK, {"reason": "another"}, Idempotency_Key="k"
    )
    assert "new key" in said["hint"]
    assert api.gate.models.champion() == "3"


def test_a_condition_is_part_of_the_request(api: ApiWorld) -> None:
    roll_back(api, "k")
    api.problem(
        *(422, "idempotency_key_reused", "POST", ROLLBACK, WHY), Idempotency_Key="k", If_Match='"999"'
    )
    conditional = {"Idempotency_Key": "c", "If_Match": '"3"'}
    first = api.call("POST", ROLLBACK, WHY, **conditional)
    assert first.status_code == 200
    same(first, api.call("POST", ROLLBACK, WHY, **conditional))
    api.problem(422, "idempotency_key_reused", "POST", ROLLBACK, WHY, Idempotency_Key="c")
    assert api.gate.models.champion() == "2"


BODIES = [b"nonsense", b"\xff", b"9" * 6000, b"[" * 20_000, b'{"a":' * 9000, b"[]", b"null", b'{"a": NaN}']


def test_a_body_where_none_is_looked_at_may_be_anything(api: ApiWorld) -> None:
    api.gate.notify("1000")
    replay = f"/api/v1/notifications/{api.gate.notification().id}/replay"
    for number, body in enumerate(BODIES):
        key = {"Idempotency_Key": f"k{number}"}
        assert api.call("POST", replay, body).status_code == 202, body[:20]
        first = api.call("POST", replay, body, **key)
        assert first.status_code == 202, body[:20]
        same(first, api.call("POST", replay, body, **key))
        api.problem(422, "idempotency_key_reused", "POST", replay, b"other", **key)


def test_a_key_is_kept_short_however_long_the_path(api: ApiWorld) -> None:
    path = f"/api/v1/models/main.ml.{'x' * 9000}/aliases/Champion/rollback"
    first = api.call("POST", path, WHY, Idempotency_Key="k" * 200)
    assert first.status_code == 422
    same(first, api.call("POST", path, WHY, Idempotency_Key="k" * 200))
    with closing(sqlite3.connect(api.gate.database)) as database:
        ((key,),) = database.execute("SELECT key FROM requests")
    assert re.fullmatch("[0-9a-f]{64}", key)


def test_an_answer_is_given_again_while_every_place_is_taken(api: ApiWorld) -> None:
    first, leave = roll_back(api, "k"), threading.Event()
    hanging = api.gate.break_databricks("/models/", method="GET", hang=leave)
    threads = [threading.Thread(target=api.call, args=("GET", ALIAS)) for _ in range(6)]
    try:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while hanging.hits < 6:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        api.problem(503, "busy", "POST", ROLLBACK, WHY, Idempotency_Key="other")
        same(first, roll_back(api, "k"))
    finally:
        leave.set()
        for thread in threads:
            thread.join(60)


def test_a_request_that_was_cut_off_is_not_carried_out_again_unseen(api: ApiWorld) -> None:
    roll_back(api, "k")
    begun = RepeatableRequest(request_key("API token a", ROLLBACK, "cut"), "not that of the body below")
    api.gate.store.begin_request(begun, api.gate.clock.now())
    api.problem(422, "idempotency_key_reused", "POST", ROLLBACK, WHY, Idempotency_Key="cut")
    api.gate.break_databricks("/aliases/", method="PUT", lose_answer=True)
    api.gate.break_databricks("/aliases/", method="GET", status=500)
    lost = roll_back(api, "lost")
    assert lost.status_code == 503
    said = api.problem(409, "request_under_way", "POST", ROLLBACK, WHY, Idempotency_Key="lost")
    assert "Look at" in said["hint"]


def test_a_request_that_did_nothing_may_come_again_under_its_key(api: ApiWorld) -> None:
    key = AliasKey("databricks-uc", "main.ml.churn", "Champion")
    lock = api.gate.store.lock_alias(key, api.gate.clock.now(), 300)
    assert lock is not None
    busy = roll_back(api, "k")
    assert (busy.status_code, busy.json()["code"]) == (409, "alias_busy")
    api.gate.store.unlock_alias(lock)
    assert roll_back(api, "k").status_code == 200
    assert api.gate.models.champion() == "3"


def test_requests_at_the_same_moment_are_carried_out_once(api: ApiWorld) -> None:
    codes: list[int] = []
    gate = threading.Barrier(4)

    def send() -> None:
        gate.wait()
        codes.append(roll_back(api, "k").status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {200, 409}
    assert 200 in codes
    assert api.gate.models.champion() == "3"


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ä"])
def test_a_key_that_is_none_is_refused(api: ApiWorld, key: str) -> None:
    headers: dict[str, str | bytes] = {
        "Authorization": f"Bearer {OPERATOR}",
        "Idempotency-Key": key.encode("latin-1"),
    }
    answer = requests.post(api.url + ROLLBACK, json=WHY, headers=headers, timeout=20)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["name"] == "Idempotency-Key"
    assert api.gate.models.champion() == "4"
