"""Every request that the real adapter makes, and what the stand-in answers, is as GitHub describes it."""

from __future__ import annotations

import pytest

from champion_gate.domain.approval import News, Verdict
from champion_gate.errors import UnsafeTargetError, VendorUnavailableError
from contract.validating import VERSIONS, ValidatingApp
from integration.github_world import EVIDENCE, REPOSITORY, World, github_world, run_of, target_of


def checked(world: World) -> ValidatingApp:
    checks = ValidatingApp(world.there.app.wsgi_app)
    world.there.app.wsgi_app = checks  # type: ignore[method-assign]
    return checks


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("credentials", ["app", "token"])
def test_a_whole_approval_speaks_as_github_describes(version: str, credentials: str) -> None:
    with github_world(credentials=credentials, api_version=version) as world:
        checks = checked(world)
        team = world.there.add_team("example", "ml", ["ben"])
        world.there.protect_environment(REPOSITORY, "second", [team], branch_policy="main")
        target = target_of("champion", "second")
        world.here.check()
        world.here.find_person(target, "ann")
        promotion = world.asked(target=target)
        other = world.asked("p-2", target)
        assert {one.external_id for one in world.here.find(target, promotion).ours} == {run_of(promotion)}
        assert world.here.with_news([promotion, other], {"churn": target}) == News()
        assert world.read(promotion).reviews == ()
        world.there.review(run_of(promotion), "champion", "ann", approve=True, comment="good")
        world.there.review(run_of(promotion), "second", "ben", approve=True)
        state = world.read(promotion)
        world.here.cancel(target, run_of(other))
        world.here.cancel(target, run_of(other))

        assert [(one.verdict, one.seat, one.login) for one in state.reviews] == [
            (Verdict.APPROVED, "champion", "ann"),
            (Verdict.APPROVED, "second", "ben"),
        ]
        assert set(state.released_at) == {"champion", "second"}
        assert checks.violations == []
        asked = {key.rpartition(" ")[0].partition(" ")[2].rpartition("/")[2] for key in checks.checked}
        assert asked >= {
            "{run_id}",
            "approvals",
            "jobs",
            "runs",
            "{environment_name}",
            "dispatches",
            "cancel",
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_refusals_and_outages_are_met_with_the_same_requests(version: str) -> None:
    with github_world(api_version=version) as world:
        checks = checked(world)
        promotion = world.promotion()
        world.there.faults.add("/dispatches$", drop=True, carry_out=True, times=1)
        with pytest.raises(VendorUnavailableError):
            world.here.open(target_of(), promotion, EVIDENCE)
        (found,) = world.here.find(target_of(), promotion).ours
        world.there.faults.add("/approvals$", status=503, times=1)
        assert world.read(world.with_run(promotion, found.external_id)).reviews == ()
        world.there.delete_environment(REPOSITORY, "champion")
        with pytest.raises(UnsafeTargetError):
            world.here.check_place(target_of())
        assert checks.violations == []
