"""What `flow` asks of the outside, as Protocols. `bootstrap/vendors.py` picks who fulfils them.

Every call that leaves the process may raise `VendorUnavailableError` (retryable), `VendorRefusedError`
or `VendorNotFoundError` (final); only what is particular to a method is said there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from champion_gate.domain.approval import FoundRequests, News, OpenedRequest, RequestState
from champion_gate.domain.drift import AuditAnswer
from champion_gate.domain.findings import Check, Checkup
from champion_gate.domain.gates import Account, ApprovalTarget, Gate
from champion_gate.domain.job_runs import EndedRun, JobRun, OpenRun, TaskOutput
from champion_gate.domain.jobs import Job, RunState, StartedRun
from champion_gate.domain.json_body import Ignored
from champion_gate.domain.notices import Message
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.serving import Endpoint
from champion_gate.domain.steps import StepKind
from champion_gate.domain.vendors import Host, Place, Secrets, Server
from champion_gate.domain.versions import (
    LoggedModel,
    ModelVersion,
    TaggedVersion,
    TrainingRun,
    VersionDetails,
)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Now, aware, in UTC."""
        ...


class Chance(Protocol):
    """Where randomness comes from."""

    def token(self) -> str:
        """A fresh id of 16 characters `[a-z0-9]`, unguessable."""
        ...

    def fraction(self) -> float:
        """A number from 0 up to, not including, 1."""
        ...


class JobRuns(Protocol):
    """The Jobs API of the one workspace."""

    def workspace_id(self) -> str | None:
        """The workspace's own id; None where it does not tell."""
        ...

    def get_run(self, run_id: str, *, probably_of: str = "") -> JobRun:
        """Re-read a whole job run (not a task run) with all that hangs below it.

        Args:
            run_id: decimal string.
            probably_of: the id of the job of which it is said to be one, so that this job is read at the same time.
        """
        ...

    def task_outputs(self, run: JobRun) -> tuple[TaskOutput, ...]:
        """What the run's `tasks` say of the version they registered; tasks that say nothing are left out."""
        ...

    def list_ended_runs(self, job_id: str, since: datetime) -> tuple[EndedRun, ...]:
        """The job's ended runs that started at `since` or later, newest first."""
        ...

    def list_open_runs(self, job_id: str) -> tuple[OpenRun, ...]:
        """The job's runs that have not ended, newest first."""
        ...

    def jobs_named(self, name: str) -> tuple[str, ...]:
        """The ids of all jobs that bear exactly this name."""
        ...


class Jobs(Protocol):
    """Jobs of the one workspace that the gate starts. Ids are decimal strings."""

    def describe(self, job_id: str) -> Job:
        """A job as it is set now."""
        ...

    def principal(self) -> str:
        """As whom runs that we start are shown, asked for once; raises VendorUnavailableError where that is not told."""
        ...

    def start(self, job_id: str, parameters: Mapping[str, str], token: str) -> StartedRun:
        """Start a run, queued where the job is busy; one call that is never repeated here.

        Args:
            job_id: the job.
            parameters: the job parameters of this run; a value has at most 10,000 characters.
            token: at most 64 characters. A run that was started with it before is returned, and none is started:
                only with the same token is it safe to call again after an unknown outcome.

        Raises:
            InvalidInputError: parameters or token are not what Databricks takes.
            VendorUnavailableError: with `outcome_unknown` where it may have been started.
            VendorRefusedError: with `of_write`; also where the run of this token has been deleted.
        """
        ...

    def read(self, run_id: str, *, with_tasks: bool = True) -> RunState:
        """What has become of a run, with what its tasks left once it has ended, if that is wanted."""
        ...

    def cancel(self, run_id: str) -> None:
        """Ask for a run to be cancelled; it goes on for a while, and one that has ended stays as it is."""
        ...


class Serving(Protocol):
    """Serving endpoints of the one workspace. Names are checked before they enter a URL."""

    def read(self, name: str) -> Endpoint:
        """An endpoint as it is now."""
        ...

    def move(self, endpoint: Endpoint, model: str, version: str) -> Mapping[str, str]:
        """Begin to move all entities of a model to one version, keeping the rest of what was read.

        One update is carried out at most; it takes minutes, and replaces what others changed since `endpoint` was read.

        Returns:
            The names that the vendor did not let entities keep, each with the one that it bears now.

        Raises:
            ConflictError: the endpoint serves no version of this model, or two entities would bear one name.
            VendorUnavailableError: also while an update is under way; with `outcome_unknown` where it may have begun.
        """
        ...


class AuditLog(Protocol):
    """What the registry's platform records of who changed what; minutes late."""

    def ask(self, model: str, since: datetime, until: datetime) -> AuditAnswer:
        """Begin to look for the changes of a model's aliases and versions in that time.

        Raises:
            VendorRefusedError: also where we may not read it.
        """
        ...

    def read(self, statement_id: str) -> AuditAnswer:
        """What has become of that; raises as `ask`."""
        ...


class ModelRegistry(Protocol):
    """Unity Catalog, or an MLflow registry.

    Model names given here have been checked and, where the registry folds case, are lower-case.
    """

    @property
    def name(self) -> str:
        """Which registry: `databricks-uc`, or its URI without credentials."""
        ...

    @property
    def folds_case(self) -> bool:
        """Whether model names and aliases that differ only in case are the same."""
        ...

    @property
    def records_creators(self) -> bool:
        """Whether versions say who created them; where they should and one does not, nobody is excused."""
        ...

    @property
    def lists_tags(self) -> bool:
        """Whether `with_tag` costs one list; else it costs a call a version."""
        ...

    @property
    def listing_needs(self) -> str:
        """What may be missing where a model that can be read lists no version; a sentence for people."""
        ...

    def list_versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All versions, newest (highest number) first."""
        ...

    def get_version(self, model: str, version: str) -> ModelVersion:
        """One version.

        Raises:
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def get_details(self, version: ModelVersion, tags: Mapping[str, str] | None = None) -> VersionDetails:
        """The version, its tags, its MLflow run and its logged model, as they are now.

        Args:
            version: as it was read before.
            tags: its tags, where both have just been read, and need not be again.

        Raises:
            VendorNotFoundError: one of them is not there, or the number belongs to another version by now.
        """
        ...

    def get_training_run(self, run_id: str) -> TrainingRun:
        """One MLflow run.

        Raises:
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def find_training_runs(self, experiment_id: str, run_ids: Sequence[str]) -> Mapping[str, TrainingRun]:
        """Those of these MLflow runs that are in one experiment, in few calls; those that are left out may exist."""
        ...

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """One logged model (MLflow 3).

        Raises:
            InvalidNameError: it cannot be the id of one.
            VendorNotFoundError: there is none, or we may not see it.
        """
        ...

    def find_logged_models(self, experiment_id: str, model_ids: Sequence[str]) -> Mapping[str, LoggedModel]:
        """Those of these logged models that are in one experiment, in few calls; those that are left out may exist.

        What tells whose they are counts, not their numbers.
        """
        ...

    def with_tag(self, versions: Sequence[ModelVersion], key: str, value: str) -> tuple[ModelVersion, ...]:
        """Those of these versions of one model whose tag `key` is exactly `value`, in their order."""
        ...

    def get_alias(self, model: str, alias: str) -> str | None:
        """The version that holds the alias; None only after a successful read of the model itself."""
        ...

    def get_holder(self, model: str, alias: str, known: Sequence[ModelVersion] = ()) -> TaggedVersion | None:
        """The version that holds the alias; where it tells of none, only `get_alias` can say that none does.

        Args:
            model: the model.
            alias: the alias.
            known: versions as they were read before: one of these takes no further call to be told whole.
        """
        ...

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Put the alias on a version: one write, last writer wins, nothing read back."""
        ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Take the alias away; no error where there is none."""
        ...

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        """Write one tag of a version."""
        ...

    def copy_version(self, source: ModelVersion, model: str, tags: Mapping[str, str]) -> ModelVersion:
        """Make a version of another model out of this one: one write, which makes another one when it is repeated.

        Args:
            source: the version.
            model: which exists.
            tags: of the new version.

        Raises:
            VendorUnavailableError: with `outcome_unknown` where it may have been carried out.
            VendorRefusedError: also where this registry copies nothing by itself.
        """
        ...

    def check(self) -> None:
        """A cheap call that shows that the registry answers us."""
        ...

    def version_url(self, version: ModelVersion) -> str | None:
        """A page for people, where there is one. No call is made."""
        ...


@dataclass(frozen=True)
class Person:
    """Somebody with an account at the provider; the numeric id, as a string, decides who is who.

    Attributes:
        name: as they call themselves, for people; empty where it was not asked for.
    """

    user_id: str
    login: str
    name: str = field(default="", compare=False)


class Accounts(Protocol):
    """Which accounts logins stand for: a name that somebody else takes over does not make them the same."""

    def account(self, provider: str, named: Account, find: Callable[[], Person]) -> Person:
        """The account that has the login, if it is the one that had it before; one that is gone is whose it was.

        Raises:
            UnsafeTargetError: somebody else has it now.
            VendorNotFoundError: nobody has it, and it is not known who had.
        """
        ...


class NoticeSender(Protocol):
    """Where one notice is sent."""

    def send(self, message: Message, message_id: str) -> str:
        """Send a message once; the same id tells a receiver that it has it already.

        Returns:
            What is known of it then, as a sentence: some receivers say no more than that they took it.

        Raises:
            NeverTakenError: it is not taken, now or later, until a person changes something.
            VendorError: it was not taken, or nobody knows.
        """
        ...


class ApprovalProvider(Protocol):
    """A CI/CD system in which people approve."""

    @property
    def goes_on(self) -> bool:
        """Whether `open` goes on with what an earlier call began, so that a repeated one asks nobody twice."""
        ...

    def check_place(
        self, target: ApprovalTarget, expires_after: timedelta | None = None
    ) -> Mapping[str, str]:
        """Make sure that the place protects an approval, and return the pins to be stored with a request.

        The pins hold the ids (repository, owner, environments, reviewers, our own account, …) that must
        be the same when the decision is read.

        Args:
            target: the gate's approval settings.
            expires_after: how long people will have; a place that lets no job start by then is refused.

        Raises:
            UnsafeTargetError: it does not; the message says what to change and where.
        """
        ...

    def find_person(self, target: ApprovalTarget, login: str) -> Person:
        """Resolve a login.

        Raises:
            VendorNotFoundError: nobody has this login.
        """
        ...

    def may_approve(self, target: ApprovalTarget) -> Sequence[frozenset[str]]:
        """For each approval that is needed, the ids of the people who may give it, as things are now.

        Our own accounts are left out; who trained a version is not known here.

        Raises:
            UnsafeTargetError: the place protects too little for it to be told.
        """
        ...

    def open(self, target: ApprovalTarget, promotion: Promotion, evidence: str) -> OpenedRequest | None:
        """Ask for approval: one call that is never repeated here.

        Args:
            target: the gate's approval settings.
            promotion: with `request` set (the intent) and, in it, the correlation id.
            evidence: Markdown shown to the reviewer.

        Returns:
            The request, or None where the vendor took the call without telling an id: then `find` it.

        Raises:
            VendorUnavailableError: with `outcome_unknown` where it may have been carried out.
        """
        ...

    def find(self, target: ApprovalTarget, promotion: Promotion) -> FoundRequests:
        """Look for the requests that we opened for this promotion, whatever became of the calls."""
        ...

    def read(self, target: ApprovalTarget, promotion: Promotion) -> RequestState:
        """Re-read everything that decides, as the vendor's API has it now.

        Raises:
            RequestGoneError: it is not there, nor in the list of its kind, which can be read.
        """
        ...

    def duplicates(self, target: ApprovalTarget, promotion: Promotion) -> tuple[str, ...]:
        """Ids of other open requests of ours for this promotion; they are cancelled, never believed."""
        ...

    def cancel(self, target: ApprovalTarget, external_id: str) -> None:
        """Cancel a request at the vendor; no error where it has ended already.

        Raises:
            VendorNotFoundError: it is gone, or hidden from us; one answer does not tell which.
        """
        ...

    def steps(self, target: ApprovalTarget) -> frozenset[StepKind]:
        """What a request here has besides; the next three methods are called for these alone.

        STATUS while it waits and at its end, COMMENT at its end; and once the alias has moved MERGE, or CANCEL_REQUEST
        where it does not end by itself.
        """
        ...

    def show_status(self, target: ApprovalTarget, promotion: Promotion, words: str) -> None:
        """Show in short how the promotion stands, in place of what was shown before."""
        ...

    def comment(self, target: ApprovalTarget, promotion: Promotion, text: str) -> None:
        """Write under the request what became of it, once, however often this is called; Markdown."""
        ...

    def merge(self, target: ApprovalTarget, promotion: Promotion) -> str:
        """Keep what was approved where people find it later; say where. No error where that has been done.

        Raises:
            VendorUnavailableError: also while something is in its way that may pass.
            VendorRefusedError: something else is there than what was approved, or it is not let in.
        """
        ...

    def with_news(self, pending: Sequence[Promotion], targets: Mapping[str, ApprovalTarget]) -> News:
        """Which promotions with a request here are worth reading again, and what else waits; `targets` are by gate.

        One list a place, not one call a promotion. Promotions of which the list says nothing count as news.
        """
        ...

    def check(self) -> None:
        """A cheap call that shows that the provider answers us and takes our credentials."""
        ...


@dataclass(frozen=True)
class EveryRequestAt:
    """A webhook that tells of a place, and not of which request there.

    Attributes:
        key, value: what the requests' `place` has, e.g. `repository` and `owner/name`, in any case.
    """

    key: str
    value: str


class ProviderHook(Protocol):
    """How a CI/CD system's webhooks are checked and read: at `/hooks/<kind of provider>`.

    `header` gives the value of a header, whatever its case, or an empty text.
    """

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        """Whether it carries one of the secrets that we share with the system; in constant time."""
        ...

    def delivery_id(self, header: Callable[[str], str]) -> str:
        """What the system calls this delivery, the same for every try of it; empty where it does not say."""
        ...

    def request_id(self, header: Callable[[str], str], body: bytes) -> str | EveryRequestAt | Ignored:
        """The vendor's id of the request that it tells about, or why it tells about none; raises nothing."""
        ...


class WakeUps(Protocol):
    """Tells workers that a row is due. May lose or repeat, and raises nothing: the rows are the truth."""

    def notification(self, notification_id: str) -> None:
        """Have `resolve` called."""
        ...

    def promotion(self, promotion_id: str) -> None:
        """Have `advance` called."""
        ...

    def step(self, step_id: str) -> None:
        """Have `carry_out` of a step called."""
        ...


@dataclass(frozen=True)
class Vendor:
    """A CI/CD system: the models of its keys and variables, and what makes its adapter out of them.

    Attributes:
        provider: makes the adapter of one host: (key of the provider, host, clock=, sleep=, accounts=,
            together=, timed=, public_url=).
        hook: how webhooks are checked; None without a secret that the vendor and we share.
        claims: the table of what the ID tokens of its jobs must say, if it has any.
        checks: the kinds of checks that `checkups` makes.
        checkups: what `champion-gate doctor` looks at: (the provider, its host, the gates that ask there, our public URL).
    """

    server: type[Server]
    place: type[Place]
    secrets: type[Secrets]
    provider: Callable[..., ApprovalProvider]
    hook: Callable[[Any, Clock], ProviderHook | None]
    claims: Callable[[], Any]
    checks: tuple[Check, ...] = ()
    checkups: Callable[[Any, Host, Sequence[Gate], str | None], Iterable[Checkup]] = lambda *_: ()

    @property
    def kind(self) -> str:
        """Its key in gates.yaml, such as `github`."""
        return self.place.kind
