"""The ledger as a file: written, recomputed by anybody, and every change of it noticed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain.ledger.chain import (
    GENESIS,
    ChainedText,
    LedgerHead,
    NotedHead,
    head_view,
    read_body,
)
from champion_gate.domain.ledger.export import (
    LONGEST_LINE,
    MEMBERS,
    Part,
    check_part,
    exported,
    read_jsonl,
    read_members,
    write_csv,
    write_jsonl,
)
from champion_gate.errors import ConflictError, InvalidInputError
from integration.store_samples import entry
from ledger_samples import ENTRIES, FORMULAS, NASTY, chained, export_of, head_of, ledger_of, promoted

LINES = ledger_of(promoted())
EXPORT = export_of(LINES)


def verified(export: bytes, noted: NotedHead | None = None) -> Part:
    return check_part(read_jsonl(io.BytesIO(export)), noted)


def recomputed(export: bytes) -> list[str]:
    """The hashes as somebody computes them who has nothing but Python and the README."""
    hashes = []
    for line in export.splitlines():
        members = json.loads(line)
        previous = members.pop("previous_hash")
        assert members.pop("hash")
        text = json.dumps(members, sort_keys=True, separators=(",", ":"))
        hashes.append(hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest())
    return hashes


# --- JSON lines ----------------------------------------------------------------------------------------


def test_a_line_has_the_members_that_are_hashed_and_two_hashes() -> None:
    first = json.loads(EXPORT.splitlines()[0])
    assert set(first) == set(MEMBERS)
    assert first["number"] == 1
    assert first["previous_hash"] == GENESIS


def test_an_export_is_verified_whole_and_in_part() -> None:
    assert verified(EXPORT) == Part(1, GENESIS, head_of(LINES))
    part = b"".join(EXPORT.splitlines(keepends=True)[2:])
    assert verified(part) == Part(3, LINES[1].hash, head_of(LINES))
    assert (verified(part).lines, verified(part).is_whole, verified(EXPORT).is_whole) == (3, False, True)


@given(st.lists(ENTRIES, min_size=1, max_size=5))
def test_anybody_can_recompute_the_hashes(entries: list[object]) -> None:
    lines = chained(*entries)  # type: ignore[arg-type]
    export = export_of(lines)
    assert recomputed(export) == [line.hash for line in lines]
    assert list(read_jsonl(io.BytesIO(export))) == lines
    assert export.isascii()


@given(st.data())
def test_any_change_of_one_character_is_noticed_or_changes_no_meaning(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(EXPORT) - 1))
    what = data.draw(st.sampled_from(["replace", "remove", "insert"]))
    new = b"" if what == "remove" else bytes([data.draw(st.integers(0, 255))])
    changed = EXPORT[:at] + new + EXPORT[at + (what != "insert") :]
    try:
        part = verified(changed)
    except ConflictError:
        return
    assert part == verified(EXPORT)
    assert [json.loads(line) for line in changed.splitlines()] == [json.loads(x) for x in EXPORT.splitlines()]


@given(st.data())
def test_removed_repeated_or_swapped_lines_are_noticed(data: st.DataObject) -> None:
    rows = EXPORT.splitlines(keepends=True)
    order = data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, max_size=7))
    if order == list(
        range(order[0], order[-1] + 1)
    ):  # a part, or cut off at the end: only a noted head tells
        assert verified(b"".join(rows[index] for index in order)).head.number == order[-1] + 1
        return
    with pytest.raises(ConflictError, match=r"^Line \d+ of the ledger"):
        verified(b"".join(rows[index] for index in order))


def test_a_line_edited_with_its_hash_made_anew_does_not_carry_the_next_one() -> None:
    rewritten = chained(
        *[read_body(line.body) for line in LINES[:2]], replace(read_body(LINES[2].body), actor="eve")
    )
    with pytest.raises(ConflictError, match="Line 4 of the ledger does not follow"):
        verified(export_of([*rewritten, *LINES[3:]]))


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"number,kind\n",
        b"\xff\xfe{\n",
        b'{"number": 1, "number": 1}\n',
        b"[" * 100_000 + b"\n",
        b"1" * 5000 + b"\n",
    ],
)
def test_what_is_no_line_is_named_by_its_place_in_the_file(row: bytes) -> None:
    with pytest.raises(ConflictError, match="Line 6 of the file is no line of a ledger"):
        verified(EXPORT + (row or b" "))


def test_a_line_without_an_end_is_not_read_for_ever() -> None:
    with pytest.raises(ConflictError, match="longer than any line"):
        verified(b" " * (LONGEST_LINE + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "1"},
        {"number": True},
        {"number": 0},
        {"number": 1.0},
        {"kind": "other"},
        {"at": "yesterday"},
        {"at": None},
        {"facts": []},
        {"facts": {"x": float("inf")}},
        {"promotion_id": 7},
        {"model": None},
        {"hash": "x"},
        {"hash": LINES[0].hash.upper()},
        {"previous_hash": None},
        {"more": 1},
    ],
)
def test_members_of_another_form_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever words
        read_members({**exported(LINES[0]), **changes})


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", "not json", LINES[0].body + " ", LINES[0].body.replace("{", '{"actor":"x",', 1)]
)
def test_a_text_edited_in_the_database_is_not_exported_as_if_it_had_been_written(body: str) -> None:
    with pytest.raises(ConflictError, match="Line 1 of the ledger has been edited"):
        list(write_jsonl([replace(LINES[0], body=body)]))


# --- heads that were noted ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_noted_head_is_found(number: int) -> None:
    noted = LINES[number - 1].hash
    for text in (noted, noted.upper(), f"{number}:{noted}", f" {number}:{noted}\n"):
        assert verified(EXPORT, NotedHead.read(text)).head.number == 5


def test_the_line_before_a_part_is_found_by_the_hash_that_the_part_rests_on() -> None:
    part = b"".join(EXPORT.splitlines(keepends=True)[2:])
    for text in (LINES[1].hash, f"2:{LINES[1].hash}"):
        assert verified(part, NotedHead.read(text)).first == 3


def test_the_head_of_an_empty_ledger_is_in_every_whole_one() -> None:
    for text in (GENESIS, f"0:{GENESIS}"):
        assert verified(EXPORT, NotedHead.read(text)).is_whole
        assert check_part([], NotedHead.read(text)) == Part(0, GENESIS, LedgerHead(0, GENESIS))


@pytest.mark.parametrize(
    ("text", "part", "words"),
    [
        ("f" * 64, 0, "rewritten or cut since"),
        ("f" * 64, 2, "before line 3, where this part begins"),
        (f"3:{'f' * 64}", 0, "Line 3 has another hash .* rewritten or cut since"),
        (f"4:{LINES[2].hash}", 0, "Line 4 has another hash"),
        (f"9:{'f' * 64}", 0, "none after line 5: .* rewritten or cut since"),
        (f"1:{LINES[0].hash}", 3, "begins with line 4: export an earlier day too"),
        (f"1:{GENESIS}", 0, "Line 1 has another hash"),
    ],
)
def test_a_noted_head_that_is_not_there_is_told(text: str, part: int, words: str) -> None:
    with pytest.raises(ConflictError, match=words):
        verified(b"".join(EXPORT.splitlines(keepends=True)[part:]), NotedHead.read(text))


def test_a_tail_that_was_cut_off_shows_only_by_a_noted_head() -> None:
    cut = b"".join(EXPORT.splitlines(keepends=True)[:3])
    assert verified(cut).head.number == 3
    with pytest.raises(ConflictError, match="none after line 3"):
        verified(cut, NotedHead.read(f"5:{LINES[4].hash}"))


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":" + "a" * 64, "a" * 63, "g" * 64, "01:" + "a" * 64, "-1:" + "a" * 64]
)
def test_a_head_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="no head of a ledger"):
        NotedHead.read(text)


def test_a_head_is_shown_with_number_and_hash() -> None:
    assert head_view(LedgerHead(3, "ab")) == {"number": 3, "hash": "ab"}


# --- CSV, and hostile text ------------------------------------------------------------------------------


def table(lines: list[ChainedText]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(write_csv(lines)), newline="")))


def test_csv_has_the_same_columns_and_facts_as_json() -> None:
    rows = table(LINES)
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert list(rows[0]) == list(MEMBERS)
    assert json.loads(rows[1]["facts"]) == exported(LINES[1])["facts"]
    assert [row["hash"] for row in rows] == [line.hash for line in LINES]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_a_formula(text: str) -> None:
    lines = chained(entry(text, actor=text, model=text, promotion_id=text, facts={text: text}))
    (row,) = table(lines)
    assert all(cell.startswith("'") for name, cell in row.items() if name in {"reason", "actor", "model"})
    assert not any(cell.startswith(tuple("=+-@\t\r\uff1d")) for cell in row.values())
    assert verified(export_of(lines)).lines == 1


def test_hostile_text_comes_through_an_export_unchanged_and_shows_in_csv_as_what_it_is() -> None:
    hostile = entry(NASTY, actor=NASTY, model=NASTY, alias=NASTY, facts={NASTY: [NASTY]})
    lines = chained(hostile)
    export = export_of(lines)
    (back,) = read_jsonl(io.BytesIO(export))
    assert (read_body(back.body), recomputed(export)) == (hostile, [lines[0].hash])
    written = "".join(write_csv(lines))
    assert all(char.isprintable() or char == "\n" for char in written.replace("\r\n", "\n"))
    (row,) = table(lines)
    assert "\\x1b[31m" in row["reason"]
    assert "\\u202eevil" in row["reason"]
    assert "<script>" in row["reason"]
    assert json.loads(row["facts"]) == {NASTY: [NASTY]}


@given(st.lists(ENTRIES, min_size=1, max_size=3))
def test_csv_is_one_record_a_line_whatever_the_text(entries: list[object]) -> None:
    lines = chained(*entries)  # type: ignore[arg-type]
    text = "".join(write_csv(lines))
    text.encode()
    assert len(table(lines)) == len(lines) == text.count("\r\n") - 1
