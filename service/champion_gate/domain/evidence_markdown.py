"""The evidence as a page that a reviewer reads in a minute, on a wide screen or a phone.

Its first line says what is asked and whether the rules are met. Tables have few columns, so that GitHub's page shows
all of them; what is long stands in lists, whose lines break anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from champion_gate.domain.evidence_numbers import gate_metrics, kinds, other_metrics, validation, verdict
from champion_gate.domain.markdown import Document, cell, code, left_out, link, section, table, version

_COMMIT = 12  # as many hexadecimal digits as tell the commits of a large repository apart
_CUT = "\n_Cut here: the rest is too long for this page. `champion-gate promotions show` has the whole evidence._\n"


def render_markdown(document: Document, sha256: str, limit: int = 60_000) -> str:
    """Write the evidence for people.

    Args:
        document: what `evidence.collect` made, or the same after a trip through JSON.
        sha256: of the document's canonical JSON; shown.
        limit: the result is never longer, in characters; it is cut at the end of a line, with a note.
    """
    text = "\n".join(_lines(document, sha256)) + "\n"
    return _cut(re.sub(r"\n{3,}", "\n\n", text), limit)


def summary(document: Document) -> str:
    """The first line: what is asked, whether the rules are met, and by how much."""
    asked, copy = document["asked"], document.get("copy")
    wanted = version(asked["to_version"])
    if copy is not None:
        wanted = f"a copy of {wanted} of {code(copy['source_model'], 250)}"
    validated = ", validation passed" if document.get("validation") else ""
    told = verdict(document["gate_metrics"]["rows"])
    return f"{wanted} → {code(asked['alias'])} of {code(asked['model'], 250)}: {told}{validated}"


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    kept = text[: max(0, limit - len(_CUT))]
    return (kept[: kept.rfind("\n") + 1] + _CUT)[: max(0, limit)]


def _lines(document: Document, sha256: str) -> Iterator[str]:
    champion = document["champion"]
    yield f"## {summary(document)}"
    yield ""
    yield from gate_metrics(document)
    yield from _asked(document, sha256)
    yield ""
    yield from validation(document)
    yield from _versions(document)
    yield from other_metrics(document)
    yield from _differences("Parameters that differ", document["parameters"], champion)
    yield from _differences("Tags that differ", document["tags"], champion)
    yield from _people(document["people"])
    yield from _origin(document)


# --- what is asked ----------------------------------------------------------------------------------------


def _asked(document: Document, sha256: str) -> Iterator[str]:
    """What an approval does, and what it rests on."""
    asked, copy = document["asked"], document.get("copy")
    alias, model = code(asked["alias"]), code(asked["model"], 400)
    before = asked["from_version"]
    if asked.get("from_is_gone", False):
        yield (
            f"**{alias} stands on version {version(before)}, which is gone from the registry**: nothing stands beside"
            " this version, and no rule compared it."
        )
        yield ""
    elif document["champion"] is None:
        yield f"**There is no {alias} yet**: this version would be the first, and nothing stands beside it."
        yield ""
    wanted = f"version {version(asked['to_version'])}"
    if copy is not None:
        wanted = f"a copy of {wanted} of {code(copy['source_model'], 400)}"
    taken = (
        ""
        if before is None
        else f", and takes it from version {version(before)}{_served(document['champion'])}"
    )
    yield f"Approving puts the alias {alias} of {model} in {code(asked['registry'], 400)} on {wanted}{taken}."
    yield from _copy(copy)
    besides = " (but those that the validation reported)" if document.get("validation") else ""
    yield (
        f"champion-gate itself read all numbers here{besides} from the registry, on {code(document['frozen_at'])}; the"
        " metrics are what the training runs logged there, rounded to five digits."
        f" Evidence sha256 {code(sha256)}."
    )


def _copy(copy: Document | None) -> Iterator[str]:
    """Who makes the copy, where a copy gets the alias."""
    if copy is None:
        return
    job, made_of = copy["job"], copy["champion_made_of"]
    if made_of is not None:
        yield f"What stands there is a copy of version {version(made_of['version'])} of {code(made_of['model'], 400)}."
    if job is not None:
        names = ", ".join(code(each["name"]) for each in job["run_as"])
        yield f"Job {link(job['name'] or job['id'], job['url'])}, which runs as {names}, makes the copy."


# --- the versions -----------------------------------------------------------------------------------------


def _versions(document: Document) -> Iterator[str]:
    """When each was made and of what; what neither version tells is left out."""
    asked, champion = document["asked"], document["champion"]
    both = {version(asked["to_version"]): document["candidate"]}
    if champion is not None:
        both[f"{version(asked['from_version'])}, now"] = champion
    trained = "trained" if any(each["trained_at"] for each in both.values()) else "created"
    columns = {trained: f"{trained}_at", "commit": "git_commit"}
    told = {head: key for head, key in columns.items() if any(each[key] for each in both.values())}
    yield from table(
        ("", *told),
        ["---"] * (1 + len(told)),
        (
            (which, *((_commit if key == "git_commit" else _time)(each[key]) for key in told.values()))
            for which, each in both.items()
        )
        if told
        else (),
    )


def _time(text: object) -> str:
    """To the minute: the evidence has the second."""
    found = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}):[0-9]{2}Z", str(text), re.ASCII)
    return cell(text) if found is None else f"{found[1]} {found[2]} UTC"


def _commit(text: str | None) -> str:
    return code(text[:_COMMIT]) if text and re.fullmatch(r"[0-9a-f]{12,64}", text, re.ASCII) else cell(text)


def _served(champion: Document | None) -> str:
    seconds = None if champion is None else champion["served_seconds"]
    if seconds is None:
        return ""
    days, rest = divmod(int(seconds), 86_400)
    return f", which has served {days} d {rest // 3600} h"


def _differences(title: str, differing: Document, champion: Document | None) -> Iterator[str]:
    if not differing["rows"]:
        return
    yield from section(title if champion is not None else title.removesuffix(" that differ"))
    for each in differing["rows"]:
        values = (
            [code(each["candidate"])]
            if champion is None
            else [code(each["champion"]), code(each["candidate"])]
        )
        yield f"- {code(each['name'])}: {' → '.join(values)}"
    yield ""
    yield from kinds(differing["rows"])
    yield from left_out(differing)


# --- the people -------------------------------------------------------------------------------------------


def _people(people: Document) -> Iterator[str]:
    """Everybody once: who must not decide, and who stands behind the candidate besides."""
    yield from section("People behind the candidate")
    roles: dict[str | None, dict[str, None]] = {}
    logins: dict[str | None, dict[str, None]] = {}
    for each in people["trainers"]["rows"] + people["excluded"]["rows"]:
        roles.setdefault(each["name"], {})[code(each["role"])] = None
    for each in people["excluded"]["rows"]:
        logins.setdefault(each["name"], {})[each["login"]] = None
    for name, known in roles.items():
        accounts = logins.get(name, {})
        who = "not told" if name is None else code(name)
        kept_out = f"{', '.join(map(code, accounts))} may not decide: " if accounts else ""
        yield f"- {kept_out}{', '.join([who, *known])}"
    yield from left_out(people["trainers"])
    yield from left_out(people["excluded"])
    if people["trainers_may_approve"]:
        yield "- **The gate lets trainers approve their own model** (`allow_trainer_approval`)."
        return
    for name in people["nobody"]["rows"]:
        yield f"- {code(name)} is no person, and nobody is named who stands behind it."
    yield from left_out(people["nobody"])
    if not people["excluded"]["rows"]:
        yield "- **Nobody is kept from deciding**, because no person is known to stand behind this version."


# --- where it comes from ----------------------------------------------------------------------------------


def _origin(document: Document) -> Iterator[str]:
    asked, job, candidate, champion = (document[key] for key in ("asked", "job", "candidate", "champion"))
    yield from section("Where it comes from")
    if job["run_id"]:
        yield f"- Job run: {link(job['run_id'], job['url'])} of job {code(job['id'])}; version found by {code(job['found_by'])}"
    else:
        yield f"- No job run; version found by {code(job['found_by'])}"
    for mark in job.get("origin", {"rows": []})["rows"]:
        yield f"- {code(mark, 500)}"
    yield f"- Version: {link('v' + str(asked['to_version']), candidate['url'])}, id {code(candidate['version_id'], 250)}, created {_time(candidate['created_at'])}"
    for what, key in (("Source", "source"), ("Logged model", "logged_model")):
        if candidate.get(key) is not None:
            yield f"- {what}: {code(candidate[key], 500)}"
    if candidate["mlflow_run"] is not None:
        url = candidate["mlflow_run_url"]
        yield f"- MLflow run: {code(candidate['mlflow_run'], 250)}" + (
            "" if url is None else f", {code(url, 500)}"
        )
    registrants = {each["name"] for each in document["people"]["trainers"]["rows"]}
    for which, each in ((asked["to_version"], candidate), (asked["from_version"], champion)):
        if each is not None and each["created_by"] not in {None, *registrants}:
            yield f"- {version(which)} was registered by {code(each['created_by'])}"
    yield (
        f"- Gate {code(asked['gate'])}, promotion {code(asked['promotion'])}, to be approved in "
        + ", ".join(code(seat) for seat in asked["seats"]["rows"])
    )
