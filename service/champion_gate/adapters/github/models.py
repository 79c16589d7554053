"""Reads GitHub's answers."""

from __future__ import annotations

from champion_gate.adapters.http.json_fields import JsonFields

fields = JsonFields("GitHub")
