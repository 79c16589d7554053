"""The evidence's numbers as Markdown: what the rules ask for, where each number comes from, what the validation said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from champion_gate.domain.markdown import (
    Document,
    cell,
    code,
    left_out,
    link,
    number,
    section,
    table,
    version,
)
from champion_gate.domain.text import enumerated

_MOST_VALIDATED = 20  # rows, so that a validation that tells much leaves room for the rest
_KINDS = {
    "logged_model": "logged model",
    "mlflow_run": "MLflow run",
    "version": "version",
    "validation": "validation run",
}


# --- the rules --------------------------------------------------------------------------------------------


def verdict(rules: Sequence[Document]) -> str:
    """How many rules are met, which are not, and the first number."""
    met = sum(bool(each["ok"]) for each in rules)
    if not rules:
        return "the gate has no rule for numbers"
    said = f"{met} of {len(rules)} {'rule' if len(rules) == 1 else 'rules'} met"
    if met < len(rules):
        said += f", **not {', '.join(code(each['name'], 40) for each in rules if not each['ok'])}**"
    first = rules[0]
    changed = "" if first["change"] is None else f", {number(first['change'], signed=True)}"
    return f"{said}; {code(first['name'], 40)} {number(first['candidate'])}{changed}"


def gate_metrics(document: Document) -> Iterator[str]:
    """The table of the rules' metrics, and below it what each rule asks for and where the numbers come from."""
    metrics = document["gate_metrics"]
    yield from _beside(
        document,
        (((cell(each["name"]), "yes" if each["ok"] else "**NO**"), each) for each in metrics["rows"]),
        ("metric", "ok?"),
    )
    for each in metrics["rows"]:
        better = "higher" if each["better"] == "higher" else "lower"
        yield f"- {code(each['name'])}, {better} is better: {_rule(each)}" + "".join(
            f"; **NO**: {code(problem, 400)}" for problem in each["problems"]
        )
    yield from _sources(metrics["rows"])
    yield from left_out(metrics)
    yield ""


def other_metrics(document: Document) -> Iterator[str]:
    """The metrics on which the gate has no rule, and whose they are."""
    metrics = document["other_metrics"]
    if not metrics["rows"]:
        return
    yield from section("Other metrics, on which the gate has no rule")
    yield from _beside(document, (((cell(each["name"]),), each) for each in metrics["rows"]), ("metric",))
    yield from kinds(metrics["rows"])
    yield from left_out(metrics)


def _beside(
    document: Document, rows: Iterator[tuple[tuple[str, ...], Document]], first: tuple[str, ...]
) -> Iterator[str]:
    """A table in which the candidate's number stands beside the Champion's, where there is one."""
    there_is_none = document["champion"] is None
    now, wanted = (version(document["asked"][key]) for key in ("from_version", "to_version"))
    versions = (wanted,) if there_is_none else (f"{now} → {wanted}", "change")
    yield from table(
        [*first, *versions],
        ["---"] * len(first) + ["---:"] * len(versions),
        (
            (*cells, *((number(each["candidate"]),) if there_is_none else _numbers(each)))
            for cells, each in rows
        ),
    )


def _numbers(metric: Document) -> tuple[str, str]:
    change = number(metric["change"], signed=True)
    return f"{number(metric['champion'])} → {number(metric['candidate'])}", change


def _rule(metric: Document) -> str:
    rules = (("max_worse", "at most {} worse"), ("at_least", "at least {}"), ("at_most", "at most {}"))
    dataset = metric.get("dataset")
    said = [words.format(_limit(metric[key])) for key, words in rules if metric[key] is not None]
    if metric["max_worse"] is not None and metric["change"] is None:
        said[0] += " (nothing to compare with)"
    if dataset is not None:
        said.append(f"on dataset {code(dataset)}" if dataset else "on no dataset")
    return "; ".join(said) or "to be there"


def _limit(value: object) -> str:
    """A bound as gates.yaml has it."""
    return f"{value:.15g}" if isinstance(value, int | float) else code(value)


# --- where they come from ---------------------------------------------------------------------------------


def _sources(metrics: Sequence[Document]) -> Iterator[str]:
    """Where the numbers come from, those of one origin on one line; evidence of earlier releases does not say."""
    found: dict[tuple[str, str], list[str]] = {}
    for metric in metrics:
        for whose, key in (("candidate", "candidate_from"), ("Champion", "champion_from")):
            if metric.get(key) is not None:
                found.setdefault((whose, _source(metric[key])), []).append(code(metric["name"]))
    for (whose, source), names in found.items():
        yield f"- {enumerated(names)} of the {whose}: {source}"


def _source(found: Document) -> str:
    if found["missing"] is not None:
        return f"no number, as {code(found['missing'], 400)}"
    if found["kind"] is None:
        return "not there"
    where = [f"{_KINDS.get(found['kind'], 'elsewhere')} {code(found['id'])}"]
    if found["dataset"] is not None:
        where.append(f"dataset {code(found['dataset'])}")
    if found["kind"] == "logged_model":
        where.append(f"step {code(found['step'])}")
    others = [each for each in found["datasets"]["rows"] if each["name"] != found["dataset"]]
    if others:
        shown = [
            f"{code(each['value'])} on {'no dataset' if each['name'] is None else code(each['name'])}"
            for each in others
        ]
        where.append(f"besides {', '.join(shown)}")
    return ", ".join(where)


def kinds(rows: Sequence[Document]) -> Iterator[str]:
    """Whose the candidate's and the Champion's values are: a logged model's or a run's, those alike on one line."""
    found: dict[str, list[str]] = {}
    for each in rows:
        told = {_KINDS.get(kind, "elsewhere"): None for kind in map(_kind_of, (each, each), _WHOSE) if kind}
        if told:
            found.setdefault(" and of the ".join(told), []).append(code(each["name"]))
    for kind, names in found.items():
        yield f"{'All' if len(names) == len(rows) else enumerated(names)} of the {kind}."
        yield ""


_WHOSE = ("candidate", "champion")


def _kind_of(each: Document, whose: str) -> str | None:
    found = each.get(f"{whose}_from")
    kind = found["kind"] if found is not None else each.get(f"{whose}_kind")
    return None if kind is None else str(kind)


# --- the validation ---------------------------------------------------------------------------------------


def validation(document: Document) -> Iterator[str]:
    """What the gate's validation said, where the gate has one."""
    found = document.get("validation")
    if found is None:
        return
    job, run = found["job"], found["run"]
    details = "" if found["details"] else " It told no details."
    yield f"**Validation passed**: run {link(run['id'], run['url'])} of job {link(job['name'] or job['id'], job['url'])}, ended {code(run['ended_at'])}.{details}"
    if found["report_url"] is not None:
        yield f"Its report: {link('report', found['report_url'])}"
    if run["repaired"]:
        yield "The run was repaired later; this is its first end."
    yield ""
    for each in job["run_as"]:
        who = "not told" if each["name"] is None else code(each["name"])
        yield f"- The validation job runs as {who}{', a group' if each['is_group'] else ''}."
    for name in found["ran_as_trainers"]:
        yield f"- **{code(name)} is among those who trained this version**, so that the validation is not independent of them."
    yield ""
    yield from _checks(found["checks"])
    yield from _validated_metrics(found)


def _checks(checks: Document) -> Iterator[str]:
    yield from table(
        ("check", "ok?", "value", "limit"),
        ("---", "---", "---:", "---:"),
        (
            (
                cell(check["name"]),
                "yes" if check["passed"] else "**NO**",
                number(check["value"]),
                number(check["limit"]),
            )
            for check in checks["rows"][:_MOST_VALIDATED]
        ),
    )
    yield from _not_shown(checks)


def _validated_metrics(found: Document) -> Iterator[str]:
    metrics = found["metrics"]
    yield from table(
        ("reported by the validation", "candidate", "Champion"),
        ("---", "---:", "---:"),
        (
            (cell(metric["name"]), number(metric["candidate"]), number(metric["champion"]))
            for metric in metrics["rows"][:_MOST_VALIDATED]
        ),
    )
    yield from _not_shown(metrics)
    if metrics["rows"] and not found["champion_validated"]:
        yield "No validation of the version that has the alias, by the same job, is in the ledger."
        yield ""


def _not_shown(rows: Document) -> Iterator[str]:
    """The evidence itself has all of them."""
    more = len(rows["rows"]) - _MOST_VALIDATED
    if more > 0:
        yield f"… and {more} more, in the evidence."
        yield ""
