from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from champion_gate.settings.env_file import read_env_file, set_variables
from integration.commands import run_command

FLAGS = (
    *(
        "--public-url",
        "https://gate.example.com/",
        "--databricks-host",
        "https://adb-1.azuredatabricks.net/?o=1",
    ),
    *("--client-id", "0b7e8a52-3c1d-4f6e-9a2b-7c5d1e0f4a3b", "--client-secret-file", "-"),
    *("--job", "1234567890", "--model", "main.ml.churn", "--github", "example/ml-deploy"),
    *("--identity", "first.last@example.com=octo-login"),
)
WRITTEN = {"gates.yaml": 0o644, "gates.schema.json": 0o644, "compose.yaml": 0o644, "champion-gate.env": 0o600}


def _init(
    folder: Path, *arguments: str, sent: str = "s3cret-of-databricks\n"
) -> subprocess.CompletedProcess[str]:
    return run_command("init", *arguments, environ={}, folder=folder, sent=sent)


def _secrets(text: str) -> str:
    return re.sub(r"(?m)^(CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD=)[0-9a-f]{64}$", r"\1…", text)


def test_the_files_are_whole_and_only_the_owner_reads_the_secrets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        done = _init(tmp_path, *FLAGS)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == WRITTEN
    gates = (tmp_path / "gates.yaml").read_text()
    assert gates.startswith("# yaml-language-server: $schema=gates.schema.json\n")
    schema = run_command("config", "schema", environ={}, folder=tmp_path).stdout
    assert json.loads((tmp_path / "gates.schema.json").read_text()) == json.loads(schema)
    variables = read_env_file(tmp_path / "champion-gate.env")
    assert len(variables.pop("CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD")) == 64
    assert variables == {
        "CHAMPION_GATE_PUBLIC_URL": "https://gate.example.com",
        "CHAMPION_GATE_PROXY_HOPS": "1",
        "DATABRICKS_HOST": "https://adb-1.azuredatabricks.net",
        "DATABRICKS_CLIENT_ID": "0b7e8a52-3c1d-4f6e-9a2b-7c5d1e0f4a3b",
        "DATABRICKS_CLIENT_SECRET": "s3cret-of-databricks",
        "CHAMPION_GATE_DATABRICKS_HOOK_USERNAME": "databricks",
    }
    assert "s3cret" not in done.stdout
    checked = run_command("config", "check", "--file", "gates.yaml", environ={}, folder=tmp_path)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "gates.yaml can be used.")


def test_what_is_not_said_is_asked_until_it_can_be(tmp_path: Path) -> None:
    asked, flagged = tmp_path / "asked", tmp_path / "flagged"
    asked.mkdir()
    flagged.mkdir()
    answers = (
        *("gate.example.com", "https://gate.example.com", "https://adb-1.azuredatabricks.net"),
        *("0b7e8a52-3c1d-4f6e-9a2b-7c5d1e0f4a3b", "1234567890", "main.churn", "main.ml.churn"),
        *("s3cret-of-databricks", "example/ml-deploy", "", "", "first.last@example.com=octo-login"),
    )
    done = _init(asked, sent="".join(f"{each}\n" for each in answers))
    assert done.returncode == 0, done.stderr
    assert _init(flagged, *FLAGS).returncode == 0
    for name in WRITTEN:
        assert _secrets((asked / name).read_text()) == _secrets((flagged / name).read_text())


def test_what_is_there_is_never_written_over_and_then_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "champion-gate.env").write_text("A=mine\n")
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    done = _init(tmp_path, *FLAGS)
    assert done.returncode == 1
    assert "champion-gate.env" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"champion-gate.env", "compose.yaml"}
    assert (tmp_path / "champion-gate.env").read_text() == "A=mine\n"
    (tmp_path / "champion-gate.env").unlink()
    assert _init(tmp_path, *FLAGS).returncode == 0
    assert (tmp_path / "compose.yaml").read_text() == "services: {}\n"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--model", "churn"),
        ("--job", "0"),
        ("--github", "nobody"),
        ("--public-url", "http://x"),
        ("--client-id", "a b"),
    ],
)
def test_a_wrong_option_is_told_and_writes_nothing(tmp_path: Path, flag: str, value: str) -> None:
    flags = list(FLAGS)
    flags[flags.index(flag) + 1] = value
    done = _init(tmp_path, *flags)
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_only_one_place_is_taken(tmp_path: Path) -> None:
    assert _init(tmp_path, *FLAGS, "--gitlab", "42").returncode == 2
    flags = [*FLAGS[: FLAGS.index("--github")], "--gitlab", "42", "--review"]
    assert _init(tmp_path, *flags).returncode == 2
    assert not list(tmp_path.iterdir())


def test_reviews_are_asked_for_with_who_may_give_them(tmp_path: Path) -> None:
    flags = FLAGS[: FLAGS.index("--github")]
    asked = ("example/promotions", "both", "review", "", "reviewer-1 reviewer-2", "-")
    done = _init(
        tmp_path,
        *flags[: flags.index("--client-secret-file")],
        *flags[-4:],
        sent="\n" + "\n".join(asked) + "\n",
    )
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "gates.yaml").read_text()
    (gate,) = yaml.safe_load(written)["gates"]
    people = ["reviewer-1", "reviewer-2"]
    assert gate["approval"] == {
        "github_review": {"repository": "example/promotions", "approvers": {"people": people}}
    }
    assert run_command("config", "check", "--file", "gates.yaml", environ={}, folder=tmp_path).returncode == 0
    flagged = tmp_path / "flagged"
    flagged.mkdir()
    named = ("--github", "example/promotions", "--review", "--approver", people[0], "--approver", people[1])
    assert _init(flagged, *flags, *named).returncode == 0
    assert (flagged / "gates.yaml").read_text() == written


@pytest.mark.parametrize("job", ["on", "1e3", 'it\'s "x": #1', "nightly train", "{a}"])
def test_any_jobs_name_is_the_same_for_every_reader(tmp_path: Path, job: str) -> None:
    flags = list(FLAGS)
    flags[flags.index("--job") + 1] = job
    assert _init(tmp_path, *flags).returncode == 0
    assert yaml.safe_load((tmp_path / "gates.yaml").read_text())["gates"][0]["jobs"] == [job]


def test_gitlab_is_asked_who_may_approve(tmp_path: Path) -> None:
    flags = [
        *FLAGS[: FLAGS.index("--github")],
        "--gitlab",
        "42",
        "--server",
        "https://gitlab.example.com",
        "--approver",
        "ann",
        "--approver",
        "bob",
    ]
    done = _init(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "gates.yaml").read_text())
    assert written["gitlab"] == {"url": "https://gitlab.example.com"}
    assert written["gates"][0]["approval"]["gitlab"]["approvers"] == ["ann", "bob"]
    assert run_command("config", "check", "--file", "gates.yaml", environ={}, folder=tmp_path).returncode == 0


@pytest.mark.part("rest")
@pytest.mark.needs("check-jsonschema")
def test_compose_takes_the_file(tmp_path: Path) -> None:
    assert _init(tmp_path, *FLAGS).returncode == 0
    tool = Path(sys.executable).parent / "check-jsonschema"
    subprocess.run([tool, "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"], check=True)


def test_with_mlflow_nothing_of_databricks_is_asked_for_or_written(tmp_path: Path) -> None:
    flags = (
        "--mlflow",
        "https://mlflow.example.com",
        "--model",
        "churn",
        "--public-url",
        "https://gate.example.com",
    )
    place = ("--github", "example/ml-deploy")
    refused = _init(tmp_path, *flags, *place)
    assert refused.returncode != 0
    assert "gates[0].trainers: is missing" in refused.stderr
    assert _init(tmp_path, *FLAGS, "--trainer", "octo-trainer").returncode != 0
    assert list(tmp_path.iterdir()) == []
    done = _init(tmp_path, *flags, *place, "--trainer", "octo-trainer")
    assert done.returncode == 0, done.stderr
    assert "setup mlflow" in done.stdout
    written = yaml.safe_load((tmp_path / "gates.yaml").read_text())
    assert (written["registry"], written["gates"][0]["source"]) == ("https://mlflow.example.com", "registry")
    assert set(read_env_file(tmp_path / "champion-gate.env")) == {
        "CHAMPION_GATE_PUBLIC_URL",
        "CHAMPION_GATE_PROXY_HOPS",
    }
    service = {"MLFLOW_TRACKING_USERNAME": "champion-gate"}
    set_variables(tmp_path / "champion-gate.env", service)
    as_service = run_command("setup", "mlflow", environ=service, folder=tmp_path)
    assert as_service.returncode == 2
    assert "MLFLOW_TRACKING_USERNAME: is the service's own; setup runs as you" in as_service.stderr
