"""The settings of this service, whose keys and variables are those of its vendors too."""

from __future__ import annotations

from functools import partial

from champion_gate.bootstrap.vendors import VENDORS
from champion_gate.settings import credentials, environment, linting, loading

load_settings = partial(loading.load_settings, vendors=VENDORS)
load_gates = partial(loading.load_gates, vendors=VENDORS)
read_gates = partial(loading.read_gates, vendors=VENDORS)
lint_gates = partial(linting.lint, vendors=VENDORS)
load_environments_gates = partial(loading.load_environments_gates, vendors=VENDORS)
load_environment = partial(loading.load_environment, vendors=VENDORS)
load_api_access = partial(credentials.load_api_access, vendors=VENDORS)
gates_json_schema = partial(loading.gates_json_schema, VENDORS)
known_variables = partial(environment.known_variables, VENDORS)
