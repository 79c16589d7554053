"""The judge: of what the far ends wrote down, and of what the service says, nothing may be lost, doubled or wrong.

It reads the journal of `far_ends` (`journal.py`), an export of the ledger, and what the API lists. Where something is not
as it must be it says so in a sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from champion_gate.domain.ledger.chain import break_in_chain
from champion_gate.domain.ledger.export import read_members
from faults.proxy import REFUSAL

Row = Mapping[str, Any]

OPEN = {"requested", "validating", "pending_approval", "approved", "copying"}
UNSEEN = {"received", "waiting"}
CHAMPION = "Champion"


@dataclass(frozen=True)
class Heard:
    """All that the judge knows.

    Attributes:
        journal: of the far ends, oldest first.
        ledger: the lines of an export, oldest first.
        promotions, notifications: as the API lists them.
        allowed: the logins whose approval counts.
        refused: whether a vendor refused calls that are in order, which may end what it should not; it says so itself.
    """

    journal: Sequence[Row]
    ledger: Sequence[Row]
    promotions: Sequence[Row]
    notifications: Sequence[Row]
    allowed: frozenset[str]
    refused: bool = False
    _by: dict[str, list[Row]] = field(init=False, default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for line in self.journal:
            self._by[line["what"]].append(line)

    def of(self, what: str) -> list[Row]:
        """The journal's lines of one kind."""
        return self._by.get(what, [])

    def requests_for(self, model: str, version: str) -> set[str]:
        """The requests that ask for this alias's model and this version, under the evidence of their promotion."""
        shown = {f"{row['id']}-{(row['evidence_sha256'] or '')[:12]}" for row in self.promotions}
        asked = [line for line in self.of("request") if line["correlation"] in shown]
        return {line["request"] for line in asked if (line["model"], line["version"]) == (model, version)}

    def approved_before(self, model: str, version: str, n: int) -> bool:
        """Whether an allowed person had approved a request of ours for exactly this version by then."""
        requests = self.requests_for(model, version)
        voided = Counter((line["request"], line["login"]) for line in self.of("not pressed"))
        pressed = Counter(
            (line["request"], line["login"])
            for line in self.of("pressed")
            if line["n"] < n and line["verdict"] == "approve" and line["login"] in self.allowed
        )
        return any(request in requests for request, _ in pressed - voided)

    def is_refused(self, row: Row) -> bool:
        """Whether a vendor's refusal on purpose is what ended this promotion or notification."""
        return self.refused and REFUSAL in f"{row['reason']} {row['last_error']}"

    def is_ordered(self, write: Row) -> bool:
        """Whether an operator had ordered this alias write by then."""
        return any(
            line["n"] < write["n"] and (line["model"], line["version"]) == (write["model"], write["version"])
            for line in self.of("ordered")
        )

    def source_of(self, model: str, version: str) -> tuple[str, str] | None:
        """The version of which this one is a copy."""
        return next(
            (
                (line["source"], line["source_version"])
                for line in self.of("copied")
                if (line["model"], line["version"]) == (model, version)
            ),
            None,
        )


def findings(heard: Heard) -> list[str]:
    """What is lost, doubled or wrong; empty where all is well."""
    return [
        *([] if heard.of("trained") else ["nothing was trained, so there is nothing to judge"]),
        *_notifications(heard),
        *_promotions(heard),
        *_alias_writes(heard),
        *_steps(heard),
        *_what_follows(heard),
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
    if row["phase"] == "rejected":
        return any(line["verdict"] == "reject" or line["login"] not in heard.allowed for line in pressed)
    if row["phase"] == "superseded":
        later = [line for line in heard.of("request") if line.get("model") == model]
        return any(int(line["version"]) > int(version) for line in later)
    if row["phase"] == "stale":
        return any(line not in writes for line in moved)
    return row["phase"] in {"failed", "ineligible"} and heard.is_refused(row)


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
        _, version = heard.source_of(line["model"], line["version"]) or ("", line["version"])
        if not heard.approved_before(line["model"], version, line["n"]):
            yield f"{CHAMPION} of {line['model']} was set on v{line['version']}, which nobody had approved"
    removed = [line for line in heard.of("alias") if line["version"] is None]
    for line in removed:
        if line["alias"] == CHAMPION:
            yield f"{CHAMPION} of {line['model']} was taken away"


def _champions(heard: Heard) -> list[tuple[str, str]]:
    """(model, version) of each of our moves of a Champion, each of which is followed by jobs and endpoints."""
    return [(line["model"], line["version"]) for line in heard.of("alias") if line["alias"] == CHAMPION]


def _steps(heard: Heard) -> Iterator[str]:
    runs = [
        {**line, "version": f"{each.get('model_name')} v{each.get('model_version')}"}
        for line in heard.of("run")
        for each in (line["parameters"],)
    ]
    moves = Counter(f"{model} v{version}" for model, version in _champions(heard))
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
        moves = [version for model, version in _champions(heard) if model == gate["model"]]
        if not moves:
            continue
        moved, version = f"{CHAMPION} of {gate['model']} was moved to v{moves[-1]}", moves[-1]
        runs = [line["parameters"] for line in heard.of("run") if line["job"] == gate["batch"]]
        if not any(run.get("model_version") == version for run in runs):
            yield f"{moved}, and its batch job was not run"
        updates = [line["versions"] for line in heard.of("endpoint") if line["endpoint"] == gate["endpoint"]]
        served = [gate["served"], *updates][-1]
        if served != [version]:
            yield f"{moved}, and the endpoint serves {served}"


def _requests(heard: Heard) -> Iterator[str]:
    ended = {line["request"]: line["status"] for line in heard.of("stands")}
    standing = [line for line in heard.of("request") if ended.get(line["request"]) != "cancelled"]
    for (correlation,), often in _counted(standing, "correlation"):
        if often > 1:
            yield f"people were asked {often} times for {correlation}"
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


def _promoted(heard: Heard) -> Iterator[str]:
    lines = [(line["promotion_id"], line["kind"], line["facts"]) for line in heard.ledger]
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
