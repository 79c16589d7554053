"""The attack list, 29: a trainer who is a listed reviewer renames their account, and a throwaway account takes the login.

Everything is over HTTP: the vendor's and the registry's stand-ins behind the gate, and its API before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import Promotion
from champion_gate_standins.gitlab.state import MAINTAINER
from integration.api_world import ApiWorld, api_world
from integration.gate_providers import EVERY_KIND, PROJECT

HIDDEN = "octo-hidden"
IDENTITIES = "/api/v1/identities"


@pytest.fixture(params=EVERY_KIND)
def attacked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path, provider=request.param) as world:
        yield world


def standin(world: ApiWorld) -> Any:
    return world.gate.provider.standin  # type: ignore[attr-defined] # each of these has one


def shown(world: ApiWorld, promotion: Promotion) -> dict[str, Any]:
    found: dict[str, Any] = world.call("GET", f"/api/v1/promotions/{promotion.id}").json()
    return found


def order(world: ApiWorld, what: str, login: str, **more: str) -> None:
    path = f"{IDENTITIES}/{world.gate.provider.key}/{login}/{what}"
    assert world.call("POST", path, {"reason": "asked them", **more}).status_code == 200
    world.gate.settle()


def renamed_and_taken_over(world: ApiWorld) -> Promotion:
    """The first version is asked for and cancelled; then the logins change hands, and the next is trained."""
    first = world.gate.ask()
    world.call("POST", f"/api/v1/promotions/{first.id}/cancel", {"reason": "not this one"})
    world.gate.wait(days=2)
    standin(world).rename_user("octo-trainer", HIDDEN)
    standin(world).add_user("octo-trainer")
    version = world.gate.train()
    world.gate.settle()
    return next(each for each in world.gate.promotions() if each.version.version == version)


def assert_unharmed(world: ApiWorld) -> None:
    assert world.gate.models.champion() == "1"
    assert world.gate.databricks.catalog.alias_writes == []
    lines = world.call("GET", "/api/v1/models/main.ml.churn/aliases/Champion/history").json()["lines"]
    assert [line for line in lines if line["facts"].get("verdict") == "approved"] == []
    world.gate.store.verify_ledger()


def approves_in_vain(world: ApiWorld, promotion: Promotion, login: str, words: str) -> None:
    world.gate.provider.approve(world.gate.run_id_of(promotion), login)
    world.gate.look()
    view = shown(world, promotion)
    assert view["phase"] == "rejected", view
    assert words in view["reason"]
    assert_unharmed(world)


def test_attack_29_the_throwaway_account_is_not_excluded_in_the_trainers_place(attacked: ApiWorld) -> None:
    promotion = renamed_and_taken_over(attacked)
    view = shown(attacked, promotion)
    assert view["phase"] == "requested"
    assert view["reason"].startswith("octo-trainer is another account now than on 20")
    assert attacked.gate.provider.asked() == 1
    attacked.gate.wait(days=1)
    assert shown(attacked, promotion)["phase"] == "requested"
    assert_unharmed(attacked)


def test_attack_29_nor_after_an_operator_has_accepted_it_without_a_thought(attacked: ApiWorld) -> None:
    promotion = renamed_and_taken_over(attacked)
    order(attacked, "accept", "octo-trainer")
    assert shown(attacked, promotion)["phase"] == "pending_approval"
    approves_in_vain(attacked, promotion, HIDDEN, f"{HIDDEN} does not count, who is behind this version")


def test_attack_29_nor_after_the_entry_was_changed_to_another_of_their_logins(attacked: ApiWorld) -> None:
    promotion = renamed_and_taken_over(attacked)
    standin(attacked).add_user("octo-third")
    attacked.gate.reconfigure(identities={"trainer@example.com": "octo-third"})
    attacked.gate.wait(minutes=3)
    assert shown(attacked, promotion)["phase"] == "pending_approval"
    approves_in_vain(attacked, promotion, HIDDEN, f"{HIDDEN} does not count, who is behind this version")


def test_attack_29_nor_where_nobody_has_the_login_any_more(attacked: ApiWorld) -> None:
    attacked.gate.ask()
    standin(attacked).rename_user("octo-trainer", HIDDEN)
    version = attacked.gate.train()
    attacked.gate.settle()
    promotion = next(each for each in attacked.gate.promotions() if each.version.version == version)
    assert shown(attacked, promotion)["phase"] == "pending_approval"
    approves_in_vain(attacked, promotion, HIDDEN, f"{HIDDEN} does not count, who is behind this version")


def test_attack_29_a_slip_that_was_corrected_bars_nobody_for_ever(attacked: ApiWorld) -> None:
    attacked.gate.reconfigure(identities={"trainer@example.com": "reviewer-1"})
    attacked.gate.ask()
    attacked.gate.reconfigure(identities={"trainer@example.com": "octo-trainer"})
    order(attacked, "forget", "reviewer-1")
    pending = attacked.gate.ask()
    attacked.gate.provider.approve(attacked.gate.run_id_of(pending), "reviewer-1")
    attacked.gate.look()
    assert shown(attacked, pending)["phase"] == "promoted"
    assert [line.entry.kind.value for line in attacked.gate.store.ledger_lines()][-1] == "identity"


@pytest.mark.parametrize("attacked", EVERY_KIND[1:], indirect=True)
def test_attack_29_a_listed_approvers_old_login_approves_nothing(attacked: ApiWorld) -> None:
    (place,) = attacked.gate.approval.values()
    assert isinstance(place, dict)
    attacked.gate.reconfigure(approval={"gitlab": {**place, "approvers": ["reviewer-1"]}})
    pending = attacked.gate.ask()
    standin(attacked).rename_user("reviewer-1", "reviewer-renamed")
    standin(attacked).add_member(PROJECT, "reviewer-1", MAINTAINER)
    attacked.gate.provider.approve(attacked.gate.run_id_of(pending), "reviewer-1")
    attacked.gate.look()
    view = shown(attacked, pending)
    assert view["phase"] == "pending_approval"
    assert "reviewer-1 is another account now than on 20" in view["reason"]
    assert_unharmed(attacked)
