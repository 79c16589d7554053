"""What people do and what is so at a CI/CD system, in the same words for every vendor."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask

from champion_gate.domain.promotion import Phase
from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.gated_job import AUDIENCE
from champion_gate_standins.common.issuer import Issuer
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.gitlab.server import GitLabStandIn, Who
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER, Job

REPOSITORY = "example/ml-deploy"
PROJECT = 42
BOT = "champion-gate-bot"
TRAINER_LOGIN = "octo-trainer"
REVIEWERS = ("reviewer-1", "reviewer-2", TRAINER_LOGIN)
SEATS = ("champion", "champion-2")


@cache
def issuers_key() -> rsa.RSAPrivateKey:
    """What issuers sign with; to make one takes longer than most tests."""
    return rsa.generate_private_key(65537, 2048)


class Provider(ABC):
    """One vendor's stand-in with one place where people approve.

    Attributes:
        key: of the provider.
        comments: whether people can write something to their approval.
        most_people: how many a gate may ask for.
        bot_words: why an approval by our own account is none.
        unprotected_words: what is said about a place without its protection.
        cancelled_words: what is said of a request that somebody ended on its page.
        in_vain: what a request is after an approval that does not count, where nobody else gave one.
        server_key: of its server at the top of gates.yaml; None where that is `key`.
        opening, listing: paths (regular expressions) of the calls that open and list requests.
        nothing_listed: answer of the latter.
        seats: the approvals that the place demands.
    """

    key: str
    comments = True
    most_people = 2
    server_key: str | None = None
    bot_words: str
    unprotected_words: str
    cancelled_words = "cancelled"
    in_vain = Phase.REJECTED
    opening: str
    listing: str
    nothing_listed: str
    app: Flask
    faults: Faults
    issuer: Issuer
    seats: tuple[str, ...] = SEATS[:1]

    # --- settings of the service ---

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """The credentials."""

    @abstractmethod
    def approval(self, people: int = 1) -> dict[str, object]:
        """Demand so many people at the place; returns the gate's `approval`."""

    def server(self, url: str) -> dict[str, object]:
        """The gates file's words about where it is and who signs its tokens."""
        return {"url": url, "oidc": {"issuer": url}}

    # --- what people do ---

    @abstractmethod
    def approve(self, request_id: str, *logins: str, comment: str = "looks good") -> None:
        """Each of them approves one seat; once nobody is missing, the last one lets the job start."""

    @abstractmethod
    def reject(self, request_id: str, login: str) -> None:
        """Somebody says no ("not yet"), in whatever way the vendor has for that."""

    @abstractmethod
    def cancel(self, request_id: str) -> None:
        """Somebody cancels the run or pipeline on its page."""

    @abstractmethod
    def delete(self, request_id: str) -> None:
        """Somebody, or a clean-up, deletes the run or pipeline."""

    @abstractmethod
    def rerun(self, request_id: str, login: str) -> None:
        """Somebody runs again what has ended."""

    @abstractmethod
    def open_double(self, request_id: str) -> str:
        """Our own account opens the same request once more; returns the new run's or pipeline's id."""

    @abstractmethod
    def slip_in_the_bot(self, request_id: str) -> None:
        """The account that opened the request lets the gated job start, past the rules."""

    @abstractmethod
    def protect(self) -> None:
        """Set the place up, or set it right again."""

    @abstractmethod
    def unprotect(self) -> None:
        """Take the protection away."""

    @abstractmethod
    def hold_jobs(self) -> None:
        """Released jobs go on running from now on."""

    @abstractmethod
    def end_jobs(self, request_id: str, *, well: bool) -> None:
        """End the released jobs."""

    @abstractmethod
    def cut_off(self, request_id: str, end: str) -> None:
        """Released jobs end as "cancelled", "timed_out" or "failure", in the vendor's word for that."""

    @abstractmethod
    def run_gated_jobs(self, gate_url: str) -> None:
        """Released jobs do what the shipped templates do."""

    @abstractmethod
    def stop(self) -> None:
        """Let everything that hangs go on."""

    # --- what is so ---

    @abstractmethod
    def requests(self) -> dict[str, str]:
        """Status of every run or pipeline by its id, oldest first: open, cancelled, success or failure."""

    @abstractmethod
    def waits(self, request_id: str) -> bool:
        """Whether people can decide on it now."""

    @abstractmethod
    def reading(self, request_id: str) -> str:
        """Path (a regular expression) of the call that reads a run or pipeline."""

    @abstractmethod
    def token(self, request_id: str, seat: int = 0, **claims: Any) -> str:
        """The ID token of the gated job, or of that of this seat."""

    def asked(self) -> int:
        """How often it was asked to open a request."""
        return sum(
            1 for method, path in self.faults.requests if method == "POST" and path.endswith(self.opening)
        )


class GitHubProvider(Provider):
    """GitHub Actions: one environment with required reviewers for each person."""

    key = "github"
    bot_words = "is the account that opened the request"
    unprotected_words = "has no required reviewers"
    opening, listing = "/dispatches", "/workflows/champion-gate.yml/runs$"
    nothing_listed = json.dumps({"total_count": 0, "workflow_runs": []})

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.standin = GitHubStandIn(clock=clock)
        self.app, self.faults = self.standin.app, self.standin.faults
        self.issuer = self.standin.oidc.issuer
        self.issuer.rotate(issuers_key())
        self.standin.add_repository(REPOSITORY)
        self.standin.protect_branch(REPOSITORY)
        for login in REVIEWERS:
            self.standin.add_user(login)
        self.protect()

    def environ(self) -> dict[str, str]:
        return {"CHAMPION_GATE_GITHUB_TOKEN": self.standin.add_token(BOT)}

    def approval(self, people: int = 1) -> dict[str, object]:
        self.seats = SEATS[:people]
        self.protect()
        place = {"repository": REPOSITORY, "workflow": "champion-gate.yml", "ref": "main"}
        return {"github": {**place, "environments": list(self.seats)}}

    def approve(self, request_id: str, *logins: str, comment: str = "looks good") -> None:
        for seat, login in zip(self.seats, logins, strict=False):
            self.standin.review(request_id, seat, login, approve=True, comment=comment)

    def reject(self, request_id: str, login: str) -> None:
        self.standin.review(request_id, self.seats[0], login, approve=False, comment="not yet")

    def cancel(self, request_id: str) -> None:
        self.standin.cancel(request_id)

    def delete(self, request_id: str) -> None:
        self.standin.delete_run(request_id)

    def rerun(self, request_id: str, login: str) -> None:
        self.standin.rerun(request_id, login)

    def open_double(self, request_id: str) -> str:
        inputs = dict(self.standin.run(request_id).inputs)
        return str(self.standin.dispatch(REPOSITORY, inputs, login=BOT).id)

    def slip_in_the_bot(self, request_id: str) -> None:
        self.standin.bypass(request_id, self.seats[0], BOT)

    def protect(self) -> None:
        for seat in self.seats:
            self.standin.protect_environment(REPOSITORY, seat, REVIEWERS)

    def unprotect(self) -> None:
        for seat in self.seats:
            self.standin.protect_environment(REPOSITORY, seat, ())

    def hold_jobs(self) -> None:
        self.standin.workflow_runs.jobs_finish = False

    def end_jobs(self, request_id: str, *, well: bool) -> None:
        for seat in self.seats:
            self.standin.end_job(request_id, seat, "success" if well else "failure")

    def cut_off(self, request_id: str, end: str) -> None:
        for seat in self.seats:
            self.standin.end_job(request_id, seat, end)

    def run_gated_jobs(self, gate_url: str) -> None:
        self.standin.run_gated_jobs(gate_url)

    def stop(self) -> None:
        self.standin.close()

    def requests(self) -> dict[str, str]:
        return {str(run.id): run.conclusion or "open" for run in self.standin.runs}

    def waits(self, request_id: str) -> bool:
        return bool(self.standin.run(request_id).waiting_jobs())

    def reading(self, request_id: str) -> str:
        return f"/actions/runs/{request_id}$"

    def token(self, request_id: str, seat: int = 0, **claims: Any) -> str:
        return self.standin.oidc.id_token(request_id, self.seats[seat], AUDIENCE, **claims)


class GitLabProvider(Provider):
    """GitLab: a gated manual job.

    Args:
        protection: "environment" (Premium) or "branch" (Free).
        rules: whether the protected environment has approval rules; else playing the job is the approval.
    """

    key = "gitlab"
    bot_words = "was run by our own account"
    opening, listing = "/trigger/pipeline", f"/projects/{PROJECT}/pipelines$"
    nothing_listed = "[]"

    def __init__(self, clock: Callable[[], datetime], protection: str, *, rules: bool) -> None:
        self.standin = GitLabStandIn(clock=clock)
        self.app, self.faults = self.standin.app, self.standin.faults
        self.issuer = self.standin.id_tokens.issuer
        self.issuer.rotate(issuers_key())
        self.rules, self.comments, self.most_people = rules, rules, 2 if rules else 1
        self._protection = protection
        self._free = protection == "branch"
        self.unprotected_words = "it is not protected"
        self.standin.add_project(REPOSITORY, id=PROJECT, tier="free" if self._free else "premium")
        for login in (*REVIEWERS, "reader"):
            self.standin.add_member(PROJECT, login, MAINTAINER)
        self.standin.add_member(PROJECT, BOT, MAINTAINER if self._free else DEVELOPER)
        self.protect()

    def environ(self) -> dict[str, str]:
        return {
            "CHAMPION_GATE_PUBLIC_URL": "https://gate.example.com",
            "CHAMPION_GATE_GITLAB_READ_TOKEN": self.standin.add_token("reader"),
            "CHAMPION_GATE_GITLAB_TRIGGER_TOKEN": self.standin.add_trigger(PROJECT, BOT),
            "CHAMPION_GATE_GITLAB_API_TOKEN": self.standin.add_token(BOT, ("api",)),
            "CHAMPION_GATE_GITLAB_SIGNING_TOKEN": "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
        }

    def approval(self, people: int = 1) -> dict[str, object]:
        self.seats = (
            tuple(f"champion ({n}/{people})" for n in range(1, people + 1)) if people > 1 else SEATS[:1]
        )
        self.protect()
        place: Mapping[str, object] = {
            "project": PROJECT,
            "protection": self._protection,
            "approvals": people,
        }
        return {"gitlab": dict(place)}

    def approve(self, request_id: str, *logins: str, comment: str = "looks good") -> None:
        if self.rules:
            deployment = self.standin.deployment(request_id)
            for login in logins:
                self.standin.approve_deployment(deployment, login, comment=comment)
            if self.standin.ci.pending_approvals(deployment):
                return
        self.standin.play(self._job(request_id), logins[-1])

    def reject(self, request_id: str, login: str) -> None:
        if self.rules:
            deployment = self.standin.deployment(request_id)
            self.standin.approve_deployment(deployment, login, "rejected", "not yet")
        else:
            self.standin.cancel(request_id)

    def cancel(self, request_id: str) -> None:
        self.standin.cancel(request_id)

    def delete(self, request_id: str) -> None:
        self.standin.delete_pipeline(request_id)

    def rerun(self, request_id: str, login: str) -> None:
        self.standin.retry(self._job(request_id), login)

    def open_double(self, request_id: str) -> str:
        inputs = dict(self.standin.pipeline(request_id).inputs)
        return str(self.standin.start(PROJECT, inputs, username=BOT, source="trigger").id)

    def slip_in_the_bot(self, request_id: str) -> None:
        if self.rules:
            self.standin.approve_deployment(self.standin.deployment(request_id), "reviewer-1")
        protections = self.standin.project(PROJECT).protected_environments
        before = dict(protections)
        if not self._free:
            self.standin.protect_environment(PROJECT, SEATS[0], deployers=(BOT,))
        self.standin.play(self._job(request_id), BOT)
        protections.update(before)

    def protect(self) -> None:
        self.standin.protect_branch(PROJECT, "main", merge=(MAINTAINER,) if self._free else (MAINTAINER, BOT))
        if not self._free:
            approvals: dict[Who, int] = {MAINTAINER: len(self.seats)} if self.rules else {}
            self.standin.protect_environment(PROJECT, SEATS[0], approvals=approvals)

    def unprotect(self) -> None:
        if self._free:
            self.standin.unprotect_branch(PROJECT, "main")
        else:
            self.standin.unprotect_environment(PROJECT, SEATS[0])

    def hold_jobs(self) -> None:
        self.standin.ci.jobs_finish = False

    def end_jobs(self, request_id: str, *, well: bool) -> None:
        self.standin.end_job(self._job(request_id), "success" if well else "failed")

    def cut_off(self, request_id: str, end: str) -> None:
        status = "canceled" if end == "cancelled" else "failed"
        reason = {"timed_out": "job_execution_timeout", "failure": "script_failure"}.get(end)
        self.standin.end_job(self._job(request_id), status, reason)

    def run_gated_jobs(self, gate_url: str) -> None:
        self.standin.run_gated_jobs(gate_url)

    def stop(self) -> None:
        self.standin.close()

    def requests(self) -> dict[str, str]:
        words = {"canceled": "cancelled", "failed": "failure", "success": "success"}
        return {str(one.id): words.get(one.status, "open") for one in self.standin.pipelines}

    def waits(self, request_id: str) -> bool:
        return self._job(request_id).status == "manual"

    def reading(self, request_id: str) -> str:
        return f"/pipelines/{request_id}$"

    def token(self, request_id: str, seat: int = 0, **claims: Any) -> str:
        del seat  # one job stands for all of them
        return self.standin.id_tokens.id_token(self._job(request_id), AUDIENCE, **claims)

    def _job(self, request_id: str) -> Job:
        return self.standin.job(request_id)


PROVIDERS: dict[str, Callable[[Callable[[], datetime]], Provider]] = {
    "github": GitHubProvider,
    "gitlab-rules": lambda clock: GitLabProvider(clock, "environment", rules=True),
    "gitlab-environment": lambda clock: GitLabProvider(clock, "environment", rules=False),
    "gitlab-branch": lambda clock: GitLabProvider(clock, "branch", rules=False),
}

EVERY_KIND = [
    "github",
    pytest.param("gitlab-branch", marks=pytest.mark.part("full")),
    pytest.param("gitlab-environment", marks=pytest.mark.part("full")),
    "gitlab-rules",
]
"""Each of PROVIDERS, as parameters of a test. GitLab's three places in turn: `test_gitlab_gate.py`, `test_identities.py`."""
