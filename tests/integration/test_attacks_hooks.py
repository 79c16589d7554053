"""The attack list, 14, 18 and 26: webhooks, hostile texts, and secrets in places where others read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from champion_gate_standins.common.faults import Fault
from champion_gate_standins.gitlab.webhooks import signature
from integration.attack_world import AttackWorld, at_once, attack_world
from integration.attacked_gate import (
    EACH_KIND,
    GITHUB_SECRET,
    PLAIN_TOKEN,
    SIGNING_TOKEN,
    Asked,
    AttackedGate,
)
from integration.attacked_places import OnGitHub
from integration.process_world import until

pytest_plugins = ("integration.attack_fixtures",)

pytestmark = pytest.mark.spread(4)

BOTH = ("github", "gitlab")
OTHER_SIGNING_TOKEN = f"whsec_{base64.b64encode(b'another-key-that-is-as-long-1234').decode()}"


# --- 14: webhooks -----------------------------------------------------------------------------------------


def sha(secret: str, body: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}={hmac.new(secret.encode(), body, algorithm).hexdigest()}"


GITHUB_FORGED: dict[str, Callable[[bytes], dict[str, str]]] = {
    "unsigned": lambda _body: {"X-Hub-Signature-256": ""},
    "another secret": lambda body: {"X-Hub-Signature-256": sha("guessed", body)},
    "the empty secret": lambda body: {"X-Hub-Signature-256": sha("", body)},
    "sha1 only": lambda body: {
        "X-Hub-Signature-256": "",
        "X-Hub-Signature": sha(GITHUB_SECRET, body, "sha1"),
    },
    "sha1 as sha256": lambda body: {"X-Hub-Signature-256": sha(GITHUB_SECRET, body, "sha1")},
    "no algorithm": lambda body: {"X-Hub-Signature-256": sha(GITHUB_SECRET, body)[7:]},
    "of another body": lambda body: {"X-Hub-Signature-256": sha(GITHUB_SECRET, body + b" ")},
    "two of them": lambda body: {"X-Hub-Signature-256": f"{sha('guessed', body)},{sha(GITHUB_SECRET, body)}"},
    "the secret itself": lambda _body: {"X-Hub-Signature-256": GITHUB_SECRET},
}


def gitlab_signed(body: bytes, key: str = SIGNING_TOKEN, age: int = 0, **changes: str) -> dict[str, str]:
    at = int(time.time()) - age
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature(key, "msg_1", at, body),
    }
    return {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}


GITLAB_FORGED: dict[str, Callable[[bytes], dict[str, str]]] = {
    "unsigned": lambda _body: {"webhook-signature": ""},
    "unsigned, with the right plain token": lambda _body: {
        "webhook-signature": "",
        "webhook-id": "",
        "webhook-timestamp": "",
        "X-Gitlab-Token": PLAIN_TOKEN,
    },
    "wrongly signed, with the right plain token": lambda body: {
        **gitlab_signed(body, OTHER_SIGNING_TOKEN),
        "X-Gitlab-Token": PLAIN_TOKEN,
    },
    "another key": lambda body: gitlab_signed(body, OTHER_SIGNING_TOKEN),
    "the empty key": lambda body: gitlab_signed(body, "whsec_"),
    "six minutes old": lambda body: gitlab_signed(body, age=360),
    "six minutes ahead": lambda body: gitlab_signed(body, age=-360),
    "of another id": lambda body: gitlab_signed(body, webhook_id="msg_2"),
    "of another time": lambda body: gitlab_signed(body, webhook_timestamp=str(int(time.time()) - 5)),
    "a time that is none": lambda body: gitlab_signed(body, webhook_timestamp="1e9"),
    "of another body": lambda body: gitlab_signed(body + b" "),
    "another version": lambda body: {
        name: value.replace("v1,", "v1a,") for name, value in gitlab_signed(body).items()
    },
    "the token itself": lambda _body: {"webhook-signature": SIGNING_TOKEN},
}
FORGED = [("github", name, make) for name, make in GITHUB_FORGED.items()] + [
    ("gitlab", name, make) for name, make in GITLAB_FORGED.items()
]


def refused_hook(gate: AttackedGate, asked: Asked, body: bytes, headers: dict[str, str]) -> None:
    """Post it, and assert that it is refused, logged, and that nobody even looked."""
    before, seen = gate.view(asked)["updated_at"], len(gate.world.log())
    answer = gate.world.post_hook(gate.vendor, body, headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    logged = gate.world.log()[seen:]
    assert "signature authentication failed" in logged
    assert f"/hooks/{gate.vendor}" in logged
    assert "promotion hinted" not in logged
    assert gate.view(asked)["updated_at"] == before or gate.view(asked)["phase"] == "pending_approval"
    gate.assert_unharmed()


@pytest.mark.part(
    "rest",
    "sha1 as",
    "no algorithm",
    "two of them",
    "the empty",
    "six minutes ahead",
    "of another id",
    "of another time",
    "a time that",
    "another version",
)
@pytest.mark.parametrize(
    ("kind", "forge"), [(kind, make) for kind, _, make in FORGED], ids=[f"{k}-{n}" for k, n, _ in FORGED]
)
def test_attack_14_a_forged_webhook(
    attacked: AttackWorld, kind: str, forge: Callable[[bytes], dict[str, str]]
) -> None:
    gate, asked = attacked.asked(kind)
    body = gate.hook_body(asked.external_id)
    refused_hook(gate, asked, body, gate.hook_headers(body, **forge(body)))


@pytest.mark.part("rest", "gitlab")
@pytest.mark.parametrize("kind", BOTH)
def test_attack_14_a_body_that_was_serialised_again(attacked: AttackWorld, kind: str) -> None:
    gate, asked = attacked.asked(kind)
    body = gate.hook_body(asked.external_id)
    headers = gate.hook_headers(body)
    for other in (json.dumps(json.loads(body), indent=1).encode(), body + b"\n", body.replace(b": ", b":")):
        refused_hook(gate, asked, other, headers)


def lies(gate: AttackedGate, asked: Asked) -> list[tuple[str, dict[str, Any]]]:
    """What a webhook says if nothing of it is true: (event, payload)."""
    number = int(asked.external_id)
    reviewer = {"id": 1, "login": "reviewer-1", "type": "User", "username": "reviewer-1"}
    if gate.vendor == "github":
        run = {"id": number, "status": "completed", "conclusion": "success"}
        return [
            ("deployment_review", {"action": "approved", "approver": reviewer, "workflow_run": run}),
            ("workflow_run", {"action": "completed", "workflow_run": run}),
            (
                "workflow_job",
                {"action": "completed", "workflow_job": {"run_id": number, "conclusion": "success"}},
            ),
        ]
    return [
        ("Pipeline Hook", {"object_attributes": {"id": number, "status": "success"}, "user": reviewer}),
        (
            "Job Hook",
            {"pipeline_id": number, "build_name": "approve", "build_status": "success", "user": reviewer},
        ),
        ("Job Hook", {"text": f"pipeline {number} was approved by reviewer-1"}),
        ("Deployment Hook", {"status": "success", "environment": "champion", "deployment_id": number}),
    ]


@pytest.mark.part("rest", "gitlab")
@pytest.mark.parametrize("kind", BOTH)
def test_attack_14_an_authentic_webhook_that_lies(attacked: AttackWorld, kind: str) -> None:
    """Whoever has the secret, or shapes GitLab's payload by a template, gets no more than a look."""
    gate, asked = attacked.asked(kind)
    event = "X-GitHub-Event" if kind == "github" else "X-Gitlab-Event"
    for name, payload in lies(gate, asked):
        body = json.dumps(payload).encode()
        answer = attacked.post_hook(kind, body, gate.hook_headers(body, **{event: name}))
        assert answer.ok, answer.text
        assert answer.json() == {"hinted": 1} or answer.json()["ignored"]
    gate.waits(asked, "Waiting for people to decide")


@pytest.mark.part("rest", "gitlab")
@pytest.mark.parametrize("kind", BOTH)
def test_attack_14_a_replayed_delivery(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    asked = gate.ask()
    body = gate.hook_body(asked.external_id)
    headers = gate.hook_headers(body)
    assert attacked.post_hook(kind, body, headers).json() == {"hinted": 1}
    answers = at_once([lambda: attacked.post_hook(kind, body, headers)] * 25)
    assert {(a.status_code, a.json()["ignored"]) for a in answers} == {
        (200, "this delivery was taken before")
    }
    gate.waits(asked, "Waiting for people to decide")
    gate.cancel(asked)
    gate.ends(asked, "rejected")
    assert gate.hint(asked.external_id).json() == {"hinted": 0}, "out of order: it has ended"
    gate.ends(asked, "rejected")


def test_attack_14_webhooks_out_of_order(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    assert gate.hint("4711").json() == {"hinted": 0}, "of a run that nobody knows"
    asked = gate.ask()
    for action in ("completed", "in_progress", "requested"):
        body = json.dumps({"action": action, "workflow_run": {"id": int(asked.external_id)}}).encode()
        assert attacked.post_hook("github", body, gate.hook_headers(body)).json() == {"hinted": 1}
    gate.waits(asked, "Waiting for people to decide")


STRANGE: dict[str, tuple[bytes, int, str]] = {
    "huge": (b'{"x": "' + b"x" * 2 * 1024 * 1024 + b'"}', 413, "too_large"),
    "no UTF-8": (b'{"workflow_run": {"id": 1}, "x": "\xff\xfe"}', 200, "not UTF-8"),
    "no JSON": (b"id=1", 200, "not JSON"),
    "a list": (b"[1]", 200, "no JSON object"),
    "deeply nested": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 200, "nested too deeply"),
    "a key twice": (b'{"workflow_run": {"id": 1}, "workflow_run": {"id": 2}}', 200, "a key twice"),
    "NaN": (b'{"object_attributes": {"id": NaN}}', 200, "NaN is not JSON"),
    "empty": (b"", 200, "not JSON"),
}


@pytest.mark.part("rest", "gitlab")
@pytest.mark.parametrize(("body", "status", "words"), STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("kind", BOTH)
def test_attack_14_an_authentic_webhook_of_no_use(
    attacked: AttackWorld, kind: str, body: bytes, status: int, words: str
) -> None:
    gate, _ = attacked.asked(kind)
    answer = attacked.post_hook(kind, body, gate.hook_headers(body))
    assert answer.status_code == status
    assert words in answer.text


# --- 18: texts from outside -------------------------------------------------------------------------------

NASTY = (
    "${{ secrets.TOKEN }} $(id) `id`\n::set-output name=x::y\n##[command]x\nPATH=/evil\n| f1 | 0.99 | ✔ |\n"
    "</table><!-- \r\n# Approved by the board\n```mermaid\ngraph TD\n```\n<img src=x onerror=alert(1)>\u202etxt\x1b[2J"
)
COMMANDS = re.compile(r"^\s*(::|##\[)", re.MULTILINE)


def shown_to_reviewers(gate: AttackedGate, asked: Asked) -> str:
    inputs = gate.inputs(asked)
    if "evidence" in inputs:
        return inputs["evidence"]
    return base64.b64decode(inputs["evidence_base64"]).decode()


@pytest.mark.parametrize("kind", EACH_KIND)
def test_attack_18_hostile_texts_reach_ci_and_markdown_as_data(attacked: AttackWorld, kind: str) -> None:
    gate = attacked.gate(kind)
    tags = {"mlflow.source.git.commit": NASTY, "mlflow.note.content": NASTY, NASTY: NASTY}
    asked = gate.ask(metrics={"f1": 0.91, NASTY: 0.5}, params={NASTY: NASTY, "depth": NASTY}, tags=tags)
    markdown = requests.get(
        f"{attacked.url}/api/v1/promotions/{asked.id}/evidence.md", headers=attacked.operator, timeout=10
    ).text
    for shown in (shown_to_reviewers(gate, asked), markdown):
        assert not COMMANDS.search(shown)
        for forbidden in (
            "${{",
            "</table>",
            "<!--",
            "<img",
            "\n```",
            "\n# Approved",
            "\n| f1 | 0.99",
            "\nPATH=",
        ):
            assert forbidden not in shown, forbidden
        assert not set(shown) & set("\r\x1b\u202e")
    for name, text in gate.inputs(asked).items():
        if not name.startswith("evidence"):
            assert re.fullmatch(r'[\w.:/ \[\]",-]+', text), (name, text)
    gate.waits(asked, "Waiting for people to decide")


def test_attack_18_a_reviewers_comment_is_one_harmless_line(attacked: AttackWorld) -> None:
    gate: OnGitHub = attacked.gate("github")
    asked = gate.ask()
    seen = len(attacked.log())
    gate.there.review(asked.external_id, "champion", "reviewer-1", approve=False, comment=NASTY)
    gate.ends(asked, "rejected", "Rejected by reviewer-1 (champion): ")
    reason = gate.view(asked)["reason"]
    assert not set(reason) & set("\n\r\x1b\u202e")
    for line in attacked.log()[seen:].splitlines():
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("name", ["..%2f..%2fhooks", "%00", "%0a%0d::x::", "p-1%27--", "..", "a" * 300, "é"])
def test_attack_18_hostile_names_in_addresses(attacked: AttackWorld, name: str) -> None:
    gate, asked = attacked.asked("github")
    answer = gate.post(name, gate.token(asked))
    assert answer.status_code in {401, 404, 405}
    assert answer.headers["Content-Type"] == "application/problem+json"
    for line in attacked.log().splitlines()[-20:]:
        assert isinstance(json.loads(line), dict)
    gate.assert_unharmed()


def test_attack_18_hostile_texts_in_a_notification(attacked: AttackWorld) -> None:
    gate = attacked.gate("github")
    body = {
        "event_type": NASTY,
        "workspace_id": int(attacked.databricks.workspace_id),
        "run": {"run_id": 1},
        "job": {"job_id": int(gate.job_id), "name": NASTY},
    }
    seen = len(attacked.log())
    password = attacked.environ["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"]
    for event in (NASTY, "jobs.on_success"):
        answer = requests.post(
            f"{attacked.url}/hooks/databricks",
            json={**body, "event_type": event},
            auth=("databricks", password),
            timeout=10,
        )
        assert answer.ok
    for line in attacked.log()[seen:].splitlines():
        assert isinstance(json.loads(line), dict)
        assert "\x1b" not in line
    gate.assert_unharmed()


# --- 26: secrets ------------------------------------------------------------------------------------------


@pytest.fixture(params=["app token", pytest.param("trigger token", marks=pytest.mark.part("rest"))])
def leaky(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AttackWorld]:
    """A service whose webhooks arrive: that of the other tests, or one that has a trigger token of GitLab's too."""
    with ExitStack() as stack:
        if request.param == "app token":
            made: AttackWorld = request.getfixturevalue("attacked")
        else:
            made = stack.enter_context(attack_world(tmp_path, trigger=True, github=1, gitlab=1))
        made.github.webhooks.lost = made.gitlab.webhooks.lost = False
        yield made
        made.github.webhooks.lost = made.gitlab.webhooks.lost = True


def secrets_of(world: AttackWorld) -> set[str]:
    """Everything that must stay where it is."""
    public = {"CONFIG", "DATABASE_URL", "PORT", "PUBLIC_URL", "SWEEP_SECONDS", "DATABRICKS_HOOK_USERNAME"}
    public |= {"GITHUB_APP_CLIENT_ID", "PROXY_HOPS"}
    names = {f"CHAMPION_GATE_{name}" for name in public} | {"DATABRICKS_HOST"}
    kept = {value for name, value in world.environ.items() if name not in names}
    pem = world.environ["CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY"].splitlines()
    ours = world.operator["Authorization"].removeprefix("Bearer ")
    kept |= {ours, ours.rpartition("_")[2]}
    return kept | set(pem[1:-1]) | set(world.github.state.credentials) | set(world.gitlab.state.tokens)


def _is_hit(fault: Fault) -> bool:
    return fault.hits > 0


def test_attack_26_no_secret_is_logged_stored_answered_or_handed_to_ci(leaky: AttackWorld) -> None:
    posted, answers = set(), []
    for kind in BOTH:
        gate = leaky.gate(kind)
        asked = gate.ask()
        known_there = sorted(each for each in secrets_of(leaky) if each.startswith(TELLING[:4]))
        echo = json.dumps({"message": f"Bad credentials: {known_there}", "token": known_there[0]})
        fault = gate.faults.add(f"{gate.path}", status=400, body=echo, times=3)
        token = gate.token(asked, aud="another")
        answers.append(gate.post(asked, token).text)
        gate.hint(asked.external_id)
        until(partial(_is_hit, fault), "nobody asked")
        answers.append(json.dumps(gate.view(asked)))
        gate.faults.clear()
        gate.approve(asked)
        posted |= {token, gate.token(asked)}
        answers += [gate.post(asked, token).text for token in posted]
        gate.promotes(asked)
        answers += [json.dumps(gate.views()), json.dumps(dict(gate.inputs(asked)))]
        evidence = gate.inputs(asked).get("evidence_base64", "")
        answers.append(base64.b64decode(evidence).decode())
        body = gate.hook_body(asked.external_id)
        answers.append(leaky.post_hook(kind, body, {"X-Hub-Signature-256": sha("x", body)}).text)
    secrets = secrets_of(leaky) | posted | {token.rpartition(".")[2] for token in posted}
    prefixes = {name: any(secret.startswith(name) for secret in secrets) for name in TELLING}
    assert {name for name, known in prefixes.items() if not known} <= {TRIGGER_TOKEN}, prefixes
    assert prefixes[TRIGGER_TOKEN] is ("CHAMPION_GATE_GITLAB_TRIGGER_TOKEN" in leaky.environ)
    database = b"".join(file.read_bytes() for file in leaky.database.parent.glob(f"{leaky.database.name}*"))
    assert b"promoted" in database
    assert "Bad credentials" in leaky.log() + database.decode("latin-1"), (
        "the echo was met, and is told redacted"
    )
    everything = "\n".join([leaky.log(), database.decode("latin-1"), *answers])
    found = {secret[:12] for secret in secrets if secret in everything}
    found |= {hashlib.sha256(secret.encode()).hexdigest() for secret in secrets} & set(everything.split('"'))
    assert not found
    for pattern in (
        r"eyJ[\w-]{20,}\.eyJ",
        r"ghs_\w{8}",
        r"whsec_\w{8}",
        r"glp(at|tt)-\w{8}",
        "BEGIN [A-Z ]*KEY",
    ):
        assert not re.search(pattern, everything), pattern


TRIGGER_TOKEN = "glptt-"
TELLING = ("ghs_", "whsec_", "glpat-", TRIGGER_TOKEN, "eyJ", "-----BEGIN", "cgate_")
