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


def test_beside_a_file_of_sqlite_there_is_no_other(tmp_path: Path, queue_url: str) -> None:
    prepare_queue(queue_url)
    HueyWakeUps(create_queue(queue_url)).promotion("p1")
    assert list(tmp_path.iterdir()) == []


def test_messages_come_off_in_their_order(wake_ups: HueyWakeUps) -> None:
    for number in range(3):
        wake_ups.promotion(f"p{number}")
    assert wake_ups.backlog() == 3
    assert [wake_ups.queue.dequeue().args[1] for _ in range(3)] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://user:hunter2@host/db"])
def test_a_database_that_can_hold_no_queue_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_queue(url)
    assert "DATABASE_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)
