"""`champion-gate init`: gates.yaml with its schema, the service's variables with fresh secrets, and a compose.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from champion_gate.bootstrap.configuration import gates_json_schema
from champion_gate.bootstrap.vendors import VENDORS
from champion_gate.domain.addresses import web_address
from champion_gate.errors import ConfigurationError, ConflictError
from champion_gate.settings.databricks import HOST, databricks_settings
from champion_gate.settings.env_file import create_env_file, create_file
from champion_gate.settings.gates import gates_form
from champion_gate.settings.problems import problem

GATES, SCHEMA, ENV_FILE, COMPOSE = "gates.yaml", "gates.schema.json", "champion-gate.env", "compose.yaml"

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_COMPOSE = """\
# champion-gate on this machine, with its database in a volume. It listens on 127.0.0.1:8080: put a proxy with a
# certificate in front of it. deploy/ of the repository has one with Caddy and PostgreSQL, and other ways to run it.
services:
  champion-gate:
    image: champion-gate # docker build -t champion-gate . (in a clone of the repository)
    restart: unless-stopped
    env_file: [champion-gate.env]
    ports: ["127.0.0.1:8080:8080"]
    volumes:
      - ./gates.yaml:/etc/champion-gate/gates.yaml:ro
      - champion-gate:/var/lib/champion-gate
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    stop_grace_period: 30s
volumes:
  champion-gate:
"""

_OF_MLFLOW = """\
# The service's own user at the MLflow server, where it has users.
# MLFLOW_TRACKING_USERNAME=
# MLFLOW_TRACKING_PASSWORD=
"""


@dataclass(frozen=True)
class Answers:
    """What is asked; the defaults stand in for what is not known yet, when one answer is checked.

    Attributes:
        client_id, client_secret: of the service's own principal; the secret may be empty, to be added by hand.
        repository, project: where people approve: on GitHub, or by its number on GitLab.
        review: whether they approve there by pull-request review, and not in an environment.
        server: address of GitHub's API, or of GitLab; empty for the public one.
        approvers: logins, on GitLab and for reviews.
        identities: who each trainer is there.
        mlflow: address of an MLflow server, in place of Databricks; `host`, `client_id` and `job` mean nothing then.
        trainers: logins of all who may register versions there.
    """

    public_url: str = "https://gate.example.com"
    host: str = "https://adb-1.azuredatabricks.net"
    client_id: str = "0"
    client_secret: str = field(default="", repr=False)
    job: str = "1"
    model: str = "main.ml.model"
    repository: str = ""
    project: str = ""
    review: bool = False
    server: str = ""
    approvers: tuple[str, ...] = ()
    identities: Mapping[str, str] = field(default_factory=dict)
    mlflow: str = ""
    trainers: tuple[str, ...] = ()

    @property
    def gate(self) -> dict[str, Any]:
        """The gate, as gates.yaml has it."""
        repository = self.repository or "owner/name"
        place: dict[str, Any] = {"github": {"repository": repository, "environments": ["champion"]}}
        if self.review:
            # Before they are asked for, one stands in: a place of nobody is refused.
            people = list(self.approvers or ("octo-login",))
            place = {"github_review": {"repository": repository, "approvers": {"people": people}}}
        if self.project:
            number = int(self.project) if self.project.isdecimal() else self.project
            named = {"approvers": list(self.approvers)} if self.approvers else {}
            place = {"gitlab": {"project": number, "environment": "champion", **named}}
        gate = {
            "name": re.sub(r"[^A-Za-z0-9._-]", "-", self.model.rpartition(".")[2]).strip("._-")[:64]
            or "gate",
            **({} if self.mlflow else {"jobs": [int(self.job) if self.job.isdecimal() else self.job]}),
            "model": self.model,
            **({"source": "registry", "trainers": list(self.trainers)} if self.mlflow else {}),
            "approval": place,
        }
        return {**gate, **({"identities": dict(self.identities)} if self.identities else {})}

    @property
    def file(self) -> dict[str, Any]:
        """All of gates.yaml."""
        kind = "gitlab" if self.project else "github"
        top = {kind: {"url": self.server}} if self.server else {}
        return {"registry": self.mlflow or "databricks-uc", **top, "gates": [self.gate]}

    def problems(self) -> list[str]:
        """One line for each answer that cannot be."""
        found = [] if self.mlflow else databricks_settings({HOST: self.host})[1]
        try:
            web_address(self.public_url)
        except ValueError as error:
            found.append(f"the service's address: expected {error}")
        form = gates_form(VENDORS)
        try:
            form.model_validate(self.file).settled()
        except ValidationError as error:
            found += [problem(form, detail) for detail in error.errors(include_url=False)]
        return found


def write_files(folder: Path, answers: Answers, *, token: Callable[[], str]) -> list[Path]:
    """Write them all, or none; a compose.yaml that is there already does.

    Raises:
        ConfigurationError: an answer cannot be, or a file cannot be written.
        ConflictError: a file is there already.
    """
    problems = answers.problems()
    if problems:
        raise ConfigurationError(problems)
    schema = json.dumps(gates_json_schema(), indent=2, sort_keys=True)
    texts = {
        GATES: _gates(answers),
        SCHEMA: f"{schema}\n",
        COMPOSE: _COMPOSE,
        ENV_FILE: _variables(answers, token()),
    }
    if (folder / COMPOSE).exists():
        del texts[COMPOSE]
    there = [name for name in texts if (folder / name).exists()]
    if there:
        raise ConflictError(
            f"{', '.join(there)} in {folder}: there already, so nothing was written.",
            hint="Move it away, or name another folder (--folder).",
        )
    written: list[Path] = []
    try:
        for name, text in texts.items():
            (create_env_file if name == ENV_FILE else create_file)(folder / name, text)
            written.append(folder / name)
    except BaseException:
        for path in written:
            path.unlink()
        raise
    return written


def _gates(answers: Answers) -> str:
    comments = (
        f"# yaml-language-server: $schema={SCHEMA}",
        "# Which job makes which model, and who approves where. service/docs/configuration.md has every key.",
    )
    top = {key: value for key, value in answers.file.items() if key != "gates"}
    first, *others = _lines(answers.gate, "    ")
    return "\n".join((*comments, *_lines(top, ""), "gates:", f"  - {first.lstrip()}", *others, ""))


def _lines(value: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for key, below in value.items():
        if isinstance(below, dict):
            lines += [f"{indent}{_scalar(key)}:", *_lines(below, f"{indent}  ")]
        elif isinstance(below, list):
            lines.append(f"{indent}{key}: [{', '.join(map(_scalar, below))}]")
        else:
            lines.append(f"{indent}{_scalar(key)}: {_scalar(below)}")
    return lines


def _scalar(value: object) -> str:
    """Plain where every reader of YAML takes it for this text; a text in JSON's quotes is YAML too."""
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and value.lower() not in _WORDS):
        return json.dumps(value)
    return str(value)


def _variables(answers: Answers, password: str) -> str:
    return f"""\
# champion-gate's variables, its secrets among them. Values have no quotes, and no comments behind them: docker, systemd
# and shells then read them alike.

# Where others reach the service, and how many proxies stand in front of it.
CHAMPION_GATE_PUBLIC_URL={web_address(answers.public_url)}
CHAMPION_GATE_PROXY_HOPS=1

{_OF_MLFLOW if answers.mlflow else _of_databricks(answers, password)}
# What follows, `champion-gate setup` has added.
"""


def _of_databricks(answers: Answers, password: str) -> str:
    host = databricks_settings({HOST: answers.host})[0]["host"]
    return f"""\
# The service's own principal in Databricks.
DATABRICKS_HOST={host}
DATABRICKS_CLIENT_ID={answers.client_id}
DATABRICKS_CLIENT_SECRET={answers.client_secret}

# What Databricks shows at the webhook.
CHAMPION_GATE_DATABRICKS_HOOK_USERNAME=databricks
CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD={password}
"""
