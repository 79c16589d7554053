"""From gates.yaml and the environment to a provider that talks to GitLab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import SystemClock, build_core
from champion_gate.domain.ports.approval import ApprovalProvider
from champion_gate.errors import VendorRefusedError
from champion_gate.settings.loading import Settings
from champion_gate.store import Store
from champion_gate_standins.common.server import serve
from champion_gate_standins.gitlab.server import GitLabStandIn
from integration.store_databases import sqlite_store
from settings_environ import environ, gitlab_environ

__all__ = ["environ", "gitlab_environ"]


@contextmanager
def gitlab(prefix: str = "") -> Iterator[tuple[GitLabStandIn, str]]:
    standin = GitLabStandIn(clock=lambda: datetime.now(UTC), prefix=prefix)
    with serve(standin.app) as url:
        yield standin, f"{url}{prefix}"
        standin.close()


@pytest.fixture
def store() -> Iterator[Store]:
    with sqlite_store() as (_, opened):
        yield opened


def provider_of(settings: Settings, store: Store) -> ApprovalProvider:
    nothing = cast("Any", None)
    core = build_core(
        settings,
        store=store,
        wake_ups=nothing,
        clock=SystemClock(),
        databricks={"host": "https://dbc.example.com", "token": "t"},
        sleep=lambda _seconds: None,
    )
    assert list(core.context.providers) == ["gitlab"]
    return core.context.providers["gitlab"]


def write(folder: Path, url: str, **place: object) -> None:
    approval = {"gitlab": {"project": 42, "protection": "branch"} | place}
    gate = {"name": "churn", "jobs": [1], "model": "main.ml.churn", "approval": approval}
    file = {"registry": "databricks-uc", "gitlab": {"url": url}, "gates": [gate]}
    (folder / "gates.yaml").write_text(json.dumps(file))


@pytest.mark.parametrize("prefix", ["", "/gitlab"])
def test_a_place_of_gates_yaml_is_checked_at_gitlab_with_these_tokens(
    gitlab_environ: dict[str, str], tmp_path: Path, store: Store, prefix: str
) -> None:
    with gitlab(prefix) as (standin, url):
        standin.add_project("team/deploy", id=42, members={"auditor": 40, "jane.doe": 40})
        write(tmp_path, url, approvers=["jane.doe"])
        settings = load_settings(
            gitlab_environ
            | {
                "CHAMPION_GATE_GITLAB_READ_TOKEN": standin.add_token("auditor"),
                "CHAMPION_GATE_GITLAB_TRIGGER_TOKEN": standin.add_trigger(42, "gate-bot"),
            }
        )
        provider = provider_of(settings, store)

        provider.check()
        pins = provider.check_place(settings.gates.gates[0].approval)

        assert (pins["project_id"], pins["bot_login"], pins["source"]) == ("42", "gate-bot", "trigger")
        assert pins["approvers"] == str(standin.add_user("jane.doe"))


def test_during_a_rotation_the_older_token_is_used_until_the_new_one_is_known(
    gitlab_environ: dict[str, str], tmp_path: Path, store: Store
) -> None:
    with gitlab() as (standin, url):
        standin.add_project("team/deploy", id=42, members={"auditor": 40})
        write(tmp_path, url)
        older = standin.add_token("auditor")
        trigger = standin.add_trigger(42, "gate-bot")
        gitlab_environ |= {
            "CHAMPION_GATE_GITLAB_READ_TOKEN": "glpat-not-known-yet",
            "CHAMPION_GATE_GITLAB_TRIGGER_TOKEN": trigger,
        }
        alone = load_settings(gitlab_environ)
        both = load_settings(gitlab_environ | {"CHAMPION_GATE_GITLAB_READ_TOKEN_PREVIOUS": older})

        with pytest.raises(VendorRefusedError):
            provider_of(alone, store).check()
        assert provider_of(both, store).check_place(both.gates.gates[0].approval)["project_id"] == "42"
