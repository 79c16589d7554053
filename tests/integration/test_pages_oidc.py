"""Signing in to the pages at an identity provider, and what a thief, a forger or a wrong provider may try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from champion_gate.domain.callers import Role
from integration.identity_provider import IdentityProvider, identity_provider, query_of
from integration.pages_world import VISITOR, Browser, PagesWorld, app_of, pages_world, words


@dataclass
class World:
    """The pages, and the provider."""

    pages: PagesWorld
    there: IdentityProvider
    ca_file: str

    def browser(self) -> Browser:
        return Browser(self.pages.app)

    def at_provider(self, browser: Browser, path: str = "/sign-in/provider") -> str:
        """The browser goes to the provider, and is sent back: the path and query that it then asks for."""
        sent = browser.get(path)
        assert sent.status_code == 303, words(sent.text)
        answer = requests.get(
            sent.headers["Location"], verify=self.ca_file, allow_redirects=False, timeout=20
        )
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"].removeprefix("https://gate.example.com")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("oidc")
    with ExitStack() as stack:
        there, here = stack.enter_context(identity_provider(folder))
        pages = stack.enter_context(pages_world(folder))
        pages.app = app_of(pages.gate, pages.tokens, pages.pauses, here)
        yield World(pages, there, str(folder / "ca.pem"))


@pytest.fixture
def world(made: World) -> World:
    fresh = IdentityProvider(made.there.origin)
    for name in ("claims", "extra", "denies", "secret", "codes", "asked"):
        setattr(made.there, name, getattr(fresh, name))
    return made


def refused(world: World, browser: Browser, path: str, why: str, status: int = 401) -> None:
    answer = browser.get(path)
    assert answer.status_code == status, words(answer.text)
    assert why in words(answer.text)
    assert browser.cookie() is None


def test_somebody_signs_in_with_the_role_that_gates_yaml_gives(world: World) -> None:
    browser = world.browser()
    assert f"Sign in at {world.there.origin.removeprefix('https://')}" in words(browser.get("/sign-in").text)
    back = world.at_provider(browser, "/sign-in/provider?next=/promotions%3Fphase%3Dfailed")
    (asked,) = world.there.asked
    assert (asked["scope"], len(asked["nonce"]), len(asked["code_challenge"])) == (
        "openid profile email",
        43,
        43,
    )
    answer = browser.get(back)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/promotions?phase=failed")
    assert 'jane <span class="faint">(operator)</span>' in browser.get("/").text
    assert browser.cookie(VISITOR) is None
    assert browser.send("/models/main.ml.churn/aliases/Champion/hold", reason="why").status_code == 303
    line = world.pages.gate.store.ledger_lines(limit=1)[0].entry
    assert (line.actor, line.facts["authenticated_by"]) == ("jane", f"OIDC {world.there.origin} 248289761001")


def test_the_role_is_read_again_at_each_request(world: World) -> None:
    browser = world.browser()
    browser.get(world.at_provider(browser))
    oidc = browser.client.application  # the same session, on a service whose gates.yaml has changed
    assert oidc is world.pages.app
    assert browser.get("/").status_code == 200
    without = app_of(world.pages.gate, world.pages.tokens, [])
    other = Browser(without)
    other.plant("__Host-champion-gate", browser.cookie() or "")
    assert other.get("/").status_code == 303


def test_who_has_no_role_stays_outside(world: World) -> None:
    world.there.claims["groups"] = ["everybody"]
    browser = world.browser()
    refused(world, browser, world.at_provider(browser), "jane has no role here", 403)


def test_a_viewer_orders_nothing(world: World) -> None:
    world.there.claims["groups"] = ["ml-readers"]
    browser = world.browser()
    browser.get(world.at_provider(browser))
    assert browser.get("/").status_code == 200
    assert browser.get("/notifications").status_code == 403
    assert Role.VIEWER in browser.get("/").text


def test_an_answer_counts_only_in_the_browser_that_asked(world: World) -> None:
    attacker, victim = world.browser(), world.browser()
    back = world.at_provider(attacker)
    why = "This answer belongs to no sign-in of this browser"
    refused(world, victim, back, why)
    world.at_provider(victim)  # who is signing in right now
    refused(world, victim, back, why)
    assert attacker.get(back).status_code == 303
    assert attacker.get(back).status_code == 401  # nor a second time


@pytest.mark.parametrize("how", ["another code", "no code", "state", "issuer", "error"])
def test_an_answer_that_was_tampered_with_signs_nobody_in(world: World, how: str) -> None:
    browser = world.browser()
    back = world.at_provider(browser)
    other = query_of(world.at_provider(world.browser()))
    code = query_of(back)["code"]
    path, why = {
        "another code": (back.replace(code, other["code"]), "did not take the code"),
        "no code": (back.replace(f"code={code}", "code="), "has not signed you in"),
        "state": (back.replace("state=", "state=x"), "belongs to no sign-in"),
        "issuer": (f"{back}&iss=https%3A%2F%2Fevil.example", "Another issuer answered"),
        "error": (f"{back}&error=%3Cb%3E", "says: <b>"),
    }[how]
    refused(world, browser, path, why)


def test_where_it_goes_on_to_cannot_be_changed_on_the_way(world: World) -> None:
    browser = world.browser()
    back = world.at_provider(browser, "/sign-in/provider?next=//evil.example")
    assert browser.get(back).headers["Location"] == "/"


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "champion-gate-api"},
        {"iss": "https://evil.example"},
        {"preferred_username": "outside champion-gate"},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_this_sign_in_counts_for_nothing(
    world: World, changed: dict[str, object]
) -> None:
    world.there.claims.update(changed)
    browser = world.browser()
    refused(world, browser, world.at_provider(browser), "The token was refused")


def test_a_wrong_secret_and_a_person_who_says_no_are_told(world: World) -> None:
    browser = world.browser()
    world.there.secret = "another"
    refused(world, browser, world.at_provider(browser), "did not take the code")
    world.there.denies = True
    refused(world, browser, world.at_provider(browser), "says: access_denied")
    assert browser.sign_in(world.pages.make(name="still")).status_code == 303


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (
            {"authorization_endpoint": "https://evil.example/authorize"},
            "names no authorization_endpoint on its own host",
        ),
        ({"token_endpoint": None}, "names no token_endpoint on its own host"),
        ({"code_challenge_methods_supported": ["plain"]}, "it does not know PKCE with S256"),
        ({"issuer": "https://evil.example"}, "names another issuer"),
    ],
)
def test_nobody_is_sent_where_the_issuer_is_not(
    tmp_path: Path, made: World, extra: dict[str, object], why: str
) -> None:
    with identity_provider(tmp_path) as (there, here):
        there.extra = extra
        browser = Browser(app_of(made.pages.gate, made.pages.tokens, [], here))
        answer = browser.get("/sign-in/provider")
        assert (answer.status_code, "Location" in answer.headers) == (503, False)
        assert why in words(answer.text)
        there.extra, there.is_away = {}, True
        assert browser.get("/sign-in/provider").status_code == 503
        there.is_away = False
        assert browser.get("/sign-in/provider").status_code == 303
