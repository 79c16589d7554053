"""Many requests in one repository of reviews, roles, crashes while a request is opened, and how much is asked of GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate.web.api.answers import PromotionAnswer
from integration.gate_models import TRAINER, CatalogModels
from integration.gate_providers import BOT
from integration.gate_reviews import PROMOTIONS, ReviewProvider
from integration.gate_world import GATE, GateWorld, gate_world

pytestmark = pytest.mark.part("rest")
PEOPLE = {"people": ["reviewer-1", "reviewer-2"]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider="github-review") as made:
        yield made


@pytest.fixture
def there(world: GateWorld) -> ReviewProvider:
    assert isinstance(world.provider, ReviewProvider)
    return world.provider


def ask_about(world: GateWorld, approval: dict[str, object], count: int) -> dict[str, CatalogModels]:
    """People asked in one repository about a version of each of so many models; by the promotion's id."""
    gates, models, trained = [], [], []
    for number in range(count):
        job = world.databricks.jobs.add_job(f"train-{number}", run_as=TRAINER, creator=TRAINER)
        model = CatalogModels(world.databricks, f"main.ml.m{number}")
        model.move_alias(model.train(job, "1", {"f1": 0.9}))
        models.append(model)
        gates.append(
            {**GATE, "name": f"gate-{number}", "jobs": [int(job)], "model": model.model, "approval": approval}
        )
        trained.append(job)
    world.write_gates(gates)
    for job, model in zip(trained, models, strict=True):
        run_id = world.databricks.jobs.start_run(job)
        model.train(job, world.databricks.jobs.task_run_id(run_id, "train"), {"f1": 0.91})
        world.databricks.jobs.finish_run(run_id, notify=False)
        world.notify(run_id, job_id=job)
    world.settle()
    by_name = {model.model: model for model in models}
    return {one.id: by_name[one.version.model] for one in world.promotions()}


def test_of_ten_requests_in_one_repository_one_is_merged_and_nine_go_on(
    world: GateWorld, there: ReviewProvider
) -> None:
    asked = ask_about(world, there.place(approvers=PEOPLE, merge=True), 10)
    first, *others = [world.store.get_promotion(each) for each in asked]
    there.approve(world.run_id_of(first), "reviewer-1")
    world.look()
    world.wait(minutes=1)

    world.ended(first, Phase.PROMOTED)
    assert asked[first.id].champion() == "2"
    home = world.github.repository(PROMOTIONS)
    assert there.pull(world.run_id_of(first)).merged_at is not None
    merged = [path for path in home.files["main"] if path.startswith("promotions/")]
    assert merged == [f"promotions/{first.id}.md"]
    for each in others:
        world.ended(each, Phase.PENDING_APPROVAL)
        assert there.waits(world.run_id_of(each))
        assert asked[each.id].champion() == "1"

    for each in others:  # base has commits of the others by now, which mean nothing
        there.approve(world.run_id_of(each), "reviewer-2")
        world.look()
    world.wait(minutes=1)
    assert {world.again(each).phase for each in others} == {Phase.PROMOTED}
    assert {model.champion() for model in asked.values()} == {"2"}
    assert len([path for path in home.files["main"] if path.startswith("promotions/")]) == 10
    assert not [name for name in home.branches if name.startswith("champion-gate/")]


# --- seats -----------------------------------------------------------------------------------------------


def by_roles(there: ReviewProvider) -> dict[str, object]:
    both = {"people": ["reviewer-1", "reviewer-2"]}
    return there.place(roles={"risk": both, "data-science": {"people": ["reviewer-1"]}})


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(["reviewer-1", "reviewer-2"], marks=pytest.mark.part("quick")),
        ["reviewer-2", "reviewer-1"],
    ],
)
def test_who_may_fill_two_roles_fills_the_one_that_is_left(
    world: GateWorld, there: ReviewProvider, order: list[str]
) -> None:
    world.reconfigure(approval=by_roles(there))
    pending = world.ask()
    for login in order[:1] * 2:
        there.approve(world.run_id_of(pending), login)
    world.look()
    reason = world.ended(pending, Phase.PENDING_APPROVAL)
    assert "risk" in reason
    assert "data-science" in reason
    shown = PromotionAnswer.of(world.again(pending))
    assert shown.request is not None
    assert (sorted(shown.request.seats), len(shown.outstanding)) == (["data-science", "risk"], 1)
    there.approve(world.run_id_of(pending), order[1])
    world.look()
    world.ended(pending, Phase.PROMOTED)
    decision = world.again(pending).decision
    assert decision is not None
    assert {each.seat: each.login for each in decision.deciders} == {
        "data-science": "reviewer-1",
        "risk": "reviewer-2",
    }


def test_two_who_may_only_fill_one_role_are_not_enough(world: GateWorld, there: ReviewProvider) -> None:
    roles = {"risk": {"people": ["reviewer-1", "reviewer-2"]}, "data-science": {"people": ["third"]}}
    there.people.give(PROMOTIONS, "third", "write")
    world.reconfigure(approval=there.place(roles=roles))
    pending = world.ask()
    there.approve(world.run_id_of(pending), "reviewer-1", "reviewer-2")
    world.look()
    assert "data-science" in world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.models.champion() == "1"
    there.approve(world.run_id_of(pending), "third")
    world.look()
    world.ended(pending, Phase.PROMOTED)


# --- a crash while it is opened --------------------------------------------------------------------------

CALLS = {
    "branch": ("POST", "/git/refs$"),
    "file": ("PUT", "/contents/"),
    "pull request": ("POST", "/pulls$"),
    "reviewers": ("POST", "/requested_reviewers$"),
}


@pytest.mark.part("full")
@pytest.mark.part("rest", "carried out-file", "lost-pull request")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "lost"])
def test_a_crash_at_each_call_of_the_opening(
    world: GateWorld, there: ReviewProvider, name: str, *, carried_out: bool
) -> None:
    method, path = CALLS[name]
    there.faults.add(path, method=method, drop=True, carry_out=carried_out)
    world.train()
    world.settle()
    there.faults.clear()
    world.crash()
    for _ in range(4):
        world.wait(minutes=3)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert list(there.requests().values()) == ["open"]
    home = world.github.repository(PROMOTIONS)
    assert len([each for each in home.branches if each.startswith("champion-gate/")]) == 1
    pull = there.pull(world.run_id_of(pending))
    assert f"promotions/{pending.id}.md" in home.files[pull.head]
    there.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)


# --- looking for decisions -------------------------------------------------------------------------------


def test_looking_for_decisions_costs_the_same_for_one_request_and_for_ten(
    world: GateWorld, there: ReviewProvider
) -> None:
    asked = ask_about(world, there.place(approvers=PEOPLE), 10)

    def sweep() -> list[tuple[str, str]]:
        world.clock.move(minutes=1)
        there.faults.requests.clear()
        world.sweep()
        return list(there.faults.requests)

    sweep()
    ten = sweep()
    for each in list(asked)[1:]:
        world.core.promotion_orders.cancel(each, actor="operator", reason="not this one")
    world.settle()
    sweep()
    assert len(ten) <= len(sweep()) <= 4

    left = world.promotion(Phase.PENDING_APPROVAL)
    there.approve(world.run_id_of(left), "reviewer-1")  # and no webhook tells of it
    world.clock.move(minutes=1)
    world.sweep()
    world.ended(left, Phase.PROMOTED)


def test_the_account_that_asks_is_named_among_approvers(world: GateWorld, there: ReviewProvider) -> None:
    world.reconfigure(approval=there.place(approvers={"people": [BOT]}))
    world.train()
    world.settle()
    assert "never counts" in world.promotion(Phase.REQUESTED).reason
    assert there.requests() == {}
