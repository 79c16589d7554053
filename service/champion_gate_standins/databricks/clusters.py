"""The Databricks stand-in's clusters and their policies, as in databricks/sdk/service/compute.py."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, Response, abort, jsonify, request


class Clusters:
    """Clusters, and policies that say what one may be.

    Attributes:
        clusters: id -> as `clusters/get` shows it; what is not there is gone.
        hidden: ids of those that we may not see.
        policies: id -> definition.
    """

    def __init__(self) -> None:
        self.clusters: dict[str, dict[str, Any]] = {}
        self.hidden: set[str] = set()
        self.policies: dict[str, dict[str, Any]] = {}

    def attach(self, app: Flask) -> None:
        """Add the routes."""
        app.get("/api/2.1/clusters/get")(self._get_cluster)
        app.get("/api/2.0/policies/clusters/get")(self._get_policy)

    def _get_cluster(self) -> Response:
        cluster_id = request.args.get("cluster_id", "")
        if cluster_id in self.hidden:
            abort(403, f"User does not have Attach permissions on cluster {cluster_id}.")
        if cluster_id not in self.clusters:
            abort(400, f"Cluster {cluster_id} does not exist")
        return jsonify({"cluster_id": cluster_id, **self.clusters[cluster_id]})

    def _get_policy(self) -> Response:
        policy_id = request.args.get("policy_id", "")
        if policy_id not in self.policies:
            abort(404, f"Can't find a cluster policy with id: {policy_id}.")
        return jsonify(policy_id=policy_id, name="jobs", definition=json.dumps(self.policies[policy_id]))
