"""What the doctor says where people approve by review: green where all is right, and of each single thing put wrong, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from champion_gate.adapters.github.review import checks as review_checks
from champion_gate.adapters.github.review.provider import GitHubReview
from champion_gate.adapters.github.review.settings import Approvers, GitHubReviewPlace
from champion_gate.adapters.github.secrets import GitHubApp
from champion_gate.adapters.github.settings import GitHubPlace, GitHubServer
from champion_gate.domain.findings import Finding
from champion_gate.domain.gates import Gate
from champion_gate.domain.together import Together
from champion_gate.domain.vendors import Host, Place
from champion_gate.flow import approval_checks
from champion_gate.flow.doctor import examine
from champion_gate_standins.common.server import serve
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.github.state import GitHubApp as InstalledApp
from champion_gate_standins.github.webhooks import Delivery
from contract.validating import ValidatingApp
from integration.gate_reviews import OURS, PROMOTIONS
from integration.github_world import START, MovableClock, app_keys
from integration.test_doctor_providers import (
    GATE_URL,
    WARNING,
    Known,
    Wrong,
    assert_says,
    bad,
    cases,
    gate_at,
)

pytestmark = pytest.mark.spread(2)


@dataclass
class World:
    """A GitHub where all is right, and a gate that asks there."""

    there: GitHubStandIn
    provider: GitHubReview
    app: InstalledApp
    checks: ValidatingApp
    place: GitHubReviewPlace
    others: list[Place] = field(default_factory=list)
    known: Known = field(default_factory=Known)

    def doctor(self) -> list[Finding]:
        gate, together = self.gate, Together()
        host = Host(GitHubServer(), None, places=self.others)
        theirs = review_checks.checkups(self.provider, host, [gate], GATE_URL)
        every = approval_checks.checkups(gate, self.provider, self.known, together)
        return examine([*theirs, *every], together, seconds=300)

    @property
    def gate(self) -> Gate:
        return gate_at("github_review", self.place)

    def ask(self, **approvers: object) -> None:
        """Have these approve from now on."""
        named = Approvers.model_validate({"people": ["ann", "tom"], **approvers})
        self.place = self.place.model_copy(update={"approvers": named})

    def commit(self, path: str) -> None:
        self.there.people.push(PROMOTIONS, "main", "ann", path)


@pytest.fixture
def world() -> Iterator[World]:
    clock = MovableClock()
    there = GitHubStandIn(clock=clock.now)
    there.add_repository(PROMOTIONS, private=True, workflow=None)
    for login in ("ann", "tom"):
        there.people.give(PROMOTIONS, login, "write")
    team = there.add_team("example", "ml", ["ann", "tom"])
    there.people.give(PROMOTIONS, team, "write")
    private, public = app_keys()
    app = there.add_app(
        "champion-gate", public, permissions={**OURS, "metadata": "read"}, repositories=[PROMOTIONS]
    )
    app.events = ["pull_request", "pull_request_review"]
    there.webhooks.url, there.webhooks.secret = f"{GATE_URL}/hooks/github", "shared"
    sent = (there.state.new_id(), START, "guid", "pull_request_review", "submitted", b"{}", "202")
    there.webhooks.deliveries.append(Delivery(*sent))
    checks = ValidatingApp(there.app.wsgi_app)
    there.app.wsgi_app = checks  # type: ignore[method-assign]
    with serve(there.app) as url:
        provider = GitHubReview(url=url, credentials=GitHubApp(app.client_id, private), clock=clock)
        place = GitHubReviewPlace(
            repository=PROMOTIONS,
            approvers=Approvers.model_validate({"people": ["ann", "tom"], "teams": ["ml"]}),
        )
        made = World(there, provider, app, checks, place)
        made.commit("promotions/p-1.md")
        yield made
    there.close()


def test_it_is_green_where_all_is_right(world: World) -> None:
    findings = world.doctor()
    assert bad(findings) == []
    every = {each.key for each in (*review_checks.CHECKS, *approval_checks.CHECKS)}
    assert {each.check for each in findings} == every
    assert world.checks.violations == []


def _give(role: str) -> Callable[[World], None]:
    return lambda world: world.there.people.give(PROMOTIONS, "tom", role)


WRONG = {
    "events": Wrong(
        lambda world: world.app.events.remove("pull_request_review"), "github.webhook", "Subscribe", WARNING
    ),
    "lacks statuses": Wrong(
        lambda world: world.app.permissions.pop("statuses"), "github.installation", "Grant it at"
    ),
    "has too much": Wrong(
        lambda world: world.app.permissions.update(actions="write"),
        "github.installation",
        "Take it away at",
        WARNING,
    ),
    "public": Wrong(
        lambda world: world.there.people.set_private(PROMOTIONS, private=False),
        "github_review.repository",
        "Make it private",
        WARNING,
    ),
    "workflows": Wrong(
        lambda world: world.commit(".github/workflows/ci.yml"),
        "github_review.repository",
        "a repository of its own, without any",
        WARNING,
    ),
    "code beside it": Wrong(
        lambda world: world.commit("src/model.py"),
        "github_review.repository",
        "Have people approve in a repository of its own",
        WARNING,
    ),
    "reads only": Wrong(_give("read"), "github_review.approvers", "Give tom, or a team of theirs", WARNING),
    "triages only": Wrong(_give("triage"), "github_review.approvers", "Give tom", WARNING),
    "no such team": Wrong(lambda world: world.ask(teams=["gone"]), "approval.place", "Correct its slug"),
    "members hidden": Wrong(
        lambda world: (world.ask(teams=["ml"]), world.app.permissions.pop("members")),
        "approval.place",
        "Members: read",
    ),
    "no such login": Wrong(
        lambda world: world.ask(people=["ann", "nobody"]), "approval.place", "It does not exist"
    ),
    "no base": Wrong(
        lambda world: setattr(world, "place", world.place.model_copy(update={"base": "trunk"})),
        "approval.place",
        "Correct `base` in gates.yaml",
    ),
}


@pytest.mark.parametrize("name", cases(WRONG, "events", "workflows", "reads only"))
def test_it_says_what_is_wrong_and_what_to_do(world: World, name: str) -> None:
    if name in {"reads only", "triages only"}:
        world.ask()
        world.there.people.take_away(PROMOTIONS, world.there.state.team("example", "ml"))
    WRONG[name].put(world)
    assert_says(world.doctor(), WRONG[name])


def test_an_app_that_serves_environments_too_needs_what_both_need(world: World) -> None:
    world.others = [GitHubPlace(repository="example/ml-deploy", environments=("champion",)), world.place]
    found = {each.check: each for each in bad(world.doctor())}
    assert set(found) == {"github.webhook", "github.installation"}
    assert "actions: write, deployments: read" in found["github.installation"].found
    world.app.permissions.update(actions="write", deployments="read")
    world.app.events += ["deployment_review", "deployment_status", "workflow_job", "workflow_run"]
    assert bad(world.doctor()) == []
