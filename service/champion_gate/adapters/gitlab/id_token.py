"""What the ID token of a job that somebody played at GitLab must say.

Claims: docs.gitlab.com, "OpenID Connect (OIDC) authentication using ID tokens"; lib/gitlab/ci/jwt.rb and
jwt_v2.rb. `sub` is never looked at: every project may customise it.
"""

from __future__ import annotations

from champion_gate.adapters.oidc.ci_jobs import (
    ClaimsTable,
    JobIdentity,
    is_pin,
    is_ref_path,
    is_request,
    is_word,
    pin,
)
from champion_gate.adapters.oidc.tokens import SignedClaims
from champion_gate.domain.names import VENDOR_ID
from champion_gate.domain.promotion import Promotion

_MAY_DECIDE = frozenset({"maintainer", "owner"})


def _is_protected(value: str, _claims: SignedClaims, promotion: Promotion) -> bool:
    """Constantly "false" where GitLab has no protected environments: accepted only if the gate says so."""
    if pin(promotion, "protection") == "branch":
        return value in {"true", "false"}
    return value == "true"


def _is_someone_who_may_play(value: str, claims: SignedClaims, promotion: Promotion) -> bool:
    """Not our own account. With a protected branch only: among `approvers`, or a Maintainer.

    Who it must not be besides, since they trained the version, is judged from the API.
    """
    bot = pin(promotion, "bot_id")
    if not VENDOR_ID.fullmatch(value) or bot is None or value == bot:
        return False
    if pin(promotion, "protection") != "branch":
        return True
    approvers = [one for one in (pin(promotion, "approvers") or "").split(",") if one]
    return value in approvers if approvers else claims.get("user_access_level") in _MAY_DECIDE


def _is_number(value: str, _claims: SignedClaims, _promotion: Promotion) -> bool:
    return VENDOR_ID.fullmatch(value) is not None


def _identity(claims: SignedClaims, _promotion: Promotion) -> JobIdentity:
    return JobIdentity(
        run_id=claims["pipeline_id"],
        job_id=claims["job_id"],
        attempt=1,
        # One job, which starts only when the people of all the seats have let it.
        seat=None,
        user_id=claims["user_id"],
    )


TABLE = ClaimsTable(
    identity=_identity,
    checked={
        "project_id": is_pin("project_id"),
        "namespace_id": is_pin("namespace_id"),
        "pipeline_source": is_pin("source"),
        "job_id": _is_number,
        "ref": is_pin("ref"),
        "ref_type": is_word("branch"),
        "ref_path": is_ref_path,
        "ref_protected": is_word("true"),
        "ci_config_ref_uri": is_pin("ci_config_ref_uri"),
        "environment": is_pin("environment"),
        "environment_protected": _is_protected,
        "user_id": _is_someone_who_may_play,
    },
    runs={"pipeline_id": is_request},
    demanded=frozenset({"sha"}),
    optional={
        # In a merge request from a fork the claims above are the fork's, and these say where the job ran.
        "job_project_id": is_pin("project_id"),
        "job_namespace_id": is_pin("namespace_id"),
        # Other actions make no deployment, and so no approval of one is asked for.
        "environment_action": is_word("start"),
    },
    unchecked=frozenset(
        {
            "sub",
            "ci_config_sha",
            "deployment_tier",
            "groups_direct",
            "job_namespace_path",
            "job_project_path",
            "job_source",
            "namespace_path",
            "project_path",
            "project_visibility",
            "runner_environment",
            "runner_id",
            "target_audience",
            "user_access_level",
            "user_email",
            "user_identities",
            "user_login",
        }
    ),
)
