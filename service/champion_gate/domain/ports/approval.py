"""What flow asks of CI/CD systems in which people approve, and `web` of their webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from champion_gate.domain.approval import FoundRequests, News, OpenedRequest, RequestState
from champion_gate.domain.findings import Check, Checkup
from champion_gate.domain.gates import Account, ApprovalTarget, Gate
from champion_gate.domain.json_body import Ignored
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import StepKind
from champion_gate.domain.vendors import Host, Place, Secrets, Server


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
            VendorRefusedError: with `of_write` where that was refused which asks people, and nothing read before it.
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


@dataclass(frozen=True)
class Vendor:
    """A CI/CD system: the models of its keys and variables, and what makes its adapter out of them.

    Attributes:
        provider: makes the adapter of one host: (key of the provider, host, clock=, sleep=, accounts=,
            together=, timed=, timeouts=, public_url=).
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
