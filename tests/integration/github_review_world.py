"""A GitHub stand-in with a private repository for approvals, and the adapter that asks there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from champion_gate.adapters.github.review.provider import GitHubReview
from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.adapters.github.secrets import GitHubApp
from champion_gate.domain.approval import ApprovalRequest, OpenedRequest, RequestState
from champion_gate.domain.evidence import canonical_json, render_markdown, sha256_of
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.promotion import Phase, Promotion, correlation_id
from champion_gate_standins.common.server import serve
from champion_gate_standins.github.people import People
from champion_gate_standins.github.repositories import PullRequest
from champion_gate_standins.github.server import GitHubStandIn
from integration.github_world import QUICK, MovableClock, app_keys, promotion_of
from unit.evidence_samples import evidence

NAME = "example/ml-approvals"
PERMISSIONS = {"contents": "write", "pull_requests": "write", "statuses": "write", "members": "read"}
BOT = "champion-gate[bot]"
ROLES = {"science": {"people": ["ann", "bob"]}, "risk": {"people": ["ann"], "teams": ["officers"]}}


def target_of(**place: Any) -> ApprovalTarget:
    """The gate's settings as a request stores them; by default `science` and `risk` are needed."""
    given = {"roles": ROLES, **place} if "approvers" not in place else place
    made = GitHubReviewPlace.model_validate({"repository": NAME, **given})
    return ApprovalTarget.stored("github_review", made.words(), made.seats)


@dataclass
class ReviewWorld:
    """What a test acts on.

    Attributes:
        there: the stand-in.
        here: the adapter.
    """

    there: GitHubStandIn
    here: GitHubReview
    clock: MovableClock
    url: str

    @property
    def people(self) -> People:
        return self.there.people

    def promotion(self, name: str = "p-1", target: ApprovalTarget | None = None, to: str = "2") -> Promotion:
        """A promotion whose intent to ask has just been written."""
        target, now = target or target_of(), self.clock.now()
        text = canonical_json(evidence(frozen_at=f"2026-03-08T02:15:0{to}Z"))
        request = ApprovalRequest(
            provider="github_review",
            intent_at=now,
            asked_at=now,
            expires_at=now + timedelta(days=14),
            pins=self.here.check_place(target, timedelta(days=14)),
            place=target.words(),
            seats=target.seats,
            correlation_id=correlation_id(name, sha256_of(text)),
        )
        frozen = promotion_of(name, now, request)
        return replace(frozen, evidence_json=text, evidence_sha256=sha256_of(text))

    def open(self, promotion: Promotion) -> OpenedRequest:
        assert promotion.request is not None
        made = self.here.open(promotion.request.target, promotion, shown(promotion))
        assert made is not None
        return made

    def asked(self, name: str = "p-1", target: ApprovalTarget | None = None) -> Promotion:
        """A promotion that waits for people."""
        promotion = self.promotion(name, target)
        return known(promotion, self.open(promotion))

    def read(self, promotion: Promotion) -> RequestState:
        assert promotion.request is not None
        return self.here.read(promotion.request.target, promotion)

    def pull(self, promotion: Promotion) -> PullRequest:
        return self.people.pull(NAME, number_of(promotion))

    def branches(self) -> list[str]:
        return sorted(each for each in self.there.repository(NAME).branches if each != "main")


def shown(promotion: Promotion) -> str:
    """The file that people see."""
    return render_markdown(json.loads(promotion.evidence_json or "{}"), promotion.evidence_sha256 or "")


def known(promotion: Promotion, found: OpenedRequest) -> Promotion:
    """The promotion with its pull request on record."""
    assert promotion.request is not None
    pins = {**promotion.request.pins, **found.pins}
    request = replace(promotion.request, external_id=found.external_id, url=found.url, pins=pins)
    return replace(promotion, request=request, phase=Phase.PENDING_APPROVAL)


def number_of(promotion: Promotion) -> int:
    assert promotion.request is not None
    assert promotion.request.external_id is not None
    return int(promotion.request.external_id.partition("-")[2])


@contextmanager
def github_review_world() -> Iterator[ReviewWorld]:
    """People who may write: ann, bob, and cleo, who is in the team `officers`; rea may only read."""
    clock, (private, public) = MovableClock(), app_keys()
    there = GitHubStandIn(clock=clock.now)
    there.add_repository(NAME, private=True, workflow=None)
    for login, role in (("ann", "write"), ("bob", "admin"), ("cleo", "maintain"), ("rea", "read")):
        there.people.give(NAME, login, role)
    there.add_team("example", "officers", ["cleo"])
    client_id = there.add_app("champion-gate", public, permissions=PERMISSIONS).client_id
    with serve(there.app) as url:
        here = GitHubReview(
            url=url,
            credentials=GitHubApp(client_id, private),
            clock=clock,
            sleep=lambda _: None,
            timeouts=QUICK,
        )
        try:
            yield ReviewWorld(there, here, clock, url)
        finally:
            here.close()
            there.close()
