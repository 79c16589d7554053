"""Which accounts logins stand for, through the API: shown to viewers, changed by operators, on record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.api_world import VIEWER, ApiWorld, api_world

pytestmark = pytest.mark.spread(2)

IDENTITIES = "/api/v1/identities"
TRAINER = f"{IDENTITIES}/github/octo-trainer"
REASON = {"reason": "asked her"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path) as world:
        world.gate.ask()
        yield world


def taken_over(api: ApiWorld) -> tuple[str, str]:
    """The login changes hands, and a request waits for that; both numbers."""
    github = api.gate.github
    before = github.state.user("octo-trainer").id
    github.rename_user("octo-trainer", "octo-hidden")
    now = github.add_user("octo-trainer")
    api.gate.train()
    api.gate.settle()
    api.gate.promotion(Phase.REQUESTED)
    return str(before), str(now)


def test_a_viewer_sees_whose_the_logins_are(api: ApiWorld) -> None:
    before, now = taken_over(api)
    (found,) = api.call("GET", IDENTITIES, token=VIEWER).json()["identities"]
    assert (found["provider"], found["login"]) == ("github", "octo-trainer")
    assert (found["user_id"], found["other_id"]) == (before, now)
    assert found["accounts"] == [
        {"trainer": "trainer@example.com", "alias": None, "user_id": each} for each in sorted([before, now])
    ]


def test_an_operator_accepts_the_account_that_has_the_login_now(api: ApiWorld) -> None:
    _, now = taken_over(api)
    api.problem(403, "not_permitted", "POST", f"{TRAINER}/accept", REASON, token=VIEWER)
    api.problem(409, "conflict", "POST", f"{TRAINER}/accept", {**REASON, "user_id": "77"})
    first = api.call("POST", f"{TRAINER}/accept", {**REASON, "user_id": now}, Idempotency_Key="k-1")
    assert first.status_code == 200
    assert (first.json()["user_id"], first.json()["other_id"]) == (now, None)
    again = api.call("POST", f"{TRAINER}/accept", {**REASON, "user_id": now}, Idempotency_Key="k-1")
    assert again.json() == first.json()
    api.problem(409, "conflict", "POST", f"{TRAINER}/accept", REASON)
    api.gate.settle()
    (line, *_) = api.gate.store.ledger_lines()
    assert (line.entry.kind.value, line.entry.actor, line.entry.reason) == (
        "identity",
        "operator-1",
        "asked her",
    )
    assert line.entry.facts["authenticated_by"] == "API token a"
    assert line.entry.facts["address"] == "127.0.0.1"


def test_an_operator_forgets_a_login_in_whatever_case(api: ApiWorld) -> None:
    path = f"{IDENTITIES}/github/OCTO-Trainer/forget"
    api.problem(403, "not_permitted", "POST", path, REASON, token=VIEWER)
    forgotten = api.call("POST", path, REASON)
    assert forgotten.status_code == 200
    assert forgotten.json()["login"] == "octo-trainer"
    assert api.call("GET", IDENTITIES).json() == {"identities": []}
    api.problem(404, "not_found", "POST", path, REASON)
    api.gate.look()
    api.gate.promotion(Phase.PENDING_APPROVAL)


@pytest.mark.parametrize(
    "body",
    [{}, {"reason": " "}, {**REASON, "user_id": 7}, {**REASON, "user_id": "x"}, {**REASON, "id": "7"}],
)
def test_an_order_without_a_reason_or_of_another_form_is_refused(
    api: ApiWorld, body: dict[str, object]
) -> None:
    api.problem(422, "invalid_input", "POST", f"{TRAINER}/accept", body)


@pytest.mark.parametrize("login", ["nobody", "%00", "a%2Fb", "%F0%9F%A6%86", "x" * 300])
@pytest.mark.parametrize("what", ["accept", "forget"])
def test_nothing_is_known_of_other_logins(api: ApiWorld, login: str, what: str) -> None:
    answer = api.gate.store.ledger_head()
    for provider in ("github", "gitlab", "%27"):
        if login == "a%2Fb":
            continue
        api.problem(404, "not_found", "POST", f"{IDENTITIES}/{provider}/{login}/{what}", REASON)
    assert api.gate.store.ledger_head() == answer
