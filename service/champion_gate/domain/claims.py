"""What a CI job's ID token said, after it was verified: the only form in which the core sees one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
