"""What a CI/CD system brings along: its server, the place where people approve there, its secrets, and who makes its adapters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from champion_gate.domain.addresses import web_address
from champion_gate.domain.values import AUDIENCE, FILE, ISSUER, Strict
from champion_gate.errors import InvalidNameError

PREFIX = "CHAMPION_GATE_"
PRINTABLE = re.compile(r"[\x21-\x7e]+")
SHORTEST_SECRET = 16  # less can be guessed by trying
_LONGEST_SEAT = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Oidc(Strict):
    """`<vendor>.oidc:` whose ID tokens of gated jobs are taken."""

    issuer: Annotated[str, ISSUER] | None = Field(
        default=None,
        description="their claim iss, where it is not the one that follows from url",
    )
    audience: Annotated[str, AUDIENCE] = Field(
        default="champion-gate", description="their claim aud, as the CI/CD file asks for it"
    )


class Server(Strict):
    """`<vendor>:` at the top of gates.yaml: the server of all gates that name no other.

    Attributes:
        url: of its API or its pages, without a slash at the end.
        ca_file: PEM file with the certificate authorities to trust; None for the usual ones.
    """

    kind: ClassVar[str]
    title: ClassVar[str]

    url: str
    ca_file: Annotated[str, FILE] | None = Field(
        default=None, description="PEM file with the certificate authorities to trust, where they are private"
    )
    oidc: Oidc = Field(default_factory=Oidc, description="the ID tokens of its jobs")

    @property
    def issuer(self) -> str:
        """The claim `iss` of its jobs' tokens, letter by letter; their keys are found below this address."""
        raise NotImplementedError

    @classmethod
    def signs_publicly(cls, host: str) -> bool:
        """Whether an issuer on this host signs for the CI jobs of everybody, where no gate uses it too."""
        raise NotImplementedError

    def signs_at(self, address: str) -> bool:
        """Whether this issuer's address, in lower case, signs for this server's jobs."""
        return address == web_address(self.issuer).casefold()

    def clashes(self, places: Mapping[int, Place]) -> Iterator[str]:
        """What is wrong between the places that gates name and this server at the top.

        Args:
            places: by the index of the gate; the lines begin with it, such as `[0].approval`.
        """
        del places
        return iter(())


class Place(Strict):
    """`approval.<kind>:` where people approve, in the vendor's own keys.

    Attributes:
        kind: its key, such as `github`.
        top: the key of its server at the top of gates.yaml; empty where that is its own.
        starts_jobs: whether CI jobs wait for people there, and ask for the outcome with their ID tokens.
    """

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    top: ClassVar[str] = ""
    starts_jobs: ClassVar[bool] = True

    @classmethod
    def server_kind(cls) -> str:
        """The key of its server at the top of gates.yaml."""
        return cls.top or cls.kind

    @property
    def seats(self) -> tuple[str, ...]:
        """The approvals that are needed, each by a different person."""
        raise NotImplementedError

    def words(self) -> dict[str, str]:
        """As a request stores it, and as the gate's settings are hashed: no release may write it otherwise."""
        raise NotImplementedError

    def provider(self, top: Server) -> str:
        """Key of the ApprovalProvider, such as `github` or `github:<host[:port]>`."""
        del top
        return self.kind

    def server(self, top: Server) -> Server:
        """The server that it is at, which may be another than that at the top."""
        return top

    def refused(self, login: str) -> str | None:
        """What is expected in place of a login that nobody can have here; None where somebody can."""
        del login
        return None

    def explained(self, server: Server) -> Iterator[str]:
        """Who approves where, in sentences."""
        raise NotImplementedError


class StoredPlace(Place):
    """A place as a request's row holds it; its vendor's adapter reads it."""

    stored: dict[str, str]
    names: tuple[str, ...]

    @property
    def seats(self) -> tuple[str, ...]:
        """See Place."""
        return self.names

    def words(self) -> dict[str, str]:
        """See Place."""
        return dict(self.stored)


@dataclass(frozen=True)
class Host:
    """A server that gates ask for approval, and the credentials that are used there and nowhere else.

    Attributes:
        credentials: the vendor's own kind.
        previous: what to try where the current ones are refused, during a rotation.
        places: where gates ask there, in whatever kind of place: the credentials serve them all.
    """

    server: Server
    credentials: Any
    previous: Any = None
    places: Sequence[Place] = ()


class Secrets(BaseModel):
    """A vendor's variables, by their names without CHAMPION_GATE_ and in lower case; each may be a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def problems(self, *, used: bool) -> Iterator[str]:
        """One line for each secret that is missing, or that cannot be one.

        Args:
            used: whether a gate asks there, so that they are required.
        """
        raise NotImplementedError

    def hosts(
        self,
        servers: Mapping[str, Server],
        places: Sequence[Place],
        public_url: str | None,
        problems: list[str],
    ) -> Mapping[str, Host]:
        """Give each server its own credentials; one without any is a problem, never served with another's.

        Args:
            servers: those that gates use, by the key of the ApprovalProvider.
            places: where gates ask.
            public_url: our own address; None if it was not given.
            problems: takes one line for each problem.
        """
        raise NotImplementedError

    def text(self, name: str) -> str | None:
        """A secret, where it is given."""
        found: SecretStr | None = getattr(self, name)
        return None if found is None else found.get_secret_value()

    def texts(self, name: str) -> tuple[str, ...]:
        """A secret and the one before it, where they are given, each once."""
        found = (self.text(name), self.text(f"{name}_previous"))
        return tuple(dict.fromkeys(each for each in found if each is not None))


def kind_of(provider: str) -> str:
    """The kind of place that the key of an ApprovalProvider names."""
    return provider.partition(":")[0]


def check_seats(seats: Sequence[str], what: str) -> None:
    """Raise InvalidNameError unless seats that were stored can be told apart; more was asked of them when they were."""
    if not seats:
        raise InvalidNameError(f"There is no {what}: nobody would have to approve.")
    for seat in seats:
        if not seat.strip() or len(seat) > _LONGEST_SEAT or seat in {".", ".."} or not seat.isprintable():
            raise InvalidNameError(f"{seat!r} is no {what}.")
    if len({seat.casefold() for seat in seats}) < len(seats):
        raise InvalidNameError(f"The {what}s {', '.join(seats)} are not all different (in whatever case).")


def label(name: str) -> str:
    """The variable of a secret."""
    return f"{PREFIX}{name.upper()}"


def missing(name: str) -> str:
    """The line for a secret without which nothing goes."""
    return f"{label(name)}: is missing; expected it as a variable or as a file in {PREFIX}SECRETS_DIR"


def shared_secret_problems(name: str, text: str, *, in_header: bool = False) -> Iterator[str]:
    """Why a secret that somebody sends us, or signs with, cannot be one."""
    if len(text) < SHORTEST_SECRET:
        yield f"{label(name)}: found a text of {len(text)} characters (not shown); expected at least {SHORTEST_SECRET}"
    if in_header and not PRINTABLE.fullmatch(text):
        yield f"{label(name)}: found a text (not shown); expected what a header can hold, without white space"
    elif _CONTROL.search(text):
        yield f"{label(name)}: found a text (not shown); expected no control characters"
