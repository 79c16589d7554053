"""The queue between the web app and the workers: what is in it, and where it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.errors import ConfigurationError
from champion_gate.work.queue import HueyWakeUps, JsonSerializer, create_queue, prepare_queue


@pytest.fixture
def queue_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'gate.db'}"


@pytest.fixture
def wake_ups(queue_url: str) -> Iterator[HueyWakeUps]:
    queue = create_queue(queue_url)
    yield HueyWakeUps(queue)
    queue.storage.close()


def test_messages_are_json_and_hold_ids_only(wake_ups: HueyWakeUps) -> None:
    wake_ups.promotion("p1")
    (message,) = wake_ups.queue.storage.enqueued_items()
    sent = json.loads(message)
    assert set(sent) == {"id", "name", "args"}
    assert sent["args"] == ["promotion", "p1"]


@given(st.binary(max_size=100))
def test_no_bytes_run_code(message: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        JsonSerializer().deserialize(message)


def test_a_queue_has_a_file_of_its_own_beside_the_database(tmp_path: Path, queue_url: str) -> None:
    prepare_queue(queue_url)
    prepare_queue(queue_url)
    assert [path.name for path in tmp_path.iterdir()] == ["gate-queue.db"]


@pytest.mark.parametrize("spoilt", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4080])
def test_a_queue_that_a_power_cut_has_spoilt_is_made_anew(
    tmp_path: Path, queue_url: str, spoilt: bytes
) -> None:
    (tmp_path / "gate-queue.db").write_bytes(spoilt)
    queue = create_queue(queue_url)
    HueyWakeUps(queue).promotion("p1")
    assert queue.pending_count() == 1
    queue.storage.close()


def test_a_sound_queue_keeps_what_is_in_it(queue_url: str) -> None:
    for count in (1, 2):
        queue = create_queue(queue_url)
        HueyWakeUps(queue).promotion("p1")
        assert queue.pending_count() == count
        queue.storage.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://user:hunter2@host/db"])
def test_a_database_that_can_hold_no_queue_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_queue(url)
    assert "DATABASE_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)
