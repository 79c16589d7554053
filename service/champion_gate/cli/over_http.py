"""The client's calls over HTTP to a service."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from champion_gate.adapters.http.answer import A_WEB_PAGE, Answer, is_web_page
from champion_gate.adapters.http.auth import HeaderTokens
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.cli.client import PROBLEM, ROOT, TRY_AGAIN, Call, ServiceError, json_or_none
from champion_gate.errors import GateError, VendorUnavailableError
from champion_gate.settings.credentials import ApiAccess

_READ_SECONDS = 45.0  # an order waits half a minute for another writer of its alias
_LARGEST_ANSWER = 16 * 1024 * 1024  # no answer of ours comes near it; a bound for memory


class OverHttp:
    """Calls one service. Reads, and POSTs by their key, are sent again where no answer came; all else once."""

    def __init__(
        self, access: ApiAccess, *, sleep: Callable[[float], None] = time.sleep, total_seconds: float = 60.0
    ) -> None:
        """Nothing is called yet."""
        self._auth = HeaderTokens("Authorization", [f"Bearer {access.token.get_secret_value()}"])
        self._key = f"cli-{secrets.token_hex(8)}"
        self._client = ApiClient(
            vendor=f"the service at {access.url}",
            base_url=f"{access.url}{ROOT}",
            headers={"Accept": f"application/json, text/markdown, {PROBLEM}"},
            timeouts=Timeouts(read=_READ_SECONDS, total=total_seconds),
            sleep=sleep,
            max_answer_bytes=_LARGEST_ANSWER,
            refusal=_refusal,
            # Plain HTTP goes to this machine only, and so past every proxy.
            takes_proxies=access.url.startswith("https://"),
        )

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._client.close()

    def send(self, call: Call) -> bytes:
        """As the protocol says. A web page, such as a proxy's to sign in, is no answer."""
        is_post = call.method == "POST"
        try:
            answer = self._client.send(
                call.method,
                call.path,
                auth=self._auth,
                params=call.query,
                body=call.body,
                headers={**call.headers, **({"Idempotency-Key": self._key} if is_post else {})},
                repeatable=is_post or not call.acts,
            )
        except VendorUnavailableError as error:
            error.outcome_unknown = call.acts
            error.hint = "Is `champion-gate serve` running, and the address right?"
            if call.acts:
                error.hint += " It may have been carried out: look before you repeat it."
            raise
        if is_web_page(answer.body):
            raise call.unreadable(A_WEB_PAGE)
        return answer.body


def _refusal(answer: Answer) -> GateError:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    problem = json_or_none(answer.body) if kind == PROBLEM else None
    if problem is not None:
        return ServiceError(answer.status, problem)
    if answer.status in TRY_AGAIN:
        return answer.error()
    reason = f"with {A_WEB_PAGE}" if is_web_page(answer.body) else "and no reason"
    hint = "Is this the service's address? Its API lies at …/api/v1, which is added here."
    return ServiceError(
        answer.status, {"detail": f"{answer.call} was answered {answer.status} {reason}.", "hint": hint}
    )
