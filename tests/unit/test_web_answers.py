"""Answers of the API: made of what the domain has, with their own fields only, and of any text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from champion_gate.domain.aliases import AliasKey, AliasState, Hold
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.web.api.answers import AliasAnswer, VersionOfModel

NOON = datetime(2025, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("at", [NOON, NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))])
def test_times_are_in_utc_to_the_millisecond(at: datetime) -> None:
    state = AliasState(AliasKey("uc", "m", "a"), None, Hold("operator-1", "audit", at))
    assert AliasAnswer.of(state).model_dump(mode="json") == {
        "registry": "uc",
        "model": "m",
        "alias": "a",
        "version": None,
        "outside": None,
        "hold": {
            "actor": "operator-1",
            "reason": "audit",
            "at": "2025-01-31T12:00:00.123Z",
            "by_rollback": False,
        },
    }


def test_a_text_that_is_no_unicode_is_answered_all_the_same() -> None:
    version = ModelVersion("m", "1", "id", "r\ud800", "s3://secret", VersionStatus.READY, None, "x\x00y")
    assert VersionOfModel.reading(version).model_dump(mode="json") == {
        "version": "1",
        "status": "ready",
        "created_at": None,
        "created_by": "x\x00y",
        "run_id": "r\ud800",
    }
