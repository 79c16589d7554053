"""The endpoints of the GitHub stand-in for branches and files."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.github import answers, auth, history, pull_answers
from champion_gate_standins.github.accounts import RefusedError
from champion_gate_standins.github.api import json_body, nothing, with_etag
from champion_gate_standins.github.branches import Branches
from champion_gate_standins.github.lists import text_of
from champion_gate_standins.github.repositories import Repository
from champion_gate_standins.github.state import State


class GitApi:
    """The endpoints, over the state."""

    def __init__(self, state: State, branches: Branches) -> None:
        self._state = state
        self._branches = branches
        self.blueprint = Blueprint("git", __name__)
        self.blueprint.after_request(with_etag)
        repo = "/repos/<owner>/<name>"
        for method, rule, view in (
            ("GET", f"{repo}/git/ref/heads/<path:branch>", self.get_branch),
            ("GET", f"{repo}/git/matching-refs/heads/<path:beginning>", self.list_branches),
            ("POST", f"{repo}/git/refs", self.add_branch),
            ("DELETE", f"{repo}/git/refs/heads/<path:branch>", self.delete_branch),
            ("GET", f"{repo}/contents", self.get_content),
            ("GET", f"{repo}/contents/<path:path>", self.get_content),
            ("PUT", f"{repo}/contents/<path:path>", self.put_content),
            ("GET", f"{repo}/compare/<path:ends>", self.compare),
        ):
            self.blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    def get_branch(self, owner: str, name: str, branch: str) -> Response:
        """`GET …/git/ref/{ref}`, of branches."""
        _, repository = auth.enter(self._state, f"{owner}/{name}", "contents", public=True)
        if branch not in repository.branches:
            raise RefusedError(404, "Not Found")
        return jsonify(self._ref(repository, branch))

    def list_branches(self, owner: str, name: str, beginning: str) -> Response:
        """`GET …/git/matching-refs/{ref}`: branches that begin so, in the order of their names."""
        _, repository = auth.enter(self._state, f"{owner}/{name}", "contents", public=True)
        found = [one for one in sorted(repository.branches) if one.startswith(beginning)]
        return jsonify([self._ref(repository, one) for one in found])

    def add_branch(self, owner: str, name: str) -> tuple[Response, int]:
        """`POST …/git/refs`, of branches, at any commit of the repository."""
        caller, repository = auth.enter(self._state, f"{owner}/{name}", "contents", level="write")
        body = json_body()
        kind, _, branch = text_of(body, "ref").removeprefix("refs/").partition("/")
        if kind != "heads" or not branch:
            raise RefusedError(422, "Reference name must start with 'refs/' and have at least two slashes.")
        self._branches.create(repository, branch, text_of(body, "sha"), caller.user)
        return jsonify(self._ref(repository, branch)), 201

    def delete_branch(self, owner: str, name: str, branch: str) -> Response:
        """`DELETE …/git/refs/{ref}`, of branches; what is open of it is closed."""
        caller, repository = auth.enter(self._state, f"{owner}/{name}", "contents", level="write")
        self._branches.delete(repository, branch, caller.user)
        return nothing(204)

    def _ref(self, repository: Repository, branch: str) -> dict[str, Any]:
        url = f"{self._state.base_url}/repos/{repository.full_name}/git"
        sha = repository.branches[branch]
        return {
            "ref": f"refs/heads/{branch}",
            "node_id": answers.node_id("Ref", repository.id),
            "url": f"{url}/refs/heads/{quote(branch)}",
            "object": {"type": "commit", "sha": sha, "url": f"{url}/commits/{sha}"},
        }

    # --- files -------------------------------------------------------------------------------------------------

    def get_content(self, owner: str, name: str, path: str = "") -> Response:
        """`GET …/contents/{path}` of a file or a folder, the uppermost without a path, at a branch or a commit."""
        _, repository = auth.enter(self._state, f"{owner}/{name}", "contents", public=True)
        ref = request.args.get("ref", repository.default_branch).removeprefix("refs/heads/")
        base, files = self._state.base_url, self._files(repository, ref)
        if path in files:
            return jsonify(answers.content(base, repository, ref, path, files[path]))
        within = f"{path.rstrip('/')}/" if path else ""
        if not any(one.startswith(within) for one in files):
            raise RefusedError(404, "Not Found")
        names = sorted(
            {one.removeprefix(within).partition("/")[0] for one in files if one.startswith(within)}
        )
        return jsonify([self._entry(repository, ref, within + one, files.get(within + one)) for one in names])

    def _files(self, repository: Repository, ref: str) -> dict[str, str]:
        if ref in repository.branches:
            return repository.files.get(ref, {})
        if ref not in {*repository.commits, *repository.branches.values()}:
            raise RefusedError(404, f"No commit found for the ref {ref}")
        return dict(history.commit_of(repository, ref).files)

    def _entry(self, repository: Repository, ref: str, path: str, text: str | None) -> dict[str, Any]:
        told = answers.content(self._state.base_url, repository, ref, path, text or "")
        del told["content"], told["encoding"]
        return told if text is not None else told | {"type": "dir", "size": 0, "download_url": None}

    def put_content(self, owner: str, name: str, path: str) -> tuple[Response, int]:
        """`PUT …/contents/{path}`: a commit on a branch that no rule protects."""
        caller, repository = auth.enter(self._state, f"{owner}/{name}", "contents", level="write")
        body = json_body()
        if path.startswith(".github/workflows/"):
            auth.require(caller, "workflows", "write")
        branch = body.get("branch", repository.default_branch)
        if branch not in repository.branches:
            raise RefusedError(404, f"Branch {branch} not found")
        if {"pull_request", "update"} & repository.branch_rules.get(branch, {}).keys():
            raise RefusedError(
                409, "Repository rule violations found\n\nChanges must be made through a pull request."
            )
        there = repository.files.setdefault(branch, {}).get(path)
        before = None if there is None else answers.blob_sha(there)
        if before is not None and "sha" not in body:
            raise RefusedError(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
        if body.get("sha") != before:
            raise RefusedError(409, f"{path} does not match {body.get('sha')}")
        try:
            text = base64.b64decode(text_of(body, "content"), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise RefusedError(422, "content is not valid Base64") from None
        message = text_of(body, "message")
        made = self._branches.write(repository, branch, {path: text}, message, caller.user)
        told = self._entry(repository, branch, path, text)
        commit = pull_answers.commit(self._state.base_url, repository, made)
        return jsonify({"content": told, "commit": commit}), 200 if before else 201

    # --- comparing ---------------------------------------------------------------------------------------------

    def compare(self, owner: str, name: str, ends: str) -> Response:
        """`GET …/compare/{basehead}`, of branches and commits."""
        _, repository = auth.enter(self._state, f"{owner}/{name}", "contents", public=True)
        left, dots, right = ends.partition("...")
        shas = [repository.branches.get(one.rpartition(":")[2], one) for one in (left, right)]
        if not dots or not {*shas} <= {*repository.commits, *repository.branches.values()}:
            raise RefusedError(404, "Not Found")
        return jsonify(pull_answers.comparison(self._state.base_url, repository, ends, *shas))
