"""The Databricks stand-in's Unity Catalog models and MLflow runs: state and routes.

Paths and fields as in databricks/sdk/service/catalog.py and mlflow's Unity Catalog registry service.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, abort, jsonify, request

from champion_gate_standins.databricks.mlflow import MlflowRuns, pairs
from champion_gate_standins.databricks.principals import caller

_PAGE, _LONGEST_PAGE = 100, 1000


@dataclass
class Version:
    """A model version."""

    number: int
    version_id: str | None
    run_id: str | None
    run_workspace_id: int | None
    source: str
    status: str
    created_at: int
    created_by: str | None
    tags: dict[str, str] = field(default_factory=dict)
    model_id: str = ""


@dataclass
class Model:
    """A registered model; aliases map lower-case names to version numbers.

    Attributes:
        versions: by number, oldest first.
        executable: whether the caller has EXECUTE; without it lists are empty, and the model itself is still shown
            (databricks/sdk/service/catalog.py, ModelVersionsAPI.list).
        deployment_job_id: the job that Databricks starts for each new version; empty for none.
    """

    full_name: str
    owner: str
    created_at: int
    versions: dict[int, Version] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    executable: bool = True
    deployment_job_id: str = ""

    def shown(self, *, aliases: bool) -> dict[str, Any]:
        """As `models/{full_name}` shows it: aliases only where they are asked for."""
        catalog, schema, name = self.full_name.split(".")
        shown: dict[str, Any] = {
            "full_name": self.full_name,
            "catalog_name": catalog,
            "schema_name": schema,
            "name": name,
            "owner": self.owner,
            "created_at": self.created_at,
        }
        if aliases and self.aliases:
            shown["aliases"] = [
                {"alias_name": alias, "version_num": number} for alias, number in self.aliases.items()
            ]
        return shown

    def shown_version(self, version: Version) -> dict[str, Any]:
        """As `models/{full_name}/versions` shows it: without tags and aliases."""
        catalog, schema, name = self.full_name.split(".")
        shown = {
            "catalog_name": catalog,
            "schema_name": schema,
            "model_name": name,
            "version": version.number,
            "id": version.version_id,
            "run_id": version.run_id,
            "run_workspace_id": version.run_workspace_id,
            "source": version.source,
            "status": version.status,
            "created_at": version.created_at,
            "created_by": version.created_by,
        }
        return {key: value for key, value in shown.items() if value is not None}

    def tagged_version(self, version: Version) -> dict[str, Any]:
        """As MLflow's side shows it: with tags, without id; what is not there is left out."""
        shown = {
            "name": self.full_name,
            "version": str(version.number),
            "creation_timestamp": version.created_at,
            "user_id": version.created_by,
            "run_id": version.run_id,
            "source": version.source,
            "status": version.status,
            "model_id": version.model_id,
            "tags": pairs(version.tags),
        }
        return {key: value for key, value in shown.items() if value is not None}


class Catalog:
    """Registered models, their versions, aliases and tags, and MLflow runs.

    Names are case-insensitive and kept in lower case, as Unity Catalog does. Every method may be called from
    any thread.

    Attributes:
        mlflow: MLflow runs and the models that they logged.
        alias_writes: every alias write that was carried out: (model, alias, version, or None for a delete).
    """

    def __init__(self, workspace_id: str, now: Callable[[], int]) -> None:
        self.alias_writes: list[tuple[str, str, int | None]] = []
        self.mlflow = MlflowRuns(now)
        self._workspace_id = int(workspace_id)
        self._now = now
        self._models: dict[str, Model] = {}
        self._lock = threading.RLock()

    # what tests and the demo do
    def add_model(self, full_name: str, *, owner: str = "ml-owners") -> None:
        """Make a registered model."""
        with self._lock:
            self._models[full_name.lower()] = Model(full_name.lower(), owner, self._now())

    def owner(self, full_name: str) -> str | None:
        """Who owns a model; None where there is none of this name."""
        with self._lock:
            model = self._models.get(full_name.lower())
            return None if model is None else model.owner

    def add_version(
        self,
        full_name: str,
        *,
        run_id: str | None = None,
        logged_model: str | None = None,
        run_workspace_id: int | None = None,
        status: str = "READY",
        created_by: str | None = "trainer@example.com",
        tags: Mapping[str, str] | None = None,
        with_id: bool = True,
        source: str | None = None,
        model_id: str = "",
    ) -> str:
        """Register the next version and return its number.

        Args:
            full_name: a model made before.
            run_id: the MLflow run that made it; that of the logged model, where there is one.
            logged_model: the logged model that is registered.
            run_workspace_id: where that run is; this workspace if None.
            status: also one that nobody has heard of.
            created_by: who registered it; None where Databricks leaves it out.
            tags: version tags.
            with_id: whether Databricks tells an `id`.
            source: where its files came from; the logged model, or a folder of its own, if None.
            model_id: the logged model that whoever registers it says it is; MLflow's side tells it again.
        """
        with self._lock:
            model = self._models[full_name.lower()]
            number = max([next(reversed(model.versions), 0), *model.aliases.values()]) + 1
            if logged_model is not None:
                run_id = run_id or self.mlflow.run_of(logged_model)
            model.versions[number] = Version(
                number=number,
                version_id=str(uuid.uuid4()) if with_id else None,
                run_id=run_id,
                run_workspace_id=(run_workspace_id or self._workspace_id) if run_id else None,
                source=source or _source_of(logged_model, run_id),
                status=status,
                created_at=self._now(),
                created_by=created_by,
                tags=dict(tags or {}),
                model_id=model_id,
            )
            return str(number)

    def version(self, full_name: str, version: str) -> Version:
        """A version as it is kept; what is changed there is what clients see from then on."""
        with self._lock:
            return self._models[full_name.lower()].versions[int(version)]

    def versions(self, full_name: str) -> list[str]:
        """The numbers of a model's versions, oldest first."""
        with self._lock:
            return [str(number) for number in self._models[full_name.lower()].versions]

    def remove_version(self, full_name: str, version: str, *, keep_aliases: bool = False) -> None:
        """Delete a version, and with it the aliases that it held; the next one may get its number.

        Args:
            full_name: the model.
            version: its number.
            keep_aliases: leave aliases where they are: on a version that is gone.
        """
        with self._lock:
            model = self._models[full_name.lower()]
            del model.versions[int(version)]
            if keep_aliases:
                return
            model.aliases = {alias: held for alias, held in model.aliases.items() if held != int(version)}

    def set_owner(self, full_name: str, owner: str) -> None:
        """Have somebody else own a model: a user, a service principal or a group."""
        self._models[full_name.lower()].owner = owner

    def set_deployment_job(self, full_name: str, job_id: str) -> None:
        """Have Databricks start a job for each new version of a model."""
        self._models[full_name.lower()].deployment_job_id = job_id

    def remove_model(self, full_name: str) -> None:
        """Delete a model."""
        with self._lock:
            del self._models[full_name.lower()]

    def set_executable(self, full_name: str, *, executable: bool) -> None:
        """Give or take the caller's EXECUTE on a model."""
        with self._lock:
            self._models[full_name.lower()].executable = executable

    def set_status(self, full_name: str, version: str, status: str) -> None:
        """Change a version's status."""
        with self._lock:
            self._models[full_name.lower()].versions[int(version)].status = status

    def set_alias(self, full_name: str, alias: str, version: str) -> None:
        """Move an alias by hand, not counted among `alias_writes`."""
        with self._lock:
            self._models[full_name.lower()].aliases[alias.lower()] = int(version)

    def drop_alias(self, full_name: str, alias: str) -> None:
        """Take an alias away by hand, not counted among `alias_writes`."""
        with self._lock:
            self._models[full_name.lower()].aliases.pop(alias.lower(), None)

    def alias(self, full_name: str, alias: str) -> str | None:
        """The version that holds an alias."""
        with self._lock:
            number = self._models[full_name.lower()].aliases.get(alias.lower())
            return None if number is None else str(number)

    def tags(self, full_name: str, version: str) -> dict[str, str]:
        """A version's tags."""
        with self._lock:
            return dict(self._models[full_name.lower()].versions[int(version)].tags)

    def add_mlflow_run(
        self,
        *,
        run_id: str | None = None,
        user: str | None = "trainer@example.com",
        metrics: Mapping[str, float | str] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Log an MLflow run and return its id."""
        return self.mlflow.add_run(run_id=run_id, user=user, metrics=metrics, params=params, tags=tags)

    # what clients see
    def attach(self, app: Flask) -> None:
        """Add the routes."""
        models = "/api/2.1/unity-catalog/models/<full_name>"
        app.get(models)(self._get_model)
        app.patch(models)(self._patch_model)
        app.get(f"{models}/versions")(self._list_versions)
        app.get(f"{models}/versions/<int:number>")(self._get_version)
        app.put(f"{models}/aliases/<alias>")(self._put_alias)
        app.delete(f"{models}/aliases/<alias>")(self._delete_alias)
        mlflow = "/api/2.0/mlflow/unity-catalog"
        app.get(f"{mlflow}/model-versions/get")(self._get_tagged)
        app.get(f"{mlflow}/registered-models/get")(self._get_registered)
        app.get(f"{mlflow}/registered-models/alias")(self._get_tagged_by_alias)
        app.post(f"{mlflow}/model-versions/set-tag")(self._set_tag)
        self.mlflow.attach(app)

    def _get_model(self, full_name: str) -> Response:
        with self._lock:
            aliases = request.args.get("include_aliases") == "true"
            return jsonify(self._model(full_name).shown(aliases=aliases))

    def _patch_model(self, full_name: str) -> Response:
        """Its owner gives it away; nothing else is changed here."""
        with self._lock:
            model = self._model(full_name)
            if not caller().admin and model.owner not in caller().names:
                abort(403, f"User is not an owner of Model '{model.full_name}'.")
            model.owner = str((request.get_json(silent=True) or {}).get("owner") or model.owner)
            return jsonify(model.shown(aliases=False))

    def _list_versions(self, full_name: str) -> Response:
        page = int(request.args.get("page_token", 0))
        size = min(int(request.args.get("max_results", 0)) or _PAGE, _LONGEST_PAGE)
        with self._lock:
            model = self._model(full_name)
            versions = list(model.versions.values()) if model.executable else []
            part = [model.shown_version(version) for version in versions[page * size : (page + 1) * size]]
        more = {"next_page_token": str(page + 1)} if len(versions) > (page + 1) * size else {}
        return jsonify({**({"model_versions": part} if part else {}), **more})

    def _get_version(self, full_name: str, number: int) -> Response:
        with self._lock:
            model = self._model(full_name)
            if not model.executable:
                abort(403, f"User does not have EXECUTE on Model '{model.full_name}'.")
            return jsonify(model.shown_version(_version_of(model, number)))

    def _put_alias(self, full_name: str, alias: str) -> Response:
        number = (request.get_json(silent=True) or {}).get("version_num")
        if not isinstance(number, int) or not re.fullmatch(r"[\w-]{1,255}", alias):
            abort(400, "version_num or alias is invalid.")
        with self._lock:
            model = self._model(full_name)
            _version_of(model, number)
            model.aliases[alias.lower()] = number
            self.alias_writes.append((model.full_name, alias, number))
            return jsonify(alias_name=alias.lower(), version_num=number)

    def _delete_alias(self, full_name: str, alias: str) -> Response:
        with self._lock:
            model = self._model(full_name)
            if model.aliases.pop(alias.lower(), None) is None:
                abort(404, f"Alias {alias} does not exist.")
            self.alias_writes.append((model.full_name, alias, None))
            return jsonify({})

    def _get_registered(self) -> Response:
        with self._lock:
            model = self._model(request.args.get("name", ""))
            job = {"deployment_job_id": model.deployment_job_id} if model.deployment_job_id else {}
            return jsonify(registered_model={"name": model.full_name, "user_id": model.owner, **job})

    def _get_tagged(self) -> Response:
        with self._lock:
            model = self._model(request.args.get("name", ""))
            version = _version_of(model, int(request.args.get("version", 0)))
            return jsonify(model_version=model.tagged_version(version))

    def _get_tagged_by_alias(self) -> Response:
        with self._lock:
            model = self._model(request.args.get("name", ""))
            version = _holder_of(model, request.args.get("alias", ""))
            return jsonify(model_version=model.tagged_version(version))

    def _set_tag(self) -> Response:
        body = request.get_json(silent=True) or {}
        key, value = body.get("key"), body.get("value")
        if not isinstance(key, str) or not isinstance(value, str) or re.search(r"[.,\-=/:]", key):
            abort(400, "key or value is invalid.")
        with self._lock:
            model = self._model(str(body.get("name", "")))
            _version_of(model, int(body.get("version", 0))).tags[key] = value
            return jsonify({})

    def _model(self, full_name: str) -> Model:
        model = self._models.get(full_name.lower())
        if model is None:
            abort(404, f"Registered model '{full_name}' does not exist.")
        return model


def _version_of(model: Model, number: int) -> Version:
    version = model.versions.get(number)
    if version is None:
        abort(404, f"Model version {number} of '{model.full_name}' does not exist.")
    return version


def _holder_of(model: Model, alias: str) -> Version:
    if not model.executable:
        abort(403, f"User does not have EXECUTE on Model '{model.full_name}'.")
    number = model.aliases.get(alias.lower())
    if number is None:
        abort(404, f"Alias {alias} does not exist.")
    return _version_of(model, number)


def _source_of(logged_model: str | None, run_id: str | None) -> str:
    if logged_model is not None:
        return f"models:/{logged_model}"
    return f"dbfs:/databricks/mlflow/{run_id or uuid.uuid4().hex}/model"
