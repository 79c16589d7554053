r"""The evidence as Markdown for a CI/CD system's page. Every value from outside is data and stays data.

Values stand in code spans, where CI/CD systems know no markup, links, mentions, emoji, HTML, mermaid or
mathematics. What could end a span, a table cell or a line, or start a command of the runner that prints
it (`::name::` at a line's start, `##[name]` anywhere: actions/runner src/Runner.Common/ActionCommand.cs),
is written as an escape such as `\x60`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from champion_gate.domain.text import escaped, one_line

_LONGEST_CELL = 120
_MOST_VALIDATED = 20  # rows, so that a validation that tells much leaves room for the rest
_ALWAYS_ESCAPED = re.compile(r"[`|<]|(?<=:):|(?<=#)#|\$(?=\{)|^ | $")
_SAFE_URL = re.compile(
    r"https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:[/?#][A-Za-z0-9._~/?#=&%@!+,:-]*)?"
)
_CUT = "\n_Cut here: the rest is too long for this page. `champion-gate promotions show` has the whole evidence._\n"

Document = Mapping[str, Any]

_KINDS = {
    "logged_model": "logged model",
    "mlflow_run": "MLflow run",
    "version": "version",
    "validation": "validation run",
}


def render_markdown(document: Document, sha256: str, limit: int = 60_000) -> str:
    """Write the evidence for people.

    Args:
        document: what `evidence.collect` made, or the same after a trip through JSON.
        sha256: of the document's canonical JSON; shown.
        limit: the result is never longer, in characters; it is cut at the end of a line, with a note.
    """
    return _cut("\n".join(_lines(document, sha256)) + "\n", limit)


def code(value: object, most: int = _LONGEST_CELL) -> str:
    """A value from outside as a code span on one line, unable to be anything else.

    Args:
        value: shown through `str`; None and an empty text are said in words.
        most: how many characters of it are shown, at most.
    """
    if value is None:
        return "—"
    shown = one_line(str(value), most)
    if not shown:
        return "(empty)"
    return f"`{_ALWAYS_ESCAPED.sub(lambda match: escaped(match.group()), shown)}`"


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    kept = text[: max(0, limit - len(_CUT))]
    return (kept[: kept.rfind("\n") + 1] + _CUT)[: max(0, limit)]


def _lines(document: Document, sha256: str) -> Iterator[str]:
    asked, candidate, champion = document["asked"], document["candidate"], document["champion"]
    gone = asked.get("from_is_gone", False)
    before = "none" if champion is None and not gone else _v(asked["from_version"])
    copy = document.get("copy")
    yield f"## {code(asked['alias'])} of {code(asked['model'])}: {before} → {_candidate(asked, copy, 250)}"
    yield ""
    yield from _validation(document.get("validation"))
    yield from _first_table(document)
    yield ""
    yield from _sources(document)
    if gone:
        yield (
            f"**{code(asked['alias'])} stands on version {_v(asked['from_version'])}, which is gone from the registry**:"
            " nothing stands beside this version, and no rule compared it."
        )
        yield ""
    elif champion is None:
        yield (
            f"**There is no {code(asked['alias'])} yet**: this version would be the first, and nothing stands beside it."
        )
        yield ""
    yield (
        f"Approving puts the alias {code(asked['alias'])} of {code(asked['model'], 400)} in {code(asked['registry'], 400)}"
        f" on {'version ' if copy is None else ''}{_candidate(asked, copy, 400)}"
        + ("." if before == "none" else f", and takes it from version {before}.")
    )
    yield from _copy(copy)
    besides = ", but those that the validation reported" if document.get("validation") else ""
    yield (
        f"champion-gate itself read all numbers here{besides} from the registry, on {code(document['frozen_at'])}; the"
        " metrics are what the training runs logged there."
        f" Evidence sha256 {code(sha256)}."
    )
    yield from _other_metrics(document)
    yield from _differences("Parameters that differ", document["parameters"], champion)
    yield from _differences("Tags that differ", document["tags"], champion)
    yield from _people(document["people"])
    yield from _origin(document, candidate)


def _candidate(asked: Document, copy: Document | None, limit: int) -> str:
    if copy is None:
        return _v(asked["to_version"])
    return f"a copy of version {_v(asked['to_version'])} of {code(copy['source_model'], limit)}"


def _copy(copy: Document | None) -> Iterator[str]:
    """Who makes the copy, where a copy gets the alias."""
    if copy is None:
        return
    job, made_of = copy["job"], copy["champion_made_of"]
    if made_of is not None:
        yield f"What stands there is a copy of version {_v(made_of['version'])} of {code(made_of['model'], 400)}."
    if job is not None:
        names = ", ".join(code(each["name"]) for each in job["run_as"])
        yield f"Job {_link(job['name'] or job['id'], job['url'])}, which runs as {names}, makes the copy."


# --- the validation ---------------------------------------------------------------------------------------


def _validation(found: Document | None) -> Iterator[str]:
    """What the gate's validation said: before all else, and only where the gate has one."""
    if found is None:
        return
    job, run = found["job"], found["run"]
    details = "" if found["details"] else " It told no details."
    yield f"**Validation passed**: run {_link(run['id'], run['url'])} of job {_link(job['name'] or job['id'], job['url'])}, ended {code(run['ended_at'])}.{details}"
    if found["report_url"] is not None:
        yield f"Its report: {_link('report', found['report_url'])}"
    if run["repaired"]:
        yield "The run was repaired later; this is its first end."
    yield ""
    yield from _ran_as(found)
    yield from _checks(found["checks"])
    yield from _validated_metrics(found)


def _ran_as(found: Document) -> Iterator[str]:
    for each in found["job"]["run_as"]:
        who = "not told" if each["name"] is None else code(each["name"])
        yield f"- The validation job runs as {who}{', a group' if each['is_group'] else ''}."
    for name in found["ran_as_trainers"]:
        yield f"- **{code(name)} is among those who trained this version**, so that the validation is not independent of them."
    yield ""


def _checks(checks: Document) -> Iterator[str]:
    if not checks["rows"]:
        return
    yield _row("check", "passed", "value", "limit")
    yield _row("---", "---", "---:", "---:")
    for check in checks["rows"][:_MOST_VALIDATED]:
        passed = "yes" if check["passed"] else "**NO**"
        yield _row(code(check["name"]), passed, code(check["value"]), code(check["limit"]))
    yield from _not_shown(checks)


def _validated_metrics(found: Document) -> Iterator[str]:
    if not found["metrics"]["rows"]:
        return
    yield _row("reported by the validation", "candidate", "Champion")
    yield _row("---", "---:", "---:")
    for metric in found["metrics"]["rows"][:_MOST_VALIDATED]:
        yield _row(code(metric["name"]), code(metric["candidate"]), code(metric["champion"]))
    yield from _not_shown(found["metrics"])
    if not found["champion_validated"]:
        yield "No validation of the version that has the alias, by the same job, is in the ledger."
        yield ""


def _not_shown(rows: Document) -> Iterator[str]:
    """The evidence itself has all of them."""
    more = len(rows["rows"]) - _MOST_VALIDATED
    yield ""
    if more > 0:
        yield f"… and {more} more, in the evidence."
        yield ""


# --- the first table --------------------------------------------------------------------------------------


def _first_table(document: Document) -> Iterator[str]:
    candidate, champion = document["candidate"], document["champion"]
    asked = document["asked"]
    alias = code(asked["alias"])
    now = f"no {alias} yet" if champion is None else f"{alias} now: {_v(asked['from_version'])}"
    if asked.get("from_is_gone", False):
        now = f"{alias} now: {_v(asked['from_version'])}, gone"
    yield _row(
        "read by champion-gate", f"candidate: {_v(asked['to_version'])}", now, "change", "asked for", "ok?"
    )
    yield _row("---", "---:", "---:", "---:", "---", "---")
    for metric in document["gate_metrics"]["rows"]:
        said = (
            "yes" if metric["ok"] else f"**NO**: {'; '.join(code(each, 400) for each in metric['problems'])}"
        )
        yield _row(f"**{code(metric['name'])}**, {_better(metric)}", *_numbers(metric), _rule(metric), said)
    yield from _left_out_row(document["gate_metrics"])
    for label, key in (
        ("registered", "created_at"),
        ("registered by", "created_by"),
        ("trained", "trained_at"),
        ("git commit", "git_commit"),
    ):
        yield _row(label, code(candidate[key]), "—" if champion is None else code(champion[key]), "", "", "")
    yield _row("has served", "—", _served(champion), "", "", "")


def _sources(document: Document) -> Iterator[str]:
    """Where each number of the first table comes from; evidence of earlier releases does not say."""
    said = False
    for metric in document["gate_metrics"]["rows"]:
        for whose, key in (("candidate", "candidate_from"), ("Champion", "champion_from")):
            found = metric.get(key)
            if found is None:
                continue
            said = True
            yield f"- {code(metric['name'])} of the {whose}: {_source(found)}"
    if said:
        yield ""


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


def _short_source(each: Document) -> str:
    """In a table: whose the candidate's and the Champion's values are."""
    kinds = [_kind_of(each, "candidate"), _kind_of(each, "champion")]
    told = [_KINDS.get(kind, "elsewhere") if kind else "—" for kind in kinds]
    return told[0] if told[0] == told[1] else f"{told[0]}; {told[1]}"


def _kind_of(each: Document, whose: str) -> str | None:
    found = each.get(f"{whose}_from")
    kind = found["kind"] if found is not None else each.get(f"{whose}_kind")
    return None if kind is None else str(kind)


def _numbers(metric: Document) -> tuple[str, str, str]:
    change = metric["change"]
    signed = f"{change:+.6g}" if isinstance(change, int | float) else code(change)
    return code(metric["candidate"]), code(metric["champion"]), signed


def _better(metric: Document) -> str:
    return "higher is better" if metric["better"] == "higher" else "lower is better"


def _rule(metric: Document) -> str:
    rules = (("max_worse", "at most {} worse"), ("at_least", "at least {}"), ("at_most", "at most {}"))
    dataset = metric.get("dataset")
    said = [words.format(code(metric[key])) for key, words in rules if metric[key] is not None]
    if metric["max_worse"] is not None and metric["change"] is None:
        said[0] += " (nothing to compare with)"
    if dataset is not None:
        said.append(f"on dataset {code(dataset)}" if dataset else "on no dataset")
    return "; ".join(said) or "to be there"


def _served(champion: Document | None) -> str:
    if champion is None:
        return "—"
    seconds = champion["served_seconds"]
    if seconds is None:
        return "not known"
    days, rest = divmod(int(seconds), 86_400)
    return f"{days} d {rest // 3600} h (since {code(champion['since'])})"


# --- the rest ---------------------------------------------------------------------------------------------


def _other_metrics(document: Document) -> Iterator[str]:
    metrics = document["other_metrics"]
    if not metrics["rows"]:
        return
    yield from _section("Other metrics, on which the gate has no rule")
    yield _row("metric", "candidate", "Champion", "change", "of")
    yield _row("---", "---:", "---:", "---:", "---")
    for metric in metrics["rows"]:
        yield _row(code(metric["name"]), *_numbers(metric), _short_source(metric))
    yield from _left_out(metrics)


def _differences(title: str, differing: Document, champion: Document | None) -> Iterator[str]:
    if not differing["rows"]:
        return
    yield from _section(title if champion is not None else title.removesuffix(" that differ"))
    yield _row("name", "candidate", "Champion", "of")
    yield _row("---", "---", "---", "---")
    for each in differing["rows"]:
        yield _row(code(each["name"]), code(each["candidate"]), code(each["champion"]), _short_source(each))
    yield from _left_out(differing)


def _people(people: Document) -> Iterator[str]:
    yield from _section("People behind the candidate")
    for trainer in people["trainers"]["rows"]:
        yield f"- {code(trainer['role'])}: {'not told' if trainer['name'] is None else code(trainer['name'])}"
    yield from _left_out(people["trainers"])
    if people["trainers_may_approve"]:
        yield "- **The gate lets trainers approve their own model** (`allow_trainer_approval`)."
    for person in people["excluded"]["rows"]:
        yield f"- {code(person['login'])} may not decide: {code(person['role'])} {code(person['name'])}"
    yield from _left_out(people["excluded"])
    if people["trainers_may_approve"]:
        return
    for name in people["nobody"]["rows"]:
        yield f"- {code(name)} is no person, and nobody is named who stands behind it."
    yield from _left_out(people["nobody"])
    if not people["excluded"]["rows"]:
        yield "- **Nobody is kept from deciding**, because no person is known to stand behind this version."


def _origin(document: Document, candidate: Document) -> Iterator[str]:
    asked, job = document["asked"], document["job"]
    yield from _section("Where it comes from")
    yield f"- Job run: {_link(job['run_id'], job['url'])} of job {code(job['id'])}; version found by {code(job['found_by'])}"
    for mark in job.get("origin", {"rows": []})["rows"]:
        yield f"- {code(mark, 500)}"
    yield f"- Version: {_link(_plain_version(asked['to_version']), candidate['url'])}, id {code(candidate['version_id'], 250)}"
    yield f"- Source: {code(candidate['source'], 500)}"
    yield f"- MLflow run: {code(candidate['mlflow_run'], 250)}, {code(candidate['mlflow_run_url'], 500)}"
    if candidate.get("logged_model") is not None:
        yield f"- Logged model: {code(candidate['logged_model'], 250)}"
    yield (
        f"- Gate {code(asked['gate'])}, promotion {code(asked['promotion'])}, to be approved in "
        + ", ".join(code(seat) for seat in asked["seats"]["rows"])
    )


def _section(title: str) -> Iterator[str]:
    yield ""
    yield f"### {title}"
    yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _left_out_row(rows: Document) -> Iterator[str]:
    if rows["left_out"]:
        yield _row(f"… and {int(rows['left_out'])} more", "", "", "", "", "")


def _left_out(rows: Document) -> Iterator[str]:
    if rows["left_out"]:
        yield ""
        yield f"… and {int(rows['left_out'])} more, left out here."


def _plain_version(version: object) -> str:
    return f"v{version}"


def _v(version: object) -> str:
    """A version, without a code span where it is the number that it should be."""
    text = _plain_version(version)
    return text if re.fullmatch(r"v[0-9]{1,18}", text, re.ASCII) else code(text)


def _link(label: object, url: str | None) -> str:
    """A link where the URL has nothing in it that Markdown could read otherwise; else both as text."""
    if url is None:
        return code(label)
    if _SAFE_URL.fullmatch(url) and "::" not in url and "##" not in url:
        return f"[{code(label)}]({url})"
    return f"{code(label)} ({code(url, 500)})"
