"""GitLab's variables: what starts, reads and cancels pipelines, and what its webhooks are checked with."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from champion_gate.adapters.gitlab.settings import GitLabPlace
from champion_gate.domain.vendors import (
    PREFIX,
    PRINTABLE,
    Host,
    Place,
    Secrets,
    Server,
    label,
    shared_secret_problems,
)

_REACHED_BY_JOBS = re.compile(
    r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?|http://127\.0\.0\.1:[0-9]{1,5})(/[A-Za-z0-9._~-]+)*"
)
"""What the input gate_url of deploy/gitlab/champion-gate.gitlab-ci.yml takes."""
_SIGNING_PREFIX, _TRIGGER_PREFIX, _ACCESS_PREFIX = "whsec_", "glptt-", "glpat-"
_KEY_BYTES = range(24, 65)
"""The Standard Webhooks specification's lengths of a symmetric key, in bytes."""


@dataclass(frozen=True, kw_only=True)
class GitLabTokens:
    """What opens GitLab.

    Attributes:
        read_token: access token with scope read_api, of an account with the role Maintainer: protected
            branches, protected environments and the owners of trigger tokens are shown to nobody below.
        trigger_token: pipeline trigger token of the project; can start pipelines and nothing else.
        api_token: access token with scope api: cancels pipelines, and starts them where there is no
            trigger token.
    """

    read_token: str = field(repr=False)
    trigger_token: str | None = field(default=None, repr=False)
    api_token: str | None = field(default=None, repr=False)


class GitLabSecrets(Secrets):
    """What starts, reads and cancels pipelines, and what webhooks are checked with.

    A trigger token has no twin: GitLab keeps the old one until somebody deletes it.
    """

    gitlab_trigger_token: SecretStr | None = None
    gitlab_api_token: SecretStr | None = None
    gitlab_api_token_previous: SecretStr | None = None
    gitlab_read_token: SecretStr | None = None
    gitlab_read_token_previous: SecretStr | None = None
    gitlab_signing_token: SecretStr | None = None
    gitlab_signing_token_previous: SecretStr | None = None
    gitlab_webhook_token: SecretStr | None = None
    gitlab_webhook_token_previous: SecretStr | None = None

    def problems(self, *, used: bool) -> Iterator[str]:
        """See Secrets."""
        if used:
            yield from self._missing()
        for name in ("gitlab_api_token", "gitlab_read_token", "gitlab_signing_token", "gitlab_webhook_token"):
            if self.text(name) is None and self.text(f"{name}_previous") is not None:
                yield (
                    f"{label(name)}_PREVIOUS: stands without {label(name)}; "
                    "expected the current one there, and here the one before"
                )
        for name, text in self._given("gitlab_trigger_token", "gitlab_api_token", "gitlab_read_token"):
            yield from _token_problems(name, text)
        for name, text in self._given("gitlab_webhook_token"):
            yield from shared_secret_problems(name, text, in_header=True)
        for name, text in self._given("gitlab_signing_token"):
            if not _is_signing_token(text):
                yield (
                    f"{label(name)}: found a text (not shown); expected a signing token as GitLab shows it: "
                    f"{_SIGNING_PREFIX} and base64 of 24 to 64 bytes"
                )

    def _given(self, *names: str) -> Iterator[tuple[str, str]]:
        """Those that are given, their twins among them."""
        for name in (each for current in names for each in (current, f"{current}_previous")):
            if name in type(self).model_fields and (text := self.text(name)) is not None:
                yield name, text

    def of_webhooks(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The signing tokens, and what `X-Gitlab-Token` may hold, the current one first.

        There is only one of the two kinds: once webhooks are signed, a plain token proves nothing any more.
        """
        signing = self.texts("gitlab_signing_token")
        return signing, () if signing else self.texts("gitlab_webhook_token")

    def _missing(self) -> Iterator[str]:
        if self.gitlab_read_token is None:
            yield (
                f"{label('gitlab_read_token')}: is missing; expected an access token with scope read_api, for a "
                "gate asks for approval in GitLab"
            )
        if self.gitlab_trigger_token is None and self.gitlab_api_token is None:
            yield (
                f"{label('gitlab_trigger_token')} (or instead, {label('gitlab_api_token')}): is missing; "
                "nothing could start pipelines in GitLab"
            )
        if self.gitlab_signing_token is None and self.gitlab_webhook_token is None:
            yield (
                f"{label('gitlab_signing_token')} (or, for a GitLab without signing tokens, "
                f"{label('gitlab_webhook_token')}): is missing; GitLab's webhooks could not be checked"
            )

    def hosts(
        self,
        servers: Mapping[str, Server],
        places: Sequence[Place],
        public_url: str | None,
        problems: list[str],
    ) -> Mapping[str, Host]:
        """See Secrets; its jobs have to reach us, so it also needs our own address."""
        if not servers:
            return {}
        projects = sorted({place.project for place in places if isinstance(place, GitLabPlace)})
        if self.gitlab_trigger_token is not None and len(projects) > 1:
            problems.append(
                f"{label('gitlab_trigger_token')}: starts pipelines of one project, and gates name "
                f"{', '.join(map(str, projects))}; expected {label('gitlab_api_token')} instead of it"
            )
        if public_url is None or not _REACHED_BY_JOBS.fullmatch(public_url):
            problems.append(
                f"{PREFIX}PUBLIC_URL: {'is missing' if public_url is None else f'found {public_url!r}'}; expected the "
                "https:// address where GitLab's jobs reach this service, of letters, digits and . - in its host, and "
                "of letters, digits and . _ ~ - in its path"
            )
        current, previous = self._credentials()
        return (
            {}
            if current is None
            else {key: Host(server, current, previous) for key, server in servers.items()}
        )

    def _credentials(self) -> tuple[GitLabTokens | None, GitLabTokens | None]:
        """The current credentials and those before a rotation; None where they are not given."""
        read_token, older = self.text("gitlab_read_token"), self.text("gitlab_read_token_previous")
        older_api = self.text("gitlab_api_token_previous")
        if read_token is None:
            return None, None
        current = GitLabTokens(
            read_token=read_token,
            trigger_token=self.text("gitlab_trigger_token"),
            api_token=self.text("gitlab_api_token"),
        )
        if older is None and older_api is None:
            return current, None
        return current, GitLabTokens(read_token=older or read_token, api_token=older_api)


def _token_problems(name: str, text: str) -> Iterator[str]:
    if not PRINTABLE.fullmatch(text):
        yield f"{label(name)}: found a text (not shown); expected a token without white space"
    elif name == "gitlab_trigger_token" and text.startswith(_ACCESS_PREFIX):
        yield (
            f"{label(name)}: found an access token (not shown); expected a pipeline trigger token, or this one as "
            f"{label('gitlab_api_token')}"
        )
    elif name != "gitlab_trigger_token" and text.startswith(_TRIGGER_PREFIX):
        yield f"{label(name)}: found a pipeline trigger token (not shown); expected an access token"


def _is_signing_token(text: str) -> bool:
    if not text.startswith(_SIGNING_PREFIX):
        return False
    try:
        key = base64.b64decode(text.removeprefix(_SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters that are not ASCII
        return False
    return len(key) in _KEY_BYTES
