"""The dashboard in a real browser: read and used without scripts, on a phone, by keyboard, and by everybody (axe-core)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browser.pages_in_browser import ALIAS, PHONE, SCREEN, Shown, chromium, shown, shown_after_years

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.part("rest"), pytest.mark.needs("chromium")]

AXE = Path(sys.executable).with_name("axe.min.js")  # tests/install_tools.sh
RULES = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"

PARTS = 3
"""Of each list, that are read."""
BROKEN = """() => {
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  while (texts.nextNode()) {
    for (const word of texts.currentNode.data.matchAll(/(?<!\\S)[A-Za-z0-9:]{2,20}(?!\\S)/g)) {
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(each => each.top)).size > 1) found.push(word[0]);
    }
  }
  return found;
}"""
"""The words of a usual length that are broken in the middle."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with shown(tmp_path_factory.mktemp("dashboard")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What keeps somebody from using the page."""
    if not AXE.is_file():
        pytest.skip("NOT TESTED: axe-core is not installed on this machine")
    page.evaluate(AXE.read_text())
    found = page.evaluate(RULES)
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


@pytest.mark.parametrize(("width", "scheme"), [(SCREEN, "light"), (PHONE, "dark")])
def test_every_page_fits_and_is_for_everybody(
    there: Shown, browser: Browser, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type] # one of its words
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    there.sign_in(page)
    found: dict[str, object] = {}
    for name, path in there.paths.items():
        page.goto(f"{there.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(BROKEN) == [], name
        assert page.title() != "owned", name
        found[name] = violations(page)
    assert {name: what for name, what in found.items() if what} == {}
    assert [each for each in said if "404" not in each] == []
    page.close()


@pytest.mark.part("full")
@pytest.mark.timeout(1800)
def test_every_page_is_read_after_a_hundred_thousand_promotions(tmp_path: Path, browser: Browser) -> None:
    said: list[str] = []
    with shown_after_years(tmp_path) as there:
        for width in (SCREEN, PHONE):
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.on("console", lambda message: said.append(message.text))
            there.sign_in(page)
            assert violations(page) == []
            long = {
                name for name, path in there.paths.items() if parts_read(page, f"{there.url}{path}") == PARTS
            }
            assert {"promotions", "promotions of a model", "an alias's history", "notifications"} <= long
            page.close()
    assert said == []


def parts_read(page: Page, url: str) -> int:
    """How many parts of a page are read by its links from one to the next; asserts that each fits and is another."""
    page.goto(url)
    read = list[str]()
    while True:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
        heading = page.get_by_role("heading", level=1).bounding_box()
        assert heading is not None, page.url
        assert 0 <= heading["y"] < 400, page.url
        shown_now = page.locator("main").inner_text()
        assert shown_now not in read, page.url
        read.append(shown_now)
        more = page.locator("a[rel=next]")
        if len(read) == PARTS or more.count() == 0:
            return len(read)
        more.first.click()
        page.wait_for_load_state()


def test_it_would_have_noticed(there: Shown, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": PHONE, "height": 800})
    page.goto(f"{there.url}/sign-in")
    page.evaluate(
        "document.querySelector('label').remove(); document.querySelector('main').style.width = '500px'"
    )
    assert "label" in [name for name, _ in violations(page)]
    assert page.evaluate("document.documentElement.scrollWidth") > PHONE
    page.close()


def test_an_operator_reads_and_orders_without_scripts(there: Shown, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": PHONE, "height": 800})
    page = context.new_page()
    page.goto(f"{there.url}{ALIAS}")  # signed out: it leads back there
    page.get_by_label("API token").fill("cgate_wrong")
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text() == "This is no API token that counts."
    page.get_by_label("API token").fill(there.token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="main.ml.churn@Champion").wait_for()
    (cookie,) = (each for each in context.cookies() if each["name"] == "__Host-champion-gate")
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")

    page.get_by_role("link", name="Hold…").click()
    page.get_by_label("Why").fill("quarter's end <b>")
    page.get_by_role("button", name="Hold").click()
    assert "The alias is on hold." in page.get_by_role("status").inner_text()
    page.get_by_role("link", name="Release…").click()
    page.get_by_label("Why").fill("over")
    page.get_by_role("button", name="Release").click()
    page.get_by_role("link", name="Hold…").wait_for()

    page.get_by_role("link", name="Roll back…").click()
    assert "Champion goes from v2 to v1" in page.locator("main").inner_text()
    page.get_by_label("Why").fill("incident 4711")
    page.get_by_role("button", name="Roll back").click()
    assert "It stands on v1" in page.locator("main").inner_text()
    assert there.world.gate.models.champion() == "1"

    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{there.url}/promotions")
    page.get_by_label("API token").wait_for()
    context.close()


def test_the_keyboard_reaches_the_content_first(there: Shown, browser: Browser) -> None:
    page = browser.new_page()
    there.sign_in(page)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.evaluate("each => each === document.activeElement && each.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    page.close()
