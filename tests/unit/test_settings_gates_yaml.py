"""gates.yaml as YAML: what would have to be guessed is refused, and nothing breaks the reader."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from champion_gate.bootstrap.configuration import load_gates
from champion_gate.errors import ConfigurationError
from settings_samples import SMALLEST, changed, problems_of, written


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found nothing; expected the keys registry and gates"),
        ("- 1", "found a list of 1"),
        ("registry: a\nregistry: b\n", "registry: is written twice (lines 1 and 2)"),
        ("gates:\n- {name: a, name: b}\n", "gates[0].name: is written twice (lines 2 and 2)"),
        ("1: 2\n", "the key in line 1 is no text"),
        ("? [a]\n: 1\n", "the key in line 1 is no text"),
        ("a: &x [1]\nb: *x\n", "line 2, column 4: aliases (*name) are not taken"),
        ("<<: {a: 1}\n", "<<: is no key that is known here"),
        ("a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("a: {b: [}\n", "line 1, column 9"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("[" * 2000, "nested more than 20 levels deep"),
        ("registry: " + "9" * 5000 + "\n", "registry: line 1 holds no usable value"),
        ("a: \x00", "cannot be read as YAML"),
    ],
)
def test_yaml_that_would_have_to_be_guessed_is_refused(tmp_path: Path, text: str, says: str) -> None:
    assert any(says in line for line in problems_of(tmp_path, text))


def test_yaml_numbers_mean_what_they_look_like(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed("gates 0 jobs", ["JOB"]))

    for job in ("0123", "0b11", "1_0", "0x1F", "1:30"):  # 83, 3, 10, 31 and 90 to YAML 1.1
        if job == "0123":
            assert (
                "found '0123'; expected a job id as a bare number"
                in problems_of(tmp_path, text.replace("JOB", job))[0]
            )
        else:
            gates = load_gates(written(tmp_path, text.replace("JOB", job)))
            assert gates.gates[0].job_names == frozenset({job})


def test_files_that_cannot_be_read_are_one_clear_error(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (1024 * 1024 + 1))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: Müller".encode("latin-1"))

    for path, says in (
        (tmp_path / "absent.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (large, "larger than 1 MiB"),
        (latin, "no UTF-8 text"),
    ):
        with pytest.raises(ConfigurationError, match=says) as caught:
            load_gates(path)
        assert str(path) in caught.value.problems[0]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(SMALLEST).encode())

    assert load_gates(path).gates[0].name == "churn"


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_keys = st.sampled_from(["name", "jobs", "model", "approval", "github", "metrics", "identities", "f1", "x"])
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["registry", "github", "gates", "gates 0"]), key=_keys, value=_values)
def test_no_file_whatever_breaks_the_reader(tmp_path: Path, path: str, key: str, value: object) -> None:
    file = changed(f"{path} {key}" if path == "gates 0" else path, value)
    with suppress(ConfigurationError):
        load_gates(written(tmp_path, yaml.safe_dump(file, allow_unicode=True)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60) | st.text("[]{}:-*&!%'\"\n ab1?|>", max_size=60).map(str.encode))
def test_no_bytes_whatever_break_the_reader(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "gates.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError):
        load_gates(path)
