"""The demo's CI/CD system: a stand-in, what the gate is told of it, and a reviewer who approves."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

PLACE = "example/ml-deploy"
EVIDENCE_PLACE = "example/ml-promotions"
ENVIRONMENT = "champion"
TRAINER_LOGIN = "octo-trainer"
REVIEWER = "reviewer-1"
_BOT = "champion-gate-bot"
_COMMENT = "Better on every metric."
_NO_COMMENT = "Not this one."


class DemoCi(ABC):
    """What the demo does with a CI/CD system.

    Attributes:
        name: of the system.
        how: what a person presses on the page of a request.
        then: how the service learns of it.
        asked: what a request is there.
    """

    name: str
    how: str
    then = "the released job asks the service how it went"
    asked = "CI job"

    def __init__(self, gate_url: str) -> None:
        self.url = ""
        self.gate_url = gate_url

    @property
    @abstractmethod
    def app(self) -> Flask:
        """The stand-in."""

    @abstractmethod
    def close(self) -> None:
        """Stop what the stand-in runs."""

    @abstractmethod
    def top_level(self) -> dict[str, object]:
        """What gates.yaml says of the system."""

    @abstractmethod
    def approval(self) -> dict[str, object]:
        """What the gate says of the place."""

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """The credentials that the service gets."""

    @abstractmethod
    def approve(self, external_id: str) -> None:
        """Approve as the reviewer."""

    @abstractmethod
    def reject(self, external_id: str) -> None:
        """Say no as the reviewer."""

    @abstractmethod
    def ending(self, external_id: str) -> str | None:
        """How the gated job or the pull request ended; None while it has not."""


class _AtGitHub(DemoCi):
    """GitHub, with two accounts and a webhook."""

    name = "GitHub"

    def __init__(self, gate_url: str) -> None:
        from champion_gate_standins.github.server import GitHubStandIn

        super().__init__(gate_url)
        self.standin = GitHubStandIn()
        self._webhook_secret = secrets.token_urlsafe(24)
        for login in (REVIEWER, TRAINER_LOGIN):
            self.standin.add_user(login)
        self.standin.webhooks.url = f"{gate_url}/hooks/github"
        self.standin.webhooks.secret = self._webhook_secret
        self._token = ""

    @property
    def app(self) -> Flask:
        """The stand-in."""
        return self.standin.app

    def close(self) -> None:
        """Stop its jobs and webhooks."""
        self.standin.close()

    def top_level(self) -> dict[str, object]:
        """The stand-in's address, which is also its issuer's."""
        return {"github": {"url": self.url, "oidc": {"issuer": self.url}}}

    def environ(self) -> dict[str, str]:
        """Token and webhook secret."""
        return {
            "CHAMPION_GATE_GITHUB_TOKEN": self._token,
            "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET": self._webhook_secret,
        }


class GitHubDemo(_AtGitHub):
    """A repository whose environment `champion` has a required reviewer."""

    how = "Press Approve or Reject"

    def __init__(self, gate_url: str) -> None:
        super().__init__(gate_url)
        self.standin.add_repository(PLACE)
        self.standin.protect_branch(PLACE)
        self.standin.protect_environment(PLACE, ENVIRONMENT, [REVIEWER])
        self.standin.run_gated_jobs(gate_url)
        self._token = self.standin.add_token(_BOT)

    def approval(self) -> dict[str, object]:
        """Repository, workflow and environment."""
        place = {"repository": PLACE, "workflow": "champion-gate.yml", "ref": "main"}
        return {"github": {**place, "environments": [ENVIRONMENT]}}

    def approve(self, external_id: str) -> None:
        """Press Approve."""
        self.standin.review(external_id, ENVIRONMENT, REVIEWER, approve=True, comment=_COMMENT)

    def reject(self, external_id: str) -> None:
        """Press Reject."""
        self.standin.review(external_id, ENVIRONMENT, REVIEWER, approve=False, comment=_NO_COMMENT)

    def ending(self, external_id: str) -> str | None:
        """The gated job's conclusion."""
        jobs = self.standin.run(external_id).latest_jobs()
        return next((job.conclusion for job in jobs if job.environment is not None), None)


class GitHubReviewDemo(_AtGitHub):
    """A private repository without environments, in which pull requests are reviewed."""

    how = f"Choose {REVIEWER}, and press Approve or Request changes"
    then = "the webhook tells the service to look"
    asked = "pull request"

    def __init__(self, gate_url: str) -> None:
        super().__init__(gate_url)
        home = self.standin.add_repository(EVIDENCE_PLACE, private=True, workflow=None)
        home.plan = "free"
        for login in (REVIEWER, TRAINER_LOGIN):
            self.standin.people.give(EVIDENCE_PLACE, login, "write")
        permissions = {"contents": "write", "pull_requests": "write", "statuses": "write"}
        self._token = self.standin.add_token(_BOT, permissions)

    def approval(self) -> dict[str, object]:
        """Repository and who may approve there."""
        approvers = {"people": [REVIEWER]}
        return {"github_review": {"repository": EVIDENCE_PLACE, "approvers": approvers, "merge": True}}

    def approve(self, external_id: str) -> None:
        """Press Approve."""
        self.standin.people.review(EVIDENCE_PLACE, _number(external_id), REVIEWER, body=_COMMENT)

    def reject(self, external_id: str) -> None:
        """Press Request changes."""
        number = _number(external_id)
        self.standin.people.review(EVIDENCE_PLACE, number, REVIEWER, "REQUEST_CHANGES", _NO_COMMENT)

    def ending(self, external_id: str) -> str | None:
        """Whether the pull request was merged or closed."""
        pull = self.standin.people.pull(EVIDENCE_PLACE, _number(external_id))
        ended = "merged" if pull.merged_at else "closed"
        return ended if pull.state == "closed" else None


def _number(external_id: str) -> int:
    """A pull request's number, which stands behind that of its repository."""
    return int(external_id.rpartition("-")[2])


class GitLabDemo(DemoCi):
    """GitLab Premium: a project whose environment `champion` is protected."""

    name = "GitLab"
    how = "Run the job or cancel the pipeline"

    def __init__(self, gate_url: str) -> None:
        from champion_gate_standins.gitlab.server import GitLabStandIn
        from champion_gate_standins.gitlab.state import MAINTAINER

        super().__init__(gate_url)
        self._webhook_token = secrets.token_urlsafe(24)
        self.standin = GitLabStandIn(
            webhook_url=f"{gate_url}/hooks/gitlab", webhook_secret_token=self._webhook_token
        )
        self.project = self.standin.add_project(
            PLACE, tier="premium", members={REVIEWER: MAINTAINER, TRAINER_LOGIN: MAINTAINER}
        )
        self.standin.protect_environment(self.project, ENVIRONMENT, deployers=[REVIEWER])
        self._trigger = self.standin.add_trigger(self.project, _BOT)
        self._read = self.standin.add_project_token(self.project, "champion-gate reads", MAINTAINER)
        self.standin.run_gated_jobs(gate_url)

    @property
    def app(self) -> Flask:
        """The stand-in."""
        return self.standin.app

    def close(self) -> None:
        """Stop its jobs and webhooks."""
        self.standin.close()

    def top_level(self) -> dict[str, object]:
        """The stand-in's address, which is also its issuer's."""
        return {"gitlab": {"url": self.url}}

    def approval(self) -> dict[str, object]:
        """The project."""
        return {"gitlab": {"project": self.project.id}}

    def environ(self) -> dict[str, str]:
        """Tokens, and the address that pipelines are told."""
        return {
            "CHAMPION_GATE_GITLAB_TRIGGER_TOKEN": self._trigger,
            "CHAMPION_GATE_GITLAB_READ_TOKEN": self._read,
            "CHAMPION_GATE_GITLAB_WEBHOOK_TOKEN": self._webhook_token,
            "CHAMPION_GATE_PUBLIC_URL": self.gate_url,
        }

    def approve(self, external_id: str) -> None:
        """Run the manual job."""
        self.standin.play(self.standin.job(external_id), REVIEWER)

    def reject(self, external_id: str) -> None:
        """Cancel the pipeline."""
        self.standin.cancel(external_id)

    def ending(self, external_id: str) -> str | None:
        """The gated job's status once it has ended."""
        job = self.standin.job(external_id)
        return job.status if job.ended else None


@contextmanager
def serving(kind: type[DemoCi], gate_url: str) -> Iterator[DemoCi]:
    """Run a stand-in until the block ends."""
    from champion_gate_standins.common.server import serve

    ci = kind(gate_url)
    with closing(ci), serve(ci.app) as url:
        ci.url = url
        yield ci
