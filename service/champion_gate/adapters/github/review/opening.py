"""A request is a branch, one commit on it with the evidence, and a pull request: several calls, each found again by name.

Whatever became of an earlier call, `opened` looks at what is there and goes on with it: nobody is asked twice. Only
what holds exactly the evidence counts as ours, whoever made it; anything else in its place is refused.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from http import HTTPStatus

from champion_gate.adapters.ci_provider import in_titles
from champion_gate.adapters.github.models import github
from champion_gate.adapters.github.review.api import ReviewApi
from champion_gate.adapters.github.review.models import ListedPull, MadeFile, Pull
from champion_gate.adapters.github.review.place import ids_of
from champion_gate.domain import markdown
from champion_gate.domain.approval import FoundRequests, OpenedRequest
from champion_gate.domain.promotion import Promotion, bears, bears_promotion, parts_of
from champion_gate.domain.text import enumerated
from champion_gate.errors import (
    InvalidNameError,
    RequestGoneError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

_BRANCHES = "champion-gate/"
_MOST_REVIEWERS = 15
_BRANCH_ONLY = "branch-"
_ID = re.compile(r"([1-9][0-9]{0,18})-([1-9][0-9]{0,18})", re.ASCII)

_log = logging.getLogger(__name__)


def branch_of(promotion: Promotion) -> str:
    """The branch on which the promotion's evidence of now is shown."""
    return f"{_BRANCHES}{promotion.correlation_id}"


def external_id(pull: ListedPull) -> str:
    """What a request is known by: the repository's number too, as those of pull requests begin anew in each."""
    repository = github.told(pull.base.repo, "pull.base.repo").id
    return f"{repository}-{pull.number}"


def asked_for(pull: ListedPull) -> str:
    """What a pull request asks for, as titles say it, from its branch: titles may be changed by whoever may write."""
    here = pull.head.repo is not None and pull.head.repo == pull.base.repo
    return (
        f"[{pull.head.ref.removeprefix(_BRANCHES)}]" if here and pull.head.ref.startswith(_BRANCHES) else ""
    )


def number_of(external: str) -> str:
    """The pull request's number, or raise InvalidNameError."""
    found = _ID.fullmatch(external)
    if found is None:
        raise InvalidNameError(f"{external!r} is no pull request of ours.")
    return found[2]


# --- opening ------------------------------------------------------------------------------------------------


def opened(api: ReviewApi, promotion: Promotion, evidence: str) -> OpenedRequest:
    """Go on from wherever an earlier call came to, as far as an open pull request.

    Raises:
        VendorUnavailableError: with `outcome_unknown` once something may have been made, by somebody else perhaps.
    """
    branch = branch_of(promotion)
    head = api.head_of(branch)
    if head is None:
        head = _new_branch(api, branch)
    try:
        sha = _committed(api, promotion, head, evidence)
        pull = _pulled(api, promotion, branch, sha)
    except VendorError as error:
        # A part of it is there: it is gone on with, and shows the same evidence then.
        why = f"branch {branch} is there, and its pull request is not told: {error.message} {error.hint}".strip()
        after = error.retry_after if isinstance(error, VendorUnavailableError) else None
        raise VendorUnavailableError("GitHub", why, retry_after=after, outcome_unknown=True) from error
    _ask_reviewers(api, promotion, pull)
    return OpenedRequest(external_id(pull), pull.html_url, {"commit": sha})


def _new_branch(api: ReviewApi, branch: str) -> str:
    base = api.head_of(api.spot.base)
    if base is None:
        raise VendorRefusedError("GitHub", f"{api.spot.repository} has no branch {api.spot.base}.")
    made = api.make_branch(branch, base)
    if made.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return base
    head = api.head_of(branch)
    if head is None:
        raise made.error()
    return head


def _committed(api: ReviewApi, promotion: Promotion, head: str, content: str) -> str:
    """The one commit that shows the evidence; made where the branch is still base's."""
    branch, path = branch_of(promotion), path_of(api, promotion)
    shown = api.compared(api.spot.base, head)
    if shown.ahead_by:
        if not shown.shows(path, blob_sha(content)):
            raise VendorRefusedError("GitHub", _not_ours(api, branch))
        return head
    body = {
        "message": f"Ask for {promotion.alias} of {promotion.model} v{promotion.version.version} [{promotion.correlation_id}]",
        "content": base64.b64encode(content.encode()).decode(),
        "branch": branch,
    }
    made = api.put_file(path, body)
    if made.status == HTTPStatus.UNPROCESSABLE_ENTITY and (there := api.file_sha(path, branch)) is not None:
        # Somebody merged what was shown before for this promotion.
        made = api.put_file(path, {**body, "sha": there})
    if made.status in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
        raise made.error()
    return github.one(MadeFile, made.json(), "file").commit.sha


def _pulled(api: ReviewApi, promotion: Promotion, branch: str, sha: str) -> ListedPull:
    """The pull request of the branch, opened where there is none of ours."""
    there = _own_pulls(api, branch)
    if not there:
        answer = api.open_pull(
            {
                "title": f"Champion {in_titles(promotion.model)} v{promotion.version.version} [{promotion.correlation_id}]",
                "head": branch,
                "base": api.spot.base,
                "body": _body(api, promotion),
                "maintainer_can_modify": False,
            }
        )
        if answer.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            return github.one(Pull, answer.json(), "pull")
        there = _own_pulls(api, branch)
        if not there:
            raise answer.error()
    pull = there[0]
    if pull.head.sha != sha:
        raise VendorRefusedError("GitHub", _not_ours(api, branch))
    return pull


def _own_pulls(api: ReviewApi, branch: str) -> list[ListedPull]:
    """The pull requests that our own account opened from a branch of this repository itself, oldest first."""
    own, repository = api.own_account().user_id, api.repository().id
    found = [
        one
        for one in api.pulls_of(branch)
        if one.user is not None
        and one.user.id == own
        and one.head.repo is not None
        and one.head.repo.id == repository
    ]
    return sorted(found, key=lambda one: int(one.number))


def _not_ours(api: ReviewApi, branch: str) -> str:
    return (
        f"Branch {branch} of {api.spot.repository} holds something else than the evidence that champion-gate shows: somebody "
        "else made it. Find out who may write there, and delete it."
    )


def path_of(api: ReviewApi, promotion: Promotion) -> str:
    """The file that shows the evidence."""
    return f"{api.spot.path}/{promotion.id}.md"


def blob_sha(content: str) -> str:
    """The hash under which git keeps a file (git-scm.com, "Git Internals - Git Objects")."""
    data = content.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _body(api: ReviewApi, promotion: Promotion) -> str:
    spot, seats = api.spot, api.spot.wanted
    code, to = markdown.code, markdown.version(promotion.version.version)
    ends = "merges" if spot.merge else "closes"
    lines = [
        f"**Approving this pull request moves {code(promotion.alias)} of {code(promotion.model)} to {to}.**",
        "",
        f"The evidence is in *Files changed* (`{path_of(api, promotion)}`); its sha256 is {code(promotion.evidence_sha256)}.",
        "",
        "- To approve: *Files changed*, *Review changes*, *Approve*.",
        "- To reject: *Request changes*, or close this pull request. Either ends the request.",
        "- A comment decides nothing. Any further commit here voids the request.",
        "",
        "| approval | by one of |",
        "|---|---|",
    ]
    for seat, who in seats:
        names = [*(code(one.login) for one in who.people), *(f"team {code(slug)}" for slug in who.teams)]
        lines.append(f"| {code(seat)} | {enumerated(names)} |")
    lines += [
        "",
        "Each approval is by a different person, who may write to this repository and did not train the version.",
        "",
        f"Once the alias has moved, champion-gate {ends} this pull request itself. Promotion {code(promotion.id)}.",
    ]
    return "\n".join(lines)


def _ask_reviewers(api: ReviewApi, promotion: Promotion, pull: ListedPull) -> None:
    """Have GitHub tell them, as far as it does: nothing that is decided depends on it."""
    pins = promotion.request.pins if promotion.request else {}
    ids, barred = ids_of(pins, "people"), {each.user_id for each in promotion.excluded}
    people = [one.login for one in api.spot.people if ids.get(one.login.casefold()) not in barred]
    people = people[:_MOST_REVIEWERS]
    try:
        asked = api.ask_reviewers(pull.number, {"reviewers": people, "team_reviewers": list(api.spot.teams)})
        if asked.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            return
        # One who cannot be asked, or a plan that takes one reviewer only, spoils the whole call.
        for login in people:
            api.ask_reviewers(pull.number, {"reviewers": [login]})
        for slug in api.spot.teams:
            api.ask_reviewers(pull.number, {"team_reviewers": [slug]})
    except VendorError as error:
        _log.warning("reviewers of pull request %s are not requested: %s", pull.number, error)


# --- finding ------------------------------------------------------------------------------------------------


def found(api: ReviewApi, promotion: Promotion, evidence: str) -> FoundRequests:
    """The pull request that shows the promotion's evidence of now, and what shows earlier evidence of it."""
    branch = branch_of(promotion)
    ours, remarks = [], []
    for pull in _own_pulls(api, branch):
        shown = api.compared(pull.base.sha, pull.head.sha)
        if shown.shows(path_of(api, promotion), blob_sha(evidence)):
            ours.append(OpenedRequest(external_id(pull), pull.html_url, {"commit": pull.head.sha}))
        else:
            remarks.append(
                f"Pull request {pull.html_url} does not show the evidence. {_not_ours(api, branch)}"
            )
    return FoundRequests(tuple(ours), outdated(api, promotion), " ".join(remarks))


def outdated(api: ReviewApi, promotion: Promotion) -> tuple[str, ...]:
    """What we opened for the promotion with other evidence: ids for `withdraw`."""
    own = api.own_account().user_id
    pulls = [
        external_id(one)
        for one in api.listed_pulls("open")
        if one.user is not None
        and one.user.id == own
        and bears_promotion(asked_for(one), promotion)
        and not bears(asked_for(one), promotion)
    ]
    return (*pulls, *_branches(api, promotion, but=branch_of(promotion)))


def other_branches(api: ReviewApi, promotion: Promotion) -> tuple[str, ...]:
    """The branches that we made for the promotion without its request's own: ids for `withdraw`."""
    known = promotion.request is not None and promotion.request.external_id is not None
    return _branches(api, promotion, but=branch_of(promotion) if known else "")


def _branches(api: ReviewApi, promotion: Promotion, *, but: str) -> tuple[str, ...]:
    return tuple(
        f"{_BRANCH_ONLY}{name.removeprefix(_BRANCHES)}"
        for name in api.branches_like(f"{_BRANCHES}{promotion.id}-")
        if name != but and parts_of(name.removeprefix(_BRANCHES)) is not None
    )


def check_gone(api: ReviewApi, number: str, promotion: Promotion) -> None:
    """Raise RequestGoneError if the pull request is not there, nor in the list of those of its branch.

    Raises:
        VendorError: one of them cannot be read.
    """
    try:
        api.pull(number)
    except VendorNotFoundError:
        pins = promotion.request.pins if promotion.request else {}
        if api.repository().id == pins.get("repository_id") and not api.pulls_of(branch_of(promotion)):
            raise RequestGoneError(
                "GitHub", f"pull request {number} of {api.spot.repository} is gone, and not listed any more."
            ) from None


# --- ending -------------------------------------------------------------------------------------------------


def withdraw(api: ReviewApi, external: str) -> None:
    """Close what is open of a request of ours, and delete its branch; no error where that has been done."""
    if external.startswith(_BRANCH_ONLY):
        branch = f"{_BRANCHES}{external.removeprefix(_BRANCH_ONLY)}"
        if parts_of(external.removeprefix(_BRANCH_ONLY)) is None:
            raise InvalidNameError(f"{external!r} is no branch of ours.")
        for one in _own_pulls(api, branch):
            api.close_pull(one.number)
        api.delete_branch(branch)
        return
    pull = api.pull(number_of(external))
    if external_id(pull) != external:
        return  # its repository is gone, and another has its name
    if not is_own(api, pull):
        raise VendorRefusedError("GitHub", f"pull request {pull.html_url} was not opened by us.")
    if pull.state == "open":
        api.close_pull(pull.number)
    api.delete_branch(pull.head.ref)


def is_own(api: ReviewApi, pull: Pull) -> bool:
    """Whether our own account opened it from a branch of ours, in this repository."""
    own = pull.user is not None and pull.user.id == api.own_account().user_id
    here = pull.head.repo is not None and pull.head.repo == pull.base.repo
    return own and here and pull.head.ref.startswith(_BRANCHES)
