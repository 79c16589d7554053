"""What notices are sent as: values stay text in every receiver's form, and within its limits."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from champion_gate.adapters.http.public import is_public
from champion_gate.adapters.notices.by_apprise import AppriseSender
from champion_gate.adapters.notices.checks import checkup
from champion_gate.adapters.notices.hook import HookSender
from champion_gate.adapters.notices.slack import Slack, escaped
from champion_gate.adapters.notices.teams import LARGEST as LARGEST_CARD
from champion_gate.adapters.notices.teams import Teams
from champion_gate.adapters.notices.webhook import LARGEST as LARGEST_EVENT
from champion_gate.adapters.notices.webhook import SignedWebhook
from champion_gate.domain.findings import Verdict
from champion_gate.domain.names import is_row_id
from champion_gate.domain.notices import Message, Notice, NoticeEvent, NoticeKind, notice_step, shown
from champion_gate.domain.secrets import without_secrets
from champion_gate.domain.steps import StepKind, planned
from champion_gate.errors import GateError, VendorUnavailableError
from unit.far_end import answer, drip, far_end

AT = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
KEYS = (
    "whsec_YS1zZWNyZXQtb2YtdGhlLXN0YW5kLWlu",
    "whsec_YW5vdGhlci1zZWNyZXQtb2YtMjRieXRl",
)
HOSTILE = [
    "<!channel> <!here|now> <@U012> <https://evil.example.com|Approve>",
    "*bold* _it_ ~no~ `code` :tada: > quote &lt;!channel&gt;",
    "[Approve](https://evil.example.com) **bold** <at>everyone</at> - list\n# Title",
    "{{DATE(2017-02-14T06:08:39Z,SHORT)}} ${secret} {{{x}}}",
    "<script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1)",
    "a\x00b\x1b[31mc\u202etxt.exe\u200b\r\nX-Header: 1\ud800",
    "",
    "&" * 3000,
    "🏆" * 3000,
    "'\"\\" * 900,
]


def message(text: str, facts: int = 3) -> Message:
    """One with a value from outside wherever there may be one."""
    value = shown(text)
    return Message(
        NoticeEvent.DECIDED,
        f"v2 of {value} was approved",
        AT,
        tuple((f"Fact {index}", value) for index in range(facts)),
        (
            ("The request", "https://github.example.com/runs/1"),
            ("champion-gate", "https://gate.example.com/p"),
        ),
        {
            "model": value,
            "deciders": [{"login": value, "comment": value}] * 8,
            "url": "https://gate.example.com/p",
        },
    )


def texts_of(value: Any) -> list[dict[str, Any]]:
    """Every text object in blocks."""
    if isinstance(value, list):
        return [found for each in value for found in texts_of(each)]
    if not isinstance(value, dict):
        return []
    own = [value] if "text" in value and isinstance(value["text"], str) else []
    return own + [found for each in value.values() for found in texts_of(each)]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_slack_shows_every_value_as_plain_text(text: str) -> None:
    body = json.loads(Slack().body(message(text, facts=14)))
    blocks = body["blocks"]
    found = texts_of(blocks)
    assert {(each["type"], each["emoji"]) for each in found} == {("plain_text", False)}
    assert (body["mrkdwn"], body["unfurl_links"], body["unfurl_media"]) == (False, False, False)
    for each in (body, *found):
        bare = each["text"].replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert not set(bare) & set("<>&\n\r\x00\x1b\u202e")
        assert 0 < len(each["text"]) <= 2000
    assert len(blocks) <= 50
    assert len(blocks[0]["text"]["text"]) <= {"header": 150, "section": 2000}[blocks[0]["type"]]
    assert all(len(each.get("fields", [])) <= 10 for each in blocks)
    assert sum(len(each.get("fields", [])) for each in blocks) == 28


@pytest.mark.parametrize(
    ("letters", "block"), [(120, "header"), (134, "header"), (135, "section"), (320, "section")]
)
def test_slack_shows_a_title_whole_also_where_a_header_has_no_room_for_it(letters: int, block: str) -> None:
    told = replace(message(""), title=f"v2 of {'m' * letters} was moved")
    first = json.loads(Slack().body(told))["blocks"][0]
    assert (first["type"], first["text"]["text"]) == (block, told.title)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_teams_shows_every_value_in_a_run_of_text(text: str, *, bare: bool) -> None:
    body = Teams(bare_card=bare).body(message(text, facts=14))
    assert len(body) <= LARGEST_CARD
    sent = json.loads(body)
    card = sent if bare else sent["attachments"][0]["content"]
    assert bare or sent["attachments"][0]["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"], card["msteams"]) == ("AdaptiveCard", "1.4", {"width": "full"})
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for run in runs} == {"TextRun"}
    assert not any("{{" in run["text"] or "${" in run["text"] or not run["text"] for run in runs)
    assert [each["type"] for each in card["actions"]] == ["Action.OpenUrl"] * 2


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_webhook_is_signed_with_both_secrets_and_small(text: str) -> None:
    now = datetime.now(UTC)
    form = SignedWebhook(KEYS, lambda: now)
    body = form.body(message(text))
    assert len(body) < LARGEST_EVENT
    headers = dict(form.headers("msg-1", body))
    for key in KEYS:
        told = Webhook(key).verify(body, headers)
        assert (told["type"], told["timestamp"]) == ("promotion.decided", "2026-01-31T23:59:00Z")
        assert told["data"]["url"] == "https://gate.example.com/p"
    again = form.headers("msg-1", body)
    assert again["webhook-id"] == headers["webhook-id"] == "msg-1"
    later = SignedWebhook(KEYS, lambda: now + timedelta(hours=5)).headers("msg-1", body)
    assert later["webhook-signature"] != headers["webhook-signature"]


@given(st.text(max_size=300), st.integers(1, 60))
def test_an_escape_is_never_cut_in_two(text: str, most: int) -> None:
    cut = escaped(text, most)
    assert len(cut) <= most
    whole = "".join({"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(char, char) for char in text)
    kept = cut.removesuffix("…")
    assert whole.startswith(kept)
    assert kept == whole or not kept.endswith(("&", "&a", "&am", "&amp", "&l", "&lt", "&g", "&gt"))


def test_every_message_can_be_named_in_an_order() -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    message = Message(NoticeEvent.STEP_FAILED, "failed", now)
    names = ("a" * 40, "a" * 39 + "b")
    steps = [
        notice_step(Notice(name=name, kind=NoticeKind.SLACK), message, subject, "", now)
        for subject in ("p-1-challenger-removal-1796083200", "drift-0123456789abcdef-drift-lookup-1796083200")
        for name in names
    ]
    assert len({step.id for step in steps}) == len(steps)
    assert [step.id for step in steps if not is_row_id(step.id)] == []


def test_what_a_step_keeps_of_a_message_is_the_message() -> None:
    one = message(HOSTILE[0])
    assert Message.thawed(json.loads(json.dumps(one.frozen()))) == one


def test_an_order_can_name_the_message_with_the_longest_id() -> None:
    failed = planned("p-0123456789abcdef", StepKind.CHALLENGER_REMOVAL, {}, AT, name="9" * 20)
    team = Notice(name="n" * 40, kind=NoticeKind.SLACK)
    subject = f"{failed.id}-{int(AT.timestamp())}"
    one = notice_step(team, replace(message("x"), event=NoticeEvent.STEP_FAILED), subject, "p-1", AT)
    assert is_row_id(one.id), one.id


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.31.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:0a00:0001::1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::a00:1", False),
        ("::10.0.0.1", False),
        ("::ffff:0:a00:1", False),
        ("fec0::1", False),
        ("5f00::1", False),
    ],
)
def test_only_addresses_of_the_internet_are_public(address: str, *, public: bool) -> None:
    assert is_public(address) is public


ANSWERS = {
    "headers": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n: of nothing\r\nno header\r\n\r\nok",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
    "no HTTP": b"/services/SeCrEt\r\n\r\n",
    "moved": b"HTTP/1.1 302 Found\r\nLocation: /services/SeCrEt\r\nContent-Length: 0\r\n\r\n",
    "echo": answer(404, "SeCrEt"),
    "echo in JSON": answer(403, {"error": {"code": "SeCrEt", "message": "SeCrEt"}}),
}


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
def test_no_answer_brings_an_address_into_the_log_or_an_error(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    shown_to_people = []
    with far_end(said) as far:
        for form in (Slack(), Teams(bare_card=False), SignedWebhook(KEYS, lambda: AT)):
            sender = HookSender("team", form, f"{far.url}/SeCrEt?sig=SeCrEt", private=True)
            try:
                shown_to_people.append(sender.send(message("x"), "id"))
            except GateError as error:
                shown_to_people.append(f"{error} {error.hint}")
    assert len(far.seen) == len(shown_to_people) == 3
    assert "SeCrEt" not in f"{shown_to_people} {caplog.text}"


def test_apprise_is_not_waited_for_and_tells_no_address(caplog: pytest.LogCaptureFixture) -> None:
    odd = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n: of nothing\r\nno header\r\n\r\nno"
    with far_end(odd, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")) as far:
        url = f"json://127.0.0.1:{far.port}/SeCrEt"
        with pytest.raises(VendorUnavailableError, match="did not take the message"):
            AppriseSender("mail", url).send(message("x"), "id")
        begun = time.monotonic()
        with pytest.raises(VendorUnavailableError, match=r"no answer within 0\.5 seconds") as raised:
            AppriseSender("mail", url, seconds=0.5).send(message("x"), "id")
        assert time.monotonic() - begun < 5
    assert "SeCrEt" not in f"{raised.value} {caplog.text}"


def test_addresses_that_open_a_chat_are_blotted_out() -> None:
    words = without_secrets(
        "POST https://hooks.slack.com/services/T0/B0/XyZ and https://a.example.com/invoke?sv=1&sig=Ab-c_9 failed"
    )
    assert "XyZ" not in words
    assert "Ab-c_9" not in words
    assert words.endswith("failed")


@pytest.mark.parametrize(
    ("kind", "url", "verdict", "words"),
    [
        ("slack", "https://hooks.slack.com/services/x", Verdict.OK, "notices test team"),
        ("slack", "https://slack.example.com/x", Verdict.WARNING, "not of hooks.slack.com"),
        ("teams", "https://a.webhook.office.com/x", Verdict.FAIL, "both are gone"),
        ("teams", "https://prod-1.westeurope.logic.azure.com:443/x", Verdict.FAIL, "both are gone"),
        ("teams", "https://d.05.environment.api.powerplatform.com:443/x", Verdict.NOT_KNOWN, "ask somebody"),
        ("teams", "https://teams.example.com/x", Verdict.WARNING, "powerplatform.com"),
        ("webhook", "https://any.example.com/x", Verdict.OK, "notices test team"),
    ],
)
def test_the_doctor_knows_addresses_that_are_gone(kind: str, url: str, verdict: Verdict, words: str) -> None:
    (found,) = checkup(Notice(name="team", kind=NoticeKind(kind)), url).run()
    assert found.verdict is verdict
    assert words in f"{found.found} {found.remedy}"
    assert "/x" not in f"{found.found} {found.remedy}"
