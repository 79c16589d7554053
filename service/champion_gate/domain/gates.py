"""A gate: which jobs, which model, which alias, and who approves where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from champion_gate.domain.canonical import canonical, sha256_of


class VersionSource(StrEnum):
    """Where the model version of a job run is looked up; AUTO tries the first three in this order.

    TRUSTED_TAG believes a version's tag as it stands; only for registries that record no creators.
    """

    TASK_OUTPUT = "task_output"
    TAG = "tag"
    MLFLOW_RUN = "mlflow_run"
    AUTO = "auto"
    TRUSTED_TAG = "trusted_tag"


class Direction(StrEnum):
    """Which way a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"


class NewerVersion(StrEnum):
    """What happens to an open request when a newer version of the model asks for the same alias."""

    SUPERSEDE = "supersede"
    KEEP = "keep"


@dataclass(frozen=True)
class MetricRule:
    """How a candidate's metric is judged. All numbers are absolute, in the metric's own unit.

    Attributes:
        max_worse: how much worse than the Champion's value the candidate may be; None = any.
        at_least: lower bound, whatever the Champion has (higher is better).
        at_most: upper bound, whatever the Champion has (lower is better).
        dataset: the dataset whose number counts, "" for those that name none; needed where a version has
            different numbers on several.
    """

    name: str
    better: Direction
    max_worse: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Account:
    """Somebody's account at the provider, by its login.

    Attributes:
        user_id: the vendor's numeric id, where the operator has pinned it.
    """

    login: str
    user_id: str | None = None

    @classmethod
    def of(cls, text: str) -> Account:
        """The account that str() has made this text of; no vendor's login has a colon."""
        login, _, user_id = text.partition(":")
        return cls(login, user_id or None)

    def __str__(self) -> str:
        """Its login, and where it is pinned `:` and the id: for an ApprovalTarget's place."""
        return self.login if self.user_id is None else f"{self.login}:{self.user_id}"


@dataclass(frozen=True)
class ApprovalTarget:
    """Where people approve. Only the provider's adapter reads `place`.

    Attributes:
        provider: key of the ApprovalProvider: a kind, or a kind and a host.
        place: the vendor's own words for the spot, e.g. repository, workflow and ref.
        seats: the approvals that are needed, each by a different person.
    """

    provider: str
    place: Mapping[str, str]
    seats: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", MappingProxyType(dict(self.place)))

    def words(self) -> dict[str, str]:
        """The place as a request stores it, and as the gate's settings are hashed: no release may write it otherwise."""
        return dict(self.place)


@dataclass(frozen=True)
class Gate:
    """One entry of gates.yaml, checked and frozen.

    Attributes:
        job_ids: Databricks job ids as decimal strings.
        job_names: names of jobs; a name that several jobs bear is refused when it is met.
        identities: Databricks user or service principal -> accounts at the provider. An empty tuple says
            that nobody stands behind this name; allowed for names that are no person's e-mail address.
        trainers: accounts at the provider of people who train; they may not decide, whoever trained a version.
        expires_after: how long people may decide, from the opening of the request.
        apply_within: how long an approval waits to be applied, from when it was read or the last hold's release.
    """

    name: str
    job_ids: frozenset[str]
    job_names: frozenset[str]
    model: str
    alias: str
    approval: ApprovalTarget
    version: VersionSource = VersionSource.AUTO
    accept_success_with_failures: bool = False
    identities: Mapping[str, tuple[Account, ...]] = field(default_factory=dict)
    allow_trainer_approval: bool = False
    expires_after: timedelta = timedelta(days=14)
    apply_within: timedelta = timedelta(days=7)
    newer_version: NewerVersion = NewerVersion.SUPERSEDE
    metrics: tuple[MetricRule, ...] = ()
    trainers: tuple[Account, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "identities", MappingProxyType(dict(self.identities)))

    def approval_sha256(self, accounts: Mapping[str, Sequence[str]] | None = None) -> str:
        """Hash of all settings that say who may approve; an approval counts only while they stay.

        Args:
            accounts: trainer -> the ids of the accounts that stand for them; None hashes `identities` as they
                are written, as releases did that remembered no accounts.
        """
        settings = {
            "provider": self.approval.provider,
            "place": self.approval.words(),
            "seats": list(self.approval.seats),
            "identities": self._written_identities() if accounts is None else {"accounts": {**accounts}},
            "allow_trainer_approval": self.allow_trainer_approval,
            "expires_after": self.expires_after.total_seconds(),
        }
        if self.trainers and accounts is None:
            settings["trainers"] = sorted(map(str, self.trainers))
        return sha256_of(canonical(settings, spaced=True))

    def _written_identities(self) -> dict[str, list[object]]:
        return {
            name: [one.login if one.user_id is None else [one.login, one.user_id] for one in named]
            for name, named in self.identities.items()
        }
