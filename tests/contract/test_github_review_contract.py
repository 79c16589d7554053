"""Every request of approval by review, and what the stand-in answers, is as GitHub describes it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from champion_gate.domain.approval import Verdict
from champion_gate.errors import VendorUnavailableError
from contract.validating import ValidatingApp
from integration.github_review_world import (
    NAME,
    ReviewWorld,
    github_review_world,
    number_of,
    shown,
    target_of,
)

pytestmark = pytest.mark.part("rest")


def checked(world: ReviewWorld) -> ValidatingApp:
    checks = ValidatingApp(world.there.app.wsgi_app)
    world.there.app.wsgi_app = checks  # type: ignore[method-assign]
    return checks


def test_a_whole_approval_by_review_speaks_as_github_describes() -> None:
    with github_review_world() as world:
        checks, target = checked(world), target_of(approvers={"people": ["ann", "bob"]}, merge=True)
        world.here.check()
        world.here.find_person(target, "ann")
        world.here.may_approve(target)
        promotion, other = world.asked(target=target), world.asked("p-2", target)
        assert {one.external_id for one in world.here.find(target, promotion).ours}
        world.here.show_status(target, promotion, "0 of 1 approved")
        world.people.comment(NAME, number_of(promotion), "rea", "Hm.")
        world.people.close(NAME, number_of(promotion), "ann")
        world.read(promotion)
        world.people.reopen(NAME, number_of(promotion), "ann")
        world.people.review(NAME, number_of(promotion), "bob")
        assert [one.verdict for one in world.read(promotion).reviews] == [Verdict.APPROVED]
        world.here.with_news([promotion, other], {"churn": target})
        world.here.comment(target, promotion, "Champion of m moved from v1 to v2.")
        world.here.merge(target, promotion)
        world.here.duplicates(target, other)
        world.here.cancel(target, str(other.request and other.request.external_id))

        assert checks.violations == []
        asked = {" ".join(key.split()[:2]).replace("/repos/{owner}/{repo}", "") for key in checks.checked}
        assert asked >= {
            "GET /collaborators/{username}/permission",
            "GET /compare/{basehead}",
            "GET /git/ref/heads/{ref}",
            "GET /issues/{issue_number}/timeline",
            "GET /pulls",
            "GET /pulls/{pull_number}",
            "GET /pulls/{pull_number}/reviews",
            "POST /git/refs",
            "POST /issues/{issue_number}/comments",
            "POST /pulls",
            "POST /pulls/{pull_number}/requested_reviewers",
            "POST /statuses/{sha}",
            "PUT /contents/{path}",
            "PUT /pulls/{pull_number}/merge",
            "PATCH /pulls/{pull_number}",
            "DELETE /git/refs/heads/{ref}",
        }


@pytest.mark.parametrize("lost", ["/git/refs$", "/contents/", "/pulls$"])
def test_what_was_lost_on_the_way_is_found_by_requests_as_github_describes_them(lost: str) -> None:
    with github_review_world() as world:
        checks, promotion = checked(world), world.promotion()
        method = "PUT" if lost == "/contents/" else "POST"
        world.there.faults.add(lost, method=method, drop=True, carry_out=True, times=1)
        target = promotion.request.target if promotion.request else target_of()
        with pytest.raises(VendorUnavailableError):
            world.here.open(target, promotion, shown(promotion))
        world.clock.at += timedelta(minutes=1)
        opened = world.here.open(target, promotion, shown(promotion))
        assert opened is not None
        assert len(world.there.repository(NAME).pulls) == 1
        assert checks.violations == []
