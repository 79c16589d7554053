"""Calls about one GitLab project, as the person who sets it up; routes and fields are named where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from champion_gate.adapters.gitlab.api import LIMITS, person
from champion_gate.adapters.gitlab.settings import GitLabServer
from champion_gate.adapters.http.auth import HeaderTokens
from champion_gate.adapters.http.client import ApiClient
from champion_gate.domain.names import joined
from champion_gate.domain.ports.approval import Person
from champion_gate.setup.changes import needing

NEEDS = "It takes the role Maintainer in the project, and a token with the scope api: let somebody who has both run this."


class ProjectCalls:
    """Answers come as raw JSON; errors are those of ApiClient, and say what the person lacks.

    Attributes:
        where: the same, in words.
    """

    def __init__(self, server: GitLabServer, token: str, project: int) -> None:
        """Nothing is called yet."""
        self.project = project
        self.where = f"project {project}"
        self._client = ApiClient(
            vendor="GitLab",
            base_url=f"{server.url}/api/v4",
            headers={"Accept": "application/json", "User-Agent": "champion-gate"},
            ca_file=server.ca_file,
            limits=LIMITS,
        )
        self._auth = HeaderTokens("PRIVATE-TOKEN", [token])

    def me(self) -> Person:
        """Whose token it is."""
        return person(self._client.get(joined("user"), auth=self._auth))

    def users(self, login: str) -> list[Person]:
        """Who has this username."""
        listed = self._client.get(joined("users"), auth=self._auth, params={"username": login})
        return [person(each) for each in _objects(listed)]

    def get(self, *parts: str) -> Any:
        """What stands at a path below the project."""
        return self._client.get(self._path(*parts), auth=self._auth)

    def listed(self, *parts: str, **params: str) -> list[dict[str, Any]]:
        """All entries of a list below the project."""
        pages = self._client.get_pages(
            self._path(*parts), auth=self._auth, read=_objects, params={**params, "per_page": "100"}
        )
        return [each for page in pages for each in page]

    def send(self, method: str, *parts: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Change something below the project, once."""
        with needing(NEEDS):
            answer = self._client.send(method, self._path(*parts), auth=self._auth, body=body).json()
        return answer if isinstance(answer, dict) else {}

    def _path(self, *parts: str) -> str:
        return joined("projects", str(self.project), *parts)


def _objects(page: object) -> list[dict[str, Any]]:
    return [each for each in page if isinstance(each, dict)] if isinstance(page, list) else []
