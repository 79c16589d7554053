"""GitHub's webhooks: their signature, and the workflow run that they tell about."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from champion_gate.core.bodies import Ignored, UnusableBodyError, id_of, json_object, object_at, shown

_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
_RUN_PATHS = {
    "deployment_review": ("workflow_run", "id"),
    "deployment_status": ("workflow_run", "id"),
    "workflow_job": ("workflow_job", "run_id"),
    "workflow_run": ("workflow_run", "id"),
}


class GitHubHook:
    """A `ProviderHook` (docs.github.com, "Validating webhook deliveries", "Webhook events and payloads").

    Args:
        secrets: what GitHub and we share; two while one is being replaced.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not all(secrets):
            raise ValueError("a secret must not be empty")
        self._secrets = [secret.encode() for secret in secrets]

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        """Check `X-Hub-Signature-256: sha256=<hex>`; the older sha1 header proves nothing."""
        given = _SIGNATURE.fullmatch(header("X-Hub-Signature-256"))
        signature = given.group(1) if given else ""
        # Every secret is compared: the time does not tell which matched.
        matches = [
            hmac.compare_digest(signature, hmac.new(secret, body, hashlib.sha256).hexdigest())
            for secret in self._secrets
        ]
        return any(matches)

    def delivery_id(self, header: Callable[[str], str]) -> str:
        """`X-GitHub-Delivery`: the same when it is delivered again."""
        return header("X-GitHub-Delivery")

    def request_id(self, header: Callable[[str], str], body: bytes) -> str | Ignored:
        """The workflow run's id as decimal text."""
        kind = header("X-GitHub-Event")
        if kind not in _RUN_PATHS:
            return Ignored(f"{shown(kind)} tells nothing about an approval")
        if body.startswith(b"payload="):
            return Ignored("the body is a form; set the webhook's content type to application/json")
        outer, inner = _RUN_PATHS[kind]
        try:
            return id_of(object_at(json_object(body), outer).get(inner), f"{outer}.{inner}")
        except UnusableBodyError as error:
            return Ignored(str(error))
