"""The evidence as a document: complete, bounded, and the same bytes for the same content."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain import evidence
from champion_gate.domain.approval import ExcludedPerson
from champion_gate.domain.gates import ApprovalTarget, Direction, Gate, MetricRule
from champion_gate.domain.job_runs import Trainer
from champion_gate.domain.versions import ModelVersion, TrainingRun, VersionDetails, VersionStatus
from ledger_samples import promoted

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
GATE = Gate(
    name="churn",
    jobs=(1,),
    model="main.ml.churn",
    alias="Champion",
    approval=ApprovalTarget.stored("github", {}, ("champion", "legal")),
    metrics=(
        MetricRule(name="f1", better=Direction.HIGHER, max_worse=0.01, at_least=0.8),
        MetricRule(name="loss", better=Direction.LOWER, at_most=1.5),
    ),
)
ANN = ExcludedPerson("ann@example.com", "job run-as", "ann-octo", "5")


def details(
    number: int,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> VersionDetails:
    version = ModelVersion(
        "main.ml.churn",
        str(number),
        f"id{number}",
        f"run{number}",
        "models:/m-1",
        VersionStatus.READY,
        AT,
        "ann",
    )
    run = TrainingRun(
        f"run{number}", "ann", "1", "2", metrics or {}, params or {}, f"abc{number}", AT, "https://x/r"
    )
    return VersionDetails(version, tags or {}, replace(run, logged_models=frozenset()))


def collect(
    candidate: VersionDetails,
    champion: VersionDetails | None = None,
    *,
    gate: Gate = GATE,
    since: datetime | None = None,
    trainers: Sequence[Trainer] = (Trainer("job run-as", "ann@example.com"),),
    excluded: Sequence[ExcludedPerson] = (ANN,),
    nobody: Sequence[str] = (),
    job_url: str = "https://dbc.example.com/?o=1#job/1/run/77",
    version_url: str | None = None,
) -> dict[str, Any]:
    promotion = replace(
        promoted(),
        id="p-1",
        job_id="1",
        job_run_id="77",
        job_url=job_url,
        found_by="tag",
        origin=(),
        trainers=tuple(trainers),
        excluded=tuple(excluded),
    )
    return evidence.collect(
        promotion,
        gate,
        candidate,
        champion,
        nobody=nobody,
        champion_since=since,
        version_url=version_url,
        frozen_at=AT,
    )


def test_it_says_what_is_asked() -> None:
    assert collect(details(2), details(1))["asked"] == {
        "registry": "databricks-uc",
        "model": "main.ml.churn",
        "alias": "Champion",
        "from_version": "1",
        "from_is_gone": False,
        "to_version": "2",
        "gate": "churn",
        "promotion": "p-1",
        "provider": "github",
        "seats": {"rows": ["champion", "legal"], "left_out": 0},
    }


def both(rows: Mapping[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """Name, and what candidate and Champion have."""
    return [(each["name"], each["candidate"], each["champion"]) for each in rows["rows"]]


def test_the_gates_metrics_come_first_with_both_values_and_how_they_are_judged() -> None:
    document = collect(
        details(2, {"loss": 2.0, "f1": 0.79, "auc": 0.5}), details(1, {"f1": 0.8, "auc": 0.25, "old": 1.0})
    )
    f1, loss = document["gate_metrics"]["rows"]
    assert (f1["name"], f1["candidate"], f1["champion"], f1["change"]) == ("f1", 0.79, 0.8, -0.01)
    assert (f1["better"], f1["max_worse"], f1["at_least"], f1["at_most"]) == ("higher", 0.01, 0.8, None)
    assert not f1["ok"]
    assert "at least 0.8" in f1["problems"][0]
    assert (loss["candidate"], loss["champion"], loss["change"], loss["ok"]) == (2.0, None, None, False)
    assert [
        (each["name"], each["candidate"], each["champion"], each["change"])
        for each in document["other_metrics"]["rows"]
    ] == [("auc", 0.5, 0.25, 0.25), ("old", None, 1.0, None)]


def test_numbers_that_json_does_not_have_are_strings() -> None:
    metrics = {"f1": math.nan, "up": math.inf, "down": -math.inf, "huge": 1.7e308}
    document = collect(details(2, metrics), details(1, {"f1": 0.8, "huge": -1.7e308}))
    assert document["gate_metrics"]["rows"][0]["candidate"] == "nan"
    others = {each["name"]: each for each in document["other_metrics"]["rows"]}
    assert (others["up"]["candidate"], others["down"]["candidate"]) == ("inf", "-inf")
    assert others["huge"]["change"] == "inf"
    assert "NaN" not in evidence.canonical_json(document)


def test_parameters_and_tags_that_are_the_same_or_our_own_are_left_out() -> None:
    ours = details(
        2, params={"lr": "0.1", "same": "1", "new": ""}, tags={"team": "a", "champion_gate_status": "x"}
    )
    theirs = details(
        1, params={"lr": "0.2", "same": "1"}, tags={"team": "b", "mlflow.user": "ann", "gone": "1"}
    )
    document = collect(ours, theirs)
    assert both(document["parameters"]) == [("lr", "0.1", "0.2"), ("new", "", None)]
    assert both(document["tags"]) == [("gone", None, "1"), ("team", "a", "b")]


def test_the_first_version_ever_stands_alone() -> None:
    document = collect(details(1, {"f1": 0.9}, {"lr": "0.1"}))
    assert document["champion"] is None
    assert document["asked"]["from_version"] is None
    assert document["gate_metrics"]["rows"][0]["ok"]
    assert both(document["parameters"]) == [("lr", "0.1", None)]


@pytest.mark.parametrize(
    ("since", "seconds"),
    [(None, None), (AT - timedelta(days=2, seconds=5), 172_805), (AT + timedelta(seconds=9), 0)],
)
def test_how_long_the_champion_has_served(since: datetime | None, seconds: int | None) -> None:
    assert collect(details(2), details(1), since=since)["champion"]["served_seconds"] == seconds


def test_a_version_without_an_mlflow_run_is_shown_with_what_is_known() -> None:
    bare = details(2)
    document = collect(
        VersionDetails(replace(bare.version, run_id=None, created_at=None), {}, None), details(1)
    )
    assert document["candidate"]["git_commit"] is None
    assert document["candidate"]["created_at"] is None
    assert document["gate_metrics"]["rows"][0]["problems"] == ["the metric f1 is missing"]


def test_it_names_everybody_and_who_may_not_decide() -> None:
    document = collect(details(2), trainers=[Trainer("version creator", None)], nobody=["spark"])
    assert document["people"] == {
        "trainers": {"rows": [{"role": "version creator", "name": None}], "left_out": 0},
        "excluded": {
            "rows": [{"name": "ann@example.com", "role": "job run-as", "login": "ann-octo", "user_id": "5"}],
            "left_out": 0,
        },
        "nobody": {"rows": ["spark"], "left_out": 0},
        "trainers_may_approve": False,
    }
    assert collect(details(2), gate=GATE.model_copy(update={"allow_trainer_approval": True}))["people"][
        "trainers_may_approve"
    ]


def test_times_are_utc_whatever_zone_they_came_in() -> None:
    there = AT.astimezone(timezone(timedelta(hours=5)))
    document = collect(details(2), details(1), since=there)
    assert document["champion"]["since"] == document["frozen_at"] == "2026-03-01T12:30:00Z"


def test_it_is_bounded_everywhere_and_says_what_was_left_out() -> None:
    many = {f"{i:05}" + "k" * 1000: "v" * 10_000 for i in range(3000)}
    people = [Trainer("r" * 1000, f"{i}" + "n" * 9999) for i in range(999)]
    document = collect(
        details(2, dict.fromkeys(many, 1.0), many, many),
        trainers=people,
        excluded=[replace(ANN, login="l" * 9999)] * 999,
        nobody=["s" * 9999] * 999,
        job_url="https://x/" + "u" * 9999,
    )
    assert document["parameters"]["left_out"] == 2900
    assert document["other_metrics"]["left_out"] == 2900
    assert document["people"]["trainers"]["left_out"] == 949
    assert document["parameters"]["rows"][0]["candidate"] == "v" * 500 + "… (9500 more characters)"
    assert document["job"]["url"] is None
    assert len(evidence.canonical_json(document)) < 500_000


def test_canonical_json_does_not_depend_on_the_order_in_which_things_came() -> None:
    ours = {"b": "1", "a": "2", "c": "3"}
    one = collect(details(2, params=ours, tags=ours, metrics={"x": 1.0, "a": 2.0}))
    other = collect(
        details(
            2,
            params=dict(sorted(ours.items())),
            tags=dict(reversed(ours.items())),
            metrics={"a": 2.0, "x": 1.0},
        )
    )
    assert evidence.canonical_json(one) == evidence.canonical_json(dict(reversed(other.items())))


def test_canonical_json_and_its_hash_as_anybody_can_recompute_them() -> None:
    text = evidence.canonical_json({"b": "é", "a": [1, None, True, 0.5]})
    assert text == '{"a":[1,null,true,0.5],"b":"é"}'
    assert evidence.sha256_of(text) == hashlib.sha256(text.encode("utf-8")).hexdigest()
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text


@pytest.mark.parametrize("bad", [math.nan, math.inf, "\ud800"])
def test_what_has_no_one_form_in_json_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        evidence.canonical_json({"a": bad})


anything = st.text(st.characters(exclude_categories=[]), max_size=20)


@given(
    st.dictionaries(anything, st.floats(), max_size=4),
    st.dictionaries(anything, anything, max_size=4),
    anything,
)
def test_whatever_is_logged_becomes_json_that_reads_back_the_same(
    metrics: dict[str, float], texts: dict[str, str], text: str
) -> None:
    ours = details(2, metrics, texts, texts)
    ours = replace(ours, version=replace(ours.version, source=text, created_by=text, version_id=text))
    document = collect(
        ours, details(1, metrics), trainers=[Trainer(text, text)], nobody=[text], version_url=text
    )
    stored = evidence.canonical_json(document)
    stored.encode()
    assert "\\u0000" not in stored
    read_back = json.loads(stored)
    assert evidence.canonical_json(read_back) == stored
    assert read_back == document
    digest = evidence.sha256_of(stored)
    assert evidence.render_markdown(read_back, digest) == evidence.render_markdown(document, digest)
