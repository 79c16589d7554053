"""champion-gate: human approval in CI/CD before a trained model version becomes Champion."""

__version__ = "0.1.0"
