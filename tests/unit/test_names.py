"""Names from outside cannot leave their place in a URL."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain.names import check_alias, check_model, check_version
from champion_gate.errors import InvalidNameError


@pytest.mark.parametrize(
    "alias", ["Champion", "champion", "a", "team-1_prod", "v", "v1x", "latest2", "x" * 255]
)
def test_an_alias_of_letters_digits_underscores_and_dashes_is_taken(alias: str) -> None:
    assert check_alias(alias) == alias


@pytest.mark.parametrize(
    "alias",
    [
        "",
        "latest",
        "LATEST",
        "v1",
        "V12",
        "a b",
        "a/b",
        "../x",
        "a?x=1",
        "a#b",
        "a%2f",
        "\u0421hampion",
        "a\n",
        "x" * 256,
    ],
)
def test_an_alias_that_mlflow_reserves_or_a_url_would_read_is_refused(alias: str) -> None:
    with pytest.raises(InvalidNameError):
        check_alias(alias)


@pytest.mark.parametrize("version", ["1", "12", "9" * 18])
def test_a_decimal_version_is_taken(version: str) -> None:
    assert check_version(version) == version


@pytest.mark.parametrize(
    "version", ["", "0", "01", "-1", "+1", "1.0", "1e3", " 1", "1\n", "v1", "\u0661", "9" * 19, "1/../2"]
)
def test_anything_else_is_no_version(version: str) -> None:
    with pytest.raises(InvalidNameError):
        check_version(version)


def test_a_unity_catalog_model_comes_back_in_lower_case() -> None:
    assert check_model("Main.ML.Churn", three_level=True) == "main.ml.churn"


def test_a_model_elsewhere_keeps_its_case() -> None:
    assert check_model("Churn-Model.v2", three_level=False) == "Churn-Model.v2"


@pytest.mark.parametrize(
    "model",
    [
        "",
        "churn",
        "ml.churn",
        "a.b.c.d",
        "a..c",
        ".b.c",
        "a.b.",
        "a.b.c/../../x",
        "a.b.c?x=1",
        "a.b.c#",
        "a.b.%63",
        "a b.c.d",
    ],
)
def test_what_is_not_three_plain_parts_is_no_unity_catalog_model(model: str) -> None:
    with pytest.raises(InvalidNameError):
        check_model(model, three_level=True)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("", "Write the model's name"),
        ("  ", "Write the model's name"),
        (".", "path"),
        ("..", "path"),
        ("...", "path"),
        ("..churn", "path"),
        (" churn", "blank"),
        ("churn ", "blank"),
        ("churn\n", "blank"),
        ("a/b", "character /"),
        ("models:/a", "character :"),
        ("a\\b", "character \\"),
        ("a?b", "character ?"),
        ("a#b", "character #"),
        ("a%b", "character %"),
        ("a\tb", "\\x09"),
        ("a\nb", "\\x0a"),
        ("a\x00b", "\\x00"),
        ("a\x7fb", "\\x7f"),
        ("a\u00a0b", "\\xa0"),
        ("a\u202eb", "\\u202e"),
        ("a\u200bb", "\\u200b"),
        ("a\ud800b", "\\ud800"),
        ("a" + "\u0301" * 4, "piled up"),
        ("x" * 257, "257 characters"),
    ],
)
def test_what_cannot_be_sent_or_seen_is_no_model_name_elsewhere_and_the_hint_names_it(
    model: str, named: str
) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_model(model, three_level=False)
    assert named in caught.value.hint
    assert " no the " not in caught.value.hint


@pytest.mark.parametrize(
    "model",
    [
        "Churn Model",
        "churn (v2), weekly",
        "a&b=c",
        "a;b",
        "it's",
        'the "big" one',
        'it\'s "both"',
        "<churn>",
        "a|b*c",
        "[a] {b} $c",
        "@a~b^c`d`",
        "Kündigung",
        "離脱",
        "e\u0301",
        "v..1",
        ".hidden",
        "x" * 256,
    ],
)
def test_all_else_that_mlflow_takes_is_a_model_name_elsewhere(model: str) -> None:
    assert check_model(model, three_level=False) == model


@pytest.mark.parametrize(("model", "named"), [("main.ml.my churn", "blank"), ("main.ml.a/b", "character /")])
def test_the_hint_names_what_is_wrong_with_a_unity_catalog_model(model: str, named: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_model(model, three_level=True)
    assert named in caught.value.hint


@given(st.text(max_size=40), st.booleans())
def test_whatever_passes_holds_nothing_that_a_url_would_read(text: str, three_level: bool) -> None:
    try:
        model = check_model(text, three_level=three_level)
    except InvalidNameError:
        return
    assert not set(model) & set("/:?#%\\\t\r\n" if not three_level else "/?#%\\ \t\r\n&;")
    assert model == model.strip()
    assert unquote(quote(model, safe="")) == model
    assert model.strip(".")
    if model.isascii() and model.isalnum():
        assert quote(model, safe="") == model
