"""The Databricks stand-in's serving endpoints: a configuration, and updates that take their time.

As in https://docs.databricks.com/api/workspace/servingendpoints and databricks/sdk/service/serving.py.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, abort, jsonify, request

_ADDED_TO_ENTITY = ("state", "creator", "creation_timestamp")
_ADDED_TO_CONFIG = ("config_version", "served_models", "start_time")
_ALL = 100
_PENDING = {"UPDATE_FAILED": "DEPLOYMENT_FAILED", "UPDATE_CANCELED": "DEPLOYMENT_ABORTED"}
"""How an entity is shown whose update came to nothing."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_OF_A_VERSION = re.compile(r".*-([0-9]+)")


@dataclass(frozen=True)
class Update:
    """An update that was taken.

    Attributes:
        by: who sent it.
        at: in the clock's milliseconds.
        config: as it was sent.
    """

    endpoint: str
    by: str
    at: int
    config: dict[str, Any]


@dataclass
class _Endpoint:
    """An endpoint; `config` and `pending` are as they were sent, with all names filled in."""

    name: str
    creator: str
    config: dict[str, Any]
    extras: dict[str, Any]
    config_version: int = 1
    pending: dict[str, Any] | None = None
    began: int = 0
    outcome: str = "NOT_UPDATING"
    message: str = ""


class Serving:
    """Endpoints, and what tests and the demo do to them. Time passes when something is asked.

    Attributes:
        updates: those that were taken, oldest first.
        update_seconds: how long an update takes by the stand-in's clock.
        failure: what the next updates fail with; they succeed if it is empty.
        cancels: whether somebody cancels the next updates, as people can in the UI alone.
        is_ready: whether endpoints get ready again after an update.
        refuses_old_names: whether a name that ends in another version than the entity's is refused; what Databricks
            does is documented nowhere.
        is_ready_while_updating: what it says of itself meanwhile; the documentation and the CLI's own fake differ.
        before_put: called once when the next update arrives, before it is looked at.
    """

    def __init__(self, user: str, now: Callable[[], int]) -> None:
        self.updates: list[Update] = []
        self.update_seconds = 0.0
        self.failure = ""
        self.cancels = False
        self.is_ready = True
        self.refuses_old_names = False
        self.is_ready_while_updating = True
        self.before_put: Callable[[], None] | None = None
        self._user = user
        self._now = now
        self._endpoints: dict[str, _Endpoint] = {}
        self._lock = threading.RLock()

    def add_endpoint(
        self,
        name: str,
        entities: Sequence[dict[str, Any]],
        *,
        routes: Sequence[dict[str, Any]] | None = None,
        creator: str = "trainer@example.com",
        config: dict[str, Any] | None = None,
        **extras: Any,
    ) -> None:
        """Make an endpoint that is ready.

        Args:
            name: its name.
            entities: as they were sent when it was made.
            routes: the same; None for one entity that gets everything.
            creator: whose rights updates are checked against.
            config: further keys of the configuration.
            extras: further keys of the endpoint, such as `tags` and `ai_gateway`.
        """
        traffic = {} if routes is None else {"traffic_config": {"routes": list(routes)}}
        sent = {"served_entities": list(entities), **traffic, **(config or {})}
        self._endpoints[name] = _Endpoint(name, creator, _completed(sent), extras)

    def shown(self, name: str) -> dict[str, Any]:
        """An endpoint as a GET shows it."""
        with self._lock:
            return self._shown(self._endpoints[name])

    def update(self, name: str, config: dict[str, Any], *, by: str = "somebody@example.com") -> None:
        """Have somebody else update an endpoint; nothing is checked."""
        with self._lock:
            self._begin(self._endpoints[name], config, by)

    def attach(self, app: Flask) -> None:
        """Add the routes."""
        app.get("/api/2.0/serving-endpoints/<name>")(self._get)
        app.put("/api/2.0/serving-endpoints/<name>/config")(self._put)

    def _get(self, name: str) -> Response:
        with self._lock:
            return jsonify(self._shown(self._found(name)))

    def _put(self, name: str) -> Response:
        sent = request.get_json(silent=True)
        meanwhile, self.before_put = self.before_put, None
        if meanwhile is not None:
            meanwhile()
        with self._lock:
            endpoint = self._found(name)
            self._pass_time(endpoint)
            if endpoint.extras.get("permission_level", "CAN_MANAGE") != "CAN_MANAGE":
                abort(403, f"User does not have CAN MANAGE on the endpoint {name}.")
            if endpoint.outcome == "IN_PROGRESS":
                abort(409, f"Endpoint {name} is currently updating. Please wait until it has finished.")
            if not isinstance(sent, dict):
                abort(400, "Could not parse request object.")
            completed = _completed(sent)
            self._check(completed)
            self._begin(endpoint, completed, self._user)
            return jsonify(self._shown(endpoint))

    def _found(self, name: str) -> _Endpoint:
        if name not in self._endpoints:
            abort(404, f"The given endpoint does not exist: {name}.")
        return self._endpoints[name]

    def _check(self, config: dict[str, Any]) -> None:
        entities = config["served_entities"]
        names = [entity["name"] for entity in entities]
        if not entities or len(set(names)) != len(names):
            abort(400, f"Served entities need names that differ: {names}.")
        for key in _ADDED_TO_CONFIG:
            if key in config:
                abort(400, f"Unknown field: {key}.")
        for entity in entities:
            self._check_entity(entity)
        routes = config["traffic_config"]["routes"]
        named = [route.get("served_entity_name") or route.get("served_model_name") for route in routes]
        if sorted(named) != sorted(names) or any(_twins_differ(route) for route in routes):
            abort(400, f"The routes {named} do not lead to the served entities {names}.")
        if sum(route["traffic_percentage"] for route in routes) != _ALL:
            abort(400, "The traffic percentages must sum up to 100.")

    def _check_entity(self, entity: dict[str, Any]) -> None:
        name = entity["name"]
        if any(key in entity for key in _ADDED_TO_ENTITY):
            abort(400, f"Served entity {name} has a field that cannot be set.")
        if not _NAME.fullmatch(name):
            abort(400, f"Served entity {name!r} has no valid name.")
        if (
            "workload_size" in entity
            and {"min_provisioned_concurrency", "max_provisioned_concurrency"} & entity.keys()
        ):
            abort(400, f"Served entity {name} has a workload size and a provisioned concurrency.")
        ends = _OF_A_VERSION.fullmatch(name)
        if self.refuses_old_names and ends and ends[1] != entity.get("entity_version"):
            abort(400, f"Served entity name {name} does not fit version {entity.get('entity_version')}.")

    def _begin(self, endpoint: _Endpoint, config: dict[str, Any], by: str) -> None:
        now = self._now()
        endpoint.pending, endpoint.began = _completed(config), now
        endpoint.outcome, endpoint.message = "IN_PROGRESS", self.failure
        self.updates.append(Update(endpoint.name, by, now, copy.deepcopy(config)))

    def _pass_time(self, endpoint: _Endpoint) -> None:
        is_over = self._now() >= endpoint.began + self.update_seconds * 1000
        if endpoint.outcome != "IN_PROGRESS" or endpoint.pending is None or not is_over:
            return
        if endpoint.message or self.cancels:
            endpoint.outcome = "UPDATE_FAILED" if endpoint.message else "UPDATE_CANCELED"
            return
        endpoint.config, endpoint.pending = endpoint.pending, None
        endpoint.config_version += 1
        endpoint.outcome = "NOT_UPDATING"

    def _shown(self, endpoint: _Endpoint) -> dict[str, Any]:
        self._pass_time(endpoint)
        is_ready = self.is_ready_while_updating if endpoint.outcome == "IN_PROGRESS" else self.is_ready
        serves = "DEPLOYMENT_READY" if is_ready else "DEPLOYMENT_RECOVERING"
        shown = {
            "name": endpoint.name,
            "creator": endpoint.creator,
            "creation_timestamp": 1_700_000_000_000,
            "state": {"ready": "READY" if is_ready else "NOT_READY", "config_update": endpoint.outcome},
            "config": self._config(endpoint, endpoint.config, serves, ""),
            "permission_level": "CAN_MANAGE",
            "route_optimized": False,
            **copy.deepcopy(endpoint.extras),
        }
        if endpoint.pending is not None:
            state = _PENDING.get(endpoint.outcome, "DEPLOYMENT_CREATING")
            message = endpoint.message if endpoint.outcome == "UPDATE_FAILED" else ""
            pending = self._config(endpoint, endpoint.pending, state, message)
            pending["config_version"] += 1
            shown["pending_config"] = {**pending, "start_time": endpoint.began}
        return shown

    def _config(
        self, endpoint: _Endpoint, config: dict[str, Any], state: str, message: str
    ) -> dict[str, Any]:
        shown = copy.deepcopy(config)
        for entity in shown["served_entities"]:
            entity["state"] = {"deployment": state, "deployment_state_message": message}
            entity["creator"], entity["creation_timestamp"] = endpoint.creator, 1_700_000_000_000
        if "auto_capture_config" in shown:
            shown["auto_capture_config"]["state"] = {"payload_table": {"name": "t", "status": "READY"}}
        # Shown beside the entities, whichever of the two was sent (databricks/cli#3880).
        shown["served_models"] = [
            {
                "name": entity["name"],
                "model_name": entity.get("entity_name"),
                "model_version": entity.get("entity_version"),
            }
            for entity in shown["served_entities"]
        ]
        return {**shown, "config_version": endpoint.config_version}


def _completed(sent: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the names and the one route that Databricks fills in, and both names of each route."""
    config = copy.deepcopy(sent)
    entities = config.setdefault("served_entities", [])
    for entity in entities:
        model = str(entity.get("entity_name", "")).rpartition(".")[2]
        entity.setdefault("name", f"{model}-{entity.get('entity_version')}")
    traffic = config.setdefault("traffic_config", {})
    if "routes" not in traffic and len(entities) == 1:
        traffic["routes"] = [{"served_entity_name": entities[0]["name"], "traffic_percentage": _ALL}]
    for route in traffic.setdefault("routes", []):
        for one, other in (
            ("served_entity_name", "served_model_name"),
            ("served_model_name", "served_entity_name"),
        ):
            if one in route:
                route.setdefault(other, route[one])
    return config


def _twins_differ(route: dict[str, Any]) -> bool:
    return route.get("served_entity_name") != route.get("served_model_name")
