"""GitLab's webhooks: their signature or token, and the pipeline that they tell about."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from champion_gate.domain.json_body import Ignored, UnusableBodyError, id_of, json_object, object_at, shown
from champion_gate.domain.ports.approval import EveryRequestAt
from champion_gate.domain.ports.runtime import Clock

_TOLERANCE_SECONDS = 300  # as Standard Webhooks has it: an older delivery may be a replayed one
_EPOCH_SECONDS = re.compile(r"[0-9]{1,12}")
_PREFIX = "whsec_"


class GitLabHook:
    """A `ProviderHook` (docs.gitlab.com, "Webhooks": signing tokens follow the Standard Webhooks specification).

    Args:
        signing_tokens: `whsec_…`; two while one is being replaced. Where there is one, nothing unsigned is
            taken, not even with a right `X-Gitlab-Token`.
        tokens: what `X-Gitlab-Token` may hold where there is no signing token.
        clock: for the age of a signature.
    """

    def __init__(self, *, signing_tokens: Sequence[str], tokens: Sequence[str], clock: Clock) -> None:
        if not signing_tokens and not tokens:
            raise ValueError("a webhook needs a secret")
        if not all(tokens):
            raise ValueError("a secret must not be empty")
        self._keys = [_key(token) for token in signing_tokens]
        self._tokens = [token.encode() for token in tokens]
        self._clock = clock

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        """Check the signature or, only where no signing token is set, the plain token."""
        if self._keys:
            return self._is_signed(header, body)
        # WSGI (PEP 3333) hands headers over as latin-1, whatever their bytes mean.
        given = hashlib.sha256(header("X-Gitlab-Token").encode("latin-1", "replace")).digest()
        matches = [hmac.compare_digest(given, hashlib.sha256(token).digest()) for token in self._tokens]
        return any(matches)

    def _is_signed(self, header: Callable[[str], str], body: bytes) -> bool:
        message_id, timestamp = header("webhook-id"), header("webhook-timestamp")
        if not message_id or not _EPOCH_SECONDS.fullmatch(timestamp):
            return False
        if abs(self._clock.now().timestamp() - int(timestamp)) > _TOLERANCE_SECONDS:
            return False
        signed = f"{message_id}.{timestamp}.".encode() + body
        expected = [
            b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in self._keys
        ]
        given = [each.encode("utf-8", "replace") for each in header("webhook-signature").split(" ")[:8]]
        matches = [hmac.compare_digest(each, right) for each in given for right in expected]
        return any(matches)

    def delivery_id(self, header: Callable[[str], str]) -> str:
        """The same for every try of one delivery: `webhook-id` where it is signed, else `Idempotency-Key`."""
        return header("webhook-id") if self._keys else header("Idempotency-Key")

    def request_id(self, header: Callable[[str], str], body: bytes) -> str | EveryRequestAt | Ignored:
        """The pipeline's id as decimal text; the project where a deployment tells its job alone.

        A body reshaped by a custom template may have neither.
        """
        kind = header("X-Gitlab-Event")
        try:
            sent = json_object(body)
            if kind == "Job Hook":
                return id_of(sent.get("pipeline_id"), "pipeline_id")
            if kind == "Pipeline Hook":
                return id_of(object_at(sent, "object_attributes").get("id"), "object_attributes.id")
            if kind == "Deployment Hook":
                return EveryRequestAt("project", id_of(object_at(sent, "project").get("id"), "project.id"))
        except UnusableBodyError as error:
            return Ignored(str(error))
        return Ignored(f"{shown(kind)} tells nothing about an approval")


def _key(token: str) -> bytes:
    try:
        return base64.b64decode(token.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a signing token is whsec_ and base64") from error
