"""The whole gate with people who are told: the world of `gate_world` and stand-ins of what they are told by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from champion_gate.domain.steps import Step, StepKind
from champion_gate_standins.common.server import serve
from champion_gate_standins.notices.server import (
    SIGNING_KEY,
    SLACK_PATH,
    TEAMS_PATH,
    TEAMS_QUERY,
    WEBHOOK_PATH,
    NoticeReceivers,
)
from integration.gate_world import GateWorld, gate_world

NOTICES: list[dict[str, object]] = [
    {"name": "team", "kind": "slack", "waiting": "4h", "private": True},
    {"name": "office", "kind": "teams", "private": True},
    {"name": "audit_log", "kind": "webhook", "private": True},
]


@contextmanager
def told_world(
    folder: Path, notices: list[dict[str, object]] | None = None
) -> Iterator[tuple[GateWorld, NoticeReceivers]]:
    """A gate that tells these notices (one of each kind where none are given), and who is told."""
    told = NOTICES if notices is None else notices
    with gate_world(folder) as world:
        receivers = NoticeReceivers(clock=world.clock.at_the_vendors)
        with serve(receivers.app) as url:
            named = [f"_NOTICE_{str(each['name']).upper()}_" for each in told]
            world.environ |= {
                variable: value
                for variable, value in addresses(url).items()
                if any(each in variable for each in named)
            }
            world.environ["CHAMPION_GATE_PUBLIC_URL"] = "https://gate.example.com"
            world.extra = {"notices": told}
            world.reconfigure()
            yield world, receivers
            receivers.faults.clear()


def addresses(url: str) -> dict[str, str]:
    """The variables of NOTICES."""
    return {
        "CHAMPION_GATE_NOTICE_TEAM_URL": f"{url}{SLACK_PATH}",
        "CHAMPION_GATE_NOTICE_OFFICE_URL": f"{url}{TEAMS_PATH}{TEAMS_QUERY}",
        "CHAMPION_GATE_NOTICE_AUDIT_LOG_URL": f"{url}{WEBHOOK_PATH}",
        "CHAMPION_GATE_NOTICE_AUDIT_LOG_SECRET": SIGNING_KEY,
    }


def pass_time(world: GateWorld, seconds: int) -> None:
    """Second by second, with everything done when it is due."""
    for _ in range(seconds):
        world.wait(seconds=1)


def notices_of(world: GateWorld, promotion_id: str) -> dict[str, Step]:
    """The messages about a promotion, by the ends of their ids."""
    steps = world.store.steps_of(promotion_id)
    return {step.id.partition("-notice-")[2]: step for step in steps if step.kind is StepKind.NOTICE}
