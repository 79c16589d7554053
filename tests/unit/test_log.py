from __future__ import annotations

import io
import json
import logging
import string
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate import log
from secret_samples import HARMLESS, SECRETS, telling

URL_SAFE = string.ascii_letters + string.digits


def lines(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_a_utc_time(logged: io.StringIO) -> None:
    log.get_logger("champion_gate.x").info("alias set", model="main.ml.churn", version="2")
    (line,) = lines(logged)
    assert line["message"] == "alias set"
    assert (line["model"], line["version"], line["level"], line["logger"]) == (
        "main.ml.churn",
        "2",
        "info",
        "champion_gate.x",
    )
    assert line["time"].endswith("Z")


def test_the_ids_of_the_work_in_hand_are_on_every_line_and_gone_afterwards(logged: io.StringIO) -> None:
    with log.unit_of_work(promotion="p1", gate="churn"):
        log.get_logger("a").info("ours")
        logging.getLogger("gunicorn.error").info("theirs")
    log.get_logger("a").info("after")
    ours, theirs, after = lines(logged)
    assert ours["promotion"] == theirs["promotion"] == "p1"
    assert theirs["gate"] == "churn"
    assert "promotion" not in after


def test_the_ids_stay_in_their_thread(logged: io.StringIO) -> None:
    with log.unit_of_work(promotion="p1"):
        other = threading.Thread(target=lambda: log.get_logger("a").info("other"))
        other.start()
        other.join()
    assert "promotion" not in lines(logged)[0]


def test_the_standard_library_may_add_known_fields_only(logged: io.StringIO) -> None:
    logging.getLogger("champion_gate.core.x").info("x", extra={"gate": "churn", "payload": {"a": 1}})
    assert lines(logged)[0]["gate"] == "churn"
    assert "payload" not in lines(logged)[0]


def test_an_exception_is_on_the_same_line(logged: io.StringIO) -> None:
    try:
        raise RuntimeError("no ghs_abcdefghijklmnop here")  # noqa: TRY301
    except RuntimeError:
        logging.getLogger("x").exception("failed")
    (line,) = lines(logged)
    assert "RuntimeError" in line["exception"]
    assert "ghs_" not in logged.getvalue()


def test_warnings_of_libraries_become_lines(logged: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "old" in lines(logged)[0]["message"]


def test_configuring_again_does_not_double_the_lines(logged: io.StringIO) -> None:
    log.configure(stream=logged)
    log.get_logger("a").info("once")
    assert len(lines(logged)) == 1


def test_lines_for_people_are_no_json(logged: io.StringIO) -> None:
    log.configure(console=True, stream=logged)
    log.get_logger("a").info("alias set", model="churn", password="hunter2")
    assert "alias set" in logged.getvalue()
    assert not logged.getvalue().startswith("{")
    assert "hunter2" not in logged.getvalue()


HOSTILE = "line1\n2026-01-01T00:00:00Z [info     ] approved \x1b[31m\r\u202e\x9b2J"


def test_nothing_that_is_logged_forges_a_line_for_people_or_is_obeyed_by_their_terminal(
    logged: io.StringIO,
) -> None:
    log.configure(console=True, stream=logged)
    logging.getLogger("a").info("%s held: %s", "Champion", HOSTILE, extra={"reason": HOSTILE})
    logging.getLogger("a").info("quiet", extra={"reason": "no-blank\x1b[31m"})
    log.get_logger("a").info(HOSTILE, model=HOSTILE, error={"a": [HOSTILE]})
    assert len(logged.getvalue().splitlines()) == 3
    assert all(char.isprintable() or char == "\n" for char in logged.getvalue())
    assert "Champion held: line1\\n2026" in logged.getvalue()


def test_a_traceback_for_people_keeps_its_lines_and_none_of_them_begins_as_a_line_of_the_log(
    logged: io.StringIO,
) -> None:
    log.configure(console=True, stream=logged)
    try:
        raise RuntimeError(HOSTILE)  # noqa: TRY301
    except RuntimeError:
        logging.getLogger("x").exception("failed")
    first, *traceback = logged.getvalue().split("\n")
    assert "failed" in first
    assert all(line.startswith("  ") for line in traceback if line)
    assert any("in test_a_traceback" in line for line in traceback)
    assert all(char.isprintable() or char == "\n" for char in logged.getvalue())


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_blotted_out_wherever_it_stands(secret: str, logged: io.StringIO) -> None:
    logger = log.get_logger("a")
    logger.info("before %s after", secret, error=f"x={secret}")
    logger.info("nested", error={"a": [secret, {secret: secret}]}, reason=(secret.encode(),))
    logging.getLogger("urllib3").warning("header %s", secret)
    assert telling(secret) not in logged.getvalue()
    assert "before" in logged.getvalue()
    assert len(lines(logged)) == 3


def test_a_password_in_an_address_is_blotted_out() -> None:
    assert (
        log.redact("postgresql://gate:hunter2@db.example.com/x") == "postgresql://[redacted]@db.example.com/x"
    )


def test_a_telling_name_is_blotted_out_whatever_it_holds() -> None:
    assert log.redact({"Authorization": "x", "api_token": 7, "model": "m"}) == {
        "Authorization": "[redacted]",
        "api_token": 7,
        "model": "m",
    }


@pytest.mark.parametrize("harmless", HARMLESS)
def test_what_people_need_to_read_stays(harmless: str) -> None:
    assert log.redact(harmless) == harmless


@given(
    st.sampled_from(["ghs_", "ghp_", "gho_", "github_pat_", "dapi", "whsec_", "glpat-", "cgate_"]),
    st.text(URL_SAFE, min_size=20, max_size=60),
    st.text(max_size=20),
)
def test_no_token_survives(prefix: str, body: str, around: str) -> None:
    text = f"{around} {prefix}{body} {around}"
    assert body not in log.redact(text).removeprefix(around).removesuffix(around)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_whatever_is_logged_becomes_json(value: object) -> None:
    json.dumps(log.redact(value))


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def fail(logger: Any, message: str, error: Exception) -> None:
    logger.error(message, exc_info=error)


@pytest.mark.parametrize("get", [log.get_logger, logging.getLogger], ids=["ours", "the standard library's"])
def test_the_same_failure_is_shown_once_a_minute_with_how_often_it_was_left_out(
    logged: io.StringIO, get: Callable[[str], Any]
) -> None:
    time = Monotonic()
    log.configure(stream=logged, monotonic=time)
    logger = get("champion_gate.work.worker")
    for _ in range(600):
        fail(logger, "a timer's run failed", OSError("the database is away"))
        time.seconds += 0.1
    fail(logger, "a timer's run failed", OSError("the database is still away"))
    first, second = lines(logged)
    assert "left_out" not in first
    assert second["left_out"] == 599
    assert "still away" in second["exception"]


def test_another_failure_is_shown_at_once(logged: io.StringIO) -> None:
    log.configure(stream=logged, monotonic=Monotonic())
    one, other = log.get_logger("a"), log.get_logger("b")
    for logger, message, error in (
        (one, "x", OSError()),
        (one, "x", ValueError()),
        (one, "y", OSError()),
        (other, "x", OSError()),
    ):
        fail(logger, message, error)
        fail(logger, message, error)
    assert len(lines(logged)) == 4


def test_the_same_failure_of_another_promotion_is_shown_too(logged: io.StringIO) -> None:
    for promotion in ("p1", "p2", "p1"):
        with log.unit_of_work(promotion=promotion):
            fail(log.get_logger("a"), "a step failed unexpectedly", ValueError())
    assert [line["promotion"] for line in lines(logged)] == ["p1", "p2"]


def test_lines_without_a_failure_are_all_shown(logged: io.StringIO) -> None:
    for _ in range(3):
        log.get_logger("a").error("promotion failed")
    assert len(lines(logged)) == 3
