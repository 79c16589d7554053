# Databricks notebook source
# MAGIC %md
# MAGIC # Batch inference
# MAGIC Scores a table with the version that the alias stands on, and writes another one.

# COMMAND ----------

import json

import mlflow
from mlflow import MlflowClient

# COMMAND ----------

# The job's parameters. The values here are for a run by hand.
dbutils.widgets.text("model_name", "dev.ml.churn")
dbutils.widgets.text("model_version", "")
dbutils.widgets.text("alias", "Champion")
dbutils.widgets.text("promotion_id", "")
dbutils.widgets.text("input_table", "dev.ml.churn_input")
dbutils.widgets.text("id_column", "id")
dbutils.widgets.text("output_table", "dev.ml.churn_predictions")
dbutils.widgets.text("registry_uri", "databricks-uc")

model_name = dbutils.widgets.get("model_name")
alias = dbutils.widgets.get("alias")
promotion_id = dbutils.widgets.get("promotion_id")
id_column = dbutils.widgets.get("id_column")
output_table = dbutils.widgets.get("output_table")
mlflow.set_registry_uri(dbutils.widgets.get("registry_uri"))

# COMMAND ----------


def finish(version, **said):
    """End here, and say which version that was about."""
    about = {"model": model_name, "version": version, "alias": alias, "promotion_id": promotion_id}
    dbutils.notebook.exit(json.dumps({"champion_gate_batch": {**about, **said}}))


# The alias is read once, and the version named from then on: all rows are scored by one.
standing = str(MlflowClient().get_model_version_by_alias(model_name, alias).version)
asked = dbutils.widgets.get("model_version")
if asked and asked != standing:
    # This run has waited in the queue meanwhile, and must not write over the predictions of a newer one.
    finish(asked, rows=0, skipped=f"{alias} stands on v{standing} by now")

# COMMAND ----------

model = mlflow.pyfunc.load_model(f"models:/{model_name}/{standing}")
columns = model.metadata.get_input_schema().input_names()


def scored(batches):
    """The predictions of some rows, on one of the cluster's machines."""
    for batch in batches:
        predictions = batch[[id_column]].assign(prediction=model.predict(batch[columns]))
        yield predictions.assign(model_version=standing, promotion_id=promotion_id)


table = spark.table(dbutils.widgets.get("input_table"))
id_type = dict(table.dtypes)[id_column]
schema = f"`{id_column}` {id_type}, prediction double, model_version string, promotion_id string"
# Overwritten as a whole, so that a run may be repeated.
table.mapInPandas(scored, schema).write.mode("overwrite").saveAsTable(output_table)

# COMMAND ----------

finish(standing, rows=spark.table(output_table).count())
