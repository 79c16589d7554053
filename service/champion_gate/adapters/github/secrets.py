"""GitHub's variables: an App or a token for each server, and what signs webhooks."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from champion_gate.adapters.github.settings import RepositoryPlace
from champion_gate.domain.addresses import host_of
from champion_gate.domain.vendors import (
    PRINTABLE,
    Host,
    Place,
    Secrets,
    Server,
    label,
    missing,
    shared_secret_problems,
)

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class GitHubApp:
    """A GitHub App.

    Attributes:
        client_id: its client id (or the older app id).
        private_key: RSA key in PEM form.
    """

    client_id: str
    private_key: str = field(repr=False)


@dataclass(frozen=True)
class GitHubToken:
    """A fine-grained personal access token: Actions read and write; Members read where teams review."""

    token: str = field(repr=False)


Credentials = GitHubApp | GitHubToken


class GitHubSecrets(Secrets):
    """The App or the token of the GitHub at the top of gates.yaml, tokens of further ones, and what signs webhooks."""

    github_app_client_id: SecretStr | None = None
    github_app_client_id_previous: SecretStr | None = None
    github_app_private_key: SecretStr | None = None
    github_app_private_key_previous: SecretStr | None = None
    github_token: SecretStr | None = None
    github_token_previous: SecretStr | None = None
    github_host_tokens: SecretStr | None = None
    github_host_tokens_previous: SecretStr | None = None
    github_webhook_secret: SecretStr | None = None
    github_webhook_secret_previous: SecretStr | None = None

    def problems(self, *, used: bool) -> Iterator[str]:
        """See Secrets; those of the credentials are told where they are given to their hosts."""
        if used and self.github_webhook_secret is None:
            yield missing("github_webhook_secret")
        for name in ("github_webhook_secret", "github_webhook_secret_previous"):
            if (text := self.text(name)) is not None:
                yield from shared_secret_problems(name, text)

    def hosts(
        self,
        servers: Mapping[str, Server],
        places: Sequence[Place],
        public_url: str | None,  # noqa: ARG002 - the workflow file knows our address
        problems: list[str],
    ) -> Mapping[str, Host]:
        """See Secrets."""
        current = self._app_or_token("", problems)
        previous = self._app_or_token("_previous", problems)
        tokens = self._host_tokens("", problems)
        previous_tokens = self._host_tokens("_previous", problems)
        hosts: dict[str, Host] = {}
        for provider, server in servers.items():
            host, at_top = host_of(server.url), ":" not in provider
            if at_top and host in tokens:
                problems.append(
                    f"{label('github_host_tokens')}: has a token for {host}, which is github.url; "
                    f"expected that in {label('github_token')}, or the App"
                )
            credentials = current if at_top else tokens.get(host)
            older = previous if at_top else previous_tokens.get(host)
            if older is not None and credentials is not None and type(older) is not type(credentials):
                problems.append(
                    f"{label('github_*_previous')}: expected what {host} has now, an App or a token"
                )
            if credentials is not None:
                urls = {server.url, None} if at_top else {server.url}
                there = [each for each in places if isinstance(each, RepositoryPlace) and each.url in urls]
                hosts[provider] = Host(server, credentials, older, there)
            elif not at_top:
                problems.append(
                    f"{label('github_host_tokens')}: has no token for {host}, where a gate asks for approval"
                )
            elif not (self.github_app_client_id or self.github_app_private_key):  # else named already
                problems.append(
                    f"{label('github_app_client_id')} and {label('github_app_private_key')} (or instead of both, "
                    f"{label('github_token')}): are missing; {host} asks for credentials"
                )
        return hosts

    def _app_or_token(self, suffix: str, problems: list[str]) -> Credentials | None:
        """The App or the token of the GitHub at the top; None where neither is given.

        Args:
            suffix: "" for the current credentials, "_previous" for those before a rotation.
            problems: takes one line for each problem.
        """
        client_id = self.text(f"github_app_client_id{suffix}")
        private_key = self.text(f"github_app_private_key{suffix}")
        token = self.text(f"github_token{suffix}")
        if (client_id or private_key) and token:
            problems.append(
                f"{label(f'github_token{suffix}')}: is given beside {label(f'github_app_*{suffix}')}; "
                "expected the App or the token"
            )
        if token is not None:
            return _token(label(f"github_token{suffix}"), token, problems)
        if suffix and (client_id or private_key):
            # A new key for the same App, or the same key written under another id, need only be given once.
            client_id = client_id or self.text("github_app_client_id")
            private_key = private_key or self.text("github_app_private_key")
        if client_id is None and private_key is None:
            return None
        return _app(suffix, client_id, private_key, problems)

    def _host_tokens(self, suffix: str, problems: list[str]) -> dict[str, GitHubToken]:
        """The tokens of further GitHub hosts: `host[:port]` -> token."""
        written = self.text(f"github_host_tokens{suffix}")
        if written is None:
            return {}
        name = label(f"github_host_tokens{suffix}")
        try:
            pairs = json.loads(written, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError):
            pairs = None
        if not isinstance(pairs, _Pairs):
            problems.append(
                f'{name}: found a text (not shown); expected JSON such as {{"ghes.example.com": "token"}}'
            )
            return {}
        tokens: dict[str, GitHubToken] = {}
        for key, token in pairs:
            try:
                host = "" if "/" in key else host_of(key)
            except ValueError:
                host = ""
            if not host:
                problems.append(
                    f"{name}: a key is no host name; expected ghes.example.com or ghes.example.com:8443"
                )
            elif host in tokens:
                problems.append(f"{name}: {host} is written twice; keep one")
            elif not isinstance(token, str):
                problems.append(f"{name}: {host} has no text for a token")
            else:
                tokens[host] = _token(f"{name}: {host}", token, problems)
        return tokens


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its keys as written, repeated ones included."""


def _token(name: str, token: str, problems: list[str]) -> GitHubToken:
    if not PRINTABLE.fullmatch(token):
        problems.append(f"{name}: found a text (not shown); expected a token without white space")
    return GitHubToken(token)


def _app(
    suffix: str, client_id: str | None, private_key: str | None, problems: list[str]
) -> GitHubApp | None:
    for name, part in (("client_id", client_id), ("private_key", private_key)):
        if part is None:
            problems.append(
                f"{label(f'github_app_{name}{suffix}')}: is missing; a GitHub App needs its id and its key"
            )
    if client_id is None or private_key is None:
        return None
    if not _CLIENT_ID.fullmatch(client_id):
        problems.append(
            f"{label(f'github_app_client_id{suffix}')}: expected a client id such as Iv23liABCDEF"
        )
    pem = _pem(private_key)
    if not _is_rsa_key(pem):
        problems.append(
            f"{label(f'github_app_private_key{suffix}')}: found a text (not shown); expected the App's RSA private key "
            "as PEM, without a passphrase"
        )
    return GitHubApp(client_id, pem)


def _pem(text: str) -> str:
    r"""The key's text where a variable cannot hold line ends: people write `\n`, or the whole file in base64."""
    if "-----" in text:
        return text.replace("\\n", "\n")
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text


def _is_rsa_key(pem: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - only Apps need it
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError):  # TypeError: the key has a passphrase
        return False
