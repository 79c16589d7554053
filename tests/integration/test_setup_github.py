"""`champion-gate setup github` against a GitHub that has nothing yet: the test plays the person at the browser."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from champion_gate.adapters.github.app import Account, needed, workflow_template
from champion_gate.bootstrap.person import given_to_service
from champion_gate.errors import (
    ConfigurationError,
    ConflictError,
    GateError,
    InvalidInputError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate.settings.env_file import read_env_file
from champion_gate.setup.changes import Plan, carry_out
from champion_gate.setup.github import GitHubSetup, Service, Tools
from champion_gate.setup.github_app import Registration
from champion_gate_standins.common.server import serve
from champion_gate_standins.github.app_pages import private_pem, public_pem
from champion_gate_standins.github.repositories import TEMPLATE_INPUTS
from champion_gate_standins.github.server import ADMINISTRATOR, GitHubStandIn
from contract.validating import ValidatingApp
from integration.commands import run_command
from integration.gate_reviews import OURS, PROMOTIONS
from integration.github_world import MovableClock, app_keys

pytestmark = pytest.mark.spread(2)

REPOSITORY = "example/ml-deploy"
HOOK = "https://gate.example.com/hooks/github"
FILE = ".github/workflows/champion-gate.yml"
ID, KEY, SECRET = (
    f"CHAMPION_GATE_GITHUB_{name}" for name in ("APP_CLIENT_ID", "APP_PRIVATE_KEY", "WEBHOOK_SECRET")
)


def form_of(page: str) -> tuple[str | None, dict[str, str]]:
    action = re.search(r'<form action="([^"]+)"', page)
    fields = re.findall(r'<input[^>]*name="([^"]+)" value="([^"]*)"', page)
    return unescape(action.group(1)) if action else None, {k: unescape(v) for k, v in fields}


@dataclass
class World:
    there: GitHubStandIn
    url: str
    folder: Path
    checks: ValidatingApp
    clock: MovableClock = field(default_factory=MovableClock)
    said: list[str] = field(default_factory=list)
    comes_back: Callable[[str], object] = lambda address: requests.get(address, timeout=5)
    permissions: Mapping[str, str] = field(default_factory=lambda: ADMINISTRATOR)
    installs: bool = True
    repository: str = REPOSITORY
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def env_file(self) -> Path:
        return self.folder / "champion-gate.env"

    def given(self) -> dict[str, str]:
        return read_env_file(self.env_file)

    def setup(self, ask: Callable[[str], str] | None = None) -> GitHubSetup:
        environment, gates = given_to_service(self.folder / "gates.yaml", self.env_file)
        secrets = environment.vendors["github"]
        token = self.there.add_token("octo-admin", self.permissions)
        tools = Tools(
            self.clock, lambda _: None, lambda: f"random-text-{next(self.numbers):04}", self.browse, ask
        )
        return GitHubSetup(Service(gates, secrets, environment.public_url, self.env_file), token, tools)  # type: ignore[arg-type]

    def run(self, *reviewers: str, dry_run: bool = False, yes: bool = False) -> list[str]:
        """Everything that the command says."""
        self.said.clear()
        setup = self.setup()
        self.carry_out(setup, *reviewers, dry_run=dry_run, yes=yes)
        return self.said

    def carry_out(
        self, setup: GitHubSetup, *reviewers: str, dry_run: bool = False, yes: bool = False
    ) -> None:
        plan = setup.plan(reviewers)
        carry_out(plan, dry_run=dry_run, agreed=lambda _: yes, say=self.browse)

    def browse(self, line: str) -> None:
        """Read what the command says and do what it asks for, as a person does with a browser."""
        self.said.append(line)
        if page := re.match(r"Open (http://127\.0\.0\.1:\d+/\S+) in a browser", line):
            self.comes_back(self.register(requests.get(page.group(1), timeout=5).text))
        if page := re.match(r"Open (\S+/installations/new) and install", line):
            chosen = {"repository": self.repository} if self.installs else {}
            assert requests.post(page.group(1), data=chosen, timeout=5).ok

    def register(self, page: str) -> str:
        """Where GitHub sends the browser that was given this page."""
        action, fields = form_of(page)
        assert action is not None
        shown = requests.post(action, data=fields, timeout=5)
        assert shown.ok, shown.text
        made = requests.post(action, data=form_of(shown.text)[1], timeout=5, allow_redirects=False)
        return made.headers["Location"]

    def seen(self) -> object:
        """All that could be changed at GitHub and in the file."""
        home = self.there.repository(REPOSITORY)
        places = [
            vars(one) | {"reviewers": [each.id for each in one.reviewers]}
            for one in home.environments.values()
        ]
        pulls = [(one.number, one.state, one.head) for one in home.pulls]
        apps = [(one.slug, one.repositories) for one in self.there.state.apps]
        hook = (self.there.webhooks.url, self.there.webhooks.secret)
        return places, dict(home.variables), dict(home.branches), pulls, apps, hook, self.env_file.read_text()


@contextmanager
def new_world(folder: Path) -> Iterator[World]:
    there = GitHubStandIn()
    there.add_repository(REPOSITORY, workflow=None)
    there.protect_branch(REPOSITORY)
    there.add_user("rita")
    there.add_team("example", "ml", ["tom"])
    there.app_pages.new_key = lambda: load_pem_private_key(app_keys()[0].encode(), None)  # type: ignore[assignment, return-value]
    checks = ValidatingApp(there.app.wsgi_app)
    there.app.wsgi_app = checks  # type: ignore[method-assign]
    with serve(there.app) as url:
        place = {"repository": REPOSITORY, "environments": ["champion"]}
        gate = {"name": "churn", "jobs": [1], "model": "main.ml.churn", "approval": {"github": place}}
        content = {"registry": "databricks-uc", "github": {"url": url}, "gates": [gate]}
        (folder / "gates.yaml").write_text(yaml.safe_dump(content))
        world = World(there, url, folder, checks)
        world.env_file.write_text(
            f"CHAMPION_GATE_PUBLIC_URL=https://gate.example.com\n{SECRET}=made-by-init-0000000\n"
        )
        world.env_file.chmod(0o600)
        there.state.clock = world.clock.now
        yield world
        assert checks.violations == []
    there.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path) as made:
        yield made


def test_from_nothing_to_a_place_where_people_can_approve_and_then_nothing_changes(world: World) -> None:
    before = world.seen()
    said = world.run("rita", "example/ml", dry_run=True)
    assert said[-1] == "Nothing was changed (--dry-run)."
    assert "  + reviewers: rita, team ml" in said
    assert world.seen() == before

    setup = world.setup()
    world.carry_out(setup, "rita", "example/ml")

    home = world.there.repository(REPOSITORY)
    place, app = home.environments["champion"], world.there.state.apps[0]
    assert [each.id for each in place.reviewers] == [
        world.there.add_user("rita"),
        world.there.state.team("example", "ml").id,
    ]
    assert (place.prevent_self_review, place.can_admins_bypass, place.branches) == (True, False, ("main",))
    assert home.variables == {"CHAMPION_GATE_URL": "https://gate.example.com"}
    assert (app.slug, app.owner.login, app.repositories) == ("champion-gate-example", "example", {REPOSITORY})
    assert app.permissions == {"actions": "write", "deployments": "read", "members": "read"}
    given = world.given()
    assert (world.there.webhooks.url, world.there.webhooks.secret) == (HOOK, given[SECRET])
    assert base64.b64decode(given[KEY]).decode() == app_keys()[0]
    assert given[ID] == app.client_id
    assert stat.S_IMODE(world.env_file.stat().st_mode) == 0o600
    assert not any("github_pat_" in path.read_text() for path in world.folder.iterdir())

    (left,) = setup.what_is_left()
    assert "no workflow" in left
    assert home.files[home.pulls[0].head][FILE].encode() == workflow_template()
    after = world.seen()
    said = world.run("rita", "example/ml")
    assert said == [
        f"note: {world.url}/{REPOSITORY}/pull/1 waits to be merged: before that nobody can be asked.",
        "Nothing has to change.",
    ]
    world.there.merge(REPOSITORY, 1)
    assert world.run() == ["Nothing has to change."]
    assert world.seen()[:1] == after[:1]  # type: ignore[index]
    assert list(world.setup().what_is_left()) == []


def test_reviews_from_an_empty_repository_to_a_place_where_people_can_approve(world: World) -> None:
    place = {"repository": PROMOTIONS, "base": "approved", "approvers": {"people": ["rita"], "teams": ["ml"]}}
    gates = yaml.safe_load((world.folder / "gates.yaml").read_text())
    gates["gates"][0]["approval"] = {"github_review": place}
    (world.folder / "gates.yaml").write_text(yaml.safe_dump(gates))
    with pytest.raises(VendorRefusedError, match="Make it, private and with a README"):
        world.run()
    world.there.add_repository(PROMOTIONS, private=True, workflow=None)
    world.repository = PROMOTIONS

    said = world.run()

    (app,) = world.there.state.apps
    assert app.permissions == OURS
    assert set(app.events) == {"pull_request", "pull_request_review"}
    assert app.repositories == {PROMOTIONS}
    assert world.given()[ID] == app.client_id
    home = world.there.repository(PROMOTIONS)
    assert home.branches["approved"] == home.branches["main"]
    assert any("rita has the permission none" in line for line in said), said
    del home.branches["approved"]
    assert "has no branch approved" in " ".join(world.setup().what_is_left())
    world.run()
    for each in ("rita", world.there.state.team("example", "ml")):
        world.there.people.give(PROMOTIONS, each, "write")
    assert world.run() == ["Nothing has to change."]
    assert list(world.setup().what_is_left()) == []

    world.there.people.push(PROMOTIONS, "main", "rita", ".github/workflows/ci.yml")
    app.events.remove("pull_request")
    said = world.run()
    assert any("has workflows" in line for line in said)
    assert any("does not send the events pull_request:" in line for line in said)


def test_a_code_serves_once_and_only_the_try_that_asked_for_it(world: World) -> None:
    answers: list[requests.Response] = []

    def come_back(address: str) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        bare = address.partition("?")[0]
        wrong = ({**query, "state": "guessed"}, {"code": query["code"]}, {**query, "code": "a/b"})
        answers.extend(requests.get(f"{bare}?{urlencode(each)}", timeout=5) for each in wrong)
        answers.append(requests.get(f"http://{urlsplit(address).netloc}/", timeout=5))
        answers.append(requests.get(address, timeout=5, headers={"Host": "gate.example.com"}))
        # Somebody else was faster: the code is used up.
        answers.append(requests.post(f"{world.url}/app-manifests/{query['code']}/conversions", timeout=5))
        answers.append(requests.get(address, timeout=5))

    world.comes_back = come_back
    before = world.env_file.read_text()
    with pytest.raises(VendorRefusedError, match="used before, or is too old") as refused:
        world.run("rita")
    assert [each.status_code for each in answers] == [400, 400, 400, 404, 404, 201, 200]
    assert f"{world.url}/organizations/example/settings/apps" in str(refused.value)
    assert world.env_file.read_text() == before
    assert len(world.there.state.apps) == 1


def test_over_ssh_the_address_is_pasted_and_its_state_compared(world: World) -> None:
    def paste(spoil: str) -> Callable[[str], str]:
        def ask(_: str) -> str:
            line = next(each for each in reversed(world.said) if each.startswith("data:"))
            assert len(line) < 2000  # what a line of the command line holds
            page = base64.b64decode(line.partition(",")[2]).decode()
            return world.register(page) + spoil

        return ask

    with pytest.raises(InvalidInputError, match="its state is another one"):
        world.carry_out(world.setup(paste("x")), "rita")
    assert KEY not in world.given()
    world.there.state.apps.clear()
    world.carry_out(world.setup(paste("")), "rita")
    assert world.there.state.apps[0].repositories == {REPOSITORY}


def test_nobody_comes_back_in_time(world: World) -> None:
    owner = Account(login="example", type="Organization")
    asked = needed(["github"], teams=False)
    one_try = Registration(world.url, owner, "https://gate.example.com", asked, chance=lambda: "chance")
    with pytest.raises(VendorUnavailableError, match="no browser came back"):
        one_try.code_by_browser(lambda _: None, seconds=0.01)


def test_others_reviewers_and_wait_timer_stay_and_waiting_requests_are_told(world: World) -> None:
    world.run("rita")
    world.there.merge(REPOSITORY, 1)
    place = world.there.protect_environment(
        REPOSITORY,
        "champion",
        ["rita", "tom"],
        can_admins_bypass=True,
        prevent_self_review=False,
        branch_policy=("main", "dev"),
        wait_timer=30,
    )
    inputs = dict.fromkeys(TEMPLATE_INPUTS, "x") | {"environments": '["champion"]', "promotion_id": "p-1"}
    run = world.there.dispatch(REPOSITORY, inputs, login="gate")
    world.there.add_user("ann")
    world.there.repository(REPOSITORY).variables["CHAMPION_GATE_URL"] = "https://other.example.com"
    before = world.seen()
    with pytest.raises(ConflictError, match="nobody has agreed to what the lines marked ! say"):
        world.run("ann")
    assert world.seen() == before
    shut_out, told, calls = [line for line in world.said if line.startswith("  ! ")]
    assert shut_out == "  ! from dev (branch) nobody can deploy to it any more"
    assert calls == "  ! the repository's runs call https://other.example.com no more"
    assert told.endswith(
        f"[p-1] waits for people, and may have to be asked for anew: {world.url}/{REPOSITORY}/actions/runs/{run.id}"
    )
    assert "  - branches: dev (branch), main (branch)" in world.said

    world.run("ann", yes=True)
    people = [world.there.add_user(name) for name in ("rita", "tom", "ann")]
    assert [each.id for each in place.reviewers] == people
    assert (place.wait_timer, place.branches, place.can_admins_bypass) == (30, ("main",), False)
    assert place.prevent_self_review
    assert world.run("ann") == ["Nothing has to change."]


@pytest.mark.part("rest")
def test_a_persons_app_is_made_in_their_own_settings(world: World) -> None:
    world.there.repository(REPOSITORY).owner.type = "User"
    world.there.app_pages.signed_in = "example"
    world.run("rita")
    assert ("POST", "/settings/apps/new") in world.there.faults.requests
    assert world.there.state.apps[0].repositories == {REPOSITORY}


@pytest.mark.part("rest")
def test_a_pull_request_brings_nothing_that_others_put_on_its_branch(world: World) -> None:
    world.run("rita")
    home = world.there.repository(REPOSITORY)
    (pull,) = home.pulls
    home.files[pull.head][FILE] = "changed meanwhile"
    world.run()
    assert home.files[pull.head][FILE].encode() == workflow_template()
    home.pulls.clear()
    with pytest.raises(ConflictError, match=f"a branch {pull.head} with commits of its own"):
        world.run()
    assert home.pulls == []


def test_an_older_server_is_told_all_but_the_bypass_and_a_person_the_rest(world: World) -> None:
    world.there.setup_api.takes_bypass = False
    world.there.protect_environment(REPOSITORY, "champion", ["rita"], branch_policy="protected")
    setup = world.setup()
    world.there.repository(REPOSITORY).environments["champion"].can_admins_bypass = True
    world.carry_out(setup)
    place = world.there.repository(REPOSITORY).environments["champion"]
    assert (place.branch_policy, place.can_admins_bypass) == ("protected", True)
    assert any("turn off `Allow administrators to bypass" in line for line in setup.what_is_left())


def test_an_app_that_is_there_is_kept_and_told_what_it_lacks(world: World) -> None:
    world.run("rita")
    app = world.there.state.apps[0]
    app.permissions = {"actions": "read", "contents": "write", "deployments": "read"}
    app.events.remove("workflow_job")
    world.there.webhooks.url = "https://old.example.com/hooks/github"
    page = f"{world.url}/organizations/example/settings/apps/champion-gate-example"
    said = "\n".join(world.run())
    assert len(world.there.state.apps) == 1
    for words in (
        f"actions is read, and has to be write: change it at {page}/permissions.",
        f"contents is write, and has to be none: change it at {page}/permissions.",
        f"it does not send the events workflow_job: subscribe to them at {page}/permissions.",
        f"its webhook goes to https://old.example.com/hooks/github, not to {HOOK}: change it at {page}.",
    ):
        assert words in said
    app.repositories = set()
    world.run()
    assert app.repositories == {REPOSITORY}


def test_secrets_are_rotated_through_their_twins(world: World) -> None:
    world.run("rita")
    before = world.given()
    for _ in range(2):
        old = world.given()[SECRET]
        plan = world.setup().plan_rotation(None, lambda: None)
        carry_out(plan, dry_run=True, agreed=lambda _: True, say=world.said.append)
        assert world.given()[SECRET] == world.there.webhooks.secret == old
        carry_out(plan, dry_run=False, agreed=lambda _: True, say=world.said.append)
        given = world.given()
        assert given[SECRET] == world.there.webhooks.secret != old
        assert given[f"{SECRET}_PREVIOUS"] == old
    # A rotation that breaks off between file and GitHub leaves a secret there that the service takes; another one mends it.
    world.there.faults.add("/app/hook/config$", method="PATCH", times=1)
    world.there.faults.add("/app/hook/config$", method="PATCH", times=3, status=503)
    for mended in (False, True):
        plan = world.setup().plan_rotation(None, lambda: None)
        with contextlib.nullcontext() if mended else pytest.raises(VendorUnavailableError):
            carry_out(plan, dry_run=False, agreed=lambda _: True, say=world.said.append)
        given = world.given()
        assert world.there.webhooks.secret == given[SECRET if mended else f"{SECRET}_PREVIOUS"]
    assert {name: before[name] for name in (ID, KEY)} == {name: given[name] for name in (ID, KEY)}


def test_a_new_key_is_taken_if_github_takes_it(world: World) -> None:
    world.run("rita")
    before = world.given()
    key = rsa.generate_private_key(65537, 2048)
    file = world.folder / "new.pem"
    file.write_text(private_pem(key))
    with pytest.raises(VendorRefusedError, match="could not be decoded"):
        world.setup().plan_rotation(file, lambda: None)
    assert world.given() == before

    world.there.state.apps[0].public_key = public_pem(key)
    carry_out(
        world.setup().plan_rotation(file, lambda: None),
        dry_run=False,
        agreed=lambda _: True,
        say=world.said.append,
    )
    assert world.given() == before | {
        KEY: base64.b64encode(file.read_bytes()).decode(),
        f"{KEY}_PREVIOUS": before[KEY],
    }
    assert world.setup().plan_rotation(file, lambda: None) == Plan()
    assert list(world.setup().plan_rotation(None, lambda: None).changes)


def for_another_account(world: World) -> None:
    register = world.register
    world.register = lambda page: register(page.replace("organizations/example/settings", "settings"))  # type: ignore[method-assign]


def unwritable(world: World) -> None:
    def come_back(address: str) -> None:
        world.env_file.unlink()
        requests.get(address, timeout=5)

    world.comes_back = come_back


def too_late(world: World) -> None:
    def come_back(address: str) -> None:
        world.clock.move(hours=1)
        requests.get(address, timeout=5)

    world.comes_back = come_back


WRONG: dict[str, tuple[Callable[[World], object], str, type[GateError], str]] = {
    "answer lost": (
        lambda world: world.there.faults.add("/conversions$", status=502, carry_out=True),
        "rita",
        VendorUnavailableError,
        "An App without its key may be left at",
    ),
    "another account": (for_another_account, "rita", VendorRefusedError, "and has to belong to example"),
    "no env file": (
        lambda world: world.env_file.rename(world.folder / "elsewhere.env"),
        "rita",
        ConfigurationError,
        "`champion-gate init` writes one",
    ),
    "file taken away": (
        unwritable,
        "rita",
        ConfigurationError,
        "cannot be read",
    ),
    "too late": (too_late, "rita", VendorRefusedError, "is too old"),
    "no address": (
        lambda world: world.env_file.write_text(""),
        "rita",
        ConfigurationError,
        "PUBLIC_URL: is missing",
    ),
    "no right": (
        lambda world: setattr(world, "permissions", {**ADMINISTRATOR, "administration": "read"}),
        "rita",
        VendorRefusedError,
        "not accessible by personal access token",
    ),
    "private": (
        lambda world: setattr(world.there.repository(REPOSITORY), "private", True),
        "rita",
        VendorRefusedError,
        "ensure the billing plan supports",
    ),
    "nobody": (lambda _: None, "nobody", GateError, "404"),
    "a bot": (lambda world: world.there.add_user("bot", "Bot"), "bot", InvalidInputError, "no person"),
    "other's team": (lambda _: None, "others/ml", InvalidInputError, "no team of example"),
    "not installed": (
        lambda world: setattr(world, "installs", False),
        "rita",
        VendorUnavailableError,
        "still not installed on example/ml-deploy",
    ),
}
QUICK = ("answer lost", "another account", "no right")


@pytest.mark.parametrize(
    "what", [pytest.param(each, marks=[] if each in QUICK else pytest.mark.part("rest")) for each in WRONG]
)
def test_what_goes_wrong_is_said_with_what_to_do(world: World, what: str) -> None:
    spoil, reviewer, error, words = WRONG[what]
    spoil(world)
    with pytest.raises(error, match=re.escape(words)):
        world.run(reviewer)
    assert len(world.there.repository(REPOSITORY).environments) == 0
    assert (what == "file taken away") is any(
        "was made, but its key could not be kept" in each for each in world.said
    )


def test_the_command_tells_and_changes_nothing_where_it_is_told_so(world: World) -> None:
    world.clock.now = lambda: datetime.now(UTC)  # type: ignore[method-assign]
    world.there.state.clock = world.clock.now
    environ = {"GH_TOKEN": world.there.add_token("octo-admin", ADMINISTRATOR)}
    before = world.seen()
    told = run_command(
        "setup", "github", "--dry-run", "--reviewer", "rita", environ=environ, folder=world.folder
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "+ actions: write" in told.stdout
    assert world.seen() == before
    world.run("rita")
    world.there.merge(REPOSITORY, 1)
    again = run_command("setup", "github", environ=environ, folder=world.folder)
    assert (again.returncode, again.stdout) == (0, "Nothing has to change.\n")
    service = {"GH_TOKEN": world.given()[SECRET]}
    refused = run_command("setup", "github", environ=service, folder=world.folder)
    assert (refused.returncode, "setup runs as you" in refused.stderr) == (2, True)
