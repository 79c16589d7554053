"""What is not as described is refused in words, never ignored and never carried out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from champion_gate.domain.text import is_visible
from integration.api_world import ALIAS, OPERATOR, ApiWorld, api_world

HELD = f"{ALIAS}/hold"
JSON = "application/json"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("api")) as world:
        yield world


def refused(api: ApiWorld, body: bytes, content_type: str = JSON) -> dict[str, Any]:
    answer = api.call("PUT", ALIAS, body, Content_Type=content_type)
    assert answer.status_code in {400, 413, 415, 422}
    assert api.gate.ledger() == []
    said: dict[str, Any] = answer.json()
    return said


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/merge-patch+json", "json", ""],
)
def test_a_body_that_does_not_say_that_it_is_json_is_refused(api: ApiWorld, content_type: str) -> None:
    said = refused(api, b'{"version": "1", "reason": "x"}', content_type)
    assert said["code"] == "unsupported_media_type"
    assert "Content-Type: application/json" in said["hint"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"12",
        b'"{\\"version\\": \\"1\\", \\"reason\\": \\"x\\"}"',
        b'{"version": "1", "reason": "x", "reason": "y"}',
        b'{"version": "1", "reason": NaN}',
        b'{"version": "1", "reason": "x"} {}',
        b'{"version": "1", "reason": "\xff"}',
        b"[" * 30_000,
        b'{"version": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_json_object_is_malformed(api: ApiWorld, body: bytes) -> None:
    assert refused(api, body)["code"] == "malformed_body"


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"version": 12}, "version", '"12"'),
        ({"version": 1.5}, "version", "in quotes"),
        ({"version": True}, "version", "string"),
        ({"version": None}, "version", "string"),
        ({"version": ["1"]}, "version", "string"),
        ({"reason": ""}, "reason", "character"),
        ({"reason": " \t\n"}, "reason", "blank"),
        ({"reason": "x" * 2001}, "reason", "2000"),
        ({"reason": "\ud800"}, "reason", "string"),
        ({"override_hold": "true"}, "override_hold", "boolean"),
        ({"override_hold": 1}, "override_hold", "boolean"),
        ({"overide_hold": True}, "overide_hold", "nothing of this name"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    api: ApiWorld, changes: dict[str, object], name: str, words: str
) -> None:
    body = json.dumps({"version": "1", "reason": "x", **changes}).encode()
    said = refused(api, body)
    assert said["code"] == "invalid_input"
    assert [each["name"] for each in said["errors"]] == [name]
    assert words in said["errors"][0]["detail"]
    assert name in said["detail"]


def test_all_that_is_missing_is_named_at_once(api: ApiWorld) -> None:
    said = refused(api, b"{}")
    assert [each["name"] for each in said["errors"]] == ["version", "reason"]


def test_names_from_outside_come_back_as_data_and_short(api: ApiWorld) -> None:
    said = refused(api, json.dumps({"<script>\x1b[2J" + "y" * 5000: 1}).encode())
    name = said["errors"][-1]["name"]
    assert name.startswith("<script>\\x1b[2J")
    assert len(name) < 200


@pytest.mark.parametrize(
    "body", [b'\xef\xbb\xbf{"version": "1", "reason": "x"}', b"{"], ids=["BOM", "cut off"]
)
def test_a_body_that_is_no_json_is_not_blamed_on_its_content_type(api: ApiWorld, body: bytes) -> None:
    said = refused(api, body)
    assert (said["code"], said["detail"]) == ("malformed_body", "The body is not JSON.")


REPLAY = "/api/v1/notifications/nothing/replay"


def test_a_route_without_fields_of_a_body_says_how_a_body_fails_nevertheless(api: ApiWorld) -> None:
    api.problem(413, "too_large", "POST", REPLAY, b"x" * 70_000)
    for operation in api.document.operations.values():
        answers = operation["responses"].keys()
        assert ("413" in answers) == ({"400", "408"} <= answers)
    assert {"400", "408", "413"} <= api.document.operations[
        "POST", "/api/v1/notifications/{notification_id}/replay"
    ]["responses"].keys()


def test_a_body_over_its_cap_is_not_read(api: ApiWorld) -> None:
    assert refused(api, b'{"reason": "' + b"x" * 70_000 + b'"}')["code"] == "too_large"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/promotions?phse=requested", "phse"),
        ("/api/v1/promotions?limit=10&limit=20", "limit"),
        ("/api/v1/promotions?limit=5.0", "limit"),
        ("/api/v1/promotions?limit=%205", "limit"),
        ("/api/v1/promotions?limit=1_0", "limit"),
        ("/api/v1/promotions?limit=", "limit"),
        ("/api/v1/promotions?model=", "model"),
        ("/api/v1/promotions?model=a%00b", "model"),
        ("/api/v1/notifications?phase=promoted", "phase"),
        ("/api/v1/models/main.ml.churn?alias=Champion", "alias"),
        (f"{ALIAS}?verbose=1", "verbose"),
    ],
)
def test_a_parameter_that_means_nothing_is_named(api: ApiWorld, path: str, name: str) -> None:
    assert name in api.problem(422, "invalid_input", "GET", path)["detail"]


@pytest.mark.parametrize("path", ["/api/v1/promotions", "/api/v1/notifications"])
@pytest.mark.parametrize("identity", ["\ud800", "\x00"], ids=["surrogate", "NUL"])
def test_a_cursor_that_is_made_up_is_refused(api: ApiWorld, path: str, identity: str) -> None:
    text = json.dumps(["2026-01-01T00:00:00.000000Z", identity])
    cursor = base64.urlsafe_b64encode(text.encode()).decode()
    said = api.problem(422, "invalid_input", "GET", f"{path}?cursor={cursor}")
    assert "cursor" in said["detail"]


def test_a_parameter_in_lieu_of_the_body_is_refused(api: ApiWorld) -> None:
    path = f"{ALIAS}?override_hold=true"
    said = api.problem(422, "invalid_input", "PUT", path, {"version": "1", "reason": "x"})
    assert "override_hold" in said["detail"]


def test_an_optional_body_may_be_absent_but_not_something_else(api: ApiWorld) -> None:
    path = "/api/v1/promotions/p-nothing/retry"
    for body in (None, b"", {}, {"reason": None}):
        api.problem(404, "not_found", "POST", path, body)
    api.problem(415, "unsupported_media_type", "POST", path, b"{}", Content_Type="text/plain")
    api.problem(400, "malformed_body", "POST", path, b"null", Content_Type=JSON)


@settings(
    max_examples=settings().max_examples // 6 + 1,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60
    ).filter(is_visible)
)
def test_any_reason_comes_back_as_it_was_given(api: ApiWorld, reason: str) -> None:
    held = api.call("PUT", HELD, {"reason": reason}, token=OPERATOR)
    assert held.json()["hold"]["reason"] == reason
    lines = api.call("GET", f"{ALIAS}/history?limit=1").json()["lines"]
    assert lines[0]["reason"] == reason
    api.call("DELETE", f"{HELD}?reason=over")


def test_what_no_database_can_hold_is_shown_as_replaced(api: ApiWorld) -> None:
    assert api.call("PUT", HELD, {"reason": "a\x00b"}).json()["hold"]["reason"] == "a\ufffdb"
