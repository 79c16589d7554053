"""All that the judge knows, and what follows from it: who was asked about what, approved it, and ordered it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.proxy import REFUSAL

Row = Mapping[str, Any]

_REFUSED = re.compile(rf"\b40[13489]\b.*{re.escape(REFUSAL)}", re.DOTALL)


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
    _ordered: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        for line in self.journal:
            self._by[line["what"]].append(line)
        self._ordered.update(self._carried_out_orders())

    def _carried_out_orders(self) -> Iterator[int]:
        """The writes that each carry out an order of their own; the first write of an approved version is none.

        One operator gives them one after the other: what one has not come to when the next is given, it never does, and
        neither does what was refused.
        """
        given: Counter[tuple[str, str | None]] = Counter()
        written: set[tuple[str, str | None]] = set()
        for line in self.journal:
            if line["what"] not in {"ordered", "refused", "alias"}:
                continue
            place = line["model"], line["version"]
            if line["what"] != "alias":
                given = Counter({place: 1} if line["what"] == "ordered" else {})
            elif place not in written and self.is_approved(line):
                written.add(place)
            elif given[place]:
                given[place] -= 1
                yield line["n"]

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
        return self.refused and bool(_REFUSED.search(f"{row['reason']} {row['last_error']}"))

    def is_approved(self, write: Row) -> bool:
        """Whether what this alias write put there had been approved by then."""
        return self.approved_before(write["model"], self.source_version(write), write["n"])

    def source_version(self, write: Row) -> str:
        """The version of this alias write, or that of which it is a copy."""
        _, version = self.source_of(write["model"], write["version"]) or ("", str(write["version"]))
        return version

    def is_ordered(self, write: Row) -> bool:
        """Whether this alias write carries out an operator's order."""
        return write["n"] in self._ordered

    def trained_at(self, row: Row) -> int:
        """Where in the journal the version of a promotion was trained."""
        wanted = (row["source_model"], row["version"])
        return min(
            (line["n"] for line in self.of("trained") if (line["model"], line["version"]) == wanted),
            default=0,
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
