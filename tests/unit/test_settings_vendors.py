"""A further CI/CD system is its own models and one name in the list of vendors: the settings know the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, SecretStr

from champion_gate.bootstrap.vendors import VENDORS
from champion_gate.domain.ports.approval import Vendor
from champion_gate.domain.vendors import Host, Place, Secrets, Server
from champion_gate.errors import ConfigurationError
from champion_gate.settings.explaining import explain
from champion_gate.settings.loading import gates_json_schema, load_gates, load_settings
from settings_environ import PASSWORD
from settings_samples import SMALLEST, changed, written


class ForgeServer(Server):
    kind: ClassVar[str] = "forge"
    title: ClassVar[str] = "Forge"

    url: str = Field(default="https://forge.example.com", description="its address")

    @property
    def issuer(self) -> str:
        return f"{self.url}/jobs"

    @classmethod
    def signs_publicly(cls, host: str) -> bool:
        return host == "forge.example.com"


class ForgePlace(Place):
    kind: ClassVar[str] = "forge"
    title: ClassVar[str] = "Forge"

    room: str = Field(description="where people approve")

    @property
    def seats(self) -> tuple[str, ...]:
        return (self.room,)

    def words(self) -> dict[str, str]:
        return {"room": self.room}

    def problems(self) -> Iterator[str]:
        if self.room == "empty":
            yield "room: found nobody in it"

    def explained(self, server: Server) -> Iterator[str]:
        yield f"Whoever is in {self.room} of {server.url} approves it."


class ForgeSecrets(Secrets):
    forge_token: SecretStr | None = None

    def problems(self, *, used: bool) -> Iterator[str]:
        if used and self.forge_token is None:
            yield "CHAMPION_GATE_FORGE_TOKEN: is missing"

    def hosts(
        self,
        servers: Mapping[str, Server],
        places: Sequence[Place],
        public_url: str | None,
        problems: list[str],
    ) -> Mapping[str, Host]:
        del places, public_url, problems
        return {key: Host(server, self.text("forge_token")) for key, server in servers.items()}


def nothing(*_: object, **__: object) -> Any:
    return None


ALL = (*VENDORS, Vendor(ForgeServer, ForgePlace, ForgeSecrets, nothing, nothing, nothing))
FILE = changed("gates 0 approval", {"forge": {"room": "hall"}})


def test_its_keys_are_read_explained_and_told_to_editors(tmp_path: Path) -> None:
    gates = load_gates(written(tmp_path, FILE), ALL)

    target = gates.gates[0].approval
    assert (target.provider, target.seats, target.words()) == ("forge", ("hall",), {"room": "hall"})
    assert gates.servers == {"forge": ForgeServer()}
    assert "Whoever is in hall of https://forge.example.com approves it." in explain(gates)
    schema = gates_json_schema(ALL)
    assert list(schema["$defs"]["ApprovalEntry"]["properties"]) == [
        "github",
        "github_review",
        "gitlab",
        "forge",
    ]
    assert "forge" in schema["properties"]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("gates 0 approval forge", {}, "gates[0].approval.forge.room: is missing; expected where people"),
        ("gates 0 approval forge room", "empty", "gates[0].approval.forge.room: found nobody in it"),
        (
            "gates 0 approval",
            {},
            "gates[0].approval: found no keys; expected one key, github or github_review or gitlab or fo",
        ),
        (
            "forge",
            {"oidc": {"issuer": "https://github.example.com"}, "room": 1},
            "forge.room: is no key that is known here; known are url, ca_file, oidc",
        ),
        (
            "api",
            {
                "oidc": {
                    "issuer": "https://forge.example.com/x",
                    "audience": "a",
                    "role_claim": "r",
                    "operator": ["o"],
                }
            },
            "api.oidc.issuer: found https://forge.example.com/x, which signs for the CI jobs of Forge;",
        ),
    ],
)
def test_what_is_wrong_with_them_is_told_with_their_path(
    tmp_path: Path, path: str, value: object, says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_gates(written(tmp_path, changed(path, value, FILE)), ALL)

    (problem,) = caught.value.problems
    assert problem.startswith(says)


def test_its_variables_are_known_and_needed_where_a_gate_asks_there(tmp_path: Path) -> None:
    environ = {
        "CHAMPION_GATE_CONFIG": str(written(tmp_path, FILE)),
        "CHAMPION_GATE_DATABRICKS_HOOK_USERNAME": "gate",
        "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD": PASSWORD,
    }

    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, ALL)
    assert caught.value.problems == ["CHAMPION_GATE_FORGE_TOKEN: is missing"]
    settings = load_settings(environ | {"CHAMPION_GATE_FORGE_TOKEN": "geheim"}, ALL)
    assert settings.hosts["forge"].credentials == "geheim"
    written(tmp_path, SMALLEST)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, ALL)
    assert all("GITHUB" in line for line in caught.value.problems)
