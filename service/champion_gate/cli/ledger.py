"""`champion-gate ledger`: the ledger exported, and verified with or without the database."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from champion_gate.cli.group import Group
from champion_gate.cli.output import json_option, print_json, print_line, print_pairs, tell_if_local

if TYPE_CHECKING:
    from champion_gate.domain.ledger.chain import NotedHead
    from champion_gate.domain.ledger.export import Part
    from champion_gate.domain.ledger.receipt import Receipt
    from champion_gate.domain.ledger.receipt_check import ReceiptCheck

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(rf"{_DAY.pattern}[Tt ][0-9:.]+(?:[Zz]|[+-][0-9]{{2}}:[0-9]{{2}})", re.ASCII)

_export_option = click.option(
    "--export",
    "export_file",
    type=click.File("rb"),
    metavar="FILE",
    help="Work on this export (jsonl), not on the local database; - is standard input.",
)


@click.group(name="ledger", cls=Group)
def command() -> None:
    """Export the ledger, or verify it, an export of it or a receipt.

    To verify an export or a receipt against one needs no database, no settings and no network.
    """


@command.command()
@click.option(
    "--since", metavar="TIME", help="From the first line written then: 2026-01-31, or 2026-01-31T08:00:00Z."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="jsonl is for verifying, csv for reading.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    default="-",
    help="Where to; standard output by default.",
)
def export(since: str | None, form: str, output: Path) -> None:
    """Write the ledger, oldest line first, one line of it at a time."""
    from champion_gate.bootstrap.databases import open_local_store
    from champion_gate.domain.ledger.export import write_csv, write_jsonl

    write = write_csv if form == "csv" else write_jsonl
    start = _since(since)
    tell_if_local()
    with open_local_store() as store, _opened(output) as file:
        for text in write(store.ledger_export(start)):
            file.write(text.encode())


@command.command()
@_export_option
@click.option("--head", metavar="[NUMBER:]HASH", help="A head that was noted elsewhere: it must be in there.")
@click.option(
    "--allow-empty", is_flag=True, help="Have a database whose ledger is empty pass, as a new one's is."
)
@json_option
def verify(export_file: BinaryIO | None, head: str | None, *, allow_empty: bool, as_json: bool) -> None:
    """Check that every line is as it was written and follows the one before it.

    Whoever can write to the database can also rewrite the whole chain. That shows only by a head that was
    noted elsewhere: in the service's log, in a receipt, in an answer of /readyz. Give it as --head.
    """
    from champion_gate.domain.ledger.chain import NotedHead
    from champion_gate.errors import ConflictError

    noted = None if head is None else NotedHead.read(head)
    try:
        part = _verified_file(export_file, noted) if export_file else _verified_database(noted)
        _refuse_empty(part, allow_empty=allow_empty)
    except ConflictError as error:
        if not as_json:
            raise
        print_json({"whole": False, "problem": error.message, "hint": error.hint})
        sys.exit(1)
    if as_json:
        print_json({"whole": True, **_part_view(part), "noted_head_found": None if noted is None else True})
    else:
        _print_part(part, noted)


@command.command(name="verify-receipt")
@click.argument("receipt_file", metavar="FILE", type=click.File("rb"))
@_export_option
@click.option(
    "--evidence",
    "evidence_file",
    type=click.File("rb"),
    metavar="FILE",
    help="The evidence, byte for byte as GET …/evidence answered it.",
)
@json_option
def verify_receipt(
    receipt_file: BinaryIO,
    export_file: BinaryIO | None,
    evidence_file: BinaryIO | None,
    *,
    as_json: bool,
) -> None:
    """Check a receipt against an export of the ledger, or against the local database."""
    from champion_gate.domain.ledger.receipt import LONGEST_RECEIPT, read_receipt

    receipt = read_receipt(receipt_file.read(LONGEST_RECEIPT + 1))
    evidence = None if evidence_file is None else _evidence(evidence_file)
    checked = _checked(receipt, export_file, evidence)
    if as_json:
        print_json(
            {
                "promotion": receipt.promotion_id,
                "believable": not checked.problems,
                "confirmed": checked.confirmed,
                "problems": checked.problems,
                "unproven": checked.unproven,
                "since": checked.since,
                "in_ledger": checked.in_ledger,
            }
        )
    else:
        _print_receipt(receipt, checked)
    if checked.problems:
        sys.exit(1)


def _verified_file(file: BinaryIO, noted: NotedHead | None) -> Part:
    from champion_gate.domain.ledger.export import check_part, read_jsonl

    return check_part(read_jsonl(file), noted)


def _refuse_empty(part: Part, *, allow_empty: bool) -> None:
    """A file that was copied without its log looks like a new database, and so does an export that was cut off."""
    from champion_gate.errors import ConflictError

    if part.head.number == 0 and not allow_empty:
        raise ConflictError(
            "The ledger has no line, so that there is nothing to verify.",
            hint="If it is new, say --allow-empty. If it is a copy: make copies with `champion-gate backup`.",
        )


def _verified_database(noted: NotedHead | None) -> Part:
    from champion_gate.bootstrap.databases import open_local_store
    from champion_gate.domain.ledger.chain import GENESIS, LedgerHead
    from champion_gate.domain.ledger.export import Part, check_part

    tell_if_local()
    with open_local_store() as store:
        # Looks at the chain, and at what only the database has: columns beside the text, head, triggers.
        count = store.verify_ledger()
        if noted is not None or count == 0:
            return check_part(store.ledger_export(), noted)
        (last,) = store.ledger_lines(before=count + 1, limit=1)
        return Part(1, GENESIS, LedgerHead(last.number, last.hash))


def _checked(receipt: Receipt, export_file: BinaryIO | None, evidence: bytes | None) -> ReceiptCheck:
    from champion_gate.bootstrap.databases import open_local_store
    from champion_gate.domain.ledger.export import read_jsonl
    from champion_gate.domain.ledger.receipt_check import check_receipt
    from champion_gate.errors import ConflictError

    if export_file is not None:
        return check_receipt(receipt, read_jsonl(export_file), evidence)
    tell_if_local()
    with open_local_store() as store:
        checked = check_receipt(receipt, store.ledger_export(), evidence)
        try:
            store.verify_ledger()
        except ConflictError as error:
            return replace(checked, problems=(*checked.problems, f"In the database: {error.message}"))
        return checked


def _part_view(part: Part) -> dict[str, object]:
    from champion_gate.domain.ledger.chain import head_view

    return {
        "lines": part.lines,
        "first": part.first,
        "rests_on": None if part.is_whole else part.rests_on,
        "head": head_view(part.head),
    }


def _print_part(part: Part, noted: NotedHead | None) -> None:
    print_pairs(
        [
            ("lines", f"{part.lines}, each as it was written"),
            ("part", None if part.is_whole else f"from line {part.first} on; what came before is not in it"),
            ("rests on", None if part.is_whole else f"{part.rests_on}, taken on trust"),
            ("head", f"{part.head.number}:{part.head.hash}"),
            ("noted head", "found: nothing up to it was rewritten since" if noted else None),
        ]
    )


def _print_receipt(receipt: Receipt, checked: ReceiptCheck) -> None:
    what = receipt.what
    print_line(
        f"Receipt of {receipt.promotion_id}: v{what.version} of {what.model} for {what.alias} "
        f"in {what.registry}: {receipt.phase.value}. {_deciders(receipt)}"
    )
    for mark, sentences in (
        ("ok       ", checked.confirmed),
        ("WRONG    ", checked.problems),
        ("unproven ", checked.unproven),
        ("since    ", checked.since),
    ):
        for sentence in sentences:
            print_line(mark + sentence)
    print_line(_conclusion(checked))


def _conclusion(checked: ReceiptCheck) -> str:
    if checked.problems:
        return "Do not believe this receipt."
    if not checked.in_ledger:
        return "Nothing in the ledger speaks of this promotion: it neither contradicts this receipt nor bears it out."
    later = ", and tells more since" if checked.since else ""
    return f"The ledger bears this receipt out, but for what is unproven{later}."


def _deciders(receipt: Receipt) -> str:
    logins = [str(each.get("login")) for each in receipt.who.deciders if isinstance(each, dict)]
    verdict = receipt.who.verdict
    return "Nobody decided." if verdict is None else f"{verdict} by {', '.join(logins) or 'nobody'}."


def _evidence(file: BinaryIO) -> bytes:
    from champion_gate.domain.ledger.receipt import LONGEST_RECEIPT
    from champion_gate.errors import InvalidInputError

    evidence = file.read(LONGEST_RECEIPT + 1)
    if len(evidence) > LONGEST_RECEIPT:
        raise InvalidInputError(f"This is no evidence: it is longer than {LONGEST_RECEIPT} bytes.")
    return evidence


def _since(text: str | None) -> datetime | None:
    """A day (from midnight UTC) or a time with its zone, as RFC 3339 has it."""
    if text is None:
        return None
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(f"{text!r} is neither a day nor a time with its zone.", param_hint="--since")


@contextmanager
def _opened(output: Path) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears under its name only when it is whole."""
    from champion_gate.errors import InvalidInputError

    if str(output) == "-":
        yield sys.stdout.buffer
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(output)
    except OSError as error:
        raise InvalidInputError(f"{output} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
