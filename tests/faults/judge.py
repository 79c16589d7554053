"""The judge: of what the far ends wrote down, and of what the service says, nothing may be lost, doubled or wrong.

It reads the journal of `far_ends` (`journal.py`), an export of the ledger, and what the API lists. Where something is not
as it must be it says so in a sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import inf

from champion_gate.domain.ledger.chain import break_in_chain
from champion_gate.domain.ledger.export import read_members
from faults.heard import Heard, Row

OPEN = {"requested", "validating", "pending_approval", "approved", "copying"}
UNSEEN = {"received", "waiting"}
CHAMPION, CHALLENGER = "Champion", "Challenger"
_OURS = {"promotion", "manual", "rollback", "challenger", "late", "first_seen"}
"""Sources of moves, where nobody moves an alias past the service."""


def findings(heard: Heard) -> list[str]:
    """What is lost, doubled or wrong; empty where all is well."""
    return [
        *([] if heard.of("trained") else ["nothing was trained, so there is nothing to judge"]),
        *_notifications(heard),
        *_promotions(heard),
        *_alias_writes(heard),
        *_steps(heard),
        *_what_follows(heard),
        *_challengers(heard),
        *_requests(heard),
        *_notices(heard),
        *_ledger(heard),
    ]


# --- nothing is lost ---


def _notifications(heard: Heard) -> Iterator[str]:
    rows = defaultdict(list)
    for row in heard.notifications:
        rows[row["run_id"]].append(row)
        if row["phase"] in UNSEEN:
            yield f"the notification of run {row['run_id']} is still {row['phase']}: {row['reason']} {row['last_error']}"
        elif row["phase"] != "resolved" and not row["reason"]:
            yield f"the notification of run {row['run_id']} is {row['phase']} without a reason"
    for run in sorted({line["run"] for line in heard.of("notified") if line["status"] == 202}):
        if not any(row["source"] == "hook" for row in rows[run]):
            yield f"the notification of run {run} was acknowledged and is lost"
    asked = {(row["source_model"], row["version"]) for row in heard.promotions}
    for line in heard.of("trained"):
        if (line["model"], line["version"]) in asked:
            continue
        seen = [row for row in rows[line["run"]] if row["phase"] not in UNSEEN]
        if not seen:
            yield f"{line['model']} v{line['version']} was trained, and nobody has seen it"
        elif not any(heard.is_refused(row) for row in seen):
            yield f"{line['model']} v{line['version']} came to nothing: {seen[0]['reason']}"


def _promotions(heard: Heard) -> Iterator[str]:
    for (model, alias, source, version), often in _counted(
        heard.promotions, "model", "alias", "source_model", "version"
    ):
        if often > 1:
            yield f"{source} v{version} has {often} promotions for {alias} of {model}"
    for row in heard.promotions:
        what = f"promotion {row['id']} of {row['source_model']} v{row['version']}"
        if row["phase"] in OPEN:
            yield f"{what} is still {row['phase']}: {row['reason']} {row['last_error']}"
        elif not row["reason"]:
            yield f"{what} is {row['phase']} without a reason"
        elif not _is_explained(heard, row):
            yield f"{what} is {row['phase']}, and nothing that happened explains it: {row['reason']}"
        for write in _writes_for(heard, row):
            before = _stood_before(heard, write)
            is_its_own = row["phase"] == "promoted" and not heard.is_ordered(write)
            if is_its_own and before not in {row["champion_version"], write["version"]}:
                yield f"{what} was to replace v{row['champion_version']}, and has replaced v{before}"


def _is_explained(heard: Heard, row: Row) -> bool:
    model, version = row["model"], row["version"]
    requests = heard.requests_for(model, version)
    pressed = [line for line in heard.of("pressed") if line["request"] in requests]
    writes = _writes_for(heard, row)
    moved = [line for line in heard.of("alias") if line["model"] == model and line["alias"] == row["alias"]]
    if row["phase"] == "promoted":
        return bool(writes)
    if writes and moved[-1] in writes and not heard.is_ordered(moved[-1]):
        return False  # it came to what was asked for
    approved_at = min((line["n"] for line in pressed if _counts(heard, line)), default=None)
    if row["phase"] == "rejected":
        return any(
            not _counts(heard, line) and (approved_at is None or line["n"] < approved_at) for line in pressed
        )
    if row["phase"] == "superseded":
        asked = heard.of("request") if approved_at is None else _before(heard.of("request"), approved_at)
        later = [line["version"] for line in asked if line.get("model") == model]
        later += [heard.source_version(line) for line in moved if line["version"] is not None]
        return any(int(each) > int(version) for each in later)
    if row["phase"] == "stale":
        shown_at = max(
            (line["n"] for line in _before(moved, _asked_at(heard, requests)) if _shows(row, line)),
            default=heard.trained_at(row),
        )
        return any(line not in writes and not _shows(row, line) and line["n"] > shown_at for line in moved)
    refused = row["phase"] in {"failed", "ineligible"} and heard.is_refused(row)
    return refused and approved_at is None


def _before(lines: Iterable[Row], n: float) -> list[Row]:
    return [line for line in lines if line["n"] < n]


def _asked_at(heard: Heard, requests: set[str]) -> float:
    return min((line["n"] for line in heard.of("request") if line["request"] in requests), default=inf)


def _shows(row: Row, moved: Row) -> bool:
    """Whether a move put the alias where people are shown that it stands."""
    return row["champion_version"] is not None and moved["version"] == row["champion_version"]


def _counts(heard: Heard, pressed: Row) -> bool:
    return pressed["verdict"] == "approve" and pressed["login"] in heard.allowed


def _stood_before(heard: Heard, write: Row) -> str | None:
    """Where a Champion stood when it was written."""
    first = [line["served"][0] for line in heard.of("gate") if line["model"] == write["model"]]
    moves = _champions(heard, write["model"])
    stood: list[str | None] = [*first, *(each["version"] for each in moves if each["n"] < write["n"])]
    return stood[-1] if stood else None


def _writes_for(heard: Heard, row: Row) -> list[Row]:
    """The alias writes that put the promotion's version, or its copy, there."""
    wanted = (row["source_model"], row["version"])
    return [
        line
        for line in heard.of("alias")
        if line["model"] == row["model"]
        and line["alias"] == row["alias"]
        and line["version"] is not None
        and (heard.source_of(line["model"], line["version"]) or (line["model"], line["version"])) == wanted
    ]


# --- nothing happens without an approval, or twice ---


def _alias_writes(heard: Heard) -> Iterator[str]:
    writes = [
        line for line in heard.of("alias") if line["version"] is not None and not heard.is_ordered(line)
    ]
    for (model, alias, version), often in _counted(writes, "model", "alias", "version"):
        if often > 1:
            yield f"{alias} of {model} was set {often} times on v{version}"
    for line in writes:
        if line["alias"] != CHAMPION:
            continue
        if not heard.is_approved(line):
            yield f"{CHAMPION} of {line['model']} was set on v{line['version']}, which nobody had approved"
    for line in _champions(heard):
        if line["version"] is None and not heard.is_ordered(line):
            yield f"{CHAMPION} of {line['model']} was taken away"


def _champions(heard: Heard, model: str = "") -> list[Row]:
    """The moves of all Champions, or of one model's."""
    return [line for line in heard.of("alias") if line["alias"] == CHAMPION and model in {"", line["model"]}]


def _steps(heard: Heard) -> Iterator[str]:
    runs = [
        {**line, "version": f"{each.get('model_name')} v{each.get('model_version')}"}
        for line in heard.of("run")
        for each in (line["parameters"],)
    ]
    moves = Counter(f"{line['model']} v{line['version']}" for line in _champions(heard))
    for (job, version), often in _counted(runs, "job", "version"):
        if often > max(1, moves[version]):
            yield f"job {job} was run {often} times for {version}"
    tokens = Counter(line["token"] for line in heard.of("run"))
    yield from (
        f"a run was started {often} times with the token {token}"
        for token, often in tokens.items()
        if often > 1
    )
    made = [line for line in heard.of("copied") if not line["reused"]]
    for line in made:
        if not heard.approved_before(line["model"], line["source_version"], line["n"]):
            yield f"{line['source']} v{line['source_version']} was copied before anybody approved it"
    for (source, version, model), often in _counted(made, "source", "source_version", "model"):
        if often > 1:
            yield f"{source} v{version} was copied {often} times to {model}"
    updates = [{**line, "told": ", ".join(line["versions"])} for line in heard.of("endpoint")]
    models = {line["endpoint"]: line["model"] for line in heard.of("gate")}
    for (endpoint, version), often in _counted(updates, "endpoint", "told"):
        if often > max(1, moves[f"{models.get(endpoint)} v{version}"]):
            yield f"endpoint {endpoint} was updated {often} times to v{version}"


def _what_follows(heard: Heard) -> Iterator[str]:
    """Nothing has overtaken what the last move of a Champion is followed by."""
    for gate in heard.of("gate"):
        moves = _champions(heard, gate["model"])
        runs = [line for line in heard.of("run") if line["job"] == gate["batch"]]
        updates = [line for line in heard.of("endpoint") if line["endpoint"] == gate["endpoint"]]
        for line in runs:
            version = line["parameters"].get("model_version")
            yield from _only_after(moves, version, line, f"batch job {gate['batch']} was run")
        for line in updates:
            for version in line["versions"]:
                yield from _only_after(moves, version, line, f"endpoint {gate['endpoint']} was updated")
        if not moves or moves[-1]["version"] is None:
            continue
        version = moves[-1]["version"]
        moved = f"{CHAMPION} of {gate['model']} was moved to v{version}"
        if not any(line["parameters"].get("model_version") == version for line in runs):
            yield f"{moved}, and its batch job was not run"
        served = [gate["served"], *(line["versions"] for line in updates)][-1]
        if served != [version]:
            yield f"{moved}, and the endpoint serves {served}"


def _only_after(moves: Iterable[Row], version: str, line: Row, what: str) -> Iterator[str]:
    if not any(move["version"] == version and move["n"] < line["n"] for move in moves):
        yield f"{what} for v{version} before the alias was there"


def _challengers(heard: Heard) -> Iterator[str]:
    stands = {line["model"]: line["version"] for line in heard.of("alias") if line["alias"] == CHALLENGER}
    for model, version in stands.items():
        if version is not None:
            yield f"{CHALLENGER} of {model} was left on v{version}"


def _requests(heard: Heard) -> Iterator[str]:
    ended = {line["request"]: line["status"] for line in heard.of("stands")}
    not_ours = {line["request"] for line in heard.of("asked by others")}
    standing = [
        line["correlation"].rpartition("-")[0]
        for line in heard.of("request")
        if ended.get(line["request"]) != "cancelled" and line["request"] not in not_ours
    ]
    for promotion, often in Counter(standing).items():
        if often > 1:
            yield f"people were asked {often} times for promotion {promotion}"
    validations = {line["model"]: (line["validation"], line["source"]) for line in heard.of("gate")}
    runs = [(line["job"], line["parameters"].get("model_version"), line["n"]) for line in heard.of("run")]
    for line in heard.of("request"):
        job, _ = validations.get(line.get("model"), ("", ""))
        if job and not any((job, line["version"]) == run[:2] and run[2] < line["n"] for run in runs):
            yield f"people were asked about {line['model']} v{line['version']} before it was validated"
    open_ones = {
        row["request"]["external_id"] for row in heard.promotions if row["phase"] in OPEN and row["request"]
    }
    for request, status in ended.items():
        if status == "open" and request not in open_ones:
            yield f"the request {request} is open, and no promotion waits for it"


def _notices(heard: Heard) -> Iterator[str]:
    told = [line for line in heard.of("notice") if line["kind"] == "webhook"]
    about: dict[str, set[str]] = defaultdict(set)
    for line in told:
        facts = line["about"] or {}
        about[f"{line['type']} of {facts.get('promotion')}: {facts.get('title')}"].add(line["id"])
    for what, ids in about.items():
        if len(ids) > 1:
            yield f"{what} was told under {len(ids)} ids"
    known = {(line["type"], (line["about"] or {}).get("promotion")) for line in told}
    for row in heard.promotions:
        if row["phase"] == "promoted" and ("promotion.promoted", row["id"]) not in known:
            yield f"nobody was told that promotion {row['id']} was promoted"


def _counted(lines: Sequence[Row], *names: str) -> list[tuple[tuple[str, ...], int]]:
    return list(Counter(tuple(line[name] for name in names) for line in lines).items())


# --- the ledger tells the same ---


def _ledger(heard: Heard) -> Iterator[str]:
    before = None
    for members in heard.ledger:
        line = read_members(members)
        if broken := break_in_chain(before, line):
            yield broken
            break
        before = line
    yield from _moves(heard)
    yield from _stands(heard)
    yield from _promoted(heard)
    yield from _decisions(heard)


def _moves(heard: Heard) -> Iterator[str]:
    told: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    for line in heard.ledger:
        if line["kind"] == "alias_change" and line["facts"].get("source") != "first_seen":
            told[line["model"], line["alias"]].append(line["facts"]["to"])
    seen: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    for line in heard.of("alias"):
        seen[line["model"], line["alias"]].append(line["version"])
    for model, alias in sorted(seen.keys() | told.keys()):
        if told[model, alias] != _without_repeats(seen[model, alias]):
            yield (
                f"{alias} of {model} went {_way(seen[model, alias])} in the registry, "
                f"and {_way(told[model, alias])} in the ledger"
            )


def _without_repeats(versions: Sequence[str | None]) -> list[str | None]:
    return [version for version, _ in groupby(versions)]


def _way(versions: Sequence[str | None]) -> str:
    return " -> ".join(f"v{each}" if each else "nothing" for each in versions) or "nowhere"


def _stands(heard: Heard) -> Iterator[str]:
    told = {
        (line["model"], line["alias"]): line["facts"]
        for line in heard.ledger
        if line["kind"] == "alias_change"
    }
    for line in heard.of("holds"):
        facts = told.get((line["model"], line["alias"]))
        if facts is not None and facts["to"] != line["version"]:
            yield f"{line['alias']} of {line['model']} is v{line['version']}, and the ledger says v{facts['to']}"
    for line in heard.ledger:
        if line["kind"] == "alias_change" and line["facts"].get("source") not in _OURS:
            yield f"line {line['number']} of the ledger tells of a move by others, and there was none"


def _promoted(heard: Heard) -> Iterator[str]:
    lines = [(line["promotion_id"], line["kind"], line["facts"]) for line in heard.ledger]
    decided = Counter(
        of for of, kind, facts in lines if kind == "decision" and facts.get("verdict") == "approved"
    )
    for promotion, often in decided.items():
        if often > 1:
            yield f"the ledger tells {often} times of an approval of promotion {promotion}"
    approved = {of for of, kind, facts in lines if kind == "decision" and facts.get("verdict") == "approved"}
    moved = {of for of, kind, facts in lines if kind == "alias_change" and facts.get("source") == "promotion"}
    for row in heard.promotions:
        if row["phase"] == "promoted" and row["id"] not in approved:
            yield f"the ledger does not tell of an approval of promotion {row['id']}"
        if row["phase"] == "promoted" and row["id"] not in moved:
            yield f"the ledger does not tell of a move by promotion {row['id']}"


def _decisions(heard: Heard) -> Iterator[str]:
    shown = {row["id"]: (row["model"], row["version"]) for row in heard.promotions}
    for line in heard.ledger:
        if line["kind"] != "decision" or line["facts"].get("verdict") != "approved":
            continue
        logins = [each.get("login") for each in line["facts"].get("deciders") or []]
        what = f"line {line['number']} of the ledger"
        requests = heard.requests_for(*shown.get(line["promotion_id"], ("", "")))
        approved = {
            each["login"]
            for each in heard.of("pressed")
            if each["verdict"] == "approve" and each["request"] in requests
        }
        if not logins:
            yield f"{what} is an approval by nobody"
        for login in logins:
            if login not in heard.allowed:
                yield f"{what} counts the approval of {login}"
            elif login not in approved:
                yield f"{what} counts an approval of {login}, who never gave one"
