"""Evidence as gates freeze it: what its pages are laid out for."""

from __future__ import annotations

from typing import Any

TRAINER = "first.lastname@research.example.com"
RUN = {"id": "9007199254740993", "url": "https://dbc-1.example.com/?o=1#job/1/run/2", "repaired": True}


def rows(*every: object, left_out: int = 0) -> dict[str, Any]:
    return {"rows": list(every), "left_out": left_out}


def version(number: str, **changes: Any) -> dict[str, Any]:
    return {
        "version": number,
        "version_id": "5f1c0d3a-9f2e-4d52-8f5e-0d6c6d1b7a11",
        "source": "dbfs:/databricks/mlflow-tracking/1234567890123456/0123456789abcdef0123456789abcdef/artifacts/model",
        "created_at": "2026-03-08T02:14:36Z",
        "created_by": TRAINER,
        "logged_model": "m-0123456789abcdef0123456789abcdef",
        "mlflow_run": "0123456789abcdef0123456789abcdef",
        "mlflow_run_url": "https://dbc-1.example.com/ml/experiments/1234567890123456/runs/0123456789abcdef0123456789abcdef",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "trained_at": "2026-03-08T02:00:05Z",
        "url": None,
        **changes,
    }


def number(name: str, candidate: Any, champion: Any, change: Any, **changes: Any) -> dict[str, Any]:
    source = {
        "kind": "logged_model",
        "id": "m-0123456789abcdef0123456789abcdef",
        "dataset": "validation_2026_02",
        "step": 12,
        "missing": None,
        "datasets": rows({"name": "train", "value": 0.99123456, "step": 12}),
    }
    found = {"name": name, "candidate": candidate, "champion": champion, "change": change}
    return {**found, "candidate_from": source, "champion_from": source, **changes}


def rule(*metric: Any, **changes: Any) -> dict[str, Any]:
    bounds = {"better": "higher", "max_worse": 0.01, "at_least": 0.8, "at_most": None, "dataset": None}
    return {**number(*metric), **bounds, "ok": True, "problems": [], **changes}


def evidence(**changes: Any) -> dict[str, Any]:
    """Of a gate with two rules that are met."""
    names = ("learning_rate", "max_depth", "objective")
    return {
        "format": 1,
        "frozen_at": "2026-03-08T02:15:00Z",
        "asked": {
            "registry": "databricks-uc",
            "model": "main.ml.churn",
            "alias": "Champion",
            "from_version": "11",
            "from_is_gone": False,
            "to_version": "12",
            "gate": "churn",
            "promotion": "p-vwyxv5lxgks94lm7",
            "provider": "github",
            "seats": rows("champion"),
        },
        "candidate": version("12"),
        "champion": {**version("11"), "since": "2026-03-01T02:20:00Z", "served_seconds": 604_000},
        "gate_metrics": rows(
            rule("f1", 0.8937512345, 0.8712349857, 0.0225162488),
            rule("log_loss", 0.28719999, 0.31823333, -0.03103334, better="lower", at_least=None),
        ),
        "other_metrics": rows(number("auc", 0.947, 0.931, 0.016)),
        "parameters": rows(*({"name": each, "candidate": "8", "champion": "6"} for each in names)),
        "tags": rows(),
        "job": {
            "id": "1234567890",
            "run_id": RUN["id"],
            "url": RUN["url"],
            "found_by": "tag",
            "origin": rows("The run's principal registered the version."),
        },
        "people": {
            "trainers": rows(
                *({"role": role, "name": TRAINER} for role in ("job run creator", "version creator"))
            ),
            "excluded": rows(
                {"name": TRAINER, "role": "job run creator", "login": "octo-trainer", "user_id": "5"}
            ),
            "nobody": rows(),
            "trainers_may_approve": False,
        },
        **changes,
    }


def _first() -> dict[str, Any]:
    first = evidence(champion=None)
    first["asked"] |= {"from_version": None}
    return first


def _long() -> dict[str, Any]:
    """Names and values as long as they come."""
    name, value = "validation_macro_averaged_f1_score_of_the_minority_class", "9" * 80
    return evidence(
        gate_metrics=rows(
            rule(name, 0.8937512345, 0.8712349857, 0.0225162488), rule("w" * 120, "nan", "inf", None)
        ),
        other_metrics=rows(number(name, -0.12345678, 0.12345678, -0.24691356)),
        parameters=rows({"name": name, "candidate": value, "champion": value}),
        tags=rows({"name": name, "candidate": "a b " * 30, "champion": None}),
    )


def _wide() -> dict[str, Any]:
    """Numbers as wide as they come, one of them not met."""
    problem = "rmse is 1234567.89, and must be at most 1000"
    bounds = {"better": "lower", "max_worse": None, "at_most": 1000, "ok": False, "problems": [problem]}
    return evidence(
        gate_metrics=rows(rule("rmse", 1234567.89, -1.23456789e-05, 1234567.89, **bounds)),
        other_metrics=rows(number("loss", -9.87654321e-123, 1e300, -1e300)),
    )


def _validated() -> dict[str, Any]:
    job = {
        "id": "1",
        "name": "validate-churn",
        "url": RUN["url"],
        "run_as": [{"name": TRAINER, "is_group": False}],
    }
    check = {"name": "no_nulls_in_any_column", "passed": True, "value": 0.000123456, "limit": "at most 1 %"}
    return evidence(
        validation={
            "passed": True,
            "details": True,
            "job": job,
            "run": {**RUN, "ended_at": "2026-03-08T02:14:59Z"},
            "report_url": "https://dbc-1.example.com/report",
            "checks": rows(*[check] * 25),
            "metrics": rows({"name": "recall_at_10_percent", "candidate": 0.91234567, "champion": None}),
            "champion_validated": False,
            "ran_as_trainers": [TRAINER],
        },
        copy={
            "source_model": "staging.ml.churn",
            "champion_made_of": {"version": "7", "model": "staging.ml.churn"},
            "job": {"id": "2", "name": "copy-churn", "url": None, "run_as": [{"name": TRAINER}]},
        },
    )


SAMPLES = {
    "plain": evidence(),
    "first": _first(),
    "long": _long(),
    "wide": _wide(),
    "validated": _validated(),
}
"""By what is special about each."""
