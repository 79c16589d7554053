"""Serving endpoints of every shape, on version 7 of a model, and what is to be left of each when it was moved."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

MODEL = "main.ml.churn"
CHURN = {"entity_name": MODEL, "entity_version": "7", "workload_size": "Small", "scale_to_zero_enabled": True}
OTHER = {"name": "prices", "entity_name": "main.ml.prices", "entity_version": "7", "workload_size": "Small"}


@dataclass(frozen=True)
class Shape:
    """An endpoint, and the names that its entities cannot keep where the vendor refuses those of old versions."""

    name: str
    entities: list[dict[str, Any]]
    routes: list[dict[str, Any]] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    forced: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def by_entity(**percentages: int) -> list[dict[str, Any]]:
    return [{"served_entity_name": name, "traffic_percentage": share} for name, share in percentages.items()]


SHAPES = [
    Shape("default-name", [CHURN], forced={"churn-7": "churn-8"}),
    Shape("fixed-name", [{**CHURN, "name": "champion"}]),
    Shape(
        "several-entities",
        [CHURN, OTHER],
        [
            {"served_model_name": "churn-7", "traffic_percentage": 80},
            {"served_entity_name": "prices", "traffic_percentage": 20},
        ],
        forced={"churn-7": "churn-8"},
    ),
    Shape(
        "twice-of-this-model",
        [{**CHURN, "name": "large", "workload_size": "Large"}, {**CHURN, "name": "small"}],
        by_entity(large=90, small=10),
    ),
    Shape("another-case", [{**CHURN, "name": "champion", "entity_name": "Main.ML.Churn"}]),
    Shape(
        "keys-that-the-sdk-does-not-know",
        [
            {
                "name": "champion",
                "entity_name": MODEL,
                "entity_version": "7",
                "workload_type": "GPU_NEVER_HEARD_OF",
                "min_provisioned_concurrency": 4,
                "max_provisioned_concurrency": 8,
                "environment_vars": {"TOKEN": "{{secrets/serving/token}}"},
                "brand_new_of_entity": {"deeply": ["kept", None, 1.5]},
            }
        ],
        config={"brand_new_of_config": True},
    ),
    Shape(
        "with-all-around-it",
        [CHURN],
        by_entity(**{"churn-7": 100}),
        config={
            "auto_capture_config": {
                "catalog_name": "main",
                "schema_name": "logs",
                "table_name_prefix": "churn",
                "enabled": True,
            }
        },
        extras={
            "ai_gateway": {"usage_tracking_config": {"enabled": True}},
            "tags": [{"key": "team", "value": "churn"}],
            "description": "Who leaves.",
        },
        forced={"churn-7": "churn-8"},
    ),
]


def expected(first: dict[str, Any], version: str, names: dict[str, str]) -> dict[str, Any]:
    """The endpoint as a GET showed it first, but for versions of this model, forced names, and the counter."""
    changed = deepcopy(first)
    config = changed["config"]
    for entity in config["served_entities"]:
        if entity["entity_name"].lower() == MODEL:
            entity["entity_version"] = version
        entity["name"] = names.get(entity["name"], entity["name"])
    for shown in config["served_models"]:
        if shown["model_name"].lower() == MODEL:
            shown["model_version"] = version
        shown["name"] = names.get(shown["name"], shown["name"])
    for route in config["traffic_config"]["routes"]:
        for key in ("served_entity_name", "served_model_name"):
            route[key] = names.get(route[key], route[key])
    return changed


def but_counter(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "config": {**shown["config"], "config_version": 0}}


def shared_out(config: dict[str, Any], shares: list[int]) -> dict[str, Any]:
    """A configuration as it is shown, with other percentages on its routes."""
    changed = deepcopy(config)
    for route, share in zip(changed["traffic_config"]["routes"], shares, strict=True):
        route["traffic_percentage"] = share
    return changed


def settable(shown: dict[str, Any]) -> dict[str, Any]:
    """A configuration that is shown as people send it, without what the vendor adds."""
    config = {key: value for key, value in shown.items() if key not in {"config_version", "served_models"}}
    config["served_entities"] = [
        {key: value for key, value in entity.items() if key not in {"state", "creator", "creation_timestamp"}}
        for entity in shown["served_entities"]
    ]
    return config
