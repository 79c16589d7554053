"""The judge finds whatever is lost, doubled or wrong, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from champion_gate.domain.canonical import canonical
from champion_gate.domain.ledger.chain import GENESIS, chain_hash
from champion_gate.domain.ledger.export import BODY_MEMBERS
from faults.heard import Heard, Row
from faults.judge import findings
from faults.proxy import REFUSAL

MODEL, COPY = "main.ml.m0", "prod.ml.m0"
Lines = list[dict[str, Any]]


def numbered(lines: Sequence[Row]) -> Lines:
    return [{"n": n, **line} for n, line in enumerate(lines, 1)]


def chained(entries: Lines) -> Lines:
    lines, previous = [], GENESIS
    for number, entry in enumerate(entries, 1):
        usual = {
            "registry": "databricks-uc",
            "model": COPY,
            "alias": "Champion",
            "actor": "reviewer-1",
            "reason": "",
            "at": "2026-01-05T09:00:00+00:00",
            "promotion_id": "p1",
            "facts": {},
        }
        members = {**usual, **entry, "number": number}
        hashed = chain_hash(previous, canonical({name: members[name] for name in BODY_MEMBERS}))
        lines.append({**members, "previous_hash": previous, "hash": hashed})
        previous = hashed
    return lines


FIRST_SEEN = {"kind": "alias_change", "facts": {"from": None, "to": "1", "source": "first_seen"}}
DECIDED = {"kind": "decision", "facts": {"verdict": "approved", "deciders": [{"login": "reviewer-1"}]}}
MOVED: dict[str, Any] = {"kind": "alias_change", "facts": {"from": "1", "to": "2", "source": "promotion"}}
ASKED = {"request": "77", "correlation": "p1-0123456789ab", "model": COPY, "version": "2"}
TRAINED = {"what": "trained", "run": "5", "job": "9", "model": MODEL, "version": "2"}
MOVE = {"what": "alias", "model": COPY, "alias": "Champion", "version": "2"}
JOURNAL: Lines = [
    {
        "what": "gate",
        "model": COPY,
        "source": MODEL,
        "validation": "10",
        "batch": "11",
        "endpoint": "churn",
        "served": ["1"],
    },
    TRAINED,
    {"what": "notified", "run": "5", "status": 202},
    {
        "what": "run",
        "run": "6",
        "job": "10",
        "token": "t1",
        "parameters": {"model_name": MODEL, "model_version": "2"},
    },
    {"what": "request", "by": "bot", **ASKED},
    {"what": "pressed", "request": "77", "login": "reviewer-1", "verdict": "approve"},
    {
        "what": "copied",
        "model": COPY,
        "version": "2",
        "source": MODEL,
        "source_version": "2",
        "reused": False,
    },
    MOVE,
    {
        "what": "run",
        "run": "7",
        "job": "11",
        "token": "t3",
        "parameters": {"model_name": COPY, "model_version": "2"},
    },
    {"what": "endpoint", "endpoint": "churn", "by": "gate", "versions": ["2"]},
    {
        "what": "notice",
        "kind": "webhook",
        "id": "msg-1",
        "type": "promotion.promoted",
        "about": {"promotion": "p1", "title": "v2 has Champion"},
    },
    {"what": "stands", "request": "77", "status": "success"},
]
PROMOTION: dict[str, Any] = {
    "id": "p1",
    "model": COPY,
    "source_model": MODEL,
    "version": "2",
    "champion_version": "1",
    "alias": "Champion",
    "phase": "promoted",
    "reason": "approved",
    "last_error": None,
    "request": {"external_id": "77"},
    "evidence_sha256": "0123456789ab" + 52 * "c",
}
NOTIFICATION: dict[str, Any] = {
    "run_id": "5",
    "source": "hook",
    "phase": "resolved",
    "reason": "found",
    "last_error": None,
}
WELL = Heard(
    journal=numbered(JOURNAL),
    ledger=chained([FIRST_SEEN, DECIDED, MOVED]),
    promotions=[PROMOTION],
    notifications=[NOTIFICATION],
    allowed=frozenset({"reviewer-1", "reviewer-2"}),
)


AFTER_APPROVAL = {"alias", "copied", "endpoint", "notice"}


def changed(what: str, **facts: Any) -> Heard:
    """All lines of a kind with other facts."""
    lines = [{**line, **facts} if line["what"] == what else line for line in JOURNAL]
    return replace(WELL, journal=numbered(lines))


def without(what: str) -> Heard:
    return replace(WELL, journal=numbered([line for line in JOURNAL if line["what"] != what]))


def twice(what: str, **facts: Any) -> Heard:
    """One more line like those of a kind, right after them."""
    lines = []
    for line in JOURNAL:
        lines.append(line)
        if line["what"] == what:
            lines.append({**line, **facts})
    return replace(WELL, journal=numbered(lines))


def without_run(job: str) -> Heard:
    return replace(WELL, journal=numbered([line for line in JOURNAL if line.get("job") != job]))


def late(what: str) -> Heard:
    """Those of a kind come last."""
    return replace(WELL, journal=numbered(sorted(JOURNAL, key=lambda line: line["what"] == what)))


def early(what: str, **facts: Any) -> Heard:
    """Those of a kind that have these facts come first."""
    wanted = {"what": what, **facts}
    return replace(
        WELL, journal=numbered(sorted(JOURNAL, key=lambda line: not wanted.items() <= line.items()))
    )


def and_then(heard: Heard, *lines: dict[str, Any]) -> Heard:
    """What happens after all else."""
    return replace(heard, journal=numbered([*heard.journal, *lines]))


def promotion(**facts: Any) -> Heard:
    return replace(WELL, promotions=[{**PROMOTION, **facts}])


def notification(**facts: Any) -> Heard:
    return replace(WELL, notifications=[{**NOTIFICATION, **facts}])


def ledger(*entries: dict[str, Any]) -> Heard:
    return replace(WELL, ledger=chained(list(entries)))


def edited() -> Heard:
    lines = [*WELL.ledger]
    lines[1] = {**lines[1], "actor": "reviewer-2"}
    return replace(WELL, ledger=lines)


def test_nothing_is_found_where_all_is_well() -> None:
    assert findings(WELL) == []


def test_what_was_set_without_a_copy_counts_for_the_version_itself() -> None:
    lines = [line for line in JOURNAL if line["what"] != "copied"]
    lines = [
        {**line, "model": MODEL} if line["what"] in {"alias", "request", "gate"} else line for line in lines
    ]
    entries = [{**entry, "model": MODEL} for entry in (FIRST_SEEN, DECIDED, MOVED)]
    made = replace(promotion(model=MODEL), journal=numbered(lines), ledger=chained(entries))
    assert findings(made) == []


WRONG: dict[str, tuple[Callable[[], Heard], str]] = {
    "a notification is lost": (lambda: replace(WELL, notifications=[]), "was acknowledged and is lost"),
    "only the sweep has it": (lambda: notification(source="sweep"), "was acknowledged and is lost"),
    "a notification is open": (lambda: notification(phase="waiting"), "is still waiting"),
    "it is ignored without a reason": (lambda: notification(phase="ignored", reason=""), "without a reason"),
    "a version is asked about by nobody": (lambda: replace(WELL, promotions=[]), "came to nothing"),
    "a version is seen by nobody": (
        lambda: replace(WELL, promotions=[], notifications=[], journal=numbered([TRAINED])),
        "nobody has seen it",
    ),
    "a promotion is open": (lambda: promotion(phase="approved"), "is still approved"),
    "it says promoted, and is not": (lambda: without("alias"), "nothing that happened explains it"),
    "it ends as nobody wished": (lambda: promotion(phase="rejected"), "nothing that happened explains it"),
    "it is stale, and nobody else moved the alias": (
        lambda: promotion(phase="stale"),
        "nothing that happened explains it",
    ),
    "it is stale, and the alias was moved before it was trained": (
        lambda: replace(
            promotion(phase="stale"),
            journal=numbered([{**MOVE, "version": "1"}, *without("alias").journal]),
        ),
        "nothing that happened explains it",
    ),
    "it is rejected, and was approved before anybody else pressed": (
        lambda: and_then(
            replace(promotion(phase="rejected"), journal=without("alias").journal),
            {"what": "pressed", "request": "77", "login": "octo-trainer", "verdict": "approve"},
        ),
        "nothing that happened explains it",
    ),
    "it replaces another version than the one that was shown": (
        lambda: promotion(champion_version="9"),
        "was to replace v9, and has replaced v1",
    ),
    "it fails where a vendor is down": (
        lambda: replace(
            promotion(phase="failed", reason=f"503: {REFUSAL}"),
            refused=True,
            journal=without("alias").journal,
        ),
        "nothing that happened explains it",
    ),
    "it fails over a refusal, and was approved": (
        lambda: replace(
            promotion(phase="failed", reason=f"403: {REFUSAL}"),
            refused=True,
            journal=without("alias").journal,
        ),
        "nothing that happened explains it",
    ),
    "it is superseded by what was asked for after its approval": (
        lambda: replace(
            and_then(
                replace(promotion(phase="superseded"), journal=without("alias").journal),
                {"what": "request", "by": "bot", **ASKED, "request": "78", "version": "3"},
            ),
        ),
        "nothing that happened explains it",
    ),
    "it is stale over the move that people were shown": (
        lambda: replace(
            promotion(phase="stale"),
            journal=numbered(
                [
                    line
                    for each in without("alias").journal
                    for line in ([each, {**MOVE, "version": "1"}] if each["what"] == "trained" else [each])
                ]
            ),
        ),
        "nothing that happened explains it",
    ),
    "an order is given again and again, and carried out twice": (
        lambda: and_then(
            WELL, *2 * [{"what": "ordered", "model": COPY, "version": "1"}], *2 * [{**MOVE, "version": "1"}]
        ),
        "which nobody had approved",
    ),
    "an order that was refused is carried out": (
        lambda: and_then(
            WELL,
            *({"what": what, "model": COPY, "version": "1"} for what in ("ordered", "refused")),
            {**MOVE, "version": "1"},
        ),
        "which nobody had approved",
    ),
    "an order is carried out twice": (
        lambda: and_then(
            WELL, {"what": "ordered", "model": COPY, "version": "1"}, *2 * [{**MOVE, "version": "1"}]
        ),
        "which nobody had approved",
    ),
    "the Challenger is left": (
        lambda: and_then(WELL, {**MOVE, "model": MODEL, "alias": "Challenger"}),
        "Challenger of main.ml.m0 was left on v2",
    ),
    "it is copied before it is approved": (lambda: early("copied"), "was copied before anybody approved it"),
    "the batch job is run before the alias is moved": (
        lambda: early("run", job="11"),
        "batch job 11 was run for v2 before the alias was there",
    ),
    "the endpoint is updated before the alias is moved": (
        lambda: early("endpoint"),
        "endpoint churn was updated for v2 before the alias was there",
    ),
    "people are asked before it is validated": (lambda: without_run("10"), "before it was validated"),
    "people are asked twice under other evidence": (
        lambda: twice("request", request="78", correlation="p1-ba9876543210"),
        "people were asked 2 times for promotion p1",
    ),
    "the alias is elsewhere than the ledger says": (
        lambda: and_then(WELL, {"what": "holds", "model": COPY, "alias": "Champion", "version": "1"}),
        "is v1, and the ledger says v2",
    ),
    "the ledger tells of others who moved it": (
        lambda: ledger(FIRST_SEEN, DECIDED, MOVED, {**MOVED, "facts": {"to": "2", "source": "outside"}}),
        "tells of a move by others",
    ),
    "the ledger approves twice": (
        lambda: ledger(FIRST_SEEN, DECIDED, DECIDED, MOVED),
        "tells 2 times of an approval",
    ),
    "it failed, and its version has the alias": (
        lambda: replace(promotion(phase="failed"), refused=True),
        "nothing that happened explains it",
    ),
    "it is cancelled, by nobody": (
        lambda: replace(promotion(phase="cancelled"), refused=True, journal=without("alias").journal),
        "nothing that happened explains it",
    ),
    "one version has two promotions": (
        lambda: replace(
            WELL, promotions=[PROMOTION, {**PROMOTION, "id": "p2", "phase": "failed"}], refused=True
        ),
        "has 2 promotions",
    ),
    "nothing has happened": (
        lambda: replace(WELL, journal=[], ledger=[], promotions=[], notifications=[]),
        "there is nothing to judge",
    ),
    "it fails where nothing is refused": (
        lambda: promotion(phase="failed"),
        "nothing that happened explains it",
    ),
    "it fails where something else is refused": (
        lambda: replace(promotion(phase="failed"), refused=True, journal=without("alias").journal),
        "nothing that happened explains it",
    ),
    "it comes to nothing where something else is refused": (
        lambda: replace(WELL, promotions=[], refused=True),
        "came to nothing",
    ),
    "the alias is set twice": (lambda: twice("alias"), "was set 2 times on v2"),
    "nobody approved": (lambda: without("pressed"), "which nobody had approved"),
    "the trainer approved": (lambda: changed("pressed", login="octo-trainer"), "which nobody had approved"),
    "it was rejected": (lambda: changed("pressed", verdict="reject"), "which nobody had approved"),
    "it was approved later": (lambda: late("pressed"), "which nobody had approved"),
    "another version was approved": (lambda: changed("request", version="3"), "which nobody had approved"),
    "what was approved showed other evidence": (
        lambda: changed("request", correlation="p1-ba9876543210"),
        "which nobody had approved",
    ),
    "another request was approved": (lambda: changed("pressed", request="78"), "which nobody had approved"),
    "the vendor refused the approval": (
        lambda: replace(
            WELL,
            journal=numbered(
                [*JOURNAL[:6], {"what": "not pressed", "request": "77", "login": "reviewer-1"}, *JOURNAL[6:]]
            ),
        ),
        "which nobody had approved",
    ),
    "the alias is taken away": (lambda: twice("alias", version=None), "was taken away"),
    "a job is run twice": (lambda: twice("run", run="8", token="t2"), "was run 2 times"),
    "a token starts two runs": (
        lambda: twice("run", run="8", parameters={"model_name": MODEL, "model_version": "3"}),
        "with the token t1",
    ),
    "a version is copied twice": (lambda: twice("copied", version="3"), "was copied 2 times"),
    "a batch job is run twice for one move": (
        lambda: twice("run", run="8", token="t2"),
        "job 11 was run 2 times",
    ),
    "an endpoint is updated twice": (lambda: twice("endpoint"), "was updated 2 times"),
    "the batch job is not run": (lambda: without_run("11"), "its batch job was not run"),
    "the batch job is run for another version": (
        lambda: changed("run", parameters={"model_version": "1"}),
        "its batch job was not run",
    ),
    "the endpoint is not updated": (lambda: without("endpoint"), "the endpoint serves ['1']"),
    "the endpoint serves another version": (
        lambda: changed("endpoint", versions=["3"]),
        "the endpoint serves ['3']",
    ),
    "the endpoint is put back": (lambda: twice("endpoint", versions=["1"]), "the endpoint serves ['1']"),
    "nobody is told": (lambda: without("notice"), "nobody was told that promotion p1 was promoted"),
    "what is told is something else": (
        lambda: changed("notice", type="promotion.requested"),
        "nobody was told that promotion p1 was promoted",
    ),
    "people are asked twice": (
        lambda: replace(twice("request", request="78"), promotions=[PROMOTION]),
        "people were asked 2 times",
    ),
    "a request is left open": (lambda: changed("stands", status="open"), "no promotion waits for it"),
    "a notice has two ids": (lambda: twice("notice", id="msg-2"), "was told under 2 ids"),
    "the ledger was edited": (edited, "has been edited"),
    "the ledger lacks a move": (lambda: ledger(FIRST_SEEN, DECIDED), "and nowhere in the ledger"),
    "the ledger tells of a move that was none": (
        lambda: ledger(
            FIRST_SEEN, DECIDED, MOVED, {**MOVED, "facts": {"from": "2", "to": "3", "source": "promotion"}}
        ),
        "and v2 -> v3 in the ledger",
    ),
    "the ledger counts the trainer": (
        lambda: ledger(
            FIRST_SEEN,
            {**DECIDED, "facts": {"verdict": "approved", "deciders": [{"login": "octo-trainer"}]}},
            MOVED,
        ),
        "counts the approval of octo-trainer",
    ),
    "the ledger counts who never pressed": (
        lambda: ledger(
            FIRST_SEEN,
            {**DECIDED, "facts": {"verdict": "approved", "deciders": [{"login": "reviewer-2"}]}},
            MOVED,
        ),
        "who never gave one",
    ),
    "the ledger counts who approved something else": (
        lambda: replace(
            ledger(FIRST_SEEN, {**DECIDED, "promotion_id": "p2"}, MOVED),
            promotions=[PROMOTION, {**PROMOTION, "id": "p2", "version": "3"}],
        ),
        "who never gave one",
    ),
    "the ledger lacks the approval": (lambda: ledger(FIRST_SEEN, MOVED), "of an approval of promotion p1"),
    "the ledger says that others have moved it": (
        lambda: ledger(FIRST_SEEN, DECIDED, {**MOVED, "promotion_id": None}),
        "of a move by promotion p1",
    ),
    "an order came only later": (
        lambda: replace(
            without("pressed"),
            journal=[
                *without("pressed").journal,
                {"what": "ordered", "model": COPY, "version": "2", "n": 99},
            ],
        ),
        "which nobody had approved",
    ),
    "the ledger counts nobody": (
        lambda: ledger(FIRST_SEEN, {**DECIDED, "facts": {"verdict": "approved", "deciders": []}}, MOVED),
        "is an approval by nobody",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_finds_what_is_wrong(name: str) -> None:
    made, words = WRONG[name]
    found = findings(made())
    assert any(words in sentence for sentence in found), found


def test_doubles_that_were_cancelled_are_none() -> None:
    doubled = twice("request", request="78")
    stands = {"what": "stands", "request": "78", "status": "cancelled", "n": 99}
    assert findings(replace(doubled, journal=[*doubled.journal, stands])) == []


def test_what_a_vendor_refuses_may_fail() -> None:
    left_out = {*AFTER_APPROVAL, "pressed"}
    lines = [line for line in without_run("11").journal if line["what"] not in left_out]
    failed = promotion(phase="failed", reason=f"Given up: it was answered with 403: {REFUSAL}")
    ledger_of = chained([FIRST_SEEN])
    assert findings(replace(failed, journal=numbered(lines), ledger=ledger_of, refused=True)) == []
