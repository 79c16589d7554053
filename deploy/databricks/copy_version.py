# Databricks notebook source
# MAGIC %md
# MAGIC # Copy a version
# MAGIC Copies one version into another model of the same metastore, such as from staging to prod, and says of both what
# MAGIC they hold. A run that is repeated finds the copy of the one before.

# COMMAND ----------

import hashlib
import json
import tempfile
from pathlib import Path

import mlflow
from databricks.sdk import WorkspaceClient
from mlflow import MlflowClient
from mlflow.models import Model

# COMMAND ----------

# The job's parameters. The values here are for a run by hand.
dbutils.widgets.text("model_name", "staging.ml.churn")
dbutils.widgets.text("model_version", "")
dbutils.widgets.text("destination", "prod.ml.churn")
dbutils.widgets.text("registry_uri", "databricks-uc")

model_name = dbutils.widgets.get("model_name")
model_version = dbutils.widgets.get("model_version")
destination = dbutils.widgets.get("destination")
mlflow.set_registry_uri(dbutils.widgets.get("registry_uri"))
client = MlflowClient()

# COMMAND ----------

OURS = "champion_gate_"
COPIED_FROM = f"{OURS}copied_from"

# By number, never by alias: what was approved is a version.
if not model_version.isdecimal():
    raise ValueError(f"model_version has to be a number, and is {model_version!r}.")
source = f"models:/{model_name}/{model_version}"
workspace = WorkspaceClient()
# The registry's own id: a model that was deleted and made anew has the same numbers again.
version_id = workspace.model_versions.get(model_name, int(model_version)).id
if not version_id:
    raise ValueError(f"Unity Catalog tells no id of {model_name} v{model_version}.")
copied_from = f"{model_name}/{model_version}/{version_id}"

# COMMAND ----------


def versions_of(model):
    """All of a model's versions, page by page. Unity Catalog leaves tags out of this list."""
    token = None
    while token != "":
        page = client.search_model_versions(f"name='{model}'", page_token=token)
        yield from page
        token = page.token or ""


def is_copy(version):
    """Whether this is a whole copy of the very version that is to be copied, made by this job.

    Others who may create versions in the destination can write the same source and tag; champion-gate refuses theirs.
    """
    if version.status != "READY" or version.source not in (source, "", None):
        return False
    if client.get_model_version(destination, version.version).tags.get(COPIED_FROM) != copied_from:
        return False
    created_by = workspace.model_versions.get(destination, int(version.version)).created_by
    return (created_by or "").casefold() == workspace.current_user.me().user_name.casefold()


def copy():
    """Make a new version out of the source's files.

    As `MlflowClient.copy_model_version` does, but for two things. That makes the destination where it is missing, and
    this job would own it. And it copies every tag, also what champion-gate wrote about the source; here ours is there
    from the beginning, so that a run that is killed leaves no copy that cannot be told from others.
    """
    found = client.get_model_version(model_name, model_version)
    tags = {key: value for key, value in found.tags.items() if not key.startswith(OURS)}
    return client.create_model_version(
        destination,
        source,
        run_id=found.run_id,
        tags={**tags, COPIED_FROM: copied_from},
        description=found.description,
        model_id=found.model_id,
    )


earlier = next((version for version in versions_of(destination) if is_copy(version)), None)
copied = earlier or copy()
copied_version = str(copied.version)

# COMMAND ----------

# MAGIC %md
# MAGIC ## What both hold
# MAGIC Read back from the registry, not remembered: what champion-gate compares is what is there.

# COMMAND ----------


def contents(model, version):
    """The identity, signature and files of a version, each file with its size in bytes and its SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(mlflow.artifacts.download_artifacts(f"models:/{model}/{version}", dst_path=folder))
        described = Model.load(root)
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {
            "model": model,
            "version": version,
            "model_uuid": described.model_uuid,
            "signature": described.signature and described.signature.to_dict(),
            "files": [
                {"path": str(path.relative_to(root)), "size": path.stat().st_size, "sha256": sha256(path)}
                for path in paths
                # MLflow writes it while downloading, with the name of the model that was asked for.
                if path != root / "registered_model_meta"
            ],
        }


def sha256(path):
    """The SHA-256 of a file of any size, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# COMMAND ----------

said = {
    "champion_gate": {"model": destination, "version": copied_version},
    "champion_gate_copy": {
        "copied_from": copied_from,
        "reused": earlier is not None,
        "source": contents(model_name, model_version),
        "destination": contents(destination, copied_version),
    },
}
dbutils.notebook.exit(json.dumps(said))
