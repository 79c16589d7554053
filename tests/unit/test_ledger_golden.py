"""Bytes that no release may change: hashes, exports, receipts and evidence that people keep outside the database.

Were one of them another after an upgrade, what was noted before would look like a forgery.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from champion_gate.domain.approval import Decider, Decision, Verdict
from champion_gate.domain.evidence import canonical_json, sha256_of
from champion_gate.domain.ledger.chain import ChainedText, LedgerEntry, LedgerKind, read_body
from champion_gate.domain.ledger.export import read_jsonl, write_csv, write_jsonl
from champion_gate.domain.ledger.receipt import read_receipt
from champion_gate.domain.ledger.receipt_check import check_receipt
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.web.api.idempotency import request_key
from integration.store_samples import entry
from ledger_samples import (
    DECIDERS,
    FORMULAS,
    NASTY,
    T0,
    chained,
    change_entry,
    decision_entry,
    full_evidence,
    promoted,
    receipt_for,
)

GOLDEN = Path(__file__).parents[1] / "golden"
NUMBERS: Mapping[str, object] = {
    "zero": -0.0,
    "tenth": 0.1,
    "huge": 1e300,
    "tiny": 5e-324,
    "whole": 2.0,
    "long": 9007199254740993,
    "no": False,
    "none": None,
}
GATE = "g" * 300  # longer than what evidence keeps of it
EVIDENCE = canonical_json(full_evidence(promoted(gate=GATE)))


def decided() -> Promotion:
    """One with its evidence, and with all that is odd in what people write."""
    deciders = (*DECIDERS, Decider("8", NASTY, "second", NASTY))
    decision = Decision(Verdict.APPROVED, deciders, "Approved by reviewer-1 (champion).", "github", T0)
    return replace(
        promoted(gate=GATE), evidence_json=EVIDENCE, evidence_sha256=sha256_of(EVIDENCE), decision=decision
    )


def entries() -> list[LedgerEntry]:
    """A line of each kind, two zones, and everything that is written in some other way."""
    east = T0.astimezone(timezone(timedelta(hours=5, minutes=45)))
    return [
        decision_entry(decided()),
        change_entry(decided()),
        entry(NASTY, kind=LedgerKind.HOLD, actor=NASTY, facts={NASTY: NASTY, "version": None}),
        entry("", kind=LedgerKind.RELEASE, at=east.replace(microsecond=0), facts={}),
        entry("accepted", kind=LedgerKind.IDENTITY, registry="", model="", alias="", facts=NUMBERS),
        entry("nested", facts={"b": (1, MappingProxyType({"d": [[]], "c": {}})), "a": [NUMBERS]}),
        *(entry(formula, actor=formula, model=formula) for formula in FORMULAS),
    ]


LINES = chained(*entries())


def receipt() -> dict[str, Any]:
    return receipt_for(decided(), LINES)


def sentences() -> str:
    """What is said of receipts that are borne out, of those that are not, and with evidence or without."""
    failed = replace(decided(), phase=Phase.FAILED)
    expired = replace(promoted(), phase=Phase.EXPIRED, decision=None)
    others = chained(*(replace(each, promotion_id="p-9") for each in entries()[:2]))
    edited = {**receipt(), "reason": "other", "evidence_sha256": "0" * 64}
    cases: dict[str, tuple[dict[str, Any], list[ChainedText], bytes | None]] = {
        "promoted": (receipt(), LINES, None),
        "promoted, with its evidence": (receipt(), LINES, EVIDENCE.encode()),
        "promoted, with other evidence": (receipt(), LINES, b"{}"),
        "promoted, in a part of the ledger": (receipt(), LINES[1:], None),
        "promoted, in another ledger": (receipt(), others, None),
        "edited": (edited, LINES, EVIDENCE.encode()),
        "failed, and the alias moved": (receipt_for(failed, LINES), LINES, None),
        "failed, and taken up again": (receipt_for(failed, LINES[:1]), LINES, None),
        "expired": (receipt_for(expired, others), others, None),
        "expired, in a part of the ledger": (receipt_for(expired, LINES[4:]), LINES[4:], None),
    }
    told = []
    for name, (document, lines, evidence) in cases.items():
        found = check_receipt(read_receipt(json.dumps(document).encode()), lines, evidence)
        told.append(f"# {name}: {'in' if found.in_ledger else 'not in'} the ledger")
        for what in ("confirmed", "problems", "unproven", "since"):
            told += [f"{what}: {each}" for each in getattr(found, what)]
    return "\n".join(told) + "\n"


MADE = {
    "ledger.jsonl": lambda: "".join(write_jsonl(LINES)),
    "ledger.csv": lambda: "".join(write_csv(LINES)),
    "receipt.json": lambda: json.dumps(receipt()) + "\n",
    "evidence.json": lambda: EVIDENCE,
    "sentences.txt": sentences,
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_written_has_the_same_bytes_as_ever(name: str) -> None:
    assert MADE[name]().encode() == (GOLDEN / name).read_bytes()


def test_what_was_written_once_is_read_as_ever() -> None:
    lines = list(read_jsonl(io.BytesIO((GOLDEN / "ledger.jsonl").read_bytes())))
    assert lines == LINES
    assert [read_body(line.body) for line in lines[3:5]] == entries()[3:5]
    assert read_receipt((GOLDEN / "receipt.json").read_bytes()).digest_fits


def test_a_repeated_request_is_known_again_after_an_upgrade() -> None:
    key = request_key("API token t-1", "/api/v1/promotions/p-1/cancel", "ab\u00e9")
    assert key == "87276790e3cb74efe1235b34dd0e7e5083fbf5774d72ecbd80f2a59facfffacc"
