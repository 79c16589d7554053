"""What `demo --full` adds: a validation before people are asked, a copy to production, a batch job, an endpoint and a rollback."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import requests

from champion_gate.demo.models import ALIAS, COPIER
from champion_gate.errors import VendorUnavailableError

if TYPE_CHECKING:
    from champion_gate.demo.models import CatalogModels, DemoModels
    from champion_gate.domain.promotion import Promotion
    from champion_gate_standins.databricks.server import DatabricksStandIn

_ENDPOINT = "churn-prod"
_JOB_SECONDS, _UPDATE_SECONDS = 2.0, 3.0
_PATIENCE_SECONDS = 60.0
_PARAMETERS = ("model_name", "model_version", "alias", "promotion_id")
_SAYS = {
    "champion_gate_validation": {
        "passed": True,
        "checks": [{"name": "schema", "passed": True}, {"name": "drift", "passed": True}],
        "metrics": {"recall": 0.91},
    }
}
_TITLES = {
    "validate": "validation job",
    "challenger": "challenger",
    "copy": "copying job",
    "job": "batch job",
    "endpoint": "serving endpoint",
}


def gate_around(databricks: DatabricksStandIn, models: CatalogModels) -> dict[str, object]:
    """Make the jobs and the endpoint; returns what the gate says of them."""

    def job(name: str, says: Callable[[Mapping[str, str]], object], **parameters: str) -> int:
        given = {**dict.fromkeys(_PARAMETERS, ""), **parameters}
        made = databricks.jobs.add_job(name, run_as=COPIER, parameters=given)
        databricks.starts.set_course(made, seconds=_JOB_SECONDS, said=lambda run: {"main": says(run)})
        return int(made)

    databricks.serving.update_seconds = _UPDATE_SECONDS
    entity = {"name": "champion", "entity_name": models.destination, "entity_version": "1"}
    databricks.serving.add_endpoint(_ENDPOINT, [entity])
    copy = job(
        "copy-churn", lambda run: models.copy(run["model_version"]), destination="", registry_uri=models.uri
    )
    batch = job("score-churn", lambda _run: "scored")
    return {
        "validation": {"job": job("validate-churn", lambda _run: _SAYS)},
        "challenger": "Challenger",
        "promote_to": {"model": models.destination, "job": copy},
        "after": [{"job": batch, "on": ["promoted"]}, {"serving_endpoint": _ENDPOINT}],
    }


class Around:
    """Tells of each thing around the promotion when it has come to its end, and rolls back."""

    def __init__(self, url: str, token: str, models: DemoModels, say: Callable[[str], None]) -> None:
        """Set up."""
        self._token = token
        self._models = models
        self._say = say
        self._told: set[str] = set()
        self._api = f"{url}/api/v1"
        self._alias = f"{self._api}/models/{models.destination}/aliases/{ALIAS}"

    def tell(self, promotion: Promotion) -> None:
        """Say what has ended around it since this was last asked."""
        self._tell(self._call("GET", f"{self._api}/promotions/{promotion.id}/steps")["steps"])

    def follow_the_move(self) -> None:
        """Return once all that follows the alias's latest move has ended.

        Raises:
            VendorUnavailableError: that takes too long.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            steps = self._call("GET", f"{self._alias}/steps")["steps"]
            self._tell(steps)
            if all(step["ended_at"] for step in steps):
                return
            time.sleep(0.1)
        raise VendorUnavailableError("the demo", f"not done within {_PATIENCE_SECONDS:.0f} s: {steps}")

    def roll_back(self) -> None:
        """Have an operator put the alias back, and what serves follow."""
        self._say("an operator rolls back: champion-gate alias rollback")
        self._call("POST", f"{self._alias}/rollback", {"reason": "v2 answers too slowly"})
        self._say(f"{ALIAS} stands on v{self._models.champion()} again, and is held there")
        self.follow_the_move()

    def _tell(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            title = _TITLES.get(step["kind"])
            if title and step["ended_at"] and step["id"] not in self._told:
                self._told.add(step["id"])
                self._say(f"{title}: {step['reason'].rstrip('.')}")

    def _call(self, method: str, url: str, body: Mapping[str, str] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = requests.request(method, url, json=body, headers=headers, timeout=30)
        if not answer.ok:
            raise VendorUnavailableError("the demo", f"{method} {url}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found
