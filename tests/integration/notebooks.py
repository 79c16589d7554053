"""Runs the notebooks of `deploy/databricks` as a Databricks job does, in a process that has pandas and scikit-learn."""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "deploy" / "databricks"
PACKAGES = Path(sys.prefix) / "notebooks"
"""Where `make .venv/.notebooks` puts pandas and scikit-learn, which no other test may see."""


class _Exit(BaseException):
    """What `dbutils.notebook.exit` ends a notebook with; `except Exception` does not stop it."""


@dataclass
class _Widgets:
    """`dbutils.widgets` in a job: the run's parameters win over what the notebook says."""

    values: dict[str, str]

    def text(self, name: str, default: str) -> None:
        self.values.setdefault(name, default)

    def get(self, name: str) -> str:
        return self.values[name]


class _Notebook:
    def exit(self, value: str) -> None:
        raise _Exit(value)


@dataclass
class _Dbutils:
    widgets: _Widgets
    notebook: _Notebook = field(default_factory=_Notebook)


@dataclass
class _Spark:
    """Tables by name, and of their data frames what the notebooks use. A function reaches the rows as a pickle."""

    tables: dict[str, Any] = field(default_factory=dict)

    def createDataFrame(self, data: Any) -> _Frame:  # noqa: N802 - Spark's name
        return _Frame(self, data)

    def table(self, name: str) -> _Frame:
        return _Frame(self, self.tables[name])


@dataclass
class _Frame:
    spark: _Spark
    data: Any
    overwrites: bool = False

    @property
    def dtypes(self) -> list[tuple[str, str]]:
        spelt = {"int64": "bigint", "float64": "double", "object": "string", "str": "string"}
        return [(name, spelt[str(kind)]) for name, kind in self.data.dtypes.items()]

    @property
    def write(self) -> _Frame:
        return self

    def count(self) -> int:
        return len(self.data)

    def mode(self, mode: str) -> _Frame:
        return _Frame(self.spark, self.data, overwrites=mode == "overwrite")

    def mapInPandas(self, function: Callable[..., Iterator[Any]], schema: str) -> _Frame:  # noqa: N802 - as above
        import cloudpickle  # noqa: PLC0415 - in the notebooks' process alone
        import pandas as pd  # noqa: PLC0415

        there = cloudpickle.loads(cloudpickle.dumps(function))
        half = len(self.data) // 2
        made = pd.concat(there(iter([self.data[:half], self.data[half:]])))
        columns = re.findall(r"`?(\w+)`? (\w+)", schema)
        assert list(made.columns) == [name for name, _ in columns]
        kinds = {"bigint": "int64", "double": "float64"}
        for name, kind in columns:
            made[name] = made[name].astype(kinds.get(kind, "object"))
        return _Frame(self.spark, made)

    def saveAsTable(self, name: str) -> None:  # noqa: N802 - as above
        assert self.overwrites or name not in self.spark.tables, f"{name} already exists"
        self.spark.tables[name] = self.data


_SPARK = _Spark()


def _prepare(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    site.addsitedir(str(PACKAGES))


def _run(code: str, name: str, parameters: Mapping[str, str]) -> str | None:
    around = {"__name__": "__main__", "dbutils": _Dbutils(_Widgets(dict(parameters))), "spark": _SPARK}
    try:
        exec(compile(code, name, "exec"), around)
    except _Exit as ended:
        return str(ended)
    return None


def _rows(table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _SPARK.tables[table].to_dict("records")
    return rows


@dataclass(frozen=True)
class Cluster:
    """A process in which notebooks run one after another, and the tables that they share."""

    process: ProcessPoolExecutor

    def run(self, notebook: str, parameters: Mapping[str, str]) -> str | None:
        """The exit value of a notebook, e.g. `train.py`; None where it has none. Raises what the notebook raises."""
        return self.run_code((NOTEBOOKS / notebook).read_text(), notebook, parameters)

    def run_code(
        self, code: str, name: str = "cell", parameters: Mapping[str, str] | None = None
    ) -> str | None:
        """The same of code that stands elsewhere."""
        return self.process.submit(_run, code, name, parameters or {}).result()

    def rows(self, table: str) -> Sequence[Mapping[str, Any]]:
        """The rows of a table."""
        return self.process.submit(_rows, table).result()


@contextmanager
def cluster(environment: Mapping[str, str]) -> Iterator[Cluster]:
    """A cluster that is signed in by these variables, e.g. `DATABRICKS_HOST`."""
    if not PACKAGES.is_dir():
        pytest.skip("NOT TESTED: pandas and scikit-learn are not installed; run `make .venv/.notebooks`")
    with ProcessPoolExecutor(1, get_context("spawn"), _prepare, (environment,)) as process:
        yield Cluster(process)
