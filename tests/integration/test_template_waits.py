"""A released job gives up by itself before its time is up, however slowly everything answers: nobody cuts it off."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
SETTING_UP_SECONDS = 45
SCRIPTS = {
    "date": 'cat "$CLOCK"',
    "sleep": 'echo $(($(cat "$CLOCK") + $1)) > "$CLOCK"',
    "curl": """
        cat > /dev/null
        retries=0
        while test $# -gt 0; do
          case "$1" in
            --max-time) most="$2" ;;
            --retry) retries="$2" ;;
            --output) output="$2" ;;
            http*) url="$1" ;;
          esac
          shift
        done
        took="$most"
        pause=1
        while test "$retries" -gt 0; do
          took=$((took + pause + most)) pause=$((pause * 2)) retries=$((retries - 1))
        done
        echo $(($(cat "$CLOCK") + took)) > "$CLOCK"
        case "$url" in
          */token*) echo '{"value": "a-token"}' > "$output"; printf 200 ;;
          *) printf 000; exit 28 ;;
        esac
    """,
}
"""A clock that only these move: each call takes as long as it may, and the gate never answers."""


def seconds_taken(script: str, folder: Path, shell: str, **environ: str) -> int:
    """Run a job's script on that clock until it gives up."""
    commands = folder / "bin"
    commands.mkdir()
    for name, body in SCRIPTS.items():
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    clock = folder / "clock"
    clock.write_text("1000\n")
    done = subprocess.run(
        [shell, "-e", "-c", script],
        env={"PATH": f"{commands}:{os.environ['PATH']}", "CLOCK": str(clock), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done
    assert "The outcome is not known yet" in done.stdout, done
    return int(clock.read_text()) - 1000


def test_githubs_job_gives_up_before_its_time_is_up(tmp_path: Path) -> None:
    job = yaml.safe_load((DEPLOY / "github" / "champion-gate.yml").read_text())["jobs"]["approve"]
    (step,) = job["steps"]
    taken = seconds_taken(
        step["run"],
        tmp_path,
        "bash",
        GATE_URL="https://gate.example.com",
        PROMOTION="p1",
        ENVIRONMENT="champion",
        ACTIONS_ID_TOKEN_REQUEST_TOKEN="t",
        ACTIONS_ID_TOKEN_REQUEST_URL="https://actions.example.com/token?v=1",
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary"),
    )
    assert taken + SETTING_UP_SECONDS <= job["timeout-minutes"] * 60


@pytest.mark.part("rest")
def test_gitlabs_job_gives_up_before_its_time_is_up(tmp_path: Path) -> None:
    header, pipeline = (DEPLOY / "gitlab" / "champion-gate.gitlab-ci.yml").read_text().split("\n---\n")
    assert header
    read = yaml.safe_load(pipeline)
    (script,) = read["approve"]["script"]
    inputs = {"promotion_id": "p1", "gate_url": "https://gate.example.com"}
    filled = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda name: inputs[name[1]], script)
    taken = seconds_taken(filled, tmp_path, "sh", GATE_TOKEN="t")
    minutes = int(read["default"]["timeout"].removesuffix("m"))
    assert taken + SETTING_UP_SECONDS <= minutes * 60
