"""Vendors' words are cut: what looks like a secret is blotted out before, for half of one is not known any more."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from champion_gate.adapters.databricks.errors import LastAnswer, Seen, translate
from champion_gate.adapters.databricks.models import Run, databricks
from champion_gate.adapters.databricks.reading import run_result
from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.mlflow.errors import translated
from champion_gate.domain.copies import report_of
from champion_gate.domain.jobs import JobOutcome, RunState, TaskResult
from champion_gate.domain.json_body import UnusableBodyError, shown
from champion_gate.domain.serving import without_values_of
from champion_gate.domain.versions import ModelVersion, VersionStatus

_SECRET = "https://svc:tr0ub4dor@example.com"


def _of_run(words: str) -> str:
    state = {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": words}
    return run_result(databricks.one(Run, {"run_id": 1, "state": state}, "a run"))[1]


def _of_answer(words: str) -> str:
    return Answer("GitHub", "GET /x", 400, {}, b'{"message": "%s"}' % words.encode(), False).message()


def _of_copy(words: str) -> str:
    said = {"champion_gate_copy": {"source": {}, "destination": {"version": "2"}, "copied_from": words}}
    output = json.dumps({**said, "champion_gate": {}})
    task = TaskResult("main", "1", 0, "SUCCESS", output)
    state = RunState("1", "2", {}, None, None, None, "", JobOutcome.SUCCEEDED, "", "", False, (task,))
    source = None, None, VersionStatus.READY
    with pytest.raises(UnusableBodyError) as raised:
        report_of(state, ModelVersion("a.b.c", "1", "v-1", *source, None, None), "d.e.f")
    return str(raised.value)


_CUTS: dict[str, Callable[[str], object]] = {
    "Databricks": lambda words: translate(ValueError(words), Seen("GET /x", LastAnswer(), False, False)),
    "Databricks' runs": _of_run,
    "MLflow": lambda words: translated(RuntimeError(words), writes=False),
    "GitHub, GitLab": _of_answer,
    "a copying job": _of_copy,
    "a webhook": shown,
}


@pytest.mark.parametrize("which", _CUTS)
def test_no_half_of_a_secret_is_left_where_words_are_cut(which: str) -> None:
    for before in range(1000):
        shown = str(_CUTS[which](f"{'.' * before}{_SECRET}"))
        assert "svc" not in shown, before


def test_a_variable_of_an_endpoint_is_blotted_out_also_where_json_is_quoted() -> None:
    config = {"served_entities": [{"environment_vars": {"KEY": 'two\nlines and a "quote"'}}]}
    for quoted in (json.dumps(config), 'KEY is two\nlines and a "quote".'):
        assert "lines and" not in without_values_of(config, quoted)
