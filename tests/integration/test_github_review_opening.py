"""A request at GitHub as a pull request: opened once, found again whatever broke off, and ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import StepKind
from champion_gate.errors import (
    RequestGoneError,
    UnsafeTargetError,
    VendorRefusedError,
    VendorUnavailableError,
)
from integration.github_review_world import (
    BOT,
    NAME,
    ReviewWorld,
    github_review_world,
    known,
    number_of,
    shown,
    target_of,
)

pytestmark = [pytest.mark.part("rest"), pytest.mark.spread(2)]


@pytest.fixture
def world() -> Iterator[ReviewWorld]:
    with github_review_world() as made:
        yield made


def find(world: ReviewWorld, promotion: Promotion) -> list[str]:
    assert promotion.request is not None
    return [one.external_id for one in world.here.find(promotion.request.target, promotion).ours]


def test_a_branch_a_commit_and_a_pull_request_are_made_once(world: ReviewWorld) -> None:
    promotion = world.promotion()

    first, again = world.open(promotion), world.open(promotion)

    assert first == again
    repository = world.there.repository(NAME)
    branch = f"champion-gate/{promotion.correlation_id}"
    assert world.branches() == [branch]
    assert repository.files[branch]["promotions/p-1.md"] == shown(promotion)
    (pull,) = repository.pulls
    assert (pull.user.login, pull.base) == (BOT, "main")
    assert pull.title == f"Champion main.ml.churn v2 [{promotion.correlation_id}]"
    assert "**Approving this pull request moves `Champion` of `main.ml.churn` to v2.**" in pull.body
    assert "| `risk` | `ann` and team `officers` |" in pull.body
    assert first.pins == {"commit": repository.branches[branch]}
    assert find(world, promotion) == [first.external_id]


WRITES = {
    "branch": ("POST", "/git/refs$"),
    "file": ("PUT", "/contents/"),
    "pull": ("POST", "/pulls$"),
    "reviewers": ("POST", "/requested_reviewers$"),
}


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("write", WRITES)
def test_whatever_breaks_off_is_gone_on_with(world: ReviewWorld, write: str, carried_out: bool) -> None:
    promotion = world.promotion()
    method, path = WRITES[write]
    fault = world.there.faults.add(path, method=method, drop=True, carry_out=carried_out)
    if write == "reviewers":
        opened = world.open(promotion)
    else:
        with pytest.raises(VendorUnavailableError) as unknown:
            world.open(promotion)
        assert unknown.value.outcome_unknown
        assert fault.hits == 1
        world.there.faults.clear()
        assert bool(find(world, promotion)) is (write == "pull" and carried_out)
        opened = world.open(promotion)

    (pull,) = world.there.repository(NAME).pulls
    assert opened.external_id.partition("-")[2] == str(pull.number)
    assert world.read(known(promotion, opened)).moved is None
    assert find(world, promotion) == [opened.external_id]


@pytest.mark.parametrize("status", [403, 500, 404])
def test_a_refusal_halfway_keeps_the_evidence_that_is_there(world: ReviewWorld, status: int) -> None:
    promotion = world.promotion()
    world.there.faults.add("/pulls$", method="POST", status=status)

    with pytest.raises(VendorUnavailableError) as refused:
        world.open(promotion)

    assert refused.value.outcome_unknown
    assert f"champion-gate/{promotion.correlation_id} is there" in str(refused.value)


def test_before_anything_is_made_a_refusal_is_certain(world: ReviewWorld) -> None:
    promotion = world.promotion()
    world.there.faults.add("/git/refs$", method="POST", status=403)

    with pytest.raises(VendorRefusedError):
        world.open(promotion)

    assert world.branches() == []


@pytest.mark.parametrize("how", ["a file of theirs", "our file changed", "a second commit"])
def test_a_branch_that_somebody_else_made_is_refused(world: ReviewWorld, how: str) -> None:
    promotion = world.promotion()
    branch = f"champion-gate/{promotion.correlation_id}"
    world.people.make_branch(NAME, branch, "bob")
    path = "README.md" if how == "a file of theirs" else "promotions/p-1.md"
    world.people.push(NAME, branch, "bob", path, "better than it is")
    if how == "a second commit":
        world.people.push(NAME, branch, "bob", path, shown(promotion))

    with pytest.raises(VendorUnavailableError) as refused:
        world.open(promotion)

    assert "holds something else than the evidence" in str(refused.value)
    assert world.there.repository(NAME).pulls == []
    world.people.delete_branch(NAME, branch, "bob")
    assert world.open(promotion).pins == {"commit": world.there.repository(NAME).branches[branch]}


def test_a_branch_that_is_still_bases_is_gone_on_with_although_base_went_on(world: ReviewWorld) -> None:
    promotion = world.promotion()
    world.people.make_branch(NAME, f"champion-gate/{promotion.correlation_id}", "bob")
    world.people.push(NAME, "main", "bob")

    opened = world.open(promotion)

    assert world.read(known(promotion, opened)).moved is None


def test_a_forged_pull_request_is_not_found(world: ReviewWorld) -> None:
    """The branch is replaced between the opening and the look for it."""
    promotion = world.promotion()
    world.open(promotion)
    branch = f"champion-gate/{promotion.correlation_id}"
    world.people.force_push(NAME, branch, "bob", "promotions/p-1.md", "better than it is")

    assert promotion.request is not None
    found = world.here.find(promotion.request.target, promotion)

    assert found.ours == ()
    assert "does not show the evidence" in found.remark


def test_a_pull_request_of_a_fork_with_the_same_branch_is_none_of_ours(world: ReviewWorld) -> None:
    promotion = world.promotion()
    world.people.fork(NAME, "mallory")
    branch = f"champion-gate/{promotion.correlation_id}"
    world.people.make_branch("mallory/ml-approvals", branch, "mallory")
    world.people.push("mallory/ml-approvals", branch, "mallory", "promotions/p-1.md", shown(promotion))
    world.people.give(NAME, "mallory", "read")
    world.people.open(NAME, "mallory", f"mallory:{branch}")

    assert find(world, promotion) == []
    opened = world.open(promotion)
    assert opened.external_id.endswith("-2")


def test_what_shows_earlier_evidence_is_closed_and_deleted(world: ReviewWorld) -> None:
    earlier = world.asked()
    half = world.promotion(to="3")
    world.there.faults.add("/pulls$", method="POST", drop=True)
    with pytest.raises(VendorUnavailableError):
        world.open(half)
    world.there.faults.clear()
    now = world.promotion(to="4")
    opened = world.open(now)
    assert now.request is not None

    outdated = world.here.find(now.request.target, now).outdated
    for one in outdated:
        world.here.cancel(now.request.target, one)

    assert earlier.request is not None
    assert earlier.request.external_id in outdated
    assert world.branches() == [f"champion-gate/{now.correlation_id}"]
    assert [one.state for one in world.there.repository(NAME).pulls] == ["closed", "open"]
    assert find(world, now) == [opened.external_id]
    assert world.here.duplicates(now.request.target, known(now, opened)) == ()


def test_what_is_cancelled_is_closed_and_its_branch_deleted_once_and_again(world: ReviewWorld) -> None:
    promotion = world.asked()
    assert promotion.request is not None
    assert promotion.request.external_id is not None

    for _ in range(2):
        world.here.cancel(promotion.request.target, promotion.request.external_id)

    assert (world.pull(promotion).state, world.branches()) == ("closed", [])


def test_a_request_that_was_never_told_is_ended_too(world: ReviewWorld) -> None:
    promotion = world.promotion()
    world.open(promotion)
    assert promotion.request is not None

    for one in world.here.duplicates(promotion.request.target, promotion):
        world.here.cancel(promotion.request.target, one)

    assert (world.there.repository(NAME).pulls[0].state, world.branches()) == ("closed", [])


def test_the_pull_request_of_the_same_number_in_another_repository_is_left_alone(world: ReviewWorld) -> None:
    """Where one was deleted and made anew, numbers begin anew."""
    promotion = world.asked()
    assert promotion.request is not None
    another = f"77-{number_of(promotion)}"
    ended = replace(promotion, request=replace(promotion.request, external_id=another))

    world.here.cancel(promotion.request.target, another)
    with pytest.raises(VendorRefusedError, match="another repository"):
        world.here.comment(promotion.request.target, ended, "Stale.")

    assert world.pull(promotion).state == "open"
    assert world.pull(promotion).comments == []


def test_a_branch_that_only_begins_like_ours_stops_nothing(world: ReviewWorld) -> None:
    promotion = world.asked()
    assert promotion.request is not None
    world.people.make_branch(NAME, f"champion-gate/{promotion.id}-notes", "bob")

    assert world.here.duplicates(promotion.request.target, promotion) == ()
    assert world.here.find(promotion.request.target, promotion).outdated == ()


def test_a_branch_that_may_not_be_deleted_is_told(world: ReviewWorld) -> None:
    promotion = world.asked()
    assert promotion.request is not None
    repository = world.there.repository(NAME)
    repository.branch_rules[f"champion-gate/{promotion.correlation_id}"] = {"deletion": {}}

    with pytest.raises(VendorRefusedError, match="Cannot delete this branch"):
        world.here.cancel(promotion.request.target, promotion.request.external_id or "")

    assert world.pull(promotion).state == "closed"


def test_somebody_elses_pull_request_is_not_closed(world: ReviewWorld) -> None:
    promotion = world.asked()
    world.people.make_branch(NAME, "theirs", "bob")
    world.people.push(NAME, "theirs", "bob")
    number = world.people.open(NAME, "bob", "theirs")
    assert promotion.request is not None
    repository = world.there.repository(NAME).id

    with pytest.raises(VendorRefusedError):
        world.here.cancel(promotion.request.target, f"{repository}-{number}")

    assert world.people.pull(NAME, number).state == "open"


# --- the place ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"base": "nowhere"}, "has no branch nowhere"),
        ({"approvers": {"people": ["nobody-here"]}}, "Who nobody-here, whom gates.yaml lets approve"),
        ({"approvers": {"people": ["rea"]}}, "too few may approve: rea may not write there"),
        (
            {"approvers": {"teams": ["no-team"]}},
            "Team no-team of example, which gates.yaml lets approve, cannot",
        ),
        ({"repository_id": 1}, "gates.yaml demands repository_id 1"),
        ({"repository": "example/none"}, "our App is not installed on example/none"),
    ],
)
def test_a_place_that_is_not_as_it_must_be_is_told(
    world: ReviewWorld, place: dict[str, object], says: str
) -> None:
    with pytest.raises(UnsafeTargetError, match=says):
        world.promotion(target=target_of(**place))


def test_who_may_approve(world: ReviewWorld) -> None:
    ids = {login: str(world.there.state.users[login].id) for login in ("ann", "bob", "cleo")}

    science, risk = world.here.may_approve(target_of())

    assert science == {ids["ann"], ids["bob"]}
    assert risk == {ids["ann"], ids["cleo"]}


# --- what people are told, and the end ------------------------------------------------------------------------


def test_status_comment_and_merge(world: ReviewWorld) -> None:
    target = target_of(merge=True)
    promotion = world.asked(target=target)
    others = [world.asked(f"p-{number}", target) for number in range(2, 5)]
    assert StepKind.MERGE in world.here.steps(target)
    assert StepKind.CANCEL_REQUEST in world.here.steps(target_of())

    world.here.show_status(target, promotion, "1 of 2 approved; risk is missing")
    done = replace(promotion, phase=Phase.PROMOTED)
    for _ in range(2):
        world.here.comment(target, done, "**Promoted.** Line 3.")
        assert world.here.merge(target, done) == "Pull request 1 is merged into main."
    world.here.show_status(target, done, "promoted")

    told = [(one.state, one.context, one.description) for one in world.there.repository(NAME).statuses]
    assert told == [
        ("pending", "champion-gate", "1 of 2 approved; risk is missing"),
        ("success", "champion-gate", "promoted"),
    ]
    pull = world.pull(promotion)
    assert [one.body.partition("\n")[0] for one in pull.comments] == ["**Promoted.** Line 3."]
    assert pull.merged_at is not None
    assert world.there.repository(NAME).files["main"]["promotions/p-1.md"] == shown(promotion)
    assert len(world.branches()) == len(others)
    for other in others:
        state = world.read(other)
        assert (state.problems, state.moved, world.pull(other).state) == ((), None, "open")


def test_only_what_was_approved_is_merged(world: ReviewWorld) -> None:
    target = target_of(merge=True)
    promotion = world.asked(target=target)
    world.people.push(NAME, f"champion-gate/{promotion.correlation_id}", "bob")

    with pytest.raises(VendorRefusedError, match="is not what was approved any more"):
        world.here.merge(target, promotion)

    assert world.pull(promotion).merged_at is None

    world.people.merge(NAME, number_of(promotion), "bob")
    with pytest.raises(VendorRefusedError, match="is not what was approved any more"):
        world.here.merge(target, promotion)


@pytest.mark.parametrize("lost", [True, False])
def test_a_merge_that_is_not_let_in_is_tried_again(world: ReviewWorld, lost: bool) -> None:
    target = target_of(merge=True)
    promotion = world.asked(target=target)
    options = {"drop": True, "carry_out": True} if lost else {"status": 409}
    world.there.faults.add("/merge$", method="PUT", times=1, **options)
    with pytest.raises(VendorUnavailableError):
        world.here.merge(target, promotion)

    assert world.here.merge(target, promotion).endswith("is merged into main.")


def test_a_merge_that_another_one_came_before_is_tried_again_in_the_same_way(world: ReviewWorld) -> None:
    target = target_of(merge=True)
    promotion = world.asked(target=target)
    moved = '{"message": "Base branch was modified. Review and try the merge again."}'
    world.there.faults.add("/merge$", method="PUT", status=405, body=moved, times=1)

    with pytest.raises(VendorUnavailableError, match="Base branch was modified"):
        world.here.merge(target, promotion)
    assert world.pull(promotion).merged_at is None
    world.here.merge(target, promotion)

    there = world.there.repository(NAME)
    assert world.pull(promotion).head_sha in there.commits[there.branches["main"]].parents


def test_a_merge_that_the_repository_forbids_is_refused(world: ReviewWorld) -> None:
    target = target_of(merge=True)
    promotion = world.asked(target=target)
    fault = world.there.faults.add("/merge$", method="PUT", status=405)

    with pytest.raises(VendorRefusedError):
        world.here.merge(target, promotion)

    assert fault.hits == 3


# --- news -----------------------------------------------------------------------------------------------------


def test_one_list_tells_which_are_worth_reading(world: ReviewWorld) -> None:
    pending = [world.asked(f"p-{number}") for number in range(1, 6)]
    targets = {"churn": target_of()}
    assert world.here.with_news(pending, targets).promotions == ()
    asked = len(world.there.faults.requests)
    world.clock.move(minutes=1)
    world.people.review(NAME, number_of(pending[2]), "ann")
    world.people.close(NAME, number_of(pending[3]), "bob")

    news = world.here.with_news(pending, targets)

    assert sorted(news.promotions) == ["p-3", "p-4"]
    assert len(world.there.faults.requests) - asked == 1
    double = replace(pending[0], id="p-9")
    assert world.here.with_news([double], targets).asking.keys() >= {"p-2", "p-5"}


def test_a_pull_request_that_is_gone_is_told_apart_from_one_that_cannot_be_read(world: ReviewWorld) -> None:
    promotion = world.asked()
    world.there.faults.add(f"/pulls/{number_of(promotion)}$", status=404)
    with pytest.raises(VendorRefusedError) as hidden:
        world.read(promotion)
    assert not isinstance(hidden.value, RequestGoneError)

    world.there.repository(NAME).pulls.clear()
    with pytest.raises(RequestGoneError):
        world.read(promotion)
