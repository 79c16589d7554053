"""Who may not decide is an account, not a name: logins that change hands between one request and the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import ConflictError, NotFoundError
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import MAINTAINER
from integration.gate_models import TRAINER
from integration.gate_providers import BOT, PROJECT
from integration.gate_world import GateWorld, gate_world

pytestmark = [pytest.mark.part("rest", "gitlab"), pytest.mark.spread(2)]

OPERATOR = Caller("operator-1", Role.OPERATOR, "API token t1", "192.0.2.7")
PRINCIPAL = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

both = pytest.mark.parametrize("world", ["github", "gitlab-environment"], indirect=True)
gitlab = pytest.mark.parametrize(
    "world",
    [
        "gitlab-environment",
        *(pytest.param(kind, marks=pytest.mark.part("rest")) for kind in ("gitlab-branch", "gitlab-rules")),
    ],
    indirect=True,
)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


def there(world: GateWorld) -> GitHubStandIn | GitLabStandIn:
    standin: GitHubStandIn | GitLabStandIn = world.provider.standin  # type: ignore[attr-defined] # both have one
    return standin


def account(world: GateWorld, login: str) -> str:
    """The number of an account."""
    return str(there(world).state.user(login).id)


def swap(world: GateWorld, login: str = "octo-trainer", new: str = "octo-hidden") -> tuple[str, str]:
    """Somebody renames their account, keeps all their rights, and another account takes the login: both numbers."""
    standin = there(world)
    before = account(world, login)
    standin.rename_user(login, new)
    return before, str(standin.add_user(login))


def asked_once(world: GateWorld) -> Promotion:
    """A first request, with which the logins become known; then it ends."""
    first = world.ask()
    world.core.promotion_orders.cancel(first.id, actor="operator-1", reason="not this one")
    world.settle()
    world.ended(first, Phase.CANCELLED)
    world.clock.move(days=3)
    return first


def next_one(world: GateWorld) -> Promotion:
    """The next version, as far as it comes."""
    version = world.train()
    world.settle()
    return next(each for each in world.promotions() if each.version.version == version)


def accept(world: GateWorld, login: str = "octo-trainer", user_id: str | None = None) -> None:
    identities = world.core.context.identities
    identities.accept(world.provider.key, login, caller=OPERATOR, reason="asked them", user_id=user_id)
    world.settle()


def forget(world: GateWorld, login: str) -> None:
    world.core.context.identities.forget(
        world.provider.key, login, caller=OPERATOR, reason="a slip of the pen"
    )
    world.settle()


def excluded(world: GateWorld, promotion: Promotion) -> set[str]:
    return {person.user_id for person in world.again(promotion).excluded}


# --- a trainer's login ------------------------------------------------------------------------------------


@both
def test_a_login_that_another_account_has_now_keeps_the_request_until_it_is_accepted(
    world: GateWorld,
) -> None:
    asked_once(world)
    seen_on = world.clock.now().date()
    first = world.store.remembered_login(world.provider.key, "octo-trainer")
    assert first is not None
    before, now = swap(world)
    waiting = next_one(world)
    assert waiting.phase is Phase.REQUESTED
    assert waiting.reason.startswith(
        f"octo-trainer is another account now than on {first.last_resolved_at:%Y-%m-%d} "
        f"({now}, and {before} then). `identities` of gate churn maps trainer@example.com to octo-trainer."
    )
    assert f"champion-gate identities accept {world.provider.key} octo-trainer --id {now}" in waiting.reason
    asked = world.provider.asked()
    world.wait(days=2)
    assert world.again(waiting).phase is Phase.REQUESTED
    assert world.provider.asked() == asked
    assert seen_on > first.last_resolved_at.date()

    accept(world)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL
    assert excluded(world, waiting) == {before, now}
    assert world.ledger()[-1] == ("identity", "asked them")


@both
def test_who_renamed_their_account_cannot_approve_their_own_version_after_that(world: GateWorld) -> None:
    asked_once(world)
    swap(world)
    pending = next_one(world)
    accept(world)
    world.provider.approve(world.run_id_of(pending), "octo-hidden")
    world.look()
    reason = world.ended(pending, Phase.REJECTED)
    assert "octo-hidden does not count, who is behind this version" in reason
    assert world.models.champion() == "1"


@both
def test_correcting_the_login_in_gates_yaml_ends_the_wait_too(world: GateWorld) -> None:
    asked_once(world)
    before, now = swap(world)
    waiting = next_one(world)
    world.reconfigure(identities={TRAINER: "octo-hidden"})
    world.wait(minutes=3)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL
    assert excluded(world, waiting) == {before, now}


@both
def test_a_login_that_is_back_with_its_account_is_no_other(world: GateWorld) -> None:
    asked_once(world)
    before, _ = swap(world)
    waiting = next_one(world)
    there(world).rename_user("octo-trainer", "somebody-else")
    there(world).rename_user("octo-hidden", "octo-trainer")
    world.wait(minutes=3)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL
    assert before in excluded(world, waiting)
    remembered = world.store.remembered_login(world.provider.key, "octo-trainer")
    assert remembered is not None
    assert remembered.other_id is None


@both
def test_a_login_that_is_gone_stands_for_its_account(world: GateWorld) -> None:
    asked_once(world)
    before = account(world, "octo-trainer")
    there(world).rename_user("octo-trainer", "octo-hidden")
    pending = next_one(world)
    assert pending.phase is Phase.PENDING_APPROVAL
    assert excluded(world, pending) == {before}
    world.provider.approve(world.run_id_of(pending), "octo-hidden")
    world.look()
    assert "is behind this version" in world.ended(pending, Phase.REJECTED)


@both
def test_a_login_that_a_machine_took_over_stands_for_its_account(world: GateWorld) -> None:
    asked_once(world)
    before = account(world, "octo-trainer")
    there(world).rename_user("octo-trainer", "octo-hidden")
    if isinstance(standin := there(world), GitHubStandIn):
        standin.add_user("octo-trainer", type="Organization")
    else:
        standin.add_user("octo-trainer", bot=True)
    pending = next_one(world)
    assert pending.phase is Phase.PENDING_APPROVAL
    assert excluded(world, pending) == {before}


@both
def test_who_was_ever_a_trainers_account_stays_excluded_until_it_is_forgotten(world: GateWorld) -> None:
    world.reconfigure(identities={TRAINER: "reviewer-1"})
    asked_once(world)
    world.reconfigure(identities={TRAINER: "octo-trainer"})
    second = next_one(world)
    typo, right = account(world, "reviewer-1"), account(world, "octo-trainer")
    assert excluded(world, second) == {typo, right}
    forget(world, "Reviewer-1")
    assert excluded(world, second) == {typo, right}
    assert world.ledger()[-1] == ("identity", "a slip of the pen")
    world.look()
    world.ended(second, Phase.PENDING_APPROVAL)

    third = next_one(world)
    assert excluded(world, third) == {right}
    world.provider.approve(world.run_id_of(third), "reviewer-1")
    world.look()
    world.ended(third, Phase.PROMOTED)


@both
def test_what_is_forgotten_is_resolved_anew_where_gates_yaml_still_names_it(world: GateWorld) -> None:
    asked_once(world)
    before, now = swap(world)
    waiting = next_one(world)
    forget(world, "octo-trainer")
    world.wait(minutes=3)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL
    assert excluded(world, waiting) == {now}
    assert before != now


@both
def test_who_stood_behind_a_service_principal_is_remembered_for_the_alias(world: GateWorld) -> None:
    world.job_id = world.databricks.jobs.add_job("train-churn", run_as=PRINCIPAL)
    world.reconfigure(identities={TRAINER: "octo-trainer", PRINCIPAL: "reviewer-1"})
    asked_once(world)
    world.reconfigure(identities={TRAINER: "octo-trainer", PRINCIPAL: []}, name="renamed")
    second = next_one(world)
    assert excluded(world, second) == {account(world, "octo-trainer"), account(world, "reviewer-1")}
    people = world.evidence(second)["people"]
    assert isinstance(people, dict)
    assert people["nobody"]["rows"] == []
    world.reconfigure(identities={TRAINER: "octo-trainer", PRINCIPAL: []}, alias="Best")
    third = next_one(world)
    assert excluded(world, third) == {account(world, "octo-trainer")}


@both
def test_whom_trainers_listed_stays_excluded_over_renamings_of_the_gate(world: GateWorld) -> None:
    world.reconfigure(trainers=["reviewer-1"])
    asked_once(world)
    world.reconfigure(name="renamed")
    second = next_one(world)
    assert excluded(world, second) == {account(world, "octo-trainer"), account(world, "reviewer-1")}


@both
def test_a_gate_that_lets_trainers_approve_asks_nothing_about_accounts(world: GateWorld) -> None:
    asked_once(world)
    swap(world)
    world.reconfigure(allow_trainer_approval=True)
    pending = next_one(world)
    assert pending.phase is Phase.PENDING_APPROVAL
    assert pending.excluded == ()


# --- a pinned account -------------------------------------------------------------------------------------


@both
def test_a_pinned_login_of_another_account_keeps_the_request(world: GateWorld) -> None:
    number = int(account(world, "octo-trainer"))
    world.reconfigure(identities={TRAINER: {"login": "octo-trainer", "id": number + 4242}})
    waiting = next_one(world)
    assert waiting.phase is Phase.REQUESTED
    assert (
        f"gates.yaml pins octo-trainer to account {number + 4242}, and it is account {number}."
        in waiting.reason
    )
    world.reconfigure(identities={TRAINER: {"login": "octo-trainer", "id": number}})
    world.wait(minutes=3)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL


@both
def test_a_pinned_login_that_nobody_has_stands_for_its_account(world: GateWorld) -> None:
    number = int(account(world, "octo-trainer"))
    there(world).rename_user("octo-trainer", "octo-hidden")
    world.reconfigure(identities={TRAINER: {"login": "octo-trainer", "id": number}})
    pending = next_one(world)
    assert pending.phase is Phase.PENDING_APPROVAL
    assert excluded(world, pending) == {str(number)}


@both
def test_a_pin_is_the_operators_word_for_another_account(world: GateWorld) -> None:
    asked_once(world)
    before, now = swap(world)
    world.reconfigure(identities={TRAINER: {"login": "octo-trainer", "id": int(now)}})
    pending = next_one(world)
    assert pending.phase is Phase.PENDING_APPROVAL
    assert excluded(world, pending) == {before, now}


@both
def test_a_listed_trainer_is_pinned_in_the_same_way(world: GateWorld) -> None:
    number = int(account(world, "reviewer-1"))
    world.reconfigure(trainers=[{"login": "reviewer-1", "id": number + 4242}])
    waiting = next_one(world)
    assert waiting.phase is Phase.REQUESTED
    assert f"gates.yaml pins reviewer-1 to account {number + 4242}, and it is" in waiting.reason
    there(world).rename_user("reviewer-1", "reviewer-renamed")
    world.reconfigure(trainers=[{"login": "reviewer-1", "id": number}])
    world.wait(minutes=3)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL
    assert excluded(world, waiting) == {account(world, "octo-trainer"), str(number)}


@both
def test_a_pin_that_is_added_for_the_same_account_is_no_change_of_the_settings(world: GateWorld) -> None:
    world.reconfigure(trainers=["reviewer-2"], newer_version="keep")
    pending = world.ask()
    number = int(account(world, "reviewer-2"))
    world.reconfigure(trainers=[{"login": "reviewer-2", "id": number}], newer_version="keep")
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)


# --- settings that changed while people were asked --------------------------------------------------------


@both
def test_the_same_account_under_its_new_login_is_no_change_of_the_settings(world: GateWorld) -> None:
    first = asked_once(world)
    there(world).rename_user("octo-trainer", "octo-hidden")
    pending = next_one(world)
    world.reconfigure(identities={TRAINER: "octo-hidden"}, newer_version="keep")
    newer = next_one(world)
    assert newer.approval_sha256 == pending.approval_sha256 == world.again(first).approval_sha256
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)


@both
def test_an_account_that_is_accepted_makes_open_requests_stale(world: GateWorld) -> None:
    pending = world.ask()
    swap(world)
    world.clock.move(days=1)
    next_one(world)
    accept(world)
    world.look()
    assert "approval settings of gate churn have changed" in world.ended(pending, Phase.STALE)


@both
def test_entries_of_people_who_did_not_train_it_may_change(world: GateWorld) -> None:
    pending = world.ask()
    world.reconfigure(identities={TRAINER: "octo-trainer", "new@example.com": "reviewer-2"})
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)


@both
def test_another_account_for_a_trainer_makes_open_requests_stale(world: GateWorld) -> None:
    pending = world.ask()
    world.reconfigure(identities={TRAINER: ["octo-trainer", "reviewer-2"]})
    world.provider.approve(world.run_id_of(pending), "reviewer-2")
    world.look()
    assert "approval settings of gate churn have changed" in world.ended(pending, Phase.STALE)


def as_hashed_before(world: GateWorld, promotion: Promotion) -> None:
    """Store the hash that a release wrote which took logins as they stand in gates.yaml."""
    (gate,) = world.settings.gates.gates
    world.store.hint_promotion(promotion.id, world.clock.now())
    taken = world.store.take_promotion(promotion.id, world.clock.now(), 60)
    assert taken is not None
    assert gate.approval_sha256() != taken.approval_sha256
    old = replace(taken, approval_sha256=gate.approval_sha256())
    world.store.save_promotion(old, world.clock.now(), release=True)


@both
def test_a_hash_of_logins_as_they_are_written_is_still_believed(world: GateWorld) -> None:
    pending = world.ask()
    as_hashed_before(world, pending)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    world.ended(pending, Phase.PROMOTED)


@both
def test_but_not_when_a_login_in_it_is_another_account_now(world: GateWorld) -> None:
    pending = world.ask()
    as_hashed_before(world, pending)
    swap(world)
    world.clock.move(days=1)
    next_one(world)
    accept(world)
    world.look()
    assert "approval settings of gate churn have changed" in world.ended(pending, Phase.STALE)


@both
def test_nor_when_gates_yaml_says_otherwise(world: GateWorld) -> None:
    pending = world.ask()
    as_hashed_before(world, pending)
    number = int(account(world, "octo-trainer"))
    world.reconfigure(identities={TRAINER: {"login": "octo-trainer", "id": number + 1}})
    world.look()
    assert "approval settings of gate churn have changed" in world.ended(pending, Phase.STALE)


# --- listed approvers -------------------------------------------------------------------------------------


def with_approvers(world: GateWorld, *approvers: object) -> None:
    (place,) = world.approval.values()
    assert isinstance(place, dict)
    world.reconfigure(approval={"gitlab": {**place, "approvers": list(approvers)}})


@gitlab
def test_an_approvers_login_in_other_hands_keeps_the_request(world: GateWorld) -> None:
    with_approvers(world, "reviewer-1", "reviewer-2")
    asked_once(world)
    before, now = swap(world, "reviewer-1", "reviewer-renamed")
    waiting = next_one(world)
    assert waiting.phase is Phase.REQUESTED
    assert "`approvers` names reviewer-1: " in waiting.reason
    assert "reviewer-1 is another account now than on" in waiting.reason
    accept(world, "reviewer-1", now)
    assert world.again(waiting).phase is Phase.PENDING_APPROVAL
    assert before != now


@gitlab
def test_an_approver_who_renamed_their_account_still_may_approve(world: GateWorld) -> None:
    with_approvers(world, "reviewer-1")
    asked_once(world)
    there(world).rename_user("reviewer-1", "reviewer-renamed")
    pending = next_one(world)
    world.provider.approve(world.run_id_of(pending), "reviewer-renamed")
    world.look()
    world.ended(pending, Phase.PROMOTED)


@gitlab
def test_a_pinned_approver_is_the_account_whoever_has_the_login(world: GateWorld) -> None:
    number = int(account(world, "reviewer-1"))
    with_approvers(world, {"login": "reviewer-1", "id": number + 4242})
    waiting = next_one(world)
    assert waiting.phase is Phase.REQUESTED
    assert f"pins reviewer-1 to account {number + 4242}, and it is account {number}." in waiting.reason
    there(world).rename_user("reviewer-1", "reviewer-renamed")
    with_approvers(world, {"login": "reviewer-1", "id": number})
    world.wait(minutes=3)
    pending = world.again(waiting)
    world.provider.approve(world.run_id_of(pending), "reviewer-renamed")
    world.look()
    world.ended(pending, Phase.PROMOTED)


@gitlab
def test_an_approvers_login_that_changes_hands_while_people_are_asked_counts_for_nobody_else(
    world: GateWorld,
) -> None:
    with_approvers(world, "reviewer-1")
    pending = world.ask()
    swap(world, "reviewer-1", "reviewer-renamed")
    standin = there(world)
    assert isinstance(standin, GitLabStandIn)
    standin.add_member(PROJECT, "reviewer-1", MAINTAINER)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    assert "reviewer-1 is another account now than on" in world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.models.champion() == "1"


@pytest.mark.parametrize("world", ["gitlab-environment"], indirect=True)
def test_a_bots_login_in_other_hands_keeps_the_request(world: GateWorld) -> None:
    (place,) = world.approval.values()
    assert isinstance(place, dict)
    world.reconfigure(approval={"gitlab": {**place, "bot": BOT}})
    asked_once(world)
    swap(world, BOT, "bot-renamed")
    waiting = next_one(world)
    assert waiting.phase is Phase.REQUESTED
    assert f"{BOT} is another account now than on" in waiting.reason


# --- orders -----------------------------------------------------------------------------------------------


@both
def test_only_what_is_so_can_be_accepted_or_forgotten(world: GateWorld) -> None:
    with pytest.raises(NotFoundError, match="Nothing is remembered of octo-trainer"):
        accept(world)
    with pytest.raises(NotFoundError, match="Nothing is remembered of octo-trainer"):
        forget(world, "octo-trainer")
    asked_once(world)
    with pytest.raises(ConflictError, match="as before: there is nothing to accept"):
        accept(world)
    _, now = swap(world)
    next_one(world)
    with pytest.raises(ConflictError, match=f"octo-trainer is account {now} now, not 99"):
        accept(world, user_id="99")
    assert [kind for kind, _ in world.ledger()] == []
    accept(world, user_id=now)
    with pytest.raises(ConflictError, match="nothing to accept"):
        accept(world)
    assert [kind for kind, _ in world.ledger()] == ["identity"]


@both
def test_the_ledger_says_who_accepted_and_forgot_what(world: GateWorld) -> None:
    asked_once(world)
    before, now = swap(world)
    next_one(world)
    accept(world)
    forget(world, "octo-trainer")
    forgotten, accepted = world.store.ledger_lines()
    common = {
        "provider": world.provider.key,
        "login": "octo-trainer",
        "authenticated_by": "API token t1",
        "address": "192.0.2.7",
    }
    assert accepted.entry.facts == {
        **common,
        "order": "accepted",
        "former_id": before,
        "accepted_id": now,
    }
    assert forgotten.entry.facts == {
        **common,
        "order": "forgotten",
        "forgotten_ids": sorted([before, now]),
        "trainers": [TRAINER],
    }
    assert {line.entry.actor for line in (accepted, forgotten)} == {"operator-1"}
    assert world.store.verify_ledger() == 2


@both
def test_everything_that_is_remembered_is_shown(world: GateWorld) -> None:
    asked_once(world)
    before, now = swap(world)
    next_one(world)
    (known,) = world.core.context.identities.known()
    assert (known.provider, known.login) == (world.provider.key, "octo-trainer")
    assert (known.user_id, known.other_id) == (before, now)
    assert {(each.trainer, each.alias, each.user_id) for each in known.accounts} == {
        (TRAINER, "", before),
        (TRAINER, "", now),
    }
