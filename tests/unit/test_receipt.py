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

from champion_gate.domain.approval import Decider, Decision, ExcludedPerson, Verdict
from champion_gate.domain.evidence import canonical_json
from champion_gate.domain.job_runs import Trainer
from champion_gate.domain.ledger.chain import ChainedText, LedgerHead, read_body
from champion_gate.domain.ledger.export import read_jsonl
from champion_gate.domain.ledger.receipt import (
    FORMAT,
    LONGEST_RECEIPT,
    NotEndedError,
    Receipt,
    read_receipt,
    receipt_of,
)
from champion_gate.domain.ledger.receipt_check import ReceiptCheck, check_receipt
from champion_gate.domain.promotion import Phase, Promotion
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
    full_evidence,
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


def test_it_stays_so_when_the_ledger_grows_by_lines_of_others() -> None:
    entries = [read_body(line.body) for line in LINES]
    assert checked(SENT, chained(*entries, entry("later"), entry("yet", promotion_id="p-3"))).problems == ()


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
    # A rejection's line tells its end; that it was stale or failed, the line of the approval does not.
    assert ("phase" in " ".join(found.unproven)) == (phase is not Phase.REJECTED)


def test_a_receipt_of_the_time_before_the_first_line_needs_an_empty_ledger() -> None:
    ended = replace(unapproved(Phase.EXPIRED, None), request=None)
    sent = json.dumps(receipt_of(ended, (), LedgerHead(0, "0" * 64), T0)).encode()
    assert problems(sent, []) == ""
    assert "before the ledger's first line" in problems(sent, chained(entry("of another")))


def test_one_that_failed_and_moved_the_alias_after_all_is_no_longer_told_as_failed() -> None:
    failed = unapproved(Phase.FAILED, Verdict.APPROVED)
    lines = ledger_of(failed)
    found = problems(json.dumps(receipt_for(failed, lines)).encode(), lines)
    assert "It says failed, and line 4 says that the alias WAS moved" in found
    assert "promotions retry p-1" in found


def test_one_that_failed_may_have_been_taken_up_again_and_then_it_is_said_what_happened_since() -> None:
    failed = unapproved(Phase.FAILED, Verdict.APPROVED)
    found = checked(json.dumps(receipt_for(failed, LINES[:3])).encode())
    assert found.problems == ()
    assert "After the receipt was made" in " ".join(found.since)
    assert "line 4: the alias WAS moved from v1 to v2" in " ".join(found.since)
    unasked = replace(unapproved(Phase.FAILED, None), request=None)
    told = " ".join(checked(json.dumps(receipt_for(unasked, LINES[:1])).encode()).since)
    assert "line 2: approved by reviewer-1" in told


@pytest.mark.parametrize("phase", [Phase.EXPIRED, Phase.CANCELLED, Phase.SUPERSEDED, Phase.STALE])
@pytest.mark.parametrize("head", [0, 1, 2, 3])
def test_a_receipt_cut_back_to_a_head_before_the_lines_that_contradict_it_is_noticed(
    phase: Phase, head: int
) -> None:
    def cut(receipt: dict[str, Any]) -> None:
        receipt["ledger"] = [line for line in receipt["ledger"] if line["number"] <= head]
        receipt["phase"] = phase.value
        receipt["who"].update(verdict=None, deciders=[])
        receipt["when"]["decided_at"] = None
        receipt["head"].update(number=head, hash=LINES[head - 1].hash if head else "0" * 64)

    found = problems(forged(RECEIPT, cut))
    assert "Line 4 of the ledger is about this promotion too" in found


@pytest.mark.parametrize(
    "phase", [phase for phase in Phase if phase is not Phase.PROMOTED and not phase.is_open]
)
def test_nothing_but_promoted_is_believed_where_this_promotion_moved_the_alias(phase: Phase) -> None:
    found = problems(forged(RECEIPT, edited("phase", phase.value)))
    assert "the alias WAS moved" in found


@pytest.mark.parametrize("phase", [Phase.EXPIRED, Phase.CANCELLED, Phase.SUPERSEDED, Phase.INELIGIBLE])
def test_of_what_no_line_speaks_of_nothing_is_taken_for_proved(phase: Phase) -> None:
    ended = unapproved(phase, None)
    lines = chained(entry("of another", promotion_id="p-0"))
    found = checked(json.dumps(receipt_for(ended, lines)).encode(), lines)
    assert found.problems == ()
    assert not found.in_ledger
    told = " ".join(found.unproven)
    assert "No line of the ledger speaks of promotion p-1" in told
    for word in ("the registry", "model", "alias", "version", "phase", "promotion"):
        assert word in told


def test_a_part_says_that_what_came_before_was_not_looked_at() -> None:
    ended = unapproved(Phase.EXPIRED, None)
    lines = chained(entry("one"), entry("two"))
    sent = json.dumps(receipt_for(ended, lines)).encode()
    assert "begins with line 2" in " ".join(checked(sent, lines[1:]).unproven)
    assert "begins with" not in " ".join(checked(sent, lines).unproven)


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
        ("phase", "rejected", "the alias WAS moved"),
        ("phase", "expired", "cannot end as expired"),
        ("phase", "stale", "the alias WAS moved"),
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


def test_what_the_evidence_says_too_is_confirmed() -> None:
    text = canonical_json(full_evidence(PROMOTED))
    sent, lines = with_evidence(text)
    found = checked(sent, lines, text.encode())
    assert found.problems == ()
    confirmed, unproven = " ".join(found.confirmed), " ".join(found.unproven)
    for words in ("gate", "job run", "MLflow run", "source", "trained it", "excluded"):
        assert words in confirmed
        assert words not in unproven
    assert "when it was requested" in unproven


def test_long_and_hostile_texts_and_many_people_agree_with_the_evidence_that_cuts_them() -> None:
    crowd = tuple(Trainer("r" * 300, f"{NASTY}{number}" * 20) for number in range(60))
    excluded = tuple(ExcludedPerson(NASTY * 9, "r", f"octo-{number}", "5") for number in range(60))
    odd = replace(PROMOTED, gate="g" * 300, trainers=crowd, excluded=excluded)
    text = canonical_json(full_evidence(odd))
    digest = hashlib.sha256(text.encode()).hexdigest()
    odd = replace(odd, evidence_json=text, evidence_sha256=digest)
    lines = ledger_of(odd)
    assert problems(json.dumps(receipt_for(odd, lines)).encode(), lines, text.encode()) == ""


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("what.gate", "lax", "gate"),
        ("what.job_run", "31", "job run"),
        ("what.mlflow_run", None, "MLflow run"),
        ("what.mlflow_run", "other", "MLflow run"),
        ("what.source", "s3://other", "source"),
        ("what.source", 5, "source"),
        ("who.trainers", [], "who trained it"),
        ("who.trainers.0.name", "eve@example.com", "who trained it"),
        ("who.trainers.0", "eve", "who trained it"),
        ("who.excluded", [], "who was excluded"),
        ("who.excluded.0.user_id", "6", "who was excluded"),
        ("who.excluded.0.note", "cleared", "who was excluded"),
    ],
)
def test_a_receipt_that_says_otherwise_than_the_evidence_is_contradicted(
    path: str, value: object, words: str
) -> None:
    text = canonical_json(full_evidence(PROMOTED))
    sent, lines = with_evidence(text)
    found = problems(forged(json.loads(sent), edited(path, value)), lines, text.encode())
    assert f"not what the evidence says: {words}" in found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("asked.model", "main.ml.other"),
        ("asked.alias", "Challenger"),
        ("asked.registry", "mlflow"),
        ("asked.from_version", None),
        ("asked.provider", "gitlab"),
        ("candidate.version_id", "id-9"),
        ("candidate", None),
        ("people", []),
        ("people.trainers", {"rows": None, "left_out": 0}),
        ("people.excluded.left_out", 3),
    ],
)
def test_evidence_that_says_otherwise_is_noticed(path: str, value: object) -> None:
    document = full_evidence(PROMOTED)
    edited(path, value)(document)
    sent, lines = with_evidence(canonical_json(document))
    found = problems(sent, lines, canonical_json(document).encode())
    assert "not what the evidence says" in found


def test_evidence_that_nobody_decided_on_proves_nothing() -> None:
    text = canonical_json(full_evidence(PROMOTED))
    digest = hashlib.sha256(text.encode()).hexdigest()
    ended = replace(unapproved(Phase.EXPIRED, None), evidence_json=text, evidence_sha256=digest)
    lines = chained(entry("another"))
    found = checked(json.dumps(receipt_for(ended, lines)).encode(), lines, text.encode())
    assert found.problems == ()
    assert "decided on" not in " ".join(found.confirmed)
    assert "MLflow run" in " ".join(found.unproven)


# --- what is no receipt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        edited("format", "champion-gate receipt 2"),
        edited("format", None),
        edited("phase", "approved by god"),
        edited("phase", []),
        edited("phase", "requested"),
        edited("phase", "approved"),
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


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (edited("format", "champion-gate receipt 2"), "format is not 'champion-gate receipt 1'"),
        (lambda receipt: receipt.pop("who"), "who is missing"),
        (edited("what.note", "x"), "what.note is nothing that a receipt has"),
        (edited("what", None), "what is no object"),
        (edited("what.version", 2), "what.version is no text"),
        (edited("who.deciders", None), "who.deciders is no list"),
        (edited("head.number", True), "head.number is no number"),
        (edited("head.hash", "x"), "head.hash is not of the form that it has in a receipt"),
        (edited("ledger.0", None), "ledger.0: it quotes something that is no line of a ledger"),
        (edited("phase", "approved"), "phase: nobody gets one of a promotion that is approved"),
        (lambda receipt: receipt["ledger"].reverse(), "its lines of the ledger are out of order"),
    ],
)
def test_what_is_wrong_with_a_document_of_another_form_is_said_in_our_words(
    edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_receipt(forged(RECEIPT, edit))
    assert refused.value.message == f"This is no receipt: {words}."


def test_a_document_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at most"):
        read_receipt(b" " * (LONGEST_RECEIPT + 1))
