"""gates.yaml: its keys as the models that the code takes, and the rules between its parts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from champion_gate.domain import values
from champion_gate.domain.addresses import host_of, web_address
from champion_gate.domain.aliases import FurtherAlias
from champion_gate.domain.gates import ApprovalTarget, Gate
from champion_gate.domain.notices import Notice
from champion_gate.domain.ports.approval import Vendor
from champion_gate.domain.values import FILE, UNITY_CATALOG, Listed, Strict
from champion_gate.domain.vendors import Place, Server
from champion_gate.settings.entries import Entries
from champion_gate.settings.notices import extra_problem


class _Approval(Strict):
    """Who approves where: one key of those of the vendors."""

    def problems(self) -> Iterator[str]:
        """See Strict."""
        given = [name for name in type(self).model_fields if name in self.model_fields_set]
        known = type(self).model_fields
        if len(given) > 1:
            yield f": found {' and '.join(given)}; expected one of them (for two systems write two gates)"
        elif not given:
            yield f": found no keys; expected one key, {' or '.join(known)}"

    def target(self) -> ApprovalTarget:
        """Where it is; whose provider key that of the server at the top, until the whole file is known."""
        (kind,) = self.model_fields_set
        return ApprovalTarget(kind, getattr(self, kind))


class _OneVendor:
    """Annotation of `approval`: written as vendor -> place."""

    def __init__(self, form: type[_Approval]) -> None:
        self.form = form

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take the place that is there."""
        return core_schema.no_info_after_validator_function(
            _Approval.target, handler.generate_schema(self.form)
        )


class ApiOidc(Strict):
    """`api.oidc:` whose tokens admit people to the API, and as what."""

    issuer: Annotated[str, values.API_ISSUER] = Field(
        description="the tokens' claim iss, letter by letter; an issuer that signs for people, not for CI jobs"
    )
    audience: Annotated[str, values.AUDIENCE] = Field(
        description="the tokens' claim aud: the name under which the issuer knows this service"
    )
    name_claim: Annotated[str, values.CLAIM] = Field(
        default="sub",
        description="the claim that is the person's name in the ledger, e.g. email or preferred_username",
    )
    role_claim: Annotated[str, values.CLAIM] = Field(
        description="the claim that makes the role, e.g. groups: a text, or a list of texts"
    )
    operator: Annotated[tuple[Annotated[str, values.CLAIM_VALUE], ...], Listed(at_most=100)] = Field(
        description="values of role_claim that make an operator; may be an empty list if viewer is none"
    )
    viewer: Annotated[tuple[Annotated[str, values.CLAIM_VALUE], ...], Listed(at_most=100)] = Field(
        default=(), description="values of role_claim that make a viewer"
    )
    ca_file: Annotated[str, FILE] | None = Field(
        default=None, description="PEM file with the certificate authorities to trust, where they are private"
    )
    client_id: Annotated[str, values.AUDIENCE] | None = Field(
        default=None,
        description="the name under which the issuer knows the dashboard; with it people sign in there, at the issuer",
    )
    scopes: Annotated[tuple[Annotated[str, values.SCOPE], ...], Listed(1, 20)] = Field(
        default=("openid", "profile", "email"),
        description="what the dashboard asks the issuer for; openid must be among it",
    )

    def problems(self) -> Iterator[str]:
        """See Strict."""
        if "openid" not in self.scopes:
            yield "scopes: openid is missing; without it the issuer tells nobody's name"
        if not self.operator and not self.viewer:
            yield (
                "operator: found a list of 0; expected at least 1 value here or under viewer, else the issuer's tokens would "
                "admit nobody"
            )
        for name, given in (("operator", self.operator), ("viewer", self.viewer)):
            for index, value in enumerate(given):
                if value in given[:index]:
                    yield f"{name}[{index}]: found {value!r} a second time; keep one"
                elif name == "viewer" and value in self.operator:
                    yield f"{name}[{index}]: found {value!r}, as under operator; keep one (an operator may do all that a viewer may)"


class Api(Strict):
    """`api:` who may call the API besides the holders of API tokens."""

    oidc: Annotated[ApiOidc | None, values.NEVER_NULL] = Field(
        default=None,
        description="people call the API with tokens of this issuer",
        json_schema_extra=values.never_null_in_schema,
    )


class Databricks(Strict):
    """`databricks:` what of the workspace is used besides its jobs and models."""

    warehouse: Annotated[str, values.WAREHOUSE, values.NEVER_NULL] | None = Field(
        default=None,
        description="id of a SQL warehouse, through which system.access.audit tells who moved an alias outside the gate",
        json_schema_extra=values.never_null_in_schema,
    )


class _Registry(Strict):
    registry: Annotated[str, values.REGISTRY] = Field(
        description="databricks-uc, the https:// address of an MLflow server, or sqlite:///path/to/mlflow.db"
    )


class Gates(_Registry):
    """gates.yaml of champion-gate; beside these keys there is one for each vendor's server at the top."""

    gates: Annotated[tuple[Gate, ...], Listed(1, 1000)] = Field(description="the gates")
    aliases: Annotated[tuple[FurtherAlias, ...], Listed(at_most=1000)] = Field(
        default=(), description="further aliases that operators may change by hand; no gate asks for them"
    )
    notices: Annotated[tuple[Notice, ...], Listed(at_most=20)] = Field(
        default=(), description="whom to tell of what, in chats and by webhooks"
    )
    api: Api = Field(default_factory=Api, description="who may call the API besides API tokens")
    dashboard: bool = Field(default=True, description="whether there are pages for people at /")
    databricks: Databricks = Field(
        default_factory=Databricks, description="what of the workspace is used besides its jobs and models"
    )

    @property
    def on_unity_catalog(self) -> bool:
        """Whether the registry is Unity Catalog, where names are the same in upper and lower case."""
        return self.registry == UNITY_CATALOG

    @property
    def entries(self) -> Entries:
        """What the gates and aliases have to do with each other."""
        return Entries(self.gates, self.aliases, self.on_unity_catalog)

    @property
    def tops(self) -> dict[str, Server]:
        """The servers at the top of the file: vendor -> server."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in found.items() if isinstance(value, Server)}

    @property
    def servers(self) -> dict[str, Server]:
        """The servers that gates use: key of the ApprovalProvider (`github`, `github:<host[:port]>`, ...) -> server."""
        places = [gate.approval.place for gate in self.gates]
        tops = [self.tops[place.server_kind()] for place in places]
        return {place.provider(top): place.server(top) for place, top in zip(places, tops, strict=True)}

    @property
    def _signing(self) -> dict[str, Server]:
        """Those of the servers on which CI jobs wait for people, by what their issuer is told by."""
        places = [gate.approval.place for gate in self.gates if gate.approval.place.starts_jobs]
        keys = {place.provider(self.tops[place.server_kind()]) for place in places}
        return {key: server for key, server in self.servers.items() if key in keys}

    def settled(self) -> Gates:
        """With what only the whole file tells: which server a gate asks, and that Unity Catalog folds models' case."""
        entries = self.entries
        gates = tuple(
            gate.model_copy(
                update={
                    "model": entries.checked(gate.model),
                    "promote_to": gate.promote_to
                    and gate.promote_to.model_copy(update={"model": entries.checked(gate.promote_to.model)}),
                    "approval": ApprovalTarget(
                        gate.approval.place.provider(self.tops[gate.approval.place.server_kind()]),
                        gate.approval.place,
                    ),
                }
            )
            for gate in self.gates
        )
        aliases = tuple(
            each.model_copy(update={"model": entries.checked(each.model)}) for each in self.aliases
        )
        return self.model_copy(update={"gates": gates, "aliases": aliases})

    @property
    def needs_databricks(self) -> bool:
        """Whether any part of it is about a Databricks workspace; where none is, the service calls none."""
        entries: list[Gate | FurtherAlias] = [*self.gates, *self.aliases]
        return self.on_unity_catalog or any(
            bool(each.after) or (isinstance(each, Gate) and bool(each.jobs or each.validation))
            for each in entries
        )

    def problems(self) -> Iterator[str]:
        """See Strict."""
        yield from self.entries.problems()
        for kind, top in self.tops.items():
            places = {
                index: gate.approval.place
                for index, gate in enumerate(self.gates)
                if gate.approval.place.server_kind() == kind
            }
            for line in top.clashes(places):
                yield f"gates{line}"
        yield from self._shared_issuers()
        if self.databricks.warehouse is not None and not self.on_unity_catalog:
            yield (
                f"databricks.warehouse: found {self.databricks.warehouse!r}; expected none, as an MLflow registry does not record "
                "who moves aliases"
            )
        yield from self._notice_problems()
        if self.api.oidc is not None:
            yield from self._issuer_of_jobs(self.api.oidc.issuer)

    def _notice_problems(self) -> Iterator[str]:
        names = [gate.name for gate in self.gates]
        for index, notice in enumerate(self.notices):
            path = f"notices[{index}]"
            if (first := [each.name for each in self.notices].index(notice.name)) != index:
                yield f"{path}.name: found {notice.name!r}, as in notices[{first}]; expected a name of its own"
            for number, name in enumerate(notice.gates or ()):
                if name not in names:
                    yield f"{path}.gates[{number}]: found {name!r}; expected the name of a gate: {', '.join(names[:20])}"
            if (lacking := extra_problem(path, notice)) is not None:
                yield lacking

    def _shared_issuers(self) -> Iterator[str]:
        """An issuer speaks for one system only: else one could sign for the jobs of another."""
        seen: dict[str, str] = {}
        for key, server in self._signing.items():
            first = seen.setdefault(web_address(server.issuer), key)
            if first != key:
                yield f"{server.kind}.oidc.issuer: {server.issuer} would sign for {first} and for {key}; expected an issuer of its own for each"

    def _issuer_of_jobs(self, issuer: str) -> Iterator[str]:
        """Whoever can start a CI job there can have it ask for a token with any audience."""
        address = web_address(issuer).casefold()
        public = [top.title for top in self.tops.values() if top.signs_publicly(host_of(address))]
        # Those at the top count whether or not a gate uses them.
        known = {**self.tops, **self.servers}
        signing = {server.issuer: key for key, server in known.items() if server.signs_at(address)}
        for system in public or [
            known[key].title if known[key] in self.tops.values() else key for key in signing.values()
        ]:
            yield (
                f"api.oidc.issuer: found {issuer}, which signs for the CI jobs of {system}; expected an issuer that signs for people "
                "alone, else a CI job could become an operator"
            )


@cache
def gates_form(vendors: tuple[Vendor, ...]) -> type[Gates]:
    """The model of the whole file, with the keys of these vendors."""
    places: dict[str, Any] = {each.kind: _optional(each.place) for each in vendors}
    choice = {"oneOf": [{"required": [each.kind]} for each in vendors]}
    approval = create_model(
        "ApprovalEntry",
        __base__=_Approval,
        __doc__="Who approves where: one key of these.",
        __cls_kwargs__={"json_schema_extra": choice},
        **places,
    )
    target = Annotated[ApprovalTarget, _OneVendor(approval)]
    kinds = " or ".join(each.kind for each in vendors)
    gate = create_model(
        "GateEntry",
        __base__=Gate,
        __doc__=Gate.__doc__,
        approval=(target, Field(description=f"who approves where; has one key, {kinds}")),
    )
    tops: dict[str, Any] = {
        each.server.kind: (each.server, Field(default_factory=each.server, description=each.server.title))
        for each in vendors
    }
    gates = Annotated[tuple[gate, ...], Listed(1, 1000)]  # type: ignore[valid-type] # made here
    bases: Any = (Gates, create_model("Tops", __base__=_Registry, **tops))  # in the order of the keys
    whole: type[Gates] = create_model(
        "GatesEntry",
        __base__=bases,
        __doc__="gates.yaml of champion-gate.",
        gates=(gates, Field(description="the gates")),
    )
    return whole


def _optional(place: type[Place]) -> tuple[Any, Any]:
    """A key that may be left out, and has something below it where it is written."""
    field = Field(
        default=None,
        description=f"the place in {place.title} where people approve",
        json_schema_extra=values.never_null_in_schema,
    )
    return Annotated[place | None, values.NEVER_NULL], field
