"""What the API does its work with, and how many requests may wait for a vendor at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from flask import Response

from champion_gate.domain.managed import ManagedAliases
from champion_gate.domain.ports import Clock, ModelRegistry
from champion_gate.errors import GateError
from champion_gate.flow.identities import Identities
from champion_gate.flow.operator_aliases import AliasOrders
from champion_gate.flow.operator_promotions import PromotionOrders
from champion_gate.store import Store


@dataclass(frozen=True)
class Operations:
    """The parts of the core that the API calls; a command's are put together when an operation needs them."""

    store: Store
    clock: Clock
    registry: ModelRegistry
    promotion_orders: PromotionOrders
    alias_orders: AliasOrders
    identities: Identities
    managed: ManagedAliases


class BusyError(GateError):
    """As many requests as may wait for Databricks or the registry do so already."""

    code = "busy"
    status = 503
    retryable = True


class Places:
    """Keeps requests that wait for a vendor from taking all threads: hooks and health must be answered."""

    def __init__(self, places: int = 6) -> None:
        self._places = threading.BoundedSemaphore(places)

    def bound(self, view: Callable[..., Response]) -> Callable[..., Response]:
        """The view, which runs only while there is a place; raises BusyError where there is none."""

        @wraps(view)
        def placed(**given: object) -> Response:
            if not self._places.acquire(blocking=False):
                raise BusyError(
                    "Too many requests wait for Databricks or the registry already; nothing was changed.",
                    hint="Try again in a moment.",
                )
            try:
                return view(**given)
            finally:
                self._places.release()

        return placed
