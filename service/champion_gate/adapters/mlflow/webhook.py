"""MLflow's webhooks: their signature, and what they tell about (mlflow/webhooks/delivery.py and types.py, 3.3 and later)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from standardwebhooks import Webhook, WebhookVerificationError

from champion_gate.domain.json_body import (
    Ignored,
    UnusableBodyError,
    json_object,
    object_at,
    shown,
    text_of,
)
from champion_gate.domain.registry_news import AliasMoved, RegistryDelivery, RegistryNews, VersionMade

_HEADERS = {
    "webhook-id": "X-MLflow-Delivery-Id",
    "webhook-timestamp": "X-MLflow-Timestamp",
    "webhook-signature": "X-MLflow-Signature",
}
VERSION_MADE: Final = "model_version.created"
ALIAS_SET: Final = "model_version_alias.created"
ALIAS_TAKEN_AWAY: Final = "model_version_alias.deleted"
EVENTS: Final = (VERSION_MADE, ALIAS_SET, ALIAS_TAKEN_AWAY)
"""The events that a webhook for us has to send; `created` is sent too when an alias moves."""
TEST = "test"
"""The kind of a test ping, `POST …/webhooks/{id}/test`, which carries MLflow's own example of an event."""
_EXAMPLE_MODEL = "example_model"
_OTHER = "other"


class MlflowHook:
    """A `RegistryHook`. What arrives five minutes late, as a retry of MLflow's may, is refused; the sweep sees it anyway.

    Args:
        secrets: what MLflow and we share; two while one is being replaced.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        # MLflow signs with the secret's own bytes, not with what it may be the base64 of.
        self._keys = [Webhook(secret.encode()) for secret in secrets]

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        """Check id, time and signature; a webhook that MLflow was given no secret for has none of them."""
        headers = {ours: header(theirs) for ours, theirs in _HEADERS.items()}
        # Every secret is tried: the time does not tell which matched.
        matches = [_is_signed(key, headers, body) for key in self._keys]
        return any(matches)

    def read(self, header: Callable[[str], str], body: bytes) -> RegistryDelivery:
        """See RegistryHook."""
        try:
            kind, news = _told(body)
        except UnusableBodyError as error:
            kind, news = _OTHER, Ignored(str(error))
        return RegistryDelivery(kind, header(_HEADERS["webhook-id"]), news)


def _is_signed(key: Webhook, headers: dict[str, str], body: bytes) -> bool:
    try:
        key.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: it is no text, or the signature is none
        return False
    return True


def _told(body: bytes) -> tuple[str, RegistryNews | Ignored]:
    sent = json_object(body)
    kind = f"{text_of(sent.get('entity'), 'entity')}.{text_of(sent.get('action'), 'action')}"
    if kind not in EVENTS:
        return _OTHER, Ignored(f"{shown(kind)} starts nothing")
    data = object_at(sent, "data")
    model = text_of(data.get("name"), "data.name")
    shown_as = TEST if model == _EXAMPLE_MODEL else kind
    if kind == VERSION_MADE:
        return shown_as, VersionMade(model, text_of(data.get("version"), "data.version"))
    return shown_as, AliasMoved(model, text_of(data.get("alias"), "data.alias"))
