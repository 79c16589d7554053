"""A gate that is served over HTTP with its workers, in this process, and one promotion that waits for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from champion_gate.bootstrap import build_service
from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_providers import Provider
from integration.gate_world import GateWorld, MovableClock, gate_world
from integration.process_world import until
from integration.serving import served

BUDGET_SECONDS = 25


class RunningClock(MovableClock):
    """Time that passes by itself, and can be moved forward besides."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def at_the_vendors(self) -> datetime:
        return self.now()

    def move(self, **by: float) -> None:
        self._ahead += timedelta(**by)


@dataclass
class PostedWorld:
    """What a test acts on.

    Attributes:
        gate: everything around the service.
        url: where it is served.
        promotion: waits for people.
        others: further ones, older.
    """

    gate: GateWorld
    url: str
    promotion: Promotion
    others: tuple[Promotion, ...]
    pool: ThreadPoolExecutor

    @property
    def there(self) -> Provider:
        """Where people approve."""
        return self.gate.provider

    @property
    def request_id(self) -> str:
        """The promotion's run or pipeline."""
        return self.gate.run_id_of(self.promotion)

    def approve(self, *logins: str) -> None:
        """People approve; the gated job runs from then on."""
        self.there.approve(self.request_id, *(logins or ("reviewer-1",)))

    def token(self, seat: int = 0, **claims: Any) -> str:
        """Another ID token of the promotion's gated job."""
        return self.there.token(self.request_id, seat, **claims)

    def post(
        self, token: str | None, promotion_id: str | None = None, body: bytes = b"{}", timeout: float = 60
    ) -> requests.Response:
        """Post a token as the gated job does."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return requests.post(
            f"{self.url}/api/v1/promotions/{promotion_id or self.promotion.id}/decision",
            body,
            headers=headers,
            timeout=(5, timeout),
        )

    def read_keys(self) -> None:
        """Have the issuer's keys read, for which of many posts at once not all may wait."""
        assert self.post(self.token(aud="another")).status_code == HTTPStatus.UNAUTHORIZED

    def post_beside(self, token: str) -> Future[requests.Response]:
        """The same in a thread."""
        return self.pool.submit(self.post, token)

    def post_until(self, token: str, true: Callable[[requests.Response], bool]) -> requests.Response:
        """Post the same token again and again until the answer is the one that is waited for."""
        answers: list[requests.Response] = []

        def asked() -> bool:
            answers.append(self.post(token))
            return true(answers[-1])

        until(asked, lambda: str([(each.status_code, each.text) for each in answers[-3:]]))
        return answers[-1]

    def use_up_the_budget(self) -> None:
        """Let the time pass that a post may wait."""
        self.gate.clock.move(seconds=BUDGET_SECONDS + 1)

    def writes(self) -> list[int | None]:
        """The versions on which the alias was put, oldest first."""
        return [version for _, _, version in self.gate.databricks.catalog.alias_writes]

    def unmoved(self, phase: Phase = Phase.PENDING_APPROVAL) -> str:
        """Assert that nothing was promoted, and the phase; returns its reason."""
        assert (self.gate.models.champion(), self.writes()) == ("1", [])
        return self.gate.ended(self.promotion, phase)


def _is_listed(requests: Sequence[tuple[str, str]]) -> bool:
    return any(path.endswith(("/runs", "/pipelines")) for _, path in requests)


@contextmanager
def posted_world(
    folder: Path,
    provider: str,
    *,
    people: int = 1,
    promotions: int = 1,
    prepare: Callable[[GateWorld], Mapping[str, object]] = lambda _world: {},
) -> Iterator[PostedWorld]:
    """Promotions that wait, whose gated jobs go on running once they are released.

    Args:
        folder: for the database and gates.yaml.
        provider: one of PROVIDERS.
        people: how many have to approve.
        promotions: how many wait.
        prepare: makes what the gate needs in the world, and says what to change of the one gate.
    """
    with gate_world(folder, provider=provider, clock=RunningClock()) as world:
        world.provider.hold_jobs()
        world.reconfigure(approval=world.provider.approval(people), **prepare(world))
        asked = [world.ask({"f1": 0.91 + number / 100}) for number in range(promotions)]
        databricks = {"host": world.databricks_url, "token": "standin-token"}
        service = build_service(world.environ, clock=world.clock, databricks=databricks)
        world.look()  # the next look at each comes in an hour
        seen = len(world.provider.faults.requests)
        pool = ThreadPoolExecutor(64)
        with served(service) as url:
            try:
                # The first sweep lists what waits; the next comes in a minute.
                until(lambda: _is_listed(world.provider.faults.requests[seen:]), "there was no sweep")
                *others, promotion = (world.again(each) for each in asked)
                yield PostedWorld(world, url, promotion, tuple(others), pool)
            finally:
                world.provider.stop()
                world.databricks.faults.clear()
                pool.shutdown()
