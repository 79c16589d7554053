"""The settings of this service, whose keys and variables are those of its vendors too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from champion_gate.bootstrap.vendors import VENDORS
from champion_gate.settings import credentials, environment, loading
from champion_gate.settings.credentials import ApiAccess
from champion_gate.settings.gates import Gates
from champion_gate.settings.loading import Settings

FORMS = tuple(vendor.FORMS for vendor in VENDORS)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """See settings."""
    return loading.load_settings(environ, FORMS)


def load_gates(path: Path) -> Gates:
    """See settings."""
    return loading.load_gates(path, FORMS)


def gates_json_schema() -> dict[str, Any]:
    """See settings."""
    return loading.gates_json_schema(FORMS)


def load_database_url(environ: Mapping[str, str]) -> str:
    """See settings."""
    return loading.load_database_url(environ, FORMS)


def load_environments_gates(environ: Mapping[str, str]) -> Gates:
    """See settings."""
    return loading.load_environments_gates(environ, FORMS)


def load_api_access(environ: Mapping[str, str], url: str | None) -> ApiAccess | None:
    """See settings."""
    return credentials.load_api_access(environ, url, FORMS)


def known_variables() -> tuple[str, ...]:
    """See settings."""
    return environment.known_variables(FORMS)
