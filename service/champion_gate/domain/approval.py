"""The question put to people, and what they answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from champion_gate.domain.gates import ApprovalTarget


@dataclass(frozen=True)
class ExcludedPerson:
    """A person who may not decide on this promotion.

    Attributes:
        name: who it is to Databricks, e.g. trainer@example.com.
        role: why: a Trainer's role.
        login, user_id: who that is at the provider; the id decides, the login is shown.
    """

    name: str
    role: str
    login: str
    user_id: str


@dataclass(frozen=True)
class ApprovalRequest:
    """The question put to people at a provider.

    Attributes:
        provider: key of the ApprovalProvider.
        intent_at: when we were about to open it; written before the vendor is called.
        pins: what the provider's adapter stored about the place when it opened: ids that must be the same
            when it decides. Opaque to all but its adapter, except that it is part of the promotion.
        external_id: the vendor's id; None while it is not known whether the call was carried out.
        opened_at: when the vendor's id was stored.
        expires_at: until when people may decide.
        place, seats: the gate's approval settings as they were, so that the request can be read and
            cancelled where it was opened whatever gates.yaml says by then.
        asked_at: when the vendor was last about to be called to open it.
        ledger_line: the ledger's newest line when the evidence was frozen; what came later, people did not see.
        correlation_id: what the request bears in its name at the vendor; empty in one that was stored before
            the evidence's hash was part of it, which bears the promotion's id alone.
        starts: how often the vendor was called to open it without a certain refusal, earlier evidence included.
        most_starts: how often it may be; more takes an operator.
    """

    provider: str
    intent_at: datetime
    expires_at: datetime
    pins: Mapping[str, str]
    external_id: str | None = None
    url: str | None = None
    opened_at: datetime | None = None
    place: Mapping[str, str] = field(default_factory=dict)
    seats: tuple[str, ...] = ()
    asked_at: datetime | None = None
    ledger_line: int = 0
    correlation_id: str = ""
    starts: int = 1
    most_starts: int = 2

    @property
    def target(self) -> ApprovalTarget:
        """Where it was opened."""
        return ApprovalTarget.stored(self.provider, self.place, self.seats)


@dataclass(frozen=True)
class OpenedRequest:
    """A request found or made at the provider.

    Attributes:
        pins: what is stored with the request's other pins, now that it is there.
    """

    external_id: str
    url: str
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class News:
    """What a provider's lists tell of the requests that wait for people.

    Attributes:
        promotions: the ids of those promotions that are to be read again.
        asking: promotion id -> ids of requests of ours that wait for people to decide on it, and are that of no
            pending promotion.
        unlisted: the ids of those promotions whose list cannot be read at the moment.
    """

    promotions: tuple[str, ...] = ()
    asking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundRequests:
    """What we have opened at the provider for one promotion, as its lists tell.

    Attributes:
        ours: those that bear its correlation id, oldest first: any of them may count.
        outdated: ids of those that have not ended and show earlier evidence of it: they are cancelled, and
            never count.
        remark: what else the lists tell that a person should know where none was found; may be empty.
    """

    ours: tuple[OpenedRequest, ...] = ()
    outdated: tuple[str, ...] = ()
    remark: str = ""


class Verdict(StrEnum):
    """What the reviewers said."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Decider:
    """One person of a decision; the vendor's numeric user id decides who is who."""

    user_id: str
    login: str
    seat: str
    comment: str


@dataclass(frozen=True)
class Decision:
    """What the reviewers said, from the vendor's API."""

    verdict: Verdict
    deciders: tuple[Decider, ...]
    reason: str
    source: str
    decided_at: datetime


@dataclass(frozen=True)
class Review:
    """One vote as the vendor's API gives it.

    Attributes:
        seat: the approval that it fills, as the vendor names it.
        is_person: False for bots and deleted users.
        is_opener: whether this is the account with which we opened the request.
        is_listed: whether this person is among those whom the place names as reviewers.
        lacks: what keeps an approval of theirs from counting as things are now, in words that follow "who"; empty
            where nothing does.
        at: when it was given, where the vendor tells.
    """

    seat: str
    verdict: Verdict
    user_id: str
    login: str
    comment: str
    is_person: bool
    is_opener: bool
    is_listed: bool
    lacks: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class RequestState:
    """An approval request as re-read through the vendor's API.

    Attributes:
        problems: why nothing of this can be trusted at the moment (protection removed, ids changed, …);
            while there is one the promotion waits.
        void: why this request can never yield a decision any more (cancelled, run a second time); ends it.
        reviews: every vote, also of people who may not decide.
        released_at: seat -> when the vendor let the gated job of this seat start; a seat that was
            skipped or still waits is absent.
        finished: whether the vendor will not change this any more.
        held_by: seat -> what the vendor still waits for before it lets a job start that people have let
            start, in words that follow "held by"; decides nothing, and may be absent.
        missing: what the vendor's answers lack that may yet appear -> that it does, as a sentence. A list that
            is empty once must end nothing, so an end is believed only after that has been so for some minutes.
        moved: that what was asked is not there any more as it was asked, as a sentence: the place belongs to another
            owner, or what people are shown was replaced; ends it as stale.
        by_review: whether the approvals alone decide, as there is no job that the vendor lets start: those that do
            not suffice wait for more, and a rejection is that of a listed reviewer.
        remark: what else people should know while they are waited for, as a sentence; decides nothing.
    """

    problems: tuple[str, ...]
    void: str | None
    reviews: tuple[Review, ...]
    released_at: Mapping[str, datetime]
    finished: bool
    held_by: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    moved: str | None = None
    by_review: bool = False
    remark: str = ""


class TokenUse(StrEnum):
    """Whether a CI job's token was posted before."""

    FIRST = "first"
    AGAIN = "again"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class VerifiedToken:
    """A token that the issuer signed for the gated job of one promotion, and whose claims all fit.

    It is a hint: what people decided is read from the provider's API.

    Attributes:
        provider: key of the ApprovalProvider.
        issuer: the `iss` claim.
        token_id: the `jti` claim; with the issuer it names this token among all.
        expires_at: the `exp` claim, UTC; it is accepted a little longer, for clocks that differ.
        run_id: the vendor's id of the run or pipeline; another than the promotion's where its own is not known yet.
        job_id: what tells the job from all others of its run.
        attempt: which attempt of the run; 1 where the vendor has no such thing.
        seat: the approval to which this job belongs; None where one job stands for all of them.
        user_id: who let the job start, where the token tells; the numeric id.
        unknown_claims: names of claims that we have never heard of; the vendor may have added a restriction.
    """

    provider: str
    issuer: str
    token_id: str
    expires_at: datetime
    run_id: str
    job_id: str
    attempt: int
    seat: str | None
    user_id: str | None
    unknown_claims: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What names this token among all issuers' tokens."""
        return f"{self.issuer} {self.token_id}"

    @property
    def job(self) -> str:
        """What names the job among all jobs of all providers."""
        return f"{self.provider} {self.run_id}/{self.job_id}/{self.attempt}"
