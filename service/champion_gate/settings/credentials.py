"""Checks of the secrets, and who uses which: none is ever shown, and none goes to another host than its own."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from champion_gate.settings.addresses import host_of
from champion_gate.settings.environment import PREFIX, Environment

SHORTEST_SECRET = 16
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PRINTABLE = re.compile(r"[\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class AppCredentials:
    """A GitHub App: its client id (or app id), and its RSA private key as PEM."""

    client_id: str
    private_key: SecretStr


@dataclass(frozen=True)
class TokenCredentials:
    """A fine-grained GitHub token."""

    token: SecretStr


GitHubCredentials = AppCredentials | TokenCredentials


@dataclass(frozen=True)
class BasicCredentials:
    """A user name and password of HTTP Basic authentication."""

    username: str
    password: SecretStr


def present(*secrets: SecretStr | None) -> tuple[SecretStr, ...]:
    """Those that are given, each once, in this order."""
    return tuple(dict.fromkeys(secret for secret in secrets if secret is not None))


def hook_credentials(environment: Environment) -> tuple[BasicCredentials, ...]:
    """The pairs that Databricks may send, the current one first.

    A previous user name or password alone is paired with the current other half.
    """
    pairs = [(environment.databricks_hook_username, environment.databricks_hook_password)]
    if environment.databricks_hook_username_previous or environment.databricks_hook_password_previous:
        pairs.append(
            (
                environment.databricks_hook_username_previous or environment.databricks_hook_username,
                environment.databricks_hook_password_previous or environment.databricks_hook_password,
            )
        )
    found = (
        BasicCredentials(username.get_secret_value(), password)
        for username, password in pairs
        if username is not None and password is not None
    )
    return tuple(dict.fromkeys(found))


def secret_problems(environment: Environment, systems: Collection[str]) -> Iterator[str]:
    """One line for each secret that is missing, too short, or that its protocol cannot carry.

    Args:
        environment: all variables.
        systems: the CI/CD systems that gates name; only their secrets are required.
    """
    for name, required in (
        ("databricks_hook_username", True),
        ("databricks_hook_password", True),
        ("github_webhook_secret", "github" in systems),
        ("gitlab_webhook_token", False),
    ):
        if required and getattr(environment, name) is None:
            yield f"{PREFIX}{name.upper()}: is missing; expected it as a variable or as a file in {PREFIX}SECRETS_DIR"
        for variable in (name, f"{name}_previous"):
            secret: SecretStr | None = getattr(environment, variable)
            if secret is not None:
                yield from _problems_of(variable, name, secret.get_secret_value())


def _problems_of(variable: str, name: str, text: str) -> Iterator[str]:
    label = f"{PREFIX}{variable.upper()}"
    if name == "databricks_hook_username":
        if ":" in text or _CONTROL.search(text):
            yield f"{label}: found a text (not shown); expected a user name without `:` and control characters"
        return
    if len(text) < SHORTEST_SECRET:
        yield f"{label}: found a text of {len(text)} characters (not shown); expected at least {SHORTEST_SECRET}"
    if name == "gitlab_webhook_token" and not PRINTABLE.fullmatch(text):
        yield f"{label}: found a text (not shown); expected what a header can hold, without white space"
    elif _CONTROL.search(text):
        yield f"{label}: found a text (not shown); expected no control characters"


def app_or_token(environment: Environment, suffix: str, problems: list[str]) -> GitHubCredentials | None:
    """The App or the token of the GitHub at the top of gates.yaml; None where neither is given.

    Args:
        environment: all variables.
        suffix: "" for the current credentials, "_previous" for those before a rotation.
        problems: takes one line for each problem.
    """
    client_id: SecretStr | None = getattr(environment, f"github_app_client_id{suffix}")
    private_key: SecretStr | None = getattr(environment, f"github_app_private_key{suffix}")
    token: SecretStr | None = getattr(environment, f"github_token{suffix}")
    end = suffix.upper()
    if (client_id or private_key) and token:
        problems.append(
            f"{PREFIX}GITHUB_TOKEN{end}: is given beside {PREFIX}GITHUB_APP_*{end}; expected the App or the token"
        )
    if token is not None:
        return _token(f"{PREFIX}GITHUB_TOKEN{end}", token, problems)
    if suffix and (client_id or private_key):
        # A new key for the same App, or the same key written under another id, need only be given once.
        client_id = client_id or environment.github_app_client_id
        private_key = private_key or environment.github_app_private_key
    if client_id is None and private_key is None:
        return None
    return _app(end, client_id, private_key, problems)


def _app(
    end: str, client_id: SecretStr | None, private_key: SecretStr | None, problems: list[str]
) -> AppCredentials | None:
    for name, part in (("CLIENT_ID", client_id), ("PRIVATE_KEY", private_key)):
        if part is None:
            problems.append(
                f"{PREFIX}GITHUB_APP_{name}{end}: is missing; a GitHub App needs its id and its key"
            )
    if client_id is None or private_key is None:
        return None
    if not _CLIENT_ID.fullmatch(client_id.get_secret_value()):
        problems.append(f"{PREFIX}GITHUB_APP_CLIENT_ID{end}: expected a client id such as Iv23liABCDEF")
    # Where a variable cannot hold line ends, people write \n.
    pem = private_key.get_secret_value().replace("\\n", "\n")
    if not _is_rsa_key(pem):
        problems.append(
            f"{PREFIX}GITHUB_APP_PRIVATE_KEY{end}: found a text (not shown); expected the App's RSA private key "
            "as PEM, without a passphrase"
        )
    return AppCredentials(client_id.get_secret_value(), SecretStr(pem))


def _is_rsa_key(pem: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - only Apps need it
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError):  # TypeError: the key has a passphrase
        return False


def _token(label: str, token: SecretStr, problems: list[str]) -> TokenCredentials:
    if not PRINTABLE.fullmatch(token.get_secret_value()):
        problems.append(f"{label}: found a text (not shown); expected a token without white space")
    return TokenCredentials(token)


def host_tokens(environment: Environment, suffix: str, problems: list[str]) -> Mapping[str, TokenCredentials]:
    """The tokens of further GitHub hosts: `host[:port]` -> token.

    Args:
        environment: all variables.
        suffix: "" or "_previous".
        problems: takes one line for each problem.
    """
    secret: SecretStr | None = getattr(environment, f"github_host_tokens{suffix}")
    if secret is None:
        return {}
    label = f"{PREFIX}GITHUB_HOST_TOKENS{suffix.upper()}"
    try:
        pairs = json.loads(secret.get_secret_value(), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, _Pairs):
        problems.append(
            f'{label}: found a text (not shown); expected JSON such as {{"ghes.example.com": "token"}}'
        )
        return {}
    tokens: dict[str, TokenCredentials] = {}
    for name, token in pairs:
        try:
            host = host_of(name)
        except ValueError:
            host = ""
        if not host or "/" in name:
            problems.append(
                f"{label}: a key is no host name; expected ghes.example.com or ghes.example.com:8443"
            )
        elif host in tokens:
            problems.append(f"{label}: {host} is written twice; keep one")
        elif not isinstance(token, str):
            problems.append(f"{label}: {host} has no text for a token")
        else:
            tokens[host] = _token(f"{label}: {host}", SecretStr(token), problems)
    return tokens


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its keys as written, repeated ones included."""
