"""What the doctor says of the secrets: how long ago their files were written, and whether former ones are still taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, SecretStr

from champion_gate.domain.findings import Check, Finding
from champion_gate.domain.vendors import PREFIX, label
from champion_gate.settings.environment import Environment

_OLD = timedelta(days=365)

SECRETS = Check(
    "service.secrets",
    "the age of the secrets' files, and secrets that were replaced and are still taken",
    "The longer a secret is used, the more have seen it; one that was replaced protects nothing while it is taken.",
    cheap=True,
)


def secret_ages(environment: Environment, now: datetime) -> Iterator[Finding]:
    """What is to be done about secrets; a variable does not tell how old it is."""
    given = {name for each in (environment, *environment.vendors.values()) for name in _secrets_of(each)}
    given |= environment.notices.keys()
    former = [label(name) for name in sorted(given) if name.endswith("_previous")]
    if former:
        yield SECRETS.warning(
            f"{', '.join(former)}: former secrets are taken beside the present ones.",
            "Once nobody uses them any more, remove them, and restart the service.",
        )
    written = dict(_written(environment, given))
    old = {name: at for name, at in written.items() if now - at > _OLD}
    for name, at in old.items():
        yield SECRETS.warning(
            f"The file of {label(name)} was written {(now - at).days} days ago.",
            "Make a new secret (`champion-gate setup … --rotate`), with the former one beside it until all use the new.",
        )
    if not former and not old:
        known = (
            f"the files of {len(written)} are younger than a year" if written else "their age is not known"
        )
        yield SECRETS.ok(f"none is taken beside the one that replaced it; {known}")


def _secrets_of(given: BaseModel) -> Iterator[str]:
    return (name for name, value in given if isinstance(value, SecretStr))


def _written(environment: Environment, given: set[str]) -> Iterator[tuple[str, datetime]]:
    for path in sorted(environment.secrets_dir.iterdir()) if environment.secrets_dir else ():
        name = path.name.lower().removeprefix(PREFIX.lower())
        if name in given:
            yield name, datetime.fromtimestamp(path.stat().st_mtime, UTC)
