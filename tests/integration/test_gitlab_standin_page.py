"""The GitLab stand-in's page: what a person sees and presses in the demo."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import requests

from integration.gitlab_standin_world import World, standin_world


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world() as made:
        yield made


def page(world: World) -> str:
    hostile = "# Ask\n\n<script>alert(1)</script> [x](javascript:alert(1))"
    pipeline = world.opened(evidence_base64=base64.b64encode(hostile.encode()).decode())
    return f"{world.base}/example/ml-deploy/-/pipelines/{pipeline.id}"


def press(url: str, login: str, verdict: str, **headers: str) -> requests.Response:
    return requests.post(url, data={"login": login, "verdict": verdict}, headers=headers, timeout=10)


def test_the_page_shows_what_is_asked_and_nothing_in_it_is_active(world: World) -> None:
    shown = requests.get(page(world), timeout=10)
    assert shown.status_code == 200
    assert "<h1>Ask</h1>" in shown.text or "Ask" in shown.text
    assert "<script" not in shown.text
    assert "javascript:" not in shown.text.replace("](javascript:", "")
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert "<option>rita</option>" in shown.text
    assert "<option>dev</option>" not in shown.text, "whom GitLab would not let is not offered"


def test_running_the_job_and_cancelling_by_form(world: World) -> None:
    played, cancelled = page(world), page(world)
    assert "success" in press(played, "rita", "play").text
    assert world.gitlab.pipelines[0].status == "success"
    assert press(cancelled, "tom", "cancel").status_code == 200
    assert world.gitlab.pipelines[1].status == "canceled"


@pytest.mark.parametrize(
    ("login", "verdict", "headers", "status"),
    [
        ("dev", "play", {}, 403),
        ("dev", "cancel", {}, 403),
        ("nobody", "play", {}, 404),
        ("rita", "approve", {}, 422),
        ("rita", "play", {"Origin": "http://evil.example.com"}, 403),
    ],
)
def test_what_gitlab_would_refuse_is_refused(
    world: World, login: str, verdict: str, headers: dict[str, str], status: int
) -> None:
    url = page(world)
    assert press(url, login, verdict, **headers).status_code == status
    assert world.gitlab.pipelines[0].status == "manual"
