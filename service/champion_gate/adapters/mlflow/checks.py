"""What `champion-gate doctor` looks at in an MLflow registry, a server's or a file's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from champion_gate.adapters.mlflow.webhooks import PATH, MlflowWebhooks
from champion_gate.domain.findings import AWAY, Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.errors import VendorError, VendorNotFoundError, VendorRefusedError

if TYPE_CHECKING:
    from champion_gate.adapters.mlflow.registry import MlflowRegistry

_REGISTRY = Check(
    "mlflow.registry",
    "the MLflow registry answers, and takes our credentials and the name by which we call it",
    "Versions are found there, and aliases set.",
    cheap=True,
)
_MODEL = Check(
    "mlflow.model",
    "the gate's model can be read, and the run and experiment of its newest version",
    "A version is compared by its run's numbers; what cannot be read is not asked for.",
)
_WEBHOOK = Check(
    "mlflow.webhook",
    "the MLflow server has one webhook for us: active, with our address and events",
    "Without it new versions and moves of aliases are seen by the sweep alone, a minute or two later.",
    cheap=True,
)
_PING = Check(
    "mlflow.ping",
    "a webhook of the MLflow server has arrived, signed with our secret",
    "A server that has lost the secret, or does not reach us, tells nobody: new versions wait for the sweep.",
    cheap=True,
)
CHECKS = (_REGISTRY, _MODEL, _WEBHOOK, _PING)
_SETUP = "champion-gate setup mlflow"


@dataclass(frozen=True)
class HookFacts:
    """What the installation knows of the server's webhook.

    Attributes:
        public_url: of the service; None where that is not set.
        has_secret: whether a secret is shared with the server.
        arrived: tells when the latest webhook of each kind came; None where there is no database yet.
    """

    public_url: str | None
    has_secret: bool
    arrived: Callable[[], Mapping[str, datetime]] | None


def checkups(registry: MlflowRegistry, gates: Sequence[Gate], hook: HookFacts) -> Iterator[Checkup]:
    """The checks of a registry and of the models of these gates; no call is made yet."""
    yield Checkup(_REGISTRY, lambda: _registry(registry))
    if registry.name.startswith("http") and (hook.has_secret or any(each.watches_registry for each in gates)):
        yield Checkup(_WEBHOOK, lambda: _webhook(registry.name, hook))
        yield Checkup(_PING, lambda: _ping(hook))
    for gate in gates:
        for model in dict.fromkeys([gate.model, gate.destination]):
            yield Checkup(_MODEL, partial(_model, registry, model, gate.alias), gate.name)


def _registry(registry: MlflowRegistry) -> Iterator[Finding]:
    try:
        registry.check()
    except VendorError as error:  # also what is said to every call: it is told here
        yield _REGISTRY.fail(error.message, error.hint or AWAY)
        return
    yield _REGISTRY.ok(f"{registry.server_version() or 'it'} answers at {registry.name}")


def _webhook(uri: str, hook: HookFacts) -> Iterator[Finding]:
    if hook.public_url is None:
        yield _WEBHOOK.not_known(
            "CHAMPION_GATE_PUBLIC_URL is not set", "Set it to the address that others call."
        )
        return
    if not hook.has_secret:
        yield _WEBHOOK.warning(
            "no secret is shared with the server, so it tells us nothing", f"Run {_SETUP}."
        )
        return
    url = f"{hook.public_url}{PATH}"
    try:
        found = MlflowWebhooks(uri).at(url)
    except VendorRefusedError as refused:  # where MLflow has users, administrators alone may read them
        yield _WEBHOOK.not_known(
            f"its webhooks cannot be read: {refused.message}",
            f"Run {_SETUP} --dry-run with an administrator's login.",
        )
        return
    except VendorError as error:
        yield _WEBHOOK.not_known(error.message, error.hint or AWAY)
        return
    if len(found) != 1:
        yield _WEBHOOK.warning(
            f"{len(found) or 'no'} webhook{'s' if found[1:] else ''} of the server post{'' if found[1:] else 's'} to {url}",
            f"Delete all but one of them, then run {_SETUP}." if found else f"Run {_SETUP}.",
        )
        return
    wrong = ([] if found[0].is_active else ["is disabled"]) + [
        f"does not send {each}" for each in found[0].missing
    ]
    if wrong:
        yield _WEBHOOK.warning(f"the webhook to {url} {' and '.join(wrong)}", f"Run {_SETUP}.")
    else:
        yield _WEBHOOK.ok(f"the webhook to {url} is active and sends what we need")


def _ping(hook: HookFacts) -> Iterator[Finding]:
    arrived = {} if hook.arrived is None else hook.arrived()
    if arrived:
        kind, last = max(arrived.items(), key=lambda each: each[1])
        yield _PING.ok(f"the latest came at {last:%Y-%m-%d %H:%M} UTC ({kind})")
        return
    yield _PING.warning(
        "none has ever arrived" if hook.has_secret else "none can arrive without a secret",
        f"Start the service, then run {_SETUP}: it has the server send a test ping, and says what came of it.",
    )


def _model(registry: MlflowRegistry, model: str, alias: str) -> Iterator[Finding]:
    try:
        holder = registry.get_alias(model, alias)
    except VendorNotFoundError as missing:
        yield _MODEL.warning(
            f"model {model}: {missing.message}",
            f"If it has a version already: {registry.listing_needs} Else the first run of the job makes it.",
        )
        return
    stands = f"{alias} of {model} stands on {f'version {holder}' if holder else 'none'}"
    versions = registry.list_versions(model)
    run_id = versions[0].run_id if versions else None
    if run_id is None:
        yield _MODEL.ok(
            f"{stands}; {'its newest version names no run' if versions else 'it has no version yet'}"
        )
        return
    try:
        run = registry.get_training_run(run_id)
    except VendorNotFoundError as missing:
        yield _MODEL.warning(
            f"the run of version {versions[0].version} of {model}: {missing.message}",
            f"{missing.hint} Versions whose run is gone cannot be compared.",
        )
        return
    if run.experiment_id is not None:
        registry.find_training_runs(run.experiment_id, [run_id])
    yield _MODEL.ok(f"{stands}; version {versions[0].version} and its run can be read")
