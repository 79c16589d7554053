"""What the doctor says of signing in to the dashboard."""

from __future__ import annotations

from typing import Any

import pytest

from champion_gate.adapters.oidc.checks import checkups
from champion_gate.domain.findings import Verdict
from champion_gate.domain.together import Together
from champion_gate.errors import VendorUnavailableError
from champion_gate.flow.doctor import examine

URL = "https://gate.example.com"
ISSUER = "https://login.example.com"


class Known:
    """An issuer that knows the dashboard, and is there or away."""

    host = "login.example.com"

    def __init__(self, *, away: bool = False) -> None:
        self.away = away

    def endpoints(self) -> None:
        if self.away:
            raise VendorUnavailableError("the issuer", "GET failed: no answer.")


@pytest.mark.parametrize(
    ("url", "issuer", "sign_in", "told"),
    [
        (URL, None, None, [(Verdict.OK, "people sign in with API tokens")]),
        (None, None, None, [(Verdict.OK, "people sign in with API tokens")]),
        (URL, ISSUER, Known(), [(Verdict.OK, f"which sends them back to {URL}/sign-in/callback")]),
        (URL, ISSUER, Known(away=True), [(Verdict.NOT_KNOWN, "no answer")]),
        (URL, ISSUER, None, [(Verdict.WARNING, "cannot sign in to the dashboard")]),
        ("http://127.0.0.1:8080", None, None, [(Verdict.OK, "API tokens")]),
        ("http://localhost:8080", None, None, [(Verdict.OK, "API tokens")]),
        (
            "http://gate.example.com",
            None,
            None,
            [(Verdict.WARNING, "no https:// address"), (Verdict.OK, "tokens")],
        ),
        (f"{URL}/gate", None, None, [(Verdict.WARNING, "has a path"), (Verdict.OK, "tokens")]),
    ],
)
def test_it_says_whether_people_get_in(
    url: str | None, issuer: str | None, sign_in: Any, told: list[tuple[Verdict, str]]
) -> None:
    found = examine(checkups(url, issuer, sign_in), Together())
    assert [each.verdict for each in found] == [verdict for verdict, _ in told]
    assert all(words in each.found for each, (_, words) in zip(found, told, strict=True))
    assert all(each.remedy for each in found if each.verdict is not Verdict.OK)
