"""What the ID token of a job that GitHub's reviewers released must say.

Claims: docs.github.com, "OpenID Connect reference"; all of them are texts. `sub` is never looked at: any
organization may customise it, and its form has changed.
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
    place,
)
from champion_gate.adapters.oidc.tokens import SignedClaims
from champion_gate.domain.promotion import Promotion


def _is_workflow(value: str, _claims: SignedClaims, promotion: Promotion) -> bool:
    """`OWNER/REPOSITORY/PATH@refs/heads/BRANCH`; GitHub does not tell upper from lower case in the first two.

    Wanted of both workflow_ref and job_workflow_ref, which differ for a reusable workflow.
    """
    repository, path, ref = (
        place(promotion, "repository"),
        pin(promotion, "workflow_path"),
        pin(promotion, "ref"),
    )
    if not repository or not path or not ref:
        return False
    file = f"/{path}@refs/heads/{ref}"
    return value.endswith(file) and value.removesuffix(file).lower() == repository.lower()


def _is_repository(value: str, _claims: SignedClaims, promotion: Promotion) -> bool:
    return value.lower() == (place(promotion, "repository") or "").lower()


def _is_seat(value: str, _claims: SignedClaims, promotion: Promotion) -> bool:
    return _seat(value, promotion) is not None


def _seat(environment: str, promotion: Promotion) -> str | None:
    """The seat that this environment is; GitHub does not tell upper from lower case."""
    seats = promotion.request.seats if promotion.request else ()
    return next((seat for seat in seats if seat.lower() == environment.lower()), None)


def _identity(claims: SignedClaims, promotion: Promotion) -> JobIdentity:
    seat = _seat(claims["environment"], promotion)
    return JobIdentity(
        run_id=claims["run_id"],
        # An older Enterprise Server has no check_run_id; a run has one job for each environment.
        job_id=str(claims.get("check_run_id") or f"{claims['run_id']}/{seat}"),
        attempt=int(claims["run_attempt"]),
        seat=seat,
        user_id=None,
    )


TABLE = ClaimsTable(
    identity=_identity,
    checked={
        "repository_id": is_pin("repository_id"),
        "repository_owner_id": is_pin("owner_id"),
        "repository": _is_repository,
        "event_name": is_word("workflow_dispatch"),
        "ref": is_ref_path,
        "ref_type": is_word("branch"),
        "workflow_ref": _is_workflow,
        "job_workflow_ref": _is_workflow,
        "environment": _is_seat,
        "actor_id": is_pin("bot_id"),
    },
    runs={"run_id": is_request, "run_attempt": is_word("1")},
    demanded=frozenset({"sha"}),
    unchecked=frozenset(
        {
            "sub",
            "actor",
            "base_ref",
            "check_run_id",
            "enterprise",
            "enterprise_id",
            "environment_node_id",
            "head_ref",
            "issuer_scope",
            "job_workflow_sha",
            "ref_protected",
            "repository_owner",
            "repository_visibility",
            "run_number",
            "runner_environment",
            "workflow",
            "workflow_sha",
        }
    ),
)
