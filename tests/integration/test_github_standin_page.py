"""The GitHub stand-in's page of a run: a person can approve and reject there, and evidence stays inert."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from champion_gate_standins.common.markdown_page import render
from champion_gate_standins.common.server import serve
from champion_gate_standins.github.server import GitHubStandIn

RENDERED_TAGS = {
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "ul",
    "li",
    "pre",
    "code",
    "b",
    "div",
    "table",
    "tr",
    "th",
    "td",
}


class Tags(HTMLParser):
    """Collects elements, attributes and the visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", {"": data}))

    def handle_decl(self, decl: str) -> None:
        self.elements.append(("declaration", {"": decl}))

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.elements}


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    standin = GitHubStandIn()
    standin.add_repository("example/ml-deploy")
    for login in ("rita", "tom"):
        standin.add_user(login)
    standin.protect_environment(
        "example/ml-deploy", "champion", ["rita", standin.add_team("example", "ml", ["tom"])]
    )
    yield standin
    standin.close()


@pytest.fixture
def base(github: GitHubStandIn) -> Iterator[str]:
    with serve(github.app) as url:
        yield url


def start(
    github: GitHubStandIn,
    evidence: str = "# Evidence",
    model: str = "churn",
    environments: str = '["champion"]',
) -> int:
    given = {"promotion_id": "p1", "model": model, "version": "2", "alias": "Champion"}
    return github.dispatch(
        "example/ml-deploy", given | {"evidence": evidence, "environments": environments}, login="starter"
    ).id


def page_url(base: str, run_id: int) -> str:
    return f"{base}/example/ml-deploy/actions/runs/{run_id}"


def test_html_url_leads_to_the_page(github: GitHubStandIn, base: str) -> None:
    run_id = start(github)
    token = github.add_token("svc")
    answer = requests.get(
        f"{base}/repos/example/ml-deploy/actions/runs/{run_id}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    page = requests.get(answer.json()["html_url"], timeout=10)
    assert page.status_code == 200
    assert "Review deployments" in page.text
    assert re.findall(r"<option>(\w+)</option>", page.text) == ["rita", "tom"]
    assert "width=device-width" in page.text


@pytest.mark.parametrize(
    ("verdict", "state", "conclusion"),
    [("approve", "approved", "success"), ("reject", "rejected", "failure")],
)
def test_a_reviewer_answers_by_the_form(
    github: GitHubStandIn, base: str, verdict: str, state: str, conclusion: str
) -> None:
    run_id = start(github)
    form = {"environment": "champion", "login": "tom", "comment": "<i>looks good</i>", "verdict": verdict}
    answer = requests.post(page_url(base, run_id), data=form, timeout=10)
    assert answer.status_code == 200, "led back to the page"
    assert "Review deployments" not in answer.text
    assert "&lt;i&gt;looks good&lt;/i&gt;" in answer.text
    run = github.run(run_id)
    assert run.conclusion == conclusion
    assert [(one.state, one.user.login, one.comment) for one in run.approvals] == [
        (state, "tom", "<i>looks good</i>")
    ]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"verdict": "maybe"}, 422),
        ({"verdict": None}, 422),
        ({"environment": None}, 422),
        ({"environment": "other"}, 422),
        ({"login": "starter"}, 422),
        ({"login": "nobody"}, 404),
    ],
)
def test_a_bad_form_decides_nothing(
    github: GitHubStandIn, base: str, change: dict[str, str | None], status: int
) -> None:
    run_id = start(github)
    form: dict[str, str | None] = {
        "environment": "champion",
        "login": "rita",
        "comment": "",
        "verdict": "approve",
    }
    answer = requests.post(page_url(base, run_id), data=form | change, timeout=10)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert github.run(run_id).approvals == []


def test_a_form_from_another_site_decides_nothing(github: GitHubStandIn, base: str) -> None:
    run_id = start(github)
    form = {"environment": "champion", "login": "rita", "verdict": "approve"}
    answer = requests.post(
        page_url(base, run_id), data=form, headers={"Origin": "https://evil.example"}, timeout=10
    )
    assert answer.status_code == 403
    assert github.run(run_id).approvals == []


def test_with_several_environments_none_is_chosen_for_the_reviewer(github: GitHubStandIn, base: str) -> None:
    github.protect_environment("example/ml-deploy", "second", ["rita"])
    run_id = start(github, environments='["champion", "second"]')
    boxes = [
        attrs
        for tag, attrs in Tags(requests.get(page_url(base, run_id), timeout=10).text).elements
        if tag == "input"
    ]
    assert [box["value"] for box in boxes] == ["champion", "second"]
    assert not any("checked" in box for box in boxes)
    form = {"environment": ["champion", "second"], "login": "rita", "verdict": "approve"}
    requests.post(page_url(base, run_id), data=form, timeout=10)
    assert github.run(run_id).conclusion == "success"


def test_there_is_no_page_for_another_repositorys_run(github: GitHubStandIn, base: str) -> None:
    github.add_repository("example/other")
    run_id = start(github)
    assert requests.get(page_url(base, run_id + 1), timeout=10).status_code == 404
    other = page_url(base, run_id).replace("ml-deploy", "other")
    assert requests.get(other, timeout=10).status_code == 404


HOSTILE = """<script>alert(1)</script>
| a | b |
|---|---|
| <img src=x onerror=alert(1)> | `</code><svg onload=alert(1)>` |

[click](javascript:alert(1)) ![pic](https://evil.example/x.png) <https://evil.example>
&lt;script&gt;alert(2)&lt;/script&gt; &#60;b onmouseover=alert(3)&#62;
```
</pre><form action=https://evil.example><button name=verdict value=approve>Approve</button></form>
```
</div></section></main><form method=post><input name=login value=rita>
<!-- hidden
"""


def test_hostile_evidence_is_shown_and_does_nothing(github: GitHubStandIn, base: str) -> None:
    run_id = start(github, evidence=HOSTILE, model="<script>alert(0)</script>")
    answer = requests.get(page_url(base, run_id), timeout=10)
    tags = Tags(answer.text)
    assert not tags.names & {"script", "img", "svg", "a", "iframe", "comment", "object", "link"}
    assert [attrs for tag, attrs in tags.elements if tag == "form"] == [{"method": "post"}]
    assert sum(tag == "button" for tag, _ in tags.elements) == 2
    assert not any(
        name.startswith("on") or name in {"src", "href"} for _, attrs in tags.elements for name in attrs
    )
    assert "<script>alert(1)</script>" in tags.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_markdown_that_we_write_is_shown_as_a_table() -> None:
    text = "## `Champion` of `m`\n\n| | candidate |\n| --- | ---: |\n| **`f1`**, better | `0.9` |\n| a \\| b | x |\n\n- one\n- two"
    shown = str(render(text))
    assert "<h4><code>Champion</code> of <code>m</code></h4>" in shown
    assert "<td><b><code>f1</code></b>, better</td><td><code>0.9</code></td>" in shown
    assert "<td>a | b</td>" in shown
    assert "<ul><li>one</li><li>two</li></ul>" in shown


@given(
    st.text(alphabet=st.sampled_from("<>&;\"'`|*\\#-\n[]()!/ :=axlt3"), max_size=200) | st.text(max_size=200)
)
def test_no_text_becomes_a_tag_of_its_own(text: str) -> None:
    tags = Tags(str(render(text)))
    assert tags.names <= RENDERED_TAGS
    assert all(attrs in ({}, {"class": "wide"}) for _, attrs in tags.elements)


@pytest.mark.parametrize("piece", ["`", "**", "[", "\\", " ", "|", "#", "- ", "&lt;", "[a](", "``a", "* \t"])
def test_the_largest_evidence_is_shown_in_time(piece: str) -> None:
    text = piece * (65_000 // len(piece))
    begun = time.perf_counter()
    shown = render(f"x{text}")
    assert time.perf_counter() - begun < 5
    assert shown
