"""A vendor's JSON read into models, once; a field that is absent or of another type makes the answer unreadable."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from champion_gate.domain.names import vendor_id
from champion_gate.errors import VendorUnavailableError

M = TypeVar("M", bound="Answered")
T = TypeVar("T")

_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "model_type": "an object",
    "string_type": "a text",
    "list_type": "a list",
}


class Answered(BaseModel):
    """What we take of a JSON object of a vendor's; what else stands there is left out.

    Nothing is converted: a number that comes as text is another field than the one that is documented.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Page(Answered):
    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    total_count: int


def _digits(value: object) -> str:
    found = vendor_id(value) if isinstance(value, int) else None
    if found is None:
        raise ValueError("a whole number")
    return found


def _utc(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("a time") from None
    if at.tzinfo is None:
        raise ValueError("a time with an offset")
    return at.astimezone(UTC)


NumberId = Annotated[str, BeforeValidator(_digits)]
"""An int64 id, as the decimal string that we keep."""

Time = Annotated[datetime, BeforeValidator(_utc)]
"""An ISO 8601 time with its offset, in UTC."""


class Reader:
    """Reads the answers of one vendor. Every method raises VendorUnavailableError where it cannot."""

    def __init__(self, vendor: str) -> None:
        """Nothing is read yet.

        Args:
            vendor: its name in words, for messages.
        """
        self._vendor = vendor

    def one(self, model: type[M], value: object, what: str) -> M:
        """A JSON object."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            # Only where and what was expected: the values are the vendor's, and may be anything.
            first = error.errors(include_url=False, include_context=True, include_input=False)[0]
            field = ".".join([what, *(str(part) for part in first["loc"])])
            raise self._unreadable(field, _expected(first["type"], first.get("ctx", {}))) from None

    def many(self, model: type[M], value: object, what: str) -> list[M]:
        """A JSON array of objects."""
        if not isinstance(value, list):
            raise self._unreadable(what, "a list")
        return [self.one(model, item, what) for item in value]

    def page(self, model: type[M], value: object, key: str) -> tuple[list[M], int]:
        """A page of a list that stands under a key, beside the number of all of its entries (`total_count`)."""
        page = self.one(_Page, value, key)
        return self.many(model, (page.model_extra or {}).get(key), key), page.total_count

    def told(self, value: T | None, field: str) -> T:
        """A field that is left out of some answers, and needed in this one."""
        if value is None:
            raise self._unreadable(field, "")
        return value

    def _unreadable(self, field: str, expected: str) -> VendorUnavailableError:
        why = f"absent or not {expected}" if expected else "absent"
        return VendorUnavailableError(self._vendor, f"an answer cannot be read: `{field}` is {why}.")


def _expected(kind: str, context: dict[str, object]) -> str:
    if kind == "value_error":
        return str(context["error"])
    return "" if kind == "missing" else _EXPECTED.get(kind, "of the form that we know")
