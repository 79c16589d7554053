"""Which model version a job run made, and who is behind it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain.gates import ApprovalTarget, Gate, VersionSource
from champion_gate.domain.job_runs import JobRun, RunResult, TaskOutput, TaskRun, Trainer
from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.ports.workspace import JobRuns
from champion_gate.domain.versions import ModelVersion, TrainingRun, VersionStatus
from champion_gate.errors import GateError, VendorNotFoundError, VendorRefusedError, VendorUnavailableError
from champion_gate.flow.candidates import find_version
from champion_gate.flow.sought import Found, NotFound, Read, Sought
from champion_gate.flow.subjects import trainers_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = START + timedelta(hours=2)
MODEL = "main.ml.churn"
PRINCIPAL = "0f8fad5b-d9cb-469f-a165-70867728950e"
GATE = Gate(
    name="churn",
    jobs=(1,),
    model=MODEL,
    alias="Champion",
    approval=ApprovalTarget.stored("github", {}, ("champion",)),
)
RUN = JobRun(
    run_id="77",
    job_id="1",
    job_name="train",
    workspace_id="9",
    result=RunResult.SUCCEEDED,
    result_detail="SUCCESS",
    tasks=(TaskRun("701", "1", "fit", 1), TaskRun("801", "2", "child-fit", 0)),
    earlier_task_run_ids=frozenset({"700"}),
    trainers=(Trainer("job run creator", "ann@example.com"), Trainer("job run-as", PRINCIPAL)),
    start=START,
    end=END,
    latest_repair=None,
    url="https://x",
)


@dataclass
class World:
    """The far ends, in memory: what tasks say, versions, their tags, and MLflow runs."""

    outputs: Sequence[TaskOutput] = ()
    versions: list[ModelVersion] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    runs: dict[str, TrainingRun] = field(default_factory=dict)
    refused: dict[str, Exception] = field(default_factory=dict)
    folds_case: bool = True
    records_creators: bool = True
    lists_tags: bool = False
    read: list[str] = field(default_factory=list)
    job_runs: dict[str, JobRun] = field(default_factory=dict)
    tags_read: int = 0
    lists_of_tags: int = 0
    searches: int = 0
    search_refused: GateError | None = None

    def task_outputs(self, run: JobRun) -> Sequence[TaskOutput]:
        assert run.run_id == "77"
        return self.outputs

    def list_versions(self, model: str) -> tuple[ModelVersion, ...]:
        assert model == MODEL
        return tuple(sorted(self.versions, key=lambda each: -each.number))

    def get_version(self, model: str, version: str) -> ModelVersion:
        for each in self.list_versions(model):
            if each.version == version:
                return each
        raise VendorNotFoundError("Databricks", f"{model} v{version}\nnot found")

    def get_training_run(self, run_id: str) -> TrainingRun:
        self.read.append(run_id)
        if run_id in self.refused:
            raise self.refused[run_id]
        if run_id not in self.runs:
            raise VendorNotFoundError("Databricks", "no such run")
        return self.runs[run_id]

    def find_training_runs(self, experiment_id: str, run_ids: Sequence[str]) -> Mapping[str, TrainingRun]:
        self.searches += 1
        if self.search_refused is not None:
            raise self.search_refused
        return {
            each: run
            for each in run_ids
            if (run := self.runs.get(each)) and run.experiment_id == experiment_id
        }

    def with_tag(self, versions: Sequence[ModelVersion], key: str, value: str) -> tuple[ModelVersion, ...]:
        assert key == RUN_TAG == "champion_gate_job_run_id"
        self.tags_read += len(versions)
        self.lists_of_tags += 1
        return tuple(each for each in versions if self.tags.get(each.version) == value)

    def get_run(self, run_id: str, *, probably_of: str = "") -> JobRun:  # noqa: ARG002
        if run_id not in self.job_runs:
            raise VendorNotFoundError("Databricks", f"Run {run_id} does not exist.")
        return self.job_runs[run_id]

    def make(
        self,
        number: int,
        *,
        job: str | None = None,
        task_run: str | None = None,
        created_at: datetime | None = START + timedelta(hours=1),
        created_by: str | None = "ann@example.com",
        tagged: bool = False,
        workspace: str | None = None,
    ) -> ModelVersion:
        version = ModelVersion(
            MODEL,
            str(number),
            f"id{number}",
            f"run{number}",
            None,
            VersionStatus.READY,
            created_at,
            created_by,
            workspace,
        )
        self.versions.append(version)
        self.runs[f"run{number}"] = TrainingRun(f"run{number}", "ann", job, task_run, {}, {}, None, None)
        if tagged:
            self.tags[str(number)] = "77"
        return version


def find(world: World, source: VersionSource = VersionSource.AUTO, run: JobRun = RUN) -> Found | NotFound:
    gate = GATE.model_copy(update={"version": source})
    jobs, registry = cast("JobRuns", world), cast("ModelRegistry", world)
    return find_version(Sought(gate, run, (gate,), jobs, registry, END + timedelta(minutes=1)))


def found_it(found: Found | NotFound) -> tuple[ModelVersion, VersionSource]:
    assert isinstance(found, Found), found
    assert found.linked.marks
    return found.version, found.by


def reason(found: Found | NotFound) -> str:
    assert isinstance(found, NotFound)
    assert "\n" not in found.reason
    return found.reason


def says(version: str, model: str = MODEL, task_run: str = "701") -> TaskOutput:
    return TaskOutput(task_run, model, version)


# --- task output ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [VersionSource.AUTO, VersionSource.TASK_OUTPUT])
@pytest.mark.parametrize("model", [MODEL, "Main.ML.Churn"])
def test_a_task_says_which_version_it_made(source: VersionSource, model: str) -> None:
    world = World([says("3", model), says("3")])
    made = world.make(3, job="1", task_run="701")
    world.make(4, job="1", task_run="701", tagged=True)
    assert found_it(find(world, source)) == (made, VersionSource.TASK_OUTPUT)


def test_outside_unity_catalog_case_matters() -> None:
    world = World([says("3", "Main.ML.Churn")], folds_case=False)
    world.make(3, job="1", task_run="701")
    assert "but of Main.ML.Churn" in reason(find(world, VersionSource.TASK_OUTPUT))


def test_outputs_that_contradict_each_other_decide_nothing() -> None:
    world = World([says("10"), says("9")])
    world.make(10, job="1", task_run="701", tagged=True)
    assert "versions 9, 10 of main.ml.churn" in reason(find(world))


def test_an_output_about_another_model_says_nothing_about_this_one() -> None:
    world = World([says("9", "main.ml.other")])
    assert "main.ml.other" in reason(find(world, VersionSource.TASK_OUTPUT))
    made = world.make(3, job="1", task_run="701")
    assert found_it(find(world)) == (made, VersionSource.MLFLOW_RUN)


@pytest.mark.parametrize(
    ("model", "version"),
    [
        (MODEL, "latest"),
        (MODEL, "../9"),
        (MODEL, "03"),
        (MODEL, ""),
        ("churn", "3"),
        ("main.ml.churn/../x", "3"),
        ("main.ml.churn?x=\n", "3"),
    ],
)
def test_a_name_that_is_none_is_shown_and_not_passed_over(model: str, version: str) -> None:
    world = World([says(version, model)])
    world.make(3, job="1", task_run="701", tagged=True)
    assert "task run 701 cannot be used" in reason(find(world))


def test_a_version_that_is_named_and_not_there_is_shown() -> None:
    assert "version 3 of main.ml.churn, which is not there" in reason(find(World([says("3")])))


def test_what_may_work_later_is_not_taken_for_an_answer() -> None:
    world = World([says("3")])
    world.make(3)
    world.refused["run3"] = VendorUnavailableError("Databricks", "503")
    for source in VersionSource:
        world.records_creators = source is not VersionSource.TRUSTED_TAG
        world.tags = {"3": "77"}
        with pytest.raises(VendorUnavailableError):
            find(world, source)


# --- tag --------------------------------------------------------------------------------------------------


def test_a_tag_names_the_version() -> None:
    world = World()
    made = world.make(3, job="1", task_run="701", tagged=True)
    world.make(4, job="1", task_run="701")
    assert found_it(find(world)) == (made, VersionSource.TAG)
    assert found_it(find(world, VersionSource.TAG)) == (made, VersionSource.TAG)


def test_two_tagged_versions_decide_nothing() -> None:
    world = World()
    world.make(3, job="1", task_run="701", tagged=True)
    world.make(4, job="2", task_run="801", tagged=True)
    assert "v3, v4" in reason(find(world))


def test_after_a_repair_the_version_of_the_attempt_that_was_replaced_stands_back() -> None:
    world = World()
    world.make(3, job="1", task_run="700", tagged=True)
    made = world.make(4, job="1", task_run="701", tagged=True)
    assert found_it(find(world)) == (made, VersionSource.TAG)
    world.versions.remove(made)
    world.make(5, job="1", task_run="700", tagged=True)
    said = reason(find(world))
    for version in ("v3", "v5"):
        assert f"{version}: its MLflow run belongs to task run 700 of job 1, which a retry" in said


def test_no_tag_is_said() -> None:
    assert "champion_gate_job_run_id=77" in reason(find(World(), VersionSource.TAG))


# --- is it from this run? ---------------------------------------------------------------------------------

SOON = END + timedelta(minutes=10)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("source", [VersionSource.TAG, VersionSource.TASK_OUTPUT])
@pytest.mark.parametrize(
    ("job", "task_run", "created_at", "created_by", "linked"),
    [
        # made by one of the run's principals, and its MLflow run bears the job tags of the run's tasks
        ("1", "701", None, "ann@example.com", True),
        ("2", "801", None, PRINCIPAL, True),
        ("1", "700", None, "ann@example.com", False),  # an earlier attempt of this run
        ("1", "801", None, "ann@example.com", False),  # another job's task run
        ("3", "701", None, "ann@example.com", False),
        ("3", "700", None, "ann@example.com", False),
        (None, "701", None, "ann@example.com", False),
        ("1", None, None, "ann@example.com", False),
        ("1", "77", None, "ann@example.com", False),  # the job run's id is no task run's
        # made by anybody else, whatever else fits
        ("1", "701", END, "bob@example.com", False),
        ("1", "701", END, None, False),
        # no job tags: by who made it and when
        (None, None, START, "ann@example.com", True),
        ("", "", START, "ann@example.com", True),
        (None, None, SOON, "ANN@example.com ", True),
        ("3", "300", END, PRINCIPAL.upper(), False),  # made by another job's run, which cannot be read
        (None, None, START - SECOND, "ann@example.com", False),
        (None, None, SOON + SECOND, "ann@example.com", False),
        (None, None, END, "bob@example.com", False),
        (None, None, END, "", False),
        (None, None, END, " ", False),
        (None, None, END, None, False),
        (None, None, None, "ann@example.com", False),
    ],
)
def test_a_version_that_is_named_must_be_linked_to_the_run(
    *,
    source: VersionSource,
    job: str | None,
    task_run: str | None,
    created_at: datetime | None,
    created_by: str | None,
    linked: bool,
) -> None:
    world = World([says("3")])
    made = world.make(
        3, job=job, task_run=task_run, created_at=created_at, created_by=created_by, tagged=True
    )
    found = find(world, source)
    if linked:
        assert found_it(found) == (made, source)
    else:
        assert re.search("[Nn]othing shows (either )?that this run made (it|v3): ", reason(found))


def test_absent_names_and_times_link_nothing() -> None:
    world = World([says("3")])
    world.make(3, created_by="", created_at=END)
    unnamed = replace(RUN, trainers=(Trainer("job run creator", None), Trainer("job run-as", " ")))
    assert "nothing shows" in reason(find(world, run=unnamed))
    world = World([says("3")])
    world.make(3, created_by="ann@example.com", created_at=END)
    assert "nothing shows" in reason(find(world, run=replace(RUN, end=None)))
    assert "nothing shows" in reason(find(world, run=replace(RUN, start=None)))


def test_a_version_without_an_mlflow_run_is_linked_by_its_creator_or_not_at_all() -> None:
    for creator, linked in (("ann@example.com", True), ("bob@example.com", False)):
        world = World([says("3")])
        bare = replace(world.make(3, created_by=creator), run_id=None)
        world.versions = [bare]
        found = find(world)
        assert isinstance(found, Found) == linked
        assert world.read == []


def test_an_mlflow_run_that_cannot_be_read_is_named() -> None:
    world = World([says("3")])
    world.make(3, job="1", task_run="701")
    world.refused["run3"] = VendorRefusedError("Databricks", "403")
    with pytest.raises(VendorRefusedError, match="MLflow run run3 cannot be read"):
        find(world)


@pytest.mark.parametrize(("theirs", "fits"), [("9", True), (None, True), ("8", False)])
def test_job_ids_of_another_workspace_link_nothing(theirs: str | None, fits: bool) -> None:
    world = World([says("3")])
    world.make(3, job="1", task_run="701", tagged=True, workspace=theirs)
    for source in (VersionSource.TASK_OUTPUT, VersionSource.TAG, VersionSource.MLFLOW_RUN):
        assert isinstance(find(world, source), Found) == fits
    assert isinstance(find(world, run=replace(RUN, workspace_id=None)), Found)


# --- MLflow runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [VersionSource.AUTO, VersionSource.MLFLOW_RUN])
@pytest.mark.parametrize(("job", "task_run"), [("1", "701"), ("2", "801")])
def test_the_version_whose_mlflow_run_a_task_made(source: VersionSource, job: str, task_run: str) -> None:
    world = World()
    made = world.make(3, job=job, task_run=task_run)
    world.make(2, job="1", task_run="600")
    world.make(4, job="3", task_run="701")
    world.make(5)
    world.versions.append(replace(made, version="6", run_id=None))
    assert found_it(find(world, source)) == (made, VersionSource.MLFLOW_RUN)


def test_several_of_them_decide_nothing() -> None:
    world = World()
    world.make(3, job="1", task_run="701")
    world.make(12, job="2", task_run="801")
    assert "(v3, v12)" in reason(find(world))


def test_two_versions_of_one_mlflow_run_decide_nothing_and_it_is_read_once() -> None:
    world = World()
    made = world.make(3, job="1", task_run="701")
    world.versions.append(replace(made, version="4", version_id="id4"))
    assert "(v3, v4)" in reason(find(world))
    assert world.read == ["run3"]


def test_those_of_replaced_attempts_are_named_and_no_candidates() -> None:
    world = World()
    world.make(3, job="1", task_run="700")
    assert (
        "v3: its MLflow run belongs to task run 700 of job 1, which a retry or repair has replaced"
        in reason(find(world))
    )
    made = world.make(4, job="1", task_run="701")
    assert found_it(find(world)) == (made, VersionSource.MLFLOW_RUN)


def test_no_version_at_all_says_all_that_was_tried() -> None:
    said = reason(find(World()))
    assert said.startswith("No version of main.ml.churn was found for job run 77.")
    assert "task's output" in said
    assert "tag" in said
    assert "MLflow run" in said


def test_a_run_without_tasks_made_nothing() -> None:
    world = World()
    world.make(3)
    assert "MLflow run" in reason(find(world, run=replace(RUN, tasks=(), earlier_task_run_ids=frozenset())))


def test_mlflow_runs_that_cannot_be_read_are_named() -> None:
    world = World()
    world.make(3)
    world.make(4, job="1", task_run="999")
    world.refused["run3"] = VendorRefusedError("Databricks", "403")
    del world.runs["run4"]
    with pytest.raises(VendorRefusedError) as refused:
        find(world)
    assert "v3: its MLflow run run3 cannot be read (Databricks: 403)" in str(refused.value)
    assert "v4: its MLflow run run4 cannot be read (Databricks: no such run)" in str(refused.value)


def test_what_cannot_be_read_hides_no_version_that_is_found() -> None:
    world = World()
    world.make(3)
    world.make(4, job="1", task_run="701")
    world.refused["run3"] = VendorRefusedError("Databricks", "403")
    found = find(world)
    assert isinstance(found, Found)
    assert found.version.version == "4"


@pytest.mark.parametrize(
    ("created_at", "looked_at"),
    [
        (START - timedelta(days=1), True),
        (END + timedelta(days=1), True),
        (None, True),
        (START - timedelta(days=1, seconds=1), False),
        (END + timedelta(days=1, seconds=1), False),
    ],
)
def test_only_versions_from_about_the_time_of_the_run_are_looked_at(
    created_at: datetime | None, looked_at: bool
) -> None:
    world = World()
    world.make(3, job="1", task_run="701", created_at=created_at)
    assert isinstance(find(world), Found) == looked_at
    assert bool(world.read) == looked_at
    assert isinstance(find(world, run=replace(RUN, start=None, end=None)), Found)


def test_a_model_with_thousands_of_versions_costs_a_thousand_reads_of_the_newest() -> None:
    world = World()
    for number in range(1, 2001):
        world.make(number)
    said = reason(find(world))
    assert sorted(world.read) == sorted(f"run{number}" for number in range(1001, 2001))
    assert "1000 more are of that time, and they were not looked at" in said
    world.refused = {f"run{number}": VendorRefusedError("Databricks", "403") for number in range(1, 2001)}
    with pytest.raises(VendorRefusedError) as refused:
        find(world)
    assert len(str(refused.value)) < 2000


def test_so_many_tagged_versions_that_not_all_are_looked_at_are_said() -> None:
    world = World(lists_tags=True)
    for number in range(1, 1008):
        world.make(number, job="5", task_run="55", tagged=True)
    assert "7 more are of that time, and they were not looked at" in reason(find(world, VersionSource.TAG))
    assert world.lists_of_tags == 1


def test_so_many_versions_that_not_all_tags_are_read_are_said() -> None:
    world = World()
    for number in range(1, 508):
        world.make(number)
    assert "7 more are of that time, and their tags were not read" in reason(find(world, VersionSource.TAG))
    assert world.tags_read == 500


def in_a_day(world: World, others: int) -> None:
    """So many versions of other runs, made before this one began."""
    for number in range(1, others + 1):
        world.make(number, job="1", task_run="600", created_at=START - timedelta(minutes=number))


@pytest.mark.parametrize("others", [2, 50, 200])
def test_the_versions_of_the_day_cost_nothing_where_the_runs_own_is_found(others: int) -> None:
    world = World()
    in_a_day(world, others)
    world.make(201, job="1", task_run="701")
    assert isinstance(find(world), Found)
    assert (world.read, world.tags_read) == (["run201"], 0)


def in_the_same_time(world: World, others: int, experiment: str | None = "e") -> None:
    """So many versions of other runs of the job, made while this one ran, and the run's own."""
    for number in range(1, others + 2):
        made = world.make(number, job="1", task_run="701" if number == others else "600")
        world.runs[str(made.run_id)] = replace(world.runs[str(made.run_id)], experiment_id=experiment)


@pytest.mark.parametrize("others", [10, 50, 900])
def test_of_many_versions_of_the_same_time_the_mlflow_runs_are_looked_up_at_once(others: int) -> None:
    world = World()
    in_the_same_time(world, others)
    assert found_it(find(world)) == (world.versions[others - 1], VersionSource.MLFLOW_RUN)
    assert (len(world.read), world.searches, world.tags_read) == (1, 1, 0)


@pytest.mark.parametrize(
    ("experiment", "refused"),
    [(None, None), ("e", VendorRefusedError("Databricks", "400: filter"))],
)
def test_where_they_cannot_be_looked_up_at_once_they_are_read_one_by_one(
    experiment: str | None, refused: GateError | None
) -> None:
    world = World(search_refused=refused)
    in_the_same_time(world, 10, experiment)
    assert found_it(find(world)) == (world.versions[9], VersionSource.MLFLOW_RUN)
    assert len(world.read) == 11


def test_of_many_versions_that_the_run_made_a_tag_still_says_which() -> None:
    world = World()
    for number in range(1, 11):
        world.make(number, job="1", task_run="701", tagged=number == 7)
    assert found_it(find(world)) == (world.versions[6], VersionSource.TAG)
    world.tags.clear()
    assert "v10) have MLflow runs that belong to job run 77; one is needed" in reason(find(world))


@pytest.mark.parametrize("others", [50, 200])
def test_where_it_is_not_found_the_nearest_of_the_day_are_looked_at(others: int) -> None:
    world = World()
    in_a_day(world, others)
    said = reason(find(world))
    assert sorted(world.read) == sorted(f"run{number}" for number in range(1, 21))
    assert world.tags_read == 20
    assert f"{others - 20} more of that day were made outside the run's time, and not looked at" in said


def test_two_tagged_versions_contradict_each_other_whenever_they_were_made() -> None:
    world = World(records_creators=False)
    world.make(1, tagged=True)
    world.make(2, tagged=True, created_at=START - timedelta(hours=5))
    for number in (1, 2):
        run = world.runs[f"run{number}"]
        world.runs[f"run{number}"] = replace(run, artifact_uri=f"s3://bucket/{number}")
        world.versions[number - 1] = replace(
            world.versions[number - 1], source=f"s3://bucket/{number}/model", status=VersionStatus.READY
        )
    assert "2 versions" in reason(find(world, VersionSource.TRUSTED_TAG))


def test_what_a_failed_attempt_has_read_is_not_read_again() -> None:
    world = World(lists_tags=True)
    for number in range(1, 131):
        world.make(number, job="1", task_run="600")
    world.make(131, job="1", task_run="701")
    kept, went_on = Read(), []
    jobs, registry = cast("JobRuns", world), cast("ModelRegistry", world)
    sought = Sought(GATE, RUN, (GATE,), jobs, registry, END, kept, lambda: went_on.append(1))
    world.refused = {"run25": VendorUnavailableError("Databricks", "503")}
    with pytest.raises(VendorUnavailableError):
        find_version(sought)
    before = len(world.read)
    assert before > 100
    world.refused = {}
    assert isinstance(find_version(sought), Found)
    assert len(world.read) - before == 131 - len(set(world.read[:before]) - {"run25"})
    assert world.tags_read == 131
    assert len(went_on) >= 6


# --- the people behind it ---------------------------------------------------------------------------------


def behind(
    created_by: str | None,
    user: str | None,
    *,
    run_id: str | None = "run3",
    has_run: bool = True,
    records: bool = True,
) -> list[tuple[str, str | None]]:
    version = replace(World().make(3, created_by=created_by), run_id=run_id)
    training = TrainingRun("run3", user, None, None, {}, {}, None, None) if has_run else None
    registry = cast("ModelRegistry", World(records_creators=records))
    found = trainers_of(RUN, version, training, registry)
    assert found[:2] == RUN.trainers
    return [(each.role, each.name) for each in found[2:]]


def test_they_are_the_runs_the_versions_and_the_mlflow_runs() -> None:
    assert behind("bob@example.com", "carol") == [
        ("version creator", "bob@example.com"),
        ("MLflow run user", "carol"),
    ]


def test_a_creator_is_demanded_where_the_registry_records_creators() -> None:
    assert ("version creator", None) in behind(None, "carol")
    assert ("version creator", "") in behind("", "carol")
    assert behind(None, "carol", records=False) == [("MLflow run user", "carol")]
    assert behind("bob", "carol", records=False)[0] == ("version creator", "bob")


def test_an_mlflow_user_is_demanded_where_there_is_an_mlflow_run() -> None:
    assert ("MLflow run user", None) in behind("bob", None)
    assert ("MLflow run user", None) in behind("bob", None, has_run=False)
    assert behind("bob", None, run_id=None, has_run=False) == [("version creator", "bob")]


def test_the_same_one_in_the_same_role_stands_there_once() -> None:
    twice = replace(RUN, trainers=(*RUN.trainers, Trainer("job run creator", "ANN@example.com")))
    version = replace(World().make(3, created_by=None), run_id=None)
    found = trainers_of(twice, version, None, cast("ModelRegistry", World()))
    assert found == (*RUN.trainers, Trainer("version creator", None))


# --- whatever the world looks like ------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(["3", "4", "99", "03", "x"]), st.sampled_from([MODEL, "a.b.c", "?"])),
        max_size=3,
    ),
    st.lists(
        st.tuples(
            st.sampled_from(["1", "2", "5", None]),
            st.sampled_from(["701", "700", "801", "5", None]),
            st.booleans(),
        ),
        max_size=4,
    ),
    st.sampled_from(list(VersionSource)),
)
def test_what_is_found_is_always_linked_and_the_only_one(
    outputs: list[tuple[str, str]], made: list[tuple[str | None, str | None, bool]], source: VersionSource
) -> None:
    world = World([says(version, model) for version, model in outputs])
    for number, (job, task_run, tagged) in enumerate(made, start=2):
        world.make(number, job=job, task_run=task_run, tagged=tagged)
    found = find(world, source)
    if isinstance(found, NotFound):
        assert found.reason
        return
    run = world.runs[found.version.run_id or ""]
    current = {("1", "701"), ("2", "801")}
    by_time = set() if found.by is VersionSource.MLFLOW_RUN else {(None, None)}
    assert (run.job_id, run.job_run_id) in current | by_time
    if found.by is VersionSource.TASK_OUTPUT:
        assert {version for version, model in outputs if model == MODEL} == {found.version.version}
    elif found.by is VersionSource.MLFLOW_RUN:
        by_run: Mapping[str, TrainingRun] = world.runs
        assert [each for each in by_run.values() if (each.job_id, each.job_run_id) in current] == [run]
    assert source in {VersionSource.AUTO, found.by}
