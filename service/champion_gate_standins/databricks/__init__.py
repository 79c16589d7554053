"""Databricks: Jobs API, Unity Catalog, MLflow runs."""
