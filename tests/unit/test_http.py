"""The one way in which we call a vendor's JSON API."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.auth import HeaderTokens
from champion_gate.adapters.http.client import ApiClient
from champion_gate.domain.names import joined
from champion_gate.errors import (
    InvalidNameError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from secret_samples import SECRETS, telling
from unit.far_end import Far, Key, answer, client_of, drop, far_end

# --- paths ------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=30).filter(lambda part: part not in {".", ".."}))
def test_a_part_of_a_path_stays_one_part(part: str) -> None:
    with suppress(UnicodeEncodeError):
        path = joined("repos", part)
        assert path.count("/") == 2
        assert not set("?#% ").intersection(path.replace("%", "", path.count("%")))


@pytest.mark.parametrize("part", ["", ".", ".."])
def test_a_part_that_would_climb_is_refused(part: str) -> None:
    with pytest.raises(InvalidNameError):
        joined("repos", part, "x")


def test_an_encoded_part_reaches_the_server_as_it_is() -> None:
    with far_end(answer(body=1)) as far, client_of(far.url) as client:
        client.get(joined("a/b", "c d?e#%2F"), auth=Key())
        assert far.seen[0].startswith("GET /api/a%2Fb/c%20d%3Fe%23%252F HTTP/1.1")


# --- what is sent -----------------------------------------------------------------------------------------


def test_our_headers_and_credentials_are_sent_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with far_end(answer(body={}, Set_Cookie="a=b; Path=/")) as far, client_of(far.url) as client:
        client.get("/x", auth=Key())
        client.post("/x", auth=Key(), body={"ü": 1})
    assert all("Authorization: Bearer secret-0" in request for request in far.seen)
    assert all("X-Ours: yes" in request for request in far.seen)
    assert all("cookie" not in request.lower() for request in far.seen)
    assert far.seen[1].endswith('{"ü": 1}')


def test_a_redirect_is_not_followed() -> None:
    with far_end(answer(body=1)) as other, far_end(answer(302, "", Location=f"{other.url}/y")) as far:
        with client_of(far.url) as client, pytest.raises(VendorRefusedError, match="302"):
            client.get("/x", auth=Key())
        assert other.seen == []


# --- retries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [answer(500, {}), answer(502, "<html>"), answer(408, {}), drop])
def test_a_get_is_tried_three_times(trouble: bytes | Callable[[socket.socket], None]) -> None:
    pauses: list[float] = []
    with far_end(trouble, trouble, answer(body={"ok": 1})) as far, client_of(far.url, pauses) as client:
        assert client.get("/x", auth=Key()) == {"ok": 1}
        assert len(far.seen) == 3
    assert pauses == [0.5, 1.0]


def test_after_three_tries_it_is_unavailable() -> None:
    with far_end(answer(500, {"message": "boom"})) as far, client_of(far.url) as client:
        with pytest.raises(VendorUnavailableError, match="Vendor: GET /api/x was answered with 500: boom"):
            client.get("/x", auth=Key())
        assert len(far.seen) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 418, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    with far_end(answer(status, {"message": "no"})) as far, client_of(far.url) as client:
        with pytest.raises(VendorRefusedError) as caught:
            client.get("/x", auth=Key())
        assert len(far.seen) == 1
        assert isinstance(caught.value, VendorNotFoundError) is (status == 404)


@pytest.mark.parametrize(("status", "advice"), [(407, "HTTPS_PROXY"), (413, "client_max_body_size")])
def test_a_proxys_refusal_is_no_answer_about_what_was_asked(status: int, advice: str) -> None:
    with (
        far_end(answer(status, {})) as far,
        client_of(far.url) as client,
        pytest.raises(VendorRefusedError) as caught,
    ):
        client.post("/x", auth=Key(), body={})
    assert caught.value.concerns_all
    assert advice in caught.value.hint


@pytest.mark.parametrize("trouble", [answer(500, {}), answer(504, {}), drop])
def test_a_post_is_sent_once_and_its_outcome_is_unknown(
    trouble: bytes | Callable[[socket.socket], None],
) -> None:
    with far_end(trouble) as far, client_of(far.url) as client:
        with pytest.raises(VendorUnavailableError) as caught:
            client.post("/x", auth=Key(), body={})
        assert caught.value.outcome_unknown
        assert len(far.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_a_refused_post_leaves_no_doubt(status: int) -> None:
    with far_end(answer(status, {})) as far, client_of(far.url) as client:
        with pytest.raises(VendorError) as caught:
            client.post("/x", auth=Key(), body={})
        assert not caught.value.outcome_unknown


def test_a_post_that_never_left_leaves_no_doubt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}") as client, pytest.raises(VendorUnavailableError) as caught:
        client.post("/x", auth=Key(), body={})
    assert not caught.value.outcome_unknown


def test_a_post_that_may_be_repeated_is_and_has_no_doubt() -> None:
    with far_end(drop, answer(201, {"made": 1})) as far, client_of(far.url) as client:
        assert client.post("/x", auth=Key(), body={}, repeatable=True).json() == {"made": 1}
        assert len(far.seen) == 2


def test_an_accepted_status_is_an_answer() -> None:
    with far_end(answer(409, {"message": "late"})) as far, client_of(far.url) as client:
        assert client.post("/x", auth=Key(), accept=(409,)).message() == "late"


def test_a_401_renews_the_credentials_once_even_for_a_post() -> None:
    with far_end(answer(401, {}), answer(body=1)) as far, client_of(far.url) as client:
        client.post("/x", auth=Key(renewals=1), body={})
        assert "secret-1" in far.seen[1]
    with far_end(answer(401, {})) as far, client_of(far.url) as client:
        with pytest.raises(VendorRefusedError):
            client.get("/x", auth=Key(renewals=5))
        assert len(far.seen) == 2


# --- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {}, 60.0),
        (429, {"Retry_After": "5"}, 5.0),
        (403, {"Retry_After": "999999"}, 3600.0),
        (
            403,
            {
                "X_RateLimit_Remaining": "0",
                "X_RateLimit_Reset": "1792569000",
                "Date": "Wed, 21 Oct 2026 07:40:00 GMT",
            },
            600.0,
        ),
        (403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}, 60.0),
        (503, {"Retry_After": "9"}, 9.0),
    ],
)
def test_a_limit_names_the_seconds_to_wait(status: int, headers: dict[str, str], seconds: float) -> None:
    with far_end(answer(status, {}, **headers)) as far, client_of(far.url) as client:
        with pytest.raises(VendorUnavailableError) as caught:
            client.get("/x", auth=Key())
        assert caught.value.retry_after == seconds
        assert len(far.seen) == 1


def test_two_calls_that_are_refused_at_once_take_the_next_token_once() -> None:
    auth = HeaderTokens("Authorization", ["Bearer old", "Bearer new"])
    sent_by_both = auth.headers()
    assert auth.renew(sent_by_both)
    assert auth.renew(sent_by_both)
    assert auth.headers() == {"Authorization": "Bearer new"}


# --- conditional requests ---------------------------------------------------------------------------------


def kept(client: ApiClient, path: str = "/x") -> list[object]:
    return client.get_kept_pages(path, auth=Key(), read=lambda page: ("taken", page))


def test_of_a_page_that_has_not_changed_what_was_taken_stands() -> None:
    read: list[object] = []

    def take(page: object) -> str:
        read.append(page)
        return "taken"

    with (
        far_end(answer(body={"n": 1}, ETag='"a"'), b"HTTP/1.1 304 X\r\n\r\n") as far,
        client_of(far.url) as client,
    ):
        for _ in range(2):
            assert client.get_kept_pages("/x", auth=Key(), read=take) == ["taken"]
        assert read == [{"n": 1}]
        assert "If-None-Match" not in far.seen[0]
        assert 'If-None-Match: "a"' in far.seen[1]


def test_a_page_that_has_changed_is_taken_anew() -> None:
    answers = (answer(body=1, ETag='"a"'), answer(body=2, ETag='"b"'), b"HTTP/1.1 304 X\r\n\r\n")
    with far_end(*answers) as far, client_of(far.url) as client:
        assert [kept(client) for _ in range(3)] == [[("taken", 1)], [("taken", 2)], [("taken", 2)]]
        assert 'If-None-Match: "b"' in far.seen[2]


def test_the_next_page_of_one_that_has_not_changed_is_asked_for_too() -> None:
    with far_end(b"") as far, client_of(far.url) as client:
        first = answer(body=[1], ETag='"a"', Link=f'<{far.url}/x?page=2>; rel="next"')
        unchanged = b"HTTP/1.1 304 X\r\n\r\n"
        far.answers[:] = [first, answer(body=[2], ETag='"b"'), unchanged, answer(body=[3], ETag='"c"')]
        assert kept(client) == [("taken", [1]), ("taken", [2])]
        assert kept(client) == [("taken", [1]), ("taken", [3])]


@pytest.mark.parametrize("etag", ["*", "a", "", 'W/"a", "b"'])
def test_what_is_no_etag_is_not_asked_with(etag: str) -> None:
    """With `*` a server says 304 to whatever there is (RFC 9110, 13.1.2)."""
    with far_end(answer(body=0, ETag=etag)) as far, client_of(far.url) as client:
        assert [kept(client), kept(client)] == [[("taken", 0)]] * 2
        assert not [request for request in far.seen if "If-None-Match" in request]


def test_no_more_pages_are_kept_than_were_allowed() -> None:
    with far_end(answer(body=0, ETag='"a"')) as far, client_of(far.url, max_kept_pages=2) as client:
        for number in (1, 2, 3, 1, 3):
            with suppress(VendorUnavailableError):
                kept(client, f"/{number}")
        asked_with_etag = [request.split()[1] for request in far.seen if "If-None-Match" in request]
        assert asked_with_etag == ["/api/3"]


def test_a_304_that_nobody_asked_for_is_no_answer() -> None:
    with far_end(b"HTTP/1.1 304 X\r\n\r\n") as far, client_of(far.url) as client, pytest.raises(VendorError):
        kept(client)


# --- pages ------------------------------------------------------------------------------------------------


def _next(far: Far, url: str) -> None:
    far.answers[0] = answer(body=[1], Link=f'<{url}>; rel="next", <{url}>; rel="last"')


def as_it_is(page: object) -> object:
    return page


def test_all_pages_are_read() -> None:
    with far_end(b"", answer(body=[2])) as far, client_of(far.url) as client:
        _next(far, f"{far.url}/x?page=2")
        assert client.get_pages("/x", auth=Key(), read=as_it_is, params={"per_page": "100"}) == [[1], [2]]
        assert far.seen[0].startswith("GET /api/x?per_page=100 ")
        assert far.seen[1].startswith("GET /api/x?page=2 ")


def test_what_is_needed_of_a_page_is_taken_before_the_next_one_comes() -> None:
    with far_end(b"", answer(body=[2])) as far, client_of(far.url) as client:
        _next(far, f"{far.url}/x?page=2")
        pages_that_had_come = client.get_pages("/x", auth=Key(), read=lambda _: len(far.seen))
        assert pages_that_had_come == [1, 2]


def test_more_pages_than_are_read_is_an_error() -> None:
    with far_end(b"") as far, client_of(far.url) as client:
        far.answers[:] = [
            answer(body=[1], Link=f'<{far.url}/x?page={number}>; rel="next"') for number in range(2, 9)
        ]
        with pytest.raises(VendorRefusedError, match="more than 3 pages"):
            client.get_pages("/x", auth=Key(), read=as_it_is, max_pages=3)
        assert len(far.seen) == 3


@pytest.mark.parametrize(
    "named",
    [
        "https://127.0.0.1:{port}/api/x",
        "http://127.0.0.1:1/api/x",
        "http://gitlab.example.com/api/x",
        "https://gitlab.example.com:8443/api/x",
        "//gitlab.example.com/api/x",
        "/api/x",
        "http://127.0.0.1:{port}/behind/the/proxy/api/x",
        "http://gitlab.example.com/x",
    ],
)
def test_a_server_that_calls_itself_otherwise_is_asked_where_we_reach_it(named: str) -> None:
    with far_end(b"", answer(body=[2])) as far, client_of(far.url) as client:
        _next(far, f"{named.format(port=far.port)}?per_page=100&page=2#there")
        assert client.get_pages("/x", auth=Key(), read=as_it_is, params={"per_page": "100"}) == [[1], [2]]
        assert far.seen[1].startswith("GET /api/x?per_page=100&page=2 ")


def test_a_cursor_reaches_the_server_as_it_gave_it() -> None:
    with far_end(b"", answer(body=[2])) as far, client_of(far.url) as client:
        _next(far, "http://gitlab.example.com/api/x?cursor=eyJpZCI6%2BMX0%3D&pagination=keyset")
        client.get_pages("/x", auth=Key(), read=as_it_is)
        assert far.seen[1].startswith("GET /api/x?cursor=eyJpZCI6%2BMX0%3D&pagination=keyset ")


def test_a_path_may_be_encoded_otherwise() -> None:
    with far_end(b"", answer(body=[2])) as far, client_of(far.url) as client:
        _next(far, f"{far.url}/a+b%2fc?page=2")
        assert client.get_pages(joined("a+b/c"), auth=Key(), read=as_it_is) == [[1], [2]]


def test_a_list_may_be_known_by_the_end_of_its_path() -> None:
    with far_end(b"", answer(body=[2])) as far, client_of(far.url) as client:
        _next(far, f"{far.url}/repositories/5/runs?page=2")
        assert client.get_pages("/repos/a/b/runs", auth=Key(), read=as_it_is, list_path="/runs") == [[1], [2]]
        assert far.seen[1].startswith("GET /api/repos/a/b/runs?page=2 ")


@pytest.mark.parametrize("path", ["/api/y", "/api/xx", "/api", "", "/api/x/", "/api/x/y"])
def test_a_next_page_of_another_list_is_not_read(path: str) -> None:
    with far_end(b"") as far, client_of(far.url) as client:
        _next(far, f"http://127.0.0.1:{far.port}{path}?page=2")
        with pytest.raises(VendorRefusedError, match=r"which is another list.*proxy"):
            client.get_pages("/x", auth=Key(), read=as_it_is)
        assert len(far.seen) == 1


def test_a_next_page_whose_address_is_none_is_an_error() -> None:
    with far_end(b"") as far, client_of(far.url) as client:
        _next(far, "http://[x/api/x?page=2")
        with pytest.raises(VendorUnavailableError, match="cannot be read"):
            client.get_pages("/x", auth=Key(), read=as_it_is)


@pytest.mark.parametrize("query", ["?page=2", "", "?"])
def test_a_page_that_names_itself_as_the_next_one_is_an_error(query: str) -> None:
    with far_end(b"") as far, client_of(far.url) as client:
        _next(far, f"{far.url}/x{query}")
        with pytest.raises(VendorRefusedError, match=r"was read before.*proxy"):
            client.get_pages("/x", auth=Key(), read=as_it_is, params={"page": "1"})
        assert len(far.seen) == 2


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:{port}/api/x", "//127.0.0.1:{port}/api/x"])
def test_nobody_else_is_called_for_a_next_page(elsewhere: str) -> None:
    with far_end(answer(body=[3])) as other, far_end(b"", answer(body=[2])) as far:
        with client_of(far.url) as client:
            _next(far, f"{elsewhere.format(port=other.port)}?page=2")
            assert client.get_pages("/x", auth=Key(), read=as_it_is) == [[1], [2]]
        assert other.seen == []


# --- messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", SECRETS)
def test_a_vendors_message_is_told_without_what_looks_like_a_secret(secret: str) -> None:
    body = json.dumps({"message": f"the\n key {secret} is bad " + "x" * 500}).encode()
    told = str(Answer("Vendor", "GET /x", 403, {}, body, may_have_acted=False).error())
    assert telling(secret) not in told
    assert "[redacted]" in told
    assert "\n" not in told
    assert len(told) < 400


@given(st.integers(min_value=300, max_value=599), st.binary(max_size=200))
def test_every_status_and_body_is_some_error_of_ours(status: int, body: bytes) -> None:
    error = Answer("Vendor", "POST /x", status, {}, body, may_have_acted=True).error()
    assert isinstance(error, VendorError)
    assert error.outcome_unknown is (status >= 500 or status == 408)
