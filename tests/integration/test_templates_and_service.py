"""The CI templates, executed with curl, against the running service: what the released job does for real.

Those that are shipped, and copies of those of the release before, which users have in their repositories.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from champion_gate.domain.promotion import Phase
from integration.posted_world import PostedWorld, posted_world
from integration.start_world import standin

pytestmark = pytest.mark.spread(2)

DEPLOY = Path(__file__).parents[2] / "deploy"
EARLIER = Path(__file__).parent / "data" / "earlier_templates"
TEMPLATES = {
    ("github", "shipped"): DEPLOY / "github" / "champion-gate.yml",
    ("github", "earlier"): EARLIER / "champion-gate.yml",
    ("gitlab-environment", "shipped"): DEPLOY / "gitlab" / "champion-gate.gitlab-ci.yml",
    ("gitlab-environment", "earlier"): EARLIER / "champion-gate.gitlab-ci.yml",
}
BIN = Path(sys.executable).parent


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    home = folder.parent / "home"
    (home / ".config" / "act").mkdir(parents=True)
    (home / ".config" / "act" / "actrc").touch()
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100
    )


def github_job(world: PostedWorld, folder: Path, template: Path) -> subprocess.CompletedProcess[str]:
    """Have act run the workflow with the inputs that the service dispatched and the job's own ID token."""
    github = world.gate.github
    dispatched = github.run(world.request_id)
    file = folder / ".github" / "workflows" / "champion-gate.yml"
    file.parent.mkdir(parents=True)
    shutil.copy(template, file)
    (folder / "trigger.json").write_text(json.dumps({"inputs": dict(dispatched.inputs)}))
    command: list[str | Path] = [BIN / "act", "workflow_dispatch", "-e", "trigger.json", "-W", file]
    command += ["-P", "ubuntu-latest=-self-hosted", f"--var=CHAMPION_GATE_URL={world.url}"]
    variables = github.oidc.request_variables(dispatched, "champion")
    return run([*command, *(f"--env={name}={value}" for name, value in variables.items())], folder)


def rendered(template: Path, inputs: Mapping[str, str]) -> str:
    """What GitLab makes of the file: inputs are checked, then put into its text."""
    header, body = template.read_text().split("\n---\n")
    declared = yaml.safe_load(header)["spec"]["inputs"]
    assert inputs.keys() == declared.keys()
    for name, value in inputs.items():
        assert re.fullmatch(declared[name]["regex"], value), (name, value)
    return re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda block: inputs[block[1]], body)


def gitlab_job(world: PostedWorld, folder: Path, template: Path) -> subprocess.CompletedProcess[str]:
    """Have gitlab-ci-local run the manual job with the inputs that the service gave and the job's own ID token."""
    started = standin(world.gate).pipeline(world.request_id)
    text = rendered(template, {**started.inputs, "gate_url": world.url})
    (folder / ".gitlab-ci.yml").write_text(text)
    assert yaml.safe_load(text)["workflow"]["name"].endswith(f"[{world.promotion.correlation_id}]")
    for step in (["init", "."], ["add", "."]):
        subprocess.run(["git", *step], cwd=folder, check=True, capture_output=True, timeout=60)
    with (folder / ".git" / "config").open("a") as config:
        config.write('[remote "origin"]\n\turl = https://gitlab.example.com/example/ml-deploy.git\n')
    variables = {"CI_PIPELINE_SOURCE": "trigger", "GATE_TOKEN": world.token()}
    command: list[str | Path] = [BIN / "gitlab-ci-local", "--force-shell-executor", "--no-color", "approve"]
    return run([*command, *(f"--variable={name}={value}" for name, value in variables.items())], folder)


JOBS = {"github": github_job, "gitlab-environment": gitlab_job}


@pytest.mark.part("rest")
@pytest.mark.needs("act", "gitlab-ci-local", "curl")
@pytest.mark.parametrize(("provider", "release"), TEMPLATES)
def test_the_released_job_ends_green_once_the_alias_has_moved(
    provider: str, release: str, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    with posted_world(tmp_path, provider) as world:
        world.approve()
        done = JOBS[provider](world, tmp_path / "project", TEMPLATES[provider, release])
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Promotion {world.promotion.correlation_id} is promoted." in done.stdout
        assert world.gate.models.champion() == "2"


@pytest.mark.part("rest")
@pytest.mark.part("full", "earlier")
@pytest.mark.needs("act", "gitlab-ci-local", "curl")
@pytest.mark.parametrize(("provider", "release"), TEMPLATES)
def test_the_released_job_fails_with_the_reason_where_the_alias_moved_meanwhile(
    provider: str, release: str, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    with posted_world(tmp_path, provider) as world:
        world.there.faults.add("/cancel$", status=503)  # a sweep may see it first, and cancel the job
        world.gate.models.move_alias(None)
        world.approve()
        done = JOBS[provider](world, tmp_path / "project", TEMPLATES[provider, release])
        assert done.returncode != 0, done.stdout + done.stderr
        assert "Refused (HTTP 409)." in done.stdout
        assert "stands on no version now" in done.stdout
        assert world.gate.ended(world.promotion, Phase.STALE)
        assert world.gate.models.champion() is None
