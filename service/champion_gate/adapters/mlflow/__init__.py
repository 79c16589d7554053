"""An MLflow server, or an SQLite file, as a registry."""
