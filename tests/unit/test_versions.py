"""What the registry says of a version: is it the one of which it told less before?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from champion_gate.domain.versions import ModelVersion, VersionStatus, hash_instead_of_id, instead_of_id

MADE_AT = 1_700_000_000_123
WHOLE = ModelVersion(
    "main.ml.churn",
    "2",
    "id-2",
    "run-2",
    "dbfs:/2",
    VersionStatus.READY,
    datetime.fromtimestamp(MADE_AT / 1000, tz=UTC),
    "trainer@example.com",
)
MADE_LATER = datetime.fromtimestamp(MADE_AT / 1000, tz=UTC) + timedelta(milliseconds=1)
NO_ID = replace(WHOLE, version_id=instead_of_id(MADE_AT, "run-2", "dbfs:/2"))


def of_mlflow(version: ModelVersion) -> ModelVersion:
    return replace(version, version_id=hash_instead_of_id(MADE_AT, version.run_id, version.source))


def test_what_stands_for_an_id_in_an_mlflow_registry_is_as_earlier_releases_made_it() -> None:
    text = json.dumps([MADE_AT, "run-2", None])
    assert hash_instead_of_id(MADE_AT, "run-2", None) == hashlib.sha256(text.encode()).hexdigest()[:32]


@pytest.mark.parametrize(
    "before",
    [
        NO_ID,
        replace(WHOLE, run_id=None),
        replace(WHOLE, source=None),
        replace(WHOLE, version_id=instead_of_id(MADE_AT, None, None), run_id=None, source=None),
    ],
)
def test_it_completes_what_was_told_before(before: ModelVersion) -> None:
    assert WHOLE.completes(before)
    assert not before.completes(WHOLE)


@pytest.mark.parametrize(
    "before",
    [
        replace(WHOLE, version_id="id-1"),
        replace(WHOLE, version_id="id-1", run_id=None),
        replace(NO_ID, run_id="run-1"),
        replace(NO_ID, source="dbfs:/1"),
        replace(NO_ID, version="1"),
        replace(NO_ID, created_at=datetime(2026, 1, 1, tzinfo=UTC)),
        replace(NO_ID, created_at=None),
    ],
)
def test_it_does_not_complete_another_version(before: ModelVersion) -> None:
    assert not WHOLE.completes(before)


@pytest.mark.parametrize("untold", ["run_id", "source"])
def test_in_an_mlflow_registry_what_is_told_later_changes_what_stands_for_the_id(untold: str) -> None:
    before = of_mlflow(replace(WHOLE, **{untold: None}))  # type: ignore[arg-type]
    assert of_mlflow(WHOLE).completes(before)
    later = replace(WHOLE, created_at=MADE_LATER)
    assert not replace(later, version_id=hash_instead_of_id(MADE_AT + 1, "run-2", "dbfs:/2")).completes(
        before
    )
