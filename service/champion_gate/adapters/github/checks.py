"""What `champion-gate doctor` looks at where people approve in GitHub's environments: plan, workflow file and variable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from champion_gate.adapters.ci_checks import ADDRESS, CiFile, decoded
from champion_gate.adapters.github import app_checks
from champion_gate.adapters.github.app import site_of, workflow_template
from champion_gate.adapters.github.settings import GitHubServer
from champion_gate.domain.addresses import host_of
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.domain.text import one_line
from champion_gate.domain.vendors import Host
from champion_gate.errors import VendorNotFoundError, VendorRefusedError

if TYPE_CHECKING:
    from champion_gate.adapters.github.api import RepositoryApi
    from champion_gate.adapters.github.provider import GitHub

_PLAN = Check(
    "github.plan",
    "the repository's plan keeps the rules of environments",
    "In private repositories of GitHub Free, Pro and Team, required reviewers are shown and ignored.",
)
_WORKFLOW = Check(
    "github.workflow",
    "the workflow file on the gate's branch does what the shipped one does",
    "It decides what reviewers are shown, which job waits for them, and whether its run is found.",
)
_VARIABLE = Check(
    "github.variable",
    "the variable CHAMPION_GATE_URL is this service's address",
    "The released job calls there, and ends red where nobody answers.",
)
CHECKS = (*app_checks.CHECKS, _PLAN, _WORKFLOW, _VARIABLE)

_SHIPPED = "deploy/github/champion-gate.yml"
_PARTS = (
    *("run-name", "on.workflow_dispatch.inputs", "concurrency", "env", "defaults"),
    *("jobs.present", "jobs.approve"),
)


def checkups(
    provider: GitHub, host: Host, gates: Sequence[Gate], public_url: str | None
) -> Iterator[Checkup]:
    """The checks of one GitHub and the gates that ask there; no call is made yet."""
    there = _There(cast("GitHubServer", host.server), public_url)
    apis = [(gate.name, provider.api(gate.approval)) for gate in gates]
    places = [(name, api.spot) for name, api in apis]
    yield from app_checks.checkups(provider.client, provider.access, host, places, public_url)
    for name, api in apis:
        yield Checkup(_PLAN, partial(there.plan, api), name)
        yield Checkup(_WORKFLOW, partial(there.workflow, api), name)
        yield Checkup(_VARIABLE, partial(there.variable, api), name)


@dataclass(frozen=True)
class _There:
    """One GitHub, as the service uses it."""

    server: GitHubServer
    public_url: str | None

    @property
    def site(self) -> str:
        return site_of(self.server.url)

    def plan(self, api: RepositoryApi) -> Iterator[Finding]:
        repository = api.spot.repository
        if api.repository().private is False:
            yield _PLAN.ok(f"{repository} is public")
        elif host_of(self.server.url) != "api.github.com":
            yield _PLAN.ok(f"{repository} is on GitHub Enterprise")
        else:
            yield _PLAN.not_known(
                f"{repository} is private, and GitHub does not tell us its plan.",
                f"Make sure that {api.spot.owner} is on GitHub Enterprise ({self.site}/organizations/{api.spot.owner}/settings/"
                "billing), make the repository public, or have people approve by review (`approval.github_review`).",
            )

    def workflow(self, api: RepositoryApi) -> Iterator[Finding]:
        spot = api.spot
        where = f"{spot.workflow_path} on {spot.ref} of {spot.repository}"
        try:
            found = api.workflow_file()
        except VendorNotFoundError:
            yield _WORKFLOW.fail(f"there is no {where}.", f"Put {_SHIPPED} there.")
            return
        except VendorRefusedError as refused:
            yield _WORKFLOW.not_known(
                f"{where} cannot be read ({refused.message}).",
                f"Compare it with {_SHIPPED} yourself, or give the App or token the permission Contents: read.",
            )
            return
        parts = {("0", *part.split(".")): ("0", *part.split(".")) for part in _PARTS}
        ours = workflow_template().decode()
        ours = ours.replace("audience=champion-gate", f"audience={self.server.oidc.audience}")
        file = CiFile(where, decoded(found.content, "GitHub"), parts)
        yield file.compared(_WORKFLOW, ours, _SHIPPED)

    def variable(self, api: RepositoryApi) -> Iterator[Finding]:
        page = f"{self.site}/{api.spot.repository}/settings/variables/actions"
        wanted = self.public_url
        remedy = f"Set CHAMPION_GATE_URL to {wanted or 'the address of this service'} at {page}."
        if wanted is None:
            yield _VARIABLE.not_known(f"{ADDRESS} is not set.", f"Set {ADDRESS}. {remedy}")
            return
        try:
            found = api.variable("CHAMPION_GATE_URL")
        except VendorRefusedError as refused:
            yield _VARIABLE.not_known(
                f"the variables of {api.spot.repository} cannot be read ({refused.message}).",
                f"See that CHAMPION_GATE_URL is {wanted} at {page}, or give the App or token the permission Variables: read.",
            )
            return
        if found is None:
            yield _VARIABLE.fail(f"{api.spot.repository} has no variable CHAMPION_GATE_URL.", remedy)
        elif found.rstrip("/") != wanted:
            yield _VARIABLE.fail(f"CHAMPION_GATE_URL is {one_line(found)}.", remedy)
        else:
            yield _VARIABLE.ok(f"CHAMPION_GATE_URL is {wanted}")
