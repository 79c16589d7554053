"""ModelRegistry on an MLflow server or an SQLite file, through mlflow's own client."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from champion_gate.adapters.http.deadline import Timed, Timeouts, untimed
from champion_gate.adapters.mlflow.client import MlflowCalls
from champion_gate.adapters.mlflow.errors import unreadable
from champion_gate.adapters.mlflow.runs import (
    find_logged_models,
    find_runs,
    instant,
    logged_models_of,
    read_logged_model,
    training_run,
)
from champion_gate.domain.metrics import needs_run
from champion_gate.domain.names import check_alias, check_model, check_version
from champion_gate.domain.together import Together
from champion_gate.domain.versions import (
    LoggedModel,
    ModelVersion,
    TaggedVersion,
    TrainingRun,
    VersionDetails,
    VersionStatus,
    check_logged_model_id,
    hash_instead_of_id,
    logged_model_of,
)
from champion_gate.errors import InvalidNameError, VendorNotFoundError, VendorRefusedError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as Found

_PAGE = 1000
_MOST_PAGES = 100  # a list that never ends must not hold a worker
_RELEASE = re.compile(r"[0-9A-Za-z.+-]{1,40}")
_STATUSES = {
    "READY": VersionStatus.READY,
    "PENDING_REGISTRATION": VersionStatus.PENDING,
    "FAILED_REGISTRATION": VersionStatus.FAILED,
}


class MlflowRegistry:
    """Models in an MLflow registry (port `ModelRegistry`); names are compared exactly.

    May be shared between threads. Nothing is imported, opened or called before the first call.

    Args:
        uri: `http(s)://…` of an MLflow server, or `sqlite:///path` of a file that exists; no credentials in it
            (mlflow reads MLFLOW_TRACKING_USERNAME, …_PASSWORD and …_TOKEN itself).
        timeouts: seconds.
        together: makes calls at the same time that do not need each other; None takes threads of its own.
        timed: takes the time of each call.
    """

    folds_case = False
    records_creators = False
    lists_tags = True
    listing_needs = (
        "An MLflow server lists only what its user may READ: let the service's user read the model."
    )

    def __init__(
        self,
        uri: str,
        *,
        timeouts: Timeouts | None = None,
        together: Together | None = None,
        timed: Timed = untimed,
    ) -> None:
        self._uri = uri.rstrip("/")
        self._together = together or Together()
        self._calls = MlflowCalls(self._uri, timeouts or Timeouts(), timed)

    @property
    def name(self) -> str:
        """The URI."""
        return self._uri

    def list_versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All versions, highest number first; none where there is no such model."""
        return tuple(_version(each) for each in self._listed(model))

    def get_version(self, model: str, version: str) -> ModelVersion:
        """One version."""
        return _version(self._read(model, version))

    def get_details(self, version: ModelVersion, tags: Mapping[str, str] | None = None) -> VersionDetails:
        """The version, its tags, MLflow run and logged model; None for those that were deleted or are hidden from us.

        Raises:
            VendorNotFoundError: the number belongs to another version by now.
        """
        model_id = version.logged_model_id
        shown, training, logged = self._together.outcomes(
            lambda: (
                TaggedVersion(version, tags)
                if tags is not None
                else _tagged(self._read(version.model, version.version))
            ),
            lambda: self._run_of(version),
            lambda: None if model_id is None else self.get_logged_model(model_id),
        )
        now = shown()
        if not now.version.same_as(version):
            raise VendorNotFoundError(
                "MLflow",
                f"version {version.version} of {version.model} was deleted and another made in its place.",
            )
        details = VersionDetails(version=now.version, tags=now.tags, training_run=training())
        told = details.version.logged_model_id
        if told is not None and told != model_id:
            return self._with_logged_model(details, lambda: self.get_logged_model(told))
        return self._with_logged_model(details, logged)

    def _run_of(self, version: ModelVersion) -> TrainingRun | None:
        """None also where it is gone: it is taken for a trainer who should be known and is not."""
        try:
            return None if version.run_id is None else self.get_training_run(version.run_id)
        except VendorNotFoundError:
            return None

    def _with_logged_model(
        self, details: VersionDetails, read: Callable[[], LoggedModel | None]
    ) -> VersionDetails:
        run = details.training_run
        try:
            details = replace(details, logged_model=read())
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return replace(details, unread_because=str(error))
        if run is not None and needs_run(details):
            models = self._calls.run(lambda client: logged_models_of(client, run))
            details = replace(details, training_run=replace(run, logged_models=models))
        return details

    def get_training_run(self, run_id: str) -> TrainingRun:
        """One MLflow run."""
        run = self._calls.run(lambda client: client.get_run(run_id))
        if run.info.run_id != run_id:
            raise unreadable("the MLflow run")
        return training_run(run, self._uri if self._is_server else None)

    def find_training_runs(self, experiment_id: str, run_ids: Sequence[str]) -> Mapping[str, TrainingRun]:
        """Those of these MLflow runs that are in one experiment; a hundred of them a call."""
        server = self._uri if self._is_server else None
        found = self._calls.run(lambda client: find_runs(client, experiment_id, run_ids))
        return {run.info.run_id: training_run(run, server) for run in found}

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """One logged model, with NaN where the server has kept it as 0."""
        checked = check_logged_model_id(model_id)
        found = self._calls.run(lambda client: read_logged_model(client, checked))
        if found.model_id != model_id:
            raise unreadable("the logged model")
        return found

    def find_logged_models(self, experiment_id: str, model_ids: Sequence[str]) -> Mapping[str, LoggedModel]:
        """Those of these logged models that are among the newest of one experiment; fifty of them a call."""
        return self._calls.run(lambda client: find_logged_models(client, experiment_id, model_ids))

    def with_tag(self, versions: Sequence[ModelVersion], key: str, value: str) -> tuple[ModelVersion, ...]:
        """Those of these versions whose tag `key` is exactly `value`.

        All versions are listed with their tags, which spares us putting a stranger's value into a filter.
        """
        if not versions:
            return ()
        listed = self._listed(versions[0].model)
        tagged = {_number(each.version): _version(each) for each in listed if each.tags.get(key) == value}
        return tuple(
            each for each in versions if each.version in tagged and tagged[each.version].same_as(each)
        )

    def get_alias(self, model: str, alias: str) -> str | None:
        """The version that holds the alias; None only after the model itself was read.

        Asked for an absent alias by name, MLflow answers 400 INVALID_PARAMETER_VALUE, as for a bad name.
        """
        checked, exact = check_alias(alias), _checked(model)
        found = self._calls.run(lambda client: client.get_registered_model(exact))
        if found.name != exact:
            raise unreadable("the model")
        version = found.aliases.get(checked)
        return None if version is None else _number(version)

    def get_holder(
        self,
        model: str,
        alias: str,
        known: Sequence[ModelVersion] = (),  # noqa: ARG002 - one call tells all
    ) -> TaggedVersion | None:
        """The version that holds the alias; None where MLflow refuses to tell, as it does where none holds it."""
        checked, exact = check_alias(alias), _checked(model)
        try:
            found = self._calls.run(lambda client: client.get_model_version_by_alias(exact, checked))
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return None
        if found.name != exact:
            raise unreadable("the model version")
        return _tagged(found)

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Put the alias on a version: the last writer wins. Never repeated here.

        mlflow's client reads the model first, to refuse prompts, and then writes once.

        Raises:
            VendorUnavailableError: with `outcome_unknown` where it may have been carried out.
        """
        exact, checked, number = _checked(model), check_alias(alias), check_version(version)
        self._calls.run(lambda client: client.set_registered_model_alias(exact, checked, number), writes=True)

    def delete_alias(self, model: str, alias: str) -> None:
        """Take the alias away; MLflow says nothing where there is none."""
        exact, checked = _checked(model), check_alias(alias)
        self._calls.run(lambda client: client.delete_registered_model_alias(exact, checked), writes=True)

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        """Write one tag of a version."""
        exact, number = _checked(model), check_version(version)
        self._calls.run(lambda client: client.set_model_version_tag(exact, number, key, value), writes=True)

    def copy_version(self, source: ModelVersion, model: str, tags: Mapping[str, str]) -> ModelVersion:
        """Make a version of another model out of this one; its files stay where they are, and are the copy's too.

        As `MlflowClient.copy_model_version` does (mlflow/store/model_registry/abstract_store.py), but for what that
        does besides: it makes the model where it is missing, and copies every tag, also ours.

        Raises:
            VendorUnavailableError: with `outcome_unknown` where it may have been carried out.
        """
        exact, number = _checked(model), check_version(source.version)
        uri = f"models:/{_checked(source.model)}/{number}"
        made = self._calls.run(
            lambda client: client.create_model_version(
                exact, uri, run_id=source.run_id, tags=dict(tags), await_creation_for=0
            ),
            writes=True,
        )
        if made.name != exact:
            raise unreadable("the model version that was made")
        return _version(made)

    def check(self) -> None:
        """List one model: shows that the registry answers and takes our credentials."""
        self._calls.run(lambda client: client.search_registered_models(max_results=1))

    def server_version(self) -> str:
        """What an MLflow server says of itself at `/version`; empty for a file, and where it does not tell."""
        if not self._is_server:
            return ""

        def ask(_: MlflowClient) -> str:
            from mlflow.utils.credentials import get_default_host_creds  # noqa: PLC0415 - as late as mlflow
            from mlflow.utils.rest_utils import http_request  # noqa: PLC0415

            creds: Callable[[str], object] = get_default_host_creds
            send: Callable[[object, str, str], Any] = http_request
            answer = send(creds(self._uri), "/version", "GET")
            told = str(answer.text) if answer.status_code == HTTPStatus.OK else ""
            return f"MLflow {told}" if _RELEASE.fullmatch(told) else ""

        return self._calls.run(ask)

    def version_url(self, version: ModelVersion) -> str | None:
        """The version's page on an MLflow server."""
        if not self._is_server:
            return None
        return f"{self._uri}/#/models/{quote(version.model, safe='')}/versions/{version.version}"

    @property
    def _is_server(self) -> bool:
        return not self._uri.startswith("sqlite:")

    def _read(self, model: str, version: str) -> Found:
        exact, number = _checked(model), check_version(version)
        found = self._calls.run(lambda client: client.get_model_version(exact, number))
        if found.name != exact or _number(found.version) != number:
            raise unreadable("the model version")
        return found

    def _listed(self, model: str) -> list[Found]:
        exact = _checked(model)
        found = self._calls.run(lambda client: _all_versions(client, exact))
        return sorted(found, key=lambda each: int(_number(each.version)), reverse=True)


def _checked(model: str) -> str:
    return check_model(model, three_level=False)


def _all_versions(client: MlflowClient, model: str) -> list[Found]:
    found: list[Found] = []
    token = None
    for _ in range(_MOST_PAGES):
        # The filter may give other models' versions too, as do databases that ignore case.
        page = client.search_model_versions(_filter(model), max_results=_PAGE, page_token=token)
        found += [each for each in page if each.name == model]
        before, token = token, page.token
        if not token:
            return found
        if token == before:
            raise unreadable("the next page of the list of versions, which names itself")
    raise unreadable("the end of the list of versions")


def _filter(model: str) -> str:
    """A filter that gives at least this model's versions.

    MLflow's filters know no escapes (mlflow/utils/search_utils.py): a text stands between quotes that are not in
    it. Where both kinds are, wildcards stand for one of them.
    """
    for quotes in ("'", '"'):
        if quotes not in model:
            return f"name = {quotes}{model}{quotes}"
    pattern = model.replace("'", "_")
    return f"name LIKE '{pattern}'"


def _number(version: object) -> str:
    """MLflow's version as text: a str over HTTP, an int out of a database."""
    try:
        return check_version(str(version))
    except InvalidNameError:
        raise unreadable("a version's number") from None


def _tagged(found: Found) -> TaggedVersion:
    return TaggedVersion(_version(found), dict(found.tags))


def _version(found: Found) -> ModelVersion:
    run_id, source = found.run_id or None, found.source or None
    return ModelVersion(
        model=found.name,
        version=_number(found.version),
        version_id=hash_instead_of_id(found.creation_timestamp, run_id, source),
        run_id=run_id,
        source=source,
        status=_STATUSES.get(str(found.status), VersionStatus.UNKNOWN),
        created_at=instant(found.creation_timestamp),
        created_by=found.user_id or None,
        logged_model_id=logged_model_of(source, found.model_id),
    )
