"""One model version asking for one alias, and the phases that it goes through.

All times are aware datetimes in UTC; all ids are strings (the vendors' int64 ids exceed 2**53).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.approval import ApprovalRequest, Decision, ExcludedPerson
from champion_gate.domain.job_runs import RunFacts, Trainer
from champion_gate.domain.retry import Retry
from champion_gate.domain.versions import ModelVersion


class Phase(StrEnum):
    """Where a promotion stands. Only the first five are open."""

    REQUESTED = "requested"
    VALIDATING = "validating"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    COPYING = "copying"
    PROMOTED = "promoted"
    INELIGIBLE = "ineligible"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    STALE = "stale"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether work is left to do."""
        return self.is_before_people or self is Phase.PENDING_APPROVAL or self.is_applied

    @property
    def is_before_people(self) -> bool:
        """Whether it is not known that people have been asked."""
        return self in {Phase.REQUESTED, Phase.VALIDATING}

    @property
    def is_applied(self) -> bool:
        """Whether people have approved, and the alias has not moved yet: a write may have begun."""
        return self in {Phase.APPROVED, Phase.COPYING}


_AFTER_REQUESTED = frozenset(
    {
        Phase.PENDING_APPROVAL,
        Phase.INELIGIBLE,
        Phase.EXPIRED,
        Phase.SUPERSEDED,
        Phase.CANCELLED,
        Phase.STALE,
        Phase.FAILED,
    }
)
_AFTER_APPROVED = frozenset({Phase.PROMOTED, Phase.STALE, Phase.CANCELLED, Phase.EXPIRED, Phase.FAILED})
TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.REQUESTED: _AFTER_REQUESTED | {Phase.VALIDATING},
    Phase.VALIDATING: _AFTER_REQUESTED,
    Phase.PENDING_APPROVAL: frozenset(
        {Phase.APPROVED, Phase.REJECTED, Phase.EXPIRED, Phase.SUPERSEDED, Phase.CANCELLED, Phase.STALE}
    ),
    Phase.APPROVED: _AFTER_APPROVED | {Phase.COPYING},
    Phase.COPYING: _AFTER_APPROVED,
    Phase.FAILED: frozenset({Phase.REQUESTED, Phase.VALIDATING, Phase.APPROVED, Phase.COPYING}),
}
"""Which phase may follow which; a phase without an entry is an end. Leaving FAILED takes an operator."""


@dataclass(frozen=True)
class EndRequest:
    """An order to end a promotion, carried out by whoever advances it next, after re-reading the decision.

    Attributes:
        phase: CANCELLED, SUPERSEDED, or EXPIRED where an approval has waited too long.
        actor: who ordered it.
    """

    phase: Phase
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Promotion:
    """One model version asking for one alias.

    Attributes:
        id: `[a-z0-9-]+`.
        model: whose alias it asks for; the version's own model, or the one that it is to be copied into.
        job_run_id: the job run that it came from.
        trainers: everybody behind the version; none of them may decide.
        reason: why it is where it is, in words for people.
        found_by: in which way the version was found (a VersionSource).
        origin: what showed that the version comes from the job run; none in rows of before it was kept.
        champion_version: the version that held the alias when the request opened; None if there was none.
        evidence_json: what the reviewer is shown, as canonical JSON; None before it is frozen.
        approval_sha256: hash of the gate's approval settings when the request opened.
        excluded: the trainers' logins and numeric ids at the provider.
        retry: how its current step fails.
        failed_from: the phase in which it failed, to which `retry` returns it.
        outstanding: the seats that had not been released when the decision was last read.
        seen_once: who seemed to be no listed reviewer, or what was missing, when the decision was last read, and
            since when; neither ends anything before it has been seen again.
        hints: how often somebody asked to look again; grows also while a worker holds the row.
        lease: token of the worker that holds the row; empty where nobody does.
        run: what is kept of the job run.
        approved_at: when the approval was read; None for one that an earlier release read.
        missing_since: when its request was first found gone at the vendor; None while it is there.
        version_missing_since: when its version, or the one that it would replace, was first found gone from the
            registry; None while it is there.
        copied: the copy of the version that gets the alias, once it is known to be what was approved; None where
            the version itself gets it.
    """

    id: str
    gate: str
    registry: str
    model: str
    alias: str
    version: ModelVersion
    job_id: str
    job_run_id: str
    job_url: str
    trainers: tuple[Trainer, ...]
    phase: Phase
    reason: str
    requested_at: datetime
    updated_at: datetime
    due_at: datetime | None
    champion_version: str | None = None
    found_by: str = ""
    evidence_json: str | None = None
    evidence_sha256: str | None = None
    approval_sha256: str | None = None
    excluded: tuple[ExcludedPerson, ...] = ()
    request: ApprovalRequest | None = None
    decision: Decision | None = None
    end_request: EndRequest | None = None
    ended_at: datetime | None = None
    retry: Retry = field(default_factory=Retry)
    failed_from: Phase | None = None
    outstanding: tuple[str, ...] = ()
    seen_once: Mapping[str, datetime] = field(default_factory=dict)
    hints: int = 0
    lease: str = ""
    origin: tuple[str, ...] = ()
    run: RunFacts = field(default_factory=RunFacts)
    approved_at: datetime | None = None
    missing_since: datetime | None = None
    version_missing_since: datetime | None = None
    copied: ModelVersion | None = None

    @property
    def source_model(self) -> str:
        """The model of the version that asks."""
        return self.version.model

    @property
    def is_copied(self) -> bool:
        """Whether a copy of the version, in another model, is to get the alias."""
        return self.source_model != self.model

    def is_overtaken_by(self, other: Promotion) -> bool:
        """Whether the other one asks with a newer version of the same model; numbers of different models tell nothing."""
        return self.source_model == other.source_model and self.version.number < other.version.number

    @property
    def target(self) -> ModelVersion:
        """The version that gets the alias: the one that asks, or its copy."""
        return self.copied or self.version

    @property
    def alias_key(self) -> AliasKey:
        """Which alias it asks for."""
        return AliasKey(self.registry, self.model, self.alias)

    @property
    def awaited_seats(self) -> tuple[str, ...]:
        """The seats in which people are still waited for; none where nobody is."""
        if self.phase is not Phase.PENDING_APPROVAL or self.request is None:
            return ()
        return self.outstanding or self.request.seats

    @property
    def asked(self) -> dict[str, str]:
        """Which version asks for which alias, as the steps whose ends are on record keep it."""
        return {
            "registry": self.registry,
            "model": self.model,
            "alias": self.alias,
            "version": self.version.version,
            "version_id": self.version.version_id,
        }

    @property
    def correlation_id(self) -> str:
        """What its request bears in its name at the vendor: see `correlation_id` below."""
        return (self.request.correlation_id if self.request else "") or self.id


@dataclass(frozen=True)
class Subject:
    """What a promotion is about: a version, and the job run and people behind it.

    Attributes:
        found_by: in which way the version was found: a VersionSource, or who asked by hand.
        origin: what shows that the version comes from the job run, in whole sentences.
    """

    version: ModelVersion
    job_id: str
    job_run_id: str
    job_url: str
    trainers: tuple[Trainer, ...]
    found_by: str
    origin: tuple[str, ...] = ()
    run: RunFacts = field(default_factory=RunFacts)

    @classmethod
    def of(cls, promotion: Promotion) -> Subject:
        """What an earlier promotion was about."""
        return cls(
            version=promotion.version,
            job_id=promotion.job_id,
            job_run_id=promotion.job_run_id,
            job_url=promotion.job_url,
            trainers=promotion.trainers,
            found_by=promotion.found_by,
            origin=promotion.origin,
            run=promotion.run,
        )


def about(promotion: Promotion, subject: Subject) -> Promotion:
    """The promotion with what is known of its run and people by now; the version stays the one that asks."""
    return replace(
        promotion,
        job_url=subject.job_url,
        trainers=subject.trainers,
        origin=subject.origin,
        run=subject.run,
    )


def requested(
    promotion_id: str, key: AliasKey, gate: str, subject: Subject, *, reason: str, at: datetime
) -> Promotion:
    """A promotion at its beginning, due at once."""
    return Promotion(
        id=promotion_id,
        gate=gate,
        registry=key.registry,
        model=key.model,
        alias=key.alias,
        version=subject.version,
        job_id=subject.job_id,
        job_run_id=subject.job_run_id,
        job_url=subject.job_url,
        trainers=subject.trainers,
        phase=Phase.REQUESTED,
        reason=reason,
        requested_at=at,
        updated_at=at,
        due_at=at,
        found_by=subject.found_by,
        origin=subject.origin,
        run=subject.run,
    )


_DIGITS = 12  # hexadecimal ones, of the evidence's hash
_WITH_HASH = re.compile(rf"(.+)-([0-9a-f]{{{_DIGITS}}})", re.ASCII)
_ANY_PROMOTION = re.compile(rf"\[(p-[a-z0-9]+)(?:-[0-9a-f]{{{_DIGITS}}})?\]", re.ASCII)


def correlation_id(promotion_id: str, evidence_sha256: str) -> str:
    """What the request for this promotion with this evidence (64 hex digits) bears in its name at the vendor.

    `<promotion id>-<first 12 hex digits of the evidence's sha256>` stands where a person sees it too: in the title
    of a workflow run, in the name of a pipeline, in the path to which their jobs post. So what was approved under
    one evidence is never taken for an approval of another.
    """
    return f"{promotion_id}-{evidence_sha256[:_DIGITS]}"


def bears(title: str, promotion: Promotion) -> bool:
    """Whether a request of this name shows the evidence that the promotion stands for now."""
    return f"[{promotion.correlation_id}]" in title


def bears_promotion(title: str, promotion: Promotion) -> bool:
    """Whether a request of this name asks for this promotion, with whatever evidence."""
    either = rf"\[{re.escape(promotion.id)}(?:-[0-9a-f]{{{_DIGITS}}})?\]"
    return re.search(either, title, re.ASCII) is not None


def promotions_in(title: str) -> frozenset[str]:
    """The ids of the promotions that a request of this name asks for: one, or none where it does not say."""
    return frozenset(_ANY_PROMOTION.findall(title))


def parts_of(correlation: str) -> tuple[str, str] | None:
    """The promotion's id and the beginning of the evidence's hash that a correlation id joins; None if it is none."""
    named = _WITH_HASH.fullmatch(correlation)
    return None if named is None else (named[1], named[2])
