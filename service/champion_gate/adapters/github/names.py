"""The names that a gate gives for GitHub, checked before any of them enters a URL or a query."""

from __future__ import annotations

import re
from dataclasses import dataclass

from champion_gate.domain.gates import ApprovalTarget
from champion_gate.errors import InvalidNameError
from champion_gate.settings import gates_values as values

_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,98}(?:\[bot\])?")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_MAX_ENVIRONMENT = 255


@dataclass(frozen=True)
class Spot:
    """Where a gate's approvals happen.

    Attributes:
        owner, name: of the repository.
        workflow: file name below .github/workflows.
        ref: branch, without refs/heads/.
        seats: environments, as the gate writes them.
        wanted_ids: pin -> number that the operator demands ("repository_id", "owner_id",
            "environment_id:<environment>").
    """

    owner: str
    name: str
    workflow: str
    ref: str
    seats: tuple[str, ...]
    wanted_ids: tuple[tuple[str, str], ...] = ()

    @property
    def repository(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"

    @property
    def workflow_path(self) -> str:
        """The workflow file's path inside the repository."""
        return f".github/workflows/{self.workflow}"


def spot_of(target: ApprovalTarget) -> Spot:
    """Read a gate's approval settings.

    Args:
        target: `place` holds repository ("owner/name"), workflow (default champion-gate.yml), ref (a
            branch, default main) and, if the operator pins them, repository_id, owner_id and
            environment_id:<environment>; `seats` are environments.

    Raises:
        InvalidNameError: one of them is not of the form that GitHub takes.
    """
    place = target.place
    repository = values.checked(values.REPOSITORY, place.get("repository", ""), "repository")
    owner, _, name = repository.partition("/")
    workflow = values.checked(values.WORKFLOW, place.get("workflow", "champion-gate.yml"), "workflow file")
    ref = values.checked(values.BRANCH, place.get("ref", "main").removeprefix("refs/heads/"), "branch")
    pins = ("repository_id", "owner_id", *(f"environment_id:{seat}" for seat in target.seats))
    wanted = tuple((key, str(place[key])) for key in pins if place.get(key))
    for key, number in wanted:
        if not _NUMBER.fullmatch(number):
            raise InvalidNameError(f"{key} {number!r} is no number.")
    _check_environments(target.seats)
    return Spot(owner, name, workflow, ref, target.seats, wanted)


def _check_environments(seats: tuple[str, ...]) -> None:
    if not seats:
        raise InvalidNameError("There is no environment in which people could approve.")
    for seat in seats:
        if not seat.strip() or len(seat) > _MAX_ENVIRONMENT or seat in {".", ".."} or not seat.isprintable():
            raise InvalidNameError(f"{seat!r} is no environment.")
    if len({seat.lower() for seat in seats}) < len(seats):
        raise InvalidNameError(
            f"The environments {', '.join(seats)} are not all different.",
            hint="GitHub does not tell upper from lower case here.",
        )


def check_new(target: ApprovalTarget) -> None:
    """Raise InvalidNameError unless people may be asked there; what was asked long ago is only read."""
    for seat in target.seats:
        values.checked(values.ENVIRONMENT, seat, "environment")


def gated_job(environment: str) -> str:
    """The name of the job that an environment protects, in deploy/github/champion-gate.yml, as GitHub lists it."""
    name = f"approve ({environment})"
    if values.github_length(name) <= values.GITHUB_JOB_NAME:
        return name
    kept = name.encode("utf-16-le", errors="surrogatepass")[: 2 * (values.GITHUB_JOB_NAME - 3)]
    return f"{kept.decode('utf-16-le', errors='ignore')}..."


def check_login(login: str) -> str:
    """Return the login, or raise InvalidNameError."""
    if not _LOGIN.fullmatch(login):
        raise InvalidNameError(f"{login!r} is no GitHub login.")
    return login


def check_run_id(run_id: str) -> str:
    """Return the id, a decimal number, or raise InvalidNameError."""
    if not _NUMBER.fullmatch(run_id):
        raise InvalidNameError(f"{run_id!r} is no workflow run's id.")
    return run_id
