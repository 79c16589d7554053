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
    "sleep": 'echo $(($(cat "$CLOCK") + $1 * $TIMES)) > "$CLOCK"',
    "curl": """
        secret="$(sed 's/.*Bearer //; s/"//')"
        retries=0 out=
        while test $# -gt 0; do
          case "$1" in
            --max-time) most="$2" ;;
            --retry) retries="$2" ;;
            --output) output="$2" ;;
            http*) url="$1" ;;
          esac
          shift
        done
        now="$(cat "$CLOCK")"
        case "$url" in */token*) test "$now" -lt "$OUT_FROM" -o "$now" -ge "$OUT_UNTIL" || most=0 out=503 ;; esac
        took="$most"
        pause=1
        while test "$retries" -gt 0; do
          took=$((took + pause + most)) pause=$((pause * 2)) retries=$((retries - 1))
        done
        now=$((now + took))
        echo "$now" > "$CLOCK"
        test -z "$out" || { printf "$out"; exit 0; }
        case "$url" in
          */token*) echo "{\\"value\\": \\"$now\\"}" > "$output"; printf 200 ;;
          *) test "$now" -lt "$COPIED_AT" || { printf '{"phase": "promoted"}' > "$output"; printf 200; exit 0; }
             test "$secret" = t -o "$TIMES" != 1 || test "$now" -le "$((secret + 300))" || { printf 401; exit 0; }
             test -z "$PHASE" || { printf '{"phase": "%s"}' "$PHASE" > "$output"; printf 202; exit 0; }
             printf 000; exit 28 ;;
        esac
    """,
}
"""A clock that only these move: each call takes as long as it may, and the gate tells a phase, or never answers."""


# Where it is to ask for hours, each pause is ten: it would take as many calls as in a real job.
TIMES = {"copying": "10"}
AS_USUAL = {"OUT_FROM": "0", "OUT_UNTIL": "0", "COPIED_AT": "99999"}


def ended(
    script: str, folder: Path, shell: str, **environ: str
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a job's script on that clock; returns what came of it, and the seconds that it took."""
    commands = folder / "bin"
    commands.mkdir()
    for name, body in SCRIPTS.items():
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    clock = folder / "clock"
    clock.write_text("1000\n")
    done = subprocess.run(
        [shell, "-e", "-c", script],
        env={
            "PATH": f"{commands}:{os.environ['PATH']}",
            "CLOCK": str(clock),
            "TIMES": TIMES.get(environ["PHASE"], "1"),
            **AS_USUAL,
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done, int(clock.read_text()) - 1000


def seconds_until_given_up(script: str, folder: Path, shell: str, **environ: str) -> int:
    """The seconds after which a job gives up."""
    done, taken = ended(script, folder, shell, **environ)
    assert done.returncode == 1, done
    assert "The outcome is not known yet" in done.stdout, done
    return taken


def githubs_job() -> tuple[str, int]:
    """The script of GitHub's job, and its time-out in minutes."""
    job = yaml.safe_load((DEPLOY / "github" / "champion-gate.yml").read_text())["jobs"]["approve"]
    (step,) = job["steps"]
    return step["run"], job["timeout-minutes"]


def given_by_github(folder: Path) -> dict[str, str]:
    """What GitHub's job finds in its environment."""
    return {
        "GATE_URL": "https://gate.example.com",
        "PROMOTION": "p1",
        "ENVIRONMENT": "champion",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://actions.example.com/token?v=1",
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }


MOST_SECONDS = {"": 300, "approved": 300, "copying": 190 * 60}
"""What a runner may be occupied by, for what the gate says, and until whatever goes on is cut off."""


@pytest.mark.parametrize(
    "phase", ["copying", *(pytest.param(each, marks=pytest.mark.part("rest")) for each in ("", "approved"))]
)
def test_githubs_job_gives_up_before_its_time_is_up(tmp_path: Path, phase: str) -> None:
    script, minutes = githubs_job()
    taken = seconds_until_given_up(script, tmp_path, "bash", PHASE=phase, **given_by_github(tmp_path))
    assert taken + SETTING_UP_SECONDS <= MOST_SECONDS[phase] <= minutes * 60


@pytest.mark.parametrize(
    ("out_until", "code"), [("1390", 0), pytest.param("1500", 1, marks=pytest.mark.part("rest"))]
)
def test_githubs_job_uses_its_token_on_while_github_gives_no_other(
    tmp_path: Path, out_until: str, code: int
) -> None:
    outage = {"OUT_FROM": "1300", "OUT_UNTIL": out_until}
    done, _ = ended(
        githubs_job()[0],
        tmp_path,
        "bash",
        **{"PHASE": "copying", "TIMES": "1", "COPIED_AT": "2000", **outage, **given_by_github(tmp_path)},
    )
    assert done.returncode == code, done
    assert ("is promoted" if code == 0 else "Refused (HTTP 401)") in done.stdout, done


@pytest.mark.part("rest")
@pytest.mark.parametrize("phase", list(MOST_SECONDS))
def test_gitlabs_job_gives_up_before_its_time_is_up(tmp_path: Path, phase: str) -> None:
    header, pipeline = (DEPLOY / "gitlab" / "champion-gate.gitlab-ci.yml").read_text().split("\n---\n")
    assert header
    read = yaml.safe_load(pipeline)
    (script,) = read["approve"]["script"]
    inputs = {"promotion_id": "p1", "gate_url": "https://gate.example.com"}
    filled = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda name: inputs[name[1]], script)
    taken = seconds_until_given_up(filled, tmp_path, "sh", GATE_TOKEN="t", PHASE=phase)
    minutes = int(read["approve"]["timeout"].removesuffix("m"))
    assert taken + SETTING_UP_SECONDS <= MOST_SECONDS[phase] <= minutes * 60
