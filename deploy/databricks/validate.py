# Databricks notebook source
# MAGIC %md
# MAGIC # Validate
# MAGIC Checks one model version on rows that training has not seen, and says what came out, check by check.

# COMMAND ----------

import json

import mlflow
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

# COMMAND ----------

# The job's parameters. The values here are for a run by hand.
dbutils.widgets.text("model_name", "dev.ml.churn")
dbutils.widgets.text("model_version", "")
dbutils.widgets.text("experiment", "/Shared/churn-dev")
dbutils.widgets.text("f1_at_least", "0.9")
dbutils.widgets.text("workspace_url", "")
dbutils.widgets.text("registry_uri", "databricks-uc")

model_name = dbutils.widgets.get("model_name")
model_version = dbutils.widgets.get("model_version")
f1_at_least = float(dbutils.widgets.get("f1_at_least"))
workspace = dbutils.widgets.get("workspace_url").removeprefix("https://").rstrip("/")
experiment = mlflow.set_experiment(dbutils.widgets.get("experiment"))
mlflow.set_registry_uri(dbutils.widgets.get("registry_uri"))

# COMMAND ----------

# By number, never by alias: an alias may move while this runs.
if not model_version.isdecimal():
    raise ValueError(f"model_version has to be a number, and is {model_version!r}.")
model = mlflow.pyfunc.load_model(f"models:/{model_name}/{model_version}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Data
# MAGIC The rows that `train.py` leaves out. Put your own here.

# COMMAND ----------

rows = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
_known, held_out = train_test_split(rows, test_size=0.3, random_state=7)
features, target = rows.columns.drop("target"), "target"

# COMMAND ----------

predicted = model.predict(held_out[features])
metrics = {
    "f1": float(f1_score(held_out[target], predicted)),
    "accuracy": float(accuracy_score(held_out[target], predicted)),
}


def at_least(name, value, limit):
    """One check, in the form in which it is reported."""
    return {"name": name, "passed": value >= limit, "value": value, "limit": limit}


checks = [
    at_least("rows with a prediction", len(predicted), len(held_out)),
    at_least("f1", metrics["f1"], f1_at_least),
]
passed = all(check["passed"] for check in checks)

# COMMAND ----------

# In a run of its own, and without `model_id`: the numbers by which the version is judged are not this job's to write.
with mlflow.start_run(run_name=f"validate {model_name} v{model_version}") as run:
    mlflow.log_metrics(metrics)
    mlflow.log_dict({"checks": checks}, "checks.json")
report = f"https://{workspace}/ml/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"

# COMMAND ----------

# Ends well also where a check failed: the run did its work, and "no" is its answer.
answer = {
    "passed": passed,
    "checks": checks,
    "metrics": metrics,
    "report_url": report if workspace else None,
}
dbutils.notebook.exit(json.dumps({"champion_gate_validation": answer}, allow_nan=False))
