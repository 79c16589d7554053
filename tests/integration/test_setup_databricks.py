from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from champion_gate.settings.env_file import set_variables
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.principals import Principal
from integration.setup_world import MODEL, PASSWORD, SERVICE, SetupWorld, setup_world

NAME = "champion-gate gate.example.com"
SLACK = {"slack": {"url": "https://hooks.slack.com/x"}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SetupWorld]:
    with setup_world(tmp_path) as made:
        yield made


def _teams(world: SetupWorld, count: int, **settings: object) -> None:
    """Let another team have so many destinations at the job's success, and one at its failure."""
    ids = [world.databricks.destinations.add(f"team-{n}", SLACK) for n in range(count + 1)]
    job = world.databricks.jobs.job(world.job)
    assert job is not None
    told = {"on_success": [{"id": each} for each in ids[:-1]], "on_failure": [{"id": ids[-1]}]}
    job.more = {
        "webhook_notifications": told,
        "email_notifications": {"on_failure": ["a@example.com"]},
        **settings,
    }


def _principal() -> Principal:
    return Principal(SERVICE, ("ml-owners",), is_service=True)


def test_twice_changes_nothing_and_another_teams_two_destinations_stay(world: SetupWorld) -> None:
    _teams(world, 2)
    told = world.setup("--dry-run", "--grant")
    assert told.returncode == 0, told.stderr
    assert "+ posts to https://gate.example.com/hooks/databricks as databricks" in told.stdout
    assert f"+ {NAME} (2 of others stay)" in told.stdout
    assert world.writes() == []

    first = world.setup("--grant", "--yes")
    assert first.returncode == 0, first.stderr
    assert world.attached() == {"on_success": ["team-0", "team-1", NAME], "on_failure": ["team-2"]}
    job = world.databricks.jobs.job(world.job)
    assert job is not None
    assert job.more["email_notifications"] == {"on_failure": ["a@example.com"]}
    made = next(each for each in world.databricks.destinations.by_id.values() if each.display_name == NAME)
    assert made.webhook == {
        "url": "https://gate.example.com/hooks/databricks",
        "username": "databricks",
        "password": "the-first-password",
    }
    grants, service = world.databricks.grants, _principal()
    assert grants.reaches(service, MODEL)
    assert grants.holds(service, "EXECUTE", "FUNCTION", MODEL)
    assert world.databricks.catalog.owner(MODEL) == SERVICE
    assert grants.permitted(service, "jobs", world.job)
    assert grants.permitted(service, "experiments", "4711")
    assert grants.granted("FUNCTION", MODEL, "trainer@example.com") == {"CREATE_MODEL_VERSION", "EXECUTE"}

    before = world.writes()
    again = world.setup("--grant", "--yes")
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("Nothing has to change.\n")
    assert world.writes() == before
    assert "the-first-password" not in first.stdout + first.stderr + told.stdout + again.stdout


def test_without_grant_the_statements_are_told_and_nobody_loses_a_model_unasked(world: SetupWorld) -> None:
    told = world.setup()
    assert told.returncode == 0, told.stderr
    assert f"GRANT EXECUTE ON FUNCTION main.ml.churn TO `{SERVICE}`" in told.stdout
    assert "GRANT CREATE MODEL VERSION ON FUNCTION main.ml.churn TO `trainer@example.com`" in told.stdout
    assert f"databricks registered-models update {MODEL} --owner {SERVICE}" in told.stdout
    assert not any("permissions" in each or "models" in each for each in world.writes())

    refused = world.setup("--grant")  # nobody is there to be asked
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert world.databricks.catalog.owner(MODEL) == "trainer@example.com"
    assert not world.databricks.grants.reaches(_principal(), MODEL)


def test_a_group_that_owns_the_model_goes_on_owning_it(world: SetupWorld) -> None:
    world.databricks.catalog.add_model(MODEL, owner="ml-owners")
    world.databricks.grants.grant("CATALOG", "main", "ml-owners", "ALL_PRIVILEGES")
    done = world.setup("--grant")
    assert done.returncode == 0, done.stderr
    assert world.databricks.catalog.owner(MODEL) == "ml-owners"
    assert not world.databricks.grants.granted("FUNCTION", MODEL, SERVICE)


@pytest.mark.part("rest")
def test_a_group_that_may_hold_the_service_loses_nothing_and_a_named_one_gets_the_model(
    world: SetupWorld,
) -> None:
    world.databricks.catalog.add_model(MODEL, owner="secret-owners")
    unknown = ("--principal", "11111111-1111-1111-1111-111111111111", "--grant", "--yes")
    told = world.setup(*unknown)  # nobody knows this principal, nor its groups
    assert "whether 11111111-1111-1111-1111-111111111111 is in there is not shown" in told.stdout
    assert world.databricks.catalog.owner(MODEL) == "secret-owners"
    told = world.setup("--owner", "ml owners; ls")
    assert f"update {MODEL} --owner 'ml owners; ls'" in told.stdout
    assert world.setup("--grant", "--yes", "--owner", "ml-owners").returncode == 0
    assert world.databricks.catalog.owner(MODEL) == "ml-owners"


@pytest.mark.parametrize(
    ("settings", "owner"),
    [
        ({"deployment": {"kind": "BUNDLE"}, "edit_mode": "UI_LOCKED"}, "an asset bundle"),
        pytest.param({"tags": {"managed_by": "Terraform"}}, "Terraform", marks=pytest.mark.part("rest")),
        pytest.param(
            {"edit_mode": "UI_LOCKED"}, "something else than its page", marks=pytest.mark.part("rest")
        ),
    ],
)
def test_it_warns_where_something_else_deploys_the_job(
    world: SetupWorld, settings: dict[str, object], owner: str
) -> None:
    _teams(world, 0, **settings)
    done = world.setup("--principal", SERVICE)
    assert done.returncode == 0, done.stderr
    assert f"is deployed by {owner}, whose next deployment takes this away again" in done.stdout
    assert world.attached()["on_success"] == [NAME]


def test_a_job_with_three_destinations_is_left_and_that_is_said(world: SetupWorld) -> None:
    _teams(world, 3)
    done = world.setup()
    assert done.returncode == 0, done.stderr
    assert "has 3 destinations for on_success already, and Databricks takes no more" in done.stdout
    assert world.attached()["on_success"] == ["team-0", "team-1", "team-2"]


def test_a_destination_that_came_meanwhile_is_not_lost(world: SetupWorld) -> None:
    """Somebody attaches theirs between our look and our write."""
    made = world.databricks.destinations.add
    theirs = made("theirs", SLACK)

    def add(display_name: str, config: dict[str, dict[str, Any]]) -> str:
        job = world.databricks.jobs.job(world.job)
        assert job is not None
        job.more = {"webhook_notifications": {"on_success": [{"id": theirs}]}}
        return made(display_name, config)

    world.databricks.destinations.add = add  # type: ignore[method-assign]
    assert world.setup().returncode == 0
    assert world.attached() == {"on_success": ["theirs", NAME]}


def test_a_name_that_others_use_is_never_taken(world: SetupWorld) -> None:
    world.databricks.destinations.add(NAME, SLACK)
    refused = world.setup()
    assert refused.returncode == 1
    assert "is of type SLACK, and no webhook" in refused.stderr
    world.databricks.destinations.add(NAME, SLACK)
    assert "2 notification destinations bear the name" in world.setup().stderr
    assert world.writes() == []


def test_the_destination_of_another_installation_stays_as_it_is(world: SetupWorld) -> None:
    theirs = {"url": "https://other.example.com/hooks/databricks", "username": "x", "password": "theirs"}
    for name in ("champion-gate", "champion-gate other.example.com"):
        world.databricks.destinations.add(name, {"generic_webhook": dict(theirs)})
    assert world.setup().returncode == 0
    assert world.setup("--rotate").returncode == 0
    *others, ours = world.databricks.destinations.by_id.values()
    assert [each.webhook for each in others] == [theirs, theirs]
    assert ours.display_name == NAME
    assert world.attached()["on_success"] == [NAME]


def test_who_may_not_is_told_who_may(world: SetupWorld) -> None:
    person = world.databricks.add_principal("first.last@example.com")
    world.databricks.grants.guarded = False
    refused = world.setup(token=person)
    assert refused.returncode == 1
    assert "Only a workspace admin may" in refused.stderr
    assert world.attached() == {}


@pytest.mark.parametrize("what", ["token", pytest.param("host", marks=pytest.mark.part("rest"))])
def test_the_services_own_login_and_another_workspace_are_refused(world: SetupWorld, what: str) -> None:
    with serve(world.databricks.app) as elsewhere:
        world.environ = {"DATABRICKS_HOST": elsewhere} if what == "host" else {}
        refused = world.setup(token="standin-token" if what == "token" else None)
    assert refused.returncode == 2
    assert ("setup runs as you" if what == "token" else "and the service's workspace is") in refused.stderr
    assert world.writes() == []


def test_rotate_keeps_the_old_password_beside_the_new_one(world: SetupWorld) -> None:
    assert world.setup("--rotate").returncode == 1
    assert world.setup().returncode == 0
    done = world.setup("--rotate")
    assert done.returncode == 0, done.stderr
    new = world.variables[PASSWORD]
    assert len(new) == 64
    assert world.variables[f"{PASSWORD}_PREVIOUS"] == "the-first-password"
    (destination,) = world.databricks.destinations.by_id.values()
    assert destination.webhook["password"] == new
    assert destination.webhook["url"] == "https://gate.example.com/hooks/databricks"
    assert new not in done.stdout + done.stderr
    assert (world.folder / "champion-gate.env").stat().st_mode & 0o777 == 0o600


def test_after_a_rotation_that_broke_off_the_service_takes_what_databricks_sends_all_the_time(
    world: SetupWorld,
) -> None:
    fits = list[bool]()

    @world.databricks.app.before_request
    def look() -> None:
        taken = {world.variables[PASSWORD], world.variables.get(f"{PASSWORD}_PREVIOUS")}
        fits.extend(
            each.webhook["password"] in taken for each in world.databricks.destinations.by_id.values()
        )

    assert world.setup().returncode == 0
    written = {PASSWORD: "never-sent-to-databricks", f"{PASSWORD}_PREVIOUS": "the-first-password"}
    set_variables(world.folder / "champion-gate.env", written)
    assert world.setup("--rotate").returncode == 0
    assert fits
    assert all(fits)
    (destination,) = world.databricks.destinations.by_id.values()
    assert destination.webhook["password"] == world.variables[PASSWORD]


def test_a_rotation_that_is_refused_leaves_the_old_password_in_place(world: SetupWorld) -> None:
    assert world.setup().returncode == 0
    person = world.databricks.add_principal("first.last@example.com")
    refused = world.setup("--rotate", token=person)
    assert refused.returncode == 1
    assert world.variables[PASSWORD] == "the-first-password"
    assert not world.variables.get(f"{PASSWORD}_PREVIOUS")
