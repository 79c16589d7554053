"""Names are checked before they enter a URL: the vendors' clients do not escape them."""

from __future__ import annotations

import re

from champion_gate.errors import InvalidNameError

_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,255}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_MODEL_PART = re.compile(r"[^\s/?#%\\.&;:'\"`<>|*\x00-\x1f\x7f]{1,255}")
_MLFLOW_MODEL = re.compile(r"[^\s/?#%\\&;:'\"`<>|*\x00-\x1f\x7f]{1,255}")
_RESERVED_ALIAS = re.compile(r"latest|v[0-9]+", re.IGNORECASE)


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


def check_model(model: str, *, three_level: bool) -> str:
    """Return the model's name, or raise InvalidNameError.

    Args:
        model: `catalog.schema.model` on Unity Catalog, any single name elsewhere.
        three_level: whether the registry is Unity Catalog; there the name comes back lower-case.
    """
    if three_level:
        parts = model.split(".")
        if len(parts) != 3 or not all(_MODEL_PART.fullmatch(part) for part in parts):  # noqa: PLR2004 - three levels
            raise InvalidNameError(
                f"{model!r} is no Unity Catalog model.",
                hint="Write catalog.schema.model, without / ? # % or spaces.",
            )
        return model.lower()
    if not _MLFLOW_MODEL.fullmatch(model) or set(model) == {"."}:
        raise InvalidNameError(f"{model!r} is no model name.", hint="Leave out / ? # % and white space.")
    return model
