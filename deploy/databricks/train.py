# Databricks notebook source
# MAGIC %md
# MAGIC # Train
# MAGIC Fits a model, and registers it as a new version. The last cell tells champion-gate which version that is.

# COMMAND ----------

import json

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

# COMMAND ----------

# The job's parameters. The values here are for a run by hand.
dbutils.widgets.text("model_name", "dev.ml.churn")
dbutils.widgets.text("experiment", "/Shared/churn-dev")
dbutils.widgets.text("registry_uri", "databricks-uc")

model_name = dbutils.widgets.get("model_name")
mlflow.set_experiment(dbutils.widgets.get("experiment"))
# Said outright: without it, some older workspaces register in their own registry.
mlflow.set_registry_uri(dbutils.widgets.get("registry_uri"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Data
# MAGIC scikit-learn's, so that the job runs before yours is here. The rows that `validate.py` judges by are never seen.

# COMMAND ----------

rows = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
known, _held_out = train_test_split(rows, test_size=0.3, random_state=7)
training, testing = train_test_split(known, test_size=0.25, random_state=7)
features, target = rows.columns.drop("target"), "target"

# COMMAND ----------

# MAGIC %md
# MAGIC ## Model
# MAGIC Unity Catalog takes no model without a signature of inputs and outputs. Numbers that are logged with `model_id`
# MAGIC are the model's own, and it is by those that the gate's rules judge.

# COMMAND ----------

model = RandomForestClassifier(n_estimators=50, random_state=7).fit(training[features], training[target])
predicted = model.predict(testing[features])

with mlflow.start_run():
    logged = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(testing[features], predicted),
        serialization_format="cloudpickle",  # as MLflow chooses on Databricks
        pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_cloudpickle=True),
        registered_model_name=model_name,
    )
    mlflow.log_metrics(
        {
            "f1": float(f1_score(testing[target], predicted)),
            "accuracy": float(accuracy_score(testing[target], predicted)),
        },
        model_id=logged.model_id,
    )

# COMMAND ----------

# Task output, the first place in which champion-gate looks for the version.
version = str(logged.registered_model_version)
dbutils.notebook.exit(json.dumps({"champion_gate": {"model": model_name, "version": version}}))
