"""What setup sends and reads, sent and read by the vendors' own clients: the stand-ins take both alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import gitlab
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.catalog import PermissionsChange, Privilege
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel
from databricks.sdk.service.jobs import JobSettings, Webhook, WebhookNotifications
from databricks.sdk.service.settings import Config as Where
from databricks.sdk.service.settings import GenericWebhookConfig

from champion_gate_standins.common.server import serve
from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER
from integration.setup_world import MODEL, SERVICE, empty_workspace

pytestmark = pytest.mark.part("rest")
SIGNING = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="


def _client(url: str, token: str) -> WorkspaceClient:
    return WorkspaceClient(config=Config(host=url, token=token, retry_timeout_seconds=1))


def test_databricks_own_client_sets_the_workspace_up() -> None:
    with empty_workspace() as (standin, url, job, admin):
        client = _client(url, admin)
        webhook = GenericWebhookConfig(
            url="https://gate.example.com/hooks/databricks", username="u", password="p"
        )
        made = client.notification_destinations.create(
            display_name="champion-gate", config=Where(generic_webhook=webhook)
        )
        assert made.id
        told = client.notification_destinations.get(made.id).config
        assert told
        assert told.generic_webhook
        assert (told.generic_webhook.password, told.generic_webhook.password_set) == (None, True)
        assert [each.display_name for each in client.notification_destinations.list()] == ["champion-gate"]
        on_success = WebhookNotifications(on_success=[Webhook(id=made.id)])
        client.jobs.update(int(job), new_settings=JobSettings(webhook_notifications=on_success))
        settings = client.jobs.get(int(job)).settings
        assert settings
        assert settings.webhook_notifications
        assert settings.webhook_notifications.on_success == on_success.on_success

        changes = [PermissionsChange(principal=SERVICE, add=[Privilege.EXECUTE])]
        client.grants.update("FUNCTION", MODEL, changes=changes)
        assert standin.grants.granted("FUNCTION", MODEL, SERVICE) == {"EXECUTE"}
        client.registered_models.update(MODEL, owner=SERVICE)
        assert standin.catalog.owner(MODEL) == SERVICE
        access = [
            AccessControlRequest(service_principal_name=SERVICE, permission_level=PermissionLevel.CAN_VIEW)
        ]
        client.permissions.update("jobs", job, access_control_list=access)
        listed = client.permissions.get("jobs", job).access_control_list or []
        assert [each.service_principal_name for each in listed] == [SERVICE]
        (found,) = client.service_principals.list(filter=f'applicationId eq "{SERVICE}"')
        assert found.application_id == SERVICE

        person = _client(url, standin.add_principal("first.last@example.com"))
        with pytest.raises(PermissionDenied):
            person.notification_destinations.create(display_name="x", config=Where(generic_webhook=webhook))


def test_gitlabs_usual_client_sets_a_project_up() -> None:
    there = GitLabStandIn()
    members = {"maria": MAINTAINER, "ann": DEVELOPER}
    made = there.add_project("ml/deploy", tier="premium", members=members, protect_default_branch=False)
    ann = there.add_user("ann")
    with serve(there.app) as url:
        with gitlab.Gitlab(url, private_token=there.add_token("maria", ("api",))) as client:
            project = client.projects.get(made.id)
            project.ci_pipeline_variables_minimum_override_role = "no_one_allowed"
            project.save()
            project.protectedbranches.create(
                {"name": "main", "push_access_level": 40, "merge_access_level": 40}
            )
            levels = {"name": "champion", "deploy_access_levels": [{"user_id": ann}]}
            project.protected_environments.create(levels)
            trigger = project.triggers.create({"description": "champion-gate"})
            assert trigger.token == made.triggers[0].token
            expires = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
            token = project.access_tokens.create(
                {"name": "champion-gate", "scopes": ["read_api"], "access_level": 40, "expires_at": expires}
            )
            assert token.token in there.state.tokens
            hook = project.hooks.create(
                {"url": "https://gate.example.com/hooks/gitlab", "signing_token": SIGNING}
            )
            assert hook.signing_token_present
            hook.job_events = True
            hook.save()
            (listed,) = project.hooks.list()
            assert (listed.job_events, listed.push_events) == (True, True)
        assert there.webhooks.signing_token == SIGNING
        (access,) = made.protected_environments["champion"].deploy_access_levels
        assert access.user
        assert access.user.username == "ann"
    there.close()
