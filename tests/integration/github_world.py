"""A GitHub stand-in with one gate's repository in it, and the adapter in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from champion_gate.adapters.github.provider import GitHub, GitHubApp, GitHubToken
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.domain.approval import ApprovalRequest, RequestState
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.job_runs import Trainer
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate_standins.common.server import serve
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.github.state import Job

REPOSITORY = "example/ml-deploy"
PLACE = {"repository": REPOSITORY, "workflow": "champion-gate.yml", "ref": "main"}
START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
QUICK = Timeouts(connect=1.0, read=0.5, total=5.0)
EVIDENCE = "# Champion?\n\n| metric | v1 | v2 |\n|---|---|---|\n| f1 | 0.80 | 0.91 |\n"


class MovableClock:
    """Stands still until it is moved; the adapter and the stand-in share it."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@cache
def app_keys() -> tuple[str, str]:
    """An App's private and public key, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


@dataclass
class World:
    """What a test acts on.

    Attributes:
        there: the stand-in; what people do, and what is so at GitHub.
        here: the adapter under test.
        pauses: what the adapter would have slept, in seconds.
    """

    there: GitHubStandIn
    here: GitHub
    clock: MovableClock
    url: str
    pauses: list[float] = field(default_factory=list)

    def promotion(self, name: str = "p-1", target: ApprovalTarget | None = None) -> Promotion:
        """A promotion whose intent to ask has just been written."""
        target = target or target_of()
        now = self.clock.now()
        request = ApprovalRequest(
            provider="github",
            intent_at=now,
            asked_at=now,
            expires_at=now + timedelta(days=14),
            pins=self.here.check_place(target),
            place=target.words(),
            seats=target.seats,
        )
        return promotion_of(name, now, request)

    def asked(self, name: str = "p-1", target: ApprovalTarget | None = None) -> Promotion:
        """A promotion that waits for people."""
        target = target or target_of()
        promotion = self.promotion(name, target)
        opened = self.here.open(target, promotion, EVIDENCE)
        assert opened is not None
        return self.with_run(promotion, opened.external_id)

    def with_run(self, promotion: Promotion, run_id: str) -> Promotion:
        """The promotion with its run on record."""
        assert promotion.request is not None
        request = replace(promotion.request, external_id=run_id, opened_at=self.clock.now())
        return replace(promotion, request=request, phase=Phase.PENDING_APPROVAL)

    def spoil_run(self, promotion: Promotion, **fields: object) -> None:
        """Have GitHub answer with other values when it is asked about the promotion's run."""
        path = f"/repos/{REPOSITORY}/actions/runs/{run_of(promotion)}"
        token = self.there.add_token("somebody")
        answer = requests.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=5)
        self.there.faults.add(f"{path}$", body=json.dumps({**answer.json(), **fields}))

    def read(self, promotion: Promotion) -> RequestState:
        """The state of the promotion's request."""
        assert promotion.request is not None
        return self.here.read(promotion.request.target, promotion)


def target_of(*seats: str, **place: str) -> ApprovalTarget:
    """The gate's settings; one environment `champion` unless others are named."""
    return ApprovalTarget.stored("github", words={**PLACE, **place}, seats=seats or ("champion",))


def run_of(promotion: Promotion) -> str:
    """The id of the promotion's workflow run."""
    assert promotion.request is not None
    assert promotion.request.external_id is not None
    return promotion.request.external_id


def gated_job_of(world: World, promotion: Promotion) -> Job:
    """The run's job that the environment `champion` protects."""
    jobs = world.there.run(run_of(promotion)).latest_jobs()
    return next(job for job in jobs if job.name == "approve (champion)")


def promotion_of(name: str, now: datetime, request: ApprovalRequest) -> Promotion:
    """Version 2 of main.ml.churn asking for Champion."""
    version = ModelVersion(
        model="main.ml.churn",
        version="2",
        version_id="id-2",
        run_id="run-2",
        source="dbfs:/models/churn/2",
        status=VersionStatus.READY,
        created_at=now,
        created_by="trainer@example.com",
    )
    return Promotion(
        id=name,
        gate="churn",
        registry="databricks-uc",
        model="main.ml.churn",
        alias="Champion",
        version=version,
        job_id="11",
        job_run_id="12",
        job_url="https://example.com/jobs/11/runs/12",
        trainers=(Trainer("job run creator", "trainer@example.com"),),
        phase=Phase.REQUESTED,
        reason="",
        requested_at=now,
        updated_at=now,
        due_at=now,
        evidence_sha256="e" * 64,
        request=request,
    )


def credentials_of(world: World, kind: str) -> tuple[GitHubApp | GitHubToken, GitHubApp | GitHubToken]:
    """Credentials of one account that GitHub takes, and some that it refuses with 401."""
    if kind == "token":
        return GitHubToken(world.there.add_token("gate-robot")), GitHubToken("github_pat_revoked")
    client_id = world.there.state.apps[0].client_id
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return GitHubApp(client_id, app_keys()[0]), GitHubApp(client_id, other.decode())


@contextmanager
def github_world(
    *, credentials: str = "app", api_version: str = "2022-11-28", timeouts: Timeouts | None = None
) -> Iterator[World]:
    """A stand-in whose environment `champion` is reviewed by `ann`, and the adapter.

    Args:
        credentials: "app", or "token" for a fine-grained token of the account `gate-robot`.
        api_version: which API version the adapter speaks.
        timeouts: of the adapter; QUICK where something hangs.
    """
    clock, pauses = MovableClock(), list[float]()
    private, public = app_keys()
    there = GitHubStandIn(clock=clock.now)
    there.add_repository(REPOSITORY)
    there.protect_branch(REPOSITORY)
    there.add_user("ann")
    there.protect_environment(REPOSITORY, "champion", ["ann"])
    client_id = there.add_app("champion-gate", public).client_id
    ours = (
        GitHubApp(client_id, private) if credentials == "app" else GitHubToken(there.add_token("gate-robot"))
    )
    with serve(there.app) as url:
        here = GitHub(
            url=url,
            credentials=ours,
            clock=clock,
            api_version=api_version,
            sleep=pauses.append,
            timeouts=timeouts,
        )
        try:
            yield World(there, here, clock, url, pauses)
        finally:
            here.close()
            there.close()
