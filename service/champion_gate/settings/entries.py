"""The rules between the gates and further aliases of one gates.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from champion_gate.domain.aliases import FurtherAlias
from champion_gate.domain.gates import Gate
from champion_gate.domain.names import check_model
from champion_gate.errors import InvalidNameError


@dataclass(frozen=True)
class Entries:
    """What is gated, and what operators may set besides.

    Attributes:
        on_unity_catalog: whether the registry is Unity Catalog, where names are the same in upper and lower case.
    """

    gates: Sequence[Gate]
    aliases: Sequence[FurtherAlias]
    on_unity_catalog: bool

    def checked(self, model: str) -> str:
        """The model's name as it is written from here on; raises InvalidNameError."""
        return check_model(model, three_level=self.on_unity_catalog)

    def pair(self, entry: Gate | FurtherAlias) -> tuple[str, str]:
        """The alias that is set, or that operators may set."""
        model = entry.destination if isinstance(entry, Gate) else entry.model
        return (model.casefold(), entry.alias.casefold()) if self.on_unity_catalog else (model, entry.alias)

    def is_gated(self, entry: FurtherAlias) -> bool:
        """Whether a gate names this alias too."""
        return self.pair(entry) in {self.pair(gate) for gate in self.gates}

    def problems(self) -> Iterator[str]:
        """What is wrong between them, each with its path in the file and what was expected."""
        named: Sequence[tuple[str, int, Gate | FurtherAlias]] = [
            *(("gates", index, gate) for index, gate in enumerate(self.gates)),
            *(("aliases", index, further) for index, further in enumerate(self.aliases)),
        ]
        for key, index, entry in named:
            try:
                self.checked(entry.model)
            except InvalidNameError as error:
                yield f"{key}[{index}].model: {error}"
        yield from self._copy_problems()
        yield from self._same_names()
        for index, gate in enumerate(self.gates):
            yield from self._trust_problems(index, gate)
        yield from self._same_claims()
        yield from self._same_sources()
        if self.on_unity_catalog:
            yield from self._spellings_of_one_alias()
        yield from self._alias_problems()
        yield from self._after_problems()
        yield from self._challenger_problems()
        yield from self._drift_problems()

    def _same_names(self) -> Iterator[str]:
        seen: dict[str, int] = {}
        for index, gate in enumerate(self.gates):
            first = seen.setdefault(gate.name.casefold(), index)
            if first != index:
                yield f"gates[{index}].name: found {gate.name!r}, as in gates[{first}]; expected a name of its own"

    def _trust_problems(self, index: int, gate: Gate) -> Iterator[str]:
        if gate.watches_registry and not (
            self.on_unity_catalog or gate.trainers or gate.allow_trainer_approval
        ):
            yield (
                f"gates[{index}].trainers: is missing; with source: {gate.source} nothing in an MLflow registry tells who made a version, so "
                "expected the logins of all who may register one (none of them may approve), or allow_trainer_approval: true"
            )
        if gate.version != "trusted_tag":
            return
        if self.on_unity_catalog:
            yield (
                f"gates[{index}].version: found 'trusted_tag', which is for MLflow registries; expected another way, as Unity Catalog records "
                "who created a version"
            )
        if not gate.trainers:
            yield (
                f"gates[{index}].trainers: is missing; with version: trusted_tag nothing tells who trained a version, so expected the logins "
                "of all who may have"
            )

    def _same_claims(self) -> Iterator[str]:
        seen: dict[tuple[int | str, tuple[str, str]], int] = {}
        for index, gate in enumerate(self.gates):
            for job in dict.fromkeys(gate.jobs):
                first = seen.setdefault((job, self.pair(gate)), index)
                if first != index:
                    yield (
                        f"gates[{index}]: job {job!r}, model {gate.destination} and alias {gate.alias} are those of gates[{first}] too; "
                        "expected one gate for a job, model and alias"
                    )

    def _same_sources(self) -> Iterator[str]:
        """What appears in a model has one group of approvers for an alias."""
        seen: dict[tuple[str, tuple[str, str]], int] = {}
        for index, gate in enumerate(self.gates):
            if not gate.watches_registry:
                continue
            model = gate.model.casefold() if self.on_unity_catalog else gate.model
            first = seen.setdefault((model, self.pair(gate)), index)
            if first != index:
                yield (
                    f"gates[{index}].source: found {gate.source.value!r}, and gates[{first}] asks for the same alias about what appears in "
                    f"{gate.model} already; expected one such gate for a model and alias"
                )

    def _spellings_of_one_alias(self) -> Iterator[str]:
        """To Unity Catalog they are one alias; to us each spelling would be an alias with a writer of its own."""
        seen: dict[tuple[str, str], int] = {}
        for index, gate in enumerate(self.gates):
            first = seen.setdefault(self.pair(gate), index)
            spelling, jobs = self.gates[first].alias, self.gates[first].jobs
            if spelling != gate.alias and not set(gate.jobs) & set(jobs):
                yield (
                    f"gates[{index}].alias: found {gate.alias!r}, and {spelling!r} in gates[{first}] for the same model; expected one "
                    "spelling, as Unity Catalog does not tell them apart"
                )

    def _alias_problems(self) -> Iterator[str]:
        gated: dict[tuple[str, str], int] = {}
        for index, gate in enumerate(self.gates):
            gated.setdefault(self.pair(gate), index)
        seen: dict[tuple[str, str], int] = {}
        for index, entry in enumerate(self.aliases):
            first = seen.setdefault(self.pair(entry), index)
            by_gate = gated.get(self.pair(entry))
            named = f"aliases[{first}]" if first != index else f"gates[{by_gate}]"
            if first != index or (by_gate is not None and not entry.after):
                yield (
                    f"aliases[{index}]: found {entry.model}@{entry.alias}, which {named} names already; expected a model and alias "
                    "that no gate and no other entry names"
                )

    def _after_problems(self) -> Iterator[str]:
        """One alias has one list of what follows its moves, and one endpoint follows one alias of a model."""
        entries: list[tuple[str, Gate | FurtherAlias]] = [
            *((f"gates[{index}]", gate) for index, gate in enumerate(self.gates)),
            *((f"aliases[{index}]", entry) for index, entry in enumerate(self.aliases)),
        ]
        of_alias: dict[tuple[str, str], str] = {}
        of_endpoint: dict[tuple[str, str], str] = {}
        for path, entry in entries:
            if entry.after and of_alias.setdefault(self.pair(entry), path) != path:
                yield (
                    f"{path}.after: {of_alias[self.pair(entry)]} says already what follows {entry.model}@{entry.alias}; expected one "
                    "list for an alias: write it under `aliases`"
                )
            for index, each in enumerate(entry.after):
                if each.serving_endpoint is None:
                    continue
                where = f"{path}.after[{index}].serving_endpoint"
                if not self.on_unity_catalog:
                    yield f"{where}: found {each.serving_endpoint}; endpoints serve models of Unity Catalog only"
                served = (each.serving_endpoint, self.pair(entry)[0])
                first = of_endpoint.setdefault(served, where)
                if first != where:
                    yield f"{where}: found {each.serving_endpoint}, as in {first}; expected one entry for an endpoint and model"

    def _drift_problems(self) -> Iterator[str]:
        seen: dict[tuple[str, str], int] = {}
        for index, gate in enumerate(self.gates):
            first = seen.setdefault(self.pair(gate), index)
            if gate.drift is not self.gates[first].drift:
                yield (
                    f"gates[{index}].drift: found '{gate.drift}', and '{self.gates[first].drift}' in gates[{first}] for the same alias; "
                    "expected one of them in both"
                )

    def _challenger_problems(self) -> Iterator[str]:
        """Folded on every registry: databases beneath MLflow may not tell upper from lower case either."""
        named = [
            *((f"gates[{index}]", gate.model, gate.alias) for index, gate in enumerate(self.gates)),
            *((f"gates[{index}]", gate.destination, gate.alias) for index, gate in enumerate(self.gates)),
            *((f"aliases[{index}]", each.model, each.alias) for index, each in enumerate(self.aliases)),
        ]
        live = {(model.casefold(), alias.casefold()): where for where, model, alias in reversed(named)}
        seen: dict[tuple[str, str], tuple[int, str]] = {}
        for index, gate in enumerate(self.gates):
            if gate.challenger is None:
                continue
            pair = gate.model.casefold(), gate.challenger.casefold()
            first, spelling = seen.setdefault(pair, (index, gate.challenger))
            if pair in live:
                yield (
                    f"gates[{index}].challenger: found {gate.challenger!r}, which {live[pair]} names for the same model; expected an "
                    "alias of its own, else a version that nobody has approved would be live"
                )
            elif spelling != gate.challenger:
                yield (
                    f"gates[{index}].challenger: found {gate.challenger!r}, and {spelling!r} in gates[{first}] for the same model; "
                    "expected one spelling"
                )

    def _copy_problems(self) -> Iterator[str]:
        for index, gate in enumerate(self.gates):
            copy, where = gate.promote_to, f"gates[{index}].promote_to"
            if copy is None:
                continue
            try:
                self.checked(copy.model)
            except InvalidNameError as error:
                yield f"{where}.model: {error}"
            if copy.model.casefold() == gate.model.casefold():
                yield f"{where}.model: found {copy.model!r}, the gate's own model; expected another one"
            if self.on_unity_catalog and copy.job is None:
                yield f"{where}.job: is missing; expected the id of the Databricks job that copies"
            if not self.on_unity_catalog and copy.job is not None:
                yield f"{where}.job: found {copy.job}; expected none, as champion-gate itself copies in an MLflow registry"
