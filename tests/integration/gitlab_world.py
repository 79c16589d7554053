"""A GitLab stand-in with one gate's project in it, and the adapter in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import requests

from champion_gate.adapters.gitlab.provider import GitLab, GitLabTokens
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.domain.approval import ApprovalRequest, RequestState, Verdict
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.judging import Judgement, judge
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.common.server import serve
from champion_gate_standins.gitlab.server import GitLabStandIn, Who
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, Job
from integration.github_world import EVIDENCE, MovableClock, promotion_of

PROJECT = 42
PATH = "example/ml-deploy"
BOT = "gate-robot"
GATE_URL = "https://gate.example.com"
PLACE = {
    "project": str(PROJECT),
    "ref": "main",
    "job": "approve",
    "environment": "champion",
    "protection": "environment",
}


@dataclass
class World:
    """What a test acts on.

    Attributes:
        there: the stand-in; what people do, and what is so at GitLab.
        here: the adapter under test.
        place: the gate's settings, as `target` gives them.
        pauses: what the adapter would have slept, in seconds.
    """

    there: GitLabStandIn
    here: GitLab
    clock: MovableClock
    url: str
    tokens: GitLabTokens
    place: dict[str, str]
    seats: tuple[str, ...] = ("champion",)
    pauses: list[float] = field(default_factory=list)

    def target(self, **place: str) -> ApprovalTarget:
        """The gate's settings, changed in what is given."""
        return ApprovalTarget.stored("gitlab", words={**self.place, **place}, seats=self.seats)

    def promotion(self, name: str = "p-1", target: ApprovalTarget | None = None) -> Promotion:
        """A promotion whose intent to ask has just been written."""
        target = target or self.target()
        now = self.clock.now()
        request = ApprovalRequest(
            provider="gitlab",
            intent_at=now,
            asked_at=now,
            expires_at=now.replace(year=now.year + 1),
            pins=self.here.check_place(target),
            place=target.words(),
            seats=target.seats,
        )
        return promotion_of(name, now, request)

    def asked(self, name: str = "p-1", target: ApprovalTarget | None = None) -> Promotion:
        """A promotion that waits for people."""
        target = target or self.target()
        promotion = self.promotion(name, target)
        opened = self.here.open(target, promotion, EVIDENCE)
        assert opened is not None
        return self.with_pipeline(promotion, opened.external_id)

    def with_pipeline(self, promotion: Promotion, pipeline_id: str | int) -> Promotion:
        """The promotion with its pipeline on record."""
        assert promotion.request is not None
        request = replace(promotion.request, external_id=str(pipeline_id), opened_at=self.clock.now())
        return replace(promotion, request=request, phase=Phase.PENDING_APPROVAL)

    def job(self, promotion: Promotion) -> Job:
        """The gated job of the promotion's pipeline."""
        return self.there.job(pipeline_of(promotion))

    def play(self, promotion: Promotion, username: str = "ann") -> Job:
        """Somebody runs the gated job."""
        return self.there.play(self.job(promotion), username)

    def read(self, promotion: Promotion) -> RequestState:
        """The state of the promotion's request."""
        assert promotion.request is not None
        return self.here.read(promotion.request.target, promotion)

    def answer(self, path: str) -> object:
        """What GitLab answers to the read token."""
        headers = {"PRIVATE-TOKEN": self.tokens.read_token}
        return requests.get(f"{self.url}/api/v4{path}", headers=headers, timeout=5).json()

    def spoil(self, path: str, **changed: object) -> None:
        """Have GitLab answer with other values when it is asked for this path: of the object, or of each of a list."""
        found = self.answer(path)
        spoilt = (
            [{**one, **changed} for one in found]
            if isinstance(found, list)
            else {**_object(found), **changed}
        )
        bare = path.partition("?")[0]
        self.there.faults.add(f"/api/v4{bare}$", body=json.dumps(spoilt))

    def adapter(self, **changed: object) -> GitLab:
        """Another adapter with other tokens; the caller closes it."""
        tokens = replace(self.tokens, **changed)  # type: ignore[arg-type]
        return GitLab(url=self.url, credentials=tokens, clock=self.clock, gate_url=GATE_URL)


def _object(found: object) -> dict[str, object]:
    assert isinstance(found, dict)
    return found


def pipeline_of(promotion: Promotion) -> str:
    """The id of the promotion's pipeline."""
    assert promotion.request is not None
    assert promotion.request.external_id is not None
    return promotion.request.external_id


def outcome(world: World, promotion: Promotion, state: RequestState) -> tuple[Verdict | None, str]:
    """What the core makes of it, where it is still so a minute later."""
    assert promotion.request is not None
    seats, now = promotion.request.seats, world.clock.now()

    def judged(at: datetime, promotion: Promotion) -> Judgement:
        return judge(
            promotion=promotion,
            seats=seats,
            state=state,
            allow_trainer_approval=False,
            source="gitlab",
            now=at,
        )

    seen = judged(now, promotion).seen_once
    judgement = judged(now + timedelta(minutes=1), replace(promotion, seen_once=seen))
    if judgement.decision is None:
        return None, judgement.waiting_because
    return judgement.decision.verdict, judgement.decision.reason


@contextmanager
def gitlab_world(
    *,
    protection: str = "environment",
    approvals: Sequence[str] = (),
    opens_with: str = "trigger",
    prefix: str = "",
    timeouts: Timeouts | None = None,
) -> Iterator[World]:
    """A stand-in whose environment `champion` is deployed to by `ann`, and the adapter.

    Args:
        protection: "environment" (Premium) or "branch" (Free, where Maintainers may run the job: ann, bob).
        approvals: who has to approve the deployment, one of each; nobody needs to by default.
        opens_with: "trigger" for a trigger token, "api" for an access token.
        prefix: path of the installation.
        timeouts: of the adapter; QUICK where something hangs.
    """
    clock, pauses = MovableClock(), list[float]()
    there = GitLabStandIn(clock=clock.now, prefix=prefix)
    free = protection == "branch"
    project = there.add_project(PATH, id=PROJECT, tier="free" if free else "premium")
    for person in ("ann", "bob", "reader"):
        there.add_member(project, person, MAINTAINER)
    there.add_member(project, BOT, MAINTAINER if free else DEVELOPER)
    if not free:
        there.protect_branch(project, "main", merge=(MAINTAINER, BOT))
        rules: dict[Who, int] = dict.fromkeys(approvals, 1)
        there.protect_environment(project, "champion", deployers=("ann",), approvals=rules)
    trigger = there.add_trigger(project, BOT) if opens_with == "trigger" else None
    api = there.add_token(BOT, ("api",))
    tokens = GitLabTokens(read_token=there.add_token("reader"), trigger_token=trigger, api_token=api)
    with serve(there.app) as url:
        base = f"{url}{prefix}"
        here = GitLab(
            url=base,
            credentials=tokens,
            clock=clock,
            gate_url=GATE_URL,
            sleep=pauses.append,
            timeouts=timeouts,
        )
        seats = tuple(f"champion {number}" for number, _ in enumerate(approvals, 1)) or ("champion",)
        place = {**PLACE, "protection": protection}
        try:
            yield World(there, here, clock, base, tokens, place, seats, pauses)
        finally:
            here.close()
            there.close()
