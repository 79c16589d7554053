"""champion-gate: human approval in CI/CD before a trained model version becomes Champion."""

__version__ = "0.1.0"

SILENT_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its own lines on stderr; ours go through log.py
}
"""What has to stand in the environment before mlflow is imported, as it starts both then (mlflow/__init__.py)."""
