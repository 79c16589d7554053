from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import request

from champion_gate.adapters.gitlab.provider import GitLab
from champion_gate.adapters.gitlab.secrets import GitLabTokens
from champion_gate.bootstrap.configuration import load_gates
from champion_gate.bootstrap.core import SystemClock
from champion_gate.settings.env_file import create_env_file, read_env_file
from champion_gate_standins.common.server import serve
from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER
from integration.commands import run_command

HOOK = "https://gate.example.com/hooks/gitlab"
GATES = """\
registry: databricks-uc
gitlab: {{url: "{url}"}}
gates:
  - name: churn
    jobs: [1]
    model: main.ml.churn
    approval:
      gitlab: {{project: 42, approvers: [{approvers}], approvals: {approvals}, protection: {protection}}}
"""
UNSAFE = {
    "ci_pipeline_variables_minimum_override_role": "developer",
    "restrict_user_defined_variables": False,
    "ci_forward_deployment_enabled": True,
}
TRIGGER, READ = "CHAMPION_GATE_GITLAB_TRIGGER_TOKEN", "CHAMPION_GATE_GITLAB_READ_TOKEN"
SIGNING, WEBHOOK = "CHAMPION_GATE_GITLAB_SIGNING_TOKEN", "CHAMPION_GATE_GITLAB_WEBHOOK_TOKEN"


@dataclass
class World:
    folder: Path
    gitlab: GitLabStandIn
    url: str

    @property
    def variables(self) -> dict[str, str]:
        return read_env_file(self.folder / "champion-gate.env")

    def gates(self, approvers: str = "ann, bob", approvals: int = 1, protection: str = "environment") -> None:
        text = GATES.format(url=self.url, approvers=approvers, approvals=approvals, protection=protection)
        (self.folder / "gates.yaml").write_text(text)

    def setup(
        self, *arguments: str, login: str = "maria", agreed: bool = True
    ) -> subprocess.CompletedProcess[str]:
        arguments = (*arguments, "--yes") if agreed else arguments
        environ = {"GITLAB_TOKEN": self.gitlab.add_token(login, ("api",))}
        return run_command("setup", "gitlab", *arguments, environ=environ, folder=self.folder)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A Premium project that protects nothing, and has neither tokens nor a webhook."""
    gitlab = GitLabStandIn()
    members = {"maria": MAINTAINER, "ann": DEVELOPER, "bob": DEVELOPER}
    project = gitlab.add_project(
        "ml/deploy", id=42, tier="premium", members=members, protect_default_branch=False
    )
    project.settings.update(UNSAFE)
    with serve(gitlab.app) as url:
        create_env_file(tmp_path / "champion-gate.env", "CHAMPION_GATE_PUBLIC_URL=https://gate.example.com\n")
        made = World(tmp_path, gitlab, url)
        made.gates()
        yield made
        gitlab.close()


def test_an_empty_project_becomes_one_in_which_an_approval_counts_and_twice_changes_nothing(
    world: World,
) -> None:
    told = world.setup("--dry-run")
    assert told.returncode == 0, told.stderr
    project = world.gitlab.project(42)
    assert not {*project.triggers, *project.protected_branches, *project.protected_environments}
    refused = world.setup(agreed=False)
    assert refused.returncode == 1
    assert "! these settings hold for every pipeline and deployment" in refused.stdout
    assert UNSAFE.items() <= project.settings.items()
    done = world.setup()
    assert done.returncode == 0, done.stderr
    assert "champion-gate will ask as maria, whose approval then never counts" in done.stdout
    variables = world.variables
    assert world.gitlab.webhooks.url == HOOK
    assert world.gitlab.webhooks.signing_token == variables[SIGNING]
    assert not variables.get(WEBHOOK)
    assert world.gitlab.project(42).triggers[0].token == variables[TRIGGER]
    assert not any(each in done.stdout + done.stderr for each in variables.values() if len(each) > 30)
    # The adapter itself finds nothing wrong with the place.
    tokens = GitLabTokens(read_token=variables[READ], trigger_token=variables[TRIGGER])
    adapter = GitLab(
        url=world.url, credentials=tokens, clock=SystemClock(), gate_url="https://gate.example.com"
    )
    assert adapter.check_place(load_gates(world.folder / "gates.yaml").gates[0].approval)
    adapter.close()

    again = world.setup()
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("Nothing has to change.\n")
    assert world.variables == variables


def test_who_may_deploy_already_stays_and_requests_that_wait_are_told_first(world: World) -> None:
    world.gitlab.protect_environment(42, "champion", deployers=["ann", "carla"])
    world.gitlab.protect_branch(42, "main")
    inputs = {
        "promotion_id": "abc",
        "model": "m",
        "version": "1",
        "alias": "Champion",
        "environment": "champion",
    }
    waiting = world.gitlab.start(
        42, {**inputs, "gate_url": "https://gate.example.com", "evidence_base64": "eA=="}, username="maria"
    )
    refused = world.setup(agreed=False)
    assert refused.returncode == 1
    assert f"! pipeline {waiting.id} waits:" in refused.stdout
    assert not world.gitlab.project(42).triggers
    done = world.setup("--yes")
    assert done.returncode == 0, done.stderr
    protected = world.gitlab.project(42).protected_environments["champion"]
    assert [each.user.username for each in protected.deploy_access_levels if each.user] == [
        "ann",
        "carla",
        "bob",
    ]


@pytest.mark.part("rest")
def test_several_approvals_make_a_rule_for_each_approver(world: World) -> None:
    world.gates(approvals=2)
    assert world.setup().returncode == 0
    rules = world.gitlab.project(42).protected_environments["champion"].approval_rules
    assert [(each.access.user.username, each.required_approvals) for each in rules if each.access.user] == [
        ("ann", 1),
        ("bob", 1),
    ]


@pytest.mark.part("rest")
def test_more_approvers_than_approvals_are_left_to_be_ruled_by_hand(world: World) -> None:
    world.gates(approvers="ann, bob, maria", approvals=2)
    done = world.setup()
    assert "gates.yaml wants 2 approvals" in done.stdout
    assert "maria is among the approvers: nobody approves what their own token asks for" in done.stdout
    assert not world.gitlab.project(42).protected_environments["champion"].approval_rules


@pytest.mark.part("rest")
def test_a_webhook_that_signs_no_more_gets_a_new_signing_token(world: World) -> None:
    assert world.setup().returncode == 0
    world.gitlab.webhooks.signing_token, world.gitlab.webhooks.told["signing_token_present"] = "", False
    assert world.setup().returncode == 0
    assert world.gitlab.webhooks.signing_token == world.variables[SIGNING]


@pytest.mark.part("rest")
def test_a_gitlab_that_does_not_sign_gets_a_secret_token(world: World) -> None:
    world.gitlab.changes.signs = False
    assert world.setup().returncode == 0
    assert world.gitlab.webhooks.secret_token == world.variables[WEBHOOK]
    assert not world.variables.get(SIGNING)
    assert world.setup().stdout.endswith("Nothing has to change.\n")


@pytest.mark.parametrize("signs", [True, pytest.param(False, marks=pytest.mark.part("rest"))])
def test_rotate_keeps_the_old_secrets_beside_the_new_ones(world: World, *, signs: bool) -> None:
    assert world.setup("--rotate").returncode == 1
    world.gitlab.changes.signs = signs
    assert world.setup().returncode == 0
    before, name = world.variables, SIGNING if signs else WEBHOOK
    done = world.setup("--rotate")
    assert done.returncode == 0, done.stderr
    after = world.variables
    assert after[name] != before[name]
    assert (after[f"{name}_PREVIOUS"], after[f"{READ}_PREVIOUS"]) == (before[name], before[READ])
    assert after[TRIGGER] == before[TRIGGER]
    there = world.gitlab.webhooks
    assert (there.signing_token if signs else there.secret_token) == after[name]
    assert there.told["job_events"] is True


def test_several_projects_share_one_secret_of_their_webhooks(world: World) -> None:
    more, posted = (43, 44), dict[str, str]()
    for number in more:
        world.gitlab.add_project(
            f"ml/other-{number}", id=number, tier="premium", members={"maria": MAINTAINER}
        )
    every = (world.folder / "gates.yaml").read_text()
    gate = every[every.index("  - name") :].replace("ann, bob", "maria")
    every += "".join(
        gate.replace("churn", f"churn{each}").replace("[1]", f"[{each}]").replace("42", f"{each}")
        for each in more
    )
    (world.folder / "gates.yaml").write_text(every)

    @world.gitlab.app.before_request
    def keep() -> None:
        if request.method in {"POST", "PUT"} and "/hooks" in request.path:
            posted[request.path.split("/")[4]] = request.get_json()["signing_token"]

    with_all = f"CHAMPION_GATE_GITLAB_API_TOKEN=one-of-mine\n{READ}=another-of-mine\n"
    with (world.folder / "champion-gate.env").open("a") as file:
        file.write(with_all)
    for arguments in ((), ("--rotate",)):
        done = world.setup(*arguments)
        assert done.returncode == 0, done.stderr
        assert posted == dict.fromkeys(("42", "43", "44"), world.variables[SIGNING])
        assert world.variables[READ] == "another-of-mine"  # a project's own would read no other


@pytest.mark.part("rest")
def test_what_gitlab_leaves_out_without_a_word_is_told(world: World) -> None:
    world.gitlab.add_user("zoe")
    world.gates(approvers="ann, zoe")
    refused = world.setup()
    assert refused.returncode == 1
    assert "GitLab left zoe out of the protected environment champion" in refused.stderr


@pytest.mark.part("rest")
def test_the_free_tier_has_no_protected_environments_and_a_branch_does(world: World) -> None:
    world.gitlab.project(42).tier = "free"
    refused = world.setup()
    assert refused.returncode == 1
    assert "Protected environments take GitLab Premium" in refused.stderr
    world.gates(protection="branch", approvers="")
    assert world.setup().returncode == 0
    assert world.setup().stdout.endswith("Nothing has to change.\n")


@pytest.mark.part("rest")
def test_a_developer_is_told_what_it_takes(world: World) -> None:
    world.gitlab.protect_branch(42, "main")
    refused = world.setup(login="ann")
    assert refused.returncode == 1
    assert not world.gitlab.project(42).triggers


@pytest.mark.part("rest")
def test_the_services_own_token_is_refused(world: World) -> None:
    assert world.setup().returncode == 0
    environ = {"GITLAB_TOKEN": world.variables[READ]}
    refused = run_command("setup", "gitlab", environ=environ, folder=world.folder)
    assert refused.returncode == 2
    assert "setup runs as you" in refused.stderr
