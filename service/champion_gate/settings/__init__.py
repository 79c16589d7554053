"""The environment and gates.yaml, read once and checked whole: every problem is named at once."""

from champion_gate.settings.credentials import AppCredentials, BasicCredentials, TokenCredentials
from champion_gate.settings.explaining import explain
from champion_gate.settings.gates_api import ApiOidc
from champion_gate.settings.gates_file import Gates, gates_json_schema, load_gates
from champion_gate.settings.gates_servers import GitHubServer, GitLabServer, OidcIssuer
from champion_gate.settings.gitlab_credentials import GitLabCredentials
from champion_gate.settings.loading import (
    GitHubHost,
    GitLabHost,
    Settings,
    load_database_url,
    load_environments_gates,
    load_settings,
)

__all__ = [
    "ApiOidc",
    "AppCredentials",
    "BasicCredentials",
    "Gates",
    "GitHubHost",
    "GitHubServer",
    "GitLabCredentials",
    "GitLabHost",
    "GitLabServer",
    "OidcIssuer",
    "Settings",
    "TokenCredentials",
    "explain",
    "gates_json_schema",
    "load_database_url",
    "load_environments_gates",
    "load_gates",
    "load_settings",
]
