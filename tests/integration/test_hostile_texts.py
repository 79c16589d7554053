"""Texts full of HTML, Markdown and control characters come back as data everywhere, and break nothing on their way."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from markdown_it import MarkdownIt

from champion_gate.domain.ledger.export import write_csv, write_jsonl
from champion_gate.domain.promotion import Phase
from integration.api_world import ALIAS, ApiWorld, api_world

HOSTILE = (
    "</td></script><script>alert(1)</script> <img src=x onerror=alert(1)>\n\n# Approved\n"
    "[click](javascript:alert(1)) | a | b |\n```\n::set-output name=x::y\r\n\x1b[31mred\x1b[0m \x07 \u202egnp.exe "
    "{{7*7}} ${{ secrets.X }} \"'`; =cmd()"
)
METRIC = HOSTILE[:200]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path) as made:
        yield made


def test_hostile_texts_are_data_from_end_to_end(world: ApiWorld, logged: io.StringIO) -> None:
    gate = world.gate
    pending = gate.ask({"f1": 0.91, METRIC: 0.5})
    summary = gate.ci_run(pending).inputs["evidence"]
    gate.github.review(gate.run_id_of(pending), "champion", "reviewer-1", approve=True, comment=HOSTILE)
    gate.look()
    gate.ended(pending, Phase.PROMOTED)
    assert world.call("POST", f"{ALIAS}/rollback", {"reason": HOSTILE}).status_code == 200
    state = world.call("PUT", f"{ALIAS}/hold", {"reason": HOSTILE}).json()
    assert state["hold"]["reason"] == HOSTILE
    refused = world.call("PUT", ALIAS, {"version": "2", "reason": HOSTILE})
    assert (refused.status_code, refused.json()["code"]) == (409, "on_hold")
    released = world.call("DELETE", f"{ALIAS}/hold?reason={quote(HOSTILE)}")
    assert released.status_code == 200

    shown = world.call("GET", f"/api/v1/promotions/{pending.id}").json()
    assert shown["decision"]["deciders"][0]["comment"] == HOSTILE
    history = world.call("GET", f"{ALIAS}/history").json()["lines"]
    assert {line["reason"] for line in history[:3]} == {HOSTILE}
    evidence = world.call("GET", f"/api/v1/promotions/{pending.id}/evidence")
    assert "<script>alert(1)</script>" in json.dumps(evidence.json())

    assert_harmless(summary)
    assert_harmless(world.call("GET", f"/api/v1/promotions/{pending.id}/evidence.md").text)
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert any("rolled back" in line["message"] or "alias_change" in line["message"] for line in lines)
    assert "\x1b" not in logged.getvalue()
    gate.store.verify_ledger()


def test_hostile_texts_keep_their_place_in_an_export(world: ApiWorld) -> None:
    for number in range(3):
        world.call("PUT", f"{ALIAS}/hold", {"reason": f"{number} {HOSTILE}"})
    lines = list(write_jsonl(world.gate.store.ledger_export()))
    assert [json.loads(line)["reason"] for line in lines[-3:]] == [
        f"{number} {HOSTILE}" for number in range(3)
    ]
    csv = "".join(write_csv(world.gate.store.ledger_export()))
    assert not any(char in csv for char in "\x1b\x07\u202e")


@pytest.mark.parametrize("name", ["<b>x", "a|b", "%00", "x\n# y", "main.ml.churn\x1b", "\u202emain"])
def test_a_hostile_model_name_is_refused_as_a_problem(world: ApiWorld, name: str) -> None:
    answer = world.call("GET", f"/api/v1/models/{quote(name, safe='')}/aliases/Champion")
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_name"


def assert_harmless(markdown: str) -> None:
    """No text from outside has become markup: no HTML, link, heading, code or table of its own."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    flat = [each for token in tokens for each in (token, *(token.children or ()))]
    assert not [
        token for token in flat if token.type in {"html_block", "html_inline"} and "script" in token.content
    ]
    assert not [token for token in flat if token.type == "link_open" and "javascript" in str(token.attrs)]
    assert not [token for token in flat if token.type == "image"]
    assert "\x1b" not in markdown
    assert "\u202e" not in markdown
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert "Approved" not in headings
