"""A receiver of notices that is an address: one POST a message; the address is a secret, and so never told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.auth import NoAuth
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.domain.notices import LONGEST_VALUE, Message
from champion_gate.errors import GateError, NeverTakenError, VendorRefusedError, VendorUnavailableError

_TIMEOUTS = Timeouts(connect=5, read=10, total=20)
_LARGEST_ANSWER = 64 * 1024
_SHORTEST_VALUE = 20
_REDIRECT = range(300, 400)
_CODE = re.compile(r"[A-Za-z_]{3,60}")


class Form(Protocol):
    """What a kind of receiver takes, and what it answers."""

    vendor: str

    def body(self, message: Message) -> bytes:
        """A message in this receiver's form, within its limits."""
        ...

    def headers(self, message_id: str, body: bytes) -> Mapping[str, str]:
        """What goes beside the body."""
        ...

    def taken(self, answer: Answer) -> str:
        """What a 2xx answer says, as a sentence; raises VendorUnavailableError where it is no such answer."""
        ...

    def word(self, answer: Answer) -> object:
        """The receiver's own word for an error, if that is what it is."""
        ...

    def never(self, answer: Answer) -> str | None:
        """What to do, where it will not take the message later either; None where it may."""
        ...


class HookSender:
    """Sends to one address. Safe to share between threads."""

    def __init__(self, name: str, form: Form, url: str, *, private: bool) -> None:
        """Nothing is sent yet.

        Args:
            name: of the notice.
            form: of its receiver.
            url: the secret; checked.
            private: whether it may lead to a private network or this machine.
        """
        there = urlsplit(url)
        self._form = form
        self._path = f"{there.path or '/'}{f'?{there.query}' if there.query else ''}"
        self._client = ApiClient(
            vendor=f"{form.vendor} (notice {name})",
            base_url=f"{there.scheme}://{there.netloc}",
            timeouts=_TIMEOUTS,
            max_answer_bytes=_LARGEST_ANSWER,
            refusal=lambda answer: refusal(form, answer, self._path),
            is_secret=True,
            public_only=not private,
        )

    def send(self, message: Message, message_id: str) -> str:
        """See NoticeSender."""
        body = self._form.body(message)
        headers = self._form.headers(message_id, body)
        return self._form.taken(
            self._client.send("POST", self._path, auth=NoAuth(), body=body.decode(), headers=headers)
        )


def refusal(form: Form, answer: Answer, secret: str) -> GateError:
    """The error that an answer stands for; of what it says, nothing is told but a word, and none of the secret path's."""
    usual, never, word = answer.error(), form.never(answer), _known(form.word(answer))
    word = "" if word.casefold() in secret.casefold() else word
    said = f"the message was answered with {answer.status}{f' ({word})' if word else ''}."
    if never is not None:
        return NeverTakenError(answer.vendor, said, hint=never)
    if isinstance(usual, VendorUnavailableError):
        return VendorUnavailableError(answer.vendor, said, retry_after=usual.retry_after)
    hint = (
        "Redirects are not followed: set the address to which it leads."
        if answer.status in _REDIRECT
        else "Does the receiver still know this address? It is tried again for a day."
    )
    return VendorRefusedError(answer.vendor, said, hint=hint)


def _known(text: object) -> str:
    """A word for an error; empty where it is none, and might be anything, such as the address that was called."""
    return text if isinstance(text, str) and _CODE.fullmatch(text) else ""


def gone(answer: Answer) -> bool:
    """Whether there is no such receiver, or what was sent is none of its messages."""
    return answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


def fitting(write: Callable[[Message], bytes], message: Message, most: int) -> bytes:
    """A message as `write` writes it, its values cut until it has no more than `most` bytes."""
    longest = LONGEST_VALUE
    body = write(message)
    while len(body) > most and longest > _SHORTEST_VALUE:
        longest //= 2
        body = write(message.cut(longest))
    return body
