"""Who callers may call themselves, and what is a reason: nothing invisible, and nobody's name but their own."""

from __future__ import annotations

import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from champion_gate.bootstrap.local import local_caller
from champion_gate.domain.aliases import check_reason
from champion_gate.domain.callers import is_callers_name
from champion_gate.domain.text import is_visible, one_line
from champion_gate.errors import InvalidInputError
from champion_gate.web.api.requests import Reason

INVISIBLE = [
    "",
    " ",
    "\u200b",
    "\x00",
    "\u3164",
    "\u2800",
    "\u00ad\n",
    "\ufe0f",
    "\u0301",
    "\ud800",
]


@pytest.mark.parametrize("text", INVISIBLE)
def test_what_shows_nothing_is_no_reason(text: str) -> None:
    assert not is_visible(text)
    with pytest.raises(InvalidInputError, match="needs a reason"):
        check_reason(text)
    with pytest.raises(ValidationError):
        TypeAdapter(Reason).validate_python(text)


@pytest.mark.parametrize("text", ["x", "\u200bincident 4711", "障害", "42", "👍", "?\x00"])
def test_a_reason_needs_one_visible_character(text: str) -> None:
    assert check_reason(text) == text
    assert TypeAdapter(Reason).validate_python(text)


@given(st.text(max_size=30))
def test_a_callers_name_is_shown_as_it_is(name: str) -> None:
    if is_callers_name(name):
        assert name.isprintable()
        assert one_line(name) == name == name.strip()
        assert is_visible(name)


@pytest.mark.parametrize(
    "name",
    [
        *INVISIBLE,
        "x" * 201,
        " jane",
        "a\\b",
        "Champion-Gate sweep",
        "outside",
        "OUTSIDE champion-gate",
        "champion\u2013gate",
    ],
)
def test_these_are_no_names_of_callers(name: str) -> None:
    assert not is_callers_name(name)


@pytest.mark.parametrize("name", ["jane", "x" * 200, "Jöhn O'Döe <b>", "名前", "ml-champion-gate"])
def test_these_are_names_of_callers(name: str) -> None:
    assert is_callers_name(name)


@pytest.mark.parametrize("name", ["champion-gate", "jane", "a\nb"])
def test_the_command_lines_actor_is_the_users_name_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, name)
    assert local_caller().actor == pwd.getpwuid(os.getuid()).pw_name
