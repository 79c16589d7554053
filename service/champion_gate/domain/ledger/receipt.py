"""A promotion's receipt: one document that says what was decided, and that the ledger must bear out.

It is made here, and read here when somebody hands it in: bounded, and of exactly the form that we give out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.json_body import UnusableBodyError, json_object
from champion_gate.domain.ledger.chain import (
    ChainedText,
    LedgerEntry,
    LedgerHead,
    LedgerLine,
    ledger_time,
    read_body,
    write_body,
)
from champion_gate.domain.ledger.export import read_members
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.text import one_line
from champion_gate.errors import ConflictError, InvalidInputError

FORMAT: Literal["champion-gate receipt 1"] = "champion-gate receipt 1"
"""Name and version of the document's form; a reader refuses every other."""

DIGEST = "receipt_sha256"
LONGEST_RECEIPT = 4 * 2**20
"""Bytes."""

_WRONG = {
    "missing": "is missing",
    "extra_forbidden": "is nothing that a receipt has",
    "int_type": "is no number",
    "list_type": "is no list",
    "model_type": "is no object",
    "string_type": "is no text",
    "string_unicode": "is no text",
}


@dataclass(frozen=True)
class ReceiptLine:
    """A line of the ledger as the receipt quotes it, and what it says."""

    text: ChainedText
    entry: LedgerEntry


def _quoted(members: Any) -> ReceiptLine:
    if not isinstance(members, dict):
        raise ValueError("it quotes something that is no line of a ledger")  # noqa: TRY004 - pydantic's
    text = read_members(members)
    return ReceiptLine(text, read_body(text.body))


def _aware(at: str) -> str:
    if datetime.fromisoformat(at).tzinfo is None:
        raise ValueError(f"{at} is no time with a zone")
    return at


def _ended(phase: Phase) -> Phase:
    if phase.is_open:
        raise ValueError(f"nobody gets one of a promotion that is {phase.value}")
    return phase


_Time = Annotated[str, AfterValidator(_aware)]


class _Form(BaseModel):
    # What this version does not know could say anything, and nobody would have checked it.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class What(_Form):
    """Which version and job run, for which alias; what is Any is only compared, with ledger and evidence.

    The last three are there where a copy of a version of another model was to get the alias.
    """

    registry: str
    model: str
    alias: str
    version: str
    gate: Any
    version_id: Any
    mlflow_run: Any
    source: Any
    job_run: Any
    champion: Any
    source_model: Any = None
    copy_version: Any = None
    copy_version_id: Any = None


class Who(_Form):
    """Who decided what, and who could not."""

    verdict: str | None
    deciders: list[Any]
    trainers: list[Any]
    excluded: list[Any]


class When(_Form):
    """Times as texts."""

    requested_at: _Time | None
    decided_at: _Time | None
    ended_at: _Time | None


class Request(_Form):
    """Where approval was asked for."""

    provider: Any
    external_id: Any
    url: Any


class Head(_Form):
    """The ledger's head when the receipt was made."""

    number: Annotated[int, Field(ge=0, lt=10**18)]
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    at: _Time | None


class Receipt(_Form):
    """A receipt of the right form; nothing of it has been checked against anything.

    Attributes:
        request: where approval was asked for; None where it never was.
        lines: oldest first, each with a number of its own, none beyond the head.
        digest_fits: whether it is as it was made, unless somebody took the pains to make the digest anew.
    """

    format: Literal["champion-gate receipt 1"]
    promotion_id: str = Field(alias="promotion")
    what: What
    who: Who
    when: When
    phase: Annotated[Phase, Field(strict=False), AfterValidator(_ended)]
    reason: str
    evidence_sha256: str | None
    approval_settings_sha256: str | None
    request: Request | None
    lines: list[Annotated[ReceiptLine, PlainValidator(_quoted)]] = Field(alias="ledger")
    head: Head
    digest_fits: bool = Field(alias="receipt_sha256")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        numbers = [line.text.number for line in self.lines]
        if numbers != sorted(set(numbers)) or any(number > self.head.number for number in numbers):
            raise ValueError("its lines of the ledger are out of order")
        return self


def read_receipt(sent: bytes) -> Receipt:
    """Read a receipt.

    Raises:
        InvalidInputError: it is too long, or no receipt of the version that we know.
    """
    if len(sent) > LONGEST_RECEIPT:
        raise InvalidInputError(f"A receipt has at most {LONGEST_RECEIPT} bytes.")
    try:
        members = json_object(sent, "the file")
        if DIGEST in members:
            members[DIGEST] = members[DIGEST] == digest_of(members)
        return Receipt.model_validate(members)
    except UnusableBodyError as error:
        problem = str(error)
    except ValidationError as error:
        problem = one_line(_problem(error.errors(include_url=False)[0]))
    except (ValueError, RecursionError) as error:
        problem = one_line(str(error))
    raise InvalidInputError(f"This is no receipt: {problem}.")


def _problem(found: ErrorDetails) -> str:
    where, kind, context = ".".join(map(str, found["loc"])), found["type"], found.get("ctx", {})
    if kind == "value_error":
        words = str(context["error"])
        return f"{where}: {words}" if where else words
    if "expected" in context:
        return f"{where} is not {context['expected']}"
    return f"{where} {_WRONG.get(kind, 'is not of the form that it has in a receipt')}"


class NotEndedError(ConflictError):
    """A promotion gets its receipt when it has ended."""

    code = "not_ended"


def receipt_of(
    promotion: Promotion, lines: Iterable[LedgerLine], head: LedgerHead, at: datetime
) -> dict[str, object]:
    """One JSON document: what, who, when, its lines of the ledger, and the ledger's head.

    It ends with the sha256 of all the rest as canonical JSON, against slips; what speaks against forgery is
    the ledger.

    Args:
        promotion: which has ended.
        lines: every line of the ledger that bears its id, in any order.
        head: of the ledger, read after the promotion; lines beyond it are left out.
        at: aware; when the head was read.

    Raises:
        NotEndedError: it has not ended.
    """
    if promotion.phase.is_open:
        raise NotEndedError(
            f"Promotion {promotion.id} is {promotion.phase.value}: there is no receipt before it has ended.",
            hint=promotion.reason,
        )
    kept = sorted((line for line in lines if line.number <= head.number), key=lambda line: line.number)
    receipt: dict[str, object] = {
        "format": FORMAT,
        "promotion": promotion.id,
        "what": _what(promotion),
        "who": _who(promotion),
        "when": {
            "requested_at": _time(promotion.requested_at),
            "decided_at": _time(promotion.decision.decided_at if promotion.decision else None),
            "ended_at": _time(promotion.ended_at),
        },
        "phase": promotion.phase.value,
        "reason": promotion.reason,
        "evidence_sha256": promotion.evidence_sha256,
        "approval_settings_sha256": promotion.approval_sha256,
        "request": _request(promotion),
        "ledger": [_line(line) for line in kept],
        "head": {"number": head.number, "hash": head.hash, "at": _time(at)},
    }
    return {**receipt, DIGEST: digest_of(receipt)}


def digest_of(receipt: Mapping[str, object]) -> str:
    """The lower-case hex sha256 of a receipt without its own digest, as canonical JSON."""
    members = {name: value for name, value in receipt.items() if name != DIGEST}
    return sha256_of(canonical(members))


def _what(promotion: Promotion) -> dict[str, object]:
    version = promotion.version
    return {
        "gate": promotion.gate,
        "registry": promotion.registry,
        "model": promotion.model,
        "alias": promotion.alias,
        "version": version.version,
        "version_id": version.version_id,
        "mlflow_run": version.run_id,
        "source": version.source,
        "job_run": promotion.job_run_id,
        "champion": promotion.champion_version,
        **(_copy(promotion) if promotion.is_copied else {}),
    }


def _copy(promotion: Promotion) -> dict[str, object]:
    copied = promotion.copied
    return {
        "source_model": promotion.source_model,
        "copy_version": None if copied is None else copied.version,
        "copy_version_id": None if copied is None else copied.version_id,
    }


def _who(promotion: Promotion) -> dict[str, object]:
    decision = promotion.decision
    deciders = () if decision is None else decision.deciders
    return {
        "verdict": decision.verdict.value if decision else None,
        "deciders": [
            {"login": each.login, "user_id": each.user_id, "seat": each.seat, "comment": each.comment}
            for each in deciders
        ],
        "trainers": [{"role": each.role, "name": each.name} for each in promotion.trainers],
        "excluded": [
            {"name": each.name, "role": each.role, "login": each.login, "user_id": each.user_id}
            for each in promotion.excluded
        ],
    }


def _request(promotion: Promotion) -> dict[str, object] | None:
    request = promotion.request
    if request is None:
        return None
    return {"provider": request.provider, "external_id": request.external_id, "url": request.url}


def _line(line: LedgerLine) -> dict[str, object]:
    """As in an export; a line that was edited by hand shows by a hash that does not fit."""
    members = json.loads(write_body(line.number, line.entry))
    return {**members, "previous_hash": line.previous_hash, "hash": line.hash}


def _time(at: datetime | None) -> str | None:
    """As the ledger writes it: both must say the same."""
    return None if at is None else ledger_time(at)
