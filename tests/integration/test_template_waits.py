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
    # Where it is to ask for hours, each pause is ten: it would take as many calls as in a real job.
    "sleep": 'test "$PHASE" = copying && times=10; echo $(($(cat "$CLOCK") + $1 * ${times:-1})) > "$CLOCK"',
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
          *) test -z "$PHASE" || { printf '{"phase": "%s"}' "$PHASE" > "$output"; printf 202; exit 0; }
             printf 000; exit 28 ;;
        esac
    """,
}
"""A clock that only these move: each call takes as long as it may, and the gate tells a phase, or never answers."""


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


MOST_SECONDS = {"": 300, "approved": 300, "copying": 190 * 60}
"""What a runner may be occupied by, for what the gate says, and until whatever goes on is cut off."""


@pytest.mark.parametrize(
    "phase", ["copying", *(pytest.param(each, marks=pytest.mark.part("rest")) for each in ("", "approved"))]
)
def test_githubs_job_gives_up_before_its_time_is_up(tmp_path: Path, phase: str) -> None:
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
        PHASE=phase,
    )
    assert taken + SETTING_UP_SECONDS <= MOST_SECONDS[phase] <= job["timeout-minutes"] * 60


@pytest.mark.part("rest")
@pytest.mark.parametrize("phase", list(MOST_SECONDS))
def test_gitlabs_job_gives_up_before_its_time_is_up(tmp_path: Path, phase: str) -> None:
    header, pipeline = (DEPLOY / "gitlab" / "champion-gate.gitlab-ci.yml").read_text().split("\n---\n")
    assert header
    read = yaml.safe_load(pipeline)
    (script,) = read["approve"]["script"]
    inputs = {"promotion_id": "p1", "gate_url": "https://gate.example.com"}
    filled = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda name: inputs[name[1]], script)
    taken = seconds_taken(filled, tmp_path, "sh", GATE_TOKEN="t", PHASE=phase)
    minutes = int(read["approve"]["timeout"].removesuffix("m"))
    assert taken + SETTING_UP_SECONDS <= MOST_SECONDS[phase] <= minutes * 60
