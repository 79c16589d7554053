"""A receipt, made and checked: against itself, against the ledger, and by somebody who means to deceive."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.core.approval import Decider, Decision, Verdict
from champion_gate.core.ledger import ChainedText, LedgerHead, read_body
from champion_gate.core.ledger_export import read_jsonl
from champion_gate.core.promotion import Phase, Promotion
from champion_gate.core.receipt import FORMAT, NotEndedError, receipt_of
from champion_gate.core.receipt_check import ReceiptCheck, check_receipt
from champion_gate.core.receipt_reading import LONGEST_RECEIPT, Receipt, read_receipt
from champion_gate.errors import InvalidInputError
from integration.store_samples import entry, promotion
from ledger_samples import (
    NASTY,
    T0,
    chained,
    change_entry,
    decision_entry,
    export_of,
    forged,
    ledger_of,
    promoted,
    receipt_for,
)

PROMOTED = promoted()
LINES = ledger_of(PROMOTED)
RECEIPT = receipt_for(PROMOTED, LINES)
SENT = json.dumps(RECEIPT, indent=1).encode()


def checked(
    sent: bytes | Receipt, lines: list[ChainedText] = LINES, evidence: bytes | None = None
) -> ReceiptCheck:
    receipt = sent if isinstance(sent, Receipt) else read_receipt(sent)
    return check_receipt(receipt, read_jsonl(io.BytesIO(export_of(lines))), evidence)


def problems(sent: bytes, lines: list[ChainedText] = LINES, evidence: bytes | None = None) -> str:
    return " ".join(checked(sent, lines, evidence).problems)


def edited(path: str, value: object) -> Callable[[dict[str, Any]], object]:
    """Sets one member; the path's parts are names or numbers."""
    *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]

    def edit(receipt: Any) -> None:
        for part in outer:
            receipt = receipt[part]
        receipt[last] = value

    return edit


# --- making one ------------------------------------------------------------------------------------------


def test_it_says_what_who_when_and_quotes_the_ledger() -> None:
    assert (RECEIPT["format"], RECEIPT["promotion"], RECEIPT["phase"]) == (FORMAT, "p-1", "promoted")
    assert (RECEIPT["what"]["version"], RECEIPT["what"]["champion"]) == ("2", "1")
    assert RECEIPT["who"]["deciders"] == [
        {"login": "reviewer-1", "user_id": "7", "seat": "champion", "comment": "looks good"}
    ]
    assert RECEIPT["who"]["excluded"][0]["login"] == "octo-ann"
    assert RECEIPT["when"]["decided_at"] == "2025-03-01T12:00:00.123456+00:00"
    assert [line["number"] for line in RECEIPT["ledger"]] == [2, 4]
    assert RECEIPT["ledger"] == [json.loads(row) for row in export_of([LINES[1], LINES[3]]).splitlines()]
    assert RECEIPT["head"]["hash"] == LINES[4].hash


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.is_open])
def test_there_is_none_before_the_end(phase: Phase) -> None:
    with pytest.raises(NotEndedError, match="no receipt before it has ended") as refused:
        receipt_of(replace(promotion(), phase=phase), (), LedgerHead(0, "0" * 64), T0)
    assert (refused.value.status, refused.value.code) == (409, "not_ended")


def test_a_line_written_after_the_head_was_read_is_left_out() -> None:
    whole = receipt_for(PROMOTED, LINES)
    earlier = receipt_for(PROMOTED, LINES[:2])
    assert [line["number"] for line in earlier["ledger"]] == [2]
    assert whole != earlier


# --- believing one ----------------------------------------------------------------------------------------


def test_a_receipt_as_it_was_given_out_is_borne_out() -> None:
    found = checked(SENT)
    assert found.problems == ()
    text = " ".join(found.confirmed)
    assert "unbroken from its first line to line 5" in text
    assert "are the 2 that the receipt quotes, and no other" in text
    assert "who trained it and who was excluded" in " ".join(found.unproven)


def test_it_stays_so_when_the_ledger_grows_and_even_with_lines_of_its_own_promotion() -> None:
    entries = [read_body(line.body) for line in LINES]
    grown = chained(*entries, change_entry(PROMOTED, source="outside"), entry("later"))
    assert checked(SENT, grown).problems == ()


def test_a_part_that_begins_before_its_lines_bears_it_out_from_there_on() -> None:
    found = checked(SENT, LINES[1:])
    assert found.problems == ()
    assert "of this promotion from line 2 on" in " ".join(found.confirmed)


def test_a_part_that_begins_too_late_does_not() -> None:
    assert "Line 2, which the receipt quotes, is not in the ledger" in problems(SENT, LINES[2:])


def unapproved(phase: Phase, verdict: Verdict | None) -> Promotion:
    decision = None if verdict is None else Decision(verdict, PROMOTED.decision.deciders, "so", "github", T0)  # type: ignore[union-attr]
    return replace(PROMOTED, phase=phase, decision=decision)


@pytest.mark.parametrize(
    ("phase", "verdict"),
    [
        (Phase.REJECTED, Verdict.REJECTED),
        (Phase.STALE, Verdict.APPROVED),
        (Phase.FAILED, Verdict.APPROVED),
        (Phase.STALE, None),
        (Phase.FAILED, None),
        (Phase.EXPIRED, None),
        (Phase.INELIGIBLE, None),
        (Phase.SUPERSEDED, None),
        (Phase.CANCELLED, None),
    ],
)
def test_every_end_has_a_receipt_that_is_borne_out(phase: Phase, verdict: Verdict | None) -> None:
    ended = unapproved(phase, verdict)
    entries = [entry("another"), *([decision_entry(ended)] if verdict else []), entry("last")]
    lines = chained(*entries)
    found = checked(json.dumps(receipt_for(ended, lines)).encode(), lines)
    assert found.problems == ()
    if verdict is None:
        assert "holds no line of this promotion" in " ".join(found.confirmed)


def test_a_receipt_of_the_time_before_the_first_line_is_borne_out() -> None:
    ended = replace(unapproved(Phase.EXPIRED, None), request=None)
    receipt = json.loads(json.dumps(receipt_of(ended, (), LedgerHead(0, "0" * 64), T0)))
    assert problems(json.dumps(receipt).encode()) == ""


def test_one_that_failed_may_have_moved_the_alias_after_all() -> None:
    failed = unapproved(Phase.FAILED, Verdict.APPROVED)
    lines = ledger_of(failed)
    assert problems(json.dumps(receipt_for(failed, lines)).encode(), lines) == ""


def test_hostile_text_comes_through() -> None:
    decider = Decider("7", NASTY, NASTY, NASTY)
    decision = Decision(Verdict.APPROVED, (decider,), NASTY, "github", T0)
    hostile = replace(PROMOTED, decision=decision, reason=NASTY, gate=NASTY)
    lines = ledger_of(hostile)
    receipt = receipt_for(hostile, lines)
    assert receipt["who"]["deciders"][0]["comment"] == NASTY
    assert problems(json.dumps(receipt).encode(), lines) == ""


# --- not believing one ------------------------------------------------------------------------------------


@given(st.data())
def test_any_change_of_one_character_is_noticed_or_changes_no_meaning(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SENT) - 1))
    new = data.draw(st.binary(min_size=0, max_size=1))
    keep = data.draw(st.integers(0, 1))
    changed = SENT[:at] + new + SENT[at + keep :]
    try:
        found = checked(changed)
    except InvalidInputError:
        return
    assert found.problems or json.loads(changed) == RECEIPT


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("promotion", "p-2", "about another registry, model, alias or promotion"),
        ("what.registry", "other", "about another registry"),
        ("what.model", "main.ml.other", "about another registry, model"),
        ("what.alias", "Challenger", "about another registry"),
        ("what.version", "3", "It says version '3', and line 2 says '2'"),
        ("what.version_id", "id-3", "It says version id"),
        ("what.champion", None, "It says replaced version None, and line 2 says '1'"),
        ("who.verdict", "rejected", "cannot end as promoted"),
        ("who.verdict", None, "cannot end as promoted"),
        ("who.deciders", [], "an approval by nobody"),
        ("who.deciders.0.login", "eve", "It says deciders"),
        ("who.deciders.0.user_id", "8", "It says deciders"),
        ("who.deciders.0.comment", "", "It says deciders"),
        ("when.decided_at", "2025-03-01T12:00:01+00:00", "It says decided at"),
        ("when.decided_at", None, "It says decided at"),
        ("phase", "rejected", "quotes a change of the alias"),
        ("phase", "expired", "cannot end as expired"),
        ("phase", "stale", "quotes a change of the alias"),
        ("evidence_sha256", "c" * 64, "It says evidence sha256"),
        ("evidence_sha256", None, "It says evidence sha256"),
        ("approval_settings_sha256", "c" * 64, "It says approval settings"),
        ("request.url", "https://evil.example.com", "It says request's address"),
        ("request.external_id", "78", "It says request '78'"),
        ("request", None, "It says provider None"),
        ("ledger.0.reason", "other", "Line 2 on the receipt has been edited"),
        ("ledger.0.facts.version", "3", "Line 2 on the receipt has been edited"),
        ("ledger.1.hash", "a" * 64, "Line 4 is another one in the ledger"),
        ("ledger.1.previous_hash", "a" * 64, "Line 4 on the receipt has been edited"),
        ("ledger", [], "quotes no line of the ledger with one"),
        ("head.hash", "a" * 64, "rewritten or cut since"),
        ("head.number", 4, "another hash for its head than for line 4"),
        ("head.number", 6, "there is none after line 5"),
    ],
)
def test_a_forger_who_makes_the_digest_anew_is_contradicted(path: str, value: object, words: str) -> None:
    assert words in problems(forged(RECEIPT, edited(path, value)))


def test_a_change_without_a_new_digest_is_noticed_even_where_only_the_receipt_says_it() -> None:
    changed = json.loads(SENT)
    changed["when"]["ended_at"] = "2024-01-01T00:00:00+00:00"
    assert "changed after it was made" in problems(json.dumps(changed).encode())


def test_a_line_that_speaks_against_it_cannot_be_withheld() -> None:
    rejected = unapproved(Phase.REJECTED, Verdict.REJECTED)
    lines = ledger_of(rejected)
    receipt = receipt_for(rejected, lines)
    clean = forged(receipt, lambda r: r["ledger"].pop())
    assert "Line 4 of the ledger is about this promotion too" in problems(clean, lines)


def test_a_line_with_a_right_hash_that_the_ledger_does_not_have_is_noticed() -> None:
    rich = chained(*[read_body(line.body) for line in LINES[:3]], change_entry(PROMOTED), entry("other end"))
    assert problems(json.dumps(receipt_for(PROMOTED, rich)).encode(), rich) == ""
    poor = LINES[:3]
    found = problems(json.dumps(receipt_for(PROMOTED, rich)).encode(), poor)
    assert "Line 4, which the receipt quotes, is not in the ledger at hand" in found


def test_two_changes_on_one_approval_are_noticed() -> None:
    entries = [read_body(line.body) for line in LINES]
    lines = chained(*entries, change_entry(PROMOTED))
    assert "an approval is spent once" in problems(json.dumps(receipt_for(PROMOTED, lines)).encode(), lines)


def test_a_change_that_was_read_back_as_another_is_no_promotion() -> None:
    lines = chained(decision_entry(PROMOTED), change_entry(PROMOTED, source="outside", to="9"))
    found = problems(json.dumps(receipt_for(PROMOTED, lines)).encode(), lines)
    assert "quotes no line of the ledger with this promotion's change" in found


def test_a_ledger_that_is_broken_bears_nothing_out() -> None:
    broken = [*LINES[:4], replace(LINES[4], body=LINES[4].body.replace("ann", "bob"))]
    assert "In the ledger: Line 5 of the ledger has been edited." in problems(SENT, broken)


def test_a_ledger_rewritten_from_some_line_on_is_noticed_by_the_head() -> None:
    """Lines 1 to 4 are as they were, and the chain is whole; only the last one, of something else, is new."""
    entries = [read_body(line.body) for line in LINES[:4]]
    rewritten = chained(*entries, entry("as if nothing had been", actor="eve"))
    assert "Line 5 has another hash than the noted" in problems(SENT, rewritten)


def test_a_ledger_cut_before_the_head_is_noticed() -> None:
    assert "there is none after line 4" in problems(SENT, LINES[:4])
    assert "there is none after line 0" in problems(SENT, [])


# --- evidence ---------------------------------------------------------------------------------------------


def with_evidence(text: str) -> tuple[bytes, list[ChainedText]]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    decided = replace(PROMOTED, evidence_json=text, evidence_sha256=digest)
    lines = ledger_of(decided)
    return json.dumps(receipt_for(decided, lines)).encode(), lines


def test_the_evidence_is_the_one_that_was_decided_on() -> None:
    text = '{"asked":{"promotion":"p-1","to_version":"2"}}'
    sent, lines = with_evidence(text)
    found = checked(sent, lines, text.encode())
    assert found.problems == ()
    assert "The evidence is the one that was decided on." in found.confirmed
    assert "The evidence has the sha256" in problems(sent, lines, text.encode() + b"\n")


@pytest.mark.parametrize("text", ['{"asked":{"promotion":"p-2","to_version":"2"}}', "[]", "{}", "no json"])
def test_evidence_of_something_else_is_noticed(text: str) -> None:
    sent, lines = with_evidence(text)
    assert "The evidence " in problems(sent, lines, text.encode())


# --- what is no receipt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        edited("format", "champion-gate receipt 2"),
        edited("format", None),
        edited("phase", "approved by god"),
        edited("phase", []),
        edited("what", None),
        edited("what.version", 2),
        edited("who.verdict", ["approved"]),
        edited("who.deciders", None),
        edited("when.ended_at", "yesterday"),
        edited("when.ended_at", "2025-01-01T00:00:00"),
        edited("ledger", {}),
        edited("ledger.0", None),
        edited("ledger.0.number", "2"),
        edited("ledger.0.number", 9),
        edited("ledger.0.number", 4),
        edited("ledger.0.kind", "opinion"),
        edited("head", []),
        edited("head.number", -1),
        edited("head.number", True),
        edited("head.hash", "x"),
        edited("evidence_sha256", 5),
        edited("note", "approved by the board"),
        edited("what.note", "approved by the board"),
        lambda receipt: receipt.pop("who"),
        lambda receipt: receipt["ledger"].reverse(),
    ],
)
def test_a_document_of_another_form_is_refused(edit: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(InvalidInputError, match="This is no receipt"):
        read_receipt(forged(RECEIPT, edit))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"[]",
        b"\xff",
        b"null",
        b"[" * 100_000,
        b'{"format": 1, "format": 2}',
        b'{"format": NaN}',
        b"1" * 5000,
    ],
)
def test_what_is_no_object_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidInputError, match="This is no receipt"):
        read_receipt(sent)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"promotion p-1", "the file is not JSON"),
        (b'\xef\xbb\xbf{"format": 1}', "the file is not JSON"),
        (b"\xff", "the file is not UTF-8"),
        (b"[]", "the file is no JSON object"),
        (b"[" * 100_000, "the file is nested too deeply"),
        (b'{"format": 1, "format": 2}', "the file holds a key twice"),
    ],
)
def test_a_file_that_is_no_object_is_called_a_file(sent: bytes, words: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_receipt(sent)
    assert refused.value.message == f"This is no receipt: {words}."


def test_a_document_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at most"):
        read_receipt(b" " * (LONGEST_RECEIPT + 1))
