"""Pydantic's errors about gates.yaml in words: the key's path, what was found, what is expected."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from champion_gate.domain.secrets import without_secrets

_A_LINE = 80  # characters
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "keys with values below them",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "keys with values below them",
    "model_type": "keys with values below them",
    "string_type": "a text",
}


def problem(form: type[BaseModel], detail: ErrorDetails) -> str:
    """One line for one error of pydantic's about the model of a file."""
    location = [part for part in detail["loc"] if part != "[key]"]
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    kind, found, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return f"{path}: is missing; expected {_description(form, location)}"
    if kind == "extra_forbidden":
        return (
            f"{path}: is no key that is known here; known are {', '.join(_known_keys(form, location[:-1]))}"
        )
    if kind == "rule":
        line: str = context["line"]
        return f"{path}{line}" if line[0] in "[:" or not path else f"{path}.{line}"
    words = {
        "expected": context.get("words"),
        "literal_error": context.get("expected"),
        "enum": context.get("expected"),
        "too_short": f"at least {context.get('min_length')}",
        "too_long": f"at most {context.get('max_length')}",
        "string_too_short": f"at least {context.get('min_length')} character",
        "string_too_long": f"at most {context.get('max_length')} characters",
        "greater_than_equal": f"a number from {context.get('ge')}",
        "less_than_equal": f"a number up to {context.get('le')}",
    }.get(kind) or _EXPECTED.get(kind, detail["msg"])
    return f"{path}: found {shown(found)}; expected {words}"


def _form_at(form: type[BaseModel], location: list[int | str]) -> type[BaseModel] | None:
    """The model whose keys stand at a place of the file."""
    found: type[BaseModel] | None = form
    for part in location:
        if found is None:
            return None
        field = found.model_fields.get(str(part))
        if field is not None:  # else an index, or the name of a metric
            found = _form_in(field)
    return found


def _form_in(field: FieldInfo) -> type[BaseModel] | None:
    """The model whose keys a field has below it, be it in a list, under a key, or one of several."""
    written = next((each.form for each in field.metadata if hasattr(each, "form")), None)
    return written or _model_in(field.annotation)


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in inside if model is not None), None)


def _known_keys(form: type[BaseModel], location: list[int | str]) -> list[str]:
    model = _form_at(form, location)
    return list(model.model_fields) if model else []


def _description(form: type[BaseModel], location: list[int | str]) -> str:
    model = _form_at(form, location[:-1])
    field = model.model_fields.get(str(location[-1])) if model else None
    return (field.description if field else None) or "a value"


def shown(value: object) -> str:
    """A value in an error: short, and never one that may hold a credential."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys with values below them" if value else "no keys"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    words = str(value) if not isinstance(value, str) else repr(value)
    if isinstance(value, str) and (without_secrets(value) != value or ("//" in value and "@" in value)):
        return "a text that may hold a credential (not shown)"
    return words if len(words) <= _A_LINE else f"{words[:_A_LINE]}… ({len(words)} characters)"
