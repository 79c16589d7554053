"""Every page of the dashboard in a real browser: a world with something of everything, and the browser in front."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.filling import fill
from bench.growth import MANY
from bench.pages import PATHS
from champion_gate.domain.callers import Role
from champion_gate.domain.promotion import Promotion
from champion_gate_standins.common.server import serve
from integration.pages_world import PagesWorld, pages_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path(sys.executable).with_name("chromium")  # tests/install_tools.sh
SCREEN, PHONE = 1280, 390
"""Pixels: a window, and a phone."""
EVIL = "<img src=x onerror=document.title='owned'>\u202e" + "W" * 120
"""A name full of markup, that turns the direction of writing, and is longer than a phone is wide."""
ALIAS = "/models/main.ml.churn/aliases/Champion"


@dataclass
class Shown:
    """The world behind the pages, where they are, and everything that they are to show.

    Attributes:
        paths: name -> path, of every page.
    """

    world: PagesWorld
    url: str
    token: str
    paths: dict[str, str] = field(default_factory=dict)

    def sign_in(self, page: Page) -> None:
        """As a person does."""
        page.goto(f"{self.url}/sign-in")
        page.get_by_label("API token").fill(self.token)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="What is waiting").wait_for()


@contextmanager
def shown(folder: Path) -> Iterator[Shown]:
    """A gate after some days of work: moves, a rollback, failures, something that waits, and a hostile name."""
    with pages_world(folder, after=[{"job": 4711}]) as world, serve(world.app) as url:
        waiting = live_some_days(world)
        step = world.gate.after_moves()[0]
        lost = next(each for each in world.gate.notifications() if each.phase.value == "unresolved")
        paths = {
            "sign-in": "/sign-in",
            "waiting": "/",
            "promotions": "/promotions",
            "promotion-waiting": f"/promotions/{waiting.id}",
            "promotion-promoted": "/promotions/"
            + next(p.id for p in world.gate.promotions() if p.phase == "promoted"),
            "promotion-hostile": "/promotions/p-evil",
            "promotion-laptop": "/promotions/p-laptop",
            "models": "/models",
            "alias": ALIAS,
            "notifications": "/notifications",
            "doctor": "/doctor",
            "cancel": f"/promotions/{waiting.id}/cancel",
            "roll-back": f"{ALIAS}/rollback",
            "hold": f"{ALIAS}/hold",
            "retry-step": f"/steps/{step.id}/retry",
            "replay": f"/notifications/{lost.id}/replay",
            "not-found": "/promotions/p-none",
        }
        yield Shown(world, url, world.make(Role.OPERATOR, "operator-1"), paths)


@contextmanager
def shown_after_years(folder: Path) -> Iterator[Shown]:
    """A gate with 100,000 promotions behind it, and one that waits."""
    with pages_world(folder) as world, serve(world.app) as url:
        fill(world.gate.environ["CHAMPION_GATE_DATABASE_URL"], MANY)
        waiting = world.gate.ask()
        paths = {
            **PATHS,
            "sign-in": "/sign-in",
            "promotion-waiting": f"/promotions/{waiting.id}",
            "cancel": f"/promotions/{waiting.id}/cancel",
            "hold": f"{ALIAS}/hold",
            "replay": "/notifications/n-000500/replay",
        }
        yield Shown(world, url, world.make(Role.OPERATOR, "operator-1"), paths)


def live_some_days(world: PagesWorld) -> Promotion:
    """Returns the promotion that waits for people."""
    from dataclasses import replace  # noqa: PLC0415 - beside its only use

    from champion_gate.domain.aliases import Order  # noqa: PLC0415
    from champion_gate.domain.callers import Caller  # noqa: PLC0415
    from champion_gate.domain.notices import (  # noqa: PLC0415
        Message,
        Notice,
        NoticeEvent,
        NoticeKind,
        notice_step,
    )
    from champion_gate.domain.steps import StepKind, StepPhase, ended, planned  # noqa: PLC0415

    gate = world.gate
    for f1 in (0.93, 0.94):
        gate.approve(gate.ask({"f1": f1, "auc": 0.96, "loss": 0.21}))
        gate.look()
        gate.wait(days=2)
    gate.ask({"f1": 0.945, "auc": 0.97})
    gate.reject(gate.promotions()[0])
    gate.look()
    order = Order(Caller("operator-1", Role.OPERATOR, "API token x"), "Incident 4711: scores drifted")
    gate.core.alias_orders.roll_back("main.ml.churn", "Champion", order)
    gate.wait(hours=30)
    caller = order.caller
    gate.core.alias_orders.release("main.ml.churn", "Champion", caller=caller, reason="Mended")
    run = gate.databricks.jobs.start_run(gate.job_id)
    gate.databricks.jobs.finish_run(run, notify=False)
    gate.notify(run)
    gate.live(minutes=30)
    waiting = gate.ask({"f1": 0.95, "auc": 0.955, "loss": 0.2})
    evil = replace(
        waiting,
        id="p-evil",
        model=EVIL,
        version=replace(waiting.version, model=EVIL, version="7"),
        gate=EVIL,
        reason=EVIL,
        outstanding=(EVIL,),
        job_url="javascript:document.title='owned'",
        evidence_json=(waiting.evidence_json or "").replace('"auc"', '"' + EVIL.replace('"', "") + '"'),
    )
    assert gate.store.create_promotion(evil) is not None
    laptop = replace(
        waiting,
        id="p-laptop",
        version=replace(waiting.version, version="8"),
        found_by="registry",
        job_id="",
        job_run_id="",
        job_url="",
        outstanding=("risk (1 of 2)",),
    )
    assert gate.store.create_promotion(laptop) is not None
    message = Message(NoticeEvent.REQUESTED, f"v7 of {EVIL} asks", gate.clock.now())
    notice = notice_step(
        Notice(name="team_chat", kind=NoticeKind.SLACK), message, evil.id, evil.id, message.at
    )
    why = "Slack answered 404: no_service. Is the address of the webhook still right?"
    gate.store.plan_step(ended(notice, StepPhase.FAILED, why, message.at))
    gate.store.plan_step(planned(evil.id, StepKind.STATUS, {}, message.at))
    gate.clock.move(hours=3)
    return waiting


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's, driven by Playwright."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - slow to import

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()
