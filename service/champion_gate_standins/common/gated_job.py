"""Does what the gated job of the shipped templates does: posts its ID token until the outcome is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import requests

AUDIENCE = "champion-gate"
"""For whom the shipped templates ask for ID tokens."""

_PATIENCE_SECONDS = 200.0
_PAUSE_SECONDS = 0.2
_UNANSWERED = {408, 425, 429}


def ask_gate(gate_url: str, promotion_id: str, token: str, *, stop: threading.Event) -> bool:
    """Post the token until the promotion's phase is final, as deploy/github/champion-gate.yml does with curl.

    Args:
        gate_url: champion-gate's address, without a slash at the end.
        promotion_id: the workflow's input.
        token: the job's ID token; the same one every time.
        stop: set when the stand-in closes.

    Returns:
        Whether the job ends well.
    """
    url = f"{gate_url}/api/v1/promotions/{promotion_id}/decision"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and not stop.is_set():
        try:
            answer = requests.post(
                url,
                json={},
                headers={"Authorization": f"Bearer {token}"},
                timeout=(5, 30),
                allow_redirects=False,
            )
        except requests.RequestException:
            status, phase = 0, ""
        else:
            status, phase = answer.status_code, _phase(answer)
        if status == requests.codes.ok:
            return phase in {"promoted", "pending_approval"}
        unanswered = status == 0 or status in _UNANSWERED or status >= requests.codes.server_error
        if status != requests.codes.accepted and not unanswered:
            return False
        stop.wait(_PAUSE_SECONDS)
    return False


class GatedJobs:
    """Runs released jobs in threads of their own, as runners would.

    Args:
        gate_url: champion-gate's address.
    """

    def __init__(self, gate_url: str) -> None:
        self._gate_url = gate_url
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, promotion_id: str, token: Callable[[], str], end: Callable[[bool], None]) -> None:
        """Run one job.

        Args:
            promotion_id: the workflow's input.
            token: makes the job's ID token.
            end: told whether the job ended well.
        """

        def run() -> None:
            end(ask_gate(self._gate_url, promotion_id, token(), stop=self._stop))

        thread = threading.Thread(target=run, name=f"gated job of {promotion_id}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop waiting for answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)


def _phase(answer: requests.Response) -> str:
    try:
        said = answer.json()
    except ValueError:
        return ""
    return str(said.get("phase", "")) if isinstance(said, dict) else ""
