"""The rules and the dashboard of deploy/monitoring: Prometheus takes them, and they ask for what the service tells."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from champion_gate.meters import Meters
from champion_gate.web.metrics import GAUGES

pytestmark = pytest.mark.part("rest")

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
PANELS = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
EXPRESSIONS = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
]


def promtool(*arguments: object) -> str:
    """What it says; it must be content."""
    command = [str(Path(sys.executable).with_name("promtool")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("promtool")
def test_prometheus_takes_the_rules_and_each_fires_when_it_should() -> None:
    promtool("check", "rules", MONITORING / "alerts.yaml")
    promtool("test", "rules", MONITORING / "alerts_test.yaml")


def test_each_rule_is_shown_to_fire_and_to_be_silent() -> None:
    tests = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    shown = [
        {
            each["alertname"]
            for test in tests
            for each in test["alert_rule_test"]
            if bool(each.get("exp_alerts")) is fires
        }
        for fires in (True, False)
    ]
    assert shown == [{rule["alert"] for rule in RULES}] * 2


@pytest.mark.needs("promtool")
def test_prometheus_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_they_ask_for_metrics_and_labels_that_there_are() -> None:
    labels = {gauge.name: {*gauge.labels} for gauge in GAUGES}
    for meter in Meters().declared:
        suffixes = ("_bucket", "_count", "_sum") if meter.kind == "histogram" else ("",)
        labels |= {f"{meter.name}{suffix}": {*meter.labels} for suffix in suffixes}
    assert len(EXPRESSIONS) > 20
    for expression in EXPRESSIONS:
        asked = re.findall(r"(champion_gate_\w+)(?:\{([^}]*)\})?", expression)
        assert asked, expression
        for name, chosen in asked:
            assert {*re.findall(r"(\w+)(?:=~|!~|!=|=)", chosen)} <= labels[name], expression
        grouped = {word for found in re.findall(r"by \(([^)]*)\)", expression) for word in found.split(", ")}
        assert grouped - {"le"} <= set.union(*(labels[name] for name, _ in asked)), expression
    legends = {
        name
        for panel in PANELS
        for each in panel["targets"]
        for name in re.findall(r"{{(\w+)}}", each["legendFormat"])
    }
    assert legends <= set.union(*labels.values())


def test_the_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
