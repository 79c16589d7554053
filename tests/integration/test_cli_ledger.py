"""`champion-gate ledger` as it is run: on a database, on files, and into a pipe."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate.store import Store, open_store
from champion_gate.web.api.promotions import make_receipt
from integration.commands import clean_environ, command_line, run_command
from integration.store_databases import SqliteDatabases
from integration.store_samples import (
    T0,
    after,
    append_ledger,
    brought_to,
    entry,
    taken_promotion,
)
from ledger_samples import NASTY, change_entry, decision_entry, forged, promoted

PROMOTED = promoted()


class Desk:
    """An auditor's desk: a folder, the service's database, and the command."""

    def __init__(self, folder: Path, url: str, store: Store) -> None:
        self.folder, self.url, self.store = folder, url, store

    def run(
        self, *arguments: str, code: int = 0, offline: bool = False, sent: str = "", api: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run `champion-gate ledger …`; offline there is no setting at all."""
        environ = {} if offline else {"CHAMPION_GATE_DATABASE_URL": self.url}
        environ |= {"CHAMPION_GATE_API_URL": api} if api else {}
        done = run_command("ledger", *arguments, environ=environ, folder=self.folder, sent=sent)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def text(self, *arguments: str, code: int = 0, offline: bool = False) -> str:
        return self.run(*arguments, code=code, offline=offline).stdout

    def write(self, name: str, content: bytes | str) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Five lines; two belong to a promotion, whose receipt and evidence lie on the desk, and one is hostile."""
    folder = tmp_path_factory.mktemp("desk")
    url = SqliteDatabases(folder).migrated()
    with open_store(url) as store:
        append_ledger(store, [entry(NASTY, actor=NASTY, facts={"comment": NASTY}), decision_entry(PROMOTED)])
        append_ledger(store, [entry("=cmd()", at=after(86400)), change_entry(PROMOTED), entry("last")])
        taken = brought_to(store, taken_promotion(store, number=2), Phase.APPROVED)
        store.save_promotion(replace(PROMOTED, lease=taken.lease), T0, release=True)
        made_desk = Desk(folder, url, store)
        made_desk.write("receipt.json", json.dumps(make_receipt(store, "p-1", T0)))
        made_desk.write("evidence.json", PROMOTED.evidence_json or "")
        made_desk.run("export", "--output", "all.jsonl")
        yield made_desk


def receipt(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((desk.folder / "receipt.json").read_text())
    return found


# --- export ------------------------------------------------------------------------------------------------


def test_an_export_goes_to_standard_output_or_to_a_file(desk: Desk) -> None:
    assert desk.text("export") == (desk.folder / "all.jsonl").read_text()
    assert not list(desk.folder.glob("*.part"))
    rows = [json.loads(line) for line in desk.text("export").splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["reason"] == NASTY
    assert rows[-1]["hash"] == desk.store.ledger_head().hash


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("2025-03-01", 1),
        ("2025-03-02", 3),
        ("2025-03-02T14:00:00+02:00", 3),
        ("2025-03-02t12:00:00.123456z", 3),
        ("2025-03-02T12:00:01Z", None),
        ("2025-03-03", None),
    ],
)
def test_an_export_since_a_time_is_a_part_without_gaps(desk: Desk, since: str, first: int | None) -> None:
    rows = [json.loads(line) for line in desk.text("export", "--since", since).splitlines()]
    assert [row["number"] for row in rows] == ([] if first is None else list(range(first, 6)))


@pytest.mark.parametrize(
    "since", ["yesterday", "2025-02-30", "2025-03-01T12:00:00", "20250301", "0001-01-01T00:00:00+23:00"]
)
def test_a_time_of_another_form_is_a_wrong_command_line(desk: Desk, since: str) -> None:
    done = desk.run("export", "--since", since, code=2)
    assert done.stdout == ""
    assert "--since" in done.stderr


def test_csv_is_safe_to_open(desk: Desk) -> None:
    rows = list(csv.DictReader(io.StringIO(desk.text("export", "--format", "csv"), newline="")))
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[2]["reason"] == "'=cmd()"
    assert all(char.isprintable() for row in rows for cell in row.values() for char in cell)


def test_a_reader_that_has_enough_ends_it_quietly(desk: Desk, tmp_path: Path) -> None:
    url = SqliteDatabases(tmp_path).migrated()
    with open_store(url) as store:
        append_ledger(store, [entry("x" * 1000)] * 1000)
    command = shlex.join(command_line("ledger", "export"))
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -n 1"],
        env=clean_environ({"CHAMPION_GATE_DATABASE_URL": url}),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["number"] == 1
    assert done.stderr == b""


def test_a_file_that_cannot_be_written_is_one_line(desk: Desk) -> None:
    done = desk.run("export", "--output", "no-such-folder/x.jsonl", code=1)
    assert "No such file or directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- verify ------------------------------------------------------------------------------------------------


def test_verify_tells_how_many_lines_and_the_head(desk: Desk) -> None:
    head = desk.store.ledger_head()
    text = desk.text("verify")
    assert "5, each as it was written" in text
    assert f"5:{head.hash}" in text
    expected = {
        "whole": True,
        "lines": 5,
        "first": 1,
        "rests_on": None,
        "head": {"number": 5, "hash": head.hash},
        "noted_head_found": None,
    }
    assert json.loads(desk.text("verify", "--json")) == expected
    assert json.loads(desk.text("verify", "--export", "all.jsonl", "--json", offline=True)) == expected


def test_an_export_is_read_from_standard_input_too(desk: Desk) -> None:
    export = (desk.folder / "all.jsonl").read_text()
    done = desk.run("verify", "--export", "-", offline=True, sent=export)
    assert "5, each as it was written" in done.stdout


def test_a_part_says_that_it_is_one_and_on_what_it_rests(desk: Desk) -> None:
    desk.run("export", "--since", "2025-03-02", "--output", "part.jsonl")
    text = desk.text("verify", "--export", "part.jsonl", offline=True)
    second = desk.store.ledger_lines(before=3, limit=1)[0].hash
    assert "from line 3 on" in text
    assert f"{second}, taken on trust" in text
    desk.run("verify", "--export", "part.jsonl", "--head", f"2:{second}", offline=True)


def test_a_noted_head_must_be_in_there(desk: Desk) -> None:
    third = desk.store.ledger_lines(before=4, limit=1)[0].hash
    for where in ((), ("--export", "all.jsonl")):
        assert "noted head" in desk.text("verify", *where, "--head", third)
        assert json.loads(desk.text("verify", *where, "--head", f"3:{third}", "--json"))["noted_head_found"]
        done = desk.run("verify", *where, "--head", f"4:{third}", code=1)
        assert "rewritten or cut since" in done.stderr
        failed = json.loads(desk.text("verify", *where, "--head", "f" * 64, "--json", code=1))
        assert failed["whole"] is False
        assert "rewritten or cut since" in failed["problem"]
    assert "no head of a ledger" in desk.run("verify", "--head", "1:2", code=1).stderr


def test_an_edited_export_names_the_line(desk: Desk) -> None:
    edited = (desk.folder / "all.jsonl").read_text().replace("=cmd()", "=CMD()")
    desk.write("edited.jsonl", edited)
    done = desk.run("verify", "--export", "edited.jsonl", code=1, offline=True)
    assert "Line 3 of the ledger has been edited." in done.stderr
    failed = json.loads(desk.text("verify", "--export", "edited.jsonl", "--json", code=1, offline=True))
    assert failed["problem"] == "Line 3 of the ledger has been edited."


def test_a_broken_database_names_the_line(desk: Desk, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(copy) as raw:
        sqlite3.connect(desk.url.removeprefix("sqlite:///")).backup(raw)
        raw.execute("DROP TRIGGER ledger_keeps_update")
        raw.execute("UPDATE ledger SET model = 'other' WHERE number = 2")
    raw.close()
    there = Desk(desk.folder, f"sqlite:///{copy}", desk.store)
    assert "Line 2 of the ledger has been edited." in there.run("verify", code=1).stderr
    assert (
        json.loads(there.text("verify", "--json", code=1))["problem"]
        == "Line 2 of the ledger has been edited."
    )
    assert "In the database: Line 2" in there.text("verify-receipt", "receipt.json", code=1)


@pytest.mark.parametrize("content", ["", "{}\n", "number,kind\r\n"])
def test_a_file_that_is_no_export_is_not_taken_for_a_whole_one(desk: Desk, content: str) -> None:
    desk.write("odd.jsonl", content)
    done = desk.run("verify", "--export", "odd.jsonl", code=1, offline=True)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_a_wrong_command_line(desk: Desk) -> None:
    desk.run("verify", "--export", "nowhere.jsonl", code=2)
    desk.run("verify-receipt", "nowhere.json", code=2)


def test_an_empty_ledger_passes_only_where_that_is_said(desk: Desk, tmp_path: Path) -> None:
    there = Desk(tmp_path, SqliteDatabases(tmp_path).migrated(), desk.store)
    assert "champion-gate backup" in there.run("verify", code=1).stderr
    assert json.loads(there.text("verify", "--json", code=1))["whole"] is False
    assert json.loads(there.text("verify", "--json", "--allow-empty"))["lines"] == 0
    assert there.text("export") == ""


# --- verify-receipt ----------------------------------------------------------------------------------------


def test_a_receipt_is_checked_offline_and_against_the_database(desk: Desk) -> None:
    for where in (("--export", "all.jsonl"), ()):
        text = desk.text(
            "verify-receipt", "receipt.json", *where, "--evidence", "evidence.json", offline=bool(where)
        )
        assert "approved by reviewer-1" in text
        assert "WRONG" not in text
        assert "The evidence is the one that was decided on." in text
        assert "The ledger bears this receipt out" in text
    found = json.loads(
        desk.text("verify-receipt", "receipt.json", "--export", "all.jsonl", "--json", offline=True)
    )
    assert (found["promotion"], found["believable"], found["problems"]) == ("p-1", True, [])
    assert len(found["confirmed"]) >= 6


@pytest.mark.parametrize("arguments", [("export",), ("verify",), ("verify-receipt", "receipt.json")])
def test_where_a_service_is_named_it_says_that_it_works_on_the_local_database(
    desk: Desk, arguments: tuple[str, ...]
) -> None:
    done = desk.run(*arguments, api="https://gate.example.com")
    (told,) = done.stderr.splitlines()
    assert f"the local database {desk.url}, not on CHAMPION_GATE_API_URL" in told
    assert done.stdout == desk.text(*arguments)
    assert desk.run(*arguments).stderr == ""


@pytest.mark.parametrize("arguments", [("verify",), ("verify-receipt", "receipt.json")])
def test_offline_no_database_is_spoken_of(desk: Desk, arguments: tuple[str, ...]) -> None:
    done = desk.run(*arguments, "--export", "all.jsonl", offline=True, api="https://gate.example.com")
    assert done.stderr == ""


def test_a_forged_receipt_is_not_believed(desk: Desk) -> None:
    def edit(members: dict[str, Any]) -> None:
        members["who"]["deciders"][0]["login"] = "eve\x1b[2J"

    desk.write("forged.json", forged(receipt(desk), edit))
    done = desk.run("verify-receipt", "forged.json", "--export", "all.jsonl", code=1, offline=True)
    assert "Do not believe this receipt." in done.stdout
    assert "\x1b" not in done.stdout
    found = json.loads(desk.text("verify-receipt", "forged.json", "--json", code=1))
    assert found["believable"] is False
    assert found["problems"]


def test_a_receipt_that_no_line_speaks_of_is_said_to_be_neither_borne_out_nor_contradicted(
    desk: Desk,
) -> None:
    def edit(members: dict[str, Any]) -> None:
        members.update(promotion="p-invented", phase="cancelled", ledger=[])
        members["who"].update(verdict=None, deciders=[])
        members["when"]["decided_at"] = None

    desk.write("invented.json", forged(receipt(desk), edit))
    text = desk.text("verify-receipt", "invented.json", "--export", "all.jsonl", offline=True)
    assert "No line of the ledger speaks of promotion p-invented" in text
    assert text.splitlines()[-1].startswith("Nothing in the ledger speaks of this promotion")
    found = json.loads(desk.text("verify-receipt", "invented.json", "--json"))
    assert (found["in_ledger"], found["since"]) == (False, [])


def test_wrong_evidence_is_noticed(desk: Desk) -> None:
    desk.write("other.json", "{}")
    text = desk.text("verify-receipt", "receipt.json", "--evidence", "other.json", code=1)
    assert "WRONG" in text


def test_what_is_no_receipt_is_one_line(desk: Desk) -> None:
    desk.write("odd.json", '{"format": "champion-gate receipt 2"}')
    done = desk.run("verify-receipt", "odd.json", "--export", "all.jsonl", code=1, offline=True)
    assert done.stdout == ""
    assert "This is no receipt" in done.stderr
    desk.write("long.json", b" " * (4 * 2**20 + 1))
    assert "at most" in desk.run("verify-receipt", "long.json", code=1).stderr
    assert (
        "no evidence" in desk.run("verify-receipt", "receipt.json", "--evidence", "long.json", code=1).stderr
    )
