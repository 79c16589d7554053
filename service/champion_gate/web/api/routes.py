"""How a route of the API is declared beside its view, and served: inputs read strictly, the answer made of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial, wraps
from http import HTTPMethod, HTTPStatus
from typing import Self, TypeAlias, TypeVar, get_type_hints

from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ValidationError

from champion_gate.domain.aliases import ManagedAliases
from champion_gate.domain.callers import Role
from champion_gate.domain.json_body import UnusableBodyError, json_object
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.text import one_line
from champion_gate.errors import InvalidInputError
from champion_gate.flow.context import Context
from champion_gate.flow.identities import Identities
from champion_gate.flow.operator_aliases import AliasOrders
from champion_gate.flow.operator_promotions import PromotionOrders
from champion_gate.flow.operator_steps import StepOrders
from champion_gate.store import Store
from champion_gate.web.api.answers import Answer
from champion_gate.web.api.idempotency import Repeatable
from champion_gate.web.api.requests import Repeating
from champion_gate.web.auth import Auth, body, guarded
from champion_gate.web.problems import MalformedBodyError, UnsupportedMediaTypeError, of_validation_error
from champion_gate.web.throttle import ConcurrencyLimit

BODY_CAP = 64 * 1024
"""Bytes that a body of the API may have."""

GET, POST, PUT, DELETE = HTTPMethod.GET, HTTPMethod.POST, HTTPMethod.PUT, HTTPMethod.DELETE
VIEWER, OPERATOR = Role.VIEWER, Role.OPERATOR

Content: TypeAlias = type[Answer] | Mapping[str, Mapping[str, object]]
"""A model; or a schema by its media type, where the view makes the response itself."""
Answered: TypeAlias = Answer | tuple[Answer, Mapping[str, str]] | Response
"""What a view returns: an answer, one and its headers, or a response."""
View = TypeVar("View", bound=Callable[..., Answered])
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Operations:
    """The parts of the core that the API calls; a command's are put together when an operation needs them."""

    store: Store
    clock: Clock
    registry: ModelRegistry
    promotion_orders: PromotionOrders
    alias_orders: AliasOrders
    step_orders: StepOrders
    identities: Identities
    managed: ManagedAliases

    @classmethod
    def on(cls, context: Context) -> Self:
        """Those of a core."""
        return cls(
            store=context.store,
            clock=context.clock,
            registry=context.registry,
            promotion_orders=PromotionOrders(context),
            alias_orders=AliasOrders(context),
            step_orders=StepOrders(context.store, context.wake_ups, context.clock),
            identities=context.identities,
            managed=context.managed,
        )


@dataclass(frozen=True)
class Route:
    """Declares what a view serves, as its decorator.

    The view's parameters `path`, `query`, `header` and `body`, as far as it has them, are annotated with the
    models that read them; its docstring is the summary.

    Attributes:
        method: the HTTP method.
        rule: the URL rule, after `/api/v1`.
        name: the operation's id.
        answer: what a good answer holds.
        role: what the caller must be allowed; None: it is the gated CI job with its own token.
        status: of a good answer.
        also: further good statuses with the same answer.
        errors: the statuses of errors that are particular to it; 503 says that it may wait for a vendor.
        headers: of a good answer.
        body_cap: bytes that a body may have, where the method has one.
        about: what else to know, beside the docstring's further lines; both are Markdown.
    """

    method: HTTPMethod
    rule: str
    name: str
    answer: Content
    _: KW_ONLY
    role: Role | None
    status: int = 200
    also: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    body_cap: int = BODY_CAP
    about: str = ""

    @property
    def auth(self) -> Auth:
        """How the caller shows who it is."""
        return Auth.CI_JOB if self.role is None else Auth.BEARER

    @property
    def calls_out(self) -> bool:
        """Whether it may wait for a vendor, as only so many may at a time."""
        return HTTPStatus.SERVICE_UNAVAILABLE in self.errors

    @property
    def has_body(self) -> bool:
        """Whether one is read, though the view may not look at it."""
        return self.method in {POST, PUT}

    @property
    def is_repeatable(self) -> bool:
        """Whether it takes an `Idempotency-Key`: the orders that would do more each time they are sent."""
        return self.method is POST and self.role is not None

    def __call__(self, view: View) -> View:
        """Declare it, and what stands before it."""
        view.route = self  # type: ignore[attr-defined]
        return guarded(self.auth, role=self.role, body_cap=self.body_cap if self.has_body else None)(view)


@dataclass(frozen=True)
class Served:
    """A route and its view, bound to what it works with."""

    route: Route
    view: Callable[..., Answered]

    @cached_property
    def reads(self) -> Mapping[str, type[BaseModel]]:
        """Parameter of the view -> the model that reads it."""
        hints = get_type_hints(self.view)
        return {name: hints[name] for name in ("path", "query", "header", "body") if name in hints}


class Api:
    """The routes that an app serves under `/api/v1`."""

    def __init__(self, app: Flask, store: Store, clock: Clock) -> None:
        self.served: list[Served] = []
        self._app = app
        self._repeatable = Repeatable(store, clock)
        self.waiting = ConcurrencyLimit(6)

    def add(self, views: object) -> None:
        """Serve every view of an object that declares a route, in the order in which its class has them."""
        for name, function in vars(type(views)).items():
            if isinstance(route := getattr(function, "route", None), Route):
                served = Served(route, getattr(views, name))
                self.served.append(served)
                self._app.add_url_rule(
                    f"/api/v1{route.rule}", route.name, self._answering(served), methods=[route.method]
                )

    def _answering(self, served: Served) -> Callable[..., Response]:
        route, reads = served.route, served.reads

        @wraps(served.view)
        def answer(**path: str) -> Response:
            try:
                key = _read_headers(Repeating).idempotency_key if route.is_repeatable else None
                given = _read(reads, path)
            except ValidationError as error:
                return of_validation_error(error)
            carry_out = partial(_respond, route, served.view, given)
            if route.calls_out:
                carry_out = partial(self.waiting.run, carry_out)
            return self._repeatable.answer(key, carry_out)

        return answer


def _respond(route: Route, view: Callable[..., Answered], given: Mapping[str, BaseModel]) -> Response:
    answered = view(**given)
    if isinstance(answered, Response):
        return answered
    answer, headers = answered if isinstance(answered, tuple) else (answered, {})
    response = jsonify(answer.model_dump(mode="json"))
    response.status_code = route.status
    response.headers.update(headers)
    if answer.etag_field is not None and (tag := getattr(answer, answer.etag_field)) is not None:
        response.set_etag(tag)
    return response


def _read(models: Mapping[str, type[BaseModel]], path: Mapping[str, str]) -> dict[str, BaseModel]:
    """What a view is given.

    Raises:
        pydantic.ValidationError: a parameter or field is not as its model wants it.
        InvalidInputError, UnsupportedMediaTypeError, MalformedBodyError: see below.
    """
    given: dict[str, BaseModel] = {}
    if "header" in models:
        given["header"] = _read_headers(models["header"])
    if "path" in models:
        given["path"] = models["path"].model_validate(path)
    if "query" in models:
        given["query"] = models["query"].model_validate(request.args.to_dict())
    _refuse_stray_parameters(takes_any="query" in models)
    if "body" in models:
        given["body"] = _read_body(models["body"])
    return given


def _read_headers(model: type[Model]) -> Model:
    names = [field.alias for field in model.model_fields.values() if field.alias]
    return model.model_validate({name: request.headers[name] for name in names if name in request.headers})


def _refuse_stray_parameters(*, takes_any: bool) -> None:
    """Refuse a parameter that is given twice, or any where none is taken.

    Args:
        takes_any: whether a model looks at the names.

    Raises:
        InvalidInputError: naming the first one.
    """
    for name, values in request.args.lists():
        if not takes_any:
            raise InvalidInputError(f"No parameter is taken here, and {one_line(name, 100)!r} was given.")
        if len(values) > 1:
            raise InvalidInputError(f"The parameter {one_line(name, 100)!r} was given more than once.")


def _read_body(model: type[Model]) -> Model:
    """The body of the request in hand.

    Raises:
        UnsupportedMediaTypeError, MalformedBodyError: it is no JSON object, or does not say that it is JSON.
        pydantic.ValidationError: it is not as the model wants it.
    """
    sent = body()
    if not sent and getattr(model, "may_be_absent", False):
        return model.model_validate({})
    if request.mimetype != "application/json":
        raise UnsupportedMediaTypeError(
            f"The body's content type is {one_line(request.mimetype, 60) or 'not given'}.",
            hint="Send JSON with the header `Content-Type: application/json`.",
        )
    try:
        return model.model_validate(json_object(sent))
    except UnusableBodyError as error:
        message = str(error)
        raise MalformedBodyError(f"{message[:1].upper()}{message[1:]}.") from error
