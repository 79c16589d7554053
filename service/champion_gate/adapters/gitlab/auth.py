"""Credentials for GitLab, and the account that acts when we use them."""

from __future__ import annotations

from datetime import datetime

from champion_gate.adapters.gitlab.api import ProjectApi, Tokens
from champion_gate.adapters.gitlab.models import Trigger
from champion_gate.adapters.gitlab.secrets import GitLabTokens
from champion_gate.adapters.http.auth import HeaderTokens, looks_like_a_token
from champion_gate.domain.gates import Account
from champion_gate.domain.ports.approval import Person
from champion_gate.errors import ConfigurationError, VendorRefusedError

_SHORTENED = 4  # characters that GitLab tells of others' trigger tokens


def tokens_of(credentials: GitLabTokens, previous: GitLabTokens | None) -> Tokens:
    """The credentials, ready to be sent. Nothing is called.

    Args:
        credentials: what to use.
        previous: access tokens to use where GitLab refuses the current ones, while they are being replaced.
            A trigger token needs no twin: the old one stays valid until somebody deletes it.

    Raises:
        ConfigurationError: they cannot be used.
    """
    given = [credentials, *([previous] if previous else [])]
    known = [token for each in given for token in (each.read_token, each.trigger_token, each.api_token)]
    problems = []
    if any(token is not None and not looks_like_a_token(token) for token in known):
        problems.append("GitLab: a token is empty or holds characters that no token has")
    if credentials.trigger_token is None and credentials.api_token is None:
        problems.append("GitLab: neither a trigger token nor an api token can start pipelines")
    if problems:
        raise ConfigurationError(problems)
    api = [each.api_token for each in given if each.api_token is not None]
    return Tokens(
        trigger=credentials.trigger_token,
        api=HeaderTokens("PRIVATE-TOKEN", api) if api else None,
        read=HeaderTokens("PRIVATE-TOKEN", [each.read_token for each in given]),
    )


def own_account(api: ProjectApi, now: datetime) -> Person:
    """The account that GitLab names as the user of the pipelines that we start: nobody else's are believed.

    With an api token it is the token's own account. A trigger token acts as its owner, whom only the
    project's list of trigger tokens tells (docs.gitlab.com, "Pipeline trigger tokens API"); where that
    cannot be read, the gate's `bot` says it, and a wrong word there voids every pipeline.

    Raises:
        VendorRefusedError: it cannot be told.
    """
    if api.tokens.trigger is None:
        return api.opener()
    if api.spot.bot:
        return api.account(Account(api.spot.bot))
    try:
        triggers = api.triggers()
    except VendorRefusedError as refused:
        raise _unknown(f"the project's trigger tokens cannot be read ({refused.message})") from refused
    ours = [trigger for trigger in triggers if is_shown_as(api.tokens.trigger, trigger.token)]
    if ours and all(_has_expired(trigger, now) for trigger in ours):
        raise VendorRefusedError("GitLab", "our trigger token has expired.", hint="Make another.")
    if not ours:
        raise VendorRefusedError(
            "GitLab",
            f"our trigger token is none of project {api.spot.project}'s.",
            hint="Make one there for CHAMPION_GATE_GITLAB_TRIGGER_TOKEN (Settings, CI/CD, Pipeline trigger tokens).",
        )
    owners = {Person(owner.id, owner.username) for trigger in ours if (owner := trigger.owner)}
    if len(owners) != 1:
        raise _unknown(f"{len(owners)} people own trigger tokens of the project that may be ours")
    return owners.pop()


def _has_expired(trigger: Trigger, now: datetime) -> bool:
    return trigger.expires_at is not None and trigger.expires_at <= now


def is_shown_as(token: str, shown: str) -> bool:
    """Whether the list may mean our token: whole to its owner, else four characters after its prefix.

    The prefix (`glptt-`, or the instance's own) may hold hyphens, so every place after one will do; which
    token it was matters only through its owner.
    """
    if token == shown:
        return True
    starts = [0, *(at + 1 for at, character in enumerate(token) if character == "-")]
    return len(shown) == _SHORTENED and any(token.startswith(shown, start) for start in starts)


def _unknown(why: str) -> VendorRefusedError:
    return VendorRefusedError(
        "GitLab",
        f"whose trigger token we use cannot be told: {why}.",
        hint="Give the read token's account the role Maintainer, or name the owner as `bot` in gates.yaml.",
    )
