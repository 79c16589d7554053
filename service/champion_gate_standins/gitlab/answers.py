"""The JSON that the GitLab stand-in answers, as GitLab's own API description and lib/api/entities have it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from champion_gate_standins.gitlab.groups import Group
from champion_gate_standins.gitlab.pipelines import Pipelines, approvals_for
from champion_gate_standins.gitlab.state import (
    ROLES,
    Access,
    AccessToken,
    Approval,
    ApprovalRule,
    Deployment,
    Environment,
    Job,
    Pipeline,
    Project,
    ProtectedBranch,
    ProtectedEnvironment,
    Trigger,
    User,
)

Json = dict[str, Any]


def stamp(at: datetime) -> str:
    """A time as GitLab writes it: milliseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _maybe(at: datetime | None) -> str | None:
    return stamp(at) if at else None


def user(base: str, account: User) -> Json:
    """`API::Entities::UserBasic`."""
    return {
        "id": account.id,
        "username": account.username,
        "public_email": "",
        "name": account.name,
        "state": account.state,
        "locked": False,
        "avatar_url": None,
        "web_url": f"{base}/{account.username}",
    }


def full_user(base: str, account: User) -> Json:
    """`API::Entities::User`; the only form that says who is a bot."""
    texts = ("bio", "location", "linkedin", "twitter", "discord", "website_url", "github", "job_title")
    return user(base, account) | {
        "created_at": stamp(account.created_at),
        **dict.fromkeys(texts, ""),
        "pronouns": None,
        "organization": "",
        "bot": account.bot,
        "work_information": None,
        "local_time": None,
    }


def member(base: str, account: User, level: int) -> Json:
    """`API::Entities::Member`."""
    return user(base, account) | {
        "access_level": level,
        "created_at": stamp(account.created_at),
        "expires_at": None,
        "membership_state": "active",
    }


def project(base: str, one: Project) -> Json:
    """`API::Entities::Project`, the fields that anybody here has a use for."""
    namespace, _, name = one.path.rpartition("/")
    url = f"{base}/{one.path}"
    return {
        "id": one.id,
        "description": None,
        "name": name,
        "name_with_namespace": one.path.replace("/", " / "),
        "path": name,
        "path_with_namespace": one.path,
        "created_at": stamp(one.created_at),
        "default_branch": one.default_branch,
        "web_url": url,
        "http_url_to_repo": f"{url}.git",
        "namespace": {
            "id": one.namespace_id,
            "name": namespace,
            "path": namespace.rpartition("/")[2],
            "kind": "group",
            "full_path": namespace,
            "parent_id": None,
            "web_url": f"{base}/groups/{namespace}",
        },
        "visibility": one.visibility,
        "shared_with_groups": [
            {
                "group_id": shared.id,
                "group_name": shared.path.rpartition("/")[2],
                "group_full_path": shared.path,
                "group_access_level": level,
                "expires_at": None,
            }
            for shared, level in one.shared_with.items()
        ],
        "archived": False,
        "ci_config_path": None,
        "ci_pipeline_variables_minimum_override_role": "no_one_allowed",
        "restrict_user_defined_variables": True,
        **({} if one.tier == "free" else {"allow_pipeline_trigger_approve_deployment": False}),
        **one.settings,
    }


def group(base: str, one: Group) -> Json:
    """`API::Entities::Group`, the fields that anybody here has a use for."""
    name = one.path.rpartition("/")[2]
    return {
        "id": one.id,
        "name": name,
        "path": name,
        "full_name": one.path.replace("/", " / "),
        "full_path": one.path,
        "parent_id": one.parent.id if one.parent else None,
        "visibility": one.visibility,
        "web_url": f"{base}/groups/{one.path}",
    }


def access(one: Access) -> Json:
    """An access level of a protected branch or environment.

    An entry for a person, a group or a key may hold a level too, which then means nothing.
    """
    if one.custom_role is not None:
        told: Json = {"access_level": one.custom_role.base, "access_level_description": "Custom role"}
    elif one.deploy_key is not None:
        told = {"access_level": 40, "access_level_description": one.deploy_key.title}
    elif one.group is not None:
        told = {"access_level": 40, "access_level_description": one.group.path.rpartition("/")[2]}
    else:
        told = {
            "access_level": one.level,
            "access_level_description": one.user.name if one.user else ROLES.get(one.level or 0, "No one"),
        }
    return {
        "id": one.id,
        **told,
        "user_id": one.user.id if one.user else None,
        "group_id": one.group.id if one.group else None,
        **({"member_role_id": one.custom_role.id} if one.custom_role else {}),
        **one.more,
    }


def protected_branch(one: ProtectedBranch) -> Json:
    """`API::Entities::ProtectedBranch`."""
    return {
        "id": one.id,
        "name": one.name,
        "push_access_levels": [
            access(each) | {"deploy_key_id": each.deploy_key.id if each.deploy_key else None}
            for each in one.push
        ],
        "merge_access_levels": [access(each) for each in one.merge],
        "allow_force_push": False,
        "unprotect_access_levels": [access(each) for each in one.unprotect],
        "code_owner_approval_required": False,
        "inherited": False,
    }


def protected_environment(one: ProtectedEnvironment) -> Json:
    """As docs.gitlab.com, "Protected environments API", shows it."""
    return {
        "name": one.name,
        "deploy_access_levels": [
            access(each) | {"group_inheritance_type": int(each.inherits)} for each in one.deploy_access_levels
        ],
        "required_approval_count": 0,
        "approval_rules": [_rule(each) for each in one.approval_rules],
    }


def _rule(one: ApprovalRule) -> Json:
    return access(one.access) | {
        "required_approvals": one.required_approvals,
        "group_inheritance_type": int(one.access.inherits),
    }


def trigger(base: str, one: Trigger, *, whole: bool) -> Json:
    """`API::Entities::Trigger`; only its owner sees the whole token."""
    return {
        "id": one.id,
        "token": one.token if whole else one.token[:4],
        "description": one.description,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.created_at),
        "last_used": None,
        "expires_at": None,
        "owner": user(base, one.owner),
    }


def access_token(one: AccessToken) -> Json:
    """`API::Entities::PersonalAccessToken`."""
    return {
        "id": one.id,
        "name": one.name,
        "revoked": one.revoked,
        "created_at": stamp(one.created_at),
        "description": None,
        "scopes": list(one.scopes),
        "user_id": one.user.id,
        "last_used_at": None,
        "active": not one.revoked,
        "expires_at": one.expires_at.date().isoformat() if one.expires_at else None,
    }


def basic_pipeline(base: str, one: Pipeline) -> Json:
    """`API::Entities::Ci::PipelineBasic`."""
    return {
        "id": one.id,
        "iid": one.iid,
        "project_id": one.project.id,
        "sha": one.sha,
        "ref": one.ref,
        "status": one.status,
        "source": one.source,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "web_url": f"{base}/{one.project.path}/-/pipelines/{one.id}",
    }


def listed_pipeline(base: str, one: Pipeline) -> Json:
    """`API::Entities::Ci::PipelineBasicWithMetadata`."""
    return basic_pipeline(base, one) | {"name": one.name or None}


def pipeline(base: str, one: Pipeline) -> Json:
    """`API::Entities::Ci::PipelineWithMetadata`."""
    status = one.status
    ended = status in {"success", "failed", "canceled", "skipped"}
    label = {"success": "passed", "manual": "blocked"}.get(status, status)
    return listed_pipeline(base, one) | {
        "before_sha": "0" * 40,
        "tag": False,
        "yaml_errors": None,
        "user": user(base, one.user),
        "started_at": stamp(one.created_at),
        "finished_at": stamp(one.updated_at) if ended else None,
        "committed_at": None,
        "duration": None,
        "queued_duration": None,
        "coverage": None,
        "detailed_status": {
            "icon": f"status_{status}",
            "text": label.title(),
            "label": label,
            "group": status,
            "tooltip": label,
            "has_details": True,
            "details_path": f"/{one.project.path}/-/pipelines/{one.id}",
            "illustration": None,
            "favicon": f"{base}/assets/ci_favicons/favicon_status_{status}.png",
        },
    }


def job(base: str, one: Job) -> Json:
    """`API::Entities::Ci::Job`."""
    running = (one.finished_at or one.started_at) if one.started_at else None
    duration = (running - one.started_at).total_seconds() if running and one.started_at else None
    place = one.pipeline.project
    return {
        "id": one.id,
        "status": one.status,
        "stage": "present" if one.name == "present" else "approve",
        "name": one.name,
        "ref": one.pipeline.ref,
        "tag": False,
        "coverage": None,
        "allow_failure": one.allow_failure,
        "created_at": stamp(one.created_at),
        "started_at": _maybe(one.started_at),
        "finished_at": _maybe(one.finished_at),
        "erased_at": None,
        "duration": duration,
        "queued_duration": None,
        "user": full_user(base, one.user),
        "commit": _commit(base, one),
        "pipeline": basic_pipeline(base, one.pipeline),
        "failure_reason": one.failure_reason,
        "web_url": f"{base}/{place.path}/-/jobs/{one.id}",
        "project": {"ci_job_token_scope_enabled": False},
        "artifacts": [],
        "runner": None,
        "runner_manager": None,
        "artifacts_expire_at": None,
        "archived": one.archived,
        "tag_list": [],
    }


def _commit(base: str, one: Job) -> Json:
    at, sha, place = stamp(one.pipeline.created_at), one.pipeline.sha, one.pipeline.project
    person = {"name": "A. Author", "email": "author@example.com"}
    return {
        "id": sha,
        "short_id": sha[:8],
        "created_at": at,
        "parent_ids": [],
        "title": "Add champion-gate",
        "message": "Add champion-gate",
        **{f"{role}_{key}": value for role in ("author", "committer") for key, value in person.items()},
        "authored_date": at,
        "committed_date": at,
        "trailers": {},
        "extended_trailers": {},
        "web_url": f"{base}/{place.path}/-/commit/{sha}",
    }


def environment(one: Environment) -> Json:
    """`API::Entities::EnvironmentBasic`."""
    return {
        "id": one.id,
        "name": one.name,
        "slug": one.slug,
        "external_url": None,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.created_at),
    }


def listed_deployment(base: str, one: Deployment) -> Json:
    """`API::Entities::Deployment`."""
    return {
        "id": one.id,
        "iid": one.iid,
        "ref": one.job.pipeline.ref,
        "sha": one.job.pipeline.sha,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "user": user(base, one.user),
        "environment": environment(one.environment),
        "deployable": job(base, one.job),
        "status": one.status,
    }


def deployment(base: str, pipelines: Pipelines, one: Deployment) -> Json:
    """`API::Entities::DeploymentExtended`; the approvals exist where the tier has them."""
    plain = listed_deployment(base, one)
    if one.job.pipeline.project.tier == "free":
        return plain
    rules = [
        _rule(rule) | {"deployment_approvals": [approval(base, each) for each in _said_of(one, rule)]}
        for rule in pipelines.rules(one.job)
    ]
    return plain | {
        "pending_approval_count": pipelines.pending_approvals(one),
        "approvals": [approval(base, each) for each in one.approvals if pipelines.shows_approvals],
        "approval_summary": {"rules": rules},
    }


def _said_of(one: Deployment, rule: ApprovalRule) -> list[Approval]:
    rejected = [each for each in one.approvals if each.rule is rule and each.status != "approved"]
    return [*approvals_for(one, rule), *rejected]


def approval(base: str, one: Approval) -> Json:
    """`API::Entities::Deployments::Approval`."""
    return {
        "user": user(base, one.user),
        "status": one.status,
        "created_at": stamp(one.created_at),
        "comment": one.comment,
    }
