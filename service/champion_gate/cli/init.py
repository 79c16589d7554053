"""`champion-gate init`: the files with which an installation begins."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from champion_gate.cli.output import print_line
from champion_gate.setup.initial import Answers, write_files

_QUESTIONS = {
    "public_url": "Where others will reach champion-gate (https://…)",
    "host": "Databricks workspace (https://…)",
    "client_id": "Application id of the service principal for champion-gate",
    "job": "Training job, by number or name",
    "model": "Registered model (catalog.schema.model)",
}
_OF_DATABRICKS = ("host", "client_id", "job")
_PUBLIC = "the public one"
_SERVER = "Address of GitHub's API, or of GitLab"
_WHERE = "Where people approve: a GitHub repository (OWNER/NAME), or a GitLab project's number"
_HOW = "How: in an `environment` (public repositories and GitHub Enterprise), or by pull-request `review` (any plan)"


@click.command(name="init")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Where to write.",
)
@click.option("--public-url", metavar="URL", help="Where others will reach the service.")
@click.option("--databricks-host", "host", metavar="URL", help="The workspace.")
@click.option("--client-id", metavar="ID", help="The service principal's application id.")
@click.option(
    "--client-secret-file", type=click.File(), help="A file with its OAuth secret; - for standard input."
)
@click.option("--job", metavar="ID|NAME", help="The training job.")
@click.option("--model", metavar="NAME", help="The registered model.")
@click.option("--mlflow", metavar="URL", help="An MLflow server, in place of Databricks.")
@click.option(
    "--trainer",
    "trainers",
    multiple=True,
    metavar="LOGIN",
    help="With --mlflow: who may register versions, and so approve none; repeat it for more.",
)
@click.option("--github", "repository", metavar="OWNER/NAME", help="The repository in which people approve.")
@click.option("--review", is_flag=True, help="They do so by pull-request review, which works on any plan.")
@click.option("--gitlab", "project", metavar="NUMBER", help="Or the GitLab project.")
@click.option("--server", metavar="URL", help="GitHub's API or your GitLab, where it is not the public one.")
@click.option(
    "--approver",
    "approvers",
    multiple=True,
    metavar="LOGIN",
    help="Who may approve on GitLab, or by review; repeat it for more.",
)
@click.option(
    "--identity",
    "identities",
    multiple=True,
    metavar="MAIL=LOGIN",
    help="Who a trainer is there; repeat it for more.",
)
def command(
    folder: Path,
    client_secret_file: TextIO | None,
    identities: tuple[str, ...],
    trainers: tuple[str, ...],
    **given: Any,
) -> None:
    """Write gates.yaml with its JSON Schema, champion-gate.env with fresh secrets, and compose.yaml.

    It asks for what no option says, and for nothing where options say all that is needed. What is there already stays as it is.
    """
    mlflow = given["mlflow"]
    _check_together(given, trainers)
    questions = {key: text for key, text in _QUESTIONS.items() if not (mlflow and key in _OF_DATABRICKS)}
    asks = any(given[name] is None for name in questions) or not (given["repository"] or given["project"])
    answers = Answers(trainers=trainers)
    if mlflow:
        told = None if asks and not trainers else " ".join(trainers)
        read = partial(_of_mlflow, mlflow)
        answers = _with(answers, told, "Who may register versions there (logins; they approve none)", read)
    for name, question in questions.items():
        answers = _with(answers, given[name], question, lambda text, name=name: {name: text})  # type: ignore[misc]
    if client_secret_file is not None:
        answers = replace(answers, client_secret=client_secret_file.read().strip())
    elif asks and not mlflow:
        secret = click.prompt(
            "Its OAuth secret (empty: added by hand later)", hide_input=True, default="", show_default=False
        )
        answers = replace(answers, client_secret=secret.strip())
    answers = _with(answers, given["repository"] or given["project"], _WHERE, _place)
    if answers.repository:
        # Who gives the repository by its option, and not this one, means an environment.
        told = "review" if given["review"] else None if asks and not given["repository"] else "environment"
        answers = _with(answers, told, _HOW, _how, "environment")
    told = given["server"] if given["server"] or asks else ""
    answers = _with(answers, told, _SERVER, lambda text: {"server": "" if text == _PUBLIC else text}, _PUBLIC)
    if answers.project or answers.review:
        named = " ".join(given["approvers"]) or None
        answers = _with(
            answers, named, "Who may approve (usernames)", lambda text: {"approvers": tuple(text.split())}
        )
    told = " ".join(identities) if identities or mlflow or not asks else None
    answers = _with(answers, told, "Who the trainers are there (MAIL=LOGIN; - for later)", _identities)
    for path in write_files(folder, answers, token=lambda: secrets.token_hex(32)):
        print_line(f"wrote {path}")
    vendor = "gitlab" if answers.project else "github"
    print_line(
        f"Next: champion-gate setup {'mlflow' if mlflow else 'databricks'}, champion-gate setup {vendor}, champion-gate --env-file champion-gate.env doctor"
    )


def _check_together(given: Mapping[str, Any], trainers: Sequence[str]) -> None:
    """Raise a UsageError where two options exclude each other."""
    if given["repository"] and given["project"]:
        raise click.UsageError("Give --github or --gitlab, not both.")
    if given["review"] and given["project"]:
        raise click.UsageError("--review is for --github.")
    if trainers and not given["mlflow"]:
        raise click.UsageError("--trainer goes with --mlflow.")


def _with(
    answers: Answers,
    given: str | None,
    question: str,
    read: Callable[[str], dict[str, Any]],
    default: str | None = None,
) -> Answers:
    """The answers with one more: what an option says as it is, and else one that is asked for until it can be."""

    def checked(text: str) -> Answers:
        made = replace(answers, **read(text.strip()))
        problems = made.problems()
        if problems:
            raise click.BadParameter(problems[0])
        return made

    if given is not None:
        return checked(given)
    found: Answers = click.prompt(question, default=default, value_proc=checked)
    return found


def _of_mlflow(url: str, text: str) -> dict[str, Any]:
    return {"mlflow": url, "trainers": tuple(text.split()), "model": "model"}


def _place(text: str) -> dict[str, Any]:
    return {"project": text} if text.isdecimal() else {"repository": text}


def _how(text: str) -> dict[str, Any]:
    if text not in {"environment", "review"}:
        raise click.BadParameter("expected environment or review")
    return {"review": text == "review"}


def _identities(text: str) -> dict[str, Any]:
    pairs = [each.partition("=") for each in text.split() if each != "-"]
    if not all(mail and login for mail, _, login in pairs):
        raise click.BadParameter("expected MAIL=LOGIN, with blanks between several")
    return {"identities": {mail: login for mail, _, login in pairs}}
