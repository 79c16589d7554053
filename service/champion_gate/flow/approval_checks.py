"""What `champion-gate doctor` looks at where people approve, whichever CI/CD system that is: place, people, logins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import Account, Gate
from champion_gate.domain.ports.approval import ApprovalProvider, Person
from champion_gate.domain.rows import RememberedLogin
from champion_gate.domain.seats import filled
from champion_gate.domain.text import enumerated, one_line
from champion_gate.domain.together import Together
from champion_gate.errors import UnsafeTargetError, VendorNotFoundError
from champion_gate.flow.doctor import concerns_all
from champion_gate.flow.identities import AnotherAccountError, check_same

Remembered = Callable[[str, str], RememberedLogin | None]
"""(key of the provider, login) -> the account that it was found to be before; None where it is not known."""

PLACE = Check(
    "approval.place",
    "what guards an approval, as it is looked at before anybody is asked",
    "While it is not so, nobody is asked.",
)
PEOPLE = Check(
    "approval.people",
    "enough people may approve who did not train the version",
    "A request that nobody may approve waits until it expires.",
)
IDENTITIES = Check(
    "approval.identities",
    "each login in `identities` and `trainers` is the account that it is meant to be",
    "Who trained a version must not approve it: it has to be known which account is theirs.",
)
CHECKS = (PLACE, PEOPLE, IDENTITIES)


def checkups(
    gate: Gate, provider: ApprovalProvider, remembered: Remembered, together: Together
) -> Iterator[Checkup]:
    """The checks of where a gate's people approve; no call is made yet."""
    there = _There(gate, provider, remembered, together)
    yield Checkup(PLACE, there.place, gate.name)
    yield Checkup(IDENTITIES, there.identities, gate.name)


@dataclass(frozen=True)
class _There:
    gate: Gate
    provider: ApprovalProvider
    remembered: Remembered
    together: Together

    def place(self) -> Iterator[Finding]:
        """The place, and who may approve there, which can be told once it is in order."""
        try:
            pins = self.provider.check_place(self.gate.approval, self.gate.expires_after)
        except UnsafeTargetError as unsafe:
            if concerns_all(unsafe):
                raise
            for problem in unsafe.problems or (str(unsafe),):
                yield PLACE.fail(*_found_and_remedy(problem))
            return
        yield PLACE.ok(f"all is as it has to be; {pins.get('bot_login', 'our account')} asks")
        yield from self.people()

    def people(self) -> Iterator[Finding]:
        """Whether the seats can be filled by different people, without whom `trainers` lists, and without anybody's logins."""
        gate = self.gate
        options = self.provider.may_approve(gate.approval)
        accounts = {named: ids for named, ids in self._accounts().items() if isinstance(ids, Person)}
        listed = {accounts[named].user_id for named in gate.trainers if named in accounts}

        def places(never: set[str]) -> int:
            return len(filled([dict.fromkeys(ids - never) for ids in options]))

        wanted = len(options)
        ask = (
            f"Have more people who may approve {enumerated([one_line(seat) for seat in gate.approval.seats])}"
        )
        if places(listed) < wanted:
            yield PEOPLE.fail(
                f"without those whom `trainers` lists, {places(listed)} of {wanted} approvals can be given, each by another person.",
                f"{ask}, who train nothing.",
            )
            return
        alone = [
            name
            for name, named in gate.identities.items()
            if places(listed | {accounts[one].user_id for one in named if one in accounts}) < wanted
        ]
        if alone and not gate.allow_trainer_approval:
            yield PEOPLE.warning(
                f"a version that {enumerated([one_line(name) for name in alone])} trained could not be approved by "
                f"{wanted} other {'person' if wanted == 1 else 'people'}.",
                f"{ask}.",
            )
            return
        many = len(frozenset[str]().union(*options) - listed)
        yield PEOPLE.ok(f"{many} may approve; {wanted} {'has' if wanted == 1 else 'have'} to")

    def identities(self) -> Iterator[Finding]:
        accounts = self._accounts()
        for named, found in accounts.items():
            if isinstance(found, AnotherAccountError):
                yield IDENTITIES.fail(found.message, found.hint)
            elif isinstance(found, VendorNotFoundError) and (gone := self._was(named)):
                yield IDENTITIES.warning(
                    f"nobody has the login {named.login} of {self._written(named)} any more.",
                    f"Nothing, if they have left: account {gone} stays kept from approving. Else write their login of today.",
                )
            elif isinstance(found, VendorNotFoundError):
                yield IDENTITIES.fail(
                    f"{self._written(named)} names {named.login}: {found.message}",
                    f"Correct it in gates.yaml, under {self._written(named)} of gate {self.gate.name}.",
                )
            else:
                name = f", {one_line(found.name)}" if found.name else ""
                yield IDENTITIES.ok(f"{self._written(named)} is {found.login}{name} (id {found.user_id})")
        if not accounts:
            yield IDENTITIES.ok("gates.yaml names nobody")

    def _accounts(self) -> Mapping[Account, Person | AnotherAccountError | VendorNotFoundError]:
        """Whose each login is; any other error is raised."""
        gate = self.gate
        named = dict.fromkeys([*(one for each in gate.identities.values() for one in each), *gate.trainers])
        found = self.together.each([partial(self._account, one) for one in named])
        return dict(zip(named, found, strict=True))

    def _account(self, named: Account) -> Person | AnotherAccountError | VendorNotFoundError:
        approval = self.gate.approval
        try:
            found = self.provider.find_person(approval, named.login)
            check_same(named, found, self.remembered(approval.provider, named.login))
        except (AnotherAccountError, VendorNotFoundError) as error:
            return error
        return found

    def _was(self, named: Account) -> str | None:
        """The account that is known to have had a login."""
        before = self.remembered(self.gate.approval.provider, named.login)
        return named.user_id or (before.user_id if before else None)

    def _written(self, named: Account) -> str:
        """Where gates.yaml names it."""
        names = [name for name, known in self.gate.identities.items() if named in known]
        return f"identities.{one_line(names[0])}" if names else "trainers"


def _found_and_remedy(problem: str) -> tuple[str, str]:
    """A survey's sentences: what to do follows on what is so or, behind the place, is all there is to say."""
    found, _, remedy = problem.partition(". ")
    if remedy:
        return f"{found}.", remedy
    place, _, what = problem.partition(": ")
    return (
        (f"{place} is not as it has to be.", f"{what[0].upper()}{what[1:]}") if what else (problem, problem)
    )
