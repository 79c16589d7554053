"""What the doctor says of GitHub and GitLab: green where all is right, and of each single thing put wrong, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from champion_gate.adapters.github import checks as github_checks
from champion_gate.adapters.github.provider import GitHub, GitHubApp
from champion_gate.adapters.github.settings import GitHubPlace, GitHubServer
from champion_gate.adapters.gitlab import checks as gitlab_checks
from champion_gate.adapters.gitlab.provider import GitLab
from champion_gate.adapters.gitlab.settings import GitLabPlace, GitLabServer, Protection
from champion_gate.domain.findings import Finding, Verdict
from champion_gate.domain.gates import Account, ApprovalTarget, Gate
from champion_gate.domain.rows import RememberedLogin
from champion_gate.domain.together import Together
from champion_gate.domain.vendors import Host, Place
from champion_gate.flow import approval_checks
from champion_gate.flow.doctor import examine
from champion_gate_standins.github.state import GitHubApp as InstalledApp
from champion_gate_standins.github.webhooks import Delivery as GitHubDelivery
from champion_gate_standins.gitlab.server import Who
from champion_gate_standins.gitlab.state import MAINTAINER, Project
from champion_gate_standins.gitlab.webhooks import Delivery as GitLabDelivery
from contract.validating import ValidatingApp
from integration import github_world as github
from integration import gitlab_world as gitlab
from integration.github_world import REPOSITORY, START

pytestmark = pytest.mark.spread(2)

GATE_URL = "https://gate.example.com"
DEPLOY = Path(__file__).parents[2] / "deploy"
FAIL, WARNING, UNKNOWN = Verdict.FAIL, Verdict.WARNING, Verdict.NOT_KNOWN


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and what is said of it: by which check, part of what to do, the verdict."""

    put: Callable[..., object]
    check: str
    remedy: str
    verdict: Verdict = FAIL


def cases(table: dict[str, Wrong], *quick: str) -> list[ParameterSet]:
    """The names of a table; all but these can wait."""
    rest = pytest.mark.part("rest")
    return [pytest.param(name, marks=() if name in quick else rest) for name in table]


def gate_at(provider: str, place: Place) -> Gate:
    """A gate whose versions ann may approve, and tom, who trains some of them."""
    return Gate(
        name="churn",
        jobs=(1,),
        model="main.ml.churn",
        approval=ApprovalTarget(provider, place),
        identities={"tom@example.com": "tom"},  # type: ignore[dict-item] # as in gates.yaml
    )


@dataclass
class Known:
    """What the store remembers of logins."""

    logins: dict[str, str] = field(default_factory=dict)

    def __call__(self, provider: str, login: str) -> RememberedLogin | None:
        number = self.logins.get(login)
        return RememberedLogin(provider, login, number, START, START) if number else None


def bad(findings: list[Finding]) -> list[Finding]:
    return [each for each in findings if each.verdict is not Verdict.OK]


def assert_says(findings: list[Finding], wrong: Wrong) -> None:
    """Nothing but this is wrong, and what to do is said."""
    assert {(each.check, each.verdict) for each in bad(findings)} == {(wrong.check, wrong.verdict)}, findings
    assert any(wrong.remedy in each.remedy for each in bad(findings)), bad(findings)
    assert all(each.why for each in bad(findings))


# --- GitHub ------------------------------------------------------------------------------------------------


@dataclass
class GitHubWorld:
    """A GitHub where all is right, and a gate that asks there."""

    world: github.World
    checks: ValidatingApp
    app: InstalledApp
    gate: Gate
    known: Known = field(default_factory=Known)
    provider: GitHub | None = None
    public_url: str | None = GATE_URL

    def doctor(self) -> list[Finding]:
        provider, together = self.provider or self.world.here, Together()
        server = GitHubServer()  # whose pages are named
        theirs = github_checks.checkups(provider, Host(server, None), [self.gate], self.public_url)
        every = approval_checks.checkups(self.gate, provider, self.known, together)
        return examine([*theirs, *every], together, seconds=300)

    def edit(self, old: str, new: str) -> None:
        """Change the workflow file."""
        text = (DEPLOY / "github" / "champion-gate.yml").read_text()
        assert old in text
        self.world.there.add_file(REPOSITORY, ".github/workflows/champion-gate.yml", text.replace(old, new))

    def deliver(self, result: str) -> None:
        """Have GitHub have sent a webhook."""
        there = self.world.there
        there.webhooks.deliveries.append(
            GitHubDelivery(there.state.new_id(), START, "guid", "workflow_run", "completed", b"{}", result)
        )

    def review(self, *people: str, **rules: Any) -> None:
        self.world.there.protect_environment(REPOSITORY, "champion", people, **rules)


@pytest.fixture
def hub() -> Iterator[GitHubWorld]:
    with github.github_world() as world:
        there = world.there
        checks = ValidatingApp(there.app.wsgi_app)
        there.app.wsgi_app = checks  # type: ignore[method-assign]
        (app,) = there.state.apps
        app.permissions |= {"deployments": "read", "contents": "read", "actions_variables": "read"}
        there.add_user("tom")
        there.webhooks.url, there.webhooks.secret = f"{GATE_URL}/hooks/github", "shared"
        there.repository(REPOSITORY).variables["CHAMPION_GATE_URL"] = f"{GATE_URL}/"
        made = GitHubWorld(
            world,
            checks,
            app,
            gate_at("github", GitHubPlace(repository=REPOSITORY, environments=("champion",))),
        )
        made.review("ann", "tom")
        made.edit("ubuntu-latest", "our-own-runner")
        made.deliver("500")
        made.deliver("202")
        yield made


def test_github_is_green_where_all_is_right(hub: GitHubWorld) -> None:
    findings = hub.doctor()
    assert bad(findings) == []
    assert {each.check for each in findings} == {
        each.key for each in (*github_checks.CHECKS, *approval_checks.CHECKS)
    }
    assert hub.checks.violations == []
    told = {each.check: each.found for each in findings}
    assert told["github.workflow"].endswith(
        "differs from the shipped file in nothing that champion-gate relies on"
    )
    number = hub.world.there.state.user("tom").id
    assert told["approval.identities"] == f"identities.tom@example.com is tom, tom (id {number})"


def _other_key(hub: GitHubWorld) -> None:
    _, other = github.credentials_of(hub.world, "app")
    assert isinstance(other, GitHubApp)
    hub.provider = GitHub(url=hub.world.url, credentials=other, clock=hub.world.clock)


def _changed(world: GitHubWorld | GitLabWorld, **gate: object) -> None:
    world.gate = world.gate.model_copy(update=gate)


def _taken_over(hub: GitHubWorld) -> None:
    hub.known.logins["tom"] = "7"


GITHUB = {
    "events": Wrong(
        lambda hub: hub.app.events.remove("deployment_review"), "github.webhook", "Subscribe", WARNING
    ),
    "webhook elsewhere": Wrong(
        lambda hub: setattr(hub.world.there.webhooks, "url", "https://old.example.com/hooks/github"),
        "github.webhook",
        f"Set Webhook URL to {GATE_URL}/hooks/github",
        WARNING,
    ),
    "no webhook": Wrong(
        lambda hub: setattr(hub.world.there.webhooks, "url", None),
        "github.webhook",
        "Set Webhook URL",
        WARNING,
    ),
    "certificate not looked at": Wrong(
        lambda hub: setattr(hub.world.there.webhooks, "insecure_ssl", True),
        "github.webhook",
        "Turn on SSL verification",
        WARNING,
    ),
    "wrong secret": Wrong(
        lambda hub: hub.deliver("401"), "github.deliveries", "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET", WARNING
    ),
    "not reached": Wrong(
        lambda hub: hub.deliver("ConnectionError"), "github.deliveries", "a firewall", WARNING
    ),
    "lacks a permission": Wrong(
        lambda hub: hub.app.permissions.pop("deployments"),
        "github.installation",
        "/settings/apps/champion-gate",
    ),
    "has too much": Wrong(
        lambda hub: hub.app.permissions.update(administration="write"),
        "github.installation",
        "Take it away at",
        WARNING,
    ),
    "private": Wrong(
        lambda hub: setattr(hub.world.there.repository(REPOSITORY), "private", True),
        "github.plan",
        "GitHub Enterprise",
        UNKNOWN,
    ),
    "no such file on the branch": Wrong(
        lambda hub: hub.world.there.repository(REPOSITORY).files.clear(),
        "github.workflow",
        "Put deploy/github/",
    ),
    "title without the id": Wrong(
        lambda hub: hub.edit(" [${{ inputs.promotion_id }}]\n", "\n"), "github.workflow", "Put deploy/github/"
    ),
    "no environment": Wrong(
        lambda hub: hub.edit("name: ${{ matrix.environment }}\n    perm", "name: other\n    perm"),
        "github.workflow",
        "make these parts as they are there",
    ),
    "a job that is skipped": Wrong(
        lambda hub: hub.edit("    needs: present\n", "    needs: present\n    if: false\n"),
        "github.workflow",
        "make these parts as they are there",
    ),
    "another step": Wrong(
        lambda hub: hub.edit("while :; do", "while false; do"), "github.workflow", "as they are there"
    ),
    "none was delivered": Wrong(
        lambda hub: hub.world.there.webhooks.deliveries.clear(),
        "github.deliveries",
        "Advanced, Recent Deliveries shows whether",
        UNKNOWN,
    ),
    "another audience": Wrong(
        lambda hub: hub.edit("audience=champion-gate", "audience=other"),
        "github.workflow",
        "Put deploy/github/",
    ),
    "no YAML": Wrong(
        lambda hub: hub.edit("name: champion-gate\n", "name: {champion-gate\n"),
        "github.workflow",
        "Put deploy/",
    ),
    "no variable": Wrong(
        lambda hub: hub.world.there.repository(REPOSITORY).variables.clear(),
        "github.variable",
        f"Set CHAMPION_GATE_URL to {GATE_URL} at ",
    ),
    "variable elsewhere": Wrong(
        lambda hub: hub.world.there.repository(REPOSITORY).variables.update(CHAMPION_GATE_URL="https://old"),
        "github.variable",
        f"/{REPOSITORY}/settings/variables/actions",
    ),
    "variables hidden": Wrong(
        lambda hub: hub.app.permissions.pop("actions_variables"),
        "github.variable",
        "Variables: read",
        UNKNOWN,
    ),
    "self-review": Wrong(
        lambda hub: hub.review("ann", "tom", prevent_self_review=False),
        "approval.place",
        "Turn on `Prevent self-review`.",
    ),
    "bypass": Wrong(lambda hub: hub.review("ann", "tom", can_admins_bypass=True), "approval.place", "bypass"),
    "workflow off": Wrong(
        lambda hub: setattr(
            hub.world.there.repository(REPOSITORY).workflows["champion-gate.yml"], "state", "disabled"
        ),
        "approval.place",
        "enable it on the Actions page",
    ),
    "branch unprotected": Wrong(
        lambda hub: hub.world.there.unprotect_branch(REPOSITORY), "approval.place", "Require a pull request"
    ),
    "wait too long": Wrong(
        lambda hub: hub.review("ann", "tom", wait_timer=14 * 24 * 60), "approval.place", "Shorten the timer"
    ),
    "only the trainer": Wrong(lambda hub: hub.review("tom"), "approval.people", "Have more people", WARNING),
    "only who is listed": Wrong(
        lambda hub: _changed(hub, trainers=(Account("ann"), Account("tom"))),
        "approval.people",
        "who train nothing",
    ),
    "login of nobody": Wrong(
        lambda hub: _changed(hub, trainers=(Account("gone"),)),
        "approval.identities",
        "under trainers of gate churn",
    ),
    "login of who has left": Wrong(
        lambda hub: _changed(hub, trainers=(Account("gone", "7"),)),
        "approval.identities",
        "account 7 stays",
        WARNING,
    ),
    "login of somebody else": Wrong(_taken_over, "approval.identities", "identities accept github tom"),
    "another account than the pinned": Wrong(
        lambda hub: _changed(hub, identities={"tom@example.com": (Account("tom", "7"),)}),
        "approval.identities",
        "Correct login or id",
    ),
}


@pytest.mark.parametrize(
    "name",
    cases(
        GITHUB,
        *("events", "wrong secret", "lacks a permission", "a job that is skipped", "no variable"),
        *("self-review", "only who is listed", "login of somebody else"),
    ),
)
def test_github_says_what_is_wrong_and_what_to_do(hub: GitHubWorld, name: str) -> None:
    GITHUB[name].put(hub)
    assert_says(hub.doctor(), GITHUB[name])


def test_github_that_refuses_all_says_so_once(hub: GitHubWorld) -> None:
    _other_key(hub)
    first, *others = bad(hub.doctor())
    assert (first.check, first.verdict) == ("github.credentials", FAIL)
    assert "CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY" in first.remedy
    assert {each.verdict for each in others} == {UNKNOWN}


@pytest.mark.part("rest")
def test_github_that_is_away_is_told_by_one_check(hub: GitHubWorld) -> None:
    hub.world.there.faults.add("/", status=503)
    assert {each.check for each in hub.doctor() if each.verdict is FAIL} == {"github.credentials"}
    hub.world.there.faults.clear()


def test_an_app_that_is_not_installed_or_suspended_is_told_of(hub: GitHubWorld) -> None:
    def told() -> Finding:
        (found,) = (each for each in hub.doctor() if each.verdict is FAIL)
        assert found.check == "github.installation"
        return found

    hub.app.suspended = True
    assert told().remedy.startswith("Unsuspend it at http")
    hub.app.repositories = {"example/other"}
    assert told().remedy == "Install it there: https://github.com/apps/champion-gate/installations/new"


def test_members_of_teams_may_approve(hub: GitHubWorld) -> None:
    team = hub.world.there.add_team("example", "ml", ["ann", "tom"])
    hub.world.there.protect_environment(REPOSITORY, "champion", [team])
    findings = hub.doctor()
    assert bad(findings) == []
    assert next(each for each in findings if each.check == "approval.people").found == (
        "2 may approve; 1 has to"
    )
    assert hub.checks.violations == []


def test_a_token_is_looked_at_without_an_app(hub: GitHubWorld) -> None:
    ours, _ = github.credentials_of(hub.world, "token")
    hub.provider = GitHub(url=hub.world.url, credentials=ours, clock=hub.world.clock)
    findings = hub.doctor()
    assert bad(findings) == []
    assert findings[0].found.startswith("we act by a token of gate-robot")


def test_without_our_own_address_it_is_not_known_where_to_lead(hub: GitHubWorld) -> None:
    hub.public_url = None
    assert [(each.check, each.verdict) for each in bad(hub.doctor())] == [
        ("github.webhook", UNKNOWN),
        ("github.variable", UNKNOWN),
    ]


# --- GitLab ------------------------------------------------------------------------------------------------


@dataclass
class GitLabWorld:
    """A GitLab where all is right, and a gate that asks there."""

    world: gitlab.World
    gate: Gate
    known: Known = field(default_factory=Known)
    provider: GitLab | None = None
    public_url: str | None = GATE_URL

    def doctor(self) -> list[Finding]:
        provider, together = self.provider or self.world.here, Together()
        host = Host(GitLabServer(url=self.world.url), None)
        theirs = gitlab_checks.checkups(provider, host, [self.gate], self.public_url)
        every = approval_checks.checkups(self.gate, provider, self.known, together)
        return examine([*theirs, *every], together, seconds=300)

    @property
    def project(self) -> Project:
        return self.world.there.project(gitlab.PROJECT)

    def edit(self, old: str, new: str) -> None:
        """Change the CI/CD file."""
        text = (DEPLOY / "gitlab" / "champion-gate.gitlab-ci.yml").read_text()
        assert old in text
        self.world.there.add_file(gitlab.PROJECT, ".gitlab-ci.yml", text.replace(old, new))

    def deliver(self, result: str) -> None:
        """Have GitLab have sent a webhook."""
        there = self.world.there
        there.webhooks.deliveries.append(
            GitLabDelivery(there.state.new_id(), "key", "Job Hook", b"{}", result)
        )

    def protect(self, *deployers: str, approvals: dict[Who, int] | None = None) -> None:
        self.world.there.protect_environment(
            gitlab.PROJECT, "champion", deployers=deployers, approvals=approvals
        )

    def use(self, **tokens: str) -> None:
        """Act with other tokens."""
        if self.provider is not None:
            self.provider.close()
        self.provider = self.world.adapter(**tokens)


@contextmanager
def lab_world(protection: str = "environment") -> Iterator[GitLabWorld]:
    with gitlab.gitlab_world(protection=protection) as world:
        there = world.there
        there.add_member(gitlab.PROJECT, "tom", MAINTAINER)
        there.webhooks.url = f"{GATE_URL}/hooks/gitlab"
        place = GitLabPlace(project=gitlab.PROJECT, protection=Protection(protection))
        made = GitLabWorld(world, gate_at("gitlab", place))
        made.edit("timeout: 5m", "timeout: 6m")
        made.deliver("internal error")
        made.deliver("200")
        if protection == "environment":
            made.protect("ann", "tom")
        yield made
        if made.provider is not None:
            made.provider.close()


@pytest.fixture
def lab() -> Iterator[GitLabWorld]:
    with lab_world() as made:
        yield made


@pytest.mark.parametrize("protection", ["environment", "branch"])
def test_gitlab_is_green_where_all_is_right(protection: str) -> None:
    with lab_world(protection) as lab:
        findings = lab.doctor()
        assert bad(findings) == []
        assert {each.check for each in findings} == {
            each.key for each in (*gitlab_checks.CHECKS, *approval_checks.CHECKS)
        }
        told = {each.check: each.found for each in findings}
        assert told["gitlab.deliveries"] == "of the last 2, 1 arrived; the newest: 200"
        assert told["approval.identities"].startswith("identities.tom@example.com is tom, Tom (id ")


GITLAB = {
    "read token may write": Wrong(
        lambda lab: lab.use(read_token=lab.world.there.add_token("reader", ("api",))),
        "gitlab.tokens",
        "Make a token with the scope read_api",
        WARNING,
    ),
    "api token too weak": Wrong(
        lambda lab: lab.use(api_token=lab.world.there.add_token(gitlab.BOT, ("read_api",))),
        "gitlab.tokens",
        "CHAMPION_GATE_GITLAB_API_TOKEN",
    ),
    "expires soon": Wrong(
        lambda lab: lab.use(
            api_token=lab.world.there.add_token(gitlab.BOT, ("api",), expires_at=START + timedelta(days=3))
        ),
        "gitlab.tokens",
        "CHAMPION_GATE_GITLAB_API_TOKEN_PREVIOUS",
        WARNING,
    ),
    "no webhook": Wrong(
        lambda lab: setattr(lab.world.there.webhooks, "url", "https://other.example.com"),
        "gitlab.webhook",
        "Add it with a signing token",
        WARNING,
    ),
    "events": Wrong(
        lambda lab: lab.world.there.webhooks.told.update(deployment_events=False),
        "gitlab.webhook",
        "Turn them on",
        WARNING,
    ),
    "stopped": Wrong(
        lambda lab: lab.world.there.webhooks.told.update(alert_status="disabled"),
        "gitlab.webhook",
        "Settings, Webhooks of project 42, Test",
        WARNING,
    ),
    "wrong secret": Wrong(
        lambda lab: lab.deliver("401"), "gitlab.deliveries", "CHAMPION_GATE_GITLAB_SIGNING_TOKEN", WARNING
    ),
    "older GitLab": Wrong(
        lambda lab: lab.world.there.faults.add("/events$", status=404),
        "gitlab.deliveries",
        "Recent events",
        UNKNOWN,
    ),
    "no file": Wrong(lambda lab: lab.project.files.clear(), "gitlab.pipeline", "Put deploy/gitlab/"),
    "runs by itself": Wrong(
        lambda lab: lab.edit("allow_failure: false", "allow_failure: true"),
        "gitlab.pipeline",
        "as they are there",
    ),
    "a job that runs at once": Wrong(
        lambda lab: lab.edit("  manual_conf", "  when: always\n  manual_conf"),
        "gitlab.pipeline",
        "as they are there",
    ),
    "another script": Wrong(
        lambda lab: lab.edit("while :; do", "while false; do"), "gitlab.pipeline", "as they are there"
    ),
    "includes more": Wrong(
        lambda lab: lab.edit("stages: [", "include: other.yml\n\nstages: ["),
        "gitlab.pipeline",
        "as they are there",
    ),
    "none was delivered": Wrong(
        lambda lab: lab.world.there.webhooks.deliveries.clear(),
        "gitlab.deliveries",
        "Edit, Recent events shows whether",
        UNKNOWN,
    ),
    "another audience": Wrong(
        lambda lab: lab.edit("aud: champion-gate", "aud: other"), "gitlab.pipeline", "as they are there"
    ),
    "inputs let more in": Wrong(
        lambda lab: lab.edit("regex: ^[0-9]{1,18}$", "regex: .*"), "gitlab.pipeline", "as they are there"
    ),
    "environment unprotected": Wrong(
        lambda lab: lab.world.there.unprotect_environment(gitlab.PROJECT, "champion"),
        "approval.place",
        "Protect it (GitLab Premium)",
    ),
    "pipeline variables": Wrong(
        lambda lab: lab.project.settings.update(ci_pipeline_variables_minimum_override_role="developer"),
        "approval.place",
        "No one allowed",
    ),
    "trigger token of another project": Wrong(
        lambda lab: lab.project.triggers.clear(),
        "approval.place",
        "Make one there for CHAMPION_GATE_GITLAB_TRIGGER_TOKEN",
    ),
    "only the trainer": Wrong(lambda lab: lab.protect("tom"), "approval.people", "Have more people", WARNING),
    "login of nobody": Wrong(
        lambda lab: _changed(lab, trainers=(Account("gone"),)),
        "approval.identities",
        "under trainers of gate churn",
    ),
}


@pytest.mark.parametrize(
    "name",
    cases(GITLAB, "none was delivered", "no webhook", "a job that runs at once", "environment unprotected"),
)
def test_gitlab_says_what_is_wrong_and_what_to_do(lab: GitLabWorld, name: str) -> None:
    GITLAB[name].put(lab)
    assert_says(lab.doctor(), GITLAB[name])


def test_who_may_approve_is_told_by_approval_rules(lab: GitLabWorld) -> None:
    lab.protect("ann", approvals={"bob": 1, MAINTAINER: 1})
    lab.gate = lab.gate.model_copy(
        update={"approval": ApprovalTarget("gitlab", GitLabPlace(project=gitlab.PROJECT, approvals=2))}
    )
    findings = lab.doctor()
    assert bad(findings) == []
    (people,) = (each for each in findings if each.check == "approval.people")
    assert people.found == "4 may approve; 2 have to"


def test_gitlab_that_refuses_a_token_says_which(lab: GitLabWorld) -> None:
    def told(**tokens: str) -> Finding:
        lab.use(**tokens)
        (found,) = (each for each in lab.doctor() if each.verdict is FAIL and each.check == "gitlab.tokens")
        return found

    there, anew = lab.world.there, "Make a token with the scope"
    weak = there.add_token("reader", ("read_user",))
    assert told(read_token=weak).remedy == f"{anew} read_api for CHAMPION_GATE_GITLAB_READ_TOKEN."
    old = there.add_token(gitlab.BOT, ("api",))
    there.revoke_token(old)
    assert told(api_token=old).remedy == f"{anew} api for CHAMPION_GATE_GITLAB_API_TOKEN."
