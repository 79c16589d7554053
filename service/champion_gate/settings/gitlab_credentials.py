"""GitLab's secrets: what starts, reads and cancels pipelines, and what its webhooks are checked with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import SecretStr

from champion_gate.settings.credentials import PRINTABLE, present
from champion_gate.settings.environment import PREFIX, Environment

_SIGNING_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)
"""The Standard Webhooks specification's lengths of a symmetric key, in bytes."""
_TRIGGER_PREFIX, _ACCESS_PREFIX = "glptt-", "glpat-"


@dataclass(frozen=True)
class GitLabCredentials:
    """What opens GitLab.

    Attributes:
        read_token: access token with scope read_api; reads everything that decides.
        trigger_token: pipeline trigger token of the one project; can start pipelines and nothing else.
        api_token: access token with scope api; cancels pipelines, and starts them where there is no trigger
            token.
    """

    read_token: SecretStr
    trigger_token: SecretStr | None = None
    api_token: SecretStr | None = None


def gitlab_secret_problems(environment: Environment, *, used: bool) -> Iterator[str]:
    """One line for each of GitLab's secrets that is missing or cannot be one.

    Args:
        environment: all variables.
        used: whether a gate asks in GitLab, so that they are required.
    """
    if used:
        yield from _missing(environment)
    for name in ("gitlab_api_token", "gitlab_read_token", "gitlab_signing_token", "gitlab_webhook_token"):
        if getattr(environment, name) is None and getattr(environment, f"{name}_previous") is not None:
            yield (
                f"{_label(name)}_PREVIOUS: stands without {_label(name)}; "
                "expected the current one there, and here the one before"
            )
    for name in ("gitlab_trigger_token", *_with_twins("gitlab_api_token", "gitlab_read_token")):
        secret: SecretStr | None = getattr(environment, name)
        if secret is not None:
            yield from _token_problems(name, secret.get_secret_value())
    for name in _with_twins("gitlab_signing_token"):
        signing: SecretStr | None = getattr(environment, name)
        if signing is not None and not _is_signing_token(signing.get_secret_value()):
            yield (
                f"{_label(name)}: found a text (not shown); expected a signing token as GitLab shows it: "
                f"{_SIGNING_PREFIX} and base64 of 24 to 64 bytes"
            )


def _missing(environment: Environment) -> Iterator[str]:
    if environment.gitlab_read_token is None:
        yield (
            f"{_label('gitlab_read_token')}: is missing; expected an access token with scope read_api, for a "
            "gate asks for approval in GitLab"
        )
    if environment.gitlab_trigger_token is None and environment.gitlab_api_token is None:
        yield (
            f"{_label('gitlab_trigger_token')} (or instead, {_label('gitlab_api_token')}): is missing; "
            "nothing could start pipelines in GitLab"
        )
    if environment.gitlab_signing_token is None and environment.gitlab_webhook_token is None:
        yield (
            f"{_label('gitlab_signing_token')} (or, for a GitLab without signing tokens, "
            f"{_label('gitlab_webhook_token')}): is missing; GitLab's webhooks could not be checked"
        )


def gitlab_credentials(
    environment: Environment,
) -> tuple[GitLabCredentials | None, GitLabCredentials | None]:
    """The current credentials and those before a rotation; None where they are not given.

    A trigger token has no twin: GitLab keeps the old one until somebody deletes it.
    """
    read_token = environment.gitlab_read_token
    if read_token is None:
        return None, None
    current = GitLabCredentials(read_token, environment.gitlab_trigger_token, environment.gitlab_api_token)
    older_read, older_api = environment.gitlab_read_token_previous, environment.gitlab_api_token_previous
    if older_read is None and older_api is None:
        return current, None
    return current, GitLabCredentials(older_read or read_token, None, older_api)


def hook_tokens(environment: Environment) -> tuple[tuple[SecretStr, ...], tuple[SecretStr, ...]]:
    """The signing tokens, and what `X-Gitlab-Token` may hold, the current one first.

    There is only one of the two kinds: once webhooks are signed, a plain token proves nothing any more.
    """
    signing = present(environment.gitlab_signing_token, environment.gitlab_signing_token_previous)
    plain = present(environment.gitlab_webhook_token, environment.gitlab_webhook_token_previous)
    return (signing, ()) if signing else ((), plain)


def _token_problems(name: str, text: str) -> Iterator[str]:
    if not PRINTABLE.fullmatch(text):
        yield f"{_label(name)}: found a text (not shown); expected a token without white space"
    elif name == "gitlab_trigger_token" and text.startswith(_ACCESS_PREFIX):
        yield (
            f"{_label(name)}: found an access token (not shown); expected a pipeline trigger token, or this one as "
            f"{_label('gitlab_api_token')}"
        )
    elif name != "gitlab_trigger_token" and text.startswith(_TRIGGER_PREFIX):
        yield f"{_label(name)}: found a pipeline trigger token (not shown); expected an access token"


def _is_signing_token(text: str) -> bool:
    if not text.startswith(_SIGNING_PREFIX):
        return False
    try:
        key = base64.b64decode(text.removeprefix(_SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters that are not ASCII
        return False
    return len(key) in _KEY_BYTES


def _with_twins(*names: str) -> tuple[str, ...]:
    return tuple(each for name in names for each in (name, f"{name}_previous"))


def _label(name: str) -> str:
    return f"{PREFIX}{name.upper()}"
