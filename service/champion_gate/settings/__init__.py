"""The environment and gates.yaml, read once and checked whole: every problem is named at once."""
