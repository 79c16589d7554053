"""The document and the page made of it: valid, whole, and with nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from champion_gate.bootstrap.vendors import token_verifier
from champion_gate.domain.callers import Role
from champion_gate.flow.ci_outcome import PostedDecision
from champion_gate.web.app import Operations, create_app
from champion_gate.web.auth import Access, Auth, guard_of, undeclared_routes
from champion_gate_standins.common.server import serve
from integration.gate_world import SilentWakeUps, gate_world

ROUTES = {
    ("GET", "/api/v1/promotions"): "viewer",
    ("POST", "/api/v1/promotions"): "operator",
    ("GET", "/api/v1/promotions/{promotion_id}"): "viewer",
    ("GET", "/api/v1/promotions/{promotion_id}/evidence"): "viewer",
    ("GET", "/api/v1/promotions/{promotion_id}/evidence.md"): "viewer",
    ("GET", "/api/v1/promotions/{promotion_id}/receipt"): "viewer",
    ("POST", "/api/v1/promotions/{promotion_id}/cancel"): "operator",
    ("POST", "/api/v1/promotions/{promotion_id}/retry"): "operator",
    ("POST", "/api/v1/promotions/{promotion_id}/decision"): None,
    ("GET", "/api/v1/promotions/{promotion_id}/steps"): "viewer",
    ("POST", "/api/v1/steps/{step_id}/retry"): "operator",
    ("POST", "/api/v1/steps/{step_id}/skip"): "operator",
    ("GET", "/api/v1/models/{model}"): "viewer",
    ("GET", "/api/v1/models/{model}/aliases/{alias}"): "viewer",
    ("PUT", "/api/v1/models/{model}/aliases/{alias}"): "operator",
    ("DELETE", "/api/v1/models/{model}/aliases/{alias}"): "operator",
    ("GET", "/api/v1/models/{model}/aliases/{alias}/history"): "viewer",
    ("GET", "/api/v1/models/{model}/aliases/{alias}/steps"): "viewer",
    ("POST", "/api/v1/models/{model}/aliases/{alias}/rollback"): "operator",
    ("PUT", "/api/v1/models/{model}/aliases/{alias}/hold"): "operator",
    ("DELETE", "/api/v1/models/{model}/aliases/{alias}/hold"): "operator",
    ("GET", "/api/v1/identities"): "viewer",
    ("POST", "/api/v1/identities/{provider}/{login}/accept"): "operator",
    ("POST", "/api/v1/identities/{provider}/{login}/forget"): "operator",
    ("GET", "/api/v1/notifications"): "operator",
    ("GET", "/api/v1/notifications/{notification_id}"): "operator",
    ("POST", "/api/v1/notifications/{notification_id}/replay"): "operator",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with gate_world(tmp_path_factory.mktemp("gate")) as world:
        wake_ups = SilentWakeUps()
        yield create_app(
            store=world.store,
            wake_ups=wake_ups,
            clock=world.clock,
            access=Access(),
            checks=(),
            posted_decision=PostedDecision(
                store=world.store,
                verifier=token_verifier(world.settings, world.clock),
                wake_ups=wake_ups,
                clock=world.clock,
                pause=lambda: None,
            ),
            operations=Operations.on(world.core.context),
        )


@pytest.fixture(scope="module")
def url(app: Flask) -> Iterator[str]:
    with serve(app) as base:
        yield base


@pytest.fixture(scope="module")
def document(url: str) -> dict[str, Any]:
    answer = requests.get(f"{url}/openapi.json", timeout=20)
    assert answer.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_the_document_lists_the_api_and_nothing_else_with_who_may(document: dict[str, Any]) -> None:
    assert {key: each.get("x-role") for key, each in operations(document).items()} == ROUTES


def test_every_route_of_the_app_declares_who_may_and_the_document_says_the_same(app: Flask) -> None:
    assert undeclared_routes(app) == ()
    for rule in app.url_map.iter_rules():
        guard = guard_of(app.view_functions[rule.endpoint])
        assert guard is not None
        if not rule.rule.startswith("/api/"):
            assert rule.rule in {
                "/livez",
                "/readyz",
                "/metrics",
                "/hooks/databricks",
                "/hooks/ping",
                "/openapi.json",
                "/docs",
            }
            continue
        (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        path = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        role = ROUTES[method, path]
        assert guard.role == (None if role is None else Role(role))
        assert guard.auth is (Auth.CI_JOB if role is None else Auth.BEARER)
        assert (guard.body_cap is not None) == (method in {"POST", "PUT"})


def test_every_operation_says_how_it_fails(document: dict[str, Any]) -> None:
    for (method, path), operation in operations(document).items():
        answers = operation["responses"]
        assert {"401", "414", "422", "429", "503"} <= answers.keys(), (method, path)
        assert ("403" in answers) == (ROUTES[method, path] is not None)
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= answers.keys(), (method, path)
        if "If-Match" in {each["name"] for each in operation.get("parameters", ())}:
            assert "412" in answers
        for status, answer in answers.items():
            media = next(iter(answer["content"]))
            assert (media == "application/problem+json") == (status >= "4"), (method, path, status)
        assert "WWW-Authenticate" in answers["401"]["headers"]
        assert "Retry-After" in answers["503"]["headers"]
        (scheme,) = operation["security"]
        assert scheme.keys() <= document["components"]["securitySchemes"].keys()


def test_repeatable_orders_take_a_key_and_say_so(document: dict[str, Any]) -> None:
    for (method, path), operation in operations(document).items():
        names = {each["name"] for each in operation.get("parameters", ())}
        is_repeatable = method == "POST" and not path.endswith("/decision")
        assert ("Idempotency-Key" in names) == is_repeatable


def test_nothing_needs_a_secret_to_read_the_document_and_it_holds_none(document: dict[str, Any]) -> None:
    assert "127.0.0.1" not in json.dumps(document)


class Page(HTMLParser):
    """What the page refers to, and the ids that it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.add(value or "")
            if name in {"src", "style"} or name.startswith("on") or tag == "link":
                self.loaded.add(f"{tag} {name} {value}")


def test_the_page_loads_nothing_and_its_links_lead_somewhere(url: str) -> None:
    answer = requests.get(f"{url}/docs", timeout=20)
    page = Page(answer.text)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.loaded == set()
    assert page.tags.isdisjoint({"script", "img", "iframe", "form", "object", "embed"})
    assert len(page.ids) == len(set(page.ids))
    assert page.links - {"/openapi.json"} <= {f"#{each}" for each in page.ids}
    assert "url(" not in answer.text


def test_the_pages_only_style_is_the_one_that_its_policy_names(url: str) -> None:
    answer = requests.get(f"{url}/docs", timeout=20)
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy


def read_page(url: str) -> str:
    """The page without the places where a path may be broken, which come before a slash."""
    html = requests.get(f"{url}/docs", timeout=20).text
    assert "<wbr>/promotions" in html
    return html.replace("<wbr>/", "/")


def test_the_page_describes_every_operation_and_every_field(url: str, document: dict[str, Any]) -> None:
    html = read_page(url)
    for (method, path), operation in operations(document).items():
        entry = html.partition(f'<article id="{operation["operationId"]}">')[2].partition("</article>")[0]
        assert f'<span class="method">{method}</span> {path}' in entry
        assert "curl " in entry
        for parameter in operation.get("parameters", ()):
            assert f"<code>{parameter['name']}</code>" in entry
        for status in operation["responses"]:
            assert f">{status}</th>" in entry
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
            for name in document["components"]["schemas"][schema]["properties"]:
                assert f"<code>{name}</code>" in entry


def test_the_page_is_folded_under_an_index_of_methods_and_paths(url: str, document: dict[str, Any]) -> None:
    html = read_page(url)
    index = html.partition("<nav")[2].partition("</nav>")[0]
    for (method, path), operation in operations(document).items():
        link = f'<a href="#{operation["operationId"]}"><code><span class="method">{method}</span> {path}</code></a>'
        assert link in index
    articles = re.findall(r"<article.*?</article>", html, re.DOTALL)
    assert len(articles) == len(operations(document)) + len(document["components"]["schemas"])
    for article in articles:
        assert re.fullmatch(
            r'<article id="\w+">\s*<details>\s*<summary>.*</details>\s*</article>', article, re.DOTALL
        )


def test_the_template_and_the_style_are_part_of_the_package() -> None:
    import champion_gate.web  # noqa: PLC0415 - where it is installed

    folder = Path(champion_gate.web.__file__).parent / "templates"
    assert {"docs.html", "docs.css"} <= {each.name for each in folder.iterdir()}
