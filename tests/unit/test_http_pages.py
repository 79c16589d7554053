"""Web pages in place of JSON, from GitHub, GitLab or what stands before them, and what a person is told."""

from __future__ import annotations

import pytest

from champion_gate.adapters.github.calls import LIMITS
from champion_gate.adapters.http.answer import Answer, is_web_page
from champion_gate.errors import (
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from unit.far_end import Key, answer, client_of, far_end

LOGIN = "\n <!DOCTYPE html><html><head><title>Sign in</title></head></html>"


def answered(status: int, body: str, **headers: str) -> VendorError:
    raw = body.encode()
    return Answer("GitHub", "GET /x", status, headers, raw, may_have_acted=False, limits=LIMITS).error()


@pytest.mark.parametrize(
    ("status", "body", "kind", "advice", "waits"),
    [
        (401, '{"message": "Bad credentials"}', VendorRefusedError, "credentials", True),
        (401, LOGIN, VendorRefusedError, "a login or a proxy", True),
        (403, '{"message": "Resource not accessible"}', VendorRefusedError, "lack a permission", False),
        (403, LOGIN, VendorRefusedError, "a login or a proxy", True),
        (403, '{"message": "API rate limit exceeded"}', VendorUnavailableError, "rate limit", False),
        (404, '{"message": "Not Found"}', VendorNotFoundError, "our credentials do not show it", False),
        (404, LOGIN, VendorRefusedError, "a login or a proxy", True),
        (407, LOGIN, VendorRefusedError, "a login or a proxy", True),
        (302, "", VendorRefusedError, "a login or a proxy", True),
        (301, "", VendorRefusedError, "renamed or moved", False),
        (429, "", VendorUnavailableError, "rate limit", False),
        (500, "", VendorUnavailableError, "tried again by itself", False),
        (502, LOGIN, VendorUnavailableError, "tried again by itself", False),
        (503, LOGIN, VendorUnavailableError, "tried again by itself", False),
    ],
)
def test_each_answer_has_its_kind_and_its_advice(
    status: int, body: str, kind: type[VendorError], advice: str, *, waits: bool
) -> None:
    error = answered(status, body)
    assert type(error) is kind
    assert advice in error.hint
    assert getattr(error, "concerns_all", False) is waits
    if body == LOGIN:
        assert f"answered with {status} and a web page in place of JSON" in error.message
    assert "<" not in str(error)


def test_a_login_page_with_200_is_called_one() -> None:
    with far_end(answer(body=LOGIN)) as far, client_of(far.url) as client:
        with pytest.raises(VendorUnavailableError, match="200 and a web page in place of JSON") as caught:
            client.get("/x", auth=Key())
        assert "`url` in gates.yaml" in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        LOGIN,
        "<html>",
        "\ufeff<HTML lang='de'>",
        "<!-- a proxy's --><html>",
        "<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC>",
        "<head><title>x</title>",
    ],
)
def test_a_web_page_is_known_by_its_beginning(body: str) -> None:
    assert is_web_page(body)
    assert is_web_page(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '{"message": "<html>"}',
        "Permission denied",
        "<?xml version='1.0'?><Error/>",
        "<3 html",
        "\xff\xfe",
    ],
)
def test_anything_else_is_none(body: str) -> None:
    assert not is_web_page(body)
    assert not is_web_page(body.encode("latin-1", "replace"))
