"""GitHub in gates.yaml: its servers, the places where people approve, and the names there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from champion_gate.domain import values
from champion_gate.domain.addresses import host_of
from champion_gate.domain.names import VENDOR_ID
from champion_gate.domain.values import (
    FILE,
    Is,
    Listed,
    VendorId,
    checked,
    expected,
    repeated,
)
from champion_gate.domain.vendors import Oidc, Place, Server, check_seats
from champion_gate.errors import InvalidNameError

_KIND, _TITLE = "github", "GitHub"
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,98}(?:\[bot\])?")
_PERSONS_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Dots, which GitLab allows, are none of GitHub's."""
_JOB_NAME = 100
"""GitHub cuts the names of jobs here, and puts three dots at the end (seen in the answers of its API)."""
_LONGEST_ENVIRONMENT = _JOB_NAME - len("approve ()")
_ENVIRONMENT_ID = "environment_id:"


# --- the names --------------------------------------------------------------------------------------------


def _length(name: str) -> int:
    """How many characters GitHub counts: UTF-16 code units, as its job service, written in C#, does."""
    return len(name.encode("utf-16-le", errors="surrogatepass")) // 2


def _address(value: object) -> str:
    address = values.address(value)
    if host_of(address) in {"github.com", "www.github.com"}:
        raise expected("the address of GitHub's API: https://api.github.com")
    return address


def _environment(value: object) -> str:
    # Its job is found by its name, which the workflow file makes of this one.
    if not isinstance(value, str) or not value or _length(value) > _LONGEST_ENVIRONMENT:
        raise expected(
            f"a GitHub environment's name of 1 to {_LONGEST_ENVIRONMENT} characters "
            f"(GitHub cuts the name of its job, `approve (…)`, at {_JOB_NAME})"
        )
    if value.strip() != value or value in {".", ".."} or not value.isprintable():
        raise expected(
            "a GitHub environment's name, neither . nor .., "
            "without blanks at its ends and without invisible characters"
        )
    return value


_ADDRESS = Is(_address, {"type": "string", "pattern": "^https?://"})
_REPOSITORY = values.text(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,98}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", "a repository as OWNER/NAME"
)
_WORKFLOW = values.text(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.ya?ml",
    "the file name of a workflow in .github/workflows, such as champion-gate.yml",
)
_ENVIRONMENT = Is(_environment, {"type": "string", "minLength": 1, "maxLength": _LONGEST_ENVIRONMENT})


def gated_job(environment: str) -> str:
    """The name of the job that an environment protects, in deploy/github/champion-gate.yml, as GitHub lists it."""
    name = f"approve ({environment})"
    if _length(name) <= _JOB_NAME:
        return name
    kept = name.encode("utf-16-le", errors="surrogatepass")[: 2 * (_JOB_NAME - 3)]
    return f"{kept.decode('utf-16-le', errors='ignore')}..."


def check_login(login: str) -> str:
    """Return the login, or raise InvalidNameError."""
    if not _LOGIN.fullmatch(login):
        raise InvalidNameError(f"{login!r} is no GitHub login.")
    return login


def check_run_id(run_id: str) -> str:
    """Return the id, a decimal number, or raise InvalidNameError."""
    if not VENDOR_ID.fullmatch(run_id):
        raise InvalidNameError(f"{run_id!r} is no workflow run's id.")
    return run_id


# --- gates.yaml -------------------------------------------------------------------------------------------


class GitHubServer(Server):
    """`github:` at the top: the GitHub of all gates that name no other."""

    kind: ClassVar[str] = _KIND
    title: ClassVar[str] = _TITLE

    url: Annotated[str, _ADDRESS] = Field(
        default="https://api.github.com",
        description="address of GitHub's API; on GitHub Enterprise Server https://HOST/api/v3",
    )
    # What every supported GitHub Enterprise Server speaks.
    api_version: Literal["2022-11-28", "2026-03-10"] = Field(
        default="2022-11-28", description="the version of GitHub's REST API to speak"
    )

    @property
    def issuer(self) -> str:
        """See Server; known by the address of the API (docs.github.com, "OpenID Connect reference").

        Where an enterprise has its own name put behind it, the operator has to say so.
        """
        host = host_of(self.url)
        if self.oidc.issuer is not None:
            return self.oidc.issuer
        if host == "api.github.com":
            return "https://token.actions.githubusercontent.com"
        if host.startswith("api.") and host.endswith(".ghe.com"):
            return f"https://token.actions.{host.removeprefix('api.')}"
        return f"{urlsplit(self.url).scheme}://{host}/_services/token"

    @classmethod
    def signs_publicly(cls, host: str) -> bool:
        """See Server."""
        return host == "token.actions.githubusercontent.com" or (
            host.startswith("token.actions.") and host.endswith(".ghe.com")
        )

    def signs_at(self, address: str) -> bool:
        """See Server: a GitHub signs for an enterprise below a path of its own, and for nobody but jobs."""
        return host_of(address) == host_of(self.issuer).casefold()

    def clashes(self, places: Mapping[int, Place]) -> Iterator[str]:
        """See Server: one host has one address and one set of certificates, else its credentials would be used at two places."""
        seen = {host_of(self.url): (self.url, self.ca_file, _KIND)}
        for index, place in places.items():
            if not isinstance(place, RepositoryPlace) or place.url is None:
                continue
            path = f"[{index}].approval.{place.kind}"
            url, ca_file, first = seen.setdefault(
                host_of(place.url), (place.url, place.ca_file, f"gates{path}")
            )
            if place.url != url:
                yield f"{path}.url: found {place.url}; expected {url}, as in {first}.url for the same host"
            if place.ca_file not in {ca_file, None if first == _KIND else ca_file}:
                yield f"{path}.ca_file: is not the one of {first}.ca_file for the same host; expected the same"


class RepositoryPlace(Place):
    """A repository in which people approve, at the GitHub at the top or at another."""

    kind: ClassVar[str] = _KIND
    title: ClassVar[str] = _TITLE
    top: ClassVar[str] = _KIND
    asks_with: ClassVar[tuple[str, str]] = ("actions", "write")
    """The permission of an App's token with which most is asked there."""

    repository: Annotated[str, _REPOSITORY] = Field(description="the repository, as OWNER/NAME")
    repository_id: VendorId | None = Field(default=None, description="pins the repository's numeric id")
    owner_id: VendorId | None = Field(default=None, description="pins the owner's numeric id")
    url: Annotated[str, _ADDRESS] | None = Field(
        default=None, description="API address of another GitHub than the one at the top"
    )
    ca_file: Annotated[str, FILE] | None = Field(
        default=None, description="PEM file with the certificate authorities of that other GitHub"
    )

    def problems(self) -> Iterator[str]:
        """See Strict."""
        if self.ca_file is not None and self.url is None:
            yield "ca_file: stands without url; expected it in github: at the top of the file"

    @property
    def owner(self) -> str:
        """The repository's owner."""
        return self.repository.partition("/")[0]

    @property
    def name(self) -> str:
        """The repository's name, without its owner's."""
        return self.repository.partition("/")[2]

    @property
    def wanted_ids(self) -> dict[str, str]:
        """Pin -> number that the operator demands."""
        wanted = {"repository_id": self.repository_id, "owner_id": self.owner_id}
        return {name: str(number) for name, number in wanted.items() if number is not None}

    def provider(self, top: Server) -> str:
        """See Place."""
        return self.kind if self.url in {None, top.url} else f"{self.kind}:{host_of(self.url or '')}"

    def server(self, top: Server) -> Server:
        """See Place; an issuer that is given at the top is that of the top GitHub only."""
        if self.url in {None, top.url}:
            return top
        oidc = Oidc(audience=top.oidc.audience)
        return GitHubServer(url=self.url or "", ca_file=self.ca_file, oidc=oidc)

    def refused(self, login: str) -> str | None:
        """See Place."""
        return None if _PERSONS_LOGIN.fullmatch(login) else "a person's GitHub login such as octo-login"


def stored_repository(place: Place) -> dict[str, Any]:
    """What every place in a repository has, out of a request's row.

    Raises:
        InvalidNameError: one of its names is not of the form that GitHub takes.
    """
    words = place.words()
    return {
        "repository": checked(_REPOSITORY, words.get("repository", ""), "repository"),
        "repository_id": stored_id(words, "repository_id"),
        "owner_id": stored_id(words, "owner_id"),
    }


def stored_id(words: Mapping[str, str], name: str) -> int | None:
    """A pin out of a request's row, or raise InvalidNameError."""
    number = words.get(name)
    if number and not VENDOR_ID.fullmatch(number):
        raise InvalidNameError(f"{name} {number!r} is no number.")
    return int(number) if number else None


class GitHubPlace(RepositoryPlace):
    """Where in GitHub people approve, and what must not change about it."""

    workflow: Annotated[str, _WORKFLOW] = Field(
        default="champion-gate.yml", description="file name of the workflow in .github/workflows"
    )
    ref: Annotated[str, values.BRANCH] = Field(
        default="main", description="the branch whose workflow file is run"
    )
    environments: Annotated[tuple[Annotated[str, _ENVIRONMENT], ...], Listed(1, 10)] = Field(
        description="environments with required reviewers; each needs a review by a different person",
    )
    environment_ids: dict[str, VendorId] = Field(
        default_factory=dict, description="pins environments: name -> numeric id"
    )

    def problems(self) -> Iterator[str]:
        """See Strict."""
        for index, name in repeated(self.environments):
            yield f"environments[{index}]: found {name!r} a second time (GitHub ignores case); keep one"
        for name in self.environment_ids:
            if name not in self.environments:
                known = ", ".join(self.environments)
                yield f"environment_ids.{name}: is none of the environments {known}"
        yield from super().problems()

    @classmethod
    def of(cls, place: Place) -> GitHubPlace:
        """The place, read out of a request's row where it is not typed yet.

        Environments were once taken that are refused today; what was asked then is still read.

        Raises:
            InvalidNameError: one of its names is not of the form that GitHub takes.
        """
        if isinstance(place, cls):
            return place
        words, seats = place.words(), place.seats
        check_seats(seats, "environment")
        pinned = [name for name in words if name.startswith(_ENVIRONMENT_ID) and words[name]]
        return cls.model_construct(
            **stored_repository(place),
            workflow=checked(_WORKFLOW, words.get("workflow", "champion-gate.yml"), "workflow file"),
            ref=checked(values.BRANCH, words.get("ref", "main").removeprefix("refs/heads/"), "branch"),
            environments=seats,
            environment_ids={name.removeprefix(_ENVIRONMENT_ID): stored_id(words, name) for name in pinned},
        )

    @property
    def workflow_path(self) -> str:
        """The workflow file's path inside the repository."""
        return f".github/workflows/{self.workflow}"

    @property
    def seats(self) -> tuple[str, ...]:
        """See Place: the environments."""
        return self.environments

    @property
    def wanted_ids(self) -> dict[str, str]:
        """Pin -> number that the operator demands ("repository_id", "owner_id", "environment_id:<environment>")."""
        numbers = self.environment_ids.items()
        return super().wanted_ids | {f"{_ENVIRONMENT_ID}{name}": str(number) for name, number in numbers}

    def words(self) -> dict[str, str]:
        """See Place."""
        return {
            "repository": self.repository,
            "workflow": self.workflow,
            "ref": self.ref,
            **self.wanted_ids,
        }

    def explained(self, server: Server) -> Iterator[str]:
        """See Place."""
        seats = self.seats
        people = (
            f"A reviewer of the environment {seats[0]}"
            if len(seats) == 1
            else f"{len(seats)} different people, one reviewer of each of the environments {', '.join(seats)},"
        )
        pins = [
            f"id of environment {name.removeprefix(_ENVIRONMENT_ID)}"
            if name.startswith(_ENVIRONMENT_ID)
            else name.replace("_", " ")
            for name in self.wanted_ids
        ]
        pinned = f" (pinned: {', '.join(pins)})" if pins else ""
        must = "approves" if len(seats) == 1 else "approve"
        yield (
            f"{people} {must} it in the GitHub repository {self.repository}{pinned} at {server.url}, in a run "
            f"of the workflow {self.workflow} on {self.ref}."
        )
