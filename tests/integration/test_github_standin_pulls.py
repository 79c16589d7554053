"""The GitHub stand-in's pull requests are no kinder than GitHub's: every exchange is checked against its description."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests

from champion_gate_standins.github.accounts import RefusedError
from integration.github_standin_world import World, standin_world

NAME = "example/ml-evidence"
REPO = f"/repos/{NAME}"
BRANCH = "champion-gate/p1-0123456789ab"
WRITES = {"contents": "write", "pull_requests": "write", "statuses": "write"}
FILE = f"{REPO}/contents/promotions/p1.md"
TEXT = base64.b64encode(b"# Champion").decode()


class Pulls:
    """A private repository, and a bot that asks there for approval."""

    def __init__(self, world: World) -> None:
        self.world, self.people = world, world.github.people
        world.github.add_repository(NAME, private=True, workflow=None)
        self.token = world.github.add_token("gate-bot", WRITES)
        for login, role in (("ann", "write"), ("mia", "maintain"), ("tim", "triage"), ("rea", "read")):
            self.people.give(NAME, login, role)
        self.main = world.github.repository(NAME).branches["main"]

    def call(self, method: str, path: str, token: str = "", **options: Any) -> requests.Response:
        return self.world.call(method, path, token or self.token, **options)

    def json(self, path: str, **options: Any) -> Any:
        return self.call("GET", path, **options).json()

    def branch(self, name: str = BRANCH, sha: str = "") -> requests.Response:
        return self.call(
            "POST", f"{REPO}/git/refs", json={"ref": f"refs/heads/{name}", "sha": sha or self.main}
        )

    def write(self, branch: str = BRANCH, **more: str) -> requests.Response:
        return self.call("PUT", FILE, json={"message": "Ask", "content": TEXT, "branch": branch, **more})

    def ask(self, head: str = BRANCH, base: str = "main") -> requests.Response:
        return self.call(
            "POST", f"{REPO}/pulls", json={"title": "v2", "head": head, "base": base, "body": "Approve?"}
        )

    def asked(self) -> str:
        """The path of an open pull request."""
        assert [self.branch().status_code, self.write().status_code] == [201, 201]
        return f"{REPO}/pulls/{self.ask().json()['number']}"

    def happened(self) -> list[tuple[str, str | None]]:
        told = self.json(f"{REPO}/issues/1/timeline")
        return [(one["event"], (one.get("actor") or {}).get("login")) for one in told]


@pytest.fixture
def pulls() -> Iterator[Pulls]:
    with standin_world() as world:
        yield Pulls(world)
        assert world.checks is not None
        assert [line for line in world.checks.violations if "lists this operation" in line] == []


def problems(answer: requests.Response) -> str:
    return json.dumps(answer.json().get("errors"))


def test_branches_and_files_are_made_once(pulls: Pulls) -> None:
    ref = f"{REPO}/git/ref/heads/{BRANCH}"
    assert pulls.call("GET", ref).status_code == 404
    assert [pulls.branch().status_code, pulls.branch().status_code] == [201, 422]
    assert pulls.branch("other", "0" * 40).json()["message"] == "Object does not exist"
    made = pulls.write()
    commit = made.json()["commit"]
    assert made.status_code == 201
    assert [one["sha"] for one in commit["parents"]] == [pulls.main]
    assert pulls.json(ref)["object"]["sha"] == commit["sha"]
    assert pulls.write().status_code == 422
    assert pulls.write(sha="0" * 40).status_code == 409
    for at in (BRANCH, commit["sha"]):
        assert base64.b64decode(pulls.json(f"{FILE}?ref={at}")["content"]) == b"# Champion"
    assert pulls.call("GET", f"{FILE}?ref={pulls.main}").status_code == 404
    assert [one["path"] for one in pulls.json(f"{REPO}/contents/promotions?ref={BRANCH}")] == [
        "promotions/p1.md"
    ]
    begun = pulls.json(f"{REPO}/git/matching-refs/heads/champion-gate/p1-")
    assert [one["ref"] for one in begun] == [f"refs/heads/{BRANCH}"]
    pulls.people.push(NAME, "main", "ann")
    compared = pulls.json(f"{REPO}/compare/main...{BRANCH}")
    assert (compared["status"], compared["ahead_by"], compared["behind_by"]) == ("diverged", 1, 1)
    assert [(one["filename"], one["status"]) for one in compared["files"]] == [("promotions/p1.md", "added")]
    gone = f"{REPO}/git/refs/heads/{BRANCH}"
    assert [pulls.call("DELETE", gone).status_code for _ in range(2)] == [204, 422]


def test_a_pull_request_is_opened_once_and_found_by_its_branch(pulls: Pulls) -> None:
    pulls.branch()
    assert "No commits between main" in problems(pulls.ask())
    pulls.write()
    opened = pulls.ask()
    assert opened.status_code == 201
    assert f"A pull request already exists for example:{BRANCH}." in problems(pulls.ask())
    assert pulls.ask("nothing").status_code == 422
    one = pulls.json(f"{REPO}/pulls/1")
    assert (one["commits"], one["changed_files"], one["merged"]) == (1, 1, False)
    assert (one["user"]["type"], one["base"]["repo"]["private"]) == ("User", True)
    for number in range(3):
        pulls.branch(f"b{number}", one["head"]["sha"])
        pulls.ask(f"b{number}")
    pulls.people.close(NAME, 2, "tim")
    found = f"{REPO}/pulls?head=example:{BRANCH}&state=all"
    assert [each["number"] for each in pulls.json(found)] == [1]
    assert [each["number"] for each in pulls.json(f"{REPO}/pulls?head={BRANCH}")] == [4, 3, 1]
    assert [each["number"] for each in pulls.json(f"{REPO}/pulls?state=closed")] == [2]
    pulls.world.now += timedelta(minutes=1)
    pulls.people.comment(NAME, 1, "ann", "Looking.")
    by_update = f"{REPO}/pulls?state=all&sort=updated&direction=desc&per_page=2"
    first = pulls.call("GET", by_update)
    assert first.json()[0]["number"] == 1
    assert 'rel="next"' in first.headers["Link"]
    again = pulls.call("GET", by_update, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    pulls.people.comment(NAME, 2, "ann", "Why?")
    assert pulls.call("GET", by_update, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_reviews_are_listed_as_they_were_made_whoever_made_them(pulls: Pulls) -> None:
    here = pulls.asked()
    pulls.world.github.add_user("stranger")
    with pytest.raises(RefusedError, match="may not"):
        pulls.people.review(NAME, 1, "stranger")
    pulls.world.github.add_user("helper[bot]", "Bot")
    approved = pulls.people.review(NAME, 1, "rea")
    pulls.people.review(NAME, 1, "helper[bot]")
    pending = pulls.people.review(NAME, 1, "ann", None)
    pulls.people.review(NAME, 1, "mia", "REQUEST_CHANGES")
    pulls.people.review(NAME, 1, "rea", "COMMENT")
    old = pulls.json(here)["head"]["sha"]
    pulls.people.push(NAME, BRANCH, "ann")
    pulls.world.now += timedelta(seconds=1)
    pulls.people.submit(NAME, 1, pending, "APPROVE")
    pulls.people.dismiss(NAME, 1, approved, "ann")
    pulls.world.github.delete_user("mia")
    told = pulls.json(f"{here}/reviews")
    assert [(one["state"], (one["user"] or {}).get("login")) for one in told] == [
        ("DISMISSED", "rea"),
        ("APPROVED", "helper[bot]"),
        ("CHANGES_REQUESTED", None),
        ("COMMENTED", "rea"),
        ("APPROVED", "ann"),
    ]
    assert {one["commit_id"] for one in told} == {old}
    assert len(pulls.json(f"{here}/reviews?per_page=2&page=3")) == 1
    for review in (told[0], told[3]):
        answer = pulls.call("PUT", f"{here}/reviews/{review['id']}/dismissals", json={"message": "No"})
        assert answer.status_code == 422


def test_a_pending_review_is_shown_to_its_author_alone(pulls: Pulls) -> None:
    here = pulls.asked()
    mine = pulls.world.github.add_token("ann", WRITES)
    assert pulls.call("POST", f"{here}/reviews", mine, json={"body": "wait"}).json()["state"] == "PENDING"
    assert pulls.json(f"{here}/reviews") == []
    assert [one["state"] for one in pulls.json(f"{here}/reviews", token=mine)] == ["PENDING"]
    again = pulls.call("POST", f"{here}/reviews", mine, json={"event": "APPROVE"})
    assert "one pending review" in problems(again)


@pytest.mark.parametrize("event", ["APPROVE", "REQUEST_CHANGES"])
def test_nobody_reviews_their_own(pulls: Pulls, event: str) -> None:
    here = pulls.asked()
    answer = pulls.call("POST", f"{here}/reviews", json={"event": event, "body": "mine"})
    assert (answer.status_code, "your own pull request" in problems(answer)) == (422, True)
    said = pulls.call("POST", f"{here}/reviews", json={"event": "COMMENT", "body": "mine"})
    assert said.json()["state"] == "COMMENTED"


def test_reviewers_have_to_be_collaborators(pulls: Pulls) -> None:
    here = pulls.asked()
    team = pulls.world.github.add_team("example", "risk", ["rob"])
    pulls.world.github.add_user("stranger")

    def ask(**who: list[str]) -> requests.Response:
        return pulls.call("POST", f"{here}/requested_reviewers", json=who)

    for wrong in ("stranger", "nobody", "gate-bot"):
        assert ask(reviewers=["ann", wrong]).status_code == 422
    assert ask(team_reviewers=["risk"]).status_code == 422
    assert pulls.json(here)["requested_reviewers"] == []
    pulls.people.give(NAME, team, "read")
    asked = ask(reviewers=["ann"], team_reviewers=["risk"])
    assert asked.status_code == 201
    assert [one["slug"] for one in asked.json()["requested_teams"]] == ["risk"]
    pulls.people.review(NAME, 1, "ann")
    assert pulls.json(here)["requested_reviewers"] == []


def test_permissions_are_told_in_old_words_beside_the_role(pulls: Pulls) -> None:
    github = pulls.world.github
    team = github.add_team("example", "risk", ["rea"])
    github.add_user("stranger")
    github.add_user("helper[bot]", "Bot")
    github.repository(NAME).custom_roles["releaser"] = "write"
    pulls.people.give(NAME, "cat", "releaser")

    def told(login: str) -> tuple[str, str]:
        answer = pulls.json(f"{REPO}/collaborators/{login}/permission")
        return answer["permission"], answer["role_name"]

    assert told("mia") == ("write", "maintain")
    assert told("tim") == ("read", "triage")
    assert told("cat") == ("write", "releaser")
    assert told("stranger") == ("none", "none")
    pulls.people.give(NAME, team, "admin")
    assert told("rea") == ("admin", "admin")
    pulls.people.take_away(NAME, team)
    assert told("rea") == ("read", "read")
    pulls.people.set_private(NAME, private=False)
    assert told("stranger") == ("read", "read")
    for login in ("nobody", "helper[bot]"):
        assert pulls.call("GET", f"{REPO}/collaborators/{login}/permission").status_code == 404


def test_the_timeline_says_who_did_what(pulls: Pulls) -> None:
    here = pulls.asked()
    people = pulls.people
    people.make_branch(NAME, "elsewhere", "ann")
    with pytest.raises(RefusedError):
        people.close(NAME, 1, "rea")
    pulls.world.github.add_user("stale[bot]", "Bot")
    people.close(NAME, 1, "stale[bot]")
    people.reopen(NAME, 1, "ann")
    people.retarget(NAME, 1, "mia", "elsewhere")
    people.push(NAME, BRANCH, "ann")
    people.force_push(NAME, BRANCH, "mia")
    assert pulls.json(here)["commits"] == 2
    people.delete_branch(NAME, BRANCH, "ann")
    assert pulls.happened() == [
        ("committed", None),
        ("closed", "stale[bot]"),
        ("reopened", "ann"),
        ("base_ref_changed", "mia"),
        ("head_ref_force_pushed", "mia"),
        ("committed", None),
        ("head_ref_deleted", "ann"),
        ("closed", "ann"),
    ]
    reopened = pulls.call("PATCH", here, json={"state": "open"})
    assert (reopened.status_code, "has been deleted" in problems(reopened)) == (422, True)
    assert pulls.json(here)["head"]["ref"] == BRANCH


def test_a_merge_says_why_not(pulls: Pulls) -> None:
    here = pulls.asked()
    github, head = pulls.world.github, pulls.json(here)["head"]["sha"]

    def merge(**more: str) -> requests.Response:
        return pulls.call("PUT", f"{here}/merge", json={"sha": head, **more})

    pulls.people.push(NAME, "main", "ann", "promotions/p1.md", "Another")
    assert (merge().status_code, merge().json()["message"]) == (405, "Pull Request is not mergeable")
    pulls.people.push(NAME, "main", "ann", "promotions/p1.md", None)
    assert merge(sha="0" * 40).status_code == 409
    github.repository(NAME).merge_methods = ("squash",)
    assert merge().status_code == 405
    github.protect_branch(NAME)
    assert "approving review is required" in merge(merge_method="squash").json()["message"]
    pulls.people.review(NAME, 1, "rea")
    assert merge(merge_method="squash").status_code == 405
    pulls.people.review(NAME, 1, "ann")
    merged = merge(merge_method="squash")
    assert merged.json()["sha"] == pulls.json(f"{REPO}/git/ref/heads/main")["object"]["sha"]
    assert (merge(merge_method="squash").status_code, pulls.json(here)["merged_by"]["login"]) == (
        405,
        "gate-bot",
    )
    assert pulls.happened()[-2:] == [("merged", "gate-bot"), ("closed", "gate-bot")]
    assert pulls.call("PATCH", here, json={"state": "open"}).status_code == 422


def test_what_is_pushed_to_the_base_branch_counts_as_merged(pulls: Pulls) -> None:
    here = pulls.asked()
    pulls.people.reset_branch(NAME, "main", "mia", pulls.json(here)["head"]["sha"])
    one = pulls.json(here)
    assert (one["merged"], one["merged_by"]["login"], one["commits"]) == (True, "mia", 1)


def test_a_fork_may_have_a_branch_of_the_same_name(pulls: Pulls) -> None:
    pulls.asked()
    fork = pulls.people.fork(NAME, "rea")
    pulls.people.push(fork, BRANCH, "rea")
    number = pulls.people.open(NAME, "rea", f"rea:{BRANCH}")
    one = pulls.json(f"{REPO}/pulls/{number}")
    assert (one["head"]["ref"], one["head"]["repo"]["full_name"]) == (BRANCH, fork)
    assert [each["number"] for each in pulls.json(f"{REPO}/pulls?head=example:{BRANCH}")] == [1]


def test_comments_and_statuses_have_limits(pulls: Pulls) -> None:
    here = pulls.asked()
    head = pulls.json(here)["head"]["sha"]
    said = pulls.call("POST", f"{REPO}/issues/1/comments", json={"body": "Promoted."})
    assert (said.status_code, said.json()["user"]["login"]) == (201, "gate-bot")
    assert pulls.call("POST", f"{REPO}/issues/1/comments", json={"body": "x" * 65_537}).status_code == 422

    def mark(state: str, description: str, sha: str = head) -> int:
        told = {"state": state, "context": "champion-gate", "description": description}
        return pulls.call("POST", f"{REPO}/statuses/{sha}", json=told).status_code

    assert [mark("pending", "1 of 2"), mark("success", "2 of 2")] == [201, 201]
    assert [mark("pending", "x" * 141), mark("success", "", "0" * 40)] == [422, 422]
    told = pulls.json(f"{REPO}/commits/{head}/statuses")
    assert [one["state"] for one in told] == ["success", "pending"]


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/git/refs", "contents"),
        ("DELETE", f"/git/refs/heads/{BRANCH}", "contents"),
        ("PUT", "/contents/promotions/p1.md", "contents"),
        ("PUT", "/pulls/1/merge", "contents"),
        ("POST", "/pulls", "pull_requests"),
        ("PATCH", "/pulls/1", "pull_requests"),
        ("POST", "/pulls/1/requested_reviewers", "pull_requests"),
        ("POST", "/pulls/1/reviews", "pull_requests"),
        ("POST", "/issues/1/comments", "pull_requests"),
        ("POST", f"/statuses/{'0' * 40}", "statuses"),
    ],
)
def test_each_change_needs_its_permission(pulls: Pulls, method: str, path: str, needed: str) -> None:
    pulls.asked()
    for level in ("read", "write"):
        token = pulls.world.github.add_token(f"svc-{level}", WRITES | {needed: level})
        answer = pulls.call(method, REPO + path, token, json={})
        assert (answer.status_code == 403) == (level == "read")


def test_a_repository_that_has_moved_is_found_under_its_number(pulls: Pulls) -> None:
    here = pulls.asked()
    pulls.people.rename(NAME, "evidence")
    moved = pulls.call("GET", f"{here}?x=1")
    assert (moved.status_code, moved.headers["Location"][-12:]) == (301, "/pulls/1?x=1")
    assert pulls.call("POST", f"{here}/reviews", json={"event": "COMMENT", "body": "b"}).status_code == 307
    path = moved.headers["Location"].removeprefix(pulls.world.base)
    assert pulls.json(path)["base"]["repo"]["full_name"] == "example/evidence"
    pulls.people.transfer("example/evidence", "elsewhere")
    assert pulls.json(path)["base"]["repo"]["owner"]["login"] == "elsewhere"


def test_webhooks_tell_what_happened_in_lower_case(pulls: Pulls) -> None:
    hooks = pulls.world.github.webhooks
    hooks.url, hooks.lost = "http://127.0.0.1:9/hooks/github", True
    pulls.asked()
    pulls.people.dismiss(NAME, 1, pulls.people.review(NAME, 1, "ann"), "mia")
    pulls.people.push(NAME, BRANCH, "ann")
    pulls.people.edit(NAME, 1, "ann", title="v3")
    pulls.people.close(NAME, 1, "ann")
    pulls.people.reopen(NAME, 1, "ann")
    told = [(one.name, one.action) for one in hooks.deliveries]
    assert told == [
        ("pull_request", "opened"),
        ("pull_request_review", "submitted"),
        ("pull_request_review", "dismissed"),
        ("pull_request", "synchronize"),
        ("pull_request", "edited"),
        ("pull_request", "closed"),
        ("pull_request", "reopened"),
    ]
    bodies = [json.loads(one.body) for one in hooks.deliveries]
    assert [one["review"]["state"] for one in bodies[1:3]] == ["approved", "dismissed"]
    assert bodies[1]["sender"]["login"] == "ann"
    assert bodies[4]["changes"] == {"title": {"from": "v2"}}


def test_the_page_shows_the_file_and_takes_reviews(pulls: Pulls) -> None:
    pulls.asked()
    page = f"/{NAME}/pull/1"
    shown = pulls.call("GET", page).text
    assert "promotions/p1.md" in shown
    assert "<h3>Champion</h3>" in shown
    assert page in pulls.call("GET", f"/{NAME}/pulls").text

    def press(act: str, login: str = "ann", **more: Any) -> requests.Response:
        return pulls.call("POST", page, data={"act": act, "login": login, "comment": "hm"}, **more)

    assert press("APPROVE", headers={"Origin": "https://evil.example"}).status_code == 403
    assert press("close", "rea").status_code == 403
    assert [press(act).status_code for act in ("APPROVE", "REQUEST_CHANGES", "COMMENT", "close")] == [303] * 4
    told = [one["state"] for one in pulls.json(f"{REPO}/pulls/1/reviews")]
    assert told == ["APPROVED", "CHANGES_REQUESTED", "COMMENTED"]
    assert pulls.json(f"{REPO}/pulls/1")["state"] == "closed"
