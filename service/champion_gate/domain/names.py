"""Names are checked before they enter a URL: the vendors' clients do not escape them."""

from __future__ import annotations

import re
from urllib.parse import quote

from champion_gate.domain.text import escaped, one_line
from champion_gate.errors import InvalidNameError

ROW_ID = "[a-z0-9-]{1,160}"
"""What the id of a promotion, notification or step may look like; a message about a failed step has the longest."""
VENDOR_ID = re.compile(r"[1-9][0-9]{0,18}")
"""An id of a vendor's, as people write it: digits of an int64 without leading zeros."""
_DIGITS = re.compile(r"[0-9]{1,19}")
_BEYOND_IDS = 10**19  # an int64 has at most 19 digits
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,255}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_ENDPOINT = re.compile(r"[A-Za-z0-9_-]{1,255}")
_MODEL_PART = re.compile(r"[^\s/?#%\\.&;:'\"`<>|*\x00-\x1f\x7f]{1,255}")
_LEVELS = 3  # of Unity Catalog: catalog, schema and model
_LONGEST_SHOWN = 300
_READ_BY_PROXIES = "?#%\\"
_LONGEST_MLFLOW_MODEL = 256
"""Of the column in which MLflow keeps it (mlflow/store/model_registry/dbmodels/models.py)."""
_RESERVED_ALIAS = re.compile(r"latest|v[0-9]+", re.IGNORECASE)


def joined(*parts: str) -> str:
    """A path of these parts, each percent-encoded.

    Raises:
        InvalidNameError: a part is empty, `.` or `..`, which encoding does not disarm.
    """
    for part in parts:
        if part in {"", ".", ".."}:
            raise InvalidNameError(f"{part!r} must not enter a URL.")
    return "/" + "/".join(quote(part, safe="") for part in parts)


def is_row_id(text: str) -> bool:
    """Whether a promotion or a notification could have this id; others are not looked for."""
    return re.fullmatch(ROW_ID, text) is not None


def vendor_id(value: object) -> str | None:
    """An id or number of a vendor's, which comes as a JSON number or as digits, as digits; None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _BEYOND_IDS:
        return str(value)
    return str(int(value)) if isinstance(value, str) and _DIGITS.fullmatch(value) else None


def check_alias(alias: str) -> str:
    r"""Return the alias, or raise InvalidNameError.

    `latest` and `v<digits>` are reserved by MLflow (mlflow/utils/validation.py); letters are ASCII only,
    narrower than MLflow's `\w`, because look-alikes in an alias serve nobody.
    """
    if not _ALIAS.fullmatch(alias) or _RESERVED_ALIAS.fullmatch(alias):
        raise InvalidNameError(
            f"{alias!r} is no alias.", hint="Use letters, digits, _ and -; not `latest` or `v` and digits."
        )
    return alias


def check_version(version: str) -> str:
    """Return the version as decimal digits without leading zeros, or raise InvalidNameError."""
    if not _VERSION.fullmatch(version):
        raise InvalidNameError(f"{version!r} is no model version.", hint="A version is a number such as 12.")
    return version


def check_endpoint(name: str) -> str:
    """Return a serving endpoint's name, or raise InvalidNameError.

    https://docs.databricks.com/api/workspace/servingendpoints/create: letters, digits, dashes and underscores.
    """
    if not _ENDPOINT.fullmatch(name):
        raise InvalidNameError(
            f"{name[:_LONGEST_SHOWN]!r} is no serving endpoint.", hint="Use letters, digits, _ and -."
        )
    return name


def check_model(model: str, *, three_level: bool) -> str:
    """Return the model's name, or raise InvalidNameError, whose hint names the character that is wrong.

    Args:
        model: `catalog.schema.model` on Unity Catalog, any single name elsewhere.
        three_level: whether the registry is Unity Catalog; there the name comes back lower-case.
    """
    if three_level:
        parts = model.split(".")
        if len(parts) != _LEVELS or not all(_MODEL_PART.fullmatch(part) for part in parts):
            wrong = next((char for char in model if char != "." and not _MODEL_PART.fullmatch(char)), None)
            hint = "Write catalog.schema.model" + (f", without {_named(wrong)}." if wrong else ".")
            raise InvalidNameError(f"{model[:_LONGEST_SHOWN]!r} is no Unity Catalog model.", hint=hint)
        return model.lower()
    hint = _form_hint(model) or _character_hint(model)
    if hint:
        raise InvalidNameError(f"{model[:_LONGEST_SHOWN]!r} is no model name.", hint=hint)
    return model


def _form_hint(model: str) -> str:
    """What is wrong with the form of a name on an MLflow server; empty where nothing is.

    A name that reads like a path is refused by MLflow too (mlflow/utils/validation.py, _validate_model_name).
    """
    if not model.strip():
        return "Write the model's name."
    if len(model) > _LONGEST_MLFLOW_MODEL:
        return f"It is {len(model)} characters long; MLflow keeps {_LONGEST_MLFLOW_MODEL}."
    if model.startswith("..") or model == ".":
        return "MLflow takes no name that reads like a path: leave out the dots at its beginning."
    return "Take away the blank at its beginning or end." if model != model.strip() else ""


def _character_hint(model: str) -> str:
    """Which character a name on an MLflow server must not have, and why; empty where there is none.

    MLflow takes all but `/` and `:`. In the path of our API more is not safe: a proxy that decodes too early
    makes another path of it. And a reviewer could not tell two models apart by what cannot be seen.
    """
    for char in model:
        if char in "/:":
            return f"Leave out {_named(char)}, which MLflow takes in no model's name."
        if char in _READ_BY_PROXIES:
            return f"Leave out {_named(char)}: a proxy may read it as a part of the address, encoded or not."
        if one_line(char) != char:
            return f"Leave out {_named(char)}, which cannot be seen where people approve."
    if one_line(model, _LONGEST_MLFLOW_MODEL) != model:
        return "Leave out marks that are piled up on one letter: names cannot be told apart by them."
    return ""


def _named(char: str) -> str:
    """A character so that it can be seen."""
    if char == " ":
        return "the blank"
    return f"the character {char}" if char.isprintable() else f"the character {escaped(char)}"
