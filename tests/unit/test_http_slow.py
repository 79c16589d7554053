"""Servers that hang, drip or send too much, and those that TLS must not trust."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest
import trustme

from champion_gate.adapters.http.client import ApiClient
from champion_gate.errors import ConfigurationError, VendorUnavailableError
from unit.far_end import DRIPPING, HANGING, QUICK, Key, answer, client_of, drip, far_end, hang

# --- hanging ----------------------------------------------------------------------------------------------


def test_a_get_that_hangs_is_tried_three_times() -> None:
    with far_end(hang, hang, answer(body=1)) as far, client_of(far.url, timeouts=HANGING) as client:
        assert client.get("/x", auth=Key()) == 1
        assert len(far.seen) == 3


def test_no_further_try_is_begun_that_would_end_after_the_deadline() -> None:
    pauses: list[float] = []
    with far_end(hang) as far, client_of(far.url, pauses, timeouts=QUICK) as client:
        with pytest.raises(VendorUnavailableError, match=r"no answer within 0\.5 s"):
            client.get("/x", auth=Key())
        assert len(far.seen) == 2
    assert pauses == [0.5]


def test_a_post_that_hangs_is_sent_once_and_leaves_doubt() -> None:
    with far_end(hang) as far, client_of(far.url, timeouts=HANGING) as client:
        with pytest.raises(VendorUnavailableError) as caught:
            client.post("/x", auth=Key(), body={})
        assert caught.value.outcome_unknown
        assert len(far.seen) == 1


# --- slow and big answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless:",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n",
    ],
    ids=["body", "body without length", "header", "chunk"],
)
def test_a_server_that_drips_is_cut_off_at_the_deadline(before: bytes) -> None:
    began = time.monotonic()
    with far_end(drip(before)) as far, client_of(far.url, timeouts=DRIPPING) as client:
        with pytest.raises(VendorUnavailableError, match=r"no whole answer within 0\.7 s"):
            client.get("/x", auth=Key())
        assert len(far.seen) == 1
    assert time.monotonic() - began < 10


def test_a_dripping_answer_to_a_post_leaves_doubt() -> None:
    with far_end(drip(b"HTTP/1.1 200 OK\r\n\r\n")) as far, client_of(far.url, timeouts=DRIPPING) as client:
        with pytest.raises(VendorUnavailableError) as caught:
            client.post("/x", auth=Key(), body={})
        assert caught.value.outcome_unknown


def test_a_proxy_that_drips_before_the_tunnel_stands_is_cut_off_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = time.monotonic()
    with far_end(drip(b"HTTP/1.1 200 OK\r\nX-Endless:")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        with (
            client_of("https://vendor.example/api", timeouts=DRIPPING) as client,
            pytest.raises(VendorUnavailableError, match="the proxy on the way"),
        ):
            client.get("/x", auth=Key())
        assert [asked.split()[0] for asked in proxy.seen] == ["CONNECT"]
    assert time.monotonic() - began < 10


def test_an_answer_over_the_cap_is_an_error() -> None:
    with (
        far_end(answer(body="x" * 5000)) as far,
        client_of(far.url, max_answer_bytes=4000) as client,
        pytest.raises(VendorUnavailableError, match="more than 4000 bytes"),
    ):
        client.get("/x", auth=Key())


@pytest.mark.parametrize("body", ["", "<html>", '{"a":', "[" * 100_000])
def test_what_is_no_json_is_unreadable(body: str) -> None:
    with (
        far_end(answer(200, body)) as far,
        client_of(far.url) as client,
        pytest.raises(VendorUnavailableError, match=r"no JSON|in place of JSON"),
    ):
        client.get("/x", auth=Key())


def test_a_cut_answer_is_no_answer() -> None:
    short = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"approved": true}'

    def cut(connected: socket.socket) -> None:
        connected.sendall(short)

    with far_end(cut) as far, client_of(far.url) as client, pytest.raises(VendorUnavailableError):
        client.get("/x", auth=Key())


# --- TLS --------------------------------------------------------------------------------------------------


def test_a_private_authority_is_trusted_only_if_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(tmp_path / "ours.pem"))
    others.cert_pem.write_to_path(str(tmp_path / "others.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("127.0.0.1").configure_cert(context)

    def tls(raw: socket.socket) -> socket.socket:
        return context.wrap_socket(raw, server_side=True)

    # The environment's bundle must not stand in for the one that was configured, nor spoil it.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "others.pem"))
    with far_end(answer(body=1), tls=tls) as far:
        url = far.url.replace("http:", "https:")
        with client_of(url, ca_file=str(tmp_path / "ours.pem")) as client:
            assert client.get("/x", auth=Key()) == 1
        with client_of(url, ca_file=str(tmp_path / "others.pem")) as client:
            with pytest.raises(VendorUnavailableError, match="certificate") as caught:
                client.post("/x", auth=Key(), body={})
            assert not caught.value.outcome_unknown


def test_a_dripping_tls_server_is_cut_off_too(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def tls(raw: socket.socket) -> socket.socket:
        return context.wrap_socket(raw, server_side=True)

    with far_end(drip(b"HTTP/1.1 200 OK\r\n\r\n"), tls=tls) as far:
        url = far.url.replace("http:", "https:")
        with (
            client_of(url, ca_file=str(tmp_path / "ca.pem"), timeouts=DRIPPING) as client,
            pytest.raises(VendorUnavailableError, match=r"within 0\.7 s"),
        ):
            client.get("/x", auth=Key())


def test_an_authority_file_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        ApiClient(vendor="Vendor", base_url="https://x.example", ca_file="/nowhere.pem")
