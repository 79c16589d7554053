"""Whether one person alone could change the branch whose workflow decides what reviewers are shown and which job is gated.

docs.github.com, "Available rules for rulesets". Only rulesets are looked at: every credential of ours may read
them (Metadata: read), and they exist wherever required reviewers do; classic branch protection is shown to
administrators alone. Who is on a ruleset's bypass list is not told to us.
"""

from __future__ import annotations

from collections.abc import Iterator

from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.github.models import BranchRule, github
from champion_gate.errors import VendorNotFoundError


def branch_problems(api: RepositoryApi) -> Iterator[str]:
    """What is missing in the rules of the gate's branch, and where to add it.

    Raises:
        VendorRefusedError: the rules are not shown to us.
        VendorUnavailableError: they could not be read.
    """
    page = f"Branch {api.spot.ref} of {api.spot.repository} (Settings, Rules, Rulesets)"
    try:
        rules = api.branch_rules()
    except VendorNotFoundError as missing:
        yield f"{page}: its rules cannot be read ({missing.message})."
        return
    kinds = {rule.type for rule in rules}
    if "update" not in kinds and not any(map(_asks_another, rules)):
        yield (
            f"{page}: whoever may write could change the workflow alone. In an active ruleset turn on `Require a pull "
            "request before merging` with at least one approval, or `Restrict updates`; classic branch protection "
            "is not seen."
        )
    if "deletion" not in kinds:
        yield f"{page}: whoever may write could delete it and make it anew. Turn on `Restrict deletions` in a ruleset."


def _asks_another(rule: BranchRule) -> bool:
    if rule.type != "pull_request":
        return False
    count = rule.parameters.required_approving_review_count if rule.parameters else None
    return github.told(count, "rules.parameters.required_approving_review_count") > 0
