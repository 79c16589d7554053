"""The pages say what there is: every variable, key, command, route and phase, and none besides."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
from markdown_it import MarkdownIt

from champion_gate.adapters.github.app import needed
from champion_gate.bootstrap.configuration import known_variables, load_gates
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.vendors import PREFIX
from champion_gate.settings.notices import is_notice_variable
from docs_tables import DOCS, ROOT, TABLES, UNWRITTEN, Table, renewed

PAGES = {
    path.relative_to(ROOT): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "service").glob("*.md")), *sorted(DOCS.glob("*.md")))
}
LINKED = PAGES | {
    path.relative_to(ROOT): path.read_text()
    for path in (
        *(ROOT / "tests" / "README.md", ROOT / "CHANGELOG.md"),
        *sorted((ROOT / ".github").glob("*.md")),
        *sorted((ROOT / "deploy").rglob("*.md")),
    )
}
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    return (DOCS / name).read_text()


def anchors(text: str) -> set[str]:
    """The anchors that GitHub and GitLab make of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_tables_are_as_the_code_has_it(table: Table) -> None:
    text = page(table.page)
    assert renewed(table, text) == text, "run `make docs`"
    assert f"| {UNWRITTEN} |" not in text, "`make docs` says which cells somebody has to write"


def test_every_table_that_is_marked_is_made() -> None:
    marked = [
        (path.name, name)
        for path, text in PAGES.items()
        for name in re.findall(r"<!-- table: (\S+) -->", text)
    ]
    assert sorted(marked) == sorted((table.page, table.name) for table in TABLES)


@pytest.mark.parametrize("path", LINKED, ids=str)
def test_mentions_no_variable_that_is_unknown(path: Path) -> None:
    mentioned = set(
        re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", LINKED[path] + (ROOT / "Dockerfile").read_text())
    )
    # A variable of the CI system, where the released job reads it.
    names = {each.removeprefix(PREFIX).lower() for each in mentioned - {"CHAMPION_GATE_URL"}}
    assert {each for each in names if not is_notice_variable(each)} <= set(known_variables()) | {"notice"}


def test_examples_of_gates_yaml_are_taken(tmp_path: Path) -> None:
    text = page("configuration.md") + page("api.md")
    gates, api = re.findall(r"^```yaml\n((?:registry|api):.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    file = tmp_path / "gates.yaml"
    file.write_text(gates + api)
    loaded = load_gates(file)
    assert [gate.name for gate in loaded.gates] == ["churn"]
    assert loaded.api.oidc is not None
    assert loaded.api.oidc.operator == ("ml-operators",)


def test_the_readmes_gates_yaml_is_the_one_of_the_reference(tmp_path: Path) -> None:
    files: list[Path] = []
    for text in (PAGES[Path("README.md")], page("configuration.md")):
        (example,) = re.findall(r"^ *```yaml\n( *registry:.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
        files.append(tmp_path / f"{len(files)}.yaml")
        files[-1].write_text(dedent(example))
    assert load_gates(files[0]) == load_gates(files[1])


def test_the_readme_stays_short() -> None:
    """Whoever is new reads all of it; what is longer goes to a page of its own."""
    text = PAGES[Path("README.md")]
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1500


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_tables_and_blocks_are_what_they_look_like(path: Path) -> None:
    text = PAGES[path]
    lines = text.splitlines()
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    tables = [lines[slice(*token.map)] for token in tokens if token.type == "table_open" and token.map]
    assert [line for table in tables for line in table] == [line for line in lines if line.startswith("|")]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1, table[0]
    blocks = [token.info for token in tokens if token.type == "fence"]
    assert len(blocks) * 2 == sum(line.strip().startswith("```") for line in lines)
    assert set(blocks) <= {"sh", "yaml", "python", "mermaid", "text"}


@pytest.mark.parametrize(
    "phase", [NotificationPhase.IGNORED, NotificationPhase.WAITING, NotificationPhase.UNRESOLVED]
)
def test_says_what_to_do_about_a_notification_that_led_to_nothing(phase: NotificationPhase) -> None:
    assert f"**The notification is `{phase}`.**" in page("troubleshooting.md")


@pytest.mark.parametrize("path", LINKED, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", LINKED[path])):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / path.parent / file).resolve() if file else ROOT / path
        assert there.is_file(), target
        assert not anchor or anchor in anchors(there.read_text()), target


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+)", PAGES[Path("README.md")]))
    assert {str(path) for path in PAGES if path != Path("README.md")} <= linked


def test_the_page_of_the_github_app_asks_for_what_the_service_checks() -> None:
    section = LINKED[Path("deploy/github/README.md")].split("\n## 3. GitHub App\n")[1].split("\n## ")[0]
    permissions = re.findall(r"\*(\w+): (read and write|read)\*", section.split("\nA fine-grained token")[0])
    asked = {name.lower(): "write" if "write" in how else how for name, how in permissions}
    wanted = needed(["github"], teams=True)
    assert asked == {"metadata": "read", **wanted.permissions}
    events = section.split(" events ")[1].split(". ")[0]
    assert {each.lower().replace(" ", "_") for each in re.findall(r"\*([\w\s]+)\*", events)} == set(
        wanted.events
    )


def test_the_page_of_reviews_asks_for_what_the_service_checks() -> None:
    wanted = needed(["github_review"], teams=True)
    app, hook = (
        page("reviews.md").split("**The App**")[1].split("A fine-grained token")[0].split("Its webhook")
    )
    names = {"Commit statuses": "statuses"}
    asked = {
        names.get(name, name.lower().replace(" ", "_")): "write" if "write" in how else how
        for name, how in re.findall(r"\*([\w ]+)\* \((read and write|read)\)", app)
    }
    assert asked == {"metadata": "read", **wanted.permissions}
    told = re.findall(r"\*([\w ]+)\*", hook)
    assert {each.lower().replace(" ", "_") for each in told} == set(wanted.events)
