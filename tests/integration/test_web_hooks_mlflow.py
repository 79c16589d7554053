"""`/hooks/mlflow`: what is signed is a hint to look, and leaves a trace; nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from champion_gate.adapters.mlflow.webhook import EVENTS, MlflowHook
from champion_gate.flow.registry_news import RegistryNewsDesk
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate_standins.common.server import serve
from integration.gate_world import GateWorld, gate_world
from integration.mlflow_server import MlflowServer
from integration.process_world import until
from unit.test_hooks_mlflow import ALIAS, SECRET, body, signed

pytest_plugins = ("integration.mlflow_fixtures",)


@contextmanager
def hooked(
    folder: Path, mlflow: MlflowServer | None = None, *, elsewhere: bool = False
) -> Iterator[tuple[GateWorld, FlaskClient, list[str]]]:
    """A gate on an MLflow registry, its hook, and the looks that the hook has had made."""
    looks: list[str] = []
    with gate_world(folder, "mlflow", server=mlflow) as world:
        if elsewhere:
            world.reconfigure(source="registry", jobs=None, trainers=["octo-trainer"])
        app = create_app(
            store=world.store,
            wake_ups=world.wake_ups,
            clock=world.clock,
            access=Access(registry_hooks={"mlflow": MlflowHook([SECRET])}),
            checks=(),
            registry_news=RegistryNewsDesk(world.core.context, looks.append).heard,
        )
        yield world, app.test_client(), looks


def test_a_signed_webhook_has_the_alias_looked_at_and_leaves_a_trace(tmp_path: Path) -> None:
    with hooked(tmp_path) as (world, client, looks):
        ours = body("model_version_alias", "created", {**ALIAS, "name": world.models.model})
        assert client.post("/hooks/mlflow", data=ours).status_code == 401
        assert client.post("/hooks/mlflow", data=ours, headers=signed(ours, age=600)).status_code == 401
        assert (looks, world.store.webhooks_of("mlflow")) == ([], {})

        taken = client.post("/hooks/mlflow", data=ours, headers=signed(ours))
        taken.close()
        assert (taken.status_code, looks) == (202, [f"alias:{world.models.model}@Champion"])
        again = client.post("/hooks/mlflow", data=ours, headers=signed(ours))
        assert (again.status_code, len(looks)) == (200, 1)
        assert world.store.webhooks_of("mlflow") == {"model_version_alias.created": world.clock.now()}


def test_a_model_that_no_gate_names_is_ignored_with_the_reason(tmp_path: Path) -> None:
    with hooked(tmp_path) as (world, client, looks):
        for name in ("example_model", "somebody.elses", "no/name"):
            other = body("model_version_alias", "deleted", {**ALIAS, "name": name})
            answer = client.post("/hooks/mlflow", data=other, headers=signed(other, delivery=name))
            assert (answer.status_code, looks) == (200, [])
            assert name in answer.get_json()["ignored"]
        assert set(world.store.webhooks_of("mlflow")) == {"test", "model_version_alias.deleted"}


@pytest.mark.part("rest")
def test_a_real_server_pings_and_tells_of_a_move(tmp_path: Path, running_mlflow: MlflowServer) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415 - slow

    with hooked(tmp_path, running_mlflow) as (world, client, looks), serve(client.application) as url:
        mlflow = MlflowClient(running_mlflow.uri, running_mlflow.uri)
        hook = mlflow.create_webhook("gate", f"{url}/hooks/mlflow", [*EVENTS], secret=SECRET)
        try:
            assert mlflow.test_webhook(hook.webhook_id).success
            assert "test" in world.store.webhooks_of("mlflow")
            world.models.train(world.job_id, "by-hand", {"f1": 0.9})
            mlflow.set_registered_model_alias(world.models.model, "Champion", "1")
            until(lambda: looks == [f"alias:{world.models.model}@Champion"], lambda: looks)
        finally:
            mlflow.delete_webhook(hook.webhook_id)


def test_a_new_version_is_on_record_before_the_webhook_is_answered(tmp_path: Path) -> None:
    with hooked(tmp_path, elsewhere=True) as (world, client, _):

        def post(name: str, version: object, delivery: str) -> tuple[int, object]:
            sent = body("model_version", "created", {"name": name, "version": version})
            answer = client.post("/hooks/mlflow", data=sent, headers=signed(sent, delivery=delivery))
            return answer.status_code, answer.json

        taken = (202, {"looked_at": "model_version.created"})
        assert [post(world.models.model, "7", each) for each in ("one", "two")] == [taken, taken]
        found = world.notification()
        assert (found.count, found.notification.told_version) == (2, (world.models.model, "7"))
        for name, version in (("another", "7"), (world.models.model, "7/../1"), (world.models.model, "")):
            status, said = post(name, version, f"{name} {version}")
            assert status == 200, said
        assert world.notification().count == 2
