"""Vendors' words are cut: what looks like a secret is blotted out before, for half of one is not known any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from champion_gate.adapters.databricks.errors import LastAnswer, Seen, translate
from champion_gate.adapters.databricks.models import Run, databricks
from champion_gate.adapters.databricks.reading import run_result
from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.mlflow.errors import translated

_SECRET = "https://svc:tr0ub4dor@example.com"


def _of_run(words: str) -> str:
    state = {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": words}
    return run_result(databricks.one(Run, {"run_id": 1, "state": state}, "a run"))[1]


def _of_answer(words: str) -> str:
    return Answer("GitHub", "GET /x", 400, {}, b'{"message": "%s"}' % words.encode(), False).message()


_CUTS: dict[str, Callable[[str], object]] = {
    "Databricks": lambda words: translate(ValueError(words), Seen("GET /x", LastAnswer(), False, False)),
    "Databricks' runs": _of_run,
    "MLflow": lambda words: translated(RuntimeError(words), writes=False),
    "GitHub, GitLab": _of_answer,
}


@pytest.mark.parametrize("which", _CUTS)
def test_no_half_of_a_secret_is_left_where_words_are_cut(which: str) -> None:
    for before in range(1000):
        shown = str(_CUTS[which](f"{'.' * before}{_SECRET}"))
        assert "svc" not in shown, before
