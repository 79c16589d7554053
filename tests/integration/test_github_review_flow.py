"""The gate with reviews of pull requests: from a trained version to the alias, and what is left in the repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate_standins.github.repositories import PullRequest
from champion_gate_standins.github.server import GitHubStandIn
from integration.gate_world import GateWorld, gate_world
from integration.github_review_world import NAME, PERMISSIONS, number_of

pytestmark = [pytest.mark.part("rest"), pytest.mark.spread(2)]

BOT = "gate-bot"
PEOPLE = {"data-science": {"people": ["reviewer-1"]}, "risk": {"people": ["reviewer-1", "reviewer-2"]}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        made.github.add_repository(NAME, private=True, workflow=None)
        for login in ("reviewer-1", "reviewer-2"):
            made.github.people.give(NAME, login, "write")
        made.environ["CHAMPION_GATE_GITHUB_TOKEN"] = made.github.add_token(BOT, PERMISSIONS)
        configure(made)
        yield made


def configure(world: GateWorld, *, merge: bool = True, **gate: object) -> None:
    place = {"repository": NAME, "roles": PEOPLE, "merge": merge}
    world.reconfigure(approval={"github_review": place}, **gate)


def approve(world: GateWorld, promotion: Promotion, *logins: str) -> None:
    for login in logins:
        world.clock.move(seconds=5)
        world.github.people.review(NAME, number_of(promotion), login)


def pull(github: GitHubStandIn, promotion: Promotion) -> PullRequest:
    return github.people.pull(NAME, number_of(promotion))


def statuses(world: GateWorld) -> list[tuple[str, str]]:
    told = [(one.state, one.description) for one in world.github.repository(NAME).statuses]
    return [(state, (words or "").partition(":")[0]) for state, words in told]


def branches(world: GateWorld) -> set[str]:
    return set(world.github.repository(NAME).branches) - {"main"}


def test_the_whole_way_with_two_roles(world: GateWorld) -> None:
    pending = world.ask()
    approve(world, pending, "reviewer-2")
    world.sweep()
    half = world.ended(pending, Phase.PENDING_APPROVAL)
    world.sweep()
    approve(world, pending, "reviewer-1")
    world.sweep()

    assert half == "1 of 2 approved; data-science is missing. Approved by reviewer-2 (risk)."
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[-1] == ("1", "2", "reviewer-1, reviewer-2")
    assert statuses(world) == [
        ("pending", "0 of 2 approved; data-science and risk are missing"),
        ("pending", "1 of 2 approved; data-science is missing"),
        ("success", "promoted"),
    ]
    shown = pull(world.github, pending)
    assert (shown.merged_at is not None, branches(world)) == (True, set())
    lines = [line for line in world.store.ledger_lines() if line.entry.promotion_id == pending.id]
    (moved,) = [line for line in lines if line.entry.kind == "alias_change"]
    (comment,) = shown.comments
    assert comment.body.startswith("**Promoted.**")
    assert f"line {moved.number} of the ledger (`{moved.hash}`)" in comment.body
    (merge,) = [line.entry.facts for line in lines if line.entry.kind == "step"]
    assert (merge["kind"], merge["phase"]) == ("merge", "succeeded")
    assert f"promotions/{pending.id}.md" in world.github.repository(NAME).files["main"]


@pytest.mark.parametrize("status", [403, 404, 410, 422])
@pytest.mark.parametrize("path", ["/git/ref/heads/main$", "/git/ref/heads/champion-gate/"])
def test_what_is_read_while_it_is_opened_may_be_refused_for_a_moment(
    world: GateWorld, path: str, status: int
) -> None:
    faults = world.github.faults

    def refuse() -> None:
        faults.add(path, method="GET", status=status, times=1)

    faults.add("/git/ref/heads/champion-gate/", method="GET", meanwhile=refuse, times=1)
    world.train()
    world.settle()
    world.live(minutes=5)

    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pull(world.github, pending).state == "open"
    assert len(branches(world)) == 1


def test_what_is_made_while_it_is_opened_is_refused_once(world: GateWorld) -> None:
    world.github.faults.add("/git/refs$", method="POST", status=403)
    world.train()
    world.settle()

    assert "promotions retry" in world.promotion(Phase.FAILED).reason


def test_what_is_not_merged_is_closed(world: GateWorld) -> None:
    configure(world, merge=False)
    pending = world.ask()
    approve(world, pending, "reviewer-1", "reviewer-2")
    world.look()

    world.ended(pending, Phase.PROMOTED)
    shown = pull(world.github, pending)
    assert (shown.state, shown.merged_at, branches(world)) == ("closed", None, set())


def test_a_merge_that_fails_is_in_nobodys_way_and_is_told(world: GateWorld) -> None:
    pending = world.ask()
    world.github.faults.add("/merge$", method="PUT", status=405)
    approve(world, pending, "reviewer-1", "reviewer-2")
    world.look()
    world.ended(pending, Phase.PROMOTED)
    (left,) = world.store.open_steps(pending.id)
    world.live(hours=30)

    assert "405" in (left.retry.last_error or "")
    (failed,) = [step for step in world.store.steps_of(pending.id) if step.kind == "merge"]
    assert failed.phase == "failed"
    assert ("step", failed.reason) in world.ledger()
    assert world.models.champion() == "2"


@pytest.mark.parametrize("said", ["changes requested", "cancelled", "superseded", "expired"])
def test_however_it_ends_the_pull_request_is_closed(world: GateWorld, said: str) -> None:
    pending = world.ask()
    if said == "changes requested":
        world.github.people.review(NAME, number_of(pending), "reviewer-2", "REQUEST_CHANGES", "Drifted.")
        world.look()
    elif said == "cancelled":
        order = EndRequest(Phase.CANCELLED, "operator", "Not this one.", world.clock.now())
        assert world.store.request_end(pending.id, order)
        world.settle()
    elif said == "superseded":
        world.ask({"f1": 0.93})
        world.settle()
    else:
        world.wait(days=15)

    ended = world.again(pending)
    phases = {"changes requested": Phase.REJECTED, "expired": Phase.EXPIRED}
    assert ended.phase is phases.get(said, Phase(said) if said in set(Phase) else None), ended.reason
    shown = pull(world.github, pending)
    assert shown.state == "closed"
    assert f"champion-gate/{ended.correlation_id}" not in branches(world)
    assert shown.comments[0].body.startswith(f"**{ended.phase.capitalize()}.**")
    assert ("failure", ended.phase.value) in statuses(world)
    assert world.models.champion() == "1"


@pytest.mark.parametrize("carry_out", [True, False])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/git/refs$"), ("PUT", "/contents/"), ("POST", "/pulls$")]
)
def test_an_opening_that_broke_off_is_gone_on_with(
    world: GateWorld, method: str, path: str, carry_out: bool
) -> None:
    world.github.faults.add(path, method=method, drop=True, carry_out=carry_out, times=3)
    world.train()
    world.settle()
    for _ in range(6):
        world.crash()
        world.wait(minutes=3)

    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert [one.number for one in world.github.repository(NAME).pulls] == [number_of(pending)]
    approve(world, pending, "reviewer-1", "reviewer-2")
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_settings_that_were_tightened_meanwhile_end_it(world: GateWorld) -> None:
    pending = world.ask()
    approve(world, pending, "reviewer-1", "reviewer-2")
    world.reconfigure(
        approval={
            "github_review": {
                "repository": NAME,
                "merge": True,
                "roles": {"risk": {"people": ["reviewer-2"]}},
            }
        }
    )
    world.look()

    world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"


def test_another_commit_makes_it_stale_after_a_second_look(world: GateWorld) -> None:
    pending = world.ask()
    approve(world, pending, "reviewer-1", "reviewer-2")
    branch = f"champion-gate/{pending.correlation_id}"
    world.github.people.push(NAME, branch, "reviewer-2")
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=6)

    assert "shows commit" in world.ended(pending, Phase.STALE)
    assert world.models.champion() == "1"
