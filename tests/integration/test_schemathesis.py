"""schemathesis against the running service's own document: nothing but described answers, and no fault of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integration.api_world import OPERATOR, ApiWorld, api_world

_CONFIG: dict[str, Any] = {
    "seed": 1,
    "headers": {"Authorization": f"Bearer {OPERATOR}"},
    "generation": {"deterministic": True, "max-examples": 5, "no-shrink": True, "database": "none"},
    "phases": {"coverage": {"enabled": True}, "stateful": {"enabled": False}},
    "request-timeout": 30,
    # What is well formed may still name a version that there is not: that is a 422 of its own.
    "checks": {"positive_data_acceptance": {"enabled": False}},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("api")) as world:
        world.gate.reject(world.gate.ask())
        world.gate.look()
        world.add_versions(12)  # the document's own examples name v12
        yield world


@pytest.mark.part("rest")
@pytest.mark.parametrize("exist", [True, False], ids=["on rows that exist", "on whatever comes"])
def test_nothing_but_what_is_described_is_answered(api: ApiWorld, *, exist: bool) -> None:
    """Examples, boundary values and malformed requests of every operation, and methods that there are not."""
    import schemathesis  # noqa: PLC0415 - it takes long, and each worker imports this file
    from schemathesis.config import SchemathesisConfig  # noqa: PLC0415 - as above
    from schemathesis.engine import events, from_schema  # noqa: PLC0415 - as above

    existing = {
        "promotion_id": api.gate.promotions()[-1].id,
        "notification_id": api.gate.notification().id,
        "path.model": "main.ml.churn",
        "alias": "Champion",
        "provider": "github",
        "login": "octo-trainer",
    }
    config = SchemathesisConfig.from_dict({**_CONFIG, "parameters": existing if exist else {}})
    described = schemathesis.openapi.from_url(f"{api.url}/openapi.json", config=config)
    failures, answered = [], set()
    for event in from_schema(described).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            failures.append(repr(event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorded = event.recorder
        for case_id, checks in recorded.checks.items():
            line = recorded.cases[case_id].value.as_curl_command()
            failures += [f"{check.failure_info.failure}\n{line}" for check in checks if check.failure_info]
        for interaction in recorded.interactions.values():
            assert interaction.response is not None, recorded.label
            is_good = interaction.response.status_code < 300
            answered.add((f"{interaction.request.method} {recorded.label.partition(' ')[2]}", is_good))
    assert not failures, "\n\n".join(failures)
    operations = {f"{method} {path}" for method, path in api.document.operations}
    assert {label for label, _ in answered} >= operations
    if exist:
        done = {label for label, is_good in answered if is_good}
        # These want a run that a generator cannot guess, a promotion or step that has not ended, and another account.
        assert operations - done <= {
            "POST /api/v1/promotions",
            "POST /api/v1/promotions/{promotion_id}/cancel",
            "POST /api/v1/steps/{step_id}/retry",
            "POST /api/v1/steps/{step_id}/skip",
            "POST /api/v1/identities/{provider}/{login}/accept",
        }
