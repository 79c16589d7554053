"""Notices: who is told of what in a chat or by a webhook. A notice tells; nothing is ever decided in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from champion_gate.domain import values
from champion_gate.domain.canonical import sha256_of
from champion_gate.domain.names import is_row_id
from champion_gate.domain.steps import Step, StepKind
from champion_gate.domain.text import one_line
from champion_gate.domain.values import Listed, Strict
from champion_gate.domain.vendors import label

LONGEST_VALUE = 500
"""Characters of one value in a message; many of them still fit what the receivers take."""


class NoticeKind(StrEnum):
    """How a message is written, and what takes it."""

    SLACK = "slack"
    TEAMS = "teams"
    WEBHOOK = "webhook"
    APPRISE = "apprise"


class NoticeEvent(StrEnum):
    """What a notice may tell."""

    REQUESTED = "requested"
    WAITING = "waiting"
    DECIDED = "decided"
    PROMOTED = "promoted"
    FAILED = "failed"
    STEP_FAILED = "step_failed"
    DRIFT = "drift"
    ROLLED_BACK = "rolled_back"
    TEST = "test"

    @property
    def type(self) -> str:
        """As a webhook's receiver gets it: the subject and what became of it."""
        subjects = {self.STEP_FAILED: "step.failed", self.DRIFT: "alias.drift"}
        subjects |= {self.ROLLED_BACK: "alias.rolled_back", self.TEST: "notice.test"}
        return subjects.get(self, f"promotion.{self.value}")


_Event = Literal["requested", "decided", "promoted", "failed", "step_failed", "drift", "rolled_back"]
_EVENTS: tuple[_Event, ...] = get_args(_Event)


class Notice(Strict):
    """`notices[]:` where to tell people, and of what; the address is a secret, and none of these keys."""

    name: Annotated[
        str,
        values.text(r"[a-z][a-z0-9_]{0,39}", "a name of small letters, digits and _ (at most 40 characters)"),
    ] = Field(description="its own name; the address of one named team is CHAMPION_GATE_NOTICE_TEAM_URL")
    kind: Annotated[NoticeKind, Field(strict=False)] = Field(
        description="slack, teams, webhook (Standard Webhooks, signed with CHAMPION_GATE_NOTICE_TEAM_SECRET), "
        "or apprise (with the extra champion-gate[apprise])"
    )
    on: Annotated[tuple[_Event, ...], Listed(1, len(_EVENTS))] = Field(
        default=_EVENTS,
        description="what is told: requested, decided, promoted, failed (ended without people's word), step_failed, drift, "
        "rolled_back; all of it where it is left out",
    )
    waiting: Annotated[timedelta, values.DURATION, values.NEVER_NULL] | None = Field(
        default=None,
        description="tell once of a request that nobody has decided for so long, e.g. 4h",
        json_schema_extra=values.never_null_in_schema,
    )
    gates: Annotated[tuple[Annotated[str, values.GATE_NAME], ...], Listed(1, 1000)] | None = Field(
        default=None,
        description="the names of the gates of which is told; all where it is left out",
        json_schema_extra=values.never_null_in_schema,
    )
    private: bool = Field(
        default=False,
        description="whether the address may be in a private network, or on this machine (there also http://)",
    )
    bare_card: bool = Field(
        default=False, description="teams: send the card alone, for workflows that wrap it themselves"
    )

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, written: Any) -> Any:
        """Refuse an address in the file, in words that do not repeat it."""
        for key in ("url", "secret") if isinstance(written, dict) else ():
            if key in written:
                name = written.get("name")
                named = name if isinstance(name, str) and name.isidentifier() else "<NAME>"
                words = (
                    f"none here (not shown), as it is a secret: set {label(f'notice_{named}_{key}')}, or put a file of that name "
                    "into the secrets directory, and make a new address if others have read this file"
                )
                line = f"{key}: found one; expected {words}"
                raise values.broken_rule(line)
        return written

    def problems(self) -> Iterator[str]:
        """See Strict."""
        for index, event in enumerate(self.on):
            if event in self.on[:index]:
                yield f"on[{index}]: found {event!r} a second time; keep one"
        if self.bare_card and self.kind is not NoticeKind.TEAMS:
            yield f"bare_card: found with kind: {self.kind.value}; expected only with teams"

    def tells(self, event: NoticeEvent, gates: Sequence[str]) -> bool:
        """Whether it tells of something at these gates."""
        wanted = self.waiting is not None if event is NoticeEvent.WAITING else event.value in self.on
        return wanted and (self.gates is None or not set(self.gates).isdisjoint(gates))


@dataclass(frozen=True)
class Message:
    """What people are told, before it is written in a receiver's form; every text may be anybody's.

    Attributes:
        at: when it happened.
        facts: what it is about, as (heading of ours, value) for people.
        links: (words of ours, address).
        data: the same for programs; JSON-able.
    """

    event: NoticeEvent
    title: str
    at: datetime
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def frozen(self) -> dict[str, Any]:
        """As a step keeps it; JSON-able."""
        return {**asdict(self), "event": self.event.value, "at": self.at.isoformat()}

    @classmethod
    def thawed(cls, kept: Mapping[str, Any]) -> Self:
        """One out of a step's row."""
        return cls(
            event=NoticeEvent(kept["event"]),
            title=kept["title"],
            at=datetime.fromisoformat(kept["at"]),
            facts=tuple((heading, value) for heading, value in kept["facts"]),
            links=tuple((words, url) for words, url in kept["links"]),
            data=kept["data"],
        )

    def cut(self, most: int) -> Message:
        """With values of so many characters at most."""

        def shorter(value: Any) -> Any:
            if isinstance(value, str):
                return value if len(value) <= most else f"{value[: most - 1]}…"
            if isinstance(value, list):
                return [shorter(each) for each in value]
            if isinstance(value, Mapping):
                # Half of an address leads nowhere; those are ours and the vendors', and short.
                return {k: each if k.endswith("url") else shorter(each) for k, each in value.items()}
            return value

        facts = tuple((heading, shorter(value)) for heading, value in self.facts)
        return Message(self.event, shorter(self.title), self.at, facts, self.links, shorter(self.data))


def shown(text: object, most: int = LONGEST_VALUE) -> str:
    """A value from outside on one line, with nothing invisible in it, at most about `most` characters long."""
    words = one_line(str(text), most)
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _id(words: str) -> str:
    """The words, if a row may bear so many, else their beginning and what tells them from others."""
    return words if is_row_id(words) else f"{words[:47]}-{sha256_of(words)[:16]}"


def notice_step(notice: Notice, message: Message, subject: str, promotion_id: str, at: datetime) -> Step:
    """The durable order to send it, once a subject, event and notice.

    Args:
        notice: who is told.
        message: what.
        subject: `[a-z0-9-]+`, what it tells about, such as a promotion's id.
        promotion_id: to which it belongs; empty where it is none.
        at: now.
    """
    told = f"{message.event.value}-{notice.name}".replace("_", "-")
    return Step(
        id=_id(f"{subject}-notice-{told}"),
        promotion_id=promotion_id,
        kind=StepKind.NOTICE,
        config={"notice": notice.name, "message": message.frozen()},
        planned_at=at,
        due_at=at,
    )
