"""Whether the evidence says of a promotion what its receipt says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from champion_gate.domain.evidence import LONGEST_NAME, LONGEST_URL, LONGEST_VALUE, MOST_PEOPLE
from champion_gate.domain.json_body import UnusableBodyError, json_object
from champion_gate.domain.ledger.receipt import Receipt
from champion_gate.domain.text import storable

ONLY_IN_EVIDENCE = ("gate", "job run", "MLflow run", "source", "who trained it", "who was excluded")
"""What the ledger's lines do not say, and the evidence does."""


@dataclass(frozen=True)
class EvidenceCheck:
    """What came of comparing a receipt with the evidence.

    Attributes:
        problems: sentences for people.
        borne_out: of ONLY_IN_EVIDENCE, what the evidence says too, in full length.
    """

    problems: tuple[str, ...] = ()
    borne_out: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Claim:
    """What a receipt says, and what the evidence has to say then; `needed` where it may not be silent."""

    words: str
    section: str
    name: str
    said: object
    expected: object
    needed: bool = False


def check_evidence(receipt: Receipt, evidence: bytes) -> EvidenceCheck:
    """Compare all that both of them say."""
    found = hashlib.sha256(evidence).hexdigest()
    if found != receipt.evidence_sha256:
        return EvidenceCheck(
            (f"The evidence has the sha256 {found}, and the receipt names {receipt.evidence_sha256}.",)
        )
    try:
        document = json_object(evidence)
    except UnusableBodyError as error:
        return EvidenceCheck((f"The evidence cannot be read: {error}.",))
    claims = list(_claims(receipt))
    wrong = [claim for claim in claims if not _agrees(claim, document)]
    if any(claim.needed for claim in wrong):
        return EvidenceCheck(("The evidence is about another promotion or version.",))
    if wrong:
        words = ", ".join(claim.words for claim in wrong)
        return EvidenceCheck((f"What the receipt says is not what the evidence says: {words}.",))
    told = (claim for claim in claims if claim.words in ONLY_IN_EVIDENCE and not _silent(claim, document))
    # Of a text or list that the evidence cuts, it bears out no more than the beginning.
    return EvidenceCheck((), frozenset(claim.words for claim in told if claim.said == claim.expected))


def _agrees(claim: _Claim, document: Mapping[str, Any]) -> bool:
    if _silent(claim, document):
        return not claim.needed
    section = document[claim.section]
    return isinstance(section, dict) and bool(section[claim.name] == claim.expected)


def _silent(claim: _Claim, document: Mapping[str, Any]) -> bool:
    if claim.section not in document:
        return True
    section = document[claim.section]
    return isinstance(section, dict) and claim.name not in section


def _claims(receipt: Receipt) -> Iterator[_Claim]:
    what, who = receipt.what, receipt.who
    yield _claim("promotion", "asked", "promotion", receipt.promotion_id, needed=True)
    yield _claim("version", "asked", "to_version", what.version, needed=True)
    yield _claim("registry", "asked", "registry", what.registry, LONGEST_URL)
    yield _claim("model", "asked", "model", what.model)
    yield _claim("alias", "asked", "alias", what.alias)
    if what.source_model is not None:
        yield _claim("source model", "copy", "source_model", what.source_model)
    yield _claim("replaced version", "asked", "from_version", what.champion)
    if receipt.request:
        yield _claim("provider", "asked", "provider", receipt.request.provider)
    yield _claim("gate", "asked", "gate", what.gate)
    yield _claim("version id", "candidate", "version_id", what.version_id)
    yield _claim("MLflow run", "candidate", "mlflow_run", what.mlflow_run, LONGEST_VALUE)
    yield _claim("source", "candidate", "source", what.source, LONGEST_VALUE)
    yield _claim("job run", "job", "run_id", what.job_run)
    yield _people("who trained it", "trainers", who.trainers, {"name": LONGEST_VALUE})
    yield _people("who was excluded", "excluded", who.excluded, {})


def _claim(
    words: str, section: str, name: str, said: object, limit: int = LONGEST_NAME, *, needed: bool = False
) -> _Claim:
    return _Claim(words, section, name, said, _cut(said, limit), needed)


def _people(words: str, name: str, said: list[Any], limits: Mapping[str, int]) -> _Claim:
    rows = [
        {key: _cut(value, limits.get(key, LONGEST_NAME)) for key, value in each.items()}
        if isinstance(each, dict)
        else each
        for each in said[:MOST_PEOPLE]
    ]
    expected = {"rows": rows, "left_out": max(0, len(said) - MOST_PEOPLE)}
    return _Claim(words, "people", name, {"rows": said, "left_out": 0}, expected)


def _cut(value: object, limit: int) -> object:
    return storable(value, limit) if isinstance(value, str) else value
