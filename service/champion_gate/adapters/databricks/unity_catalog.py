"""ModelRegistry on Unity Catalog, through databricks-sdk and without mlflow."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote

from champion_gate.adapters.databricks.connection import (
    ME,
    DatabricksConnection,
    Operation,
)
from champion_gate.adapters.databricks.errors import VENDOR, unreadable
from champion_gate.adapters.databricks.mlflow_runs import (
    find_logged_models,
    find_runs,
    logged_models_of,
    read_logged_model,
    read_run,
)
from champion_gate.adapters.databricks.models import (
    MlflowVersion,
    RegisteredModel,
    Version,
    VersionList,
    databricks,
    pairs,
    word,
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
    instead_of_id,
    logged_model_of,
)
from champion_gate.errors import InvalidInputError, InvalidNameError, VendorNotFoundError, VendorRefusedError

_MODELS = "/api/2.1/unity-catalog/models"
_MLFLOW = "/api/2.0/mlflow/unity-catalog"
_GET = f"{_MLFLOW}/model-versions/get"
_GET_BY_ALIAS = f"{_MLFLOW}/registered-models/alias"
_VERSIONS_PER_PAGE = (
    1000  # the most that Unity Catalog lists at a time (sdk/service/catalog.py, ModelVersionsAPI.list)
)
_MAX_TAG_VALUE = 1000  # Unity Catalog takes no more
_TAG_KEY = re.compile(r"[^.,\-=/:]{1,255}")
_STATUSES = {
    "READY": VersionStatus.READY,
    "PENDING_REGISTRATION": VersionStatus.PENDING,
    "FAILED_REGISTRATION": VersionStatus.FAILED,
}


class UnityCatalog:
    """Models in Unity Catalog (port `ModelRegistry`).

    Every name is checked here once more before it enters a URL: the SDK does not escape names.
    """

    name = "databricks-uc"
    folds_case = True
    records_creators = True
    lists_tags = False
    listing_needs = (
        "Unity Catalog lists only what the service's principal has EXECUTE on: give it that permission on the model, "
        "with USE CATALOG and USE SCHEMA."
    )

    def __init__(self, connection: DatabricksConnection, together: Together | None = None) -> None:
        """No call is made; None takes threads of its own."""
        self._connection = connection
        self._together = together or Together()

    def list_versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All versions, highest number first."""
        return _list_versions(self._connection.begin(), _Name.of(model))

    def get_version(self, model: str, version: str) -> ModelVersion:
        """One version, if the service's principal may see it."""
        return _read_version(self._connection.begin(), _Name.of(model), check_version(version))

    def get_details(self, version: ModelVersion, tags: Mapping[str, str] | None = None) -> VersionDetails:
        """The version, its tags, its MLflow run and its logged model, read together.

        Raises:
            VendorNotFoundError: also where the number belongs to another version by now.
            VendorRefusedError: the run is in another workspace, where we cannot read it.
        """
        api, named, number = self._connection.begin(), _Name.of(version.model), check_version(version.version)
        shown_here = logged_model_of(version.source, version.logged_model_id)
        shown, training, logged = self._together.outcomes(
            lambda: (
                TaggedVersion(version, tags)
                if tags is not None
                else _read_tagged(api, named, number, [version])
            ),
            lambda: self._run_of(api, version),
            lambda: None if shown_here is None else read_logged_model(api, shown_here),
        )
        now = shown()
        if not now.version.same_as(version):
            raise VendorNotFoundError(
                VENDOR, f"version {number} of {version.model} was deleted and another made in its place."
            )
        told = now.version.logged_model_id
        details = VersionDetails(version=now.version, tags=now.tags, training_run=training())
        if told is not None and told != shown_here:
            return self._with_logged_model(api, details, lambda: read_logged_model(api, told))
        return self._with_logged_model(api, details, logged)

    def _run_of(self, api: Operation, version: ModelVersion) -> TrainingRun | None:
        if not version.run_id:
            return None
        self._refuse_foreign(version)
        return read_run(api, version.run_id)

    def _with_logged_model(
        self, api: Operation, details: VersionDetails, read: Callable[[], LoggedModel | None]
    ) -> VersionDetails:
        run = details.training_run
        try:
            details = replace(details, logged_model=read())
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return replace(details, unread_because=str(error))
        if run is not None and needs_run(details):
            details = replace(details, training_run=replace(run, logged_models=logged_models_of(api, run)))
        return details

    def get_training_run(self, run_id: str) -> TrainingRun:
        """One MLflow run of this workspace."""
        return read_run(self._connection.begin(), run_id)

    def find_training_runs(self, experiment_id: str, run_ids: Sequence[str]) -> Mapping[str, TrainingRun]:
        """Those of these MLflow runs that are in one experiment; a hundred of them a call."""
        return find_runs(self._connection.begin(), experiment_id, run_ids)

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """One logged model of this workspace."""
        return read_logged_model(self._connection.begin(), model_id)

    def find_logged_models(self, experiment_id: str, model_ids: Sequence[str]) -> Mapping[str, LoggedModel]:
        """Those of these logged models that are among the newest of one experiment; fifty of them a call."""
        return find_logged_models(self._connection.begin(), experiment_id, model_ids)

    def with_tag(self, versions: Sequence[ModelVersion], key: str, value: str) -> tuple[ModelVersion, ...]:
        """Those of these versions whose tag `key` is exactly `value`.

        Unity Catalog cannot search by tag and lists no tags, so those of each are read: one call a version,
        together, each with a deadline of its own. One that has been deleted since it was listed has none.
        """
        if not versions:
            return ()

        def tag_of(version: ModelVersion) -> str | VendorNotFoundError | None:
            named, number = _Name.of(version.model), check_version(version.version)
            try:
                shown = _read_mlflow(self._connection.begin(), named, number)
            except VendorNotFoundError as error:
                return error
            return pairs(shown.tags).get(key)

        read = self._together.each([partial(tag_of, each) for each in versions])
        tags = dict(zip(versions, read, strict=True))
        missing = {each.version: tag for each, tag in tags.items() if isinstance(tag, VendorNotFoundError)}
        self._refuse_unseen(missing, versions[0].model)
        return tuple(version for version, tag in tags.items() if tag == value)

    def _refuse_unseen(self, missing: Mapping[str, VendorNotFoundError], model: str) -> None:
        """Raise what was answered for a version that is listed all the same: it may bear the tag."""
        still_listed = {each.version for each in self.list_versions(model)} if missing else set()
        for number, error in missing.items():
            if number in still_listed:
                raise error

    def get_alias(self, model: str, alias: str) -> str | None:
        """The version that holds the alias; None only after the model itself was read.

        Unity Catalog gives aliases in lower case (mlflow/mlflow#12331), so case is not compared.
        """
        return _read_alias(self._connection.begin(), _Name.of(model), check_alias(alias))

    def get_holder(self, model: str, alias: str, known: Sequence[ModelVersion] = ()) -> TaggedVersion | None:
        """The version that holds the alias, with all that Unity Catalog tells of one; None where it refuses to."""
        named, api = _Name.of(model), self._connection.begin()
        query = {"name": named.full, "alias": check_alias(alias)}
        try:
            return _whole(api, named, api.get(MlflowVersion, _GET_BY_ALIAS, query), known)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return None

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Put the alias on a version: one PUT, never repeated here. Needs ownership of the model.

        Raises:
            VendorUnavailableError: with `outcome_unknown` where it may have been carried out.
        """
        named, number = _Name.of(model), int(check_version(version))
        self._connection.begin().write(
            "PUT", f"{named.path}/aliases/{check_alias(alias)}", {"version_num": number}
        )

    def delete_alias(self, model: str, alias: str) -> None:
        """Take the alias away; no error where the model can be read and has no such alias."""
        named, checked = _Name.of(model), check_alias(alias)
        api = self._connection.begin()
        try:
            api.write("DELETE", f"{named.path}/aliases/{checked}")
        except VendorNotFoundError:
            if _read_alias(api, named, checked) is not None:
                raise

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        """Write one tag of a version. Needs ownership of the model or APPLY TAG.

        Raises:
            InvalidInputError: key or value is not what Unity Catalog takes: keys of at most 255 characters
                without `. , - = / :`, values of at most 1,000
                (https://learn.microsoft.com/azure/databricks/database-objects/tags).
        """
        if not _TAG_KEY.fullmatch(key) or len(value) > _MAX_TAG_VALUE:
            raise InvalidInputError(f"Unity Catalog does not take the tag {key[:255]!r} with this value.")
        named, number = _Name.of(model), check_version(version)
        body = {"name": named.full, "version": number, "key": key, "value": value}
        self._connection.begin().write("POST", f"{_MLFLOW}/model-versions/set-tag", body)

    def copy_version(self, source: ModelVersion, model: str, tags: Mapping[str, str]) -> ModelVersion:  # noqa: ARG002 - the port's
        """Nothing is copied here: it takes the files, and so a job near them."""
        raise VendorRefusedError(
            VENDOR, f"{source.model} v{source.version} is copied by a job.", hint="Name it: promote_to.job."
        )

    def check(self) -> None:
        """Ask who we are: shows that the workspace answers and takes our credentials."""
        self._connection.begin().read(ME)

    def version_url(self, version: ModelVersion) -> str | None:
        """The version's page in Catalog Explorer; None before the first call, as the host is not known."""
        host = self._connection.host
        if host is None:
            return None
        named = _Name.of(version.model)
        return f"{host}/explore/data/models/{named.parts}/version/{check_version(version.version)}"

    def _refuse_foreign(self, version: ModelVersion) -> None:
        ours = self._connection.workspace_id
        if ours and version.workspace_id and version.workspace_id != ours:
            raise VendorRefusedError(
                VENDOR,
                f"{version.model} v{version.version} was made by an MLflow run in workspace {version.workspace_id}, "
                f"which this service cannot read: it works in workspace {ours}.",
            )


@dataclass(frozen=True)
class _Name:
    """A checked three-level name, and what it is in paths."""

    full: str
    path: str
    parts: str

    @classmethod
    def of(cls, model: str) -> _Name:
        full = check_model(model, three_level=True)
        parts = "/".join(quote(part, safe="") for part in full.split("."))
        return cls(full=full, path=f"{_MODELS}/{quote(full, safe='')}", parts=parts)


def _list_versions(api: Operation, named: _Name) -> tuple[ModelVersion, ...]:
    pages = api.pages(VersionList, f"{named.path}/versions", {"max_results": _VERSIONS_PER_PAGE})
    found = [_version(named, shown) for page in pages for shown in page.model_versions]
    return tuple(sorted(found, key=lambda version: version.number, reverse=True))


def _version(named: _Name, shown: Version) -> ModelVersion:
    source, status = word(shown.source), word(shown.status)
    try:
        number = check_version(shown.version)
    except InvalidNameError:
        raise unreadable("a model version") from None
    return ModelVersion(
        model=named.full,
        version=number,
        version_id=_version_id(shown),
        run_id=word(shown.run_id),
        source=source,
        status=_STATUSES.get(status or "", VersionStatus.UNKNOWN),
        created_at=shown.created,
        created_by=shown.created_by,
        workspace_id=shown.run_workspace_id,
        logged_model_id=logged_model_of(source, shown.model_id),
    )


def _version_id(shown: Version) -> str:
    """The version's own id, or what tells it from one with the same number of a model made anew."""
    if shown.id:
        return shown.id
    if not shown.created_at:
        raise unreadable("a model version without id and creation time")
    return instead_of_id(shown.created_at, shown.run_id, shown.source)


def _read_version(api: Operation, named: _Name, version: str) -> ModelVersion:
    found = _version(named, api.get(Version, f"{named.path}/versions/{version}"))
    if found.version != version:
        raise unreadable("a model version")
    return found


def _read_mlflow(api: Operation, named: _Name, version: str) -> MlflowVersion:
    """A version as MLflow's side of Unity Catalog shows it: with tags and, where it tells it, `model_id`."""
    found = api.get(MlflowVersion, _GET, {"name": named.full, "version": version})
    if found.version != version:
        raise unreadable(_GET)
    return found


def _read_tagged(api: Operation, named: _Name, version: str, known: Sequence[ModelVersion]) -> TaggedVersion:
    return _whole(api, named, _read_mlflow(api, named, version), known)


def _whole(
    api: Operation, named: _Name, shown: MlflowVersion, known: Sequence[ModelVersion]
) -> TaggedVersion:
    """What MLflow's side shows, with what it does not tell, such as the version's own id.

    A known version with this number, time, run and source is this one: no two have them in common, as one that is
    made anew is made later. Any other is read whole, and so is one whose id was not told.
    """
    if (shown.name or "").casefold() != named.full.casefold():
        raise unreadable(_MLFLOW)
    same = (each for each in known if _is_shown(each, shown) and not each.lacks_id)
    version = next(same, None) or _read_version(api, named, check_version(shown.version))
    status = _STATUSES.get(shown.status or "", VersionStatus.UNKNOWN)
    told = logged_model_of(version.source, shown.model_id or version.logged_model_id)
    return TaggedVersion(replace(version, status=status, logged_model_id=told), pairs(shown.tags))


def _is_shown(version: ModelVersion, shown: MlflowVersion) -> bool:
    before = (version.version, version.created_at, version.run_id, version.source)
    return shown.created_at is not None and before == (
        shown.version,
        shown.created_at,
        shown.run_id,
        shown.source,
    )


def _read_alias(api: Operation, named: _Name, alias: str) -> str | None:
    what = "a registered model"
    model = api.get(RegisteredModel, named.path, {"include_aliases": True})
    if (model.full_name or "").casefold() != named.full.casefold():
        raise unreadable(what)
    held = {
        databricks.told(each.version_num, "aliases.version_num")
        for each in model.aliases
        if (each.alias_name or "").casefold() == alias.casefold()
    }
    if len(held) > 1:
        raise unreadable(what)
    return next(iter(held), None)
