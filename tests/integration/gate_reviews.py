"""What people do where they approve by pull-request review, in the words of `gate_providers`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

from champion_gate.domain.promotion import Phase
from champion_gate_standins.github.repositories import PullRequest
from champion_gate_standins.github.server import GitHubStandIn
from integration.gate_providers import BOT, REVIEWERS, Provider, issuers_key

PROMOTIONS = "example/promotions"
OURS = {"contents": "write", "members": "read", "pull_requests": "write", "statuses": "write"}
"""What service/docs/reviews.md has a token granted."""


class ReviewProvider(Provider):
    """GitHub's pull requests: people who are listed, and may write to a repository of its own."""

    key, server_key = "github_review", "github"
    bot_words = ""  # GitHub lets nobody approve what they opened
    unprotected_words = "may not write"
    cancelled_words = "closed"
    in_vain = Phase.PENDING_APPROVAL  # others may approve yet
    opening, listing = "/pulls", "/pulls$"
    nothing_listed = "[]"
    seats: tuple[str, ...] = ("review",)

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.standin = GitHubStandIn(clock=clock)
        self.app, self.faults = self.standin.app, self.standin.faults
        self.issuer = self.standin.oidc.issuer
        self.issuer.rotate(issuers_key())
        self.standin.add_repository(PROMOTIONS, private=True, workflow=None)
        self.people.give(PROMOTIONS, BOT, "write")
        self.merges = False
        self.protect()

    @property
    def people(self) -> Any:
        """What they can do."""
        return self.standin.people

    def environ(self) -> dict[str, str]:
        return {"CHAMPION_GATE_GITHUB_TOKEN": self.standin.add_token(BOT, OURS)}

    def approval(self, people: int = 1) -> dict[str, object]:
        self.seats = (
            tuple(f"review ({n}/{people})" for n in range(1, people + 1)) if people > 1 else ("review",)
        )
        return self.place(approvers={"people": list(REVIEWERS)}, approvals=people)

    def place(self, **keys: object) -> dict[str, object]:
        """The gate's `approval` with these keys."""
        return {"github_review": {"repository": PROMOTIONS, **keys}}

    # --- what people do ---

    def approve(self, request_id: str, *logins: str, comment: str = "looks good") -> None:
        for login in logins:
            self.people.review(PROMOTIONS, number_of(request_id), login, body=comment)

    def reject(self, request_id: str, login: str) -> None:
        self.people.review(PROMOTIONS, number_of(request_id), login, "REQUEST_CHANGES", "not yet")

    def cancel(self, request_id: str) -> None:
        self.people.close(PROMOTIONS, number_of(request_id), "reviewer-1")

    def protect(self) -> None:
        for login in REVIEWERS:
            self.people.give(PROMOTIONS, login, "write")

    def unprotect(self) -> None:
        for login in REVIEWERS:
            self.people.give(PROMOTIONS, login, "read")

    def stop(self) -> None:
        self.standin.close()

    # --- what is so ---

    def pull(self, request_id: str) -> PullRequest:
        """The pull request."""
        found: PullRequest = self.people.pull(PROMOTIONS, number_of(request_id))
        return found

    def requests(self) -> dict[str, str]:
        home = self.standin.repository(PROMOTIONS)
        told = {one.sha: one.state for one in home.statuses if one.context == "champion-gate"}
        ends = {"success": "success"}
        return {
            f"{home.id}-{one.number}": "open"
            if one.state == "open"
            else ends.get(told.get(one.head_sha, ""), "cancelled")
            for one in home.pulls
            if one.user.login == BOT
        }

    def waits(self, request_id: str) -> bool:
        return self.pull(request_id).state == "open"

    def reading(self, request_id: str) -> str:
        return f"/pulls/{number_of(request_id)}$"

    # --- what there is no such thing of ---

    def _none(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError("there is no such thing where people review pull requests")

    delete = rerun = open_double = slip_in_the_bot = _none
    hold_jobs = end_jobs = cut_off = run_gated_jobs = token = _none


def number_of(request_id: str) -> int:
    """The pull request's number."""
    return int(request_id.rpartition("-")[2])
