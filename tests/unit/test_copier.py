"""As whom the job may run that copies what people approve."""

from __future__ import annotations

import pytest

from champion_gate.domain.copies import unfit_because
from champion_gate.domain.job_runs import Trainer
from champion_gate.domain.jobs import Job, Principal

JOB = Job("5", "copy", (Principal("copier"),), (), queue=True, url="")


@pytest.mark.parametrize(
    ("trainers", "told"),
    [
        ([Trainer("version creator", "trainer@example.com")], None),
        ([Trainer("version creator", " Copier")], "who is behind this version"),
        ([Trainer("job run-as", "trainer@example.com"), Trainer("version creator", None)], "was not told"),
        ([], "was not told"),
    ],
)
def test_who_copies_is_known_to_be_none_of_those_behind_the_version(
    trainers: list[Trainer], told: str | None
) -> None:
    why = unfit_because(JOB, (), trainers)
    assert why is None if told is None else told in (why or "")
