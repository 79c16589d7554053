"""Picks the adapters that fulfil the core's ports, and imports those alone that are used: they are slow to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from champion_gate import __version__
from champion_gate.adapters.github import vendor as github
from champion_gate.adapters.github.review import vendor as review
from champion_gate.adapters.gitlab import vendor as gitlab
from champion_gate.adapters.http.deadline import Timed, Timeouts, untimed
from champion_gate.domain.notices import NoticeKind
from champion_gate.domain.ports.approval import Accounts, ApprovalProvider, ProviderHook, Vendor
from champion_gate.domain.ports.notices import NoticeSender
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.ports.workspace import AuditLog, JobRuns, Jobs, Serving
from champion_gate.domain.registry_news import RegistryHook
from champion_gate.domain.together import Together
from champion_gate.domain.values import UNITY_CATALOG
from champion_gate.domain.vendors import kind_of
from champion_gate.errors import VendorRefusedError
from champion_gate.settings.loading import Settings
from champion_gate.settings.notices import Receiver

if TYPE_CHECKING:
    from champion_gate.adapters.notices.hook import Form
    from champion_gate.adapters.oidc.ci_jobs import OidcVerifier
    from champion_gate.adapters.oidc.people import OidcRoles
    from champion_gate.adapters.oidc.sign_in import IssuerSignIn


VENDORS = (github.VENDOR, review.VENDOR, gitlab.VENDOR)
"""The CI/CD systems that there are: a further one is a package like these, and a word here."""

_BY_KIND = {vendor.kind: vendor for vendor in VENDORS}


def vendor_of(provider: str) -> Vendor:
    """The CI/CD system of a provider, such as `github` or `github:ghes.example.com`."""
    return _BY_KIND[kind_of(provider)]


def approval_providers(
    settings: Settings,
    clock: Clock,
    sleep: Callable[[float], None],
    accounts: Accounts,
    together: Together,
    *,
    timed: Timed = untimed,
    timeouts: Timeouts | None = None,
) -> dict[str, ApprovalProvider]:
    """The CI/CD systems that gates name, by their keys."""
    return {
        name: vendor_of(name).provider(
            name,
            host,
            clock=clock,
            sleep=sleep,
            accounts=accounts,
            together=together,
            timed=timed,
            timeouts=timeouts,
            public_url=settings.environment.public_url,
        )
        for name, host in settings.hosts.items()
    }


def notice_senders(settings: Settings, clock: Clock) -> dict[str, NoticeSender]:
    """Where notices are sent, by their names."""
    return {each.notice.name: _sender(each, clock) for each in settings.receivers}


def _sender(receiver: Receiver, clock: Clock) -> NoticeSender:
    from champion_gate.adapters.notices.hook import HookSender

    notice = receiver.notice
    form: Form
    if notice.kind is NoticeKind.SLACK:
        from champion_gate.adapters.notices.slack import Slack

        form = Slack()
    elif notice.kind is NoticeKind.TEAMS:
        from champion_gate.adapters.notices.teams import Teams

        form = Teams(bare_card=notice.bare_card)
    elif notice.kind is NoticeKind.WEBHOOK:
        from champion_gate.adapters.notices.webhook import SignedWebhook

        form = SignedWebhook(receiver.secrets, clock.now)
    else:
        from champion_gate.adapters.notices.by_apprise import AppriseSender

        return AppriseSender(notice.name, receiver.url)
    return HookSender(notice.name, form, receiver.url, private=notice.private)


@dataclass(frozen=True)
class Workspace:
    """What the one Databricks workspace is asked for."""

    job_runs: JobRuns
    jobs: Jobs
    serving: Serving
    audit: AuditLog | None


class _NoWorkspace:
    """Stands for a workspace where none is configured: whatever is asked of it is refused, with no call."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Refuse to do that."""

        def refuse(*_: object, **__: object) -> Any:
            raise VendorRefusedError(
                "Databricks",
                f"no workspace is configured ({name} was asked of it).",
                hint="No gate in gates.yaml has a job; DATABRICKS_* are read only where one does.",
            )

        return refuse


def databricks_and_registry(
    settings: Settings,
    databricks: Mapping[str, str],
    sleep: Callable[[float], None],
    together: Together,
    *,
    timed: Timed = untimed,
    timeouts: Timeouts | None = None,
) -> tuple[Workspace, ModelRegistry]:
    """The workspace and the registry; on Unity Catalog they share a connection."""
    if not settings.uses_databricks:
        nothing: Any = _NoWorkspace()
        registry = registry_of(settings, None, together, timed=timed, timeouts=timeouts)
        return Workspace(nothing, nothing, nothing, None), registry
    from champion_gate.adapters.databricks.audit import DatabricksAudit
    from champion_gate.adapters.databricks.job_runs import DatabricksJobRuns, connect
    from champion_gate.adapters.databricks.jobs import DatabricksJobs
    from champion_gate.adapters.databricks.serving import DatabricksServing

    overrides, warehouse = {**settings.databricks, **databricks}, settings.gates.databricks.warehouse
    connection = connect(
        product_version=__version__,
        config_overrides=overrides,
        sleep=sleep,
        timed=timed,
        timeouts=timeouts,
    )
    workspace = Workspace(
        DatabricksJobRuns(connection, together),
        DatabricksJobs(connection, together),
        DatabricksServing(connection),
        None if warehouse is None else DatabricksAudit(connection, warehouse),
    )
    return workspace, registry_of(settings, connection, together, timed=timed, timeouts=timeouts)


def registry_of(
    settings: Settings,
    connection: Any,
    together: Together,
    *,
    timed: Timed = untimed,
    timeouts: Timeouts | None = None,
) -> ModelRegistry:
    """The registry; on Unity Catalog, and only there, it is called through this connection."""
    if settings.gates.registry == UNITY_CATALOG:
        from champion_gate.adapters.databricks.unity_catalog import UnityCatalog

        return UnityCatalog(connection, together)
    from champion_gate.adapters.mlflow.registry import MlflowRegistry

    return MlflowRegistry(settings.gates.registry, together=together, timed=timed, timeouts=timeouts)


def token_verifier(settings: Settings, clock: Clock) -> OidcVerifier:
    """Who checks the ID tokens of the jobs of every CI/CD system that gates use."""
    from champion_gate.adapters.oidc.ci_jobs import Issuer, OidcVerifier

    issuers = {
        provider: Issuer(
            host.server.issuer,
            host.server.oidc.audience,
            vendor_of(provider).claims(),
            host.server.ca_file,
        )
        for provider, host in settings.hosts.items()
        if vendor_of(provider).place.starts_jobs
    }
    return OidcVerifier(issuers, clock=clock)


def caller_verifier(settings: Settings, clock: Clock) -> OidcRoles | None:
    """Who checks the tokens with which people call the API; None where API tokens alone are taken."""
    if settings.gates.api.oidc is None:
        return None
    from champion_gate.adapters.oidc.jwks import IssuerKeys
    from champion_gate.adapters.oidc.people import OidcRoles

    oidc = settings.gates.api.oidc
    return OidcRoles(oidc, IssuerKeys(oidc.issuer, clock=clock, ca_file=oidc.ca_file), clock)


def registry_hooks(settings: Settings) -> dict[str, RegistryHook]:
    """How webhooks of the registry are checked; none where it sends none, or shares no secret with us."""
    secrets = settings.webhook_secrets
    if not secrets or settings.gates.registry == UNITY_CATALOG:
        return {}
    from champion_gate.adapters.mlflow.webhook import MlflowHook

    return {"mlflow": MlflowHook(secrets)}


def issuer_sign_in(settings: Settings, clock: Clock) -> IssuerSignIn | None:
    """Where people sign in to the dashboard with an account of theirs; None where API tokens alone are taken."""
    oidc, public_url = settings.gates.api.oidc, settings.environment.public_url
    if oidc is None or oidc.client_id is None or public_url is None:
        return None
    from champion_gate.adapters.oidc.jwks import IssuerKeys
    from champion_gate.adapters.oidc.people import CALLBACK, OidcRoles
    from champion_gate.adapters.oidc.sign_in import Client, IssuerSignIn

    secret = settings.environment.oidc_client_secret
    client = Client(
        oidc.issuer,
        oidc.client_id,
        None if secret is None else secret.get_secret_value(),
        oidc.scopes,
        f"{public_url}{CALLBACK}",
        oidc.ca_file,
    )
    # The ID token of a sign-in is for the client that asked for it (OpenID Connect Core, 2).
    of_client = oidc.model_copy(update={"audience": oidc.client_id})
    keys = IssuerKeys(oidc.issuer, clock=clock, ca_file=oidc.ca_file)
    return IssuerSignIn(client, OidcRoles(of_client, keys, clock), clock)


def provider_hooks(settings: Settings, clock: Clock) -> dict[str, ProviderHook]:
    """How webhooks are checked, for each CI/CD system that shares a secret with us."""
    hooks = {
        kind: _BY_KIND[kind].hook(secrets, clock) for kind, secrets in settings.environment.vendors.items()
    }
    return {kind: hook for kind, hook in hooks.items() if hook is not None}
