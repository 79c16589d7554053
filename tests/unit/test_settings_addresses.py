"""Addresses: one spelling for each host, and nothing in them that could lead elsewhere."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain.addresses import host_of, is_loopback, web_address


@pytest.mark.parametrize(
    ("text", "address", "host"),
    [
        ("https://api.github.com", "https://api.github.com", "api.github.com"),
        ("https://API.GitHub.com:443/", "https://api.github.com", "api.github.com"),
        (
            "https://ghes.example.com:8443/api/v3/",
            "https://ghes.example.com:8443/api/v3",
            "ghes.example.com:8443",
        ),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("http://localhost:80", "http://localhost", "localhost"),
        ("http://[::1]:5000", "http://[::1]:5000", "[::1]:5000"),
        ("https://10.0.0.7/mlflow", "https://10.0.0.7/mlflow", "10.0.0.7"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str, host: str) -> None:
    assert web_address(text) == address
    assert host_of(address) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "https://",
        "https://:443",
        "https://user@example.com",
        "https://user:pass@example.com",
        "https://@example.com",
        "https://example.com?x",
        "https://example.com?",
        "https://example.com#",
        "https://example.com/../x",
        "https://example.com/%2e%2e/x",
        "https://example.com\\@evil.example.com",
        "https://exa mple.com",
        "https://example.com\n",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:x",
        "https://[::1",
        "https://exämple.com",
        "http://example.com",
        "http://10.0.0.7",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
    ],
)
def test_an_address_that_leads_elsewhere_or_nowhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        web_address(text)
    assert ":pass" not in str(caught.value)


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True)])
def test_loopback_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.com", "localhost.example.com", "", "127.1"])
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)


@given(st.text("htps:/@?#%.[]a1-\\ \n", max_size=40).map(lambda end: "https://" + end))
def test_what_is_taken_is_stable_and_free_of_credentials(text: str) -> None:
    try:
        address = web_address(text)
    except ValueError:
        return
    parts = urlsplit(address)
    assert web_address(address) == address
    assert "@" not in parts.netloc
    assert not parts.query
    assert not parts.fragment
    assert parts.netloc == host_of(address)
