"""Decisions posted by the gated CI job, over HTTP, to a service with its workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Event

import pytest
import requests

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.databricks.copying import PARAMETERS, CopyJob
from integration.gate_providers import EVERY_KIND, TRAINER_LOGIN
from integration.gate_world import SECRETS, GateWorld, api_token
from integration.posted_world import BUDGET_SECONDS, PostedWorld, posted_world
from integration.process_world import until
from integration.start_world import list_after, lose_answers

pytestmark = pytest.mark.part("rest", "gitlab")

BOTH = ("github", "gitlab-environment")
SIGNERS_KEYS = "/(.well-known|oauth)/"


@pytest.fixture(params=BOTH)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostedWorld]:
    with posted_world(tmp_path, request.param) as made:
        yield made


def is_promoted(answer: requests.Response) -> bool:
    return answer.status_code == 200 and answer.json()["phase"] == "promoted"


def is_refused(answer: requests.Response) -> bool:
    """401 as a problem that says how one shows who one is."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"]
    assert answer.json()["code"] == "not_authenticated"
    return answer.status_code == 401


# --- promoted --------------------------------------------------------------------------------------------


def test_while_what_was_approved_is_copied_every_token_is_told_so_at_once(tmp_path: Path) -> None:
    def prepare(gate: GateWorld) -> dict[str, object]:
        catalog = gate.databricks.catalog
        copier = CopyJob(catalog, "copier@example.com")
        catalog.add_model("prod.ml.churn")
        job = gate.databricks.jobs.add_job(
            "copy", run_as=copier.created_by, parameters=dict.fromkeys(PARAMETERS, "")
        )
        gate.databricks.starts.set_course(job, seconds=60, said=lambda given: {"main": copier.run(given)})
        return {"promote_to": {"model": "prod.ml.churn", "job": int(job)}}

    with posted_world(tmp_path, "github", prepare=prepare) as world:
        world.approve()
        for _ in range(2):
            begun = time.monotonic()
            answer = world.post(world.token())
            assert (answer.status_code, answer.json()["phase"]) == (202, "copying")
            assert time.monotonic() < begun + BUDGET_SECONDS
        step = f"{world.promotion.id}-copy"
        until(lambda: world.gate.store.get_step(step).external_id, "the copy is not begun")
        world.gate.clock.move(minutes=3)
        world.post_until(world.token(), is_promoted)
        assert world.gate.databricks.catalog.alias("prod.ml.churn", "Champion") == "1"


@pytest.mark.parametrize("world", EVERY_KIND, indirect=True)
def test_a_decision_posted_while_the_job_runs_has_set_the_alias_before_the_answer(world: PostedWorld) -> None:
    world.approve()
    answer = world.post(world.token())
    assert world.gate.models.champion() == "2"
    assert is_promoted(answer), answer.text
    said = answer.json()
    assert said["promotion"] == world.promotion.id
    assert (said["model"], said["alias"], said["version"]) == ("main.ml.churn", "Champion", "2")
    assert world.there.requests()[world.request_id] == "open"
    assert world.gate.moves()[-1] == ("1", "2", "reviewer-1")


@pytest.mark.parametrize("world", EVERY_KIND, indirect=True)
def test_the_shipped_job_ends_green_once_the_alias_has_moved(world: PostedWorld) -> None:
    world.there.run_gated_jobs(world.url)
    world.approve()
    until(lambda: world.there.requests()[world.request_id] == "success", "the job did not end well")
    assert world.gate.models.champion() == "2"
    world.gate.ended(world.promotion, Phase.PROMOTED)


def test_the_shipped_job_ends_red_when_the_approval_does_not_count(world: PostedWorld) -> None:
    world.there.run_gated_jobs(world.url)
    world.approve(TRAINER_LOGIN)
    until(lambda: world.there.requests()[world.request_id] != "open", "the job did not end")
    assert world.there.requests()[world.request_id] in {"failure", "cancelled"}
    assert "is behind this version" in world.unmoved(Phase.REJECTED)


@pytest.mark.parametrize("world", EVERY_KIND, indirect=True)
def test_fifty_posts_of_one_token_at_once_change_the_alias_once(world: PostedWorld) -> None:
    world.read_keys()
    world.approve()
    token, all_at_once = world.token(), Barrier(50)

    def post(_: int) -> requests.Response:
        all_at_once.wait(30)
        return world.post(token)

    answers = list(world.pool.map(post, range(50)))
    assert {answer.status_code for answer in answers} <= {200, 202, 409}
    assert {answer.json()["phase"] for answer in answers if answer.ok} <= {
        "promoted",
        "approved",
        "pending_approval",
    }
    assert all(is_promoted(answer) for answer in answers if answer.status_code == 200)
    assert any(is_promoted(answer) for answer in answers)
    assert is_promoted(world.post(token))
    assert world.writes() == [2]
    assert [kind for kind, _ in world.gate.ledger()].count("decision") == 1
    assert len(world.gate.moves()) == 2  # the first is that of v1, which was there before


def test_many_tokens_of_the_job_at_once_change_the_alias_once(world: PostedWorld) -> None:
    world.read_keys()
    world.approve()
    posted = [world.post_beside(world.token()) for _ in range(20)]
    assert {each.result().status_code for each in posted} <= {200, 202}
    world.post_until(world.token(), is_promoted)
    assert world.writes() == [2]


def test_a_lost_answer_asked_for_again_is_promoted(world: PostedWorld) -> None:
    world.approve()
    token = world.token()
    with pytest.raises(requests.ReadTimeout):
        world.post(token, timeout=0.01)
    world.post_until(token, is_promoted)
    assert is_promoted(world.post(token))
    assert world.writes() == [2]


def test_a_token_that_the_alias_has_answered_for_decides_nothing_any_more(world: PostedWorld) -> None:
    world.approve()
    token = world.token()
    assert is_promoted(world.post(token))
    world.gate.models.move_alias("1")
    assert is_promoted(world.post(token))
    assert is_promoted(world.post(world.token()))
    assert (world.gate.models.champion(), world.writes()) == ("1", [2])


# --- several people --------------------------------------------------------------------------------------


def test_of_two_environments_the_first_job_ends_green_and_the_second_promotes(tmp_path: Path) -> None:
    with posted_world(tmp_path, "github", people=2) as world:
        first, second = world.token(0), world.token(1)
        world.approve("reviewer-1")
        answer = world.post(first)
        assert (answer.status_code, answer.json()["phase"]) == (200, "pending_approval"), answer.text
        assert "champion-2" in answer.json()["reason"]
        world.unmoved()
        world.gate.approve(world.promotion, "reviewer-2", "champion-2")
        assert is_promoted(world.post(second))
        assert is_promoted(world.post(first))
        assert world.writes() == [2]


def test_two_approvals_of_one_gitlab_job_promote_at_its_only_post(tmp_path: Path) -> None:
    with posted_world(tmp_path, "gitlab-rules", people=2) as world:
        world.approve("reviewer-1", "reviewer-2")
        assert is_promoted(world.post(world.token()))
        assert set(world.gate.moves()[-1][2].split(", ")) == {"reviewer-1", "reviewer-2"}


# --- ended otherwise -------------------------------------------------------------------------------------


def is_ended(answer: requests.Response, phase: Phase, words: str) -> None:
    """409 as a problem with the phase, the reason, and what to do."""
    assert answer.status_code == 409, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["phase"], problem["status"]) == ("promotion_ended", phase.value, 409)
    assert words in problem["detail"]
    assert problem["reason"] == problem["detail"]
    assert problem["hint"]


@pytest.mark.parametrize("world", EVERY_KIND, indirect=True)
def test_a_rejected_promotion_is_a_conflict_with_the_reason(world: PostedWorld) -> None:
    world.approve(TRAINER_LOGIN)
    token = world.token()
    for _ in range(2):
        is_ended(world.post(token), Phase.REJECTED, "is behind this version")
    world.unmoved(Phase.REJECTED)


def test_an_expired_promotion_is_a_conflict_with_the_reason(world: PostedWorld) -> None:
    world.there.faults.add(world.there.reading(world.request_id), hang=60)  # until people were late
    world.gate.clock.move(days=14, minutes=1)
    world.approve()
    waiting = world.post_beside(world.token())
    world.there.faults.clear()
    is_ended(waiting.result(30), Phase.EXPIRED, "Approved by reviewer-1, and let start on")
    world.unmoved(Phase.EXPIRED)


def test_a_stale_promotion_is_a_conflict_with_the_reason(world: PostedWorld) -> None:
    other = world.gate.models.train(world.gate.job_id, "2", {"f1": 0.9})
    world.gate.models.move_alias(other)
    world.approve()
    is_ended(world.post(world.token()), Phase.STALE, "stands on v3 now")
    assert (world.gate.models.champion(), world.writes()) == ("3", [])


# --- not yet ---------------------------------------------------------------------------------------------


def test_a_registry_that_is_slow_is_answered_202_and_later_200(world: PostedWorld) -> None:
    slow = world.gate.break_databricks("/aliases/", method="PUT", hang=Event())
    world.approve()
    token = world.token()
    waiting = world.post_beside(token)
    until(lambda: slow.hits, "the registry is not asked")
    assert not waiting.done()
    world.use_up_the_budget()
    answer = waiting.result(10)
    assert (answer.status_code, answer.json()["phase"]) == (202, "approved")
    assert int(answer.headers["Retry-After"]) > 0
    assert world.post(token).status_code == 202
    assert world.gate.models.champion() == "1"
    world.gate.databricks.faults.clear()
    world.post_until(token, is_promoted)
    assert world.writes() == [2]


def test_a_token_of_a_job_that_nobody_released_decides_nothing(world: PostedWorld) -> None:
    waiting = world.post_beside(world.token())
    if world.there.key == "gitlab":  # where the token tells that nobody has played the job
        assert is_refused(waiting.result(10))
    else:
        until(
            lambda: world.gate.again(world.promotion).updated_at > world.promotion.updated_at,
            "nothing is read",
        )
        world.use_up_the_budget()
        assert waiting.result(10).status_code == 202
    assert "Waiting for people" in world.unmoved()


def test_more_posts_than_places_to_wait_hold_up_nothing_else(world: PostedWorld) -> None:
    world.there.faults.add(world.there.reading(world.request_id), hang=60)
    world.approve()
    waiting = [world.post_beside(world.token()) for _ in range(6)]
    until(
        lambda: world.gate.again(world.promotion).hints >= world.promotion.hints + 6,
        "the posts do not come to wait",
    )
    begun = time.monotonic()
    assert world.post(world.token()).status_code == 202
    assert requests.get(f"{world.url}/livez", timeout=5).status_code == 200
    hook = (
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
    )
    ignored = requests.post(f"{world.url}/hooks/databricks", b"{}", auth=hook, timeout=5)
    assert ignored.status_code == 200
    assert time.monotonic() - begun < 5
    assert not any(each.done() for each in waiting)
    world.there.faults.clear()
    assert all(is_promoted(each.result(30)) for each in waiting)
    assert world.writes() == [2]


def test_an_issuer_that_does_not_answer_is_503_and_never_an_acceptance(world: PostedWorld) -> None:
    world.there.faults.add(SIGNERS_KEYS, status=503)
    world.approve()
    token = world.token()
    for _ in range(2):  # the second within the cool-down
        answer = world.post(token)
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
    world.unmoved()
    assert world.gate.again(world.promotion).hints == world.promotion.hints
    world.there.faults.clear()
    world.gate.clock.move(seconds=6)
    assert is_promoted(world.post(token))


# --- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", BOTH)
def test_a_token_posted_for_another_promotion_is_refused_and_changes_nothing(
    tmp_path: Path, provider: str
) -> None:
    with posted_world(
        tmp_path, provider, promotions=2, prepare=lambda _world: {"newer_version": "keep"}
    ) as world:
        (other,) = world.others
        world.approve()
        token = world.token()
        assert is_refused(world.post(token, other.id))
        world.gate.ended(other, Phase.PENDING_APPROVAL)
        world.unmoved()
        assert is_promoted(world.post(token))
        assert is_refused(world.post(token, other.id))
        assert world.writes() == [3]


def test_who_shows_no_good_token_is_refused_and_changes_nothing(world: PostedWorld) -> None:
    world.approve()
    token = world.token()
    assert is_refused(world.post(None))
    assert is_refused(world.post(""))
    assert is_refused(world.post("not.a.token"))
    assert is_refused(world.post(api_token(world.gate.store)))
    assert is_refused(world.post(token, "p-that-never-was"))
    assert is_refused(world.post(f"{token[:-8]}AAAAAAAA"))
    assert is_refused(world.post(token + "A" * 17 * 1024))
    assert world.post(token, body=b" " * (4 * 1024 + 1)).status_code == 413
    world.unmoved()
    assert is_promoted(world.post(token, body=b" " * 4 * 1024))


def test_an_answer_to_a_stranger_does_not_tell_whether_a_promotion_exists(world: PostedWorld) -> None:
    known, unknown = world.post("not.a.token"), world.post("not.a.token", "p-that-never-was")
    assert (known.status_code, unknown.status_code) == (401, 401)
    assert known.headers["WWW-Authenticate"] == unknown.headers["WWW-Authenticate"]


def test_a_claim_that_is_new_is_reported_and_one_that_is_missing_refuses(
    world: PostedWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.approve()
    for missing in ("sha", "ref", "ref_type"):
        assert is_refused(world.post(world.token(0, **{missing: None})))
        assert f"there is no claim {missing}" in caplog.text
    world.unmoved()
    assert is_promoted(world.post(world.token(restricted_to="other-services")))
    assert "an ID token holds unknown claims: restricted_to" in caplog.text
    assert "other-services" not in caplog.text


def test_a_token_that_has_expired_is_refused(world: PostedWorld) -> None:
    world.approve()
    token = world.token()
    world.gate.clock.move(minutes=6)
    assert is_refused(world.post(token))
    world.unmoved()


# --- before it is known in which run people were asked ----------------------------------------------------


def untold(world: PostedWorld) -> tuple[Promotion, str]:
    """A further promotion whose request's id was lost and is not listed yet, and the request, which is approved."""
    world.approve()
    assert is_promoted(world.post(world.token()))
    lose_answers(world.gate, times=1)
    list_after(world.gate, days=1)
    world.gate.train({"f1": 0.95})
    world.gate.settle()
    waiting = world.gate.promotion(Phase.REQUESTED)
    request_id = list(world.there.requests())[-1]
    world.there.approve(request_id, "reviewer-1")
    return waiting, request_id


def test_a_job_that_asks_before_its_run_is_known_is_told_to_ask_again(world: PostedWorld) -> None:
    waiting, request_id = untold(world)
    token, hints = world.there.token(request_id), world.gate.again(waiting).hints
    answer = world.post(token, waiting.correlation_id)
    assert (answer.status_code, answer.json()["phase"]) == (202, "requested"), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert world.gate.again(waiting).hints > hints, "it is looked for at once"
    list_after(world.gate)
    until(lambda: is_promoted(world.post(token, waiting.correlation_id)), "the job is never told")
    assert world.gate.models.champion() == "3"
    assert world.writes() == [2, 3]


def test_a_job_that_is_none_of_ours_is_refused_also_before_the_run_is_known(world: PostedWorld) -> None:
    waiting, request_id = untold(world)
    hints = world.gate.again(waiting).hints
    other = {"repository_id" if world.there.key == "github" else "project_id": "4711"}
    assert is_refused(world.post(world.there.token(request_id, 0, **other), waiting.correlation_id))
    assert is_refused(world.post("not.a.token", waiting.correlation_id))
    assert world.gate.again(waiting).hints == hints


def test_a_job_of_a_run_that_does_not_count_is_told_which_does(world: PostedWorld) -> None:
    world.approve()
    assert world.promotion.request is not None
    counts = str(world.promotion.request.url)
    # At GitLab a job that was run again is of the same pipeline, and the reading says what it is.
    others = {"github": [{"run_id": "4711"}, {"run_attempt": "2"}], "gitlab": [{"pipeline_id": "4711"}]}
    for claims in others[world.there.key]:
        answer = world.post(world.token(0, **claims))
        assert is_refused(answer)
        assert counts in answer.json()["hint"]
        stranger = world.post(world.token(0, **claims, ref="other"))
        assert is_refused(stranger)
        assert counts not in stranger.text
    world.unmoved()
    assert is_promoted(world.post(world.token()))
    answer = world.post(world.token(0, **others[world.there.key][0]))
    assert "is promoted" in answer.json()["hint"]


def test_the_job_of_the_other_of_two_runs_of_one_evidence_is_told_to_ask_again(world: PostedWorld) -> None:
    waiting, request_id = untold(world)
    world.gate.wait(minutes=3)
    pending = world.gate.promotion(Phase.PENDING_APPROVAL)
    assert world.gate.run_id_of(pending) != request_id
    token = world.there.token(request_id)
    assert world.post(token, waiting.correlation_id).status_code == 202
    list_after(world.gate)
    until(lambda: is_promoted(world.post(token, waiting.correlation_id)), "the job is never told")
    assert world.gate.run_id_of(pending) == request_id


def test_a_post_waits_no_longer_where_the_clock_is_set_back_meanwhile(tmp_path: Path) -> None:
    with posted_world(tmp_path, "github") as world:
        answer = world.post_beside(world.token())
        until(lambda: world.gate.again(world.promotion).hints > world.promotion.hints, "it was not posted")

        def set_back() -> bool:
            world.gate.clock.move(hours=-1)
            return answer.done()

        until(set_back, "it waits on")  # once may be too early: it notes when it began after it has posted
        assert answer.result(timeout=0).status_code == 202
