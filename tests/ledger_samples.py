"""A small ledger, an export of it and a receipt, as tests need them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from champion_gate.domain.approval import Decider, Decision, ExcludedPerson, Verdict
from champion_gate.domain.evidence import canonical_json, collect, sha256_of
from champion_gate.domain.gates import ApprovalTarget, Gate
from champion_gate.domain.ledger.chain import (
    GENESIS,
    ChainedText,
    LedgerEntry,
    LedgerHead,
    LedgerKind,
    LedgerLine,
    chain,
    read_body,
)
from champion_gate.domain.ledger.export import write_jsonl
from champion_gate.domain.ledger.receipt import DIGEST, digest_of, receipt_of
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.versions import VersionDetails
from integration.store_samples import entry, promotion, request, version

T0 = datetime(2025, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

NASTY = (
    "<script>alert(1)</script> **bold** [x](javascript:1) `code` | a | b |\r\nnext\tline \x00\x07\x1b[31m\x7f\x9b2J"
    " \u202eevil\u2066 \u200b\u2028 \ud800 \udfff na\u00efve \U0001f600 'quoted' \"double\" \\u0041 \\n"
)
FORMULAS = ("=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", '=HYPERLINK("http://x","y")')


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.builds(
    LedgerEntry,
    kind=st.sampled_from(LedgerKind),
    registry=st.text(),
    model=st.text(),
    alias=st.text(),
    actor=st.text(),
    reason=st.text(),
    at=st.datetimes(timezones=st.just(UTC)),
    promotion_id=st.none() | st.text(),
    facts=st.dictionaries(st.text(), _JSON, max_size=4),
)


def chained(*entries: LedgerEntry) -> list[ChainedText]:
    """These entries as a ledger that holds nothing else."""
    lines: list[ChainedText] = []
    for each in entries:
        lines.append(chain(len(lines) + 1, lines[-1].hash if lines else GENESIS, each))
    return lines


def export_of(lines: Iterable[ChainedText]) -> bytes:
    """The lines as `ledger export` writes them."""
    return "".join(write_jsonl(lines)).encode()


def head_of(lines: list[ChainedText]) -> LedgerHead:
    """The last line."""
    return LedgerHead(lines[-1].number, lines[-1].hash)


EVIDENCE = '{"asked":{"promotion":"p-1","to_version":"2"}}'
DECIDERS = (Decider("7", "reviewer-1", "champion", "looks good"),)


def promoted(**changes: Any) -> Promotion:
    """p-1: v2 was approved by reviewer-1 and replaced v1."""
    return replace(
        promotion("p-1"),
        phase=Phase.PROMOTED,
        reason="Champion of main.ml.churn moved from v1 to v2",
        champion_version="1",
        evidence_json=EVIDENCE,
        evidence_sha256=sha256_of(EVIDENCE),
        approval_sha256="b" * 64,
        request=request(),
        decision=Decision(Verdict.APPROVED, DECIDERS, "Approved by reviewer-1 (champion).", "github", T0),
        excluded=(ExcludedPerson("ann@example.com", "job run creator", "octo-ann", "5"),),
        ended_at=T0 + timedelta(seconds=5),
        due_at=None,
        **changes,
    )


def decision_entry(of: Promotion, **changes: Any) -> LedgerEntry:
    """The decision's line as the promoter writes it."""
    decision, asked = of.decision, of.request
    assert decision is not None
    assert asked is not None
    facts = {
        "verdict": decision.verdict.value,
        "deciders": [
            {"login": d.login, "user_id": d.user_id, "seat": d.seat, "comment": d.comment}
            for d in decision.deciders
        ],
        "decided_at": decision.decided_at.isoformat(),
        "version": of.version.version,
        "version_id": of.version.version_id,
        "champion": of.champion_version,
        "evidence_sha256": of.evidence_sha256,
        "approval_settings_sha256": of.approval_sha256,
        "provider": decision.source,
        "request": asked.external_id,
        "url": asked.url,
    }
    return entry(decision.reason, kind=LedgerKind.DECISION, promotion_id=of.id, facts={**facts, **changes})


def change_entry(of: Promotion, **changes: Any) -> LedgerEntry:
    """The alias change's line as the alias writer writes it."""
    facts = {"from": of.champion_version, "to": of.version.version, "source": "promotion"}
    return entry("approved", promotion_id=of.id, facts={**facts, **changes})


def ledger_of(of: Promotion) -> list[ChainedText]:
    """Five lines: the second and fourth are this promotion's."""
    other = entry("of another", promotion_id="p-0", model="main.ml.other")
    outside = entry("moved outside", facts={"from": "2", "to": "9", "source": "outside"})
    return chained(other, decision_entry(of), other, change_entry(of), outside)


def full_evidence(of: Promotion) -> dict[str, Any]:
    """The evidence of a promotion, with all that the ledger does not say."""
    candidate = VersionDetails(of.version, {}, None)
    champion = VersionDetails(version(1), {}, None)
    target = ApprovalTarget.stored("github", {}, ("champion",))
    gate = Gate.model_construct(  # with names that gates.yaml would not take
        name=of.gate, jobs=(int(of.job_id),), model=of.model, alias=of.alias, approval=target
    )
    document = collect(
        replace(of, found_by="task", origin=()),
        gate,
        candidate,
        champion,
        nobody=(),
        champion_since=None,
        version_url=None,
        frozen_at=T0,
    )
    found: dict[str, Any] = json.loads(canonical_json(document))
    return found


def receipt_for(of: Promotion, lines: list[ChainedText]) -> dict[str, Any]:
    """The receipt that the service would give out, after a way through JSON."""
    own = [
        LedgerLine(line.number, read_body(line.body), line.previous_hash, line.hash)
        for line in lines
        if read_body(line.body).promotion_id == of.id
    ]
    made: dict[str, Any] = json.loads(json.dumps(receipt_of(of, reversed(own), head_of(lines), T0)))
    return made


def forged(receipt: dict[str, Any], edit: Callable[[dict[str, Any]], object]) -> bytes:
    """The receipt edited by somebody who knows how to make its digest anew."""
    copy = json.loads(json.dumps(receipt))
    edit(copy)
    return json.dumps({**copy, DIGEST: digest_of(copy)}).encode()
