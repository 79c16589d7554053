"""Opening a request, finding it again, cancelling it, and looking for news."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests

from champion_gate.domain.approval import News
from champion_gate.errors import (
    InvalidNameError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from integration.github_world import (
    EVIDENCE,
    QUICK,
    REPOSITORY,
    World,
    github_world,
    run_of,
    target_of,
)

INPUTS = {"model": "m", "version": "2", "alias": "Champion", "evidence": "e", "environments": '["champion"]'}


@pytest.fixture
def world() -> Iterator[World]:
    with github_world() as made:
        yield made


# --- open -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", ["app", "token"])
@pytest.mark.parametrize("api_version", ["2022-11-28", "2026-03-10"])
def test_a_request_is_one_run_that_waits_for_its_reviewers(credentials: str, api_version: str) -> None:
    with github_world(credentials=credentials, api_version=api_version) as world:
        opened = world.here.open(target_of(), world.promotion(), EVIDENCE)
        (run,) = world.there.runs
        assert opened is not None
        assert opened.external_id == str(run.id)
        assert opened.url == f"{world.url}/{REPOSITORY}/actions/runs/{run.id}"
        assert run.status == "waiting"
        assert run.display_title == "Champion main.ml.churn v2 [p-1]"
        assert dict(run.inputs) == {
            "promotion_id": "p-1",
            "model": "main.ml.churn",
            "version": "2",
            "alias": "Champion",
            "environments": '["champion"]',
            "evidence": EVIDENCE,
        }


@pytest.mark.parametrize("model", ["main." + "m" * 249 + ".churn", "é" * 767])
def test_the_title_of_a_run_stays_short_and_keeps_its_id(world: World, model: str) -> None:
    promotion = replace(world.promotion("p" * 49), model=model, evidence_sha256="a" * 64)
    opened = world.here.open(target_of(), promotion, EVIDENCE)
    (run,) = world.there.runs
    assert len(run.display_title) <= 255
    assert run.display_title.endswith(f"{model[-6:]} v2 [{promotion.correlation_id}]")
    assert world.here.find(target_of(), promotion).ours == (opened,)


@pytest.mark.parametrize("older_server", ["ignored", "refused"])
def test_a_server_that_tells_no_run_id_is_asked_once_and_the_run_is_found(
    world: World, older_server: str
) -> None:
    world.there.api.run_details = older_server
    promotion = world.promotion()
    assert world.here.open(target_of(), promotion, EVIDENCE) is None
    (run,) = world.there.runs
    (found,) = world.here.find(target_of(), promotion).ours
    assert found.external_id == str(run.id)


def test_a_server_that_refused_the_flag_is_not_sent_it_again(world: World) -> None:
    world.there.api.run_details = "refused"
    world.here.open(target_of(), world.promotion("p-1"), EVIDENCE)
    before = len(world.there.faults.requests)
    world.here.open(target_of(), world.promotion("p-2"), EVIDENCE)
    sent = [path for method, path in world.there.faults.requests[before:] if method == "POST"]
    assert len(sent) == 1


def test_evidence_that_is_too_long_is_cut_at_a_line_with_a_note(world: World) -> None:
    row = "| métrique ✓ | 0.80 | 0.91 |\n"
    world.here.open(target_of(), world.promotion(), row * 4000)
    (run,) = world.there.runs
    evidence = run.inputs["evidence"]
    table, note = evidence.split("\n\n*Cut here", 1)
    assert "e" * 64 in note
    assert set(table.splitlines()) == {row.strip()}
    assert 60_000 < len(json.dumps(dict(run.inputs), ensure_ascii=False).encode()) <= 65_535


@pytest.mark.parametrize(
    ("fault", "unknown"),
    [
        ({"drop": True}, True),
        ({"status": 502, "carry_out": True}, True),
        ({"body": "<html>", "carry_out": True}, True),
        ({"body": '{"workflow_run_id": "x"}', "carry_out": True}, True),
        ({"status": 429, "headers": {"Retry-After": "7"}}, False),
        ({"status": 403, "headers": {"X-RateLimit-Remaining": "0"}}, False),
    ],
)
def test_a_dispatch_is_sent_once_whatever_happens_and_its_doubt_is_told(
    world: World, fault: dict[str, object], unknown: bool
) -> None:
    promotion = world.promotion()
    hit = world.there.faults.add("/dispatches$", **fault)
    with pytest.raises(VendorUnavailableError) as caught:
        world.here.open(target_of(), promotion, EVIDENCE)
    assert caught.value.outcome_unknown is unknown
    assert hit.hits == 1
    found = world.here.find(target_of(), promotion).ours
    assert [request.external_id for request in found] == [str(run.id) for run in world.there.runs]


def test_a_dispatch_whose_answer_never_comes_is_found_afterwards() -> None:
    with github_world(timeouts=QUICK) as world:
        promotion = world.promotion()
        world.there.faults.add("/dispatches$", hang=60.0, carry_out=True)
        with pytest.raises(VendorUnavailableError) as caught:
            world.here.open(target_of(), promotion, EVIDENCE)
        assert caught.value.outcome_unknown
        (run,) = world.there.runs
        (found,) = world.here.find(target_of(), promotion).ours
        assert found.external_id == str(run.id)


def test_an_error_before_the_dispatch_leaves_no_doubt(world: World) -> None:
    promotion = world.promotion()
    world.clock.move(hours=2)  # the cached token has ended
    world.there.faults.add("/access_tokens$", status=500)
    with pytest.raises(VendorUnavailableError) as caught:
        world.here.open(target_of(), promotion, EVIDENCE)
    assert caught.value.outcome_unknown is False
    assert world.there.runs == []


def test_a_refused_dispatch_says_what_github_said(world: World) -> None:
    promotion = world.promotion()
    world.there.repository(REPOSITORY).branches.clear()
    with pytest.raises(VendorRefusedError, match="No ref found for: main"):
        world.here.open(target_of(), promotion, EVIDENCE)


# --- find -------------------------------------------------------------------------------------------------


def test_only_runs_that_we_ourselves_started_are_found(world: World) -> None:
    promotion = world.promotion()
    world.there.dispatch(REPOSITORY, {**INPUTS, "promotion_id": "p-1"}, login="mallory")
    assert world.here.find(target_of(), promotion).ours == ()
    world.here.open(target_of(), promotion, EVIDENCE)
    (found,) = world.here.find(target_of(), promotion).ours
    assert found.external_id == str(world.there.runs[1].id)


def test_runs_of_other_promotions_are_not_found(world: World) -> None:
    world.here.open(target_of(), world.promotion("p-10"), EVIDENCE)
    assert world.here.find(target_of(), world.promotion("p-1")).ours == ()


def test_a_doubled_request_is_found_twice_oldest_first(world: World) -> None:
    promotion = world.promotion()
    first = world.here.open(target_of(), promotion, EVIDENCE)
    world.clock.move(seconds=1)
    second = world.here.open(target_of(), promotion, EVIDENCE)
    assert world.here.find(target_of(), promotion).ours == (first, second)


def list_without_status(world: World, login: str) -> None:
    """From now on no list tells the status of a run that this account started."""
    path, token = (
        f"/repos/{REPOSITORY}/actions/workflows/champion-gate.yml/runs",
        world.there.add_token("ann"),
    )
    listed = requests.get(
        f"{world.url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=5
    ).json()
    for run in listed["workflow_runs"]:
        if run["actor"]["login"] == login:
            run["status"] = None
    world.there.faults.add(f"{path}$", body=json.dumps(listed))


def test_a_doubled_request_that_is_listed_without_a_status_may_have_ended_and_is_not_called_open(
    world: World,
) -> None:
    promotion = world.asked()
    world.here.open(target_of(), promotion, EVIDENCE)
    list_without_status(world, "champion-gate[bot]")
    with pytest.raises(VendorUnavailableError, match=r"`run\.status` is absent"):
        world.here.duplicates(target_of(), promotion)


def test_what_others_run_without_a_status_hides_no_doubled_request(world: World) -> None:
    promotion = world.asked()
    double = world.here.open(target_of(), promotion, EVIDENCE)
    assert double is not None
    world.there.dispatch(REPOSITORY, {**INPUTS, "promotion_id": "other"}, login="ann")
    list_without_status(world, "ann")
    assert world.here.duplicates(target_of(), promotion) == (double.external_id,)


def test_a_run_of_an_earlier_intent_is_found(world: World) -> None:
    promotion = world.promotion()
    world.here.open(target_of(), promotion, EVIDENCE)
    world.clock.move(days=2)
    assert promotion.request is not None
    again = replace(promotion, request=replace(promotion.request, intent_at=world.clock.now()))
    assert len(world.here.find(target_of(), again).ours) == 1


def test_a_run_on_a_later_page_is_found(world: World) -> None:
    promotion = world.promotion()
    world.here.open(target_of(), promotion, EVIDENCE)
    for number in range(120):
        world.there.dispatch(
            REPOSITORY, {**INPUTS, "promotion_id": f"other-{number}"}, login="champion-gate[bot]"
        )
    assert len(world.here.find(target_of(), promotion).ours) == 1


def test_a_list_that_was_not_given_whole_is_an_error(world: World) -> None:
    world.there.faults.add("/runs$", body='{"total_count": 2, "workflow_runs": []}')
    with pytest.raises(VendorUnavailableError, match="0 of 2"):
        world.here.find(target_of(), world.promotion())


def test_a_list_that_gives_fewer_runs_than_it_counts_is_an_error(world: World) -> None:
    world.there.faults.add("/runs$", body='{"total_count": 1001, "workflow_runs": []}')
    with pytest.raises(VendorUnavailableError, match="gave 0 of 1001"):
        world.here.find(target_of(), world.promotion())


def test_a_run_that_no_filtered_list_shows_is_found_among_all(world: World) -> None:
    promotion = world.promotion()
    opened = world.here.open(target_of(), promotion, EVIDENCE)
    world.there.api.searches = False
    for number in range(120):
        world.there.dispatch(REPOSITORY, {**INPUTS, "promotion_id": f"other-{number}"}, login="mallory")
    assert world.here.find(target_of(), promotion).ours == (opened,)


def test_the_search_among_all_runs_is_bounded_and_says_so(world: World) -> None:
    promotion = world.promotion()
    world.here.open(target_of(), promotion, EVIDENCE)
    world.there.api.searches = False
    for number in range(501):
        world.there.dispatch(REPOSITORY, {**INPUTS, "promotion_id": f"other-{number}"}, login="mallory")
    before = len(world.there.faults.requests)
    found = world.here.find(target_of(), promotion)
    assert found.ours == ()
    assert "Only the newest 500 runs" in found.remark
    assert len(world.there.faults.requests) - before == 6


def test_runs_from_long_before_the_intent_are_not_searched(world: World) -> None:
    for number in range(120):
        world.there.dispatch(REPOSITORY, {**INPUTS, "promotion_id": f"other-{number}"}, login="mallory")
    world.clock.move(days=3)
    before = len(world.there.faults.requests)
    assert world.here.find(target_of(), world.promotion()).remark == ""
    assert [path for _, path in world.there.faults.requests[before:]].count(
        f"/repos/{REPOSITORY}/actions/workflows/champion-gate.yml/runs"
    ) == 2  # the filtered one, and one page of all


# --- cancel -----------------------------------------------------------------------------------------------


def test_cancelling_ends_the_run_and_may_be_repeated(world: World) -> None:
    promotion = world.asked()
    world.here.cancel(target_of(), run_of(promotion))
    world.here.cancel(target_of(), run_of(promotion))
    assert world.there.run(run_of(promotion)).conclusion == "cancelled"


def test_a_run_that_does_not_show_may_be_hidden(world: World) -> None:
    with pytest.raises(VendorNotFoundError):
        world.here.cancel(target_of(), "4711")


def test_a_page_in_place_of_an_answer_has_cancelled_nothing(world: World) -> None:
    promotion = world.asked()
    world.there.faults.add("/cancel$", body="<html>")
    with pytest.raises(VendorUnavailableError, match="could not be cancelled"):
        world.here.cancel(target_of(), run_of(promotion))


def test_a_run_that_will_not_be_cancelled_is_tried_again(world: World) -> None:
    promotion = world.asked()
    world.there.faults.add("/cancel$", status=409)
    with pytest.raises(VendorUnavailableError, match="could not be cancelled"):
        world.here.cancel(target_of(), run_of(promotion))


def test_a_lost_answer_to_a_cancel_is_repeated_at_once(world: World) -> None:
    promotion = world.asked()
    world.there.faults.add("/cancel$", status=502, carry_out=True, times=1)
    world.here.cancel(target_of(), run_of(promotion))
    assert world.there.run(run_of(promotion)).conclusion == "cancelled"


@pytest.mark.parametrize("run_id", ["", "../1", "1/../2", "-1", "x"])
def test_what_is_no_run_id_is_not_asked_for(world: World, run_id: str) -> None:
    with pytest.raises(InvalidNameError):
        world.here.cancel(target_of(), run_id)
    assert world.there.faults.requests == []


# --- news -------------------------------------------------------------------------------------------------


def test_only_runs_that_changed_are_news(world: World) -> None:
    first, second = world.asked("p-1"), world.asked("p-2")
    targets = {"churn": target_of()}
    for _ in range(2):
        assert world.here.with_news([first, second], targets) == News()
    world.clock.move(seconds=1)
    world.there.review(run_of(second), "champion", "ann", approve=True)
    assert world.here.with_news([first, second], targets) == News(("p-2",))
    assert world.here.with_news([first, second], targets) == News(("p-2",)), (
        "an ended run is news until it is read"
    )


def test_what_changed_while_people_are_still_waited_for_is_news_until_it_is_read(world: World) -> None:
    """After a start too, which knows nothing of the lists before; and where it could not be noted that it is news."""
    world.there.protect_environment(REPOSITORY, "risk", ["bea"])
    first, second = (world.asked(name, target_of("champion", "risk")) for name in ("p-1", "p-2"))
    world.clock.move(seconds=1)
    world.there.review(run_of(second), "champion", "ann", approve=True)
    assert world.there.run(run_of(second)).status == "waiting"
    for _ in range(2):
        assert world.here.with_news([first, second], {}) == News(("p-2",))
    read = replace(second, updated_at=world.clock.now())
    for _ in range(2):
        assert world.here.with_news([first, read], {}) == News()


def test_a_run_that_queues_for_a_runner_is_read_once(world: World) -> None:
    world.there.workflow_runs.runners = False
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    assert world.there.run(run_of(promotion)).status == "queued"
    assert world.here.with_news([promotion], {}) == News(("p-1",))
    read = replace(promotion, updated_at=world.clock.now())
    for _ in range(2):
        assert world.here.with_news([read], {}) == News()


def test_where_the_filtered_lists_fail_the_list_of_all_tells_who_waits(world: World) -> None:
    pending = [world.asked(f"p-{number}") for number in range(11)]
    world.there.review(run_of(pending[4]), "champion", "ann", approve=True)
    world.there.api.searches = False
    assert world.here.with_news(pending, {}) == News(("p-4",))


def test_more_waiting_runs_than_github_lists_are_all_seen(world: World) -> None:
    first = world.asked("p-first")
    for number in range(1010):
        world.clock.move(seconds=1)
        world.there.dispatch(
            REPOSITORY, {**INPUTS, "promotion_id": f"p-{number}"}, login="champion-gate[bot]"
        )
    world.there.faults.requests.clear()
    assert world.here.with_news([first], {}).promotions == ()
    lists = [path for _, path in world.there.faults.requests if path.endswith("/runs")]
    assert len(lists) == 11
    world.there.review(run_of(first), "champion", "ann", approve=True)
    assert world.here.with_news([first], {}).promotions == ("p-first",)


def test_another_waiting_run_of_ours_for_a_pending_promotion_is_a_double(world: World) -> None:
    promotion = world.asked()
    double = world.here.open(target_of(), promotion, EVIDENCE)
    assert double is not None
    # The template's concurrency group lets the second one wait for the first.
    assert world.here.with_news([promotion], {}) == News()
    assert world.here.duplicates(target_of(), promotion) == (double.external_id,)
    world.there.cancel(run_of(promotion))
    assert world.here.with_news([promotion], {}) == News(("p-1",), {"p-1": (double.external_id,)})


def test_doubles_that_stand_in_two_places_are_all_told(world: World) -> None:
    """A gate's place may be another one by now, and have been asked in both."""
    world.there.add_repository("example/other")
    world.there.protect_branch("example/other")
    world.there.protect_environment("example/other", "champion", ["ann"])
    elsewhere = target_of(repository="example/other")
    promotion = world.promotion()
    opened = [world.here.open(target, promotion, EVIDENCE) for target in (target_of(), elsewhere)]
    pending = [world.asked("p-here"), world.asked("p-there", elsewhere)]
    doubles = tuple(each.external_id for each in opened if each is not None)
    assert world.here.with_news(pending, {}) == News(asking={"p-1": doubles})


def test_one_list_serves_all_promotions_of_a_place_and_costs_nothing_when_unchanged(world: World) -> None:
    pending = [world.asked(f"p-{number}") for number in range(4)]
    world.here.with_news(pending, {})
    before = len(world.there.faults.requests)
    assert world.here.with_news(pending, {}) == News()
    assert [path for _, path in world.there.faults.requests[before:]] == [
        f"/repos/{REPOSITORY}/actions/workflows/champion-gate.yml/runs"
    ]


def test_a_promotion_of_which_the_list_says_nothing_is_news(world: World) -> None:
    promotion = world.with_run(world.promotion(), "4711")
    for _ in range(2):
        assert world.here.with_news([promotion], {"churn": target_of()}) == News(("p-1",))


def test_a_place_whose_list_is_refused_makes_news_of_its_own_only(world: World) -> None:
    world.there.add_repository("example/other")
    world.there.protect_branch("example/other")
    world.there.protect_environment("example/other", "champion", ["ann"])
    elsewhere = target_of(repository="example/other")
    here, there = world.asked("p-here"), world.asked("p-there", elsewhere)
    world.here.with_news([here, there], {})
    world.there.faults.add("/repos/example/other/actions/workflows/", status=404)
    assert world.here.with_news([here, there], {}) == News(("p-there",))


def test_a_place_whose_list_cannot_be_read_keeps_no_other_from_having_news(world: World) -> None:
    world.there.add_repository("example/other")
    world.there.protect_branch("example/other")
    world.there.protect_environment("example/other", "champion", ["ann"])
    here, there = world.asked("p-here"), world.asked("p-there", target_of(repository="example/other"))
    world.there.review(run_of(here), "champion", "ann", approve=True)
    world.there.faults.add("/repos/example/other/actions/workflows/.*/runs$", status=500)
    assert world.here.with_news([there, here], {}) == News(("p-here",), unlisted=("p-there",))


def test_an_unreachable_github_has_no_news(world: World) -> None:
    promotion = world.asked()
    world.there.faults.add("/runs$", status=503)
    with pytest.raises(VendorUnavailableError):
        world.here.with_news([promotion], {})


# --- check ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", ["app", "token"])
def test_check_tells_whether_the_credentials_are_taken(credentials: str) -> None:
    with github_world(credentials=credentials) as world:
        world.here.check()
        world.there.state.apps.clear()
        world.there.revoke_tokens()
        with pytest.raises(VendorRefusedError):
            world.here.check()


def test_a_missing_run_is_told_as_missing(world: World) -> None:
    promotion = world.with_run(world.promotion(), "4711")
    with pytest.raises(VendorNotFoundError):
        world.read(promotion)
