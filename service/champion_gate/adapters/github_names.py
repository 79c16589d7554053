"""The names that a gate gives for GitHub, checked before any of them enters a URL or a query."""

from __future__ import annotations

import re
from dataclasses import dataclass

from champion_gate.core.gates import ApprovalTarget
from champion_gate.errors import InvalidNameError

_REPOSITORY = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}))/([A-Za-z0-9._-]{1,100})")
_WORKFLOW = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.ya?ml")
_REF = re.compile(r"(?!/)(?!.*(?:\.\.|//|@\{))[A-Za-z0-9_./-]{1,200}(?<![/.])")
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
    repository = _REPOSITORY.fullmatch(place.get("repository", ""))
    if repository is None or repository[2] in {".", ".."}:
        raise InvalidNameError(f"{place.get('repository', '')!r} is no repository.", hint="Write owner/name.")
    workflow = place.get("workflow", "champion-gate.yml")
    if not _WORKFLOW.fullmatch(workflow):
        raise InvalidNameError(
            f"{workflow!r} is no workflow file.", hint="Write its name, as champion-gate.yml."
        )
    ref = place.get("ref", "main").removeprefix("refs/heads/")
    if not _REF.fullmatch(ref):
        raise InvalidNameError(f"{ref!r} is no branch.", hint="Write a branch, as main.")
    pins = ("repository_id", "owner_id", *(f"environment_id:{seat}" for seat in target.seats))
    wanted = tuple((key, str(place[key])) for key in pins if place.get(key))
    for key, number in wanted:
        if not _NUMBER.fullmatch(number):
            raise InvalidNameError(f"{key} {number!r} is no number.")
    _check_environments(target.seats)
    return Spot(repository[1], repository[2], workflow, ref, target.seats, wanted)


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
