"""Databricks: job runs, Unity Catalog, and the workspace's MLflow runs."""
