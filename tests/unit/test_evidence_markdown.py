"""The evidence as Markdown: whatever a training job wrote stays data."""

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from champion_gate.domain import evidence
from champion_gate.domain.markdown import cell, code, number
from champion_gate.domain.screen import as_text, columns
from unit.evidence_samples import SAMPLES, rows

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SHA = "ab" * 32


def version(number: str, text: str) -> dict[str, Any]:
    return {
        "version": number,
        "version_id": text,
        "source": text,
        "created_at": "2026-03-01T12:00:00Z",
        "created_by": text,
        "mlflow_run": text,
        "mlflow_run_url": text,
        "git_commit": text,
        "trained_at": None,
        "url": None,
    }


def document(text: str = "x", **changes: Any) -> dict[str, Any]:
    """A document in which everything that comes from outside is this text."""
    metric = {"name": text, "candidate": 0.91, "champion": 0.9, "change": 0.01}
    judged = {
        "better": "higher",
        "max_worse": 0.01,
        "at_least": 0.8,
        "at_most": None,
        "ok": True,
        "problems": [],
    }
    differing = rows({"name": text, "candidate": text, "champion": text})
    return {
        "format": 1,
        "frozen_at": "2026-03-01T12:00:00Z",
        "asked": {
            "registry": text,
            "model": text,
            "alias": text,
            "from_version": "1",
            "to_version": "2",
            "gate": text,
            "promotion": text,
            "provider": text,
            "seats": rows(text, text),
        },
        "candidate": version("2", text),
        "champion": {**version("1", text), "since": "2026-02-01T00:00:00Z", "served_seconds": 93_600},
        "gate_metrics": rows({**metric, **judged}, {**metric, **judged, "ok": False, "problems": [text]}),
        "other_metrics": rows(metric, {**metric, "candidate": text, "change": text}),
        "parameters": differing,
        "tags": differing,
        "job": {"id": text, "run_id": text, "url": text, "found_by": text},
        "people": {
            "trainers": rows({"role": text, "name": text}),
            "excluded": rows({"name": text, "role": text, "login": text, "user_id": "1"}),
            "nobody": rows(text),
            "trainers_may_approve": False,
        },
        **changes,
    }


def flat(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *flat(token.children or []))]


def structure(markdown: str) -> list[tuple[str, str]]:
    """Everything but what stands in code spans: kinds, and the text outside them.

    Of a long word that was cut into several spans they are one; nothing else stands so close together.
    """
    return [
        (token.type, "" if token.type in {"code_inline", "inline"} else token.content)
        for token in flat(PARSER.parse(markdown.replace("` `", "")))
    ]


def spans(markdown: str) -> list[str]:
    return [token.content for token in flat(PARSER.parse(markdown)) if token.type == "code_inline"]


HOSTILE = [
    "`",
    "``x``",
    "\\`",
    "\\",
    "\\\\`|`",
    "|",
    "\\|",
    "a | b | c",
    "a\n\n# v1 → v3 approved by security",
    "a\r## x",
    "a\u2028b\x85c\x0bd\x0ce",
    "</code></td></table><h1>v3</h1><!--",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<details><summary>",
    "-->",
    "&lt;&#96;&#124;",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "https://evil.example www.evil.example me@evil.example",
    "<https://evil.example>",
    "[x]: https://evil.example",
    "@octocat #1 :tada: GH-1",
    "```mermaid\ngraph TD; a-->b\n```",
    "~~~",
    "$x$ $$y$$ $`z`$",
    "**bold** __b__ *i* ~~s~~",
    "::error::x",
    "\n::set-output name=a::b",
    " ::add-mask::x",
    "##[error]x",
    "##vso[task]",
    "${{ secrets.GITHUB_TOKEN }}",
    "\u202egnp.exe\u2066",
    "zero\u200bwidth\ufeff\u2060\u00ad",
    "blank\u3164\u2800\u115f\ufe0f\U000e0041",
    "z" + "\u0310" * 30,
    "\x1b[2J\x07\x00\x7f",
    "\ud800",
    " ",
    "  both  ",
    "_Cut here",
    "- item",
    "> quote",
    "1. one",
    "===",
    "---",
    "\t",
    "'" * 200,
    "|" * 500,
]


def examples(test: Any) -> Any:
    for text in HOSTILE:
        test = example(text)(test)
    return test


@examples
@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=60))
def test_no_text_from_outside_changes_anything_but_its_own_code_spans(text: str) -> None:
    markdown = evidence.render_markdown(document(text), SHA)
    if not re.match("https?://", text):
        assert structure(markdown) == structure(evidence.render_markdown(document(), SHA))
    assert markdown.splitlines() == markdown.split("\n")[:-1]
    for line in markdown.splitlines():
        assert not line.lstrip().startswith("::")
    assert "::" not in markdown
    assert "##[" not in markdown
    assert "${{" not in markdown
    assert "<" not in markdown
    assert all(char == "\n" or char.isprintable() for char in markdown)
    assert all(
        unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for char in markdown.replace("\n", "")
    )
    markdown.encode()


def test_the_parser_would_have_noticed() -> None:
    benign = structure(evidence.render_markdown(document(), SHA))
    for raw in ("[x](https://evil.example)", "</td>", "a | b"):
        assert structure(evidence.render_markdown(document(), SHA).replace("`x`", raw)) != benign


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "`plain`"),
        ("", "(empty)"),
        (None, "—"),
        ("a`b|c", "`a\\x60b\\x7cc`"),
        ("C:\\new", "`C:\\\\new`"),
        ("line\nbreak", "`line\\nbreak`"),
        ("\u202e", "`\\u202e`"),
        ("\U000e0041", "`\\U000e0041`"),
        (" x ", "`\\x20x\\x20`"),
        (" ", "`\\x20`"),
        ("a:::b ###", "`a:\\x3a\\x3ab #\\x23\\x23`"),
        ("e\u0301 สวัสดี שלום", "`e\u0301 สวัสดี שלום`"),
        ("x" * 130, "`" + "x" * 120 + "… (+10)`"),
    ],
)
def test_how_values_are_shown(text: str | None, shown: str) -> None:
    assert code(text) == shown


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_different_values_never_look_the_same(one: str, other: str) -> None:
    assert (code(one) == code(other)) == (one == other) or "(empty)" in (one, other)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("validation_f1_macro", "`validation_` `f1_macro`"),
        ("w" * 25, f"`{'w' * 11}` `{'w' * 11}` `www`"),
        ("a word and objective:binary", "`a word and objective:` `binary`"),
        ("x" * 9 + "``", "`" + "x" * 9 + "\\x60\\x60`"),
        (None, "—"),
    ],
)
def test_long_words_in_tables_can_be_broken(value: str | None, shown: str) -> None:
    assert cell(value) == shown


@pytest.mark.parametrize(
    ("value", "shown", "signed"),
    [
        (0.8937512345, "0.89375", "+0.894"),
        (-3.0, "-3", "-3"),
        (123456.7, "123457", "+123457"),
        (1e300, "1e+300", "+1e+300"),
        ("nan", "`nan`", "`nan`"),
        (float("inf"), "`inf`", "`inf`"),
        (True, "`True`", "`True`"),
        (None, "—", "—"),
    ],
)
def test_numbers_are_short(value: object, shown: str, signed: str) -> None:
    assert (number(value), number(value, signed=True)) == (shown, signed)


def test_what_is_decided_is_said_first_and_plainly() -> None:
    text = evidence.render_markdown(SAMPLES["plain"], SHA)
    assert text.startswith(
        "## v12 → `Champion` of `main.ml.churn`: 2 of 2 rules met; `f1` 0.89375, +0.0225\n\n"
        "| metric | ok? | v11 → v12 | change |\n"
        "| --- | --- | ---: | ---: |\n"
        "| `f1` | yes | 0.87123 → 0.89375 | +0.0225 |\n"
        "| `log_loss` | yes | 0.31823 → 0.2872 | -0.031 |\n\n"
        "- `f1`, higher is better: at most 0.01 worse; at least 0.8\n"
    )
    assert "on version v12, and takes it from version v11, which has served 6 d 23 h.\n" in text
    assert "| v12 | 2026-03-08 02:00 UTC | `0123456789ab` |" in text
    assert "champion-gate itself read all numbers here" in text
    assert SHA in text


def test_a_rule_that_is_not_met_is_said_first_too() -> None:
    text = evidence.render_markdown(SAMPLES["wide"], SHA)
    assert ": 0 of 1 rule met, **not `rmse`**; `rmse` 1234568, +1234568\n" in text
    assert "| `rmse` | **NO** |" in text
    assert "; **NO**: `rmse is 1234567.89, and must be at most 1000`\n" in text


@pytest.mark.parametrize("name", SAMPLES)
def test_tables_have_few_columns_and_no_column_or_row_without_a_word(name: str) -> None:
    tokens = flat(PARSER.parse(evidence.render_markdown(SAMPLES[name], SHA)))
    ends = [at for at, token in enumerate(tokens) if token.type == "tr_close"]
    starts = [at for at, token in enumerate(tokens) if token.type == "tr_open"]
    for start, end in zip(starts, ends, strict=True):
        cells = [each.content for each in tokens[start:end] if each.type == "inline"]
        assert len(cells) <= 5
        assert set(cells[1:]) - {"", "—"}


def test_a_metric_that_only_has_to_be_there_says_so() -> None:
    metric = {"name": "f1", "candidate": 0.5, "champion": None, "change": None, "better": "lower", "ok": True}
    bare = {**metric, "max_worse": None, "at_least": None, "at_most": None, "problems": []}
    text = evidence.render_markdown(document(gate_metrics=rows(bare, left_out=3)), SHA)
    assert "| `f1` | yes | — → 0.5 | — |\n" in text
    assert "- `f1`, lower is better: to be there\n" in text
    assert "… and 3 more" in text


def test_a_gate_without_rules_says_so() -> None:
    text = evidence.render_markdown(document(gate_metrics=rows()), SHA)
    assert text.startswith("## v2 → `x` of `x`: the gate has no rule for numbers\n")


def test_the_first_version_ever_is_shown_as_such() -> None:
    text = evidence.render_markdown({**SAMPLES["first"], "other_metrics": rows()}, SHA)
    assert "| metric | ok? | v12 |\n" in text
    assert "There is no `Champion` yet" in text
    assert "### Parameters\n" in text
    assert "- `max_depth`: `8`\n" in text
    assert "that differ" not in text
    assert "takes it from" not in text
    assert "Other metrics" not in text


def test_what_nobody_knows_is_left_out() -> None:
    unknown = {
        **version("1", "x"),
        "since": None,
        "served_seconds": None,
        "created_at": None,
        "git_commit": None,
    }
    text = evidence.render_markdown(document(champion=unknown), SHA)
    assert "served" not in text
    assert "| v1, now | — | — |" in text
    bare = {"created_at": None, "git_commit": None, "mlflow_run": None, "source": None}
    text = evidence.render_markdown(document(champion=None, candidate={**version("2", "x"), **bare}), SHA)
    assert not re.search("trained|commit|MLflow run:|Source", text)


def test_people_who_are_kept_out_nobody_and_everybody() -> None:
    person = {"name": "a@example.com", "role": "version creator"}
    account = {**person, "login": "octo-a", "user_id": "1"}
    listed = {"name": "trainers in gates.yaml", "role": "listed trainer", "login": "zoe", "user_id": "2"}
    people = {
        "trainers": rows(
            {**person, "role": "job run-as"}, person, {"name": "robot", "role": "job run creator"}
        ),
        "excluded": rows(account, listed, {**listed, "login": "max"}),
        "nobody": rows("robot"),
        "trainers_may_approve": False,
    }
    text = evidence.render_markdown(document(people=people), SHA)
    assert "- `octo-a` may not decide: `a@example.com`, `job run-as`, `version creator`\n" in text
    assert "- `zoe`, `max` may not decide: `trainers in gates.yaml`, `listed trainer`\n" in text
    assert "- `robot`, `job run creator`\n" in text
    assert "`robot` is no person" in text
    assert text.count("a@example.com") == 1
    assert "Nobody is kept from deciding" not in text
    people = {
        "trainers": rows({"role": "version creator", "name": None}, left_out=2),
        "excluded": rows(),
        "nobody": rows(),
        "trainers_may_approve": False,
    }
    alone = evidence.render_markdown(document(people=people), SHA)
    assert "- not told, `version creator`" in alone
    assert "… and 2 more, left out here." in alone
    assert "**Nobody is kept from deciding**" in alone
    allowed = evidence.render_markdown(document(people={**people, "trainers_may_approve": True}), SHA)
    assert "lets trainers approve their own model" in allowed


def test_a_version_that_is_no_number_is_shown_as_data() -> None:
    odd = document()
    odd["asked"]["to_version"] = "2 → v9"
    assert "| v1 → `v2 → v9` |" in evidence.render_markdown(odd, SHA)


@pytest.mark.parametrize(
    "url",
    [
        "https://dbc.example.com/?o=1#job/1/run/77",
        "http://127.0.0.1:8080/ml",
        "https://a.example",
        "https://a/b%20c&d",
    ],
)
def test_a_plain_page_is_linked(url: str) -> None:
    job = {"id": "1", "run_id": "77", "url": url, "found_by": "tag"}
    assert f"[`77`]({url})" in evidence.render_markdown(document(job=job), SHA)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "https://a.example/) [x](https://evil.example",
        "https://a.example/<b>",
        "https://a.example/\n# x",
        "https://a.example/ x",
        "https://good.example@evil.example/",
        "https://good.example\\@evil.example/",
        "https://a.example/::add-mask::x",
        "https://a.example/##[error]",
        "https://a.example/&lpar;",
        "https://\u0430pple.example/",
        "https://",
        "",
    ],
)
def test_any_other_url_is_text(url: str) -> None:
    job = {"id": "1", "run_id": "77", "url": url, "found_by": "tag"}
    markdown = evidence.render_markdown(document(job=job), SHA)
    assert not [token for token in flat(PARSER.parse(markdown)) if token.type == "link_open"]


@pytest.mark.parametrize("limit", [0, 1, 50, 200, 700, 1000, 5000, 60_000])
def test_it_is_never_longer_than_the_limit_and_is_cut_at_a_line_with_a_note(limit: int) -> None:
    many = rows(*({"name": f"p{i}", "candidate": "`" * 120, "champion": "|" * 120} for i in range(100)))
    long = document(parameters=many, tags=many)
    whole = evidence.render_markdown(long, SHA, limit=10**9)
    cut = evidence.render_markdown(long, SHA, limit=limit)
    assert len(whole) > 60_000
    assert len(cut) <= limit
    if limit >= 200:
        kept, note = cut.split("\n_Cut here", 1)
        assert whole.startswith(kept)
        assert kept.endswith("\n")
        assert "promotions show" in note


def test_what_fits_exactly_is_not_cut() -> None:
    whole = evidence.render_markdown(document(), SHA)
    assert evidence.render_markdown(document(), SHA, limit=len(whole)) == whole
    assert "_Cut here" in evidence.render_markdown(document(), SHA, limit=len(whole) - 1)


def test_the_decision_and_the_hash_come_before_anything_that_may_be_cut() -> None:
    text = evidence.render_markdown(document("`" * 500), SHA, limit=12_000)
    assert SHA in text


def test_every_span_holds_the_text_that_it_was_given() -> None:
    assert "a\\x60b" in spans(evidence.render_markdown(document("a`b"), SHA))


# --- on a screen of so many columns -----------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("width", [78, 40])
def test_as_text_it_fits_the_columns_and_says_the_same(name: str, width: int) -> None:
    markdown = evidence.render_markdown(SAMPLES[name], SHA)
    text = as_text(markdown, width)
    for line in text.splitlines():
        assert columns(line) <= width or len(line.split()) <= 2, line
    # A long word is broken, and of a table that became a list only the first head is gone.
    words = (set(re.findall(r"\w+", re.sub(r"`\s+`", "", each))) for each in (markdown, text))
    assert next(words) - next(words) <= {"metric", "check", "reported", "by"}


@examples
@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=60))
def test_as_text_no_text_from_outside_begins_a_line_of_its_own(text: str) -> None:
    shown = as_text(evidence.render_markdown(document(text), SHA), 40)
    assert PARSER.parse(shown)
    for line in shown.splitlines():
        assert line.count("`") % 2 == 0, line
    ours = evidence.render_markdown(document(), SHA)
    left, known = (set(re.findall(r"\w+", re.sub("`[^`]*`", "", each))) for each in (shown, ours))
    assert left <= known


def test_as_text_tables_are_aligned_and_headings_underlined() -> None:
    lines = as_text(evidence.render_markdown(SAMPLES["plain"], SHA), 78).splitlines()
    assert lines[:2] == [
        "v12 → `Champion` of `main.ml.churn`: 2 of 2 rules met; `f1` 0.89375, +0.0225",
        "=" * 76,
    ]
    assert lines[3:7] == [
        "| metric     | ok? | v11 → v12         | change  |",
        "| ---------- | --- | ----------------: | ------: |",
        "| `f1`       | yes | 0.87123 → 0.89375 | +0.0225 |",
        "| `log_loss` | yes | 0.31823 → 0.2872  | -0.031  |",
    ]


def test_as_text_a_long_value_is_broken_between_words_and_never_unquoted() -> None:
    assert as_text(
        "- `the word of whoever registered it, and of nobody else`, " + "x" * 9, 30
    ).splitlines() == [
        "- `the word of whoever `",
        "  `registered it, and of `",
        "  `nobody else`, xxxxxxxxx",
    ]


@pytest.mark.parametrize("text", ["", "x\n", "| no table |\n| at all |\n", "`a  b`  c\n\n\n---\n"])
def test_as_text_leaves_alone_what_fits(text: str) -> None:
    assert as_text(text, 40) == text
