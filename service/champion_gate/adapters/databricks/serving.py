"""Serving endpoints of a Databricks workspace (port `Serving`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from champion_gate.adapters.databricks.connection import DatabricksConnection
from champion_gate.adapters.databricks.errors import InvalidRequestError, unreadable
from champion_gate.adapters.databricks.models import ShownEndpoint, databricks
from champion_gate.domain.names import check_endpoint, joined
from champion_gate.domain.serving import (
    Endpoint,
    UpdateState,
    moved,
    names_to_renew,
    renamed,
    without_values_of,
)

_ENDPOINTS = "/api/2.0/serving-endpoints"


class DatabricksServing:
    """The endpoints of the one workspace, read and written as raw JSON.

    Needs CAN MANAGE on those that are moved.
    """

    def __init__(self, connection: DatabricksConnection) -> None:
        """No call is made."""
        self._connection = connection

    def read(self, name: str) -> Endpoint:
        """An endpoint as it is now.

        Raises:
            VendorNotFoundError: there is none, or we may not see it.
        """
        path = _path(name)
        answer = self._connection.begin().read(path)
        shown = databricks.one(ShownEndpoint, answer, path)
        if shown.name != name:
            raise unreadable("a serving endpoint")
        version = shown.config.config_version if shown.config else None
        return Endpoint(
            name=name,
            creator=shown.creator,
            is_ready=shown.ready == "READY",
            update=_update_state(shown),
            config=answer.get("config") or {},
            config_version=int(version) if version else None,
            pending=answer.get("pending_config"),
            url=self._connection.page(f"ml/endpoints/{name}"),
        )

    def move(self, endpoint: Endpoint, model: str, version: str) -> Mapping[str, str]:
        """Begin to move all entities of a model to one version.

        A refusal says that nothing was carried out. Where names end in the version that is left, the update is then
        sent once more with those renewed.
        """
        sent = moved(endpoint.config, model, version)
        try:
            self._put(endpoint.name, sent)
        except InvalidRequestError:
            names = names_to_renew(endpoint.config, model, version)
            if not names:
                raise
            self._put(endpoint.name, renamed(sent, names))
            return names
        return {}

    def _put(self, name: str, config: Mapping[str, Any]) -> None:
        self._connection.begin().write(
            "PUT", f"{_path(name)}/config", config, blotted=partial(without_values_of, config)
        )


def _path(name: str) -> str:
    return _ENDPOINTS + joined(check_endpoint(name))


def _update_state(shown: ShownEndpoint) -> UpdateState:
    word = shown.config_update if shown.config_update is not None else shown.update_state
    return next((state for state in UpdateState if state.value == word), UpdateState.UNKNOWN)
