"""Serving endpoints: which versions of a model one serves, and what moves it to another. No calls are made here.

An endpoint's configuration is taken as raw JSON, and every key goes back as it came: an update replaces the whole
of it, and vendors' clients drop keys that they do not know
(https://docs.databricks.com/api/workspace/servingendpoints/updateconfig).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from champion_gate.domain.secrets import BLOT
from champion_gate.errors import ConflictError

Config = Mapping[str, Any]
"""A configuration as the vendor shows it: `served_entities`, `traffic_config`, and what else stands there."""

# What the vendor adds to a configuration when it shows one (ServedEntityOutput in databricks/sdk/service/serving.py).
_ONLY_SHOWN = frozenset({"config_version", "served_models", "start_time"})
_ONLY_SHOWN_OF_ENTITY = frozenset({"state", "creator", "creation_timestamp", "foundation_model"})
_ONLY_SHOWN_OF_TABLE = frozenset({"state"})
_RECORDED = (
    "name",
    "entity_name",
    "entity_version",
    "workload_size",
    "workload_type",
    "scale_to_zero_enabled",
    "min_provisioned_concurrency",
    "max_provisioned_concurrency",
    "min_provisioned_throughput",
    "max_provisioned_throughput",
    "provisioned_model_units",
)
_SHORTEST_SECRET = 4  # characters; shorter ones stand in every sentence
_ROUTE_NAMES = ("served_entity_name", "served_model_name")


class UpdateState(StrEnum):
    """What became of the latest update of a configuration. UNKNOWN stands for what we have not heard of: wait."""

    NOT_UPDATING = "NOT_UPDATING"
    IN_PROGRESS = "IN_PROGRESS"
    UPDATE_FAILED = "UPDATE_FAILED"
    UPDATE_CANCELED = "UPDATE_CANCELED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Endpoint:
    """A serving endpoint as it is now.

    Attributes:
        creator: whose rights each update is checked against; None where it is not told.
        config_version: grows with each update; None where it is not told.
        pending: what it is being updated to, or was when that failed.
        url: its page, for people.
    """

    name: str
    creator: str | None
    is_ready: bool
    update: UpdateState
    config: Config
    config_version: int | None
    pending: Config | None
    url: str


class Standing(StrEnum):
    """Where an endpoint stands, seen from the version that it is to serve.

    ARRIVED: it serves the version alone, and is ready.
    NOT_READY: it has the version, and is not ready.
    ON_ITS_WAY: an update to the version is under way, whoever made it.
    BUSY: another update is under way.
    UPDATE_FAILED: the latest update failed or was cancelled, and the version is not there.
    ELSEWHERE: it serves another version.
    """

    ARRIVED = "arrived"
    NOT_READY = "not_ready"
    ON_ITS_WAY = "on_its_way"
    BUSY = "busy"
    UPDATE_FAILED = "update_failed"
    ELSEWHERE = "elsewhere"


def standing(endpoint: Endpoint, model: str, version: str) -> Standing:
    """Where the endpoint stands, by its update and its versions; the case of `model` does not matter.

    Whether it says that it is ready while it is updated differs, and tells nothing: what it served before serves on.
    """
    if endpoint.update in {UpdateState.IN_PROGRESS, UpdateState.UNKNOWN}:
        coming = versions_of(endpoint.pending or {}, model)
        return Standing.ON_ITS_WAY if coming == {version} else Standing.BUSY
    if versions_of(endpoint.config, model) == {version}:
        return Standing.ARRIVED if endpoint.is_ready else Standing.NOT_READY
    if endpoint.update is UpdateState.NOT_UPDATING:
        return Standing.ELSEWHERE
    return Standing.UPDATE_FAILED


def versions_of(config: Config, model: str) -> set[str]:
    """The versions of a model that a configuration serves; empty where it serves none."""
    return {str(entity.get("entity_version")) for entity in _entities(config) if _is_of(entity, model)}


def moved(config: Config, model: str, version: str) -> dict[str, Any]:
    """The configuration with all entities of a model at one version, as an update takes it; nothing else changes.

    Args:
        config: as the vendor shows it.
        model: `catalog.schema.model`, in any case: Unity Catalog does not tell names by it.
        version: decimal.

    Raises:
        ConflictError: it serves no version of this model.
    """
    if not versions_of(config, model):
        raise ConflictError(
            f"the endpoint serves no version of {model}.",
            hint="Correct `serving_endpoint` in gates.yaml, or serve the model there once by hand.",
        )
    sent = _without(config, _ONLY_SHOWN)
    sent["served_entities"] = [
        {**entity, "entity_version": version} if _is_of(entity, model) else dict(entity)
        for entity in (_without(shown, _ONLY_SHOWN_OF_ENTITY) for shown in _entities(config))
    ]
    table = config.get("auto_capture_config")
    if isinstance(table, Mapping):
        sent["auto_capture_config"] = _without(table, _ONLY_SHOWN_OF_TABLE)
    return sent


def names_to_renew(config: Config, model: str, version: str) -> dict[str, str]:
    """The names of this model's entities that end in the version that is left, each with what follows it.

    An entity that was given no name is called `<entity>-<version>`. Whether it may keep that name with another
    version is documented nowhere, so they are renewed only where the vendor refuses them.

    Raises:
        ConflictError: two entities would bear one name.
    """
    entities = _entities(config)
    renewed = {
        str(entity["name"]): f"{str(entity['name']).removesuffix(old)}{version}"
        for entity in entities
        if _is_of(entity, model)
        and (old := str(entity.get("entity_version"))) != version
        and str(entity.get("name", "")).endswith(f"-{old}")
    }
    names = Counter(renewed.get(name, name) for name in (str(entity.get("name")) for entity in entities))
    twice = [name for name, times in names.items() if times > 1]
    if renewed and twice:
        raise ConflictError(
            f"the endpoint does not let an entity keep its name, and two would be called {twice[0]!r}.",
            hint="Give the endpoint's entities names of their own that do not end in the version.",
        )
    return renewed


def renamed(sent: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """An update in which entities have other names, and the routes that lead to them too."""
    changed = dict(sent)
    changed["served_entities"] = [
        {**entity, "name": names.get(entity["name"], entity["name"])} if "name" in entity else entity
        for entity in _entities(sent)
    ]
    traffic = sent.get("traffic_config")
    if isinstance(traffic, Mapping):
        routes = [
            {key: names.get(value, value) if key in _ROUTE_NAMES else value for key, value in route.items()}
            for route in traffic.get("routes") or ()
        ]
        changed["traffic_config"] = {**traffic, "routes": routes}
    return changed


def for_the_record(config: Config) -> dict[str, Any]:
    """What a configuration serves, and how: of its keys those that hold no secret, for that is kept and shown."""
    traffic = config.get("traffic_config")
    routes = traffic.get("routes") if isinstance(traffic, Mapping) else None
    return {
        "served_entities": [_allowed(entity, _RECORDED) for entity in _entities(config)],
        "routes": [_allowed(route, (*_ROUTE_NAMES, "traffic_percentage")) for route in routes or ()],
    }


def _allowed(shown: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: shown[key] for key in keys if isinstance(shown.get(key), str | int | float)}


def without_values_of(config: Config, text: str) -> str:
    """A vendor's words about a configuration, with every text of it blotted out that `for_the_record` leaves away.

    Values of environment variables and keys of external models may stand there as they are, and vendors quote what
    they refuse. References to secrets are none.
    """
    values = {
        value
        for entity in _entities(config)
        for key, part in entity.items()
        if key not in _RECORDED and key not in _ONLY_SHOWN_OF_ENTITY
        for value in _texts(part)
        if len(value) >= _SHORTEST_SECRET and not value.startswith("{{secrets/")
    }
    values |= {json.dumps(value)[1:-1] for value in values}  # as it stands where JSON is quoted
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, BLOT)
    return text


def _texts(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        yield from (text for each in part.values() for text in _texts(each))
    elif isinstance(part, list):
        yield from (text for each in part for text in _texts(each))


def trouble(endpoint: Endpoint) -> str:
    """What the vendor says of entities that are not ready; empty where it says nothing."""
    told: list[str] = []
    for config in (endpoint.pending or {}, endpoint.config):
        for entity in _entities(config):
            state = entity.get("state")
            if isinstance(state, Mapping) and state.get("deployment") != "DEPLOYMENT_READY":
                words = state.get("deployment_state_message") or state.get("deployment")
                told.append(without_values_of(config, f"{entity.get('name')}: {words}"))
    return "; ".join(told)


def _entities(config: Config) -> Sequence[Mapping[str, Any]]:
    return [entity for entity in config.get("served_entities") or () if isinstance(entity, Mapping)]


def _is_of(entity: Mapping[str, Any], model: str) -> bool:
    return str(entity.get("entity_name") or "").casefold() == model.casefold()


def _without(shown: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if key not in keys}
