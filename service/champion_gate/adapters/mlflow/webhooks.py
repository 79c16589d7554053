"""The webhooks that an MLflow server keeps (3.3 and later), through mlflow's own client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.mlflow.client import MlflowCalls
from champion_gate.adapters.mlflow.errors import unreadable
from champion_gate.adapters.mlflow.webhook import EVENTS
from champion_gate.domain.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.webhook import Webhook as Found

PATH = "/hooks/mlflow"
NAME = "champion-gate"
_PAGE, _MOST_PAGES = 100, 20
_LONGEST = 300


@dataclass(frozen=True)
class Webhook:
    """One webhook, as the server tells it; never its secret.

    Attributes:
        events: such as `model_version.created`.
    """

    id: str
    url: str
    events: frozenset[str]
    is_active: bool

    @property
    def missing(self) -> list[str]:
        """The events that we need and it does not send."""
        return [each for each in EVENTS if each not in self.events]


class MlflowWebhooks:
    """Reads and writes them. With MLflow's own users, only its administrators may.

    Args:
        uri: `http(s)://…` of an MLflow server; mlflow reads MLFLOW_TRACKING_USERNAME, …_PASSWORD and …_TOKEN itself.
        timeouts: seconds.
    """

    def __init__(self, uri: str, timeouts: Timeouts | None = None) -> None:
        self._calls = MlflowCalls(uri, timeouts or Timeouts())

    def at(self, url: str) -> tuple[Webhook, ...]:
        """Those that post to this address."""
        found = self._calls.run(_all)
        shown = (
            Webhook(each.webhook_id, each.url, frozenset(map(str, each.events)), str(each.status) == "ACTIVE")
            for each in found
        )
        return tuple(each for each in shown if each.url.rstrip("/") == url)

    def make(self, url: str, secret: str) -> str:
        """Make one, and return its id."""
        made = self._calls.run(
            lambda client: client.create_webhook(NAME, url, list(EVENTS), secret=secret, status="ACTIVE"),
            writes=True,
        )
        return str(made.webhook_id)

    def put(self, webhook: Webhook, secret: str) -> None:
        """Have it send our events, and sign with this secret; other events stay."""
        events = sorted(webhook.events.union(EVENTS))
        self._calls.run(
            lambda client: client.update_webhook(
                webhook.id,
                events=events,  # type: ignore[arg-type] # the server's own words
                secret=secret,
                status="ACTIVE",
            ),
            writes=True,
        )

    def test(self, webhook_id: str) -> tuple[bool, str]:
        """Have a signed test event sent: whether it was taken, and what the server says of that in words."""
        result = self._calls.run(lambda client: client.test_webhook(webhook_id), writes=True)
        said = result.error_message or result.response_body or ""
        status = "" if result.response_status is None else f"{result.response_status} "
        return bool(result.success), one_line(f"{status}{said}", _LONGEST).strip()


def _all(client: MlflowClient) -> Sequence[Found]:
    found: list[Found] = []
    token = None
    for _ in range(_MOST_PAGES):
        page = client.list_webhooks(max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
    raise unreadable("the end of the list of webhooks")
