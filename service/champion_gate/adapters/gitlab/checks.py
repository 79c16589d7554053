"""What `champion-gate doctor` looks at in GitLab: tokens, webhook and CI/CD file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from champion_gate.adapters.ci_checks import ADDRESS, SEEN_LATER, CiFile, decoded, delivered
from champion_gate.adapters.gitlab.models import AccessToken, Account, gitlab
from champion_gate.adapters.shipped import shipped
from champion_gate.domain.findings import AWAY, Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.domain.names import joined
from champion_gate.domain.text import enumerated, one_line
from champion_gate.domain.vendors import Host
from champion_gate.errors import VendorError, VendorNotFoundError, VendorRefusedError

if TYPE_CHECKING:
    from champion_gate.adapters.gitlab.api import ProjectApi
    from champion_gate.adapters.gitlab.models import Hook
    from champion_gate.adapters.gitlab.provider import GitLab
    from champion_gate.adapters.http.auth import Auth

_TOKENS = Check(
    "gitlab.tokens",
    "GitLab answers, and takes our access tokens, which may do what they need to and no more",
    "Nobody can be asked, and no decision read, without them.",
    cheap=True,
)
_WEBHOOK = Check("gitlab.webhook", "a webhook of the project leads here, and tells of approvals", SEEN_LATER)
_DELIVERIES = Check("gitlab.deliveries", "the project's last webhooks arrived", SEEN_LATER)
_PIPELINE = Check(
    "gitlab.pipeline",
    "the CI/CD file on the gate's branch does what the shipped one does",
    "It decides what reviewers are shown, which job waits for them, and whether its pipeline is found.",
)
CHECKS = (_TOKENS, _WEBHOOK, _DELIVERIES, _PIPELINE)

_EXPIRES_SOON = timedelta(days=14)
_SHIPPED = "gitlab/champion-gate.gitlab-ci.yml"
_PARTS = (
    *("0.spec.inputs", "1.include", "1.variables", "1.workflow", "1.default"),
    *("1.present", "1.approve"),
)


def checkups(
    provider: GitLab, host: Host, gates: Sequence[Gate], public_url: str | None
) -> Iterator[Checkup]:
    """The checks of one GitLab and the gates that ask there; no call is made yet."""
    there = _There(provider, host.server.oidc.audience, public_url)
    yield Checkup(_TOKENS, there.tokens)
    for gate in gates:
        api = provider.api(gate.approval)
        yield Checkup(_WEBHOOK, partial(there.webhook, api), gate.name)
        yield Checkup(_PIPELINE, partial(there.pipeline, api), gate.name)


@dataclass(frozen=True)
class _There:
    """One GitLab, as the service uses it."""

    provider: GitLab
    audience: str
    public_url: str | None

    def tokens(self) -> Iterator[Finding]:
        for name, auth, scope in (
            ("READ", self.provider.tokens.read, "read_api"),
            ("API", self.provider.tokens.api, "api"),
        ):
            if auth is not None:
                yield from self._token(f"CHAMPION_GATE_GITLAB_{name}_TOKEN", auth, scope)

    def _token(self, variable: str, auth: Auth, scope: str) -> Iterator[Finding]:
        client, anew = self.provider.client, f"Make a token with the scope {scope} for {variable}."
        try:
            token = gitlab.one(
                AccessToken, client.get(joined("personal_access_tokens", "self"), auth=auth), "token"
            )
            who = gitlab.one(Account, client.get(joined("user"), auth=auth), "user")
        except VendorError as error:
            remedy = anew if isinstance(error, VendorRefusedError) else error.hint or AWAY
            yield _TOKENS.fail(f"{variable}: {error.message}", remedy)
            return
        if not {scope, "api"} & set(token.scopes):
            found = f"{variable} of {who.username} has the scope {enumerated(token.scopes) or 'of nothing'}."
            yield _TOKENS.fail(found, anew)
            return
        wrong = []
        if more := [each for each in token.scopes if each != scope]:
            wrong.append((f"{variable} may also do {enumerated(more)}, which it does not need.", anew))
        if token.expires_at is not None:
            ends = datetime.fromisoformat(token.expires_at).replace(tzinfo=UTC)
            if ends - self.provider.clock.now() < _EXPIRES_SOON:
                meanwhile = f"{anew} Meanwhile the old one can stand in {variable}_PREVIOUS."
                wrong.append((f"{variable} expires on {ends:%Y-%m-%d}.", meanwhile))
        yield from _TOKENS.warnings(wrong, f"{variable} is of {who.username}")

    def webhook(self, api: ProjectApi) -> Iterator[Finding]:
        page = f"Settings, Webhooks of project {api.spot.project}"
        if self.public_url is None:
            yield _WEBHOOK.not_known(
                f"{ADDRESS} is not set.", f"Set {ADDRESS} to the address of this service."
            )
            return
        wanted = f"{self.public_url}/hooks/gitlab"
        try:
            hook = next((one for one in api.hooks() if one.url.rstrip("/") == wanted), None)
        except VendorRefusedError as refused:
            yield _WEBHOOK.not_known(
                f"the webhooks of project {api.spot.project} cannot be read ({refused.message}).",
                "Give the read token's account the role Maintainer.",
            )
            return
        if hook is None:
            yield _WEBHOOK.warning(
                f"no webhook of project {api.spot.project} leads to {wanted} (its groups' are not shown to us).",
                f"Add it with a signing token and the events Job, Pipeline and Deployment ({page}).",
            )
            return
        told = f"the webhook tells {wanted} of jobs, pipelines and deployments"
        yield from _WEBHOOK.warnings(_hook_problems(hook, wanted, page), told)
        yield from self._deliveries(api, hook, page)

    def _deliveries(self, api: ProjectApi, hook: Hook, page: str) -> Iterator[Finding]:
        try:
            sent = [str(one.response_status) for one in api.hook_events(hook.id)]
        except VendorNotFoundError:
            yield _DELIVERIES.not_known(
                "GitLab tells of them from 17.3 on.", f"See {page}, Edit, Recent events."
            )
            return
        yield from delivered(
            _DELIVERIES,
            "GitLab",
            [int(status) if status.isdecimal() else 0 for status in sent],
            last=one_line(sent[0]) if sent else "",
            page=f"{page}, Edit, Recent events",
            shared="CHAMPION_GATE_GITLAB_SIGNING_TOKEN or CHAMPION_GATE_GITLAB_WEBHOOK_TOKEN",
        )

    def pipeline(self, api: ProjectApi) -> Iterator[Finding]:
        spot = api.spot
        path = api.project().ci_config_path or ".gitlab-ci.yml"
        where = f"{one_line(path)} on {spot.ref} of project {spot.project}"
        if "@" in path or "://" in path:
            yield _PIPELINE.not_known(f"{where} lies outside the project.", "See approval.place.")
            return
        try:
            found = api.file(path)
        except VendorNotFoundError:
            yield _PIPELINE.fail(f"there is no {where}.", f"Put deploy/{_SHIPPED} there.")
            return
        parts = [tuple(part.split(".")) for part in _PARTS]
        mine = {tuple(spot.job if key == "approve" else key for key in part): part for part in parts}
        ours = shipped(_SHIPPED).decode().replace("aud: champion-gate", f"aud: {self.audience}")
        file = CiFile(where, decoded(found.content, "GitLab"), mine)
        yield file.compared(_PIPELINE, ours, f"deploy/{_SHIPPED}")


def _hook_problems(hook: Hook, wanted: str, page: str) -> Iterator[tuple[str, str]]:
    events = {"Job": hook.job_events, "Pipeline": hook.pipeline_events, "Deployment": hook.deployment_events}
    if missing := [name for name, told in events.items() if told is False]:
        yield f"the webhook does not tell of {enumerated(missing)} events.", f"Turn them on ({page}, Edit)."
    if hook.enable_ssl_verification is False:
        found = f"GitLab does not look at the certificate of {wanted}."
        yield found, f"Turn on SSL verification ({page}, Edit)."
    if hook.alert_status not in {None, "executable"}:
        found = f"GitLab has stopped the webhook ({one_line(hook.alert_status or '')}): it failed too often."
        yield found, f"Have it tested there, which starts it again ({page}, Test)."
