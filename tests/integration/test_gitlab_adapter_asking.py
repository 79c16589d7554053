"""Pipelines are started once, found again after a lost answer, cancelled where we may, and watched with one list."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from champion_gate.adapters.gitlab.provider import GitLab
from champion_gate.domain.evidence_markdown import render_markdown
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import VendorError, VendorNotFoundError, VendorRefusedError, VendorUnavailableError
from champion_gate_standins.gitlab.state import DEVELOPER
from integration.github_world import EVIDENCE, QUICK
from integration.gitlab_world import BOT, GATE_URL, PROJECT, World, gitlab_world, pipeline_of
from unit.evidence_samples import SAMPLES


@pytest.fixture
def world() -> Iterator[World]:
    with gitlab_world() as made:
        yield made


def posts(world: World) -> int:
    return sum(method == "POST" for method, _ in world.there.faults.requests)


# --- open -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opens_with", ["trigger", "api"])
def test_a_pipeline_is_started_as_our_account_with_inputs_only(opens_with: str) -> None:
    with gitlab_world(opens_with=opens_with) as world:
        promotion = world.promotion()
        opened = world.here.open(world.target(), promotion, EVIDENCE)
        (pipeline,) = world.there.pipelines
        assert opened is not None
        assert (opened.external_id, pipeline.source) == (str(pipeline.id), opens_with)
        assert opened.url.endswith(f"/-/pipelines/{pipeline.id}")
        assert (pipeline.user.username, pipeline.ref) == (BOT, "main")
        inputs = dict(pipeline.inputs)
        shown = base64.b64decode(inputs.pop("evidence_base64")).decode()
        assert shown == EVIDENCE
        assert inputs == {
            "promotion_id": "p-1",
            "model": "main.ml.churn",
            "version": "2",
            "alias": "Champion",
            "environment": "champion",
            "gate_url": GATE_URL,
        }
        assert "[p-1]" in pipeline.name


@pytest.mark.parametrize("length", [140, 141, 200, 255, 767])
def test_a_long_name_of_a_model_neither_stops_the_start_nor_hides_the_id(world: World, length: int) -> None:
    model = "main." + "m" * (length - 11) + ".churn"
    promotion = replace(world.promotion("p" * 49), model=model, evidence_sha256="a" * 64)
    opened = world.here.open(world.target(), promotion, EVIDENCE)
    (pipeline,) = world.there.pipelines
    assert world.here.find(world.target(), promotion).ours == (opened,)
    assert pipeline.name.startswith("Champion main.mmm")
    assert pipeline.name.endswith(f".churn v2 [{promotion.correlation_id}]")
    assert (pipeline.inputs["model"] == model) is (length == 140)


def test_a_trigger_token_is_sent_in_the_body_and_with_no_other_credentials(world: World) -> None:
    promotion = world.promotion()
    world.there.revoke_token(world.tokens.api_token or "")
    world.there.revoke_token(world.tokens.read_token)
    assert world.here.open(world.target(), promotion, EVIDENCE)


def test_long_evidence_is_cut_with_a_note(world: World) -> None:
    evidence = "| a row of the table | 1 | 2 |\n" * 20_000
    world.here.open(world.target(), world.promotion(), evidence)
    encoded = world.there.pipelines[0].inputs["evidence_base64"]
    shown = base64.b64decode(encoded).decode()
    assert len(encoded) < 128 * 1024
    assert "Cut here: GitLab takes no more" in shown
    assert shown.startswith("| a row of the table")


def test_the_evidence_is_laid_out_for_a_log_of_80_columns(world: World) -> None:
    markdown = render_markdown(SAMPLES["validated"], "ab" * 32)
    world.here.open(world.target(), world.promotion(), markdown)
    lines = base64.b64decode(world.there.pipelines[0].inputs["evidence_base64"]).decode().splitlines()
    assert lines[0].startswith("a copy of v12 of `staging.ml.churn` → `Champion` of `main.ml.churn`: 2 of 2")
    assert "| `f1`       | yes | 0.87123 → 0.89375 | +0.0225 |" in lines
    assert max(map(len, lines)) <= 78


@pytest.mark.parametrize(
    "evidence", ["ünïcödé \U0001f600 `$[[ inputs.model ]]` $CI_JOB_TOKEN\n---\n", "\ud800", ""]
)
def test_evidence_of_any_characters_arrives(world: World, evidence: str) -> None:
    world.here.open(world.target(), world.promotion(), evidence)
    shown = base64.b64decode(world.there.pipelines[0].inputs["evidence_base64"])
    assert shown.decode(errors="replace") == (
        evidence.encode(errors="replace").decode() if evidence else "No evidence."
    )


def test_a_refused_start_started_nothing(world: World) -> None:
    promotion = world.promotion()
    world.there.add_member(PROJECT, BOT, 10)
    with pytest.raises(VendorRefusedError, match="Insufficient permissions"):
        world.here.open(world.target(), promotion, EVIDENCE)
    assert world.there.pipelines == []


def test_a_trigger_token_that_was_deleted_is_refused(world: World) -> None:
    promotion = world.promotion()
    world.there.project(PROJECT).triggers.clear()
    with pytest.raises(VendorRefusedError, match="404"):
        world.here.open(world.target(), promotion, EVIDENCE)


def test_a_gitlab_too_old_for_inputs_is_refused(world: World) -> None:
    promotion = world.promotion()
    world.there.api.takes_inputs = False
    with pytest.raises(VendorRefusedError, match="workflow rules"):
        world.here.open(world.target(), promotion, EVIDENCE)


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": True, "carry_out": True},
        {"status": 502, "carry_out": True},
        {"body": "<html>", "carry_out": True},
        {"body": "{}", "carry_out": True},
        {"body": '{"id": "7", "web_url": "x"}', "carry_out": True},
    ],
)
def test_a_lost_answer_is_an_unknown_outcome_and_the_pipeline_is_found_again(
    world: World, fault: dict[str, object]
) -> None:
    promotion = world.promotion()
    world.there.faults.add("/trigger/pipeline$", **fault)
    with pytest.raises(VendorUnavailableError) as caught:
        world.here.open(world.target(), promotion, EVIDENCE)
    assert caught.value.outcome_unknown
    assert posts(world) == 1
    (found,) = world.here.find(world.target(), promotion).ours
    assert found.external_id == str(world.there.pipelines[0].id)


def test_a_time_out_is_an_unknown_outcome() -> None:
    with gitlab_world(timeouts=QUICK) as world:
        promotion = world.promotion()
        world.there.faults.add("/trigger/pipeline$", hang=3.0)
        with pytest.raises(VendorUnavailableError) as caught:
            world.here.open(world.target(), promotion, EVIDENCE)
        assert caught.value.outcome_unknown
        assert posts(world) == 1


# --- find -------------------------------------------------------------------------------------------------


def test_only_our_own_pipelines_of_this_promotion_are_found_oldest_first(world: World) -> None:
    target = world.target()
    promotion = world.promotion()
    first = world.here.open(target, promotion, EVIDENCE)
    world.clock.move(minutes=1)
    second = world.here.open(target, promotion, EVIDENCE)
    world.here.open(target, world.promotion("p-11"), EVIDENCE)
    inputs = world.there.pipelines[0].inputs
    for username, source in (("bob", "trigger"), (BOT, "web"), (BOT, "schedule")):
        world.there.start(PROJECT, inputs, username=username, source=source)
    assert world.here.find(target, promotion).ours == (first, second)


def test_pipelines_from_long_before_the_intent_are_not_searched(world: World) -> None:
    world.here.open(world.target(), world.promotion(), EVIDENCE)
    world.clock.move(days=3)
    assert world.here.find(world.target(), world.promotion()).ours == ()


def test_pipelines_on_later_pages_are_found_too(world: World) -> None:
    promotion = world.promotion()
    opened = world.here.open(world.target(), promotion, EVIDENCE)
    inputs = {**world.there.pipelines[0].inputs, "promotion_id": "other"}
    for _ in range(120):
        world.there.start(PROJECT, inputs, username=BOT, source="trigger")
    assert world.here.find(world.target(), promotion).ours == (opened,)


def test_an_older_gitlab_that_lists_no_names_is_asked_for_each(world: World) -> None:
    promotion = world.promotion()
    opened = world.here.open(world.target(), promotion, EVIDENCE)
    listed = world.answer(f"/projects/{PROJECT}/pipelines")
    assert isinstance(listed, list)
    bare = [{key: value for key, value in one.items() if key != "name"} for one in listed]
    world.there.faults.add("/pipelines$", body=json.dumps(bare))
    assert world.here.find(world.target(), promotion).ours == (opened,)
    world.there.faults.clear()
    many = json.dumps([{**bare[0], "id": number} for number in range(1, 60)])
    world.there.faults.add("/pipelines$", body=many)
    with pytest.raises(VendorRefusedError, match="without their names"):
        world.here.find(world.target(), promotion)


def test_a_pipeline_whose_template_gave_it_no_name_is_not_found(world: World) -> None:
    promotion = world.promotion()
    world.here.open(world.target(), promotion, EVIDENCE)
    world.spoil(f"/projects/{PROJECT}/pipelines?", name=None)
    assert world.here.find(world.target(), promotion).ours == ()


def test_an_orphan_is_reported_until_it_has_ended_and_its_approval_is_not_believed(world: World) -> None:
    promotion = world.asked()
    orphan = world.here.open(world.target(), promotion, EVIDENCE)
    assert orphan is not None
    assert world.here.duplicates(world.target(), promotion) == (orphan.external_id,)
    world.there.play(world.there.job(orphan.external_id), "ann")
    state = world.read(promotion)
    assert (state.reviews, state.released_at) == ((), {})
    assert world.here.duplicates(world.target(), promotion) == ()


def test_an_orphan_that_is_listed_without_a_status_may_have_ended_and_is_not_called_open(
    world: World,
) -> None:
    promotion = world.asked()
    world.here.open(world.target(), promotion, EVIDENCE)
    world.spoil(f"/projects/{PROJECT}/pipelines?", status=None)
    with pytest.raises(VendorUnavailableError, match="status"):
        world.here.duplicates(world.target(), promotion)


def test_before_anything_was_pinned_we_are_known_all_the_same(world: World) -> None:
    promotion = world.promotion()
    opened = world.here.open(world.target(), promotion, EVIDENCE)
    assert world.here.find(world.target(), replace(promotion, request=None)).ours == (opened,)


# --- cancel -----------------------------------------------------------------------------------------------


def test_a_waiting_pipeline_is_cancelled_and_again_is_no_error(world: World) -> None:
    promotion = world.asked()
    for _ in range(2):
        world.here.cancel(world.target(), pipeline_of(promotion))
    assert world.there.pipeline(pipeline_of(promotion)).status == "canceled"


def test_one_that_ended_is_no_error(world: World) -> None:
    promotion = world.asked()
    world.play(promotion)
    world.here.cancel(world.target(), pipeline_of(promotion))
    assert world.there.pipeline(pipeline_of(promotion)).status == "success"


@pytest.mark.parametrize("path", ["/pipelines/[0-9]+$", "/cancel$"])
def test_one_that_does_not_show_may_be_hidden(world: World, path: str) -> None:
    promotion = world.asked()
    world.there.faults.add(path, status=404)
    with pytest.raises(VendorNotFoundError):
        world.here.cancel(world.target(), pipeline_of(promotion))


def without_api_token(world: World) -> GitLab:
    tokens = replace(world.tokens, api_token=None)
    return GitLab(url=world.url, credentials=tokens, clock=world.clock, gate_url=GATE_URL)


def test_without_an_api_token_it_says_so_and_is_not_retried(world: World) -> None:
    promotion = world.asked()
    here = without_api_token(world)
    try:
        with pytest.raises(VendorRefusedError, match="scope api") as caught:
            here.cancel(world.target(), pipeline_of(promotion))
        assert not caught.value.retryable
        here.open(world.target(), promotion, EVIDENCE)
        assert here.duplicates(world.target(), promotion) == ()
        world.play(promotion)
        here.cancel(world.target(), pipeline_of(promotion))
    finally:
        here.close()


def test_a_token_without_the_scope_is_told_so(world: World) -> None:
    promotion = world.asked()
    weak = replace(world.tokens, api_token=world.there.add_token(BOT, ("read_api",)))
    here = GitLab(url=world.url, credentials=weak, clock=world.clock, gate_url=GATE_URL)
    try:
        with pytest.raises(VendorRefusedError, match="higher privileges"):
            here.cancel(world.target(), pipeline_of(promotion))
    finally:
        here.close()


def test_a_gitlab_that_leaves_manual_jobs_playable_is_refused_once(world: World) -> None:
    world.there.ci.cancels_manual_jobs = False
    promotion = world.asked()
    with pytest.raises(VendorRefusedError, match="playable"):
        world.here.cancel(world.target(), pipeline_of(promotion))


def test_a_pipeline_that_goes_on_is_to_be_cancelled_again(world: World) -> None:
    world.there.ci.jobs_finish = False
    promotion = world.asked()
    world.play(promotion)
    world.there.faults.add("/cancel$", body="{}")
    with pytest.raises(VendorUnavailableError):
        world.here.cancel(world.target(), pipeline_of(promotion))


# --- news -------------------------------------------------------------------------------------------------


def news(world: World, *pending: Promotion) -> tuple[str, ...]:
    return world.here.with_news(pending, {"churn": world.target()}).promotions


def test_what_waits_unchanged_is_no_news_and_takes_one_call(world: World) -> None:
    pending = [world.asked(f"p-{number}") for number in range(3)]
    for _ in range(2):
        world.there.faults.requests.clear()
        assert news(world, *pending) == ()
        assert len(world.there.faults.requests) == 1


def test_a_click_a_rejection_and_a_cancel_are_news(world: World) -> None:
    pending = [world.asked(f"p-{number}") for number in range(4)]
    news(world, *pending)
    world.clock.move(minutes=1)
    world.play(pending[1])
    world.there.cancel(pipeline_of(pending[2]))
    world.there.end_job(world.job(pending[3]), "failed", "deployment_rejected")
    assert set(news(world, *pending)) == {"p-1", "p-2", "p-3"}


def test_what_the_list_does_not_tell_is_news(world: World) -> None:
    promotion = world.asked()
    news(world, promotion)
    gone = world.with_pipeline(promotion, 999_999)
    assert news(world, gone) == ("p-1",)
    assert promotion.request is not None
    unpinned = replace(promotion, request=replace(promotion.request, pins={}))
    assert news(world, unpinned) == ("p-1",)
    nowhere = replace(promotion, gate="gone", request=replace(promotion.request, place={}))
    assert news(world, nowhere) == ("p-1",)


def test_a_list_that_is_refused_makes_each_be_read(world: World) -> None:
    promotion = world.asked()
    news(world, promotion)
    world.there.add_member(PROJECT, "reader", 0)
    assert news(world, promotion) == ("p-1",)


def test_a_list_that_cannot_be_read_is_an_error(world: World) -> None:
    promotion = world.asked()
    world.there.faults.add("/pipelines$", status=500)
    with pytest.raises(VendorError):
        news(world, promotion)


def test_a_developer_bot_that_may_merge_opens_on_a_protected_branch(world: World) -> None:
    assert world.there.project(PROJECT).level(world.there.state.user(BOT)) == DEVELOPER
    assert world.asked().phase is Phase.PENDING_APPROVAL
