"""Who may or may not decide is an account, not a name: what logins stood for is remembered, over renamings."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from champion_gate.domain import policy
from champion_gate.domain.aliases import check_reason
from champion_gate.domain.approval import ExcludedPerson
from champion_gate.domain.callers import Caller
from champion_gate.domain.gates import Account, Gate
from champion_gate.domain.job_runs import LISTED_ROLE, Trainer
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.rows import RememberedLogin, TrainerAccount
from champion_gate.domain.together import Together
from champion_gate.errors import UnsafeTargetError, VendorNotFoundError
from champion_gate.store import Store

_log = logging.getLogger(__name__)

FindPerson = Callable[[], Person]
"""Resolves a login at the vendor; raises VendorNotFoundError where nobody has it."""


class AnotherAccountError(UnsafeTargetError):
    """A login belongs to another account than the one that it stood for, and nobody has said that this is right."""


@dataclass(frozen=True)
class Excluded:
    """The accounts of the people behind a version.

    Attributes:
        people: none of them may decide.
        accounts: casefolded trainer -> the ids for which `identities` stands today.
        problems: whole sentences, one for each login of which it cannot be told whose it is; while there is
            one nobody is asked.
    """

    people: tuple[ExcludedPerson, ...]
    accounts: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]

    def without_accounts(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of these trainers for whom nobody is excluded."""
        excluded = {policy.folded_name(person.name) for person in self.people}
        return tuple(name for name in names if policy.folded_name(name) not in excluded)


class Identities:
    """Remembers the accounts of logins, and takes operators' orders about them."""

    def __init__(self, store: Store, clock: Clock, together: Together | None = None) -> None:
        """No call is made; None takes threads of its own to look people up."""
        self._store = store
        self._clock = clock
        self._together = together or Together()

    # --- which account ----------------------------------------------------------------------------------------

    def account(self, provider: str, named: Account, find: FindPerson) -> Person:
        """The account for which a login stands: the one that has it, if it is the one that had it before.

        Args:
            provider: key of the ApprovalProvider.
            named: the login, and the account's id where the operator has pinned it.
            find: asks the vendor who has the login.

        Raises:
            AnotherAccountError: somebody else has it now.
            VendorNotFoundError: nobody has it, and it is not known who had.
            VendorError: the vendor did not answer or refused.
        """
        now = self._clock.now()
        try:
            found = find()
        except VendorNotFoundError:
            if named.user_id is not None:
                pinned = Person(named.user_id, named.login)
                self._store.remember_login(provider, named.login, pinned, now)
                return pinned
            gone = self._store.remembered_login(provider, named.login)
            if gone is None:
                raise
            return Person(gone.user_id, gone.login)
        check_same(named, found, self._store.remember_login(provider, named.login, found, now))
        return found

    def excluded(self, gate: Gate, trainers: tuple[Trainer, ...], find: Callable[[str], Person]) -> Excluded:
        """Everybody who must not decide on a version, by all accounts that were ever theirs.

        Args:
            gate: its `identities` say who is who.
            trainers: everybody behind the version, none of them missing there.
            find: resolves a login at the gate's provider; raises VendorNotFoundError where nobody has it.

        Raises:
            UnsafeTargetError: our credentials do not let us ask.
            VendorError: the vendor did not answer or refused.
        """
        people: dict[tuple[str, str], ExcludedPerson] = {}
        accounts = _nobodies(gate, trainers)
        problems: list[str] = []
        identified = policy.identify(gate, trainers).logins
        logins = list(dict.fromkeys(named.login for _, named in identified))
        found = dict(
            zip(logins, self._together.each_outcome([partial(find, each) for each in logins]), strict=True)
        )
        for trainer, named in identified:
            try:
                person = self._account_of(gate, trainer, named, found[named.login])
            except AnotherAccountError as error:
                problems.append(str(error))
                continue
            key = policy.folded_name(trainer.name)
            accounts[key].add(person.user_id)
            people[key, person.user_id] = _excluded(trainer, person.login, person.user_id)
        listed = policy.listed_trainer()
        remembered = {**_by_name(gate, trainers), policy.folded_name(listed.name): listed}
        for key, trainer in remembered.items():
            for earlier in self._store.trainer_accounts(gate.approval.provider, key, _alias(gate, key)):
                people.setdefault((key, earlier.user_id), _excluded(trainer, earlier.login, earlier.user_id))
        return Excluded(tuple(people.values()), _sorted(accounts), tuple(problems))

    def settings_are_those_of(self, promotion: Promotion, gate: Gate) -> bool:
        """Whether those may decide now who might when approval was asked for.

        A login may have been written otherwise since, if it is the same account's. Hashes of releases that
        took logins as they were written are believed while nobody else stands for a trainer.
        """
        identified = policy.identify(gate, promotion.trainers)
        if identified.missing:
            return False
        accounts = _nobodies(gate, promotion.trainers)
        for trainer, named in identified.logins:
            key = policy.folded_name(trainer.name)
            accounts[key].add(self._id_of(promotion, gate, key, named))
        if promotion.approval_sha256 == gate.approval_sha256(_sorted(accounts)):
            return True
        excluded = {person.user_id for person in promotion.excluded}
        same_people = set[str]().union(*accounts.values()) <= excluded
        return same_people and promotion.approval_sha256 == gate.approval_sha256()

    def _account_of(self, gate: Gate, trainer: Trainer, named: Account, find: FindPerson) -> Person:
        """Whose account it is that stands for a trainer, which is remembered as theirs, also if it is another now.

        Raises:
            AnotherAccountError: it cannot be told; the whole sentence.
        """
        provider, key, now = gate.approval.provider, policy.folded_name(trainer.name), self._clock.now()

        def noted(person: Person) -> Person:
            mine = TrainerAccount(provider, key, _alias(gate, key), person.login, person.user_id)
            self._store.remember_trainer_account(mine, now)
            return person

        try:
            return noted(self.account(provider, named, lambda: noted(find())))
        except VendorNotFoundError as error:
            raise AnotherAccountError(
                f"{_maps(gate, trainer, named)}, whom nobody knows there.",
                hint="Correct the login in gates.yaml.",
            ) from error
        except AnotherAccountError as error:
            raise AnotherAccountError(
                f"{error.message} {_maps(gate, trainer, named)}.", hint=error.hint
            ) from error

    def _id_of(self, promotion: Promotion, gate: Gate, key: str, named: Account) -> str:
        """The id for which a login stands today; one that is not remembered stands for what it stood for then."""
        if named.user_id is not None:
            return named.user_id
        remembered = self._store.remembered_login(gate.approval.provider, named.login)
        if remembered is not None:
            return remembered.user_id
        for person in promotion.excluded:
            then = policy.folded_name(person.name), person.login.casefold()
            if then == (key, named.login.casefold()):
                return person.user_id
        return f"login {named.login.casefold()}"

    # --- orders -----------------------------------------------------------------------------------------------

    def known(self) -> tuple[RememberedLogin, ...]:
        """Every login that is remembered, with the trainers' accounts that it was resolved to."""
        return self._store.remembered_logins()

    def accept(
        self, provider: str, login: str, *, caller: Caller, reason: str, user_id: str | None = None
    ) -> RememberedLogin:
        """Let a login stand for the account that has it now. The account that had it stays excluded.

        Args:
            provider: key of the ApprovalProvider.
            login: in any case.
            caller: who says so.
            reason: why.
            user_id: only if this account has it; None: whichever has.

        Raises:
            NotFoundError: the login is not remembered.
            ConflictError: it belongs to whom it belonged to, or not to the account that is named.
        """
        check_reason(reason)
        now = self._clock.now()

        def line(before: RememberedLogin) -> LedgerEntry:
            facts = {"order": "accepted", "former_id": before.user_id, "accepted_id": before.other_id}
            return _entry(before, facts, caller, reason, now)

        accepted = self._store.accept_login(provider, login, user_id, now, line)
        _log.info("%s of %s is account %s now, says %s", login, provider, accepted.user_id, caller.actor)
        return accepted

    def forget(self, provider: str, login: str, *, caller: Caller, reason: str) -> RememberedLogin:
        """Forget what a login stood for: it excludes nobody any more from what is asked from now on.

        One that gates.yaml still names is resolved anew with the next request.

        Returns:
            What was remembered.

        Raises:
            NotFoundError: it is not remembered.
        """
        check_reason(reason)

        def line(before: RememberedLogin) -> LedgerEntry:
            ids = sorted({before.user_id, *(each.user_id for each in before.accounts)})
            trainers = sorted({each.trainer for each in before.accounts})
            facts = {"order": "forgotten", "forgotten_ids": ids, "trainers": trainers}
            return _entry(before, facts, caller, reason, self._clock.now())

        forgotten = self._store.forget_login(provider, login, line)
        _log.info("%s of %s is forgotten, says %s", login, provider, caller.actor)
        return forgotten


def _by_name(gate: Gate, trainers: tuple[Trainer, ...]) -> dict[str, Trainer]:
    """Those who must not decide, by their folded names; of those behind the version nobody where the gate lets them."""
    named = [trainer for trainer, _ in policy.identify(gate, trainers).logins]
    found: dict[str, Trainer] = {}
    for trainer in (*(() if gate.allow_trainer_approval else trainers), *named):
        found.setdefault(policy.folded_name(trainer.name), trainer)
    return found


def _nobodies(gate: Gate, trainers: tuple[Trainer, ...]) -> dict[str, set[str]]:
    return {key: set() for key in _by_name(gate, trainers)}


def _maps(gate: Gate, trainer: Trainer, named: Account) -> str:
    """What gates.yaml says."""
    if trainer.role == LISTED_ROLE:
        return f"`trainers` of gate {gate.name} lists {named.login}"
    return f"`identities` of gate {gate.name} maps {trainer.name} to {named.login}"


def _sorted(accounts: Mapping[str, set[str]]) -> Mapping[str, tuple[str, ...]]:
    return {key: tuple(sorted(ids)) for key, ids in accounts.items()}


def _alias(gate: Gate, key: str) -> str:
    """A person is the same everywhere; who stands behind another name, the gates to an alias say for themselves.

    Not by the gate's name, which may be changed at any time.
    """
    return "" if "@" in key else f"{gate.destination}@{gate.alias}".casefold()


def _excluded(trainer: Trainer, login: str, user_id: str) -> ExcludedPerson:
    return ExcludedPerson(trainer.name or "", trainer.role, login, user_id)


def check_same(named: Account, found: Person, remembered: RememberedLogin | None) -> None:
    """Raise AnotherAccountError where the account that has a login is not the pinned one, or not that which had it before."""
    if named.user_id is not None:
        if named.user_id != found.user_id:
            raise _not_the_pinned(named, found)
    elif remembered is not None and remembered.user_id != found.user_id:
        raise _another_account(remembered, found)


def _another_account(remembered: RememberedLogin, found: Person) -> AnotherAccountError:
    login, provider = found.login, remembered.provider
    return AnotherAccountError(
        f"{login} is another account now than on {remembered.last_resolved_at:%Y-%m-%d} "
        f"({found.user_id}, and {remembered.user_id} then).",
        hint="Whoever had it may have renamed their account: find out, and write their login of today in "
        f"gates.yaml; or, if it is right: champion-gate identities accept {provider} {shlex.quote(login)} "
        f"--id {found.user_id} --reason WHY",
    )


def _not_the_pinned(named: Account, found: Person) -> AnotherAccountError:
    return AnotherAccountError(
        f"gates.yaml pins {named.login} to account {named.user_id}, and it is account {found.user_id}.",
        hint="Correct login or id in gates.yaml.",
    )


def _entry(
    login: RememberedLogin, facts: Mapping[str, object], caller: Caller, reason: str, at: datetime
) -> LedgerEntry:
    """A line about an account, which belongs to no model."""
    return LedgerEntry(
        kind=LedgerKind.IDENTITY,
        registry="",
        model="",
        alias="",
        actor=caller.actor,
        reason=reason,
        at=at,
        facts={
            **facts,
            "provider": login.provider,
            "login": login.login,
            "authenticated_by": caller.authenticated_by,
            "address": caller.address,
        },
    )
