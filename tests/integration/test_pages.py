"""The pages: what they say, who sees them, and what operators order there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from champion_gate.bootstrap import build_service
from champion_gate.domain.callers import Role
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.notices import Message, Notice, NoticeEvent, NoticeKind, notice_step
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepPhase, ended
from champion_gate.web.auth import Auth, guard_of
from integration.gate_world import api_token
from integration.pages_world import FINDING, HOST, SESSION, VISITOR, Browser, PagesWorld, pages_world, words
from integration.store_samples import append_ledger, entry

ALIAS = "/models/main.ml.churn/aliases/Champion"
EXAMPLES = {
    "model": "main.ml.churn",
    "alias": "Champion",
    "promotion_id": "p-1",
    "step_id": "s-1",
    "notification_id": "n-1",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PagesWorld]:
    with pages_world(tmp_path) as made:
        yield made


def paths(world: PagesWorld, auth: Auth) -> dict[str, set[str]]:
    """Path -> methods, of every route with this kind of authentication."""
    found: dict[str, set[str]] = {}
    for rule in world.app.url_map.iter_rules():
        guard = guard_of(world.app.view_functions[rule.endpoint])
        assert guard is not None
        if guard.auth is auth:
            path = re.sub(r"<(\w+)>", lambda name: EXAMPLES.get(name[1], "x"), rule.rule)
            found.setdefault(path, set()).update((rule.methods or set()) - {"HEAD", "OPTIONS"})
    return found


# --- signed out -------------------------------------------------------------------------------------------


def test_signed_out_every_page_is_the_way_to_sign_in(world: PagesWorld) -> None:
    pages = paths(world, Auth.SESSION)
    assert len(pages) > 12
    for path, methods in pages.items():
        for method in methods:
            answer = Browser(world.app).client.open(path, method=method, base_url=HOST)
            assert (answer.status_code, answer.text) == (303, ""), (method, path)
            assert answer.headers["Location"].partition("?")[0] == "/sign-in"
    public = {path for path in paths(world, Auth.NONE) if not path.startswith("/assets/")}
    assert public == {"/sign-in", "/livez", "/readyz", "/openapi.json", "/docs"}


def test_signing_in_leads_to_the_page_that_was_asked_for(world: PagesWorld) -> None:
    browser = Browser(world.app)
    asked = browser.get("/promotions?phase=failed").headers["Location"]
    answer = browser.sign_in(world.make(), asked)
    # The form is posted to the page's own address, with where to go on to as a field of it.
    assert (answer.status_code, answer.headers["Location"]) == (303, "/promotions?phase=failed")
    assert browser.text("/promotions?phase=failed").startswith("Promotions")


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\tb",
        "evil",
        "/\x00",
        "javascript:x",
        "/sign-in?x",
        "/" + "a" * 2000,
    ],
)
def test_signing_in_leads_nowhere_else(world: PagesWorld, target: str) -> None:
    browser = Browser(world.app)
    answer = browser.send("/sign-in", token=world.make(), next=target)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("name", ["main.ml.m%C3%B6del", "main.ml.%E6%A8%A1%E5%9E%8B", "a%20b%3Fc"])
def test_names_beyond_ascii_are_gone_on_to(world: PagesWorld, name: str) -> None:
    browser = Browser(world.app)
    path = f"/models/{name}/aliases/Champion?cursor=%C3%B6"
    answer = browser.sign_in(world.make(), browser.get(path).headers["Location"])
    assert answer.headers["Location"] == path


def test_a_wrong_token_is_told_and_counted(world: PagesWorld) -> None:
    browser = Browser(world.app)
    for _ in range(6):
        answer = browser.sign_in("cgate_" + "a" * 16 + "_" + "b" * 64)
        assert answer.status_code == 401
        assert "This is no API token that counts." in words(answer.text)
    assert world.pauses == [1.0]
    assert browser.cookie() is None
    assert browser.sign_in(world.make()).status_code == 303


def test_what_was_typed_is_not_shown_again(world: PagesWorld) -> None:
    assert "cgate_secret" not in Browser(world.app).sign_in("cgate_secret").text


# --- sessions ---------------------------------------------------------------------------------------------


def test_the_cookie_is_kept_by_browsers_alone_and_the_row_knows_only_its_hash(world: PagesWorld) -> None:
    browser = Browser(world.app)
    answer = browser.sign_in(world.make())
    (said,) = (
        each
        for each in answer.headers.getlist("Set-Cookie")
        if each.startswith(f"{SESSION}=") and "Max-Age=28800" in each
    )
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(said.split("; "))
    assert "Domain" not in said
    held = browser.cookie()
    assert held is not None
    assert held not in world.gate.database.read_bytes().decode("latin-1")


def test_who_is_signed_in_stays_so_for_eight_hours(world: PagesWorld) -> None:
    browser = world.signed_in()
    world.gate.clock.move(hours=7, minutes=59)
    assert browser.get("/").status_code == 200
    world.gate.clock.move(minutes=1)
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_token_that_counts_no_longer_ends_its_sessions(world: PagesWorld, how: str) -> None:
    until = world.gate.clock.now() + timedelta(hours=1)
    browser, other = Browser(world.app), world.signed_in(Role.VIEWER)
    browser.sign_in(world.make(name="short", expires_at=until))
    assert browser.get("/").status_code == 200
    if how == "revoked":
        world.tokens.revoke("short")
    else:
        world.gate.clock.move(hours=1)
    assert browser.get("/").status_code == 303
    assert other.get("/").status_code == 200


def test_signing_out_ends_the_session_and_not_only_the_cookie(world: PagesWorld) -> None:
    browser = world.signed_in()
    held = browser.cookie()
    assert held is not None
    answer = browser.post("/sign-out", form_token=form_token(browser))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert browser.cookie() is None
    browser.plant(SESSION, held)
    assert browser.get("/").status_code == 303


def test_a_planted_session_is_never_taken_up(world: PagesWorld) -> None:
    browser = Browser(world.app)
    browser.plant(SESSION, "a" * 48)
    browser.sign_in(world.make())
    assert browser.cookie() != "a" * 48
    thief = Browser(world.app)
    thief.plant(SESSION, "a" * 48)
    assert thief.get("/").status_code == 303


def test_each_sign_in_is_a_session_of_its_own_and_ends_the_one_before(world: PagesWorld) -> None:
    browser = world.signed_in()
    before = browser.cookie()
    assert before is not None
    browser.sign_in(world.make(Role.VIEWER))
    assert browser.cookie() != before
    thief = Browser(world.app)
    thief.plant(SESSION, before)
    assert thief.get("/").status_code == 303


def test_a_session_does_not_count_under_the_api(world: PagesWorld) -> None:
    browser = world.signed_in()
    for path in ("/api/v1/promotions", "/api/v1/models/main.ml.churn"):
        assert browser.get(path).status_code == 401
    answer = browser.client.put(f"/api/v1{ALIAS}/hold", json={"reason": "x"}, base_url=HOST)
    assert answer.status_code == 401
    assert browser.get("/", Authorization=f"Bearer {world.make(name='other')}").status_code == 200
    token = {"Authorization": f"Bearer {world.make(name='third')}"}
    assert Browser(world.app).get("/", **token).status_code == 303


# --- forms ------------------------------------------------------------------------------------------------


def form_token(browser: Browser) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', browser.get("/").text)
    assert found
    return found[1]


def test_no_form_is_taken_that_was_not_made_for_this_session(world: PagesWorld) -> None:
    mine, other = world.signed_in(), world.signed_in(name="other")
    visitor = Browser(world.app)
    visitor_page = visitor.get("/sign-in").text
    of_visitor = re.search(r'name="form_token" value="([^"]+)"', visitor_page)
    assert of_visitor
    for token in ("", "x", form_token(other), of_visitor[1], mine.cookie() or ""):
        answer = mine.post(f"{ALIAS}/hold", reason="incident", form_token=token)
        assert answer.status_code == 403
        assert "This form was not made for you" in words(answer.text)
    posts = {path for path, methods in paths(world, Auth.SESSION).items() if "POST" in methods}
    assert len(posts) == 9
    for path in posts:
        assert mine.post(path, reason="incident").status_code == 403, path
    assert world.gate.store.holds() == {}
    assert mine.get("/").status_code == 200


def test_a_form_from_another_site_is_refused_even_with_its_token(world: PagesWorld) -> None:
    browser = world.signed_in()
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 303)):
        answer = browser.client.post(
            f"{ALIAS}/hold",
            base_url=HOST,
            data={"reason": "why", "form_token": form_token(browser)},
            headers={"Sec-Fetch-Site": site},
        )
        assert answer.status_code == status


def test_nobody_is_signed_in_by_a_form_of_somebody_else(world: PagesWorld) -> None:
    attacker, victim = Browser(world.app), Browser(world.app)
    theirs = re.search(r'name="form_token" value="([^"]+)"', attacker.get("/sign-in").text)
    assert theirs
    victim.get("/sign-in")
    for token in ("", theirs[1]):
        assert (
            victim.post("/sign-in", token=world.make(name=f"t{token[:3]}"), form_token=token).status_code
            == 403
        )
    assert victim.cookie() is None
    assert victim.cookie(VISITOR) != attacker.cookie(VISITOR)


def test_every_page_has_the_headers_that_protect_it(world: PagesWorld) -> None:
    browser = world.signed_in()
    for path in (
        "/",
        "/sign-in",
        "/promotions",
        "/promotions/p-none",
        f"{ALIAS}/hold",
        ALIAS,
        "/notifications",
        "/doctor",
    ):
        answer = browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.mimetype == "text/html"
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", answer.text), path
    for name, kind in (("dashboard.css", "text/css"), ("icon.svg", "image/svg+xml")):
        asset = Browser(world.app).get(f"/assets/{name}")
        assert (asset.status_code, asset.mimetype) == (200, kind)
    assert browser.get("/assets/base.html").status_code == 404


def test_a_viewer_reads_and_orders_nothing(world: PagesWorld) -> None:
    promotion = world.gate.ask()
    browser = world.signed_in(Role.VIEWER)
    page = browser.get(f"/promotions/{promotion.id}").text
    assert "/cancel" not in page
    assert "/rollback" not in browser.get(ALIAS).text
    assert "/notifications" not in page
    for path in (f"/promotions/{promotion.id}/cancel", f"{ALIAS}/rollback", "/notifications"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "needs the role operator" in words(answer.text)
    token = form_token(browser)
    assert browser.post(f"{ALIAS}/hold", reason="x", form_token=token).status_code == 403
    assert world.gate.store.holds() == {}


# --- what pages say ---------------------------------------------------------------------------------------


def test_the_first_page_says_what_waits_for_whom_since_when_and_where(world: PagesWorld) -> None:
    browser = world.signed_in()
    assert "Nothing waits for people." in browser.text("/")
    promotion = world.gate.ask()
    world.gate.clock.move(hours=3)
    said = browser.text("/")
    assert "main.ml.churn v2 champion but not octo-trainer 3 hours ago in 13 days Decide in GitHub" in said
    assert promotion.request is not None
    assert f'href="{promotion.request.url}"' in browser.get("/").text


def test_a_promotion_is_told_from_beginning_to_end_beside_the_champion(world: PagesWorld) -> None:
    world.two_champions()
    (promotion,) = world.gate.promotions()
    browser = world.signed_in()
    said = browser.text(f"/promotions/{promotion.id}")
    story = said[said.index("What happened") :]
    parts = (
        "v2 asked for Champion",
        "The evidence was frozen",
        "People were asked in GitHub",
        "It was approved reviewer-1: looks good",
        "Champion moved from v1 to v2",
        "f1 higher is better yes 0.93 0.9 +0.03",
        "auc 0.96 0.95 +0.01",
    )
    places = [story.index(each) for each in parts]
    assert places == sorted(places)
    page = browser.get(f"/promotions/{promotion.id}").text
    assert '<rect class="candidate" width="100.0" height="6"/>' in page
    assert '<rect class="champion" y="8" width="96.8" height="6"/>' in page


def test_the_list_is_narrowed_and_read_in_parts(world: PagesWorld) -> None:
    world.gate.ask()
    promotion = world.gate.promotion()
    for number in range(60):
        at = world.gate.clock.now() - timedelta(minutes=number + 1)
        ended = replace(
            promotion, id=f"p-{number:04}", phase=Phase.REJECTED, requested_at=at, ended_at=at, due_at=None
        )
        assert world.gate.store.create_promotion(ended) is not None
    browser = world.signed_in()
    first = browser.get("/promotions?phase=rejected").text
    rows = re.findall(r'href="/promotions/(p-[0-9]{4})"', first)
    older = re.search(r'href="(/promotions\?[^"]*cursor=[^"]+)"', first)
    assert older
    rows += re.findall(r'href="/promotions/(p-[0-9]{4})"', browser.get(older[1].replace("&amp;", "&")).text)
    assert rows == [f"p-{number:04}" for number in range(60)]
    assert "There are none." in browser.text("/promotions?model=main.ml.other")
    assert browser.get("/promotions?phase=strange").status_code == 404
    assert browser.get("/promotions?cursor=strange").status_code == 422


def test_a_models_history_is_a_picture_and_a_table(world: PagesWorld) -> None:
    world.two_champions()
    world.gate.clock.move(days=2)
    browser = world.signed_in()
    assert browser.send(f"{ALIAS}/rollback", reason="incident 4711").status_code == 303
    world.gate.clock.move(hours=7)
    said = browser.text(ALIAS)
    assert "It stands on v1" in said
    assert re.search(
        r"v1 .* it stands there a-operator: incident 4711 v2 .* rolled back to v1 7 hours ago", said
    )
    bars = re.findall(r'<rect class="([\w-]+)" x="([\d.]+)" width="([\d.]+)"', browser.get(ALIAS).text)
    assert [kind for kind, _, _ in bars] == ["standing", "rolled-back", "replaced"]
    assert all(
        0 <= float(left) <= 100 and 0 < float(width) <= 100 and float(left) + float(width) <= 100.01
        for _, left, width in bars
    )


def test_who_moved_an_alias_outside_is_told_once_it_is_known(world: PagesWorld) -> None:
    browser = world.signed_in()
    assert "Moved outside champion-gate" not in browser.text(ALIAS)
    told = entry("intern@example.com moved it in a notebook", kind=LedgerKind.DRIFT, actor="champion-gate")
    append_ledger(world.gate.store, [told])
    assert (
        "Moved outside champion-gate intern@example.com moved it in a notebook champion-gate,"
        in browser.text(ALIAS)
    )


def test_what_led_nowhere_and_what_is_not_set_up_is_told(world: PagesWorld) -> None:
    world.gate.notify(world.gate.databricks.jobs.start_run(world.gate.job_id))
    run = world.gate.databricks.jobs.start_run(world.gate.job_id)
    world.gate.databricks.jobs.finish_run(run, notify=False)
    world.gate.notify(run)
    world.gate.live(minutes=30)
    browser = world.signed_in()
    (lost,) = (each for each in world.gate.notifications() if each.phase.value == "unresolved")
    assert lost.reason in browser.text("/notifications")
    assert lost.reason in browser.text("/")
    assert "There are none." in browser.text("/notifications?phase=failed")
    said = browser.text("/doctor")
    assert FINDING.found in said
    assert FINDING.remedy in said
    answer = browser.send(f"/notifications/{lost.id}/replay")
    assert answer.headers["Location"] == "/notifications?phase=unresolved&done=replayed"
    assert world.gate.store.get_notification(lost.id).count == 2


def test_a_version_that_no_job_made_is_told_without_one(world: PagesWorld) -> None:
    made = world.gate.ask()
    laptop = replace(
        made,
        id="p-laptop",
        version=replace(made.version, version="7"),
        found_by="registry",
        job_id="",
        job_run_id="",
        job_url="",
    )
    assert world.gate.store.create_promotion(laptop)
    browser = world.signed_in()
    said = browser.text("/promotions/p-laptop")
    assert "v7 asked for Champion seen in the registry; no watched job made it" in said
    assert "Job run none of a watched job Trained by" in said
    assert f"found by its MLflow run, in job run {made.job_run_id}" in browser.text(f"/promotions/{made.id}")


def test_a_message_that_was_given_up_is_where_the_warning_leads(world: PagesWorld) -> None:
    message = Message(NoticeEvent.DRIFT, "Champion moved <b>outside</b>", world.gate.clock.now())
    notice = Notice(name="team_chat", kind=NoticeKind.SLACK)
    planned = notice_step(notice, message, "move-1", "", message.at)
    world.gate.store.plan_step(ended(planned, StepPhase.FAILED, "Slack refuses it.", message.at))
    browser = world.signed_in()
    page = browser.get("/")
    assert re.search(r'Look at this:</strong> 1 message to people was .* <a href="/#steps">', page.text)
    assert 'id="steps"' in page.text
    assert "<code>champion-gate doctor</code> tells which and why" in page.text
    assert "Champion moved <b>outside</b> message to team_chat Slack refuses it. Retry… Skip…" in words(
        page.text
    )
    assert "Retry" not in words(world.signed_in(Role.VIEWER).get("/").text)
    answer = browser.send(f"/steps/{planned.id}/skip", reason="told by hand")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?done=skipped")
    assert world.gate.store.get_step(planned.id).phase is StepPhase.SKIPPED


def test_an_alias_that_others_keep_moving_is_shown_as_contested_with_the_step_that_left_it(
    tmp_path: Path,
) -> None:
    with pages_world(tmp_path, drift="restore") as world:
        gate, browser = world.gate, world.signed_in()
        world.two_champions()
        for times_back in range(3):
            assert ("It is contested: somebody" in browser.text(ALIAS)) == (times_back == 2)
            gate.clock.move(minutes=1)
            gate.models.move_alias("1")
            gate.sweep()
        (left,) = gate.after_drift("restore")[-1:]
        assert left.phase is StepPhase.FAILED
        told = "putting the alias back Not put back: contested"
        assert f"main.ml.churn@Champion {told}" in browser.text("/")
        assert f"putting the alias back failed {left.reason}" in browser.text(ALIAS)
        assert f"It is about main.ml.churn@Champion. {left.reason}" in browser.text(f"/steps/{left.id}/skip")
        answer = browser.send(f"/steps/{left.id}/skip", reason="The intern is told.")
        assert answer.headers["Location"] == f"{ALIAS}?done=skipped"
        assert told not in browser.text("/")


@pytest.mark.parametrize("path", ["/", ALIAS, "/promotions/p-0000000000000001"])
def test_a_page_is_read_in_one_transaction(world: PagesWorld, path: str) -> None:
    """Besides the session and its token; each one costs PostgreSQL three answers more."""
    world.two_champions()
    browser, begun = world.signed_in(), list[Connection]()

    def note(connection: Connection) -> None:
        begun.append(connection)

    event.listen(Engine, "begin", note)
    try:
        assert browser.get(path).status_code == 200
    finally:
        event.remove(Engine, "begin", note)
    assert len(begun) == 3


def test_more_than_the_first_page_shows_is_a_link_away(world: PagesWorld) -> None:
    made = world.gate.ask()
    browser = world.signed_in()
    for number in range(11):
        assert "?phase=failed" not in browser.get("/").text
        version = replace(made.version, version=str(100 + number))
        failed = replace(
            made, id=f"p-{number}", version=version, phase=Phase.FAILED, ended_at=made.requested_at
        )
        assert world.gate.store.create_promotion(failed)
    assert 'href="/promotions?phase=failed"' in browser.get("/").text


def test_names_full_of_markup_stay_text(world: PagesWorld) -> None:
    evil = "<img src=x onerror=alert(1)>\"'`\u202e${7*7}{{7*7}}"
    promotion = world.gate.ask()
    document = json.loads(promotion.evidence_json or "")
    document["gate_metrics"]["rows"][0]["name"] = evil
    document["tags"]["rows"] = [{"name": evil, "candidate": evil, "champion": None}]
    made = replace(
        promotion,
        id="p-evil",
        model=evil,
        version=replace(promotion.version, model=evil, version="7"),
        gate=evil,
        reason=evil,
        job_url="javascript:alert(1)",
        evidence_json=json.dumps(document),
        origin=(evil,),
        trainers=(),
        outstanding=(evil,),
    )
    assert world.gate.store.create_promotion(made) is not None
    browser = world.signed_in()
    for path in (
        "/",
        "/promotions",
        "/promotions/p-evil",
        "/promotions/p-evil/cancel",
        f"/promotions?model={evil}",
    ):
        page = browser.get(path).text
        assert "<img" not in page
        assert "${7*7}{{7*7}}" in page
        assert "\u202e" not in page
        assert 'href="javascript' not in page
        assert "onerror=alert(1)&gt;" in page, path


# --- orders -----------------------------------------------------------------------------------------------


def test_an_operator_cancels_and_asks_afresh(world: PagesWorld) -> None:
    promotion = world.gate.ask()
    browser = world.signed_in(name="ops-1")
    here = f"/promotions/{promotion.id}"
    refused = browser.send(f"{here}/cancel", reason=" \r\n ")
    assert refused.status_code == 422
    assert "Nothing was done. A change needs a reason." in words(refused.text)
    answer = browser.send(f"{here}/cancel", reason="wrong data")
    assert answer.headers["Location"] == f"{here}?done=cancelled"
    assert "The order to end it is stored" in browser.text(answer.headers["Location"])
    world.gate.settle()
    assert world.gate.ended(promotion, Phase.CANCELLED) == "Cancelled by ops-1: wrong data"
    assert browser.send(f"{here}/cancel", reason="again").status_code == 409
    answer = browser.send(f"{here}/retry")
    assert answer.status_code == 303
    world.gate.settle()
    asked = world.gate.promotion(Phase.PENDING_APPROVAL)
    assert answer.headers["Location"] == f"/promotions/{asked.id}?done=retried"


def test_an_operator_rolls_back_holds_and_releases(world: PagesWorld) -> None:
    world.two_champions()
    browser = world.signed_in(name="ops-1")
    assert "Champion goes from v2 to v1" in browser.text(f"{ALIAS}/rollback")
    assert (
        browser.send(f"{ALIAS}/rollback", reason="incident 4711").headers["Location"]
        == f"{ALIAS}?done=rolled-back"
    )
    assert world.gate.models.champion() == "1"
    assert world.gate.moves()[-1] == ("2", "1", "ops-1")
    assert "It is on hold: incident 4711" in browser.text(ALIAS)
    assert browser.send(f"{ALIAS}/release", reason="mended").status_code == 303
    assert world.gate.store.holds() == {}
    assert browser.send(f"{ALIAS}/hold", reason="quarter's end").status_code == 303
    (hold,) = world.gate.store.holds().values()
    assert (hold.actor, hold.reason) == ("ops-1", "quarter's end")
    line = world.gate.store.ledger_lines(limit=1)[0].entry
    assert str(line.facts["authenticated_by"]).startswith("API token ")


def test_a_rollback_that_was_confirmed_on_an_old_page_does_nothing(world: PagesWorld) -> None:
    world.two_champions()
    browser = world.signed_in()
    page = browser.get(f"{ALIAS}/rollback").text
    assert 'name="was_on" value="2"' in page
    assert browser.send(f"{ALIAS}/rollback", reason="first").status_code == 303
    answer = browser.post(f"{ALIAS}/rollback", reason="second", was_on="2", form_token=form_token(browser))
    assert answer.status_code == 412
    assert "Nothing was done." in words(answer.text)
    assert world.gate.models.champion() == "1"


def test_a_hold_of_a_person_is_overridden_only_by_saying_so(world: PagesWorld) -> None:
    world.two_champions()
    browser = world.signed_in()
    browser.send(f"{ALIAS}/hold", reason="freeze")
    assert browser.send(f"{ALIAS}/rollback", reason="incident").status_code == 409
    assert world.gate.models.champion() == "2"
    assert "Although it is on hold by a-operator because freeze" in browser.text(f"{ALIAS}/rollback")
    assert browser.send(f"{ALIAS}/rollback", reason="incident", override_hold="yes").status_code == 303
    assert world.gate.models.champion() == "1"


@pytest.mark.part("rest")
def test_steps_that_failed_are_shown_warned_of_and_ordered_about(tmp_path: Path) -> None:
    with pages_world(tmp_path, after=[{"job": 4711}]) as world:
        world.two_champions()
        world.gate.live(hours=30)
        (step,) = world.gate.after_moves()
        browser = world.signed_in()
        assert step.phase.value == "failed"
        assert "Look at this: 1 of the jobs and endpoints" in browser.text("/doctor")
        assert step.reason in browser.text("/")
        assert f"/steps/{step.id}/skip" in browser.get(ALIAS).text
        answer = browser.send(f"/steps/{step.id}/retry")
        assert answer.status_code == 303
        assert world.gate.store.get_step(step.id).phase.value == "planned"
        assert browser.send(f"/steps/{step.id}/skip", reason="not needed").status_code == 303
        assert world.gate.store.get_step(step.id).phase.value == "skipped"


def test_the_service_has_its_pages_unless_they_are_switched_off(world: PagesWorld) -> None:
    databricks = {"host": world.gate.databricks_url, "token": "standin-token"}
    service = build_service(world.gate.environ, databricks=databricks)
    browser = Browser(service.app)
    assert browser.sign_in(api_token(world.gate.store)).status_code == 303
    assert "Nothing waits for people." in browser.text("/")
    service.core.context.store.close()
    file = world.gate.folder / "gates.yaml"
    file.write_text(f"{file.read_text()}dashboard: false\n")
    service = build_service(world.gate.environ, databricks=databricks)
    browser = Browser(service.app)
    assert [browser.get(path).status_code for path in ("/", "/sign-in", "/docs")] == [404, 404, 200]
    service.core.context.store.close()


def test_what_is_not_there_is_a_page_too(world: PagesWorld) -> None:
    browser = world.signed_in()
    for path in (
        "/promotions/p-none",
        "/nothing/here",
        "/models/main.ml.other/aliases/Champion",
        "/steps/s-none/retry",
    ):
        answer = browser.get(path, Accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        assert (answer.status_code, answer.mimetype) == (404, "text/html"), path
    for path, accept in (
        ("/nothing", "*/*"),
        ("/api/v1/nothing", "text/html"),
        ("/hooks/nothing", "text/html"),
    ):
        assert browser.get(path, Accept=accept).mimetype == "application/problem+json", path
