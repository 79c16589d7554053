"""`notices` in gates.yaml, and their secrets: nothing of these is told in an error."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from champion_gate.bootstrap.configuration import gates_json_schema, load_gates, load_settings
from champion_gate.domain.notices import NoticeEvent
from champion_gate.errors import ConfigurationError
from settings_environ import environ
from settings_samples import SMALLEST, written

__all__ = ["environ"]

KEY = "whsec_YS1zZWNyZXQtb2YtdGhlLXN0YW5kLWlu"
SLACK = "https://hooks.slack.com/services/T0/B0/SeCrEt"


def file(*notices: dict[str, Any]) -> dict[str, Any]:
    return SMALLEST | {"notices": list(notices)}


def notice(**keys: Any) -> dict[str, Any]:
    return {"name": "team", "kind": "slack", **keys}


def test_what_is_told_by_default_and_how_long_waiting_is(tmp_path: Path) -> None:
    full = notice(waiting="4h", gates=["churn"], on=["drift"])
    one, two = load_gates(written(tmp_path, file(full, notice(name="all")))).notices
    assert (one.waiting, one.on) == (timedelta(hours=4), ("drift",))
    assert one.tells(NoticeEvent.WAITING, ["churn"])
    assert not one.tells(NoticeEvent.WAITING, ["other"])
    assert not two.tells(NoticeEvent.WAITING, ["churn"])
    assert two.on == ("requested", "decided", "promoted", "failed", "step_failed", "drift", "rolled_back")
    assert two.tells(NoticeEvent.ROLLED_BACK, [])
    Draft202012Validator(gates_json_schema()).validate(file(full))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            notice(url=SLACK),
            "notices[0].url: found one; expected none here (not shown), as it is a secret: set",
        ),
        (notice(url=SLACK), "CHAMPION_GATE_NOTICE_TEAM_URL, or put a file of that name"),
        (notice(secret=KEY), "CHAMPION_GATE_NOTICE_TEAM_SECRET"),
        (notice(name=SLACK), "expected a name of small letters"),
        (notice(gates=["nope"]), "notices[0].gates[0]: found 'nope'; expected the name of a gate: churn"),
        (notice(on=["waiting"]), "notices[0].on[0]: found 'waiting'; expected 'requested'"),
        (notice(on=["drift", "drift"]), "notices[0].on[1]: found 'drift' a second time"),
        (notice(on=["opened"]), "notices[0].on[0]: found 'opened'; expected 'requested'"),
        (notice(bare_card=True), "expected only with teams"),
        (notice(kind="smoke"), "notices[0].kind: found 'smoke'"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is_shown(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_gates(written(tmp_path, file(wrong)))
    assert said in str(raised.value)
    assert "SeCrEt" not in str(raised.value)
    assert KEY not in str(raised.value)


def test_two_notices_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="as in notices"):
        load_gates(written(tmp_path, file(notice(), notice())))


def test_secrets_come_from_variables_and_files_and_show_in_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    written(tmp_path, file(notice(), notice(name="audit_log", kind="webhook")))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "champion_gate_notice_audit_log_url").write_text("https://hooks.example.com/in?x=1\n")
    (secrets / "champion_gate_notice_audit_log_secret").write_text(f"{KEY}\n")
    environ |= {
        "CHAMPION_GATE_SECRETS_DIR": str(secrets),
        "CHAMPION_GATE_NOTICE_TEAM_URL": SLACK,
        "CHAMPION_GATE_NOTICE_AUDIT_LOG_SECRET_PREVIOUS": KEY[:-4] + "AAAA",
    }
    settings = load_settings(environ)
    slack, audit = settings.receivers
    assert (slack.url, slack.secrets) == (SLACK, ())
    assert (audit.url, audit.secrets) == ("https://hooks.example.com/in?x=1", (KEY, KEY[:-4] + "AAAA"))
    assert "SeCrEt" not in repr(settings)
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("keys", "given", "said"),
    [
        ({"kind": "slack"}, {}, "TEAM_URL: is missing"),
        ({"kind": "slack"}, {"URL": "http://hooks.slack.com/services/SeCrEt"}, "TEAM_URL: found a text (not shown); expected an https://"),
        ({"kind": "slack"}, {"URL": "http://127.0.0.1/SeCrEt"}, "with private: true"),
        ({"kind": "slack", "private": True}, {"URL": "http://10.0.0.1/SeCrEt"}, "expected an https://"),
        ({"kind": "slack"}, {"URL": "https://SeCrEt@hooks.slack.com/x"}, "without user name"),
        ({"kind": "slack"}, {"URL": "SeCrEt"}, "expected an address"),
        ({"kind": "slack"}, {"URL": SLACK, "SECRET": KEY}, "signs nothing; take it away"),
        ({"kind": "webhook"}, {"URL": SLACK}, "TEAM_SECRET: is missing"),
        ({"kind": "webhook"}, {"URL": SLACK, "SECRET": "whsec_SeCrEt"}, "expected whsec_ and 24 to 64 bytes"),
        ({"kind": "webhook"}, {"URL": SLACK, "SECRET": KEY.removeprefix("whsec_")}, "expected whsec_"),
        ({"kind": "teams"}, {"URL": f"'{SLACK}'"}, "TEAM_URL: found quotes around it"),
        ({"kind": "slack"}, {"URL": SLACK, "OTHER_URL": SLACK}, "NOTICE_TEAM_OTHER_URL: belongs to no notice"),
    ],
)  # fmt: skip
def test_a_secret_that_cannot_be_one_is_refused_unseen(
    environ: dict[str, str], tmp_path: Path, keys: dict[str, Any], given: dict[str, str], said: str
) -> None:
    written(tmp_path, file(notice(**keys)))
    with pytest.raises(ConfigurationError) as raised:
        load_settings(environ | {f"CHAMPION_GATE_NOTICE_TEAM_{name}": text for name, text in given.items()})
    found = raised.value.problems
    assert any(said in line for line in found), found
    assert "SeCrEt" not in " ".join(found)
    assert KEY not in " ".join(found)


def test_apprise_is_asked_for_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_gates(written(tmp_path, file(notice(kind="apprise"))))
    monkeypatch.setitem(sys.modules, "apprise", None)  # Python's own way to say that a module is not there
    with pytest.raises(ConfigurationError, match=r"pip install 'apprise>=1\.9,<3'"):
        load_gates(written(tmp_path, file(notice(kind="apprise"))))
