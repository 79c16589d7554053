"""How pull requests of the GitHub stand-in are opened, reviewed, changed and merged, and what webhooks tell of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from champion_gate_standins.github import answers, history, merging, pull_answers
from champion_gate_standins.github.accounts import RefusedError, Team, User
from champion_gate_standins.github.branches import Branches
from champion_gate_standins.github.commits import Comment, Happening, Review
from champion_gate_standins.github.repositories import PullRequest, Repository
from champion_gate_standins.github.state import State
from champion_gate_standins.github.webhooks import Webhooks

STATES = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}
_LONGEST = {"title": 256, "body": 65_536}
_OWN = {"APPROVE": "approve", "REQUEST_CHANGES": "request changes on"}


def invalid(message: str, **where: str) -> RefusedError:
    """A refusal in the form of `validation-error`."""
    told = {"resource": "PullRequest", "code": "custom", "message": message, **where}
    return RefusedError(422, "Validation Failed", [told])


class Pulls:
    """Pull requests, over the state. Who may do what is the caller's to ask.

    Attributes:
        branches: through which all branches move.
    """

    def __init__(self, state: State, webhooks: Webhooks) -> None:
        self._state = state
        self._webhooks = webhooks
        self.branches = Branches(state, self._follow)

    # --- opening, closing, changing ----------------------------------------------------------------------------

    def open(
        self,
        repository: Repository,
        head: str,
        base: str,
        who: User,
        *,
        title: str,
        body: str = "",
        draft: bool = False,
        origin: Repository | None = None,
    ) -> PullRequest:
        """Open one of a branch of `origin`, by default of the repository itself; RefusedError 422 as GitHub has it."""
        _check_lengths(title=title, body=body)
        origin = origin or repository
        for name, branch, where in (("base", base, repository), ("head", head, origin)):
            if branch not in where.branches:
                raise invalid("", field=name, code="invalid")
        if draft and repository.private and repository.plan == "free":
            raise RefusedError(422, "Draft pull requests are not supported in this repository.")
        tip, base_tip = origin.branches[head], repository.branches[base]
        commits = history.ahead(repository, base_tip, tip)
        if not commits:
            raise invalid(f"No commits between {base} and {head}")
        if self._same(repository, origin, head, base):
            raise invalid(f"A pull request already exists for {origin.owner.login}:{head}.")
        now = self._state.clock()
        one = PullRequest(
            id=self._state.new_id(),
            number=len(repository.pulls) + 1,
            origin=origin,
            head=head,
            head_sha=tip,
            base=base,
            base_sha=base_tip,
            title=title,
            body=body,
            user=who,
            created_at=now,
            updated_at=now,
            draft=draft,
            timeline=[*commits],
        )
        repository.pulls.append(one)
        self._tell("opened", repository, one, who)
        return one

    def _same(self, repository: Repository, origin: Repository, head: str, base: str) -> bool:
        there = ((one.origin, one.head, one.base, one.state) for one in repository.pulls)
        return (origin, head, base, "open") in there

    def close(self, repository: Repository, pull: PullRequest, who: User) -> None:
        """Close it unmerged; of a closed one nothing changes."""
        if pull.state == "open":
            pull.state, pull.closed_at = "closed", self._state.clock()
            self._note(pull, "closed", who)
            self._tell("closed", repository, pull, who)

    def reopen(self, repository: Repository, pull: PullRequest, who: User) -> None:
        """Open a closed one again; RefusedError 422 where it was merged, or its branch is another one now."""
        if pull.state == "open":
            return
        if pull.merged_at is not None:
            raise invalid("state cannot be changed. The pull request was merged.", field="state")
        if pull.lost_head is not None:
            raise invalid(f"state cannot be changed. {pull.lost_head}", field="state")
        if self._same(repository, pull.origin, pull.head, pull.base):
            raise invalid(
                f"state cannot be changed. There is already an open pull request from {pull.head}.",
                field="state",
            )
        pull.state, pull.closed_at = "open", None
        self._note(pull, "reopened", who)
        self._tell("reopened", repository, pull, who)

    def edit(
        self,
        repository: Repository,
        pull: PullRequest,
        who: User,
        *,
        title: str | None = None,
        body: str | None = None,
        base: str | None = None,
    ) -> None:
        """Change what is not None; RefusedError 422 for a base that is no branch, or has the commits already."""
        _check_lengths(title=title or "", body=body or "")
        changes: dict[str, Any] = {}
        if base is not None and base != pull.base:
            if base not in repository.branches:
                raise invalid(f"Proposed base branch '{base}' was not found", field="base")
            if not history.ahead(repository, repository.branches[base], pull.head_sha):
                raise invalid(
                    f"There are no new commits between base branch '{base}' and head branch '{pull.head}'",
                    field="base",
                )
            changes["base"] = {"ref": {"from": pull.base}, "sha": {"from": pull.base_sha}}
            pull.base, pull.base_sha = base, repository.branches[base]
            self._note(pull, "base_ref_changed", who)
        if title is not None and title != pull.title:
            changes["title"] = {"from": pull.title}
            self._note(pull, "renamed", who, more={"rename": {"from": pull.title, "to": title}})
            pull.title = title
        if body is not None and body != pull.body:
            changes["body"] = {"from": pull.body}
            pull.body = body
        if changes:
            self._tell("edited", repository, pull, who, {"changes": changes})

    def request_reviews(
        self, repository: Repository, pull: PullRequest, people: Iterable[User | Team], who: User
    ) -> None:
        """Ask these for a review: all of them, or with RefusedError 422 none."""
        wanted = list(people)
        if pull.user in wanted:
            raise RefusedError(422, "Review cannot be requested from pull request author.")
        for one in wanted:
            if not (one in repository.roles if isinstance(one, Team) else is_collaborator(repository, one)):
                raise RefusedError(
                    422,
                    "Reviews may only be requested from collaborators. One or more of the users or teams you specified "
                    f"is not a collaborator of the {repository.full_name} repository.",
                )
        for one in wanted:
            if one not in pull.requested:
                pull.requested.append(one)
                base = self._state.base_url
                told = {"review_requester": answers.user(base, who)}
                if isinstance(one, Team):
                    told["requested_team"] = answers.team(base, one)
                else:
                    told["requested_reviewer"] = answers.user(base, one)
                self._note(pull, "review_requested", who, more=told)

    # --- reviews and comments ----------------------------------------------------------------------------------

    def review(
        self,
        repository: Repository,
        pull: PullRequest,
        who: User,
        verdict: str | None,
        *,
        body: str = "",
        commit_id: str | None = None,
    ) -> Review:
        """Review, with a key of STATES, or with None for one that is pending; RefusedError 422 as GitHub has it."""
        if verdict in _OWN and who is pull.user:
            raise RefusedError(
                422, "Unprocessable Entity", [f"Review Can not {_OWN[verdict]} your own pull request"]
            )
        if verdict in {"REQUEST_CHANGES", "COMMENT"} and not body:
            raise RefusedError(422, "Unprocessable Entity", ["Body can not be blank"])
        if any(one.state == "PENDING" and one.user is who for one in pull.reviews):
            raise RefusedError(
                422, "Unprocessable Entity", ["User can only have one pending review per pull request"]
            )
        sha = commit_id or pull.head_sha
        history.commit_of(repository, sha)
        made = Review(self._state.new_id(), who, "PENDING", body, sha, None)
        pull.reviews.append(made)
        if verdict is not None:
            self.submit(repository, pull, made, verdict)
        return made

    def submit(self, repository: Repository, pull: PullRequest, review: Review, verdict: str) -> None:
        """Say what a pending review says; it is bound to the commit that it was begun on."""
        review.state, review.submitted_at = STATES[verdict], self._state.clock()
        pull.requested = [one for one in pull.requested if one is not review.user]
        pull.updated_at = review.submitted_at
        pull.timeline.append(review)
        self._tell_review("submitted", repository, pull, review, review.user)

    def dismiss(
        self, repository: Repository, pull: PullRequest, review: Review, message: str, who: User
    ) -> None:
        """Void a review, which keeps its place; RefusedError 422 for one that says neither yes nor no."""
        if review.state not in {"APPROVED", "CHANGES_REQUESTED"}:
            raise RefusedError(
                422,
                "Unprocessable Entity",
                [f"Can not dismiss a {review.state.lower()} pull request review"],
            )
        told = {"state": review.state.lower(), "review_id": review.id, "dismissal_message": message}
        review.state = "DISMISSED"
        self._note(pull, "review_dismissed", who, more={"dismissed_review": told})
        self._tell_review("dismissed", repository, pull, review, who)

    def comment(self, pull: PullRequest, body: str, who: User) -> Comment:
        """Write a comment below it."""
        made = Comment(self._state.new_id(), who, body, self._state.clock())
        pull.timeline.append(made)
        pull.updated_at = made.at
        return made

    # --- merging -----------------------------------------------------------------------------------------------

    def merge(
        self,
        repository: Repository,
        pull: PullRequest,
        who: User,
        *,
        sha: str | None = None,
        method: str = "merge",
        message: str | None = None,
        bypass: bool = False,
    ) -> str:
        """Merge it and return the commit that the base branch got.

        Args:
            repository: whose pull request it is.
            pull: the pull request.
            who: merges.
            sha: what its head has to be.
            method: "merge", "squash" or "rebase".
            message: of the commit.
            bypass: as an administrator may, past the rules of the base branch.

        Raises:
            RefusedError: 405 where it cannot be merged, 409 where the head has moved.
        """
        if method not in repository.merge_methods:
            kind = "Merge commits" if method == "merge" else f"{method.capitalize()} merges"
            raise RefusedError(405, f"{kind} are not allowed on this repository.")
        if pull.state != "open" or pull.draft or not merging.is_mergeable(repository, pull):
            raise RefusedError(405, "Pull Request is not mergeable")
        if sha is not None and sha != pull.head_sha:
            raise RefusedError(409, "Head branch was modified. Review and try the merge again.")
        if not bypass and (problem := merging.broken_rule(repository, pull)):
            raise RefusedError(405, f"Repository rule violations found\n\n{problem}")
        tip = repository.branches[pull.base]
        files = merging.merged_files(repository, pull)
        parents = (tip, pull.head_sha) if method == "merge" else (tip,)
        said = message or (f"Merge pull request #{pull.number}" if method == "merge" else pull.title)
        made = history.write_commit(
            repository, parents, files, message=said, author=who, at=self._state.clock()
        )
        pull.base_sha = tip
        self._end_merged(repository, pull, made.sha, who)
        self.branches.move(repository, pull.base, made.sha, who)
        return made.sha

    def _end_merged(self, repository: Repository, pull: PullRequest, sha: str, who: User) -> None:
        now = self._state.clock()
        pull.state, pull.closed_at, pull.merged_at, pull.merged_by, pull.merge_sha = (
            "closed",
            now,
            now,
            who,
            sha,
        )
        self._note(pull, "merged", who, sha)
        self._note(pull, "closed", who)
        self._tell("closed", repository, pull, who)

    # --- what follows from branches ----------------------------------------------------------------------------

    def _follow(self, moved: Repository, branch: str, who: User, forced: bool) -> None:
        tip = moved.branches.get(branch)
        for repository in {id(one): one for one in self._state.repositories.values()}.values():
            for pull in repository.pulls:
                if (pull.origin, pull.head) == (moved, branch):
                    self._follow_head(repository, pull, tip, who, forced=forced)
                if (repository, pull.base, pull.state) == (moved, branch, "open"):
                    if tip is None:
                        self.close(repository, pull, who)
                    elif pull.head_sha in history.ancestry(repository, tip):
                        self._end_merged(repository, pull, tip, who)

    def _follow_head(
        self, repository: Repository, pull: PullRequest, tip: str | None, who: User, *, forced: bool
    ) -> None:
        if tip == pull.head_sha:
            pull.lost_head = None
        elif tip is None or forced or pull.lost_head:
            lost = "has been deleted" if tip is None else "was force-pushed or recreated"
            pull.lost_head = f"The {pull.head} branch {lost}."
        if pull.state != "open" or tip == pull.head_sha:
            return
        if tip is None:
            self._note(pull, "head_ref_deleted", who)
            self.close(repository, pull, who)
            return
        before, pull.head_sha, pull.lost_head = pull.head_sha, tip, None
        base = repository.branches[pull.base]
        commits = history.ahead(repository, base, tip)
        known = {id(one) for one in pull.timeline}
        if forced:
            self._note(pull, "head_ref_force_pushed", who, tip)
        pull.timeline += [one for one in commits if id(one) not in known]
        self._dismiss_stale(repository, pull, who)
        self._tell("synchronize", repository, pull, who, {"before": before, "after": tip})
        if not commits and forced:
            self.close(repository, pull, who)

    def _dismiss_stale(self, repository: Repository, pull: PullRequest, who: User) -> None:
        rule = repository.branch_rules.get(pull.base, {}).get("pull_request", {})
        for review in pull.reviews if rule.get("dismiss_stale_reviews_on_push") else ():
            if review.state == "APPROVED":
                self.dismiss(repository, pull, review, "The merge-base changed after approval.", who)

    # --- telling -----------------------------------------------------------------------------------------------

    def _note(
        self,
        pull: PullRequest,
        event: str,
        who: User,
        sha: str | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        now = self._state.clock()
        pull.updated_at = now
        pull.timeline.append(Happening(self._state.new_id(), event, who, now, sha, more or {}))

    def _tell(
        self,
        action: str,
        repository: Repository,
        pull: PullRequest,
        who: User,
        more: Mapping[str, object] | None = None,
    ) -> None:
        whole = pull_answers.full_pull_request(self._state.base_url, repository, pull)
        told = {"number": pull.number, "pull_request": whole, **(more or {})}
        self._webhooks.tell("pull_request", action, repository, who, told)

    def _tell_review(
        self, action: str, repository: Repository, pull: PullRequest, review: Review, who: User
    ) -> None:
        """Webhooks write the state in lower case, the API in upper case."""
        base = self._state.base_url
        shown = pull_answers.review(base, repository, pull, review) | {"state": review.state.lower()}
        simple = pull_answers.pull_request(base, repository, pull)
        told = {"review": shown, "pull_request": simple}
        self._webhooks.tell("pull_request_review", action, repository, who, told)


def _check_lengths(**texts: str) -> None:
    for name, text in texts.items():
        if len(text) > _LONGEST[name]:
            raise invalid(f"{name} is too long (maximum is {_LONGEST[name]} characters)", field=name)


def is_collaborator(repository: Repository, user: User) -> bool:
    """Whether the account was given anything here, by itself or by a team."""
    return any(who is user or (isinstance(who, Team) and user in who.members) for who in repository.roles)
