"""README.md is short, for a newcomer, and shows what there is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import yaml

from champion_gate.bootstrap.configuration import load_gates
from champion_gate.domain.evidence_markdown import render_markdown
from unit.evidence_samples import rows
from unit.test_evidence_markdown import document

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
FIRST_SCREEN = 30
"""Lines."""


def test_is_short() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1500


def test_its_first_screen_has_one_table_of_what_works() -> None:
    lines = README.splitlines()[:FIRST_SCREEN]
    heads = [lines[at - 1] for at, line in enumerate(lines) if line.startswith("|--")]
    assert len(heads) == 1
    assert heads[0].startswith("| model registry | GitHub")


def test_takes_at_most_ten_steps_by_hand() -> None:
    deploying = (ROOT / "service" / "docs" / "deploying.md").read_text()
    steps = _steps(deploying.split("\n## Step by step\n")[1])
    assert [number for number, _ in steps] == [str(number) for number in range(1, len(steps) + 1)]
    assert 1 < len(steps) <= 10


def _steps(text: str) -> list[tuple[str, str]]:
    """The number and the name of each step of a section."""
    return re.findall(r"^(\d+)\. \*\*(.*?)\*\*", text.split("\n## ", maxsplit=1)[0], flags=re.MULTILINE)


def test_its_gate_is_taken(tmp_path: Path) -> None:
    block = re.findall(r"^ *```yaml\n(.*?)^ *```", README, flags=re.DOTALL | re.MULTILINE)
    assert len(block) == 1
    file = tmp_path / "gates.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(block[0])))
    assert [gate.name for gate in load_gates(file).gates] == ["churn"]


def test_its_picture_shows_what_the_product_shows() -> None:
    picture = ET.parse(ROOT / "service" / "docs" / "reviewer.svg")
    shown = [each.text or "" for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    template = (ROOT / "deploy" / "github" / "champion-gate.yml").read_text()
    title = re.search(r"^run-name: (.*)$", template, re.MULTILINE)
    assert title
    form = re.sub(r"\\\$\\\{\\\{\\ inputs\\\.\w+\\ \\\}\\\}", r"[\\w-]+", re.escape(title[1]))
    assert re.fullmatch(form, shown[0])

    evidence = render_markdown(_evidence(), "ab" * 32).replace("`", "").replace("*", "")
    start, end = (
        shown.index("v2 → Champion of churn: 2 of 2 rules met; f1 0.894, +0.023"),
        shown.index("Review pending deployments"),
    )
    cells = {cell.strip() for line in evidence.splitlines() for cell in re.split(r"^## |^### |^- |\|", line)}
    assert [text for text in shown[start:end] if text not in cells] == []


def _evidence() -> dict[str, object]:
    """What the picture is of."""
    sample = document("churn")
    rule: dict[str, object] = {
        "max_worse": 0.01,
        "at_least": 0.8,
        "at_most": None,
        "ok": True,
        "problems": [],
    }
    f1 = {"name": "f1", "better": "higher", "candidate": 0.894, "champion": 0.871, "change": 0.023}
    loss = {"name": "log_loss", "better": "lower", "candidate": 0.287, "champion": 0.318, "change": -0.031}
    candidate, champion = (
        {"created_at": f"{day}T{registered}Z", "trained_at": f"{day}T{trained}Z"}
        for day, registered, trained in (
            ("2026-03-08", "02:14:36", "02:00:05"),
            ("2026-03-01", "02:13:20", "02:00:04"),
        )
    )
    trainer = {"name": "trainer@example.com", "role": "job run creator"}
    return {
        **sample,
        "asked": {**sample["asked"], "alias": "Champion", "registry": "https://mlflow.example.com"},
        "candidate": {**sample["candidate"], **candidate},
        "champion": {**sample["champion"], **champion},
        "gate_metrics": rows({**f1, **rule}, {**loss, **rule, "max_worse": 0.02, "at_least": None}),
        "people": {
            **sample["people"],
            "trainers": rows(trainer),
            "excluded": rows({**trainer, "login": "octo-trainer", "user_id": "1"}),
        },
    }
