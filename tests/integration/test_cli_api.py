"""The command line's calls to a service: what it sends, and what it makes of answers that no service should give."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from pydantic import SecretStr

from champion_gate.bootstrap.configuration import load_api_access
from champion_gate.cli import exit_code
from champion_gate.cli.client import Client, ServiceError
from champion_gate.cli.over_http import OverHttp
from champion_gate.errors import (
    ConfigurationError,
    GateError,
    InvalidInputError,
    InvalidNameError,
    VendorUnavailableError,
)
from champion_gate.settings.credentials import ApiAccess
from unit.far_end import answer, drip, drop, far_end

TOKEN = "cg_secret-of-the-caller"
PROBLEM = "application/problem+json; charset=utf-8"
PROMOTION = {"id": "p-1", "phase": "requested"}


@contextmanager
def client(url: str, pauses: list[float] | None = None, total_seconds: float = 5.0) -> Iterator[Client]:
    """Our side, which does not really pause."""
    access, sleep = ApiAccess(url, SecretStr(TOKEN)), (pauses if pauses is not None else []).append
    with closing(OverHttp(access, sleep=sleep, total_seconds=total_seconds)) as transport:
        yield Client(transport)


def refused(url: str, call: Callable[[Client], object]) -> GateError:
    """The error of a call; it never shows the token."""
    with client(url) as api, pytest.raises(GateError) as caught:
        call(api)
    assert TOKEN not in f"{caught.value} {caught.value!r}"
    return caught.value


def problem(status: int, **members: object) -> bytes:
    return answer(status, {"status": status, **members}, Content_Type=PROBLEM)


def head_of(request: str) -> dict[str, str]:
    head = request.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): text for name, _, text in (line.partition(": ") for line in head)}


# --- what is sent ------------------------------------------------------------------------------------------


def test_an_order_carries_its_reason_its_condition_and_the_token() -> None:
    with far_end(answer(200, {"changed": True})) as far, client(far.url) as api:
        api.put_alias("main.ml.churn", "Champion", "12", reason="größer\n", only_if="11", override_hold=False)
    (request,) = far.seen
    assert request.startswith("PUT /api/api/v1/models/main.ml.churn/aliases/Champion HTTP/1.1")
    assert head_of(request)["if-match"] == '"11"'
    assert head_of(request)["authorization"] == f"Bearer {TOKEN}"
    assert "idempotency-key" not in head_of(request)
    body = json.loads(request.partition("\r\n\r\n")[2])
    assert body == {"version": "12", "reason": "größer\n", "override_hold": False}


def test_reasons_in_a_query_are_encoded() -> None:
    with far_end(answer(200, {})) as far, client(far.url) as api:
        api.release("churn", "Champion", reason="a&b=c #?\n")
        api.delete_alias("churn", "Champion", reason="x", only_if=None, override_hold=True)
    assert far.seen[0].startswith(
        "DELETE /api/api/v1/models/churn/aliases/Champion/hold?reason=a%26b%3Dc+%23%3F%0A HTTP"
    )
    assert "aliases/Champion?reason=x&override_hold=true HTTP" in far.seen[1]


def test_model_names_are_encoded() -> None:
    with far_end(answer(200, {})) as far, client(far.url) as api:
        api.alias("kündigung @[1]", "Champion")
    assert far.seen[0].startswith("GET /api/api/v1/models/k%C3%BCndigung%20%40%5B1%5D/aliases/Champion ")


@pytest.mark.parametrize("model", ["", "a/b", "..", ".", "a?b", "a#b", "a%2fb", "a\r\nHost: x"])
def test_a_name_that_would_change_the_path_is_never_sent(model: str) -> None:
    with far_end(answer(200, {})) as far:
        assert isinstance(refused(far.url, lambda api: api.alias(model, "Champion")), InvalidNameError)
        assert far.seen == []


@pytest.mark.parametrize("row_id", ["", "..", "a/b", "p-1/cancel", "p-1?x", "\x1b[31m", "ü"])
def test_an_id_that_would_change_the_path_is_never_sent(row_id: str) -> None:
    with far_end(answer(200, {})) as far:
        for call in (
            lambda api: api.promotion(row_id),
            lambda api: api.replay(row_id),
            lambda api: api.cancel(row_id, reason="x"),
        ):
            assert isinstance(refused(far.url, call), InvalidInputError)
        assert far.seen == []


@pytest.mark.parametrize("only_if", ['11"', "*", "", "01"])
def test_only_a_version_is_a_condition(only_if: str) -> None:
    with far_end(answer(200, {})) as far:
        error = refused(
            far.url,
            lambda api: api.put_alias(
                "churn", "Champion", "12", reason="x", only_if=only_if, override_hold=False
            ),
        )
        assert isinstance(error, InvalidNameError)
        assert far.seen == []


# --- lost answers ------------------------------------------------------------------------------------------


def test_a_post_whose_answer_was_lost_is_sent_again_with_the_same_key() -> None:
    pauses: list[float] = []
    with far_end(drop, answer(202, PROMOTION)) as far, client(far.url, pauses) as api:
        assert api.cancel("p-1", reason="x") == PROMOTION
    first, second = (head_of(request)["idempotency-key"] for request in far.seen)
    assert first == second
    assert first.startswith("cli-")
    assert pauses == [0.5]


def test_a_put_or_delete_whose_answer_was_lost_is_sent_once_and_says_so() -> None:
    with far_end(drop) as far:
        for call in (
            lambda api: api.hold("churn", "Champion", reason="x"),
            lambda api: api.release("churn", "Champion", reason="x"),
        ):
            error = refused(far.url, call)
            assert isinstance(error, VendorUnavailableError)
            assert error.outcome_unknown
            assert "look before you repeat it" in str(error)
        assert [request.partition(" ")[0] for request in far.seen] == ["PUT", "DELETE"]


def test_a_service_that_is_not_there_is_tried_three_times_and_is_exit_code_4() -> None:
    with far_end(drop) as far:
        error = refused(far.url, lambda api: api.promotion("p-1"))
        assert len(far.seen) == 3
    assert exit_code(error) == 4
    assert "champion-gate serve" in str(error)


def test_an_answer_that_drips_ends_with_the_deadline() -> None:
    with far_end(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{")) as far:
        with client(far.url, total_seconds=0.5) as api, pytest.raises(VendorUnavailableError) as caught:
            api.promotion("p-1")
        assert "no whole answer within 0.5 s" in str(caught.value)


# --- refusals and what is no answer of ours ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "exits"),
    [
        (401, "not_authenticated", 3),
        (403, "not_permitted", 3),
        (404, "not_found", 1),
        (409, "conflict", 1),
        (409, "alias_busy", 4),
        (412, "precondition_failed", 1),
        (422, "invalid_input", 1),
        (429, "too_many_attempts", 4),
        (500, "internal", 1),
        (502, "vendor_refused", 1),
        (503, "vendor_unavailable", 4),
    ],
)
def test_the_services_refusals_keep_their_words_and_get_exit_codes(
    status: int, code: str, exits: int
) -> None:
    with far_end(problem(status, code=code, detail="It is so.", hint="Do that.")) as far:
        error = refused(far.url, lambda api: api.promotion("p-1"))
        assert len(far.seen) == 1
    assert isinstance(error, ServiceError)
    assert (str(error), error.code, error.status) == ("It is so. Do that.", code, status)
    assert exit_code(error) == exits


def test_nothing_of_a_refusal_is_obeyed_by_a_terminal() -> None:
    with far_end(problem(409, code="\x1b[2J", detail="on hold by a\nb \x1b[31m\u202e", hint="\x9b1m")) as far:
        error = refused(far.url, lambda api: api.promotion("p-1"))
    assert not set(f"{error} {error.code}") & set("\n\x1b\x9b\u202e")
    assert str(error) == "on hold by a\\nb \\x1b[31m\\u202e \\x9b1m"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with far_end(answer(200, PROMOTION)) as elsewhere:
        moved = answer(status, "", Location=f"{elsewhere.url}/x")
        with far_end(moved) as far:
            error = refused(far.url, lambda api: api.promotion("p-1"))
        assert elsewhere.seen == []
    assert str(status) in str(error)
    assert exit_code(error) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_a_service_behind_it_is_a_matter_of_time(status: int) -> None:
    with far_end(answer(status, "<h1>Bad</h1>", Content_Type="text/html")) as far:
        error = refused(far.url, lambda api: api.promotion("p-1"))
    assert isinstance(error, VendorUnavailableError)
    assert exit_code(error) == 4


@pytest.mark.parametrize("body", ["", "<x>", "[]", '"x"', "null", "[" * 100_000])
def test_what_is_no_json_object_is_no_answer(body: str) -> None:
    with far_end(answer(200, body)) as far:
        error = refused(far.url, lambda api: api.promotion("p-1"))
    assert "cannot be read" in str(error)


PAGE = "<!DOCTYPE html><html><body>Sign in</body></html>"


@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_a_proxys_page_to_sign_in_is_called_a_web_page(status: int) -> None:
    for call in (
        lambda api: api.promotion("p-1"),
        lambda api: api.evidence("p-1"),
        lambda api: api.cancel("p-1", reason="x"),
    ):
        with far_end(answer(status, PAGE, Content_Type="text/html")) as far:
            error = refused(far.url, call)
            assert len(far.seen) == 1
        assert "a web page in place of JSON" in str(error)
        assert "Sign in" not in str(error)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"promotions": None, "cursor": None},
        {"promotions": ["x"], "cursor": None},
        {"promotions": [], "cursor": 5},
    ],
)
def test_a_list_that_is_none_is_no_answer(body: object) -> None:
    with far_end(answer(200, body)) as far:
        error = refused(far.url, lambda api: list(api.promotions()))
    assert "cannot be read" in str(error)


def test_an_endless_answer_is_not_read() -> None:
    too_long = answer(200, '{"x": "' + "x" * (17 * 1024 * 1024) + '"}')
    with far_end(too_long) as far:
        error = refused(far.url, lambda api: api.hold("churn", "Champion", reason="x"))
    assert "more than 16777216 bytes" in str(error)


# --- where it is, and the token ----------------------------------------------------------------------------


def access(url: str | None = None, **environ: str) -> ApiAccess | None:
    return load_api_access({f"CHAMPION_GATE_{name}": text for name, text in environ.items()}, url)


def test_without_an_address_the_local_database_is_meant() -> None:
    assert access() is None
    assert access(API_URL="", TOKEN=TOKEN) is None


def test_the_option_stands_before_the_variable() -> None:
    found = access("https://two.example.com/gate/", API_URL="https://one.example.com", TOKEN=TOKEN)
    assert found == ApiAccess("https://two.example.com/gate", SecretStr(TOKEN))
    assert TOKEN not in repr(found)


@pytest.mark.parametrize(
    "url", ["http://gate.example.com", "ftp://x", "gate", "https://u:geheim@x", "https://x/?a"]
)
@pytest.mark.parametrize("by_option", [True, False])
def test_an_address_that_is_not_safe_is_refused_and_not_shown(url: str, *, by_option: bool) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = access(url, TOKEN=TOKEN) if by_option else access(API_URL=url, TOKEN=TOKEN)
    assert "expected" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert not by_option or "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8765", "http://localhost:8765", "http://[::1]:8765"])
def test_plain_http_reaches_this_machine_only(url: str) -> None:
    found = access(url, TOKEN=TOKEN)
    assert found is not None
    assert found.url == url


@pytest.mark.parametrize("token", ["", "two words", "übel", "line\nend"])
def test_an_address_needs_a_token_that_can_be_sent(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        access("https://gate.example.com", TOKEN=token)
    assert "CHAMPION_GATE_TOKEN" in str(caught.value)
    assert not token or token not in str(caught.value)


def test_plain_http_does_not_pass_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with far_end(answer(200, PROMOTION)) as proxy, far_end(answer(200, PROMOTION)) as far:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with client(far.url) as api:
            api.promotion("p-1")
        assert (len(proxy.seen), len(far.seen)) == (0, 1)
