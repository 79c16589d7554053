"""What is stored comes back equal, whatever the text, the times and the optional parts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from champion_gate.domain.job_runs import JobRun
from champion_gate.domain.notifications import JobNotification, Resolution, StoredNotification
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.store import open_store
from integration.store_samples import LEASE, T0

pytest_plugins = ("integration.store_fixtures",)

# PostgreSQL holds no NUL and UTF-8 no lone surrogate; what becomes of them is another test's.
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - the zone is added below
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
COUNTS = st.integers(0, 2**31 - 1)
NUMBERS = st.integers(1, 10**18 - 1).map(str)

for kind, strategy in ((str, TEXT), (datetime, TIMES), (int, COUNTS)):
    st.register_type_strategy(kind, strategy)

PROMOTIONS = st.from_type(Promotion).map(
    lambda found: replace(found, hints=0, lease="", version=replace(found.version, version="12"))
)
RESOLUTIONS = st.lists(st.from_type(Resolution), max_size=3, unique_by=lambda found: found.gate)
ROUND_TRIP = settings(
    max_examples=settings().max_examples // 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ROUND_TRIP
@given(PROMOTIONS)
def test_a_promotion_comes_back_as_it_was(database_url: str, promotion: Promotion) -> None:
    with open_store(database_url) as store:
        kept = replace(promotion, id=f"p-{len(store.list_promotions(limit=500).items)}")
        if not kept.phase.is_open:
            kept = replace(kept, due_at=None)
        # Others of the version may be open from the example before.
        kept = replace(kept, alias=kept.id)
        assert store.create_promotion(kept) == kept
        found = store.get_promotion(kept.id)
        assert found == kept
        assert all(
            time.utcoffset() == timedelta(0)
            for time in (found.requested_at, found.due_at, found.decision and found.decision.decided_at)
            if time
        )
        assert store.promotions_of_version(kept.alias_key, "12", kept.source_model) == (kept,)


@ROUND_TRIP
@given(PROMOTIONS, PROMOTIONS)
def test_a_saved_promotion_comes_back_as_it_was(database_url: str, first: Promotion, then: Promotion) -> None:
    with open_store(database_url) as store:
        identity = f"p-{len(store.list_promotions(limit=500).items)}"
        first = replace(
            first, id=identity, alias=identity, phase=Phase.REQUESTED, due_at=T0, end_request=None
        )
        store.create_promotion(first)
        taken = store.take_promotion(identity, T0, LEASE)
        assert taken is not None
        changed = replace(then, id=identity, alias=identity, phase=Phase.REQUESTED, lease=taken.lease)
        saved = store.save_promotion(changed, changed.updated_at)
        assert saved == replace(changed, end_request=None)
        assert store.get_promotion(identity) == saved


@ROUND_TRIP
@given(
    st.builds(JobNotification, task_key=st.none() | TEXT.filter(bool)),
    st.from_type(StoredNotification),
    st.none() | st.from_type(JobRun),
    RESOLUTIONS,
)
def test_a_notification_comes_back_as_it_was(
    database_url: str,
    posted: JobNotification,
    worked: StoredNotification,
    run: JobRun | None,
    resolutions: list[Resolution],
) -> None:
    with open_store(database_url) as store:
        posted = replace(posted, run_id=str(len(store.list_notifications(limit=500).items)))
        identity = store.record_notification("hook", posted, T0)
        taken = store.take_notification(identity, T0, LEASE)
        assert taken is not None
        for resolution in resolutions:
            store.save_resolution(taken, resolution)
        wanted = replace(
            taken,
            phase=worked.phase,
            reason=worked.reason,
            due_at=(worked.due_at or T0) if worked.phase.is_open else None,
            retry=worked.retry,
            job_run=run,
        )
        released = store.release_notification(wanted, T0)
        assert set(released.resolutions) == set(resolutions)
        assert replace(released, resolutions=()) == replace(wanted, lease="")
        assert released.notification == posted
        assert store.get_notification(identity) == released
