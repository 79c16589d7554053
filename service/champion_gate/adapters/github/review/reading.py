"""Reads what people said about a pull request: is it ours and unchanged, who reviewed our commit, who closed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from champion_gate.adapters.github.models import User, github
from champion_gate.adapters.github.place import repository_ids
from champion_gate.adapters.github.review import models
from champion_gate.adapters.github.review.api import ReviewApi
from champion_gate.adapters.github.review.opening import branch_of, is_own
from champion_gate.adapters.github.review.place import changes, ids_of, may_write
from champion_gate.adapters.github.review.settings import Approvers
from champion_gate.domain.approval import ApprovalRequest, RequestState, Review, Verdict
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.text import enumerated
from champion_gate.errors import UnsafeTargetError, VendorRefusedError

_VERDICTS = {"APPROVED": Verdict.APPROVED, "CHANGES_REQUESTED": Verdict.REJECTED}
_SAY_NOTHING = frozenset({"COMMENTED", "PENDING"})
_WITHDRAWN = "DISMISSED"
_MOST_UNLISTED = 5
"""So many who are not listed are shown by name: anybody who can read the repository may review there."""


def state_of(api: ReviewApi, number: str, promotion: Promotion, request: ApprovalRequest) -> RequestState:
    """Everything that decides.

    The reviews are read after the pull request, so that of one that was closed or merged the last word is read; who may
    write and who is in a team after the reviews, as things are then.
    """
    problems: list[str] = []
    pull, repository, own = api.together.outcomes(lambda: api.pull(number), api.repository, api.own_account)
    shown, now = pull(), {"bot_id": own().user_id, "base": api.spot.base}
    now |= repository_ids(api, repository, problems)
    pins = request.pins
    problems += changes(pins, now)
    if not is_own(api, shown) or shown.head.ref != branch_of(promotion):
        problems.append(f"Pull request {number} is none that we opened for this promotion.")
    listed = _Listed(api, pins, problems)
    voted = _latest(api.reviews(number), request.expires_at, problems)
    late = [one for one in voted if _is_late(one, request.expires_at)]
    in_time = [one for one in voted if one not in late]
    reviews = [review for one in in_time for review in _reviews_of(one, api, request, listed, problems)]
    remark = (
        f"Too late are the reviews of {enumerated([_named(one.user) for one in late[:_MOST_UNLISTED]])}."
        if late
        else ""
    )
    if shown.merged:
        remark = f"Pull request {number} was merged by {_named(shown.merged_by)}, without the approvals that are needed."
    elif shown.state != "open":
        closed = _closing(api, shown, listed)
        reviews += [closed] if isinstance(closed, Review) else []
        problems += [closed] if isinstance(closed, str) else []
    return RequestState(
        problems=tuple(problems),
        void=None,
        reviews=tuple(reviews),
        released_at={},
        finished=False,
        moved=_moved(api, shown, pins, now),
        by_review=True,
        remark=remark,
    )


def _moved(api: ReviewApi, shown: models.Pull, pins: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Why what people see there is not what they were asked about."""
    number, commit = shown.number, pins.get("commit")
    if shown.head.sha != commit:
        return f"Pull request {number} shows commit {shown.head.sha[:12]}, and people were asked about {(commit or 'none')[:12]}."
    if shown.commits != 1:
        return f"Pull request {number} has {shown.commits} commits, and was opened with one."
    if shown.base.ref != api.spot.base:
        return f"Pull request {number} goes into {shown.base.ref} now, and was opened into {api.spot.base}."
    if shown.base.repo is None or shown.base.repo.id != pins.get("repository_id"):
        return f"Pull request {number} belongs to another repository now."
    before, after = pins.get("owner_id"), now.get("owner_id")
    if now.get("repository_id") == pins.get("repository_id") and before != after:
        return f"{api.spot.repository} belonged to owner {before} when approval was asked for and belongs to {after} now."
    return None


def _is_late(one: models.Review, until: datetime) -> bool:
    return one.submitted_at is not None and one.submitted_at > until


def _latest(reviews: Iterable[models.Review], until: datetime, problems: list[str]) -> list[models.Review]:
    """Of each account the last word that is more than a comment, but for what was dismissed: that uncovers nothing.

    Who approved in time and does so once more after that has taken nothing back.
    """
    latest: dict[str, models.Review] = {}
    submitted = [one for one in reviews if one.state not in _SAY_NOTHING]
    for one in sorted(
        submitted, key=lambda one: (github.told(one.submitted_at, "submitted_at"), int(one.id))
    ):
        if one.state != _WITHDRAWN and one.state not in _VERDICTS:
            problems.append(f"GitHub names a review {one.state!r}, which is not known to be an approval.")
        if one.user is None:
            continue
        before = latest.get(one.user.id)
        again = before is not None and before.state == one.state == "APPROVED" and _is_late(one, until)
        if not again:
            latest[one.user.id] = one
    return [one for one in latest.values() if one.state in _VERDICTS]


def _reviews_of(
    one: models.Review,
    api: ReviewApi,
    request: ApprovalRequest,
    listed: _Listed,
    problems: list[str],
) -> Iterator[Review]:
    """A review, for each seat that its author may fill; once where that is none."""
    user = one.user
    if user is None:
        return
    if user.type is None:
        problems.append(f"GitHub does not tell whether {user.login}, who gave a review, is a person.")
    is_person = user.type == "User"
    seats = listed.seats_of(user) if is_person else []
    if not seats and not listed.shows_one_more():
        return
    verdict = _VERDICTS[one.state]
    lacks = ""
    if seats and verdict is Verdict.APPROVED:
        lacks = _lacks(one, user, api, request, problems)
    for seat in seats or request.seats[:1]:
        yield Review(
            seat=seat,
            verdict=verdict,
            user_id=user.id,
            login=user.login,
            comment=one.body,
            is_person=is_person,
            is_opener=user.id == request.pins.get("bot_id"),
            is_listed=bool(seats),
            lacks=lacks,
            at=one.submitted_at,
        )


def _lacks(
    one: models.Review, user: User, api: ReviewApi, request: ApprovalRequest, problems: list[str]
) -> str:
    """What keeps a listed person's approval from counting, in words that follow "who"."""
    if one.commit_id != request.pins.get("commit"):
        return "approved another commit"
    try:
        able = may_write(api, user.login, user.id)
    except (UnsafeTargetError, VendorRefusedError) as refused:
        problems.append(f"Whether {user.login} may write to {api.spot.repository} cannot be told: {refused}")
        return "may perhaps not write to the repository"
    return "" if able else "may not write to the repository"


def _closing(api: ReviewApi, shown: models.Pull, listed: _Listed) -> Review | str:
    """A pull request that was closed and not merged: the rejection of a listed person, or why it waits."""
    number = shown.number
    if shown.state != "closed":
        return f"GitHub says that pull request {number} is {shown.state!r}, which is not known."
    closings = [one for one in api.timeline(number) if one.event == "closed"]
    closer = closings[-1].actor if closings else None
    seats = listed.seats_of(closer) if closer is not None and closer.type == "User" else []
    if closer is None or not seats:
        return (
            f"Pull request {number} was closed by {_named(closer)}, who is none of those who may approve or reject. "
            f"Reopen it: {shown.html_url}"
        )
    return Review(
        seat=seats[0],
        verdict=Verdict.REJECTED,
        user_id=closer.id,
        login=closer.login,
        comment="closed the pull request",
        is_person=True,
        is_opener=False,
        is_listed=True,
        at=closings[-1].created_at,
    )


def _named(user: User | None) -> str:
    return "a deleted account" if user is None else user.login


@dataclass
class _Listed:
    """Which seats somebody may fill: by their account's number, or as a member of a team as it is now."""

    api: ReviewApi
    pins: Mapping[str, str]
    problems: list[str]
    _members: dict[str, frozenset[str]] = field(default_factory=dict)
    _strangers: int = 0

    def seats_of(self, user: User) -> list[str]:
        """The seats, as the request has them."""
        wanted: Sequence[tuple[str, Approvers]] = self.api.spot.wanted
        return [
            seat
            for seat, (_, who) in zip(self.api.spot.seats, wanted, strict=True)
            if self._is_named(who, user) or any(self._is_member(slug, user) for slug in who.teams)
        ]

    def shows_one_more(self) -> bool:
        """Whether one who is not listed is shown too."""
        self._strangers += 1
        return self._strangers <= _MOST_UNLISTED

    def _is_named(self, who: Approvers, user: User) -> bool:
        ids = ids_of(self.pins, "people")
        return user.id in {ids.get(one.login.casefold()) for one in who.people}

    def _is_member(self, slug: str, user: User) -> bool:
        if slug not in self._members:
            self._members[slug] = self._read(slug)
        return user.id in self._members[slug]

    def _read(self, slug: str) -> frozenset[str]:
        """The numbers of a team's members, if it is the team that bore this slug when approval was asked for."""
        try:
            if self.api.team(slug).id == ids_of(self.pins, "teams").get(slug.casefold()):
                return frozenset(one.id for one in self.api.team_members(slug))
            self.problems.append(f"Team {slug} is another team now than when approval was asked for.")
        except VendorRefusedError as refused:
            self.problems.append(f"Who is in the team {slug} cannot be read: {refused}")
        return frozenset()
