"""`config check --file`: gates.yaml looked at in a pull request, without any secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integration.commands import run_command

GATES = """\
registry: databricks-uc
gates:
  - name: churn
    jobs:
      - 1234567890
      - {job}
    model: {model}
    approval:
      github:
        repository: example/ml-deploy
        environments: [champion]
    identities:
      {person}: octo-login
"""


def _check(tmp_path: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    done = run_command(
        "config", "check", "--file", "gates.yaml", *arguments, environ=environ, folder=tmp_path
    )
    assert not done.stderr
    return done.returncode, done.stdout


def _write(
    tmp_path: Path, job: str = "nightly", person: str = "a.b@example.com", model: str = "a.b.c"
) -> None:
    (tmp_path / "gates.yaml").write_text(GATES.format(job=job, person=person, model=model))


def test_what_is_wrong_has_its_line_and_exits_with_2(tmp_path: Path) -> None:
    _write(tmp_path, job='"123"', model="main.churn")
    code, told = _check(tmp_path)
    assert code == 2
    assert "gates.yaml:6: error: gates[0].jobs[1]: found '123'; expected" in told
    _write(tmp_path, model="main.churn")
    code, told = _check(tmp_path)
    assert code == 2
    assert told.startswith("gates.yaml:7: error: gates[0].model: 'main.churn' is no Unity Catalog model")
    assert json.loads(_check(tmp_path, "--json")[1])["problems"][0]["line"] == 7


def test_github_actions_get_annotations_that_no_name_can_break_out_of(tmp_path: Path) -> None:
    _write(tmp_path, model='"100%,\\n::warning::x"')
    code, told = _check(tmp_path, GITHUB_ACTIONS="true")
    assert code == 2
    (line,) = told.splitlines()
    assert line.startswith(
        "::error file=gates.yaml,line=7,title=champion-gate::gates[0].model: '100%25,\\\\n"
    )
    assert "\n::" not in told


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ("https://adb-1.azuredatabricks.net/jobs/12?o=1", "looks like an address"),
        ("job 123", "looks like a number"),
        ("'<job id>'", "looks like a placeholder"),
        ("'${var.job}'", "looks like a placeholder"),
        ("nightly-2024", ""),
    ],
)
def test_a_job_that_is_probably_none_is_doubted(tmp_path: Path, job: str, says: str) -> None:
    _write(tmp_path, job=job)
    code, told = _check(tmp_path)
    assert code == 0
    assert (f"gates.yaml:6: warning: gates[0].jobs[1]: {job.strip(chr(39))!r}" in told) is bool(says)
    assert says in told


@pytest.mark.parametrize(
    ("person", "doubted"),
    [("first.last", True), ("a.b@example.com", False), ("0b7e8a52-3c1d-4f6e-9a2b-7c5d1e0f4a3b", False)],
)
def test_an_identity_that_is_no_address_is_doubted(tmp_path: Path, person: str, doubted: bool) -> None:
    _write(tmp_path, person=person)
    code, told = _check(tmp_path)
    assert code == 0
    assert (f"gates.yaml:13: warning: gates[0].identities.{person}: is no mail address" in told) is doubted


@pytest.mark.parametrize(("text", "line"), [("a: 1\nb: {c: [}\n", 2), ("", 1), ("a: 1\na: 2\n", 2)])
def test_a_file_that_is_no_gates_yaml_at_all_has_a_line_too(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "gates.yaml").write_text(text)
    code, told = _check(tmp_path)
    assert code == 2
    assert any(each.startswith(f"gates.yaml:{line}: error: ") for each in told.splitlines())


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    code, told = _check(tmp_path, "--format", "github")
    assert code == 2
    assert told.startswith("::error file=gates.yaml,line=1,title=champion-gate::gates.yaml: cannot be read")
    both = run_command("config", "check", "--file", "gates.yaml", "--online", environ={}, folder=tmp_path)
    assert (both.returncode, both.stdout) == (2, "")
